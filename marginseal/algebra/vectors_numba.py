"""Vectors over F in compiled code: `NumbaVectors`, the fast twin of `PythonVectors` (protocol section 4).

A vector is a uint64 array (n, 4), one element of F in Montgomery form (x 2^256 mod r) to a row; the loops are in
`numba_kernels.py`.  Integers enter and leave at the edges alone.  The methods refuse what the reference refuses
and, this being machine code without checks of its own, lengths are compared before any kernel runs.
Releases the interpreter's lock; not constant-time (see `numba_field.py`).
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence, Sized
from functools import cache

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra import numba_kernels as kernels
from marginseal.algebra.field import R, inverse, root_of_unity
from marginseal.algebra.numba_compile import Words
from marginseal.algebra.numba_field import from_rows, to_rows
from marginseal.algebra.vectors import Vector, check_places

_FORM = 2**256 % R


def _element(x: int) -> Words:
    """x as one row in Montgomery form."""
    return to_rows([x % R * _FORM % R], 4)


def _integer(row: Words) -> int:
    """The element of a vector with one row."""
    return from_rows(row)[0] * pow(_FORM, -1, R) % R


@cache
def _twiddles(n: int, backward: bool) -> Words:
    """w^0 .. w^(n/2 - 1), or their inverses."""
    w = root_of_unity(n)
    out = np.empty((max(n // 2, 1), 4), np.uint64)
    kernels.powers(_element(inverse(w) if backward else w), _element(1), out)
    return out


def _like(v: Words) -> Words:
    return np.empty_like(v)


def _same_length(a: Sized, b: Sized) -> None:
    if len(a) != len(b):
        raise ValueError(f"vectors of {len(a)} and {len(b)} elements")


class NumbaVectors:
    """`FieldVectors` on arrays (n, 4) of 64-bit limbs in Montgomery form."""

    name = "numba"

    def from_ints(self, xs: Sequence[int]) -> Vector:
        v = to_rows([int(x) % R for x in xs], 4)
        return self._scaled(v, to_rows([_FORM * _FORM % R], 4))

    def from_int64(self, xs: NDArray[np.int64]) -> Vector:
        return self._digits(np.asarray(xs).reshape(-1, 1), 1)

    def from_digits(self, digits: NDArray[np.int64], bits: int) -> Vector:
        if digits.ndim != 2 or digits.shape[1] < 1 or not 1 <= bits <= 62:
            raise ValueError("digits are (n, K) with K >= 1 and 1 to 62 bits each")
        return self._digits(digits, bits)

    def _digits(self, digits: NDArray[np.int64], bits: int) -> Words:
        # A plain integer times the weight in doubly Montgomery form is the product in Montgomery form.
        weights = to_rows([pow(2, bits * k, R) * _FORM * _FORM % R for k in range(digits.shape[1])], 4)
        out = np.empty((len(digits), 4), np.uint64)
        kernels.from_digits(np.ascontiguousarray(digits, dtype=np.int64), weights, out)
        return out

    def _plain(self, v: Words) -> Words:
        """The elements as integers in [0, r), out of Montgomery form."""
        return self._scaled(v, to_rows([1], 4))

    def _scaled(self, v: Words, row: Words) -> Words:
        out = _like(v)
        kernels.scale(v, row, out)
        return out

    def to_ints(self, v: Vector) -> list[int]:
        return from_rows(self._plain(v))

    def to_le_bytes(self, v: Vector) -> bytes:
        return self._plain(v).astype("<u8", copy=False).tobytes()

    def zeros(self, n: int) -> Vector:
        return np.zeros((n, 4), np.uint64)

    def full(self, n: int, x: int) -> Vector:
        return np.repeat(_element(x), n, axis=0)

    def length(self, v: Vector) -> int:
        return len(v)

    def add(self, a: Vector, b: Vector) -> Vector:
        _same_length(a, b)
        out = _like(a)
        kernels.add(a, b, out)
        return out

    def sub(self, a: Vector, b: Vector) -> Vector:
        _same_length(a, b)
        out = _like(a)
        kernels.sub(a, b, out)
        return out

    def mul(self, a: Vector, b: Vector) -> Vector:
        _same_length(a, b)
        out = _like(a)
        kernels.mul(a, b, out)
        return out

    def neg(self, v: Vector) -> Vector:
        return self.sub(self.zeros(len(v)), v)

    def scale(self, v: Vector, x: int) -> Vector:
        return self._scaled(v, _element(x))

    def shift(self, v: Vector, x: int) -> Vector:
        out = _like(v)
        kernels.shift(v, _element(x), out)
        return out

    def inverse(self, v: Vector) -> Vector:
        out = _like(v)
        total = np.empty((1, 4), np.uint64)
        kernels.prefix_products(v, _element(1), out, total)
        kernels.inverse_from_prefixes(v, _element(inverse(_integer(total))), out)
        return out

    def running_sum(self, v: Vector) -> tuple[Vector, int]:
        out = np.empty((len(v) + 1, 4), np.uint64)
        kernels.running_sum(v, out)
        return out[:-1], _integer(out[-1:])

    def roll(self, v: Vector, k: int) -> Vector:
        k %= max(len(v), 1)
        return np.concatenate([v[k:], v[:k]])

    def concat(self, vs: Sequence[Vector]) -> Vector:
        return np.concatenate([self.zeros(0), *vs])

    def pad(self, v: Vector, n: int) -> Vector:
        if n < len(v):
            raise ValueError(f"cannot pad {len(v)} elements to {n}")
        return np.concatenate([v, self.zeros(n - len(v))])

    def take(self, v: Vector, start: int, stop: int) -> Vector:
        if not 0 <= start <= stop <= len(v):
            raise ValueError(f"no range {start}:{stop} in {len(v)} elements")
        return v[start:stop]

    def gather(self, v: Vector, at: NDArray[np.int64]) -> Vector:
        check_places(at, len(v))
        return np.asarray(v[at])

    def scatter(self, v: Vector, at: NDArray[np.int64], n: int) -> Vector:
        _same_length(v, at)
        check_places(at, n)
        out = np.zeros((n, 4), np.uint64)
        kernels.scatter(v, np.ascontiguousarray(at, dtype=np.int64), out)
        return out

    def powers(self, x: int, n: int) -> Vector:
        out = np.empty((n, 4), np.uint64)
        kernels.powers(_element(x), _element(1), out)
        return out

    def ntt(self, v: Vector) -> Vector:
        out = _like(v)
        kernels.transform(v, _twiddles(len(v), False), out)
        return out

    def intt(self, v: Vector) -> Vector:
        out = _like(v)
        kernels.transform(v, _twiddles(len(v), True), out)
        return self.scale(out, inverse(len(v)))

    def evaluate(self, coeffs: Vector, x: int) -> int:
        # The last remainder of the division by X - x is the value.
        out = np.empty((len(coeffs) + 1, 4), np.uint64)
        kernels.horner(coeffs, _element(x), out)
        return _integer(out[:1])

    def divide_linear(self, coeffs: Vector, z: int) -> Vector:
        if not len(coeffs):
            raise ValueError("no polynomial to divide")
        out = np.empty((len(coeffs) + 1, 4), np.uint64)
        kernels.horner(coeffs, _element(z), out)
        return out[1:-1]

    def inner(self, a: Vector, b: Vector) -> int:
        _same_length(a, b)
        out = np.empty((2, 4), np.uint64)
        kernels.inner(a, b, out)
        return _integer(out[:1])

    def combine(self, scalars: Sequence[int], vs: Sequence[Vector]) -> Vector:
        if not vs or len({len(v) for v in vs}) > 1 or len(scalars) != len(vs):
            raise ValueError("a combination takes one scalar for each of one or more vectors of one length")
        out = self.scale(vs[0], scalars[0])
        for x, v in zip(scalars[1:], vs[1:], strict=True):
            kernels.add_scaled(v, _element(x), out)
        return out

    def barycentric(self, n: int, z: int) -> Vector:
        points = self.powers(root_of_unity(n), n)
        factor = (pow(z % R, n, R) - 1) * inverse(n) % R
        return self.scale(self.mul(points, self.inverse(self.shift(self.neg(points), z))), factor)


def warm_up() -> None:
    """Have every kernel compiled or loaded: of vectors, which this module did as it was imported, of multi-scalar
    products and of the Lagrange basis.  Some 15 seconds on a machine that never ran them, well below one afterwards.
    For the start of a worker, so that no proof pays for it."""
    importlib.import_module("marginseal.algebra.numba_lagrange")
