"""Ed25519 keys with a role, and signatures with a purpose (protocol sections 5, 7 and 8).

A key belongs to one role and signs for the purposes of that role alone.  Every signature is over the DSSE encoding

    PAE(type, body) = "DSSEv1" SP len(type) SP type SP len(body) SP body

whose type is the purpose, so a signature made for one purpose is never valid for another, nor under another role's key
(the key's identifier covers its role).  Logs and witnesses sign notes of C2SP's form (`marginseal.log.note`), which
begin with the log's origin and not like a PAE.  Keys at rest are `keyfile`, several signatures on one document
`envelope`, their change over time `keychange`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from types import MappingProxyType
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marginseal.errors import DecodeError, InputError, ProofRejected

KEY_BYTES = 32
SIGNATURE_BYTES = 64
_FIELD_PRIME = 2**255 - 19


class Role(StrEnum):
    """Whose key it is."""

    ACCOUNT = "account"
    SOURCE = "source"
    ORACLE = "oracle"
    OPERATOR = "operator"
    PROVER = "prover"
    LOG = "log"
    WITNESS = "witness"
    VENUE = "venue"


class Purpose(StrEnum):
    """What a signature says; the value is the DSSE payload type."""

    STATEMENT = "application/vnd.marginseal.statement-digest.v1"
    ATTESTATION = "application/vnd.marginseal.attestation.v1"
    ACCOUNT = "application/vnd.marginseal.account.v1+json"
    MANIFEST = "application/vnd.marginseal.manifest.v1+json"
    SOURCE_STATEMENT = "application/vnd.marginseal.source-statement.v1+json"
    SOURCE_RELEASE = "application/vnd.marginseal.source-release.v1+json"
    ORACLE_REPORT = "application/vnd.marginseal.oracle-report.v1+json"
    EPOCH = "application/vnd.marginseal.epoch.v1+json"
    SOURCE_REGISTRY = "application/vnd.marginseal.source-registry.v1+json"
    VENUE_REGISTRY = "application/vnd.marginseal.venue-registry.v1+json"
    PLEDGE_RELEASE = "application/vnd.marginseal.pledge-release.v1+json"
    KEY_CHANGE = "application/vnd.marginseal.key-change.v1+json"
    KEY_REVOCATION = "application/vnd.marginseal.key-revocation.v1+json"


SIGNERS = MappingProxyType(
    {
        Purpose.STATEMENT: frozenset({Role.ACCOUNT}),
        Purpose.ATTESTATION: frozenset({Role.PROVER}),
        Purpose.ACCOUNT: frozenset({Role.ACCOUNT}),
        Purpose.MANIFEST: frozenset({Role.ACCOUNT}),
        Purpose.SOURCE_STATEMENT: frozenset({Role.SOURCE}),
        Purpose.SOURCE_RELEASE: frozenset({Role.SOURCE}),
        Purpose.ORACLE_REPORT: frozenset({Role.ORACLE}),
        Purpose.EPOCH: frozenset({Role.OPERATOR}),
        Purpose.SOURCE_REGISTRY: frozenset({Role.OPERATOR}),
        Purpose.VENUE_REGISTRY: frozenset({Role.OPERATOR}),
        Purpose.PLEDGE_RELEASE: frozenset({Role.VENUE}),
        Purpose.KEY_CHANGE: frozenset(Role),
        Purpose.KEY_REVOCATION: frozenset(Role),
    }
)
"""Which roles may sign for which purpose."""


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1, pre-authentication encoding: what is signed."""
    name = payload_type.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


_SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _FIELD_PRIME - 1,
        0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826,
        0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7,
    }
)
"""The y of the eight points of edwards25519 whose order divides 8: of the identity, of (0, -1), of the two points with
y = 0, and of the four with d y^4 + 2 y^2 = 1, whose doubles have y = 0."""


def check_public(raw: bytes) -> bytes:
    """32 bytes that can be a public key.  DecodeError key.length, key.not-canonical, key.small-order.

    Under a key of small order one signature is valid for every message; the curve library accepts such keys, so the
    eight of them, and every y that is not reduced, are refused here."""
    if len(raw) != KEY_BYTES:
        raise DecodeError("key.length", f"a public key is {KEY_BYTES} bytes")
    y = int.from_bytes(raw, "little") & (2**255 - 1)
    if y >= _FIELD_PRIME:
        raise DecodeError("key.not-canonical", "a public key whose coordinate is not reduced")
    if y in _SMALL_ORDER_Y:
        raise DecodeError("key.small-order", "a public key of small order")
    return raw


@dataclass(frozen=True)
class PublicKey:
    """32 bytes in a role.  DecodeError key.* for bytes that are no key."""

    role: Role
    raw: bytes

    def __post_init__(self) -> None:
        check_public(self.raw)

    @cached_property
    def key_id(self) -> str:
        """The first 16 bytes of SHA-256("MARGINSEAL-V1-KEY" | len8(role) | role | key), hexadecimal."""
        role = self.role.encode()
        return hashlib.sha256(b"MARGINSEAL-V1-KEY" + bytes([len(role)]) + role + self.raw).hexdigest()[:32]

    def is_valid(self, purpose: Purpose, message: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, for this purpose, and the role may sign for it."""
        if self.role not in SIGNERS[purpose] or len(signature) != SIGNATURE_BYTES:
            return False
        try:
            Ed25519PublicKey.from_public_bytes(self.raw).verify(signature, pae(purpose, message))
        except (InvalidSignature, ValueError):  # ValueError: a y that belongs to no point
            return False
        return True

    def verify(self, purpose: Purpose, message: bytes, signature: bytes) -> None:
        """ProofRejected signature.invalid."""
        if not self.is_valid(purpose, message, signature):
            raise ProofRejected("signature.invalid", f"not a signature of this {self.role} key for this purpose")


@dataclass(frozen=True, eq=False)
class SigningKey:
    """A private key: 32 bytes of seed that never appear in a representation and are never pickled."""

    role: Role
    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != KEY_BYTES:
            raise InputError("key.length", f"a private key is {KEY_BYTES} bytes")

    @cached_property
    def public(self) -> PublicKey:
        return PublicKey(self.role, self._private.public_key().public_bytes_raw())

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def sign(self, purpose: Purpose, message: bytes) -> bytes:
        """64 bytes.  InputError key.purpose if the role does not sign for this purpose."""
        if self.role not in SIGNERS[purpose]:
            raise InputError("key.purpose", f"a key of role {self.role} does not sign {purpose}")
        return self._private.sign(pae(purpose, message))

    def note_key(self) -> Ed25519PrivateKey:
        """The library's key, with which a log or witness signs notes.  InputError key.purpose for another role."""
        if self.role not in (Role.LOG, Role.WITNESS):
            raise InputError("key.purpose", f"a key of role {self.role} does not sign notes")
        return self._private

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not travel between processes")
