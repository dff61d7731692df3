"""Multi-scalar products on G1 over a fixed list of points, in compiled code: `FixedBase` (protocol section 2).

A prover commits to hundreds of columns over one and the same basis, so the basis is worth a table: the multiples
2^(c j) P_i for all windows of c bits, which put the digits of all windows into one set of buckets.  How the buckets are
summed is `numba_buckets.py`, the arithmetic below it `numba_points.py` and `numba_lanes.py`.

Memory: the table has ceil(257 / c) points of 128 bytes for each point of the basis (96 on processors without vectors of
52-bit products): 5.3 MB for 2051 points at c = 13.  Each product running at a time takes about as much again, which is
kept for the next one and not wiped in between: it holds digits of secret scalars.

The results are exact for every input: equal points, opposite points and infinity, wherever they meet, are cases of
the addition.  The time a product takes depends on the scalars (their non-zero digits, and the memory touched):
this is for a prover that serves one owner in a process of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra import numba_buckets as buckets
from marginseal.algebra.curve import COMPRESSED, G1_AFFINE_BYTES, G1_BYTES, INFINITY, P, compress_g1
from marginseal.algebra.numba_compile import LANES, Words
from marginseal.algebra.numba_field import from_rows
from marginseal.algebra.numba_lanes import BLOCK, POINT, aligned
from marginseal.algebra.numba_points import T_ROWS
from marginseal.algebra.numba_projective import load_points, unload_points
from marginseal.errors import DecodeError

_BATCH = 2048 // LANES
"""Blocks that share an inversion: enough to make its cost small, few enough to stay in the second-level cache."""

_IDENTITY = bytes([COMPRESSED | INFINITY]) + bytes(G1_BYTES - 1)


def decode_points(points: bytes) -> Words:
    """Rows of a `points` array from x | y, 48 bytes big-endian each.

    DecodeError point.length, point.malformed (a coordinate at or above p), point.not-on-curve (which includes the
    zeros that some encodings mean infinity by).  The subgroup is not checked."""
    if len(points) % G1_AFFINE_BYTES:
        raise DecodeError("point.length", f"affine points are {G1_AFFINE_BYTES} bytes each")
    words = np.frombuffer(points, dtype=">u8").reshape(-1, 2, 6)[:, :, ::-1].astype(np.uint64)
    if any(x >= P for x in from_rows(words.reshape(-1, 6))):
        raise DecodeError("point.malformed", "a coordinate at or above the field prime")
    out = aligned(len(words), POINT)
    if load_points(words.reshape(-1, 12), out) < len(words):
        raise DecodeError("point.not-on-curve", "coordinates that are no point of the curve")
    return out


def encode_points(points: Words) -> bytes:
    """The inverse of `decode_points`.  ValueError if one is infinity."""
    words = np.empty((len(points), 12), np.uint64)
    if unload_points(np.ascontiguousarray(points), words) < len(points):
        raise ValueError("infinity has no coordinates")
    return words.reshape(-1, 2, 6)[:, :, ::-1].astype(">u8").tobytes()


def _window_bits(points: int) -> int:
    """The c with the fewest additions: a digit of each scalar for each window, and two for each bucket."""
    return min(range(4, 15), key=lambda c: points * buckets.windows_of(c) + 2 * 2 ** (c - 1))


@dataclass(frozen=True, eq=False)
class _Workspace:
    """Scratch of one product of up to `points` scalars."""

    sums: Words
    halves: Words
    lists: NDArray[np.int32]
    denominators: Words
    prefixes: Words
    t: Words

    @classmethod
    def create(cls, points: int, c: int) -> _Workspace:
        count, half = points * buckets.windows_of(c), 2 ** (c - 1)
        # The first sums of a bucket are half as many as its entries, rounded up; so for rows and columns of buckets.
        room = max(count, 2 * half + 2)
        return cls(
            aligned(count // 2 + half + 2, POINT),
            aligned(half + 2 * 2 ** (c // 2 + 1) + 4, POINT),
            np.empty((6, room + LANES), np.int32),
            aligned(_BATCH, BLOCK),
            aligned(_BATCH, BLOCK),
            aligned(T_ROWS, BLOCK),
        )


class FixedBase:
    """sum_i s_i P_i for fixed points P_i of G1; safe to use from several threads, which then run in parallel."""

    def __init__(self, points: bytes, window_bits: int | None = None) -> None:
        """points: x | y, 48 bytes big-endian each, none at infinity.  DecodeError as `decode_points`.

        window_bits (2 to 16) is chosen by the number of points unless given."""
        affine = decode_points(points)
        self._count = len(affine)
        self._bits = _window_bits(self._count) if window_bits is None else window_bits
        if not 2 <= self._bits <= 16:
            raise ValueError("windows are 2 to 16 bits wide")
        self._table = aligned(self._count * buckets.windows_of(self._bits), POINT)
        blocks = -(-self._count // LANES)
        if self._count:
            buckets.extend_table(
                affine, self._bits, self._table, aligned(blocks, BLOCK), aligned(blocks, BLOCK), aligned(T_ROWS, BLOCK)
            )
        self._idle: list[_Workspace] = []

    def __len__(self) -> int:
        return self._count

    @property
    def table_bytes(self) -> int:
        """Memory of the table."""
        return self._table.nbytes

    def msm(self, scalars: bytes | Words) -> bytes:
        """The compressed point sum_{i < m} s_i P_i for m <= len(self) scalars below 2^256, as 32 bytes little-endian
        each or as uint64 (m, 4); infinity is c0 00 ... 00.  ValueError for another shape or too many."""
        if not isinstance(scalars, np.ndarray):
            if len(scalars) % 32:
                raise ValueError("scalars are 32 bytes each")
            scalars = np.frombuffer(scalars, dtype="<u8").reshape(-1, 4)
        return self._product(scalars, np.zeros(len(scalars), np.bool_))

    def msm_small(self, values: NDArray[np.int64], tail: bytes = b"") -> bytes:
        """sum_i values_i P_i + sum_k tail_k P_{len(values) + k}: small integers of either sign for the first points,
        scalars as in `msm` for the next.  The cost is that of the digits there are, so small values are cheap."""
        if len(tail) % 32:
            raise ValueError("scalars are 32 bytes each")
        small = np.ascontiguousarray(values, dtype=np.int64)
        scalars = np.zeros((len(small) + len(tail) // 32, 4), np.uint64)
        # The absolute value of the smallest int64 is right as an unsigned word.
        scalars[: len(small), 0] = np.abs(small).view(np.uint64)
        scalars[len(small) :] = np.frombuffer(tail, dtype="<u8").reshape(-1, 4)
        negative = np.zeros(len(scalars), np.bool_)
        negative[: len(small)] = small < 0
        return self._product(scalars, negative)

    def _product(self, scalars: Words, negative: NDArray[np.bool_]) -> bytes:
        if scalars.ndim != 2 or scalars.shape[1] != 4 or scalars.dtype.kind != "u" or len(scalars) > self._count:
            raise ValueError(f"up to {self._count} scalars of four words, not {scalars.shape}")
        scalars = np.ascontiguousarray(scalars, dtype=np.uint64)
        plain = np.zeros((2, 6), np.uint64)
        try:
            space = self._idle.pop()
        except IndexError:
            space = _Workspace.create(self._count, self._bits)
        try:
            finite = buckets.product(
                self._table,
                self._count,
                self._bits,
                scalars,
                negative,
                space.sums,
                space.halves,
                space.lists,
                space.denominators,
                space.prefixes,
                space.t,
                plain,
            )
        finally:
            self._idle.append(space)
        if not finite:
            return _IDENTITY
        return compress_g1(b"".join([x.to_bytes(G1_BYTES, "big") for x in from_rows(plain)]))
