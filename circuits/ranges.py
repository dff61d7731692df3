"""The exact range of an expression over the declared ranges of its variables: what slack widths follow from.

    low <= e_s <= high for every s and every choice of variables within their ranges

Declared ranges decide widths, nothing else: soundness rests on limb capacities, which `circuits.bounds` uses.  All
arithmetic is exact, so that everyone who compiles finds the same widths.
"""

from __future__ import annotations

import numpy as np

from circuits.expr import Dense, Expr, Sparse, scaled
from circuits.products import Integers, add, integers, product, scale

_CELLS = 2**19


def value_range(expr: Expr) -> tuple[int, int]:
    """(low, high) over the whole family, public inputs at their own limits."""
    low: Integers = np.zeros(1, dtype=np.int64)
    high = low
    for factor, term in expr.terms:
        lo, hi = _dense(term, factor) if isinstance(term, Dense) else _sparse(term, factor)
        low, high = add(low, lo), add(high, hi)
    for factor, row in expr.vectors:
        low, high = add(low, scale(factor, row.values)), add(high, scale(factor, row.values))
    shift = expr.constant
    below = sum(min(f * given.low, f * given.high) for f, given in expr.inputs)
    above = sum(max(f * given.low, f * given.high) for f, given in expr.inputs)
    return int(low.min()) + below + shift, int(high.max()) + above + shift


def _dense(term: Dense, factor: int) -> tuple[Integers, Integers]:
    """Per row, sum_i |A_i| limit_i where the block is bounded so; else the positive and negative entries apart."""
    matrix, block = term.matrix.values, term.block
    rows = max(1, _CELLS // matrix.shape[1])
    chunks = [matrix[at : at + rows] for at in range(0, matrix.shape[0], rows)]
    if block.limits is not None:
        # Entries of an epoch are far above int64's negative without a positive; the compiler checks every matrix.
        size = _join([product(np.abs(chunk), block.limits) for chunk in chunks])
        return scale(-abs(factor), size), scale(abs(factor), size)
    low = integers([block.low] * block.count)
    high = integers([block.high] * block.count)
    up = [(product(np.maximum(chunk, 0), high), product(np.minimum(chunk, 0), low)) for chunk in chunks]
    down = [(product(np.maximum(chunk, 0), low), product(np.minimum(chunk, 0), high)) for chunk in chunks]
    above, below = _join([add(a, b) for a, b in up]), _join([add(a, b) for a, b in down])
    return (scale(factor, below), scale(factor, above)) if factor >= 0 else (scale(factor, above), scale(factor, below))


def _sparse(term: Sparse, factor: int) -> tuple[Integers, Integers]:
    block = term.block
    low, high = np.zeros(term.count, dtype=object), np.zeros(term.count, dtype=object)
    if not len(term.value):
        return low, high
    coefficients = scaled(term, factor).astype(object)
    lo, hi = block.low, block.high
    if term.square:
        lo, hi = 0, max(lo * lo, hi * hi)
    if block.limits is not None and not term.square:
        limits = block.limits[term.variable].astype(object)
        up, down = np.abs(coefficients) * limits, -np.abs(coefficients) * limits
        if lo == 0:
            up, down = np.maximum(coefficients, 0) * limits, np.minimum(coefficients, 0) * limits
    else:
        ends = coefficients * lo, coefficients * hi
        up, down = np.maximum(*ends), np.minimum(*ends)
    np.add.at(high, term.equation, up)
    np.add.at(low, term.equation, down)
    return low, high


def _join(parts: list[Integers]) -> Integers:
    if any(part.dtype == object for part in parts):
        parts = [part.astype(object) for part in parts]
    return np.concatenate(parts)


def bits(value: int) -> int:
    """Bits of an unsigned number up to `value`."""
    return max(1, value.bit_length())
