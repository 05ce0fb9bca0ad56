"""Passwords and tokens in URIs: this process knows them, and nothing that it writes holds them."""

import os
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SECRET = re.compile(r"sig|token|secret|passw|pwd|credential|key|auth", re.I)  # in the name of a part of a query
WHOLE: dict[str, str] = {}  # URIs as they were given, by what is left of them
PARTS: set[str] = set()  # the secrets themselves
SHORTEST = 4  # characters of a secret that is looked for in texts: a shorter one would be found in any


def without_secrets(uri: str) -> str:
    """A URI without user, password, and what in its query is a secret by its name; any other text as it is.

    A user without a password stays, but for `https://…`, where it is a token.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    query = parse_qsl(parts.query, keep_blank_values=True)
    hidden = [(name, value) for name, value in query if SECRET.search(name) and not value.startswith("$")]
    user, _, host = parts.netloc.rpartition("@")
    if parts.password is None and not parts.scheme.startswith("http"):
        user, host = "", parts.netloc
    if not user and not hidden:
        return uri
    shown = [pair for pair in query if pair not in hidden]
    rest = parts._replace(netloc=host, query=urlencode(shown, safe="$/:{}")).geturl()
    WHOLE[rest] = uri
    found = [unquote(parts.password or user), *dict(hidden).values()]
    PARTS.update(form for secret in found if len(secret) >= SHORTEST for form in (secret, quote(secret, safe="")))
    return rest


def with_secrets(uri: str) -> str:
    """The URI as it was given, with variables of the environment (`$NAME`, `${NAME}`) put in."""
    whole = os.path.expandvars(WHOLE.get(uri, uri))
    without_secrets(whole)  # what the environment supplied is a secret too
    return whole


def censored(text: str) -> str:
    """A text without the secrets that this process knows."""
    for secret in sorted(PARTS, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text
