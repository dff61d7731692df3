"""Points of G1 one at a time, compiled: in and out of the forms of `numba_points.py`, and the last sums of a product.

A single point is three rows of 6 words, X, Y, Z in Montgomery form (x 2^384 mod p), projective: x = X/Z, y = Y/Z, and
(0, 1, 0) is infinity.  `add_points` is complete: the formulas of Renes, Costello and Batina (2016), algorithm 7, hold
for all pairs of points of y^2 = x^3 + 4, whose group has odd order.
"""

from __future__ import annotations

import numpy as np

from marginseal.algebra.curve import P
from marginseal.algebra.numba_compile import IN, INDEX, OUT, Words, helper, kernel
from marginseal.algebra.numba_field import p_add, p_mul, p_sub, to_rows
from marginseal.algebra.numba_lanes import LIMBS, RADIX, copy_single, pack, unpack
from marginseal.algebra.numba_points import (
    FROM_LANES,
    SINGLE_ONE,
    SINGLE_TWELVE,
    SINGLE_ZERO,
    SINGLES,
    invert_single,
)

_FACTORS = to_rows([2**768 % P, 2 ** (RADIX + 384) % P, 4 * 2**384 % P, 1], 6)
_TO_SINGLE, _TO_LANES, _FOUR, _TO_PLAIN = range(4)


@helper
def set_infinity(v: Words, i: int) -> None:
    """Infinity in rows i, i + 1, i + 2."""
    copy_single(v, i, SINGLES, SINGLE_ZERO)
    copy_single(v, i + 1, SINGLES, SINGLE_ONE)
    copy_single(v, i + 2, SINGLES, SINGLE_ZERO)


@helper
def set_point(v: Words, i: int, points: Words, row: int) -> None:
    """An affine point, or infinity, in rows i, i + 1, i + 2."""
    infinite = True
    for k in range(2 * LIMBS):
        infinite = infinite and points[row, k] == 0
    if infinite:
        set_infinity(v, i)
        return
    for k in range(2):
        pack(v, i + k, points, row, k * LIMBS, 1)
        p_mul(v, i + k, v, i + k, SINGLES, FROM_LANES)
    copy_single(v, i + 2, SINGLES, SINGLE_ONE)


@helper
def add_points(v: Words, i: int, j: int, t: Words) -> None:
    """The point in rows i .. i + 2 plus that in rows j .. j + 2 (or the same), in place of the first."""
    for k in range(3):
        p_mul(t, k, v, i + k, v, j + k)
    for out, k, m in ((3, 0, 1), (4, 1, 2), (5, 0, 2)):
        # X Y' + X' Y and its like, from one product of sums.
        p_add(t, 6, v, i + k, v, i + m)
        p_add(t, 7, v, j + k, v, j + m)
        p_mul(t, out, t, 6, t, 7)
        p_sub(t, out, t, out, t, k)
        p_sub(t, out, t, out, t, m)
    p_add(t, 6, t, 0, t, 0)
    p_add(t, 0, t, 0, t, 6)  # 3 X X'
    p_mul(t, 2, t, 2, SINGLES, SINGLE_TWELVE)
    p_mul(t, 5, t, 5, SINGLES, SINGLE_TWELVE)
    p_add(t, 6, t, 1, t, 2)
    p_sub(t, 1, t, 1, t, 2)
    p_mul(v, i, t, 3, t, 1)
    p_mul(t, 7, t, 4, t, 5)
    p_sub(v, i, v, i, t, 7)
    p_mul(v, i + 1, t, 1, t, 6)
    p_mul(t, 7, t, 0, t, 5)
    p_add(v, i + 1, v, i + 1, t, 7)
    p_mul(v, i + 2, t, 6, t, 4)
    p_mul(t, 7, t, 3, t, 0)
    p_add(v, i + 2, v, i + 2, t, 7)


@helper
def to_plain(v: Words, i: int, out: Words) -> bool:
    """x and y of a single point as plain integers in rows 0 and 1 of out; False, and nothing written, for infinity."""
    infinite = True
    for k in range(6):
        infinite = infinite and v[i + 2, k] == 0
    if infinite:
        return False
    invert_single(v, i + 2)
    for k in range(2):
        p_mul(out, k, v, i + k, v, i + 2)
        p_mul(out, k, out, k, _FACTORS, _TO_PLAIN)
    return True


@kernel(INDEX, IN, OUT)
def load_points(plain: Words, points: Words) -> int:
    """Plain x and y below p, 12 words to a row, to the rows of `points`.  The first row that is not on the curve, or
    the number of rows if all are."""
    t = np.empty((5, 6), np.uint64)
    for i in range(len(plain)):
        for k in range(2):
            for m in range(6):
                t[4, m] = plain[i, 6 * k + m]
            p_mul(t, k, t, 4, _FACTORS, _TO_SINGLE)
            p_mul(t, 4, t, 4, _FACTORS, _TO_LANES)
            unpack(points, i, t, 4, k * LIMBS, 1)
        p_mul(t, 2, t, 0, t, 0)
        p_mul(t, 2, t, 2, t, 0)
        p_add(t, 2, t, 2, _FACTORS, _FOUR)
        p_mul(t, 3, t, 1, t, 1)
        for m in range(6):
            if t[2, m] != t[3, m]:
                return i
    return len(plain)


@kernel(INDEX, IN, OUT)
def unload_points(points: Words, plain: Words) -> int:
    """The inverse of `load_points`; the first row that is infinity, or the number of rows if none is."""
    t = np.empty((1, 6), np.uint64)
    for i in range(len(points)):
        infinite = True
        for k in range(2):
            pack(t, 0, points, i, k * LIMBS, 1)
            p_mul(t, 0, t, 0, SINGLES, FROM_LANES)
            p_mul(t, 0, t, 0, _FACTORS, _TO_PLAIN)
            for m in range(6):
                plain[i, 6 * k + m] = t[0, m]
                infinite = infinite and t[0, m] == 0
        if infinite:
            return i
    return len(points)
