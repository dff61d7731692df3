"""The loops behind `NumbaVectors`: each walks arrays (n, 4) of elements of F in Montgomery form, a row an element.

Callers own the lengths and places: no kernel checks an index.  `out` is written in full (`scatter` adds to it), and may
be `v` only where said.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from marginseal.algebra.numba_compile import IN, NONE, OUT, Words, helper, kernel
from marginseal.algebra.numba_field import r_add, r_mul, r_sub


@helper
def _clear(out: Words, i: int) -> None:
    for k in range(4):
        out[i, k] = 0


@helper
def _copy(out: Words, i: int, v: Words, j: int) -> None:
    for k in range(4):
        out[i, k] = v[j, k]


@kernel(NONE, IN, IN, OUT)
def add(a: Words, b: Words, out: Words) -> None:
    """a_i + b_i."""
    for i in range(len(out)):
        r_add(out, i, a, i, b, i)


@kernel(NONE, IN, IN, OUT)
def sub(a: Words, b: Words, out: Words) -> None:
    """a_i - b_i."""
    for i in range(len(out)):
        r_sub(out, i, a, i, b, i)


@kernel(NONE, IN, IN, OUT)
def mul(a: Words, b: Words, out: Words) -> None:
    """a_i b_i."""
    for i in range(len(out)):
        r_mul(out, i, a, i, b, i)


@kernel(NONE, IN, IN, OUT)
def scale(v: Words, x: Words, out: Words) -> None:
    """x v_i for the one element of x; `out` may be `v`."""
    for i in range(len(out)):
        r_mul(out, i, v, i, x, 0)


@kernel(NONE, IN, IN, OUT)
def shift(v: Words, x: Words, out: Words) -> None:
    """v_i + x for the one element of x."""
    for i in range(len(out)):
        r_add(out, i, v, i, x, 0)


@kernel(NONE, IN, IN, OUT)
def add_scaled(v: Words, x: Words, out: Words) -> None:
    """out_i + x v_i."""
    product = np.empty((1, 4), np.uint64)
    for i in range(len(out)):
        r_mul(product, 0, v, i, x, 0)
        r_add(out, i, out, i, product, 0)


@kernel(NONE, IN, IN, OUT)
def inner(a: Words, b: Words, out: Words) -> None:
    """out_0 = sum a_i b_i; out_1 is scratch."""
    _clear(out, 0)
    for i in range(len(a)):
        r_mul(out, 1, a, i, b, i)
        r_add(out, 0, out, 0, out, 1)


@kernel(NONE, types.Array(types.int64, 2, "C", readonly=True), IN, OUT)
def from_digits(digits: NDArray[np.int64], weights: Words, out: Words) -> None:
    """sum_k weights_k digits[i, k]; |digit| < 2^63 or the smallest int64, whose absolute value fits a word too."""
    term = np.zeros((2, 4), np.uint64)
    for i in range(len(out)):
        _clear(out, i)
        for k in range(digits.shape[1]):
            digit = digits[i, k]
            term[0, 0] = np.uint64(-digit) if digit < 0 else np.uint64(digit)
            r_mul(term, 1, term, 0, weights, k)
            if digit < 0:
                r_sub(out, i, out, i, term, 1)
            else:
                r_add(out, i, out, i, term, 1)


@kernel(NONE, IN, types.Array(types.int64, 1, "C", readonly=True), OUT)
def scatter(v: Words, at: NDArray[np.int64], out: Words) -> None:
    """out_{at_k} + v_k for every k; no place lies outside `out`."""
    for k in range(len(v)):
        i = at[k]
        r_add(out, i, out, i, v, k)


@kernel(NONE, IN, IN, OUT)
def powers(x: Words, one: Words, out: Words) -> None:
    """1, x, x^2, ... as many as `out` holds."""
    if len(out) > 0:
        _copy(out, 0, one, 0)
    for i in range(1, len(out)):
        r_mul(out, i, out, i - 1, x, 0)


@kernel(NONE, IN, OUT)
def running_sum(v: Words, out: Words) -> None:
    """out_i = v_0 + ... + v_{i-1}; `out` has one row more than v."""
    _clear(out, 0)
    for i in range(len(v)):
        r_add(out, i + 1, out, i, v, i)


@kernel(NONE, IN, IN, OUT)
def horner(coeffs: Words, x: Words, out: Words) -> None:
    """out_i = coeffs_i + x out_{i+1} from the top down, out_n = 0; `out` has one row more than coeffs."""
    n = len(coeffs)
    _clear(out, n)
    for i in range(n - 1, -1, -1):
        r_mul(out, i, out, i + 1, x, 0)
        r_add(out, i, out, i, coeffs, i)


@kernel(NONE, IN, IN, OUT, OUT)
def prefix_products(v: Words, one: Words, out: Words, total: Words) -> None:
    """out_i = v_0 ... v_{i-1}, total_0 the product of all."""
    _copy(total, 0, one, 0)
    for i in range(len(v)):
        _copy(out, i, total, 0)
        r_mul(total, 0, total, 0, v, i)


@kernel(NONE, IN, IN, OUT)
def inverse_from_prefixes(v: Words, total_inverse: Words, out: Words) -> None:
    """1/v_i in place of the prefix product that `out_i` holds (Montgomery's trick)."""
    rest = np.empty((1, 4), np.uint64)
    _copy(rest, 0, total_inverse, 0)
    for i in range(len(v) - 1, -1, -1):
        r_mul(out, i, out, i, rest, 0)
        r_mul(rest, 0, rest, 0, v, i)


@kernel(NONE, IN, IN, OUT)
def transform(v: Words, twiddles: Words, out: Words) -> None:
    """out_i = sum_j v_j w^(ij) for twiddles w^0 .. w^(n/2 - 1): rows in bit-reversed order, then log2 n rounds of
    butterflies (a, b) -> (a + w b, a - w b).  n = len(v) is a power of two."""
    n = len(v)
    place = 0
    for i in range(n):
        _copy(out, place, v, i)
        bit = n >> 1
        while place & bit:
            place ^= bit
            bit >>= 1
        place |= bit
    product = np.empty((1, 4), np.uint64)
    half = 1
    while half < n:
        stride = n // (2 * half)
        for start in range(0, n, 2 * half):
            for j in range(half):
                low, high = start + j, start + j + half
                r_mul(product, 0, out, high, twiddles, j * stride)
                r_sub(out, high, out, low, product, 0)
                r_add(out, low, out, low, product, 0)
        half *= 2
