"""Signatures of verdicts: DSSE envelopes, and the keys of whom a project trusts.

DSSE: https://github.com/secure-systems-lab/dsse
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workflow.documents import read_yaml_file
from workflow.errors import UserError

if TYPE_CHECKING:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer import CryptoSigner, SSlibKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
PASSPHRASE = "WORKFLOW_KEY_PASSPHRASE"  # the variable that holds the pass phrase of a private key
CREATE_KEY = "openssl genpkey -algorithm ed25519 -out key.pem"
EXTRACT_KEY = "openssl pkey -in key.pem -pubout"
READABLE_BY_OTHERS = 0o077


@dataclass(frozen=True)
class Signed:
    """A payload whose signatures are known to be those of the keys of some people.

    Attributes:
        payload: the signed bytes.
        signers: names in the file of trusted keys.
        unknown: ids of the keys of other signatures, which nobody has verified.
    """

    payload: bytes
    signers: tuple[str, ...]
    unknown: tuple[str, ...]


def signer_of(path: Path, name: str) -> "CryptoSigner":
    """Return what signs with the private key in a PEM file: Ed25519, ECDSA or RSA.

    Raises UserError, which begins with `name`, for another file, and for a wrong pass phrase.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from securesystemslib.signer import CryptoSigner

    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{name}: {error.strerror}; create a key: {CREATE_KEY}") from error
    if b"PUBLIC KEY" in content:
        raise UserError(f"{name}: a public key, which cannot sign; name the file of the private one")
    phrase = os.environ.get(PASSPHRASE)
    encrypted = b"ENCRYPTED" in content
    if encrypted and not phrase:
        raise UserError(f"{name}: the key is encrypted; set {PASSPHRASE} to its pass phrase")
    try:
        key = load_pem_private_key(content, phrase.encode() if encrypted and phrase else None)
        return CryptoSigner(key)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        reason = f"{PASSPHRASE} is not its pass phrase" if encrypted else f"not a private key in PEM ({error})"
        raise UserError(f"{name}: {' '.join(reason.split())}; create one: {CREATE_KEY}") from error


def is_readable_by_others(path: Path) -> bool:
    """Return whether somebody else on this machine may read a file."""
    return os.name == "posix" and bool(path.stat().st_mode & READABLE_BY_OTHERS)


def sign(payload: bytes, signer: "CryptoSigner") -> str:
    """Return the DSSE envelope of a payload with one signature, as JSON."""
    from securesystemslib.dsse import Envelope

    envelope = Envelope(payload, PAYLOAD_TYPE, {})
    envelope.sign(signer)
    return json.dumps(envelope.to_dict(), indent=2) + "\n"


def trusted_keys(path: Path, name: str) -> "dict[str, SSlibKey]":
    """Return the public keys in a file of trusted identities, by the name of each.

    It maps names to `{key: …}`: the key in PEM, or a PEM file beside this one. Raises UserError, which begins with
    `name`, for another file.
    """
    try:
        values = read_yaml_file(path)
    except ValueError as error:
        raise UserError(f"{name}: not YAML: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
        raise UserError(f"{name}: expected names with their public keys, such as anna: {{key: anna.pem}}")
    return {str(identity): public_key(entry, path, f"{name}: {identity}") for identity, entry in values.items()}


def public_key(entry: Mapping[str, Any], path: Path, name: str) -> "SSlibKey":
    """Return the public key of an entry in the trust file at `path`; UserError, which begins with `name`, if none."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
    from securesystemslib.signer import SSlibKey

    if list(entry) != ["key"] or not isinstance(entry["key"], str):
        raise UserError(f"{name}: expected one entry, key: a public key in PEM, or a file with one")
    text = entry["key"]
    try:
        content = text.encode() if text.lstrip().startswith("-----BEGIN") else (path.parent / text).read_bytes()
        if b"PRIVATE KEY" in content:
            raise UserError(
                f"{name}: a private key, which belongs to nobody else; extract the public one: {EXTRACT_KEY}"
            )
        return SSlibKey.from_crypto(load_pem_public_key(content))
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UserError(f"{name}: key {text.strip()[:40]!r} cannot be read: {reason}") from error


def verify(content: bytes, keys: "Mapping[str, SSlibKey]", name: str) -> Signed:
    """Return what a DSSE envelope holds, and whose signatures it has.

    Raises UserError, which begins with `name`, for anything else, and if a signature is not that of its key.
    """
    from securesystemslib.exceptions import UnverifiedSignatureError, VerificationError

    envelope = parse(content, name)
    if envelope.payload_type != PAYLOAD_TYPE:
        raise UserError(f"{name}: its payload is {envelope.payload_type}, not {PAYLOAD_TYPE}")
    known = {key.keyid: identity for identity, key in keys.items()}
    for key in keys.values():
        if key.keyid in envelope.signatures:
            try:
                key.verify_signature(envelope.signatures[key.keyid], envelope.pae())
            except (UnverifiedSignatureError, VerificationError) as error:
                whose = known[key.keyid]
                raise UserError(
                    f"{name}: not the signature of {whose}: forged, or edited after it was signed"
                ) from error
    signers = tuple(known[each] for each in envelope.signatures if each in known)
    return Signed(envelope.payload, signers, tuple(each for each in envelope.signatures if each not in known))


def parse(content: bytes, name: str) -> "Envelope":
    """Return a DSSE envelope with a signature at least; UserError, which begins with `name`, for anything else."""
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import Error

    try:
        envelope = Envelope.from_dict(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Error) as error:
        raise UserError(f"{name}: not a signed verdict (a DSSE envelope)") from error
    if not envelope.signatures:
        raise UserError(f"{name}: it has no signature")
    return envelope
