"""Openings of signed commitments: what a source or an owner knows behind C = [q + b_0 Z_H] (protocol section 7).

An opening message carries n, q, b_0 and 32 random bytes; its hash, which the source signs, hides because of b_0 and
those bytes.  b_0 is fresh for every commitment: two commitments that shared one would show their difference.

    entropy = secret key | 32 fresh bytes     nonce = SHA-256(header of the commitment)
    personalisation = "MARGINSEAL-V1-BLIND" | SHA-256(q, 8 bytes each) | tile | attempt, 8 bytes each

An opening never appears in a representation, a log line or an error.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.drbg import HmacDrbg
from marginseal.algebra.field import decode_scalar, scalar_bytes
from marginseal.algebra.srs import MAX_N, MIN_N
from marginseal.errors import DecodeError, InputError
from marginseal.records.wire import Reader, Writer

LABEL = "marginseal-opening-v1"
RANDOM_BYTES = 32
MAX_LOTS = 2**62
"""|lots| of any row stay below this (protocol section 3); a universe's own bound is tighter."""

BLIND_LABEL = b"MARGINSEAL-V1-BLIND"


@dataclass(frozen=True, eq=False)
class Opening:
    """q: int64 (n,), |q_i| < 2^62; b_0 in 1..r-1; 32 random bytes.  DecodeError opening.* outside these bounds."""

    q: NDArray[np.int64] = field(repr=False)
    b_0: int = field(repr=False)
    random: bytes = field(repr=False)

    def __post_init__(self) -> None:
        n = self.q.shape[0] if self.q.ndim == 1 else 0
        if self.q.dtype != np.int64 or n & (n - 1) or not MIN_N <= n <= MAX_N:
            raise DecodeError("opening.rows", "opening: the rows are int64 and a power of two in number, 8 to 2048")
        if bool(((self.q <= -MAX_LOTS) | (self.q >= MAX_LOTS)).any()):
            raise DecodeError("opening.lots", "opening: a quantity of 2^62 lots or more")
        if self.b_0 == 0 or len(self.random) != RANDOM_BYTES:
            raise DecodeError("opening.blinder", "opening: no blinder, or not 32 random bytes")
        q = self.q.view()
        q.flags.writeable = False
        object.__setattr__(self, "q", q)

    @property
    def n(self) -> int:
        return len(self.q)

    def commit(self, key: CommitmentKey) -> bytes:
        """C = [q + b_0 Z_H].  InputError opening.rows for a key of another number of rows."""
        if key.n != self.n:
            raise InputError("opening.rows", f"an opening of {self.n} rows, and a key for {key.n}")
        return key.commit_small(self.q, [self.b_0])

    def encode(self) -> bytes:
        """The opening message: 8 n + 94 bytes, whatever is held."""
        rows = self.q.astype(">i8").tobytes()
        return Writer().text(LABEL).int64(self.n).raw(rows).raw(scalar_bytes(self.b_0)).raw(self.random).bytes()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the opening message."""
        return hashlib.sha256(self.encode()).digest()

    @classmethod
    def decode(cls, data: bytes) -> Opening:
        """DecodeError opening.*, wire.*, scalar.*."""
        r = Reader(data, what="opening")
        if r.text() != LABEL:
            raise DecodeError("opening.version", "opening: unknown version")
        n = r.count(MAX_N)
        q = np.frombuffer(r.raw(8 * n), dtype=">i8").astype(np.int64)
        b_0, random = decode_scalar(r.raw(32)), r.raw(RANDOM_BYTES)
        r.end()
        return cls(q, b_0, random)

    def __reduce__(self) -> tuple[Any, ...]:
        return Opening.decode, (self.encode(),)


def draw_opening(
    q: NDArray[np.int64],
    *,
    header: bytes,
    index: int = 0,
    secret: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> Opening:
    """A fresh opening of q.  `header` names the commitment (who, what, when); `secret` is the maker's key, 32 bytes.

    InputError opening.* for rows that no opening may have."""
    rows = hashlib.sha256(np.ascontiguousarray(q, dtype=">i8").tobytes()).digest()
    counters = index.to_bytes(8, "big") + bytes(8)
    entropy = secret + random(32)
    drbg = HmacDrbg(entropy, hashlib.sha256(header).digest(), BLIND_LABEL + rows + counters)
    try:
        return Opening(q, drbg.scalar(), drbg.generate(RANDOM_BYTES))
    except DecodeError as e:
        raise InputError(e.code, e.message) from None
