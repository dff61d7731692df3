"""The public matrices collapsed by one challenge: W_t = sum_j rho^j A_j, U_t = sum_j rho^j D_j, c = sum_j rho^j rhs_j.

Only here is the scenarios x instruments matrix touched, once for a proof or once for a stack of
proofs, and it has to be exact: a rounding is a forged equation.  Single coefficients are multiplied in F.  For the
dense blocks rho^j is written in 16 balanced digits of 16 bits,

    rho^j = sum_k 2^(16 k) d_{j,k},    |d| <= 2^15,

and a float64 product (BLAS) of such digits is exact as long as its partial sums stay in the type's exact range:

    sum_j |A_j[i]| < 2^38 - 1   =>  |partial sums| < 2^53

Where a block is larger (section 3 allows sums below 2^52) it is split, A = 2^24 A_hi + A_lo, |A_lo| <= 2^23, both
halves well inside: M <= 2^14 gives sum |A_lo| <= 2^37, and sum |A_hi| <= 2^28 + 2^14, over all of a target together.
Blocks that stay whole are bounded one by one, so their number counts too: up to 2^8 of them add up to less than 2^61;
a target with more of them has all of them split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit, Dense, Entries
from marginseal.algebra.field import R
from marginseal.algebra.vectors import FieldVectors, Vector

DIGIT_BITS = 16
DIGITS = 16
PACKED = 3  # digits to a wider one
SPLIT_BITS = 24
DENSE_EXACT = 2**38 - 1
MOST_WHOLE = 2**8

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Collapsed:
    """W and U by target, values on H; targets that no equation addresses are absent.  c is an integer below r."""

    W: dict[int, Vector]
    U: dict[int, Vector]
    c: int


def rho_powers(circuit: Circuit, rho: int, vectors: FieldVectors) -> Vector:
    """rho^1 .. rho^M."""
    return vectors.scale(vectors.powers(rho, circuit.equations), rho)


def balanced_digits(powers: Sequence[Vector], vectors: FieldVectors) -> Int64:
    """int64 (M, 16 k): the 16 balanced digits of each element of k vectors, those of a vector side by side."""
    raw = b"".join([vectors.to_le_bytes(v) for v in powers])
    digits = np.frombuffer(raw, dtype="<u2").reshape(-1, DIGITS).T.astype(np.int64)
    for k in range(DIGITS - 1):  # r < 2^255, so the last digit takes the last carry and stays below 2^15 + 1
        carry = digits[k] > 2 ** (DIGIT_BITS - 1)
        digits[k] -= carry.astype(np.int64) << DIGIT_BITS
        digits[k + 1] += carry
    return digits.reshape(DIGITS, len(powers), -1).transpose(2, 1, 0).reshape(-1, DIGITS * len(powers))


def split(values: Int64) -> tuple[Int64, Int64]:
    """(hi, lo) with values = 2^24 hi + lo and |lo| <= 2^23."""
    hi = (values + (1 << (SPLIT_BITS - 1))) >> SPLIT_BITS
    return hi, values - (hi << SPLIT_BITS)


def dense_product(dense: Dense, digits: Float64, *, crowded: bool = False) -> list[tuple[int, Int64]]:
    """A^T digits, exact, as (power of two, int64 (k, columns)) parts to be added; crowded: one of very many blocks."""
    if dense.column_sum < DENSE_EXACT and not crowded:
        parts = [(0, dense.as_float)]
    else:
        hi, lo = split(dense.values)
        parts = [(SPLIT_BITS, hi.astype(np.float64)), (0, lo.astype(np.float64))]
    # The thin operand first: BLAS is twice as fast this way round.
    return [(shift, (digits.T @ half).T.astype(np.int64)) for shift, half in parts]


def _dense_sums(circuit: Circuit, digits: Int64) -> dict[int, dict[int, Int64]]:
    """For each target of a dense block and each power of two, the integer digit sums int64 (n, columns)."""
    sums: dict[int, dict[int, Int64]] = {}
    as_float = digits.astype(np.float64)
    blocks = Counter(block.target for block in circuit.dense)
    for block in circuit.dense:
        chosen = as_float[block.equation : block.equation + block.values.shape[0]]
        for shift, rows in dense_product(block, chosen, crowded=blocks[block.target] > MOST_WHOLE):
            by_shift = sums.setdefault(block.target, {})
            if shift not in by_shift:
                by_shift[shift] = np.zeros((circuit.n, digits.shape[1]), dtype=np.int64)
            by_shift[shift][block.row : block.row + len(rows)] += rows
    return sums


def _packed(rows: Int64) -> Int64:
    """The same numbers in digits three times as wide, int64 (n, proofs, 6): a third of the field products.

    sum_k 2^(16 k) d_k with |d_k| < 2^62: carries move up until digits 0..14 lie in 0..2^16 - 1, and a carry stays below
    2^46 + 2^31, so that no sum leaves int64; the last digit keeps its sign."""
    d = rows.reshape(len(rows), -1, DIGITS).transpose(2, 0, 1).copy()
    for k in range(DIGITS - 1):
        d[k + 1] += d[k] >> DIGIT_BITS
        d[k] &= 2**DIGIT_BITS - 1
    wide = [d[k] + (d[k + 1] << 16) + (d[k + 2] << 32) for k in range(0, DIGITS - 1, PACKED)]
    return np.stack([*wide, d[DIGITS - 1]], axis=-1)


class _Singles:
    """The single coefficients of a circuit, once for a stack of challenges."""

    def __init__(self, entries: Entries, n: int, vectors: FieldVectors) -> None:
        self._n, self._vectors, self._equation = n, vectors, entries.equation
        self._targets, which = np.unique(entries.target, return_inverse=True)
        self._place = which * n + entries.row
        self._value = vectors.from_int64(entries.value)

    def times(self, powers: Vector) -> dict[int, Vector]:
        """sum_j rho^j A_j[i] of the single A_j, by target."""
        V, n = self._vectors, self._n
        terms = V.mul(self._value, V.gather(powers, self._equation))
        sums = V.scatter(terms, self._place, n * len(self._targets))
        return {int(t): V.take(sums, k * n, (k + 1) * n) for k, t in enumerate(self._targets)}


def collapse_many(
    circuit: Circuit, rhs: Sequence[Sequence[int]], rhos: Sequence[int], vectors: FieldVectors
) -> list[Collapsed]:
    """One `Collapsed` for each (right-hand sides, rho), the matrix product done once for the stack of digits."""
    powers = [rho_powers(circuit, rho, vectors) for rho in rhos]
    dense: dict[int, dict[int, Int64]] = {}
    if circuit.dense:
        sums = _dense_sums(circuit, balanced_digits(powers, vectors))
        dense = {t: {shift: _packed(rows) for shift, rows in by_shift.items()} for t, by_shift in sums.items()}
    linear, quadratic = (_Singles(e, circuit.n, vectors) for e in (circuit.linear, circuit.quadratic))
    collapsed = []
    for i, power in enumerate(powers):
        W = linear.times(power)
        for target, by_shift in dense.items():
            for shift, rows in by_shift.items():
                part = vectors.scale(vectors.from_digits(rows[:, i], DIGIT_BITS * PACKED), 1 << shift)
                W[target] = vectors.add(W[target], part) if target in W else part
        c = vectors.inner(power, vectors.from_ints([x % R for x in rhs[i]]))
        collapsed.append(Collapsed(W, quadratic.times(power), c))
    return collapsed


def collapse(circuit: Circuit, rhs: Sequence[int], rho: int, vectors: FieldVectors) -> Collapsed:
    """W, U and c for one proof."""
    return collapse_many(circuit, [rhs], [rho], vectors)[0]
