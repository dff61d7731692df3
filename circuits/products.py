"""Exact integer arithmetic on numpy arrays: int64 where it provably fits, Python integers where it does not.

    y = A x      A int64 (m, k),  x int64 or Python integers (k,)

The matrix products run in float64 BLAS and are exact all the same: x is cut into digits of d bits and, if need be, A
into two halves, so that every partial sum of a product is an integer below 2**53, which float64 holds exactly in
whatever order it adds (protocol.md section 3, exactness).  Nothing here is ever rounded, and nothing wraps.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[Any]
"""Either int64 or dtype object with Python integers; every function here takes both and returns either."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FLOAT_EXACT = 2**53  # all integers up to here are float64 numbers
_INT64 = 2**63 - 1
_HALF = 26  # bits of the lower half of a matrix entry
_MIN_DIGIT = 8
_CELLS = 2**19  # entries of a matrix handled at a time where a temporary is needed: 4 MB


def integers(values: Any) -> Integers:
    """Python integers or an array, in int64 if they fit, else as objects.  TypeError for anything but integers."""
    array = np.asarray(values, dtype=object) if not isinstance(values, np.ndarray) else values
    if array.dtype == np.int64:
        return array
    if array.dtype.kind in "iub":
        return array.astype(np.int64) if array.dtype.kind != "u" else narrow(array.astype(object))
    if array.dtype != object or not all(isinstance(x, int | np.integer) for x in array.reshape(-1)):
        raise TypeError("only integers")
    return narrow(array)


def narrow(values: Integers) -> Integers:
    """The same numbers in int64 where they fit."""
    return values.astype(np.int64) if magnitude(values) <= _INT64 else values


def magnitude(values: Integers) -> int:
    """max |x|, 0 of nothing; exact also for int64's negative without a positive."""
    return max(int(values.max()), -int(values.min())) if values.size else 0


def add(a: Integers, b: Integers) -> Integers:
    """a + b, element by element or one of them a single number for all."""
    if magnitude(a) + magnitude(b) > _INT64:
        a, b = a.astype(object), b.astype(object)
    return np.asarray(a + b)


def scale(factor: int, a: Integers) -> Integers:
    """factor * a."""
    if factor == 1:
        return a
    if max(abs(factor), abs(factor) * magnitude(a)) > _INT64:
        a = a.astype(object)
    return np.asarray(factor * a)


def multiply(a: Integers, b: Integers) -> Integers:
    """a * b, element by element."""
    if magnitude(a) * magnitude(b) > _INT64:
        a, b = a.astype(object), b.astype(object)
    return np.asarray(a * b)


def total(a: Integers) -> int:
    """The sum of all entries."""
    if len(a) * magnitude(a) > _INT64:
        return int(sum(a.astype(object).tolist()))
    return int(a.sum())


def positive_part(a: Integers) -> Integers:
    """max(a, 0), element by element."""
    return np.maximum(a, 0)


def product(matrix: Ints, x: Integers, as_float: Floats | None = None, bound: int | None = None) -> Integers:
    """A x, exact for every int64 A and every integer x.

    as_float  A in float64 if the caller keeps it; it is used only where A is small enough to be exact there.
    bound     max |A| if the caller knows it."""
    m, k = matrix.shape
    if bound is None:
        bound = magnitude(matrix)
    if not bound or not magnitude(x):
        return np.zeros(m, dtype=np.int64)
    if _digit_bits(k, bound) >= _MIN_DIGIT:
        if as_float is not None:
            return _float_product(as_float, x, k, bound)
        return _by_rows(matrix, lambda rows: _float_product(rows.astype(np.float64), x, k, bound))
    # A = 2**26 high + low with 0 <= low < 2**26: both halves are small whatever A is.
    low = _by_rows(matrix, lambda rows: product(rows & (2**_HALF - 1), x))
    high = _by_rows(matrix, lambda rows: product(rows >> _HALF, x))
    return add(scale(2**_HALF, high), low)


def _by_rows(matrix: Ints, one: Any) -> Integers:
    """`one` of a few rows at a time, so that temporaries stay small."""
    step = max(1, _CELLS // matrix.shape[1])
    parts = [one(matrix[at : at + step]) for at in range(0, matrix.shape[0], step)]
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def _digit_bits(k: int, bound: int) -> int:
    """The most bits d of a digit with k * bound * (2**d - 1) < 2**53; below 1 if there is none."""
    return ((FLOAT_EXACT - 1) // (k * bound) + 1).bit_length() - 1


def _float_product(matrix: Floats, x: Integers, k: int, bound: int) -> Integers:
    """A x for A in float64 with |A| <= bound: x in digits of d bits, the last one signed.

    k * bound * (2**d - 1) < 2**53, so each of the products below is exact."""
    d = min(_digit_bits(k, bound), 52)
    size = magnitude(x)
    count = -(-(size.bit_length() + 1) // d)  # one bit for the sign, so that the last digit is at most 2**(d-1)
    digits = np.empty((k, count), dtype=np.float64)
    rest = x
    for j in range(count - 1):
        digits[:, j] = (rest & (2**d - 1)).astype(np.float64)
        rest = rest >> d
    digits[:, count - 1] = rest.astype(np.float64)
    parts = (matrix @ digits).astype(np.int64)
    out: Integers = parts[:, count - 1]
    # With t digits dropped and put back as zeros, x changes by less than 2**(dt) <= 2 |x|: hence the factor 4.
    if 4 * k * bound * size > _INT64:
        out = out.astype(object)
    for j in range(count - 2, -1, -1):
        out = out * 2**d + parts[:, j]
    return out
