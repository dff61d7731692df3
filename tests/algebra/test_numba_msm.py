"""`FixedBase` against the group law in plain integers and against the curve library, where additions are exceptional
above all: equal and opposite points, infinity in between, points with abscissa 0.

Two shapes of the field arithmetic exist (`numba_lanes.py`).  This file runs with the one the processor offers, and once
more, in a process of its own, with the one that runs anywhere.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from marginseal.algebra.curve import P, backend, compress_g1
from marginseal.algebra.field import R
from marginseal.algebra.msm_numba import FixedBase, decode_points, encode_points
from marginseal.algebra.numba_compile import LANES, LANES_VARIABLE
from marginseal.errors import DecodeError
from tests.oracles.stray_points import G1_OF_ORDER_3

CURVE = backend()
IDENTITY = b"\xc0" + bytes(47)

Affine: TypeAlias = tuple[int, int] | None


def plus(p: Affine, q: Affine) -> Affine:
    """The group law as in the textbook; None is infinity."""
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and p[1] != q[1]:
        return None
    if p == q:
        slope = 3 * p[0] ** 2 * pow(2 * p[1], -1, P)
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P)
    x = (slope**2 - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def times(k: int, p: Affine) -> Affine:
    total: Affine = None
    for bit in f"{k:b}":
        total = plus(total, total)
        if bit == "1":
            total = plus(total, p)
    return total


def encoded(p: Affine) -> bytes:
    return IDENTITY if p is None else compress_g1(p[0].to_bytes(48, "big") + p[1].to_bytes(48, "big"))


def le_bytes(scalars: list[int]) -> bytes:
    return b"".join(s.to_bytes(32, "little") for s in scalars)


def multiples(logarithms: list[int]) -> bytes:
    return CURVE.dump_g1([CURVE.mul(CURVE.generator, k) for k in logarithms])


def expected(logarithms: list[int], scalars: list[int]) -> bytes:
    total = sum(k * s for k, s in zip(logarithms, scalars, strict=True)) % R
    return CURVE.encode_g1(CURVE.mul(CURVE.generator, total))


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 63, 256, 300])
def test_random_points_and_scalars(count: int) -> None:
    rng = random.Random(count)
    logarithms = [rng.randrange(1, R) for _ in range(count)]
    base = FixedBase(multiples(logarithms))
    assert len(base) == count
    for used in (count, count // 2, 0):
        scalars = [rng.randrange(R) for _ in range(used)]
        assert base.msm(le_bytes(scalars)) == expected(logarithms[:used], scalars)
        words = np.array([[s >> 64 * k & 2**64 - 1 for k in range(4)] for s in scalars], np.uint64).reshape(-1, 4)
        words.setflags(write=False)
        assert base.msm(words) == expected(logarithms[:used], scalars)


def test_the_size_of_a_column_of_2048_rows_with_three_blinders() -> None:
    rng = random.Random(5)
    logarithms = [rng.randrange(1, R) for _ in range(2051)]
    base = FixedBase(multiples(logarithms))
    assert base.table_bytes <= 2**24
    scalars = [rng.randrange(R) for _ in logarithms]
    assert base.msm(le_bytes(scalars)) == expected(logarithms, scalars)
    # All digits of one window equal: one bucket takes them all.
    for s in (1, R - 1, 2**254, 2**13 - 1, 2**12, sum(2 ** (13 * j) for j in range(19))):
        assert base.msm(le_bytes([s] * 2051)) == expected(logarithms, [s] * 2051)
    values = np.array([rng.randrange(2048) for _ in range(2048)], np.int64)
    assert base.msm_small(values, le_bytes(scalars[:3])) == expected(logarithms, [*values.tolist(), *scalars[:3]])


def edges(c: int) -> list[int]:
    """Scalars whose digits of c bits are 0, 1, the largest, the first that carries, or carry through all windows."""
    half = 2 ** (c - 1)
    out = [0, 1, 2, R - 1, R - 2, R // 2, half, half + 1, half - 1, 2**c - 1, 2**c, 2**256 - 1, 2**255, 2**192]
    out += [sum(half << c * j for j in range(255 // c)), sum((half + 1) << c * j for j in range(254 // c))]
    return out + [2 ** (c * j) for j in (1, 2, 255 // c)]


LITTLE = st.sampled_from([1, 2, 3, 4, R - 1, R - 2, R - 3, R - 4])
"""Logarithms of points so close together that sums of different buckets meet, cancel and vanish."""


@settings(max_examples=150, deadline=None)
@given(
    st.integers(2, 6).flatmap(
        lambda c: st.tuples(st.just(c), st.lists(st.tuples(LITTLE, st.sampled_from(edges(c))), max_size=40))
    )
)
def test_collisions(case: tuple[int, list[tuple[int, int]]]) -> None:
    c, terms = case
    logarithms, scalars = [k for k, _ in terms], [s for _, s in terms]
    base = FixedBase(multiples(logarithms), window_bits=c)
    assert base.msm(le_bytes(scalars)) == expected(logarithms, scalars)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 20)), max_size=20))
def test_points_of_small_order_and_abscissa_zero(terms: list[tuple[int, int]]) -> None:
    """(0, 2) has order 3, and the abscissa by which infinity is kept; its sums with the generator have order 3 r."""
    strange = (0, 2)
    assert b"".join(v.to_bytes(48, "big") for v in strange) == G1_OF_ORDER_3
    data = CURVE.dump_g1([CURVE.generator])
    generator = int.from_bytes(data[:48], "big"), int.from_bytes(data[48:], "big")
    choices = [strange, plus(strange, strange), generator, plus(generator, strange), plus(generator, (0, P - 2))]
    choices += [(generator[0], P - generator[1]), times(3, generator)]
    points = [choices[which] for which, _ in terms]
    total: Affine = None
    for point, (_, s) in zip(points, terms, strict=True):
        total = plus(total, times(s, point))
    base = FixedBase(b"".join(v.to_bytes(48, "big") for p in points if p for v in p), window_bits=3)
    assert base.msm(le_bytes([s for _, s in terms])) == encoded(total)


@pytest.mark.parametrize("scalar", [0, 1, 2, R - 1, R, 2**256 - 1])
@pytest.mark.parametrize("count", [1, 9, 64])
def test_all_points_equal(count: int, scalar: int) -> None:
    base = FixedBase(multiples([5] * count))
    assert base.msm(le_bytes([scalar] * count)) == expected([5] * count, [scalar] * count)


def test_opposite_points_cancel_to_infinity() -> None:
    base = FixedBase(multiples([7, R - 7] * 20))
    assert base.msm(le_bytes([R - 3] * 40)) == IDENTITY
    assert base.msm(b"") == IDENTITY
    assert base.msm_small(np.zeros(40, np.int64)) == IDENTITY


INT64 = st.one_of(st.sampled_from([0, 1, -1, 2**11 - 1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(INT64, max_size=12), st.lists(st.integers(0, R - 1), max_size=3))
def test_small_values_and_a_tail(values: list[int], tail: list[int]) -> None:
    logarithms = [3**k % R for k in range(15)]
    base = _BASES.setdefault("small", FixedBase(multiples(logarithms)))
    scalars = [*values, *tail]
    assert base.msm_small(np.array(values, np.int64), le_bytes(tail)) == expected(logarithms[: len(scalars)], scalars)


_BASES: dict[str, FixedBase] = {}


@pytest.mark.parametrize("bits", range(2, 17))
def test_every_width_of_windows(bits: int) -> None:
    rng = random.Random(bits)
    logarithms = [rng.randrange(1, R) for _ in range(20)]
    base = FixedBase(multiples(logarithms), window_bits=bits)
    scalars = [*edges(bits)[:15], *[rng.randrange(2**256) for _ in range(5)]]
    assert base.msm(le_bytes(scalars)) == expected(logarithms, scalars)


def test_shapes_are_refused() -> None:
    base = FixedBase(multiples([1, 2, 3]))
    for scalars in (bytes(31), le_bytes([1] * 4), np.zeros((2, 3), np.uint64), np.zeros(4, np.uint64)):
        with pytest.raises(ValueError, match="scalars"):
            base.msm(scalars)
    with pytest.raises(ValueError, match="scalars"):
        base.msm(np.zeros((2, 4), np.float64))
    with pytest.raises(ValueError, match="scalars"):
        base.msm_small(np.zeros(3, np.int64), le_bytes([1]))
    with pytest.raises(ValueError, match="scalars"):
        base.msm_small(np.zeros(1, np.int64), bytes(33))
    for bits in (0, 1, 17):
        with pytest.raises(ValueError, match="windows"):
            FixedBase(multiples([1]), window_bits=bits)
    empty = FixedBase(b"")
    assert (len(empty), empty.msm(b"")) == (0, IDENTITY)


def test_coordinates_that_are_no_point_are_refused() -> None:
    good = multiples([1])
    x, y = int.from_bytes(good[:48], "big"), int.from_bytes(good[48:], "big")

    def affine(x: int, y: int) -> bytes:
        return good + x.to_bytes(48, "big") + y.to_bytes(48, "big")

    cases = [
        ("point.length", good[:-1]),
        ("point.malformed", affine(x + P, y)),
        ("point.malformed", affine(x, y + P)),
        ("point.malformed", affine(P, 2)),
        ("point.malformed", affine(2**384 - 1, y)),
        ("point.not-on-curve", affine(x, y + 1)),
        ("point.not-on-curve", affine(0, 0)),
    ]
    for code, data in cases:
        with pytest.raises(DecodeError) as caught:
            FixedBase(data)
        assert caught.value.code == code
    assert encode_points(decode_points(affine(x, P - y))) == affine(x, P - y)
    infinite = decode_points(good)
    infinite[:] = 0
    with pytest.raises(ValueError, match="infinity"):
        encode_points(infinite)


def test_threads_do_not_disturb_each_other() -> None:
    rng = random.Random(8)
    logarithms = [rng.randrange(1, R) for _ in range(200)]
    base = FixedBase(multiples(logarithms))
    wrong: list[int] = []

    def work(seed: int) -> None:
        own = random.Random(seed)
        scalars = [own.randrange(R) for _ in logarithms]
        right = expected(logarithms, scalars)
        wrong.extend(k for k in range(30) if base.msm(le_bytes(scalars)) != right)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.skipif(LANES == 1, reason="this is the process with the arithmetic that runs anywhere")
def test_the_arithmetic_that_runs_anywhere() -> None:
    files = [str(Path(__file__).with_name(f"test_numba_{name}.py")) for name in ("msm", "lanes", "lagrange")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *files]
    environment = os.environ | {LANES_VARIABLE: "1"}
    done = subprocess.run(command, env=environment, cwd=Path(__file__).parents[2], capture_output=True, timeout=3600)
    assert done.returncode == 0, done.stdout.decode()[-3000:]
