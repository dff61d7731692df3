"""The Lagrange basis of H in the exponent: an inverse transform in the group, compiled (protocol section 2).

With [tau^j] for j < n, the points [L_i(tau)] = 1/n sum_j w^(-ij) [tau^j] are a transform of points: log2 n rounds of
butterflies (P, Q) -> (P + s Q, P - s Q), s a power of 1/w.  A round multiplies up to n/2 points by a scalar each, all
together: every step is one batch of additions or doublings (`numba_points.py`).

A scalar is split as s = k_1 + k_2 lambda, lambda = z^2 - 1 with z the parameter of the curve, as lambda (x, y) =
(beta x, y) for points of G1 with beta^3 = 1.  Both halves are made odd by adding multiples of r and then written with
33 odd digits from -15 to 15, so that every window is four doublings and two additions of an odd multiple, none of them
of infinity.  The factor 1/n is worked into the last round.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.curve import G1_AFFINE_BYTES, P
from marginseal.algebra.field import R, inverse, root_of_unity
from marginseal.algebra.msm_numba import decode_points, encode_points
from marginseal.algebra.numba_compile import INDEX, LANES, NONE, OUT, Words, kernel
from marginseal.algebra.numba_lanes import (
    BLOCK,
    LIMBS,
    POINT,
    RADIX,
    aligned,
    constant_block,
    gather,
    mul,
    reduce,
    scatter,
)
from marginseal.algebra.numba_points import REFERENCES, T_ROWS, References, add_pairs, double_blocks
from marginseal.errors import InputError

LAMBDA = 0xD201000000010000**2 - 1
BETA = 0x1A0111EA397FE699EC02408663D4DE85AA0D857D89759AD4897D29650FB85F9B409427EB4F49FFFD8BFD00000000AAAC

_WINDOW = 4
_DIGITS = 33
_MULTIPLES = 1 << (_WINDOW - 1)
"""Odd multiples 1, 3, ..., 15."""

_BETA_BLOCK = constant_block(BETA * 2**RADIX % P)


def split(s: int) -> tuple[int, int]:
    """Odd k_1, k_2 in [0, 2^130) with k_1 + k_2 lambda = s (mod r); r is 1 + (lambda + 1) lambda."""
    k_2, k_1 = divmod(s % R, LAMBDA)
    if k_1 % 2 == 0:
        k_1, k_2 = k_1 + 1, k_2 + LAMBDA + 1
    if k_2 % 2 == 0:
        k_1, k_2 = k_1 + LAMBDA + 1, k_2 + LAMBDA
    return k_1, k_2


def odd_digits(scalars: list[int]) -> NDArray[np.int64]:
    """d with sum_i 16^i d[s, h, i] the half h of scalar s: (scalars, 2, 33), all odd, |d| <= 15, the highest positive.

    With u_i the hexadecimal digits of u = (k - 1 + 16^33) / 2, sum_i 16^i (2 u_i - 15) = 2 u - 16^33 + 1 = k."""
    shifted = [((k - 1) >> 1) + (16**_DIGITS >> 1) for s in scalars for k in split(s)]
    data = np.frombuffer(b"".join([u.to_bytes(17, "little") for u in shifted]), np.uint8).reshape(-1, 2, 17, 1)
    nibbles = np.concatenate([data & 15, data >> 4], axis=3).reshape(-1, 2, 34)
    return 2 * nibbles[:, :, :_DIGITS].astype(np.int64) - 15


@kernel(NONE, OUT, REFERENCES, REFERENCES, REFERENCES, INDEX, OUT, OUT, OUT)
def _add(
    space: Words,
    a: References,
    b: References,
    to: References,
    count: int,
    denominators: Words,
    prefixes: Words,
    t: Words,
) -> None:
    """space[to_k] = space[a_k] + space[b_k], signs applied."""
    add_pairs(space, a, b, to, count, space, denominators, prefixes, t)


@kernel(NONE, OUT, REFERENCES, INDEX, OUT, OUT, OUT, OUT, OUT)
def _double(
    space: Words, rows: References, times: int, x: Words, y: Words, denominators: Words, prefixes: Words, t: Words
) -> None:
    """space[rows_k] doubled so many times, for all full blocks of rows."""
    for n in range(len(x)):
        gather(x, n, space, 0, rows, n * LANES, 0)
        gather(y, n, space, 0, rows, n * LANES, LIMBS)
    for _ in range(times):
        double_blocks(x, y, denominators, prefixes, t)
    for n in range(len(x)):
        scatter(space, 0, rows, n * LANES, x, n, 0)
        scatter(space, 0, rows, n * LANES, y, n, LIMBS)


@kernel(NONE, OUT, REFERENCES, INDEX, OUT)
def _turn(space: Words, rows: References, blocks: int, t: Words) -> None:
    """x of space[rows_k] times beta, for so many blocks of rows."""
    for n in range(blocks):
        gather(t, 0, space, 0, rows, n * LANES, 0)
        mul(t, 0, t, 0, _BETA_BLOCK, 0)
        reduce(t, 0, t, 0)
        scatter(space, 0, rows, n * LANES, t, 0, 0)


def _padded(rows: NDArray[np.int64]) -> References:
    """References with the last one repeated, for the lanes of an incomplete block."""
    return np.concatenate([rows, np.repeat(rows[-1:], LANES - 1)]).astype(np.int32)


class _Points:
    """Rows of points with room for work: `count` points, as many results, and 16 multiples of half as many."""

    def __init__(self, points: Words) -> None:
        count = len(points)
        self.count = count
        self.rows = aligned(count + 17 * (count // 2), POINT)
        self.rows[:count] = points
        blocks = -(-count // 2 // LANES)
        self.x, self.y, self.denominators, self.prefixes = (aligned(blocks, BLOCK) for _ in range(4))
        self.t = aligned(T_ROWS, BLOCK)

    def add(self, a: NDArray[np.int64], b: NDArray[np.int64], to: NDArray[np.int64]) -> None:
        _add(self.rows, _padded(a), _padded(b), _padded(to), len(a), self.denominators, self.prefixes, self.t)

    def double(self, rows: NDArray[np.int64], times: int) -> None:
        blocks = -(-len(rows) // LANES)
        x, y, denominators, prefixes = (v[:blocks] for v in (self.x, self.y, self.denominators, self.prefixes))
        _double(self.rows, _padded(rows), times, x, y, denominators, prefixes, self.t)

    def multiply(self, source: NDArray[np.int64], target: NDArray[np.int64], digits: NDArray[np.int64]) -> None:
        """target_k = s_k source_k, s_k given by its digits (`odd_digits`)."""
        lanes = len(source)
        lane = np.arange(lanes)
        first = self.count + self.count // 2
        # Row first + m lanes + k: the (2 m + 1)-fold of point k; the images under (x, y) -> (beta x, y) follow them.
        self.rows[first : first + lanes] = self.rows[source >> 1]
        self.rows[target >> 1] = self.rows[source >> 1]
        self.double(target, 1)
        for m in range(1, _MULTIPLES):
            row = 2 * (first + m * lanes + lane)
            self.add(row - 2 * lanes, target, row)
        images = first + _MULTIPLES * lanes
        self.rows[images : images + _MULTIPLES * lanes] = self.rows[first:images]
        _turn(
            self.rows,
            _padded(2 * np.arange(images, images + _MULTIPLES * lanes)),
            -(-_MULTIPLES * lanes // LANES),
            self.t,
        )
        references = 2 * (first + (np.abs(digits) >> 1) * lanes + lane[:, None, None]) + (digits < 0)
        references[:, 1] += 2 * _MULTIPLES * lanes
        # The highest digit is positive.
        self.rows[target >> 1] = self.rows[references[:, 0, -1] >> 1]
        self.add(target, references[:, 1, -1], target)
        for window in range(_DIGITS - 2, -1, -1):
            self.double(target, _WINDOW)
            self.add(target, references[:, 0, window], target)
            self.add(target, references[:, 1, window], target)


def lagrange_basis(points: bytes, n: int) -> bytes:
    """[L_i] = 1/n sum_{j < n} w^(-ij) points_j for i < n, from the first n points, x | y, 48 bytes big-endian each.

    n is a power of two (ValueError), the points are of G1: DecodeError as `decode_points`, which does not see whether
    they are in the subgroup.  InputError srs.degenerate if one of the results is infinity, as for the powers of a root
    of unity.  About 0.2 s for n = 2048."""
    w_inverse = inverse(root_of_unity(n))
    if len(points) < n * G1_AFFINE_BYTES:
        raise ValueError(f"{n} points are needed")
    affine = decode_points(points[: n * G1_AFFINE_BYTES])
    order = np.array([int(f"{i:b}".rjust(n.bit_length() - 1, "0")[::-1], 2) if n > 1 else 0 for i in range(n)])
    work = _Points(affine[order])
    powers = [1]
    while 2 * len(powers) < n:
        powers.append(powers[-1] * w_inverse % R)
    plain = odd_digits(powers)
    scaled = odd_digits([inverse(n) * power % R for power in powers])
    pairs = np.arange(n // 2)
    half = 1
    while half < n:
        j = pairs % half
        low = 2 * (2 * pairs - j)
        high = low + 2 * half
        turned = 2 * (n + pairs)
        if 2 * half == n:
            work.multiply(high, turned, scaled[j])
            # The lower ones, after the place of the turned ones has been read: results move there in turn.
            work.rows[high >> 1] = work.rows[turned >> 1]
            work.multiply(low, turned, scaled[0 * j])
            work.rows[low >> 1] = work.rows[turned >> 1]
            work.rows[turned >> 1] = work.rows[high >> 1]
        else:
            work.rows[turned >> 1] = work.rows[high >> 1]
            moved = j > 0
            if moved.any():
                work.multiply(high[moved], turned[moved], plain[j[moved] * (n // (2 * half))])
        work.add(low, turned + 1, high)
        work.add(low, turned, low)
        half *= 2
    try:
        return encode_points(work.rows[:n])
    except ValueError:
        raise InputError("srs.degenerate", "a point of the Lagrange basis is infinity") from None
