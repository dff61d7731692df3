"""Signed notes, as in C2SP signed-note: a text, a blank line, and one line for each signature.

    <text, ends in a newline>
    <newline>
    — <key name> <base64(key id, 4 bytes | signature)>
    ...

    key id        SHA-256(name | 0x0A | kind | public key)[:4]
    verifier key  name+hex(key id)+base64(kind | public key)

A note is parsed strictly and says nothing until a signature of a known key has been verified.  This module signs and
verifies plain Ed25519 (kind 0x01); witnesses' timestamped signatures are left to `cosignature`, and what a text means
to `checkpoint` and `head`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marginseal.errors import DecodeError, InputError, ProofRejected

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 255
_DASH = "— "
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)


class KeyKind(IntEnum):
    """The signature type byte of a key (C2SP signed-note, tlog-cosignature)."""

    ED25519 = 0x01
    COSIGNATURE = 0x04
    COSIGNATURE_MLDSA = 0x06


_PUBLIC_BYTES = {KeyKind.ED25519: 32, KeyKind.COSIGNATURE: 32, KeyKind.COSIGNATURE_MLDSA: 1312}


@dataclass(frozen=True)
class VerifierKey:
    """A key that may sign notes: its name, what kind of signature it makes, and the raw public key."""

    name: str
    kind: KeyKind
    public: bytes

    def __post_init__(self) -> None:
        if not is_name(self.name) or len(self.public) != _PUBLIC_BYTES[self.kind]:
            raise InputError("note.key", "a verifier key needs a name without spaces or '+', and a key of its length")

    @property
    def key_id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes([self.kind]) + self.public)}"

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """name+hash+key, in the one spelling that `str` gives.  DecodeError note.key."""
        fields = text.split("+", 2)
        fault = DecodeError("note.key", "not a verifier key: name+hash+key")
        if len(fields) != 3 or not is_name(fields[0]) or not _KEY_ID.fullmatch(fields[1]):
            raise fault
        material = decode_base64(fields[2], code="note.key", what="verifier key")
        if not material or material[0] not in _PUBLIC_BYTES:
            raise fault
        kind = KeyKind(material[0])
        if len(material) != 1 + _PUBLIC_BYTES[kind]:
            raise fault
        key = cls(fields[0], kind, material[1:])
        if key.key_id.hex() != fields[1]:
            raise DecodeError("note.key", "the hash of a verifier key is not that of its name and key")
        return key


@dataclass(frozen=True)
class NoteSignature:
    """One signature line: who claims to have signed, and the bytes after the key id."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True)
class Note:
    """A text and its signatures, none of them verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def encode(self) -> bytes:
        return (self.text + "\n" + "".join(s.line() for s in self.signatures)).encode()

    def by(self, key: VerifierKey) -> list[bytes]:
        """The signatures that carry this key's name and id."""
        return [s.signature for s in self.signatures if (s.name, s.key_id) == (key.name, key.key_id)]

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """Bytes -> Note, and `parse(b).encode() == b`.  DecodeError note.malformed, note.too-large."""
        if len(data) > MAX_NOTE_BYTES:
            raise DecodeError("note.too-large", f"a note has more than {MAX_NOTE_BYTES} bytes")
        try:
            whole = data.decode("utf-8")
        except UnicodeDecodeError:
            raise _malformed("not UTF-8") from None
        if any(c < " " and c != "\n" for c in whole):
            raise _malformed("a control character")
        text, blank, tail = whole.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise _malformed("no blank line before the signatures, or no newline at the end")
        text += "\n"
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise _malformed(f"more than {MAX_SIGNATURES} signatures")
        return cls(text, tuple(_signature(line) for line in lines))


@dataclass(frozen=True)
class Signer:
    """A name and the Ed25519 key that signs notes under it."""

    name: str
    private: Ed25519PrivateKey

    @property
    def key(self) -> VerifierKey:
        return VerifierKey(self.name, KeyKind.ED25519, self.private.public_key().public_bytes_raw())

    def sign(self, text: str) -> Note:
        """The note of `text` with this signature alone.  InputError note.text for what no note can hold."""
        if not text.endswith("\n") or any(c < " " and c != "\n" for c in text):
            raise InputError("note.text", "the text of a note ends in a newline and holds no other control characters")
        key = self.key
        return Note(text, (NoteSignature(key.name, key.key_id, self.private.sign(text.encode())),))


def verify_note(note: Note, keys: Iterable[VerifierKey]) -> list[VerifierKey]:
    """Which of `keys` (Ed25519) signed the note: at least one.

    Signatures of other keys are ignored; one that claims a known key and does not verify refuses the whole note.
    ProofRejected note.signature, note.unsigned."""
    signed = []
    for key in keys:
        if key.kind is not KeyKind.ED25519:
            raise InputError("note.key", "a note is signed with plain Ed25519 keys; witnesses cosign checkpoints")
        signatures = note.by(key)
        for signature in signatures:
            verify_ed25519(key.public, signature, note.text.encode())
        if signatures:
            signed.append(key)
    if not signed:
        raise ProofRejected("note.unsigned", "no known key signed the note")
    return signed


def verify_ed25519(public: bytes, signature: bytes, message: bytes) -> None:
    """ProofRejected note.signature when the signature is not that of the key over the message."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProofRejected("note.signature", "a signature of a known key does not verify") from None


def is_name(name: str) -> bool:
    """Whether a text can name a key: 1..255 bytes of UTF-8, no spaces, no '+', no control characters."""
    try:
        size = len(name.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return 1 <= size <= MAX_NAME_BYTES and not any(c.isspace() or c == "+" or c < " " for c in name)


def encode_base64(data: bytes) -> str:
    """RFC 4648 section 4, with padding."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: str, *, code: str, what: str) -> bytes:
    """The bytes of the one canonical spelling; DecodeError `code` for any other."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise DecodeError(code, f"{what}: not base64") from None
    if encode_base64(data) != text:  # spare bits set, or padding of another length
        raise DecodeError(code, f"{what}: not canonical base64")
    return data


def _signature(line: str) -> NoteSignature:
    if not line.startswith(_DASH):
        raise _malformed("a signature line does not begin with a dash")
    name, space, encoded = line[len(_DASH) :].partition(" ")
    if not space or not is_name(name):
        raise _malformed("a signature line is not a name and a signature")
    blob = decode_base64(encoded, code="note.malformed", what="note signature")
    if len(blob) < 5:
        raise _malformed("a signature is shorter than its key id")
    return NoteSignature(name, blob[:4], blob[4:])


def _malformed(why: str) -> DecodeError:
    return DecodeError("note.malformed", f"not a signed note: {why}")
