"""The public matrices collapsed by one challenge: W_t = sum_j rho^j A_j, U_t = sum_j rho^j D_j, c = sum_j rho^j rhs_j.

Only here is the scenarios x instruments matrix touched, once for a proof or once for a stack of
proofs, and it has to be exact: a rounding is a forged equation.  rho^j is written in 16 balanced digits of 16 bits,

    rho^j = sum_k 2^(16 k) d_{j,k},    |d| <= 2^15,

and every integer product below stays exact because its partial sums cannot leave the type's exact range:

    dense   float64 (BLAS)  sum_j |A_j[i]| < 2^38 - 1   =>  |partial sums| < 2^53
    single  int64           sum_j |A_j[i]| < 2^46       =>  |partial sums| < 2^61

Where a matrix is larger (section 3 allows sums below 2^52) it is split, A = 2^24 A_hi + A_lo, |A_lo| <= 2^23, both
halves well inside: M <= 2^14 gives sum |A_lo| <= 2^37, and sum |A_hi| <= 2^28 + 2^14, over all of a target together.
Blocks that stay whole are bounded one by one, so their number counts too: up to 2^8 of them add up to less than 2^61,
and with the single coefficients to less than 2^62; a target with more of them has all of them split.
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
SINGLE_EXACT = 2**46
MOST_WHOLE = 2**8

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True)
class Collapsed:
    """W and U by target, values on H; targets that no equation addresses are absent.  c is an integer below r."""

    W: dict[int, Vector]
    U: dict[int, Vector]
    c: int


def rho_digits(circuit: Circuit, rho: int, vectors: FieldVectors) -> tuple[Vector, Int64]:
    """rho^1 .. rho^M as a vector and as int64 (M, 16) balanced digits."""
    powers = vectors.scale(vectors.powers(rho, circuit.equations), rho)
    raw = np.frombuffer(vectors.to_le_bytes(powers), dtype="<u2").reshape(-1, DIGITS)
    digits = raw.astype(np.int64)
    for k in range(DIGITS - 1):  # r < 2^255, so the last digit takes the last carry and stays below 2^15 + 1
        carry = digits[:, k] > 2 ** (DIGIT_BITS - 1)
        digits[:, k] -= carry.astype(np.int64) << DIGIT_BITS
        digits[:, k + 1] += carry
    return powers, digits


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


def single_product(entries: Entries, chosen: Int64, digits: Int64, n: int) -> list[tuple[int, Int64]]:
    """The chosen entries (positions, sorted by row) times their equations' digits, summed by row, as for dense."""
    row, value = entries.row[chosen], entries.value[chosen]
    starts = np.flatnonzero(np.diff(row, prepend=-1))
    total = np.add.reduceat(np.abs(value.astype(np.float64)), starts).max()
    parts = [(0, value)] if total < SINGLE_EXACT else list(zip((SPLIT_BITS, 0), split(value), strict=True))
    out = []
    for shift, part in parts:
        rows = np.zeros((n, digits.shape[1]), dtype=np.int64)
        rows[row[starts]] = np.add.reduceat(part[:, None] * digits[entries.equation[chosen]], starts, axis=0)
        out.append((shift, rows))
    return out


def _accumulate(
    circuit: Circuit, dense: Sequence[Dense], entries: Entries, digits: Int64
) -> dict[int, dict[int, Int64]]:
    """For each target and power of two, the integer digit sums int64 (n, columns)."""
    sums: dict[int, dict[int, Int64]] = {}

    def add(target: int, row: int, parts: list[tuple[int, Int64]]) -> None:
        for shift, rows in parts:
            by_shift = sums.setdefault(target, {})
            if shift not in by_shift:
                by_shift[shift] = np.zeros((circuit.n, digits.shape[1]), dtype=np.int64)
            by_shift[shift][row : row + len(rows)] += rows

    as_float = digits.astype(np.float64) if dense else None
    blocks = Counter(block.target for block in dense)
    for block in dense:
        assert as_float is not None
        rows = as_float[block.equation : block.equation + block.values.shape[0]]
        add(block.target, block.row, dense_product(block, rows, crowded=blocks[block.target] > MOST_WHOLE))
    for target in np.unique(entries.target):
        chosen = np.flatnonzero(entries.target == target)
        chosen = chosen[np.argsort(entries.row[chosen], kind="stable")]
        add(int(target), 0, single_product(entries, chosen, digits, circuit.n))
    return sums


def _packed(sums: dict[int, dict[int, Int64]]) -> dict[int, dict[int, Int64]]:
    """The same numbers in digits three times as wide, int64 (n, proofs, 6): a third of the field products.

    sum_k 2^(16 k) d_k with |d_k| < 2^62: carries move up until digits 0..14 lie in 0..2^16 - 1, and a carry stays below
    2^46 + 2^31, so that no sum leaves int64; the last digit keeps its sign."""
    out: dict[int, dict[int, Int64]] = {}
    for target, by_shift in sums.items():
        for shift, rows in by_shift.items():
            d = rows.reshape(len(rows), -1, DIGITS).copy()
            for k in range(DIGITS - 1):
                d[..., k + 1] += d[..., k] >> DIGIT_BITS
                d[..., k] &= 2**DIGIT_BITS - 1
            wide = [d[..., k] + (d[..., k + 1] << 16) + (d[..., k + 2] << 32) for k in range(0, DIGITS - 1, PACKED)]
            out.setdefault(target, {})[shift] = np.stack([*wide, d[..., DIGITS - 1]], axis=-1)
    return out


def collapse_many(
    circuit: Circuit, rhs: Sequence[Sequence[int]], rhos: Sequence[int], vectors: FieldVectors
) -> list[Collapsed]:
    """One `Collapsed` for each (right-hand sides, rho), the matrix product done once for the stack of digits."""
    pairs = [rho_digits(circuit, rho, vectors) for rho in rhos]
    digits = np.concatenate([d for _, d in pairs], axis=1)
    W = _packed(_accumulate(circuit, circuit.dense, circuit.linear, digits))
    U = _packed(_accumulate(circuit, (), circuit.quadratic, digits))

    def vector(by_shift: dict[int, Int64], at: int) -> Vector:
        out = None
        for shift, rows in by_shift.items():
            part = vectors.from_digits(np.ascontiguousarray(rows[:, at]), DIGIT_BITS * PACKED)
            part = vectors.scale(part, 1 << shift) if shift else part
            out = part if out is None else vectors.add(out, part)
        return out

    collapsed = []
    for i, (powers, _) in enumerate(pairs):
        c = vectors.inner(powers, vectors.from_ints([x % R for x in rhs[i]]))
        collapsed.append(Collapsed({t: vector(s, i) for t, s in W.items()}, {t: vector(s, i) for t, s in U.items()}, c))
    return collapsed


def collapse(circuit: Circuit, rhs: Sequence[int], rho: int, vectors: FieldVectors) -> Collapsed:
    """W, U and c for one proof."""
    return collapse_many(circuit, [rhs], [rho], vectors)[0]
