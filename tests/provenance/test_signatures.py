import base64
import json
import shutil
import subprocess

import pytest
from keys import write_key

from workflow.errors import UserError
from workflow.provenance.signatures import (
    PASSPHRASE,
    PAYLOAD_TYPE,
    is_readable_by_others,
    sign,
    signer_of,
    trusted_keys,
    verify,
)

PAYLOAD = b'{"verdict": "equal"}\n'


@pytest.fixture
def trust(tmp_path):
    """Return the keys of anna, bob and rosa, whose private ones lie in the same folder."""
    for name, kind in (("anna", "ed25519"), ("bob", "ecdsa"), ("rosa", "rsa")):
        write_key(tmp_path, name, kind)
    bob = "\n".join(f"    {line}" for line in (tmp_path / "bob.pub").read_text().splitlines())
    (tmp_path / "trust.yaml").write_text(f"anna: {{key: anna.pub}}\nrosa: {{key: rosa.pub}}\nbob:\n  key: |\n{bob}\n")
    return trusted_keys(tmp_path / "trust.yaml", "trust=trust.yaml")


def signed(folder, name: str, payload: bytes = PAYLOAD) -> bytes:
    return sign(payload, signer_of(folder / f"{name}.pem", f"sign={name}")).encode()


@pytest.mark.parametrize("name", ["anna", "bob", "rosa"])
def test_a_signature_names_whose_key_it_is(trust, tmp_path, name):
    found = verify(signed(tmp_path, name), trust, "here")
    assert (found.payload, found.signers, found.unknown) == (PAYLOAD, (name,), ())


def test_the_key_of_somebody_else_is_unknown(trust, tmp_path):
    write_key(tmp_path, "carl")
    found = verify(signed(tmp_path, "carl"), trust, "here")
    assert found.signers == ()
    assert len(found.unknown) == 1


def test_openssl_verifies_what_was_signed(trust, tmp_path):
    """The bytes are those of the DSSE specification, as another program computes them."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed")
    envelope = json.loads(signed(tmp_path, "bob"))
    kind = envelope["payloadType"]
    encoded = b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(PAYLOAD), PAYLOAD)
    (tmp_path / "bytes").write_bytes(encoded)
    (tmp_path / "signature").write_bytes(base64.b64decode(envelope["signatures"][0]["sig"]))
    words = ["openssl", "dgst", "-sha256", "-verify", "bob.pub", "-signature", "signature", "bytes"]
    assert b"Verified OK" in subprocess.run(words, cwd=tmp_path, check=True, capture_output=True).stdout


def other_payload(envelope: dict) -> None:
    envelope["payload"] = base64.b64encode(PAYLOAD.replace(b"equal", b"wrong")).decode()


def other_type(envelope: dict) -> None:
    envelope["payloadType"] = "application/json"


def other_signature(envelope: dict) -> None:
    content = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    content[3] ^= 1
    envelope["signatures"][0]["sig"] = base64.b64encode(content).decode()


def no_signature(envelope: dict) -> None:
    envelope["signatures"] = []


def no_payload(envelope: dict) -> None:
    del envelope["payload"]


def signature_is_no_text(envelope: dict) -> None:
    envelope["signatures"] = [7]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (other_payload, "here: not the signature of anna: forged, or edited after it was signed"),
        (other_signature, "here: not the signature of anna"),
        (other_type, f"here: its payload is application/json, not {PAYLOAD_TYPE}"),
        (no_signature, "here: it has no signature"),
        (no_payload, "here: not a signed verdict"),
        (signature_is_no_text, "here: not a signed verdict"),
    ],
)
def test_an_edited_envelope_is_refused(trust, tmp_path, edit, words):
    envelope = json.loads(signed(tmp_path, "anna"))
    edit(envelope)
    with pytest.raises(UserError) as raised:
        verify(json.dumps(envelope).encode(), trust, "here")
    assert words in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"\xff", b'{"payload": 1}', b"[" * 100_000])
def test_anything_else_is_no_envelope(trust, content):
    with pytest.raises(UserError, match="here: not a signed verdict"):
        verify(content, trust, "here")


def test_the_signature_of_another_envelope_is_refused(trust, tmp_path):
    one, other = (json.loads(signed(tmp_path, "anna", text)) for text in (PAYLOAD, b"{}"))
    with pytest.raises(UserError, match="not the signature of anna"):
        verify(json.dumps(one | {"signatures": other["signatures"]}).encode(), trust, "here")


def test_an_encrypted_key_needs_its_pass_phrase(tmp_path, monkeypatch):
    path = write_key(tmp_path, "anna", phrase="secret")
    with pytest.raises(UserError, match=f"the key is encrypted; set {PASSPHRASE}"):
        signer_of(path, "sign=anna.pem")
    monkeypatch.setenv(PASSPHRASE, "wrong")
    with pytest.raises(UserError, match=f"{PASSPHRASE} is not its pass phrase"):
        signer_of(path, "sign=anna.pem")
    monkeypatch.setenv(PASSPHRASE, "secret")
    assert sign(PAYLOAD, signer_of(path, "sign=anna.pem"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file or directory; create a key: openssl"),
        (b"rubbish", "not a private key in PEM"),
        (b"", "not a private key in PEM"),
        (b"-----BEGIN PUBLIC KEY-----\n", "a public key, which cannot sign"),
    ],
)
def test_what_is_no_private_key_is_one_line(tmp_path, content, words):
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        signer_of(path, "sign=key.pem")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- anna\n", "expected names with their public keys"),
        ("anna: anna.pub\n", "expected names with their public keys"),
        ("anna: {key: 7}\n", "trust: anna: expected one entry, key:"),
        ("anna: {key: anna.pub, role: admin}\n", "trust: anna: expected one entry, key:"),
        ("anna: {key: nobody.pub}\n", "key 'nobody.pub' cannot be read: No such file"),
        ("anna: {key: anna.pem}\n", "a private key, which belongs to nobody else"),
        ("anna: {key: trust.yaml}\n", "cannot be read"),
        ("anna: [\n", "not YAML"),
    ],
)
def test_what_is_no_file_of_trusted_keys_is_one_line(tmp_path, text, words):
    write_key(tmp_path, "anna")
    (tmp_path / "trust.yaml").write_text(text)
    with pytest.raises(UserError) as raised:
        trusted_keys(tmp_path / "trust.yaml", "trust")
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("mode", "expected"), [(0o600, False), (0o640, True), (0o604, True), (0o660, True)])
def test_a_key_that_others_can_read_is_noticed(tmp_path, mode, expected):
    (tmp_path / "key.pem").touch()
    (tmp_path / "key.pem").chmod(mode)
    assert is_readable_by_others(tmp_path / "key.pem") == expected
