"""Vectors over F: the interface every backend offers, and the backend in plain Python integers.

The prover spends its time here.  `PythonVectors` needs nothing but the language and is the reference; the numba backend
(`vectors_numba.py`) has the same methods, is some 20 times faster, and is tested equal.  Values on H are in natural
order: entry i belongs to w^i, w = `root_of_unity(n)`.  A vector belongs to the backend that made it and is never
changed in place.  Lengths that do not match are a ValueError: a mistake of ours, never of the data.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from operator import add, mul
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.field import SCALAR_BYTES, R, batch_inverse, inverse, root_of_unity
from marginseal.errors import InputError

Vector: TypeAlias = Any
"""Opaque: elements of F in whatever form the backend keeps them."""

BACKEND_VARIABLE = "MARGINSEAL_VECTORS"


class FieldVectors(Protocol):
    """Arithmetic on vectors over F, all results reduced.  Scalars x are Python integers, taken mod r."""

    name: str

    def from_ints(self, xs: Sequence[int]) -> Vector:
        """Integers of any size and sign, mod r."""

    def from_int64(self, xs: NDArray[np.int64]) -> Vector:
        """int64 (n,), signed, mod r."""

    def from_digits(self, digits: NDArray[np.int64], bits: int) -> Vector:
        """sum_k 2^(bits k) digits[:, k] mod r;  int64 (n, K), signed, |digit| < 2^62, K >= 1, 1 <= bits <= 62."""

    def to_ints(self, v: Vector) -> list[int]:
        """Integers in [0, r)."""

    def to_le_bytes(self, v: Vector) -> bytes:
        """32 bytes little-endian for each element, for multi-scalar products."""

    def zeros(self, n: int) -> Vector:
        """n times 0."""

    def full(self, n: int, x: int) -> Vector:
        """n times x."""

    def length(self, v: Vector) -> int:
        """Number of elements."""

    def add(self, a: Vector, b: Vector) -> Vector:
        """a_i + b_i."""

    def sub(self, a: Vector, b: Vector) -> Vector:
        """a_i - b_i."""

    def mul(self, a: Vector, b: Vector) -> Vector:
        """a_i b_i."""

    def neg(self, v: Vector) -> Vector:
        """-v_i."""

    def scale(self, v: Vector, x: int) -> Vector:
        """x v_i."""

    def shift(self, v: Vector, x: int) -> Vector:
        """v_i + x."""

    def inverse(self, v: Vector) -> Vector:
        """1/v_i.  ZeroDivisionError if any element is 0."""

    def running_sum(self, v: Vector) -> tuple[Vector, int]:
        """(v_0 + ... + v_{i-1} for every i, the sum of all)."""

    def roll(self, v: Vector, k: int) -> Vector:
        """v_{(i + k) mod n}; on H, the values of p(w^k X).  Any integer k."""

    def concat(self, vs: Sequence[Vector]) -> Vector:
        """One after the other."""

    def pad(self, v: Vector, n: int) -> Vector:
        """Zeros appended up to length n >= len(v)."""

    def take(self, v: Vector, start: int, stop: int) -> Vector:
        """v_start .. v_{stop-1};  0 <= start <= stop <= len(v)."""

    def gather(self, v: Vector, at: NDArray[np.int64]) -> Vector:
        """v_{at_k} for every k;  0 <= at_k < len(v)."""

    def scatter(self, v: Vector, at: NDArray[np.int64], n: int) -> Vector:
        """n elements, the i-th the sum of all v_k with at_k = i;  0 <= at_k < n."""

    def powers(self, x: int, n: int) -> Vector:
        """1, x, ..., x^(n-1)."""

    def ntt(self, v: Vector) -> Vector:
        """Coefficients to values: sum_j v_j w^(ij).  The length is a power of two."""

    def intt(self, v: Vector) -> Vector:
        """Values on H to coefficients, the inverse of `ntt`."""

    def evaluate(self, coeffs: Vector, x: int) -> int:
        """p(x) from the coefficients of p, lowest first."""

    def divide_linear(self, coeffs: Vector, z: int) -> Vector:
        """(p - p(z)) / (X - z), one coefficient shorter than p (len(p) >= 1)."""

    def inner(self, a: Vector, b: Vector) -> int:
        """sum_i a_i b_i."""

    def combine(self, scalars: Sequence[int], vs: Sequence[Vector]) -> Vector:
        """sum_k scalars_k v_k; at least one vector, all of one length."""

    def barycentric(self, n: int, z: int) -> Vector:
        """L_i(z) = w^i (z^n - 1) / (n (z - w^i)) for i < n.  ZeroDivisionError if z^n = 1."""


def check_places(at: NDArray[np.int64], n: int) -> None:
    """ValueError unless all are in 0 .. n - 1."""
    if len(at) and not 0 <= at.min() <= at.max() < n:
        raise ValueError(f"a place outside {n} elements")


@cache
def _plan(n: int) -> tuple[list[list[int]], list[int]]:
    """For n >= 2: the roots of every level but the last, pair by pair, and the order in which the results come out."""
    levels = n.bit_length() - 1
    w = root_of_unity(n)
    roots = list(accumulate(range(n // 2 - 1), lambda x, _: x * w % R, initial=1))
    twiddles = [[roots[i >> k << k] for i in range(n // 2)] for k in range(levels - 1)]
    bit_reversed = [0]
    for k in range(levels):
        bit_reversed += [i + (n >> k + 1) for i in bit_reversed]
    return twiddles, bit_reversed


def _transform(x: list[int]) -> list[int]:
    """`ntt` by decimation in frequency, in the form where every level pairs i with i + n/2 and writes 2i and 2i + 1.

    Whole lists at a time are what plain Python does best.  Sums are reduced at the last level only; until then they
    stay below n r in absolute value, and the remainder of a Python integer is never negative."""
    if len(x) == 1:
        return x[:]
    half = len(x) // 2
    twiddles, order = _plan(len(x))
    x = x[:]
    for roots in twiddles:
        a, b = x[:half], x[half:]
        x[::2] = map(add, a, b)
        x[1::2] = [(p - q) * w % R for p, q, w in zip(a, b, roots, strict=True)]
    a, b = x[:half], x[half:]
    x[::2] = [(p + q) % R for p, q in zip(a, b, strict=True)]
    x[1::2] = [(p - q) % R for p, q in zip(a, b, strict=True)]
    return [x[i] for i in order]


class PythonVectors:
    """`FieldVectors` on lists of integers in [0, r)."""

    name = "python"

    def from_ints(self, xs: Sequence[int]) -> Vector:
        # int() first: the remainder of a numpy integer by a 255-bit number would overflow.
        return [int(x) % R for x in xs]

    def from_int64(self, xs: NDArray[np.int64]) -> Vector:
        return [x % R for x in xs.tolist()]

    def from_digits(self, digits: NDArray[np.int64], bits: int) -> Vector:
        if digits.ndim != 2 or digits.shape[1] < 1 or not 1 <= bits <= 62:
            raise ValueError("digits are (n, K) with K >= 1 and 1 to 62 bits each")
        columns = digits.T.tolist()
        acc = columns[-1]
        for column in reversed(columns[:-1]):
            acc = [(a << bits) + d for a, d in zip(acc, column, strict=True)]
        return [a % R for a in acc]

    def to_ints(self, v: Vector) -> list[int]:
        return list(v)

    def to_le_bytes(self, v: Vector) -> bytes:
        return b"".join([x.to_bytes(SCALAR_BYTES, "little") for x in v])

    def zeros(self, n: int) -> Vector:
        return [0] * n

    def full(self, n: int, x: int) -> Vector:
        return [x % R] * n

    def length(self, v: Vector) -> int:
        return len(v)

    def add(self, a: Vector, b: Vector) -> Vector:
        return [(x + y) % R for x, y in zip(a, b, strict=True)]

    def sub(self, a: Vector, b: Vector) -> Vector:
        return [(x - y) % R for x, y in zip(a, b, strict=True)]

    def mul(self, a: Vector, b: Vector) -> Vector:
        return [x * y % R for x, y in zip(a, b, strict=True)]

    def neg(self, v: Vector) -> Vector:
        return [-x % R for x in v]

    def scale(self, v: Vector, x: int) -> Vector:
        x %= R
        return [x * y % R for y in v]

    def shift(self, v: Vector, x: int) -> Vector:
        x %= R
        return [(x + y) % R for y in v]

    def inverse(self, v: Vector) -> Vector:
        return batch_inverse(v)

    def running_sum(self, v: Vector) -> tuple[Vector, int]:
        sums = list(accumulate(v, lambda s, x: (s + x) % R, initial=0))
        total = sums.pop()
        return sums, total

    def roll(self, v: Vector, k: int) -> Vector:
        k %= max(len(v), 1)
        return v[k:] + v[:k]

    def concat(self, vs: Sequence[Vector]) -> Vector:
        return [x for v in vs for x in v]

    def pad(self, v: Vector, n: int) -> Vector:
        if n < len(v):
            raise ValueError(f"cannot pad {len(v)} elements to {n}")
        return v + [0] * (n - len(v))

    def take(self, v: Vector, start: int, stop: int) -> Vector:
        if not 0 <= start <= stop <= len(v):
            raise ValueError(f"no range {start}:{stop} in {len(v)} elements")
        return v[start:stop]

    def gather(self, v: Vector, at: NDArray[np.int64]) -> Vector:
        check_places(at, len(v))
        return [v[i] for i in at.tolist()]

    def scatter(self, v: Vector, at: NDArray[np.int64], n: int) -> Vector:
        check_places(at, n)
        sums = [0] * n
        for i, x in zip(at.tolist(), v, strict=True):
            sums[i] += x
        return [x % R for x in sums]

    def powers(self, x: int, n: int) -> Vector:
        x %= R
        return list(accumulate(range(n - 1), lambda p, _: p * x % R, initial=1)) if n else []

    def ntt(self, v: Vector) -> Vector:
        root_of_unity(len(v))  # a ValueError for a length without a transform
        return _transform(v)

    def intt(self, v: Vector) -> Vector:
        # Values at w^(-i) instead of w^i: the transform with all entries but the first in reverse.
        values = self.ntt(v)
        scale = inverse(len(v))
        return [x * scale % R for x in values[:1] + values[:0:-1]]

    def evaluate(self, coeffs: Vector, x: int) -> int:
        x %= R
        acc = 0
        for c in reversed(coeffs):
            acc = (acc * x + c) % R
        return acc

    def divide_linear(self, coeffs: Vector, z: int) -> Vector:
        if not coeffs:
            raise ValueError("no polynomial to divide")
        z %= R
        quotient = list(accumulate(reversed(coeffs), lambda q, c: (q * z + c) % R))
        quotient.pop()  # the remainder p(z)
        quotient.reverse()
        return quotient

    def inner(self, a: Vector, b: Vector) -> int:
        if len(a) != len(b):
            raise ValueError(f"inner product of {len(a)} and {len(b)} elements")
        return int(sum(map(mul, a, b)) % R)

    def combine(self, scalars: Sequence[int], vs: Sequence[Vector]) -> Vector:
        if not vs or len({len(v) for v in vs}) > 1 or len(scalars) != len(vs):
            raise ValueError("a combination takes one scalar for each of one or more vectors of one length")
        reduced = [x % R for x in scalars]
        return [sum(map(mul, reduced, row)) % R for row in zip(*vs, strict=True)]

    def barycentric(self, n: int, z: int) -> Vector:
        z %= R
        points = self.powers(root_of_unity(n), n)
        factor = (pow(z, n, R) - 1) * inverse(n) % R
        inverses = batch_inverse([z - w for w in points])
        return [factor * w % R * d % R for w, d in zip(points, inverses, strict=True)]


@cache
def _backend(choice: str) -> FieldVectors:
    if choice in ("", "numba"):
        try:
            from marginseal.algebra.vectors_numba import NumbaVectors

            return NumbaVectors()
        except ImportError:
            if choice == "numba":
                raise InputError("backend.unavailable", f"{BACKEND_VARIABLE}=numba, and numba is missing") from None
    elif choice != "python":
        raise InputError("backend.unknown", f"{BACKEND_VARIABLE} is 'python' or 'numba'")
    return PythonVectors()


def default_vectors() -> FieldVectors:
    """The fastest backend installed, or the one the variable MARGINSEAL_VECTORS names; one object per process.

    numba is imported here and nowhere earlier: a verifier that never calls this never pays for it.
    InputError backend.unknown, backend.unavailable."""
    return _backend(os.environ.get(BACKEND_VARIABLE, ""))
