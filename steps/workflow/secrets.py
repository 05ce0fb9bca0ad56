"""Passwords and tokens in URIs: this process knows them, and nothing that it writes holds them."""

import os
import re
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

SECRET_NAME = re.compile(r"sig|token|secret|passw|pwd|credential|key|auth", re.I)  # of a part of a query
MIN_SECRET_LENGTH = 4  # of a secret that is searched for in texts: a shorter one would be found in any
ORIGINAL_URIS: dict[str, str] = {}  # cache: URIs as they were given, by their form without secrets
SECRETS: set[str] = set()  # cache: the secrets themselves


def without_secrets(uri: str) -> str:
    """Remove user, password, and secret parts of the query from a URI; return any other text as it is.

    A user without a password stays, except for `https://…`, where it is a token.
    """
    if "://" not in uri:
        return uri
    parts = urlsplit(uri)
    query = parse_qsl(parts.query, keep_blank_values=True)
    hidden = [(name, value) for name, value in query if SECRET_NAME.search(name) and not value.startswith("$")]
    user, _, host = parts.netloc.rpartition("@")
    if parts.password is None and not parts.scheme.startswith("http"):
        user, host = "", parts.netloc
    if not user and not hidden:
        return uri
    shown = [pair for pair in query if pair not in hidden]
    rest = parts._replace(netloc=host, query=urlencode(shown, safe="$/:{}")).geturl()
    ORIGINAL_URIS[rest] = uri
    found = [user, unquote(user), unquote(parts.password or user), *dict(hidden).values()]
    long = [secret for secret in found if len(secret) >= MIN_SECRET_LENGTH]
    SECRETS.update(form for secret in long for form in (secret, quote(secret, safe="")))
    return rest


def with_secrets(uri: str) -> str:
    """Return the URI as it was given, with variables of the environment (`$NAME`, `${NAME}`) expanded."""
    original = os.path.expandvars(ORIGINAL_URIS.get(uri, uri))
    without_secrets(original)  # what the environment supplied is a secret too
    return original


def censored(text: str) -> str:
    """Replace the secrets that this process knows in a text."""
    for secret in sorted(SECRETS, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text
