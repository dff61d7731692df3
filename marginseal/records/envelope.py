"""DSSE envelopes: a document, its type, and the signatures of any number of parties (docs/wire.md).

All records that a party signs are envelopes over canonical JSON.  DSSE signs the very bytes that were received, so a
verifier never writes a document again to check it; it takes several signatures on one document; and libraries in
every language read it.  The one signature outside an envelope is the owner's over the statement digest: 64 bytes in
the attestation, over a PAE as well.

The *digest* of a signed record is SHA-256 of the envelope's canonical bytes: its address in the log.  A further
signature gives another digest to the same document, so whoever compares documents compares payloads.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self, TypeVar

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.records import document
from marginseal.records.document import Members
from marginseal.records.keys import PublicKey, Purpose, SigningKey

MAX_PAYLOAD_BYTES = 16 * 2**20
MAX_SIGNATURES = 64
MAX_SIGNATURE_BYTES = 8192
"""Room for signatures of other algorithms, which this version carries and ignores."""

_MAX_BYTES = 4 * MAX_PAYLOAD_BYTES // 3 + MAX_SIGNATURES * (2 * MAX_SIGNATURE_BYTES)
_MAX_COMMAS = 2**13  # three members, 64 signatures of two, names of at most 64 characters, a type of at most 256


class Record(Protocol):
    """A document that is signed: its purpose, its canonical bytes and the door back."""

    PURPOSE: ClassVar[Purpose]

    def payload(self) -> bytes:
        """The canonical bytes that are signed."""

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """The record behind canonical bytes.  DecodeError."""


T = TypeVar("T", bound=Record)


@dataclass(frozen=True)
class Signature:
    """One signature and a hint at whose; the hint decides nothing."""

    key_id: str
    signature: bytes


@dataclass(frozen=True)
class Envelope:
    """payload_type, payload and 1..64 signatures with distinct key ids."""

    payload_type: str
    payload: bytes
    signatures: tuple[Signature, ...]

    def __post_init__(self) -> None:
        ids = [s.key_id for s in self.signatures]
        if not 1 <= len(ids) <= MAX_SIGNATURES or len(set(ids)) != len(ids):
            raise DecodeError("envelope.signatures", "an envelope has 1 to 64 signatures with distinct key ids")
        if len(self.payload) > MAX_PAYLOAD_BYTES:
            raise DecodeError("envelope.size", f"an envelope's payload has at most {MAX_PAYLOAD_BYTES} bytes")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: names the signed record everywhere."""
        return hashlib.sha256(self.encode()).digest()

    @property
    def members(self) -> dict[str, Any]:
        """The envelope as a JSON object."""
        return {
            "payload": _base64(self.payload),
            "payloadType": self.payload_type,
            "signatures": [{"keyid": s.key_id, "sig": _base64(s.signature)} for s in self.signatures],
        }

    def encode(self) -> bytes:
        return document.canonical(self.members)

    @classmethod
    def decode(cls, data: bytes) -> Envelope:
        """Canonical bytes -> Envelope, no signature checked.  DecodeError record.*, json.*, envelope.*."""
        if data.count(b",") > _MAX_COMMAS:  # a list of millions would cost seconds before its shape is judged
            raise DecodeError("envelope.size", "an envelope has few members, and this has many")
        return cls._read(document.decode(data, what="envelope", keys=_KEYS, limit=_MAX_BYTES))

    @classmethod
    def from_members(cls, value: object) -> Envelope:
        """The envelope in a document that holds one.  DecodeError as `decode`."""
        return cls._read(Members(value, "envelope", _KEYS))

    @classmethod
    def _read(cls, top: Members) -> Envelope:
        payload = _unbase64(top.text("payload", limit=4 * MAX_PAYLOAD_BYTES // 3 + 4))
        entries = top.objects("signatures", ("keyid", "sig"), limit=MAX_SIGNATURES)
        signatures = tuple(
            Signature(e.name("keyid"), _unbase64(e.text("sig", limit=2 * MAX_SIGNATURE_BYTES))) for e in entries
        )
        return cls(top.text("payloadType", limit=256), payload, signatures)

    def verify(self, purpose: Purpose, keys: Iterable[PublicKey], *, threshold: int = 1) -> tuple[PublicKey, ...]:
        """The distinct known keys that signed this document for this purpose, at least `threshold` of them.

        Signatures by unknown keys are ignored; a wrong signature under a known key id counts for nothing.
        DecodeError envelope.type for another payload type; ProofRejected signature.threshold."""
        assert threshold >= 1
        self.check_type(purpose)
        known = {key.key_id: key for key in keys}
        signers = [
            known[s.key_id]
            for s in self.signatures
            if s.key_id in known and known[s.key_id].is_valid(purpose, self.payload, s.signature)
        ]
        if len(signers) < threshold:
            raise ProofRejected(
                "signature.threshold", f"{len(signers)} valid signatures by known keys on this {purpose.name.lower()}"
            )
        return tuple(signers)

    def check_type(self, purpose: Purpose) -> None:
        """DecodeError envelope.type."""
        if self.payload_type != purpose:
            raise DecodeError("envelope.type", f"not a document of type {purpose}")

    def countersign(self, key: SigningKey) -> Envelope:
        """One signature more.  InputError envelope.type for a document this program does not sign."""
        try:
            purpose = Purpose(self.payload_type)
        except ValueError:
            raise InputError("envelope.type", "a document of a type this program does not sign") from None
        added = Signature(key.public.key_id, key.sign(purpose, self.payload))
        return Envelope(self.payload_type, self.payload, (*self.signatures, added))


_KEYS = ("payload", "payloadType", "signatures")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str) -> bytes:
    """Standard base64 with padding, in its one spelling.  DecodeError envelope.base64."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        data = None
    if data is None or _base64(data) != text:
        raise DecodeError("envelope.base64", "envelope: not standard base64 in its one spelling")
    return data


def sign(record: Record, keys: Sequence[SigningKey]) -> Envelope:
    """The record in an envelope, signed by every key.  InputError key.purpose."""
    payload = record.payload()
    signatures = tuple(Signature(k.public.key_id, k.sign(record.PURPOSE, payload)) for k in keys)
    return Envelope(record.PURPOSE, payload, signatures)


def open_signed(kind: type[T], envelope: Envelope, keys: Iterable[PublicKey], *, threshold: int = 1) -> T:
    """The record of that kind in an envelope, its signatures verified first.  DecodeError, ProofRejected."""
    envelope.verify(kind.PURPOSE, keys, threshold=threshold)
    return kind.from_payload(envelope.payload)


def peek(kind: type[T], envelope: Envelope) -> T:
    """The record in an envelope with no signature checked: to learn who claims to have signed, and nothing else."""
    envelope.check_type(kind.PURPOSE)
    return kind.from_payload(envelope.payload)
