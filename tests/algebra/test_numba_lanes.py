"""Blocks of base-field elements against Python integers, with operands at the very bounds that are promised."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import pytest

from marginseal.algebra import numba_lanes as lanes
from marginseal.algebra.curve import P
from marginseal.algebra.numba_compile import LANES, Words
from marginseal.algebra.numba_field import from_rows, p_add, p_mul, p_sub, to_rows
from marginseal.algebra.numba_inverse import invert_plain
from marginseal.algebra.numba_lanes import BLOCK, LIMB_BITS, LIMBS, POINT, RADIX
from marginseal.algebra.numba_points import T_ROWS, invert_lanes

LOOSE = 8 * P if LANES > 1 else P
"""Bound of the operands of `mul`; half of what `add` gives, a quarter of what `reduce` takes."""

FORM = pow(2, RADIX, P)


def block(xs: list[int]) -> Words:
    """LANES integers in one block."""
    out = np.zeros((1, BLOCK), np.uint64)
    for lane, x in enumerate(xs):
        for k in range(LIMBS):
            out[0, LANES * k + lane] = x >> LIMB_BITS * k & (2**LIMB_BITS - 1)
    return out


def integers(row: Words) -> list[int]:
    """What a block holds; limbs in range."""
    assert int(row.max()) < 2**LIMB_BITS
    return [sum(int(row[LANES * k + lane]) << LIMB_BITS * k for k in range(LIMBS)) for lane in range(LANES)]


def compiled(operation: Any, rows: int) -> Callable[..., Any]:
    """The operation on row 0 of each of its arrays."""
    if rows == 2:
        return numba.njit(lambda a, b: operation(a, 0, b, 0))  # type: ignore[no-any-return]
    return numba.njit(lambda a, b, c: operation(a, 0, b, 0, c, 0))  # type: ignore[no-any-return]


def samples(bound: int, count: int = 400) -> list[list[int]]:
    rng = random.Random(bound)
    edges = [0, 1, 2, P - 1, P - 2, bound - 1, bound - 2, bound // 2, 2**52 - 1, 2**64, 2**364, 2**380, FORM]
    edges += [x for k in range(8) for x in (k * P - 1, k * P, k * P + 1)]
    edges = [x for x in edges if 0 <= x < bound]
    draw = [lambda: rng.choice(edges), lambda: rng.randrange(bound)]
    return [[rng.choice(draw)() for _ in range(LANES)] for _ in range(count)]


def test_products() -> None:
    mul = compiled(lanes.mul, 3)
    out = np.empty((1, BLOCK), np.uint64)
    for x, y in zip(samples(LOOSE), reversed(samples(LOOSE)), strict=True):
        mul(out, block(x), block(y))
        result = integers(out[0])
        assert [v * FORM % P for v in result] == [a * b % P for a, b in zip(x, y, strict=True)]
        assert max(result) < (2 * P if LANES > 1 else P)
    a = block([LOOSE - 1] * LANES)
    mul(a, a, a)
    assert integers(a[0])[0] * FORM % P == (LOOSE - 1) ** 2 % P


def test_sums_differences_and_reduction() -> None:
    add, sub, reduce = compiled(lanes.add, 3), compiled(lanes.sub, 3), compiled(lanes.reduce, 2)
    bound = 2 * P if LANES > 1 else P
    out = np.empty((1, BLOCK), np.uint64)
    for x, y in zip(samples(bound), reversed(samples(bound)), strict=True):
        for operation, right in (
            (add, [a + b for a, b in zip(x, y, strict=True)]),
            (sub, [a - b for a, b in zip(x, y, strict=True)]),
        ):
            operation(out, block(x), block(y))
            result = integers(out[0])
            assert [v % P for v in result] == [v % P for v in right]
            assert max(result) < 2 * bound
            reduce(out, out)
            assert integers(out[0]) == [v % P for v in right]
    for x in samples(2 * bound if LANES > 1 else P):
        reduce(out, block(x))
        assert integers(out[0]) == [v % P for v in x]


def test_masks_selection_and_negation() -> None:
    equal = numba.njit(lambda a, b: lanes.equal(a, 0, b, 0))
    select = numba.njit(lambda out, a, b, mask: lanes.select(out, 0, a, 0, b, 0, mask))
    negate = numba.njit(lambda out, a, mask: lanes.negate(out, 0, a, 0, mask))
    out = np.empty((1, BLOCK), np.uint64)
    rng = random.Random(3)
    for x in samples(P, 60):
        mask = rng.randrange(2**LANES)
        bits = [mask >> lane & 1 for lane in range(LANES)]
        y = [v if bit else (v + rng.choice([1, 2**52, 2**370])) % P for v, bit in zip(x, bits, strict=True)]
        assert equal(block(x), block(y)) == mask
        select(out, block(x), block(y), mask)
        assert integers(out[0]) == [a if bit else b for a, b, bit in zip(x, y, bits, strict=True)]
        negate(out, block(x), mask)
        assert integers(out[0]) == [-v % P if bit else v for v, bit in zip(x, bits, strict=True)]


@pytest.mark.skipif(LANES == 1, reason="one lane has no other")
@pytest.mark.parametrize("distance", [1, 2, 4])
def test_exchange(distance: int) -> None:
    exchange = compiled(getattr(lanes, f"exchange_{distance}"), 2)
    x = list(range(100, 100 + LANES))
    out = block(x)
    exchange(out, out)
    assert integers(out[0]) == [x[lane ^ distance] for lane in range(LANES)]


def test_gather_and_scatter_are_inverse() -> None:
    gather = numba.njit(lambda out, points, rows, column: lanes.gather(out, 0, points, 0, rows, 1, column))
    scatter = numba.njit(lambda points, rows, a, column: lanes.scatter(points, 0, rows, 1, a, 0, column))
    points = np.arange(50 * POINT, dtype=np.uint64).reshape(50, POINT)
    rows = np.array([99] + [2 * k + k % 2 for k in random.Random(1).sample(range(50), LANES)], np.int32)
    copy = np.zeros_like(points)
    for column in (0, LIMBS):
        out = np.empty((1, BLOCK), np.uint64)
        gather(out, points, rows, column)
        chosen = points[rows[1:] >> 1, column : column + LIMBS]
        assert (out.reshape(LIMBS, LANES) == chosen.T).all()
        scatter(copy, rows, out, column)
    assert (copy[rows[1:] >> 1] == points[rows[1:] >> 1]).all()
    assert np.count_nonzero(copy.any(axis=1)) == LANES


def test_packing() -> None:
    pack = numba.njit(lambda out, v, start, step: lanes.pack(out, 0, v, 0, start, step))
    unpack = numba.njit(lambda v, words, start, step: lanes.unpack(v, 0, words, 0, start, step))
    for x in samples(P, 40):
        rows = block(x)
        for lane in range(LANES):
            words = np.empty((1, 6), np.uint64)
            pack(words, rows, lane, LANES)
            assert from_rows(words) == [x[lane]]
            back = np.zeros((1, BLOCK), np.uint64)
            unpack(back, words, lane, LANES)
            assert integers(back[0])[lane] == x[lane]


def test_single_elements() -> None:
    mul, add, sub = compiled(p_mul, 3), compiled(p_add, 3), compiled(p_sub, 3)
    out = np.empty((1, 6), np.uint64)
    for xs, ys in zip(samples(P), reversed(samples(P)), strict=True):
        x, y = xs[0], ys[0]
        for operation, right in ((mul, x * y * pow(2, -384, P) % P), (add, (x + y) % P), (sub, (x - y) % P)):
            operation(out, to_rows([x], 6), to_rows([y], 6))
            assert from_rows(out) == [right]


def test_inverses() -> None:
    single = numba.njit(lambda v: invert_plain(v, 0))
    values = {v for xs in samples(P, 200) for v in xs}
    values |= {2**k for k in range(381)} | {P - 2**k for k in range(380)}
    # 378 halvings to 3, and then p is taken down by 3 at a time: nearly all the steps there are.
    values |= {m << k for m in (3, 5, 7) for k in range(379) if m << k < P}
    for x in values:
        v = to_rows([x], 6)
        single(v)
        assert from_rows(v) == [pow(x, -1, P) if x else 0]
    many = numba.njit(lambda t: invert_lanes(t, 0, 1))
    for xs in samples(LOOSE, 40):
        xs = [x if x % P else 1 for x in xs]
        t = np.zeros((T_ROWS, BLOCK), np.uint64)
        t[0] = block(xs)
        many(t)
        assert [v * x % P for v, x in zip(integers(t[0]), xs, strict=True)] == [FORM * FORM % P] * LANES
