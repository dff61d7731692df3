"""Multi-scalar products over a fixed list of points: one interface, two ways to the same bytes.

`CurveBasis` leaves the product to a curve library and works everywhere.  `msm_numba.FixedBase` has a table of multiples
and compiled code; it is several times faster and lets threads run side by side.  Points of a basis are trusted; what is
multiplied by what is `commit.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.curve import G1, Curve


class Basis(Protocol):
    """Points P_0, P_1, ... of G1, none of them infinity.  Results are 48 compressed bytes, infinity among them."""

    def msm(self, scalars: bytes) -> bytes:
        """sum_i s_i P_i of at most as many scalars as points (ValueError), 32 bytes little-endian, reduced."""

    def msm_small(self, values: NDArray[np.int64], tail: bytes) -> bytes:
        """sum_i values_i P_i + sum_k tail_k P_{m + k}, m values of either sign, tail as in `msm`.

        Any int64 is right; the smaller the faster."""


class CurveBasis:
    """`Basis` by the products of a curve library."""

    def __init__(self, points: Sequence[G1], curve: Curve) -> None:
        self._points = list(points)
        self._curve = curve

    def _product(self, start: int, scalars: bytes) -> G1:
        # More scalars than points, or a part of one, are refused by the product itself.
        return self._curve.msm_le_bytes(self._points[start : start + len(scalars) // 32], scalars)

    def msm(self, scalars: bytes) -> bytes:
        return self._curve.encode_g1(self._product(0, scalars))

    def msm_small(self, values: NDArray[np.int64], tail: bytes) -> bytes:
        curve, points = self._curve, self._points[: len(values)]
        negative = values < 0
        if negative.any():
            # r - x would be full size and cost the speed; the sign goes to the point instead.
            points = [curve.neg(p) if sign else p for p, sign in zip(points, negative.tolist(), strict=True)]
        scalars = np.zeros((len(values), 4), dtype="<u8")
        # The absolute value of the smallest int64 is right once it is read without a sign.
        scalars[:, 0] = np.abs(values).view(np.uint64)
        p = curve.msm_le_bytes(points, scalars.tobytes())
        if tail:  # apart, so that small scalars stay among themselves
            p = curve.add(p, self._product(len(values), tail))
        return curve.encode_g1(p)
