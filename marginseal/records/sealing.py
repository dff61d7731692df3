"""Sealed messages: HPKE (RFC 9180) with the hybrid post-quantum KEM X-Wing, HKDF-SHA-256 and AES-256-GCM.

A source seals its opening to the account's key, the institution its submission to the prover's.  Base mode, one
message: the sender is anonymous here and is known by a signature elsewhere.  All associated data goes into `info`
(`seal_info`), so a ciphertext opens only in the place it was made for.  The private key is one 32-byte seed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from marginseal.errors import DecodeError, InputError
from marginseal.records.document import canonical

SEED_BYTES = 32
PUBLIC_BYTES = 1216
OVERHEAD = 1120 + 16
"""What sealing adds to a message: the encapsulation and the tag."""

_MLKEM_BYTES = 1184
_SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)


def seal_info(label: str, header: Mapping[str, Any]) -> bytes:
    """ "MARGINSEAL-V1-SEAL" | 0 | label | 0 | SHA-256(canonical header): where a sealed message belongs."""
    return b"MARGINSEAL-V1-SEAL\0" + label.encode("ascii") + b"\0" + hashlib.sha256(canonical(header)).digest()


@dataclass(frozen=True)
class SealingPublicKey:
    """1216 bytes: ML-KEM-768 (1184) | X25519 (32).  DecodeError sealing.public-key for bytes that are no key."""

    raw: bytes

    def __post_init__(self) -> None:
        # Some bad keys (an X25519 share of small order) show only when something is sealed to them.
        self.seal(b"", b"MARGINSEAL-V1-KEY-CHECK")

    @cached_property
    def key_id(self) -> str:
        """The first 16 bytes of SHA-256("MARGINSEAL-V1-SEALING-KEY" | key), hexadecimal."""
        return hashlib.sha256(b"MARGINSEAL-V1-SEALING-KEY" + self.raw).hexdigest()[:32]

    def seal(self, message: bytes, info: bytes) -> bytes:
        """encapsulation | ciphertext | tag: 1136 bytes longer than the message."""
        if len(self.raw) != PUBLIC_BYTES:
            raise DecodeError("sealing.public-key", f"a sealing key is {PUBLIC_BYTES} bytes")
        try:
            key = MLKEM768X25519PublicKey(
                mlkem.MLKEM768PublicKey.from_public_bytes(self.raw[:_MLKEM_BYTES]),
                x25519.X25519PublicKey.from_public_bytes(self.raw[_MLKEM_BYTES:]),
            )
            return _SUITE.encrypt(message, key, info=info)
        except ValueError:
            raise DecodeError("sealing.public-key", "bytes that are no sealing key") from None


@dataclass(frozen=True, eq=False)
class SealingKey:
    """The X-Wing seed; SHAKE-256 stretches it to the ML-KEM seed (64 bytes) and the X25519 scalar (32)."""

    seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.seed) != SEED_BYTES:
            raise InputError("sealing.seed", f"a sealing key's seed is {SEED_BYTES} bytes")

    @cached_property
    def _parts(self) -> tuple[mlkem.MLKEM768PrivateKey, x25519.X25519PrivateKey]:
        expanded = hashlib.shake_256(self.seed).digest(96)
        return (
            mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]),
            x25519.X25519PrivateKey.from_private_bytes(expanded[64:]),
        )

    @cached_property
    def public(self) -> SealingPublicKey:
        kem, dh = self._parts
        return SealingPublicKey(kem.public_key().public_bytes_raw() + dh.public_key().public_bytes_raw())

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """The message.  DecodeError sealing.open for any other key, place, or ciphertext: it does not say which."""
        try:
            return _SUITE.decrypt(sealed, MLKEM768X25519PrivateKey(*self._parts), info=info)
        except InvalidTag:
            raise DecodeError("sealing.open", "a sealed message that does not open with this key, here") from None

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key does not travel between processes")
