"""Compiled addition of points of G1, a batch at a time with one inversion (Montgomery's trick).

Affine addition costs six products and one inversion; a batch of k independent additions shares the inversion, for three
more products each.  The exceptional cases are handled, not excluded: for operands P, Q

    lambda = (y_Q - y_P) / (x_Q - x_P)        x = lambda^2 - x_P - x_Q        y = lambda (x_P - x) - y_P

holds unless x_P = x_Q (equal points are doubled, lambda = 3 x^2 / 2 y; opposite points give infinity) or one of them is
infinity (the result is the other).  Every block is tested for these; one that has any takes a longer way in which each
lane selects its case.  Points of the curve have odd order (the group has), so no y is 0.

Arrays `points`, references and blocks: `numba_lanes.py`.  The last steps of a product are few and sequential; they use
the complete formulas of Renes, Costello and Batina (2016), algorithm 7, on single elements.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from marginseal.algebra.curve import P
from marginseal.algebra.numba_compile import LANES, Words, helper
from marginseal.algebra.numba_field import p_mul, p_sub, to_rows
from marginseal.algebra.numba_inverse import invert_plain
from marginseal.algebra.numba_lanes import (
    LIMBS,
    RADIX,
    add,
    constant_block,
    copy_block,
    copy_row,
    equal,
    exchange_1,
    exchange_2,
    exchange_4,
    gather,
    mul,
    negate,
    pack,
    reduce,
    scatter,
    select,
    sub,
    unpack,
)

References: TypeAlias = NDArray[np.int32]

REFERENCES = types.Array(types.int32, 1, "C")

_BLOCKS = np.concatenate([constant_block(0), constant_block(2**RADIX % P)])
_ZERO, _ONE = 0, 1

SINGLES = to_rows([0, 2**384 % P, 12 * 2**384 % P, 2 ** (768 - RADIX) % P, 2**1152 % P, 2 ** (2 * RADIX + 384) % P], 6)
"""Single elements by row: 0, 1 and 12 in Montgomery form, and factors between forms.  A product with a factor 2^k adds
k - 384 to the exponent of the form."""
SINGLE_ZERO, SINGLE_ONE, SINGLE_TWELVE, FROM_LANES, INVERSE_TO_SINGLE, INVERSE_TO_LANES = range(6)

T_ROWS = 24
"""Rows of scratch blocks that the functions below take as `t`."""


@helper
def invert_single(v: Words, i: int) -> None:
    """1/v_i in Montgomery form, in place; 0 gives 0."""
    # The plain inverse of x 2^384 lacks a factor 2^768.
    invert_plain(v, i)
    p_mul(v, i, v, i, SINGLES, INVERSE_TO_SINGLE)


@helper
def invert_lanes(t: Words, i: int, scratch: int) -> None:
    """1/t_i lane by lane, in place, for t_i < 8p without a zero; three rows of scratch.

    The product of all lanes is inverted once; what the other lanes multiply to gives each its own inverse."""
    product, others, swapped = scratch, scratch + 1, scratch + 2
    copy_block(t, product, t, i)
    if LANES > 1:
        exchange_1(t, others, t, product)
        mul(t, product, t, product, t, others)
        exchange_2(t, swapped, t, product)
        mul(t, others, t, others, t, swapped)
        mul(t, product, t, product, t, swapped)
        exchange_4(t, swapped, t, product)
        mul(t, others, t, others, t, swapped)
        mul(t, product, t, product, t, swapped)
    else:
        copy_block(t, others, _BLOCKS, _ONE)
    reduce(t, product, t, product)
    single = np.empty((1, 6), np.uint64)
    pack(single, 0, t, product, 0, LANES)
    invert_plain(single, 0)
    p_mul(single, 0, single, 0, SINGLES, INVERSE_TO_LANES)
    for lane in range(LANES):
        unpack(t, product, single, 0, lane, LANES)
    mul(t, i, t, product, t, others)


@helper
def signs(references: References, at: int) -> int:
    """Mask of the negative ones among LANES references."""
    mask = 0
    for lane in range(LANES):
        mask |= (references[at + lane] & 1) << lane
    return mask


@helper
def fetch(t: Words, i: int, points: Words, references: References, at: int) -> None:
    """x and y of LANES points, signs applied, to rows i and i + 1."""
    gather(t, i, points, 0, references, at, 0)
    gather(t, i + 1, points, 0, references, at, LIMBS)
    negative = signs(references, at)
    if negative:
        negate(t, i + 1, t, i + 1, negative)


# Rows of t in an addition: first operand, second operand, results and scratch.
_X1, _Y1, _X2, _Y2, _X3, _Y3, _LAMBDA, _A, _B, _RUNNING, _SPARE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10


@helper
def _cases(t: Words) -> tuple[int, int, int, int]:
    """Masks of the lanes where the first operand is infinity, where (only) the second is, where the operands are equal,
    where they are opposite."""
    first = equal(t, _X1, _BLOCKS, _ZERO) & equal(t, _Y1, _BLOCKS, _ZERO)
    second = equal(t, _X2, _BLOCKS, _ZERO) & equal(t, _Y2, _BLOCKS, _ZERO) & ~first
    meeting = equal(t, _X1, t, _X2) & ~first & ~second
    doubled = meeting & equal(t, _Y1, t, _Y2)
    return first, second, doubled, meeting & ~doubled


@helper
def denominator(out: Words, i: int, t: Words) -> None:
    """x_2 - x_1, or 2 y for equal points, or 1 where there is nothing to divide; for canonical operands in t."""
    first, second, doubled, opposite = _cases(t)
    add(t, _A, t, _Y1, t, _Y1)
    sub(t, _B, t, _X2, t, _X1)
    select(t, _B, t, _A, t, _B, doubled)
    select(out, i, _BLOCKS, _ONE, t, _B, first | second | opposite)


@helper
def unusual(t: Words) -> int:
    """Mask of the lanes that may need the longer way: equal abscissas, or an abscissa 0 as infinity has."""
    mask: int = equal(t, _X1, t, _X2) | equal(t, _X1, _BLOCKS, _ZERO) | equal(t, _X2, _BLOCKS, _ZERO)
    return mask


@helper
def complete_addition(t: Words, inverse: int, longer: bool) -> None:
    """The sum, canonical, in rows X3 and Y3, given the inverse of the denominator."""
    sub(t, _LAMBDA, t, _Y2, t, _Y1)
    if longer:
        _, _, doubled, _ = _cases(t)
        mul(t, _A, t, _X1, t, _X1)
        reduce(t, _A, t, _A)
        add(t, _B, t, _A, t, _A)
        reduce(t, _B, t, _B)
        add(t, _A, t, _A, t, _B)
        select(t, _LAMBDA, t, _A, t, _LAMBDA, doubled)
    mul(t, _LAMBDA, t, _LAMBDA, t, inverse)
    mul(t, _A, t, _LAMBDA, t, _LAMBDA)
    add(t, _B, t, _X1, t, _X2)
    sub(t, _A, t, _A, t, _B)
    reduce(t, _X3, t, _A)
    sub(t, _B, t, _X1, t, _X3)
    mul(t, _B, t, _B, t, _LAMBDA)
    sub(t, _B, t, _B, t, _Y1)
    reduce(t, _Y3, t, _B)
    if longer:
        first, second, _, opposite = _cases(t)
        for k in range(2):
            select(t, _X3 + k, t, _X2 + k, t, _X3 + k, first)
            select(t, _X3 + k, t, _X1 + k, t, _X3 + k, second)
            select(t, _X3 + k, _BLOCKS, _ZERO, t, _X3 + k, opposite)


@helper
def add_pairs(
    source: Words,
    a: References,
    b: References,
    to: References,
    count: int,
    out: Words,
    denominators: Words,
    prefixes: Words,
    t: Words,
) -> None:
    """out[to_k] = source[a_k] + source[b_k] for k < count, signs of a and b applied.

    a, b and to have room for LANES - 1 more, which are filled with the last; no row that is written may be read by
    another pair.  A batch is as long as there are rows of denominators and prefixes."""
    if count == 0:
        return
    for k in range(count, count + LANES - 1):
        a[k], b[k], to[k] = a[count - 1], b[count - 1], to[count - 1]
    batch = len(prefixes)
    longer = np.empty(batch, np.bool_)
    for begin in range(0, count, batch * LANES):
        blocks = min(batch, (count - begin + LANES - 1) // LANES)
        copy_block(t, _RUNNING, _BLOCKS, _ONE)
        for n in range(blocks):
            at = begin + n * LANES
            gather(t, _X1, source, 0, a, at, 0)
            gather(t, _X2, source, 0, b, at, 0)
            longer[n] = unusual(t) != 0
            if longer[n]:
                fetch(t, _X1, source, a, at)
                fetch(t, _X2, source, b, at)
                denominator(denominators, n, t)
            else:
                sub(denominators, n, t, _X2, t, _X1)
            copy_block(prefixes, n, t, _RUNNING)
            mul(t, _RUNNING, t, _RUNNING, denominators, n)
        invert_lanes(t, _RUNNING, _SPARE)
        for n in range(blocks - 1, -1, -1):
            at = begin + n * LANES
            mul(t, _SPARE, t, _RUNNING, prefixes, n)
            mul(t, _RUNNING, t, _RUNNING, denominators, n)
            fetch(t, _X1, source, a, at)
            fetch(t, _X2, source, b, at)
            complete_addition(t, _SPARE, longer[n])
            scatter(out, 0, to, at, t, _X3, 0)
            scatter(out, 0, to, at, t, _Y3, LIMBS)


@helper
def double_blocks(x: Words, y: Words, denominators: Words, prefixes: Words, t: Words) -> None:
    """Every point of the blocks x, y doubled in place, in one batch.  Infinity has y = 0 and no other point has: with 1
    for the denominator the formulas give (0, 0) again."""
    blocks = len(x)
    copy_block(t, _RUNNING, _BLOCKS, _ONE)
    for n in range(blocks):
        add(denominators, n, y, n, y, n)
        infinite = equal(y, n, _BLOCKS, _ZERO)
        if infinite:
            select(denominators, n, _BLOCKS, _ONE, denominators, n, infinite)
        copy_block(prefixes, n, t, _RUNNING)
        mul(t, _RUNNING, t, _RUNNING, denominators, n)
    invert_lanes(t, _RUNNING, _SPARE)
    for n in range(blocks - 1, -1, -1):
        mul(t, _SPARE, t, _RUNNING, prefixes, n)
        mul(t, _RUNNING, t, _RUNNING, denominators, n)
        mul(t, _A, x, n, x, n)
        reduce(t, _A, t, _A)
        add(t, _B, t, _A, t, _A)
        reduce(t, _B, t, _B)
        add(t, _LAMBDA, t, _A, t, _B)
        mul(t, _LAMBDA, t, _LAMBDA, t, _SPARE)
        mul(t, _A, t, _LAMBDA, t, _LAMBDA)
        add(t, _B, x, n, x, n)
        sub(t, _A, t, _A, t, _B)
        reduce(t, _X3, t, _A)
        sub(t, _B, x, n, t, _X3)
        mul(t, _B, t, _B, t, _LAMBDA)
        sub(t, _B, t, _B, y, n)
        reduce(y, n, t, _B)
        copy_block(x, n, t, _X3)


@helper
def copy_point(out: Words, i: int, points: Words, reference: int) -> None:
    """points[reference], sign applied, to row i of out."""
    row = reference >> 1
    copy_row(out, i, points, row)
    if reference & 1:
        words = np.empty((2, 6), np.uint64)
        pack(words, 0, points, row, LIMBS, 1)
        p_sub(words, 1, SINGLES, SINGLE_ZERO, words, 0)
        unpack(out, i, words, 1, LIMBS, 1)
