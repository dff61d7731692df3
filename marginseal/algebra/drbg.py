"""HMAC-DRBG with SHA-256 (NIST SP 800-90A, section 10.1.2): hedged randomness for every blinder.

Entropy is a secret key together with fresh system bytes, so that neither a weak key nor a weak system source alone
gives a blinder away (protocol.md section 2).  A draw of a scalar is one Generate of 32 bytes with the top bit cleared,
accepted if below r.  One generator serves one attempt at one proof or one commitment and is never reseeded.
"""

from __future__ import annotations

import hashlib
import hmac

from marginseal.algebra.field import R


class HmacDrbg:
    """Instantiate(entropy, nonce, personalisation), then Generate as often as needed (at most 2**48 times)."""

    def __init__(self, entropy: bytes, nonce: bytes, personalisation: bytes) -> None:
        assert len(entropy) >= 32
        self._key, self._v = bytes(32), b"\x01" * 32
        self._update(entropy + nonce + personalisation)

    def _update(self, data: bytes) -> None:
        for tag in (b"\x00", b"\x01") if data else (b"\x00",):
            self._key = hmac.digest(self._key, self._v + tag + data, hashlib.sha256)
            self._v = hmac.digest(self._key, self._v, hashlib.sha256)

    def generate(self, length: int) -> bytes:
        """One Generate call of `length` bytes, without additional input."""
        out = b""
        while len(out) < length:
            self._v = hmac.digest(self._key, self._v, hashlib.sha256)
            out += self._v
        self._update(b"")
        return out[:length]

    def scalar(self) -> int:
        """Uniform below r: 255 bits, rejection."""
        while True:
            x = int.from_bytes(self.generate(32), "big") & (2**255 - 1)
            if x < R:
                return x

    def scalars(self, count: int) -> tuple[int, ...]:
        return tuple(self.scalar() for _ in range(count))
