"""Every method of `NumbaVectors` against the plain reference, on random vectors and on the edges of the field."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("numba")

from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.vectors import FieldVectors, PythonVectors
from marginseal.algebra.vectors_numba import NumbaVectors

PLAIN: FieldVectors = PythonVectors()
FAST: FieldVectors = NumbaVectors()

EDGES = [0, 1, 2, R - 1, R - 2, R // 2, R // 2 + 1, 2**64 - 1, 2**64, 2**192, 2**254, 2**256 % R, -(2**256) % R]
ELEMENT = st.one_of(st.sampled_from(EDGES), st.integers(0, R - 1))
SCALAR = st.one_of(ELEMENT, st.integers(-(2**300), 2**300))
VECTOR = st.lists(ELEMENT, max_size=40)
INT64 = st.one_of(st.sampled_from([0, 1, -1, -(2**63), 2**63 - 1]), st.integers(-(2**63), 2**63 - 1))


def both(call: Callable[[FieldVectors, Callable[[list[int]], Any]], Any]) -> None:
    """The same call on both backends, `make` turning integers into vectors of each; results equal as integers."""
    results = []
    for backend in (PLAIN, FAST):
        result = call(backend, backend.from_ints)
        results.append(result if isinstance(result, int) else backend.to_ints(result))
    assert results[0] == results[1]


def pair(length: st.SearchStrategy[int]) -> st.SearchStrategy[tuple[list[int], list[int]]]:
    return length.flatmap(
        lambda n: st.tuples(st.lists(ELEMENT, min_size=n, max_size=n), st.lists(ELEMENT, min_size=n, max_size=n))
    )


@given(st.lists(SCALAR, max_size=40))
def test_integers_go_in_reduced_and_come_out(xs: list[int]) -> None:
    v = FAST.from_ints(xs)
    assert FAST.length(v) == len(xs)
    assert FAST.to_ints(v) == [x % R for x in xs]
    assert FAST.to_le_bytes(v) == PLAIN.to_le_bytes(PLAIN.from_ints(xs))


def test_numpy_integers_are_integers() -> None:
    assert FAST.to_ints(FAST.from_ints(np.array([-5, 7]))) == [R - 5, 7]  # type: ignore[arg-type]


@given(st.lists(INT64, max_size=40))
def test_from_int64(xs: list[int]) -> None:
    array = np.array(xs, np.int64)
    array.setflags(write=False)
    assert FAST.to_ints(FAST.from_int64(array)) == [x % R for x in xs]
    assert FAST.to_ints(FAST.from_int64(array[::2])) == [x % R for x in xs[::2]]


@given(
    st.integers(1, 6).flatmap(lambda k: st.lists(st.lists(st.integers(1 - 2**62, 2**62 - 1), min_size=k, max_size=k))),
    st.integers(1, 62),
)
def test_from_digits(rows: list[list[int]], bits: int) -> None:
    digits = np.array(rows, np.int64).reshape(len(rows), len(rows[0]) if rows else 1)
    assert FAST.to_ints(FAST.from_digits(digits, bits)) == PLAIN.to_ints(PLAIN.from_digits(digits, bits))
    turned = np.asfortranarray(digits)
    assert FAST.to_ints(FAST.from_digits(turned, bits)) == PLAIN.to_ints(PLAIN.from_digits(digits, bits))


@given(pair(st.integers(0, 40)), SCALAR, st.integers(-100, 100))
def test_elementwise(ab: tuple[list[int], list[int]], x: int, k: int) -> None:
    a, b = ab
    both(lambda v, make: v.add(make(a), make(b)))
    both(lambda v, make: v.sub(make(a), make(b)))
    both(lambda v, make: v.mul(make(a), make(b)))
    both(lambda v, make: v.neg(make(a)))
    both(lambda v, make: v.scale(make(a), x))
    both(lambda v, make: v.shift(make(a), x))
    both(lambda v, make: v.roll(make(a), k))
    both(lambda v, make: v.inner(make(a), make(b)))


@given(VECTOR, VECTOR, st.integers(0, 50), SCALAR)
def test_shapes(a: list[int], b: list[int], n: int, x: int) -> None:
    both(lambda v, make: v.concat([make(a), make(b), make([])]))
    both(lambda v, make: v.concat([]))
    both(lambda v, make: v.zeros(n))
    both(lambda v, make: v.full(n, x))
    both(lambda v, make: v.powers(x, n))
    both(lambda v, make: v.pad(make(a), len(a) + n))
    stop = min(n, len(a))
    both(lambda v, make: v.take(make(a), stop // 2, stop))


@given(st.lists(st.tuples(ELEMENT, st.integers(0, 6)), max_size=40))
def test_gather_and_scatter(placed: list[tuple[int, int]]) -> None:
    at = np.array([i for _, i in placed], np.int64)
    both(lambda v, make: v.scatter(make([x for x, _ in placed]), at, 7))
    both(lambda v, make: v.gather(make(EDGES), at))
    both(lambda v, make: v.scatter(v.gather(make(EDGES), at), at, 7))


@given(st.lists(st.integers(1, R - 1), max_size=40), st.integers(0, 40))
def test_inverse(xs: list[int], at: int) -> None:
    both(lambda v, make: v.inverse(make(xs)))
    for backend in (PLAIN, FAST):
        with pytest.raises(ZeroDivisionError):
            backend.inverse(backend.from_ints([*xs[:at], 0, *xs[at:]]))


@given(VECTOR, SCALAR)
def test_running_sum_and_polynomials(xs: list[int], x: int) -> None:
    both(lambda v, make: v.running_sum(make(xs))[0])
    both(lambda v, make: v.running_sum(make(xs))[1])
    both(lambda v, make: v.evaluate(make(xs), x))
    if xs:
        both(lambda v, make: v.divide_linear(make(xs), x))


@given(st.integers(0, 7).flatmap(lambda k: st.lists(ELEMENT, min_size=2**k, max_size=2**k)))
def test_transforms(xs: list[int]) -> None:
    both(lambda v, make: v.ntt(make(xs)))
    both(lambda v, make: v.intt(make(xs)))
    w = root_of_unity(len(xs))
    values = FAST.to_ints(FAST.ntt(FAST.from_ints(xs)))
    assert values[-1] == FAST.evaluate(FAST.from_ints(xs), pow(w, len(xs) - 1, R))


def test_transforms_invert_each_other_at_full_size() -> None:
    v = FAST.powers(12345, 8192)
    assert FAST.to_ints(FAST.intt(FAST.ntt(v))) == FAST.to_ints(v)
    assert FAST.to_ints(FAST.ntt(FAST.intt(v))) == FAST.to_ints(v)


@given(
    st.integers(0, 12).flatmap(
        lambda n: st.lists(st.tuples(SCALAR, st.lists(ELEMENT, min_size=n, max_size=n)), min_size=1, max_size=6)
    )
)
def test_combine(terms: list[tuple[int, list[int]]]) -> None:
    both(lambda v, make: v.combine([x for x, _ in terms], [make(row) for _, row in terms]))


@given(st.integers(0, 6), SCALAR)
def test_barycentric(k: int, z: int) -> None:
    n = 2**k
    if pow(z, n, R) != 1:
        both(lambda v, make: v.barycentric(n, z))
    for backend in (PLAIN, FAST):
        with pytest.raises(ZeroDivisionError):
            backend.barycentric(n, root_of_unity(n))


def test_refusals_are_those_of_the_reference() -> None:
    calls: list[Callable[[FieldVectors, Any, Any], Any]] = [
        lambda v, a, b: v.add(a, b),
        lambda v, a, b: v.sub(a, b),
        lambda v, a, b: v.mul(a, b),
        lambda v, a, b: v.inner(a, b),
        lambda v, a, b: v.combine([1, 1], [a, b]),
        lambda v, a, b: v.combine([1], [a, a]),
        lambda v, a, b: v.combine([], []),
        lambda v, a, b: v.pad(b, 2),
        lambda v, a, b: v.take(a, 1, 4),
        lambda v, a, b: v.take(a, 2, 1),
        lambda v, a, b: v.take(a, -1, 1),
        lambda v, a, b: v.gather(a, np.array([0, 3])),
        lambda v, a, b: v.gather(a, np.array([-1])),
        lambda v, a, b: v.scatter(a, np.array([0, 1]), 2),
        lambda v, a, b: v.scatter(a, np.array([0, 1, 2]), 2),
        lambda v, a, b: v.scatter(a, np.array([0, 1, -1]), 2),
        lambda v, a, b: v.ntt(a),
        lambda v, a, b: v.intt(a),
        lambda v, a, b: v.ntt(v.zeros(0)),
        lambda v, a, b: v.barycentric(3, 5),
        lambda v, a, b: v.divide_linear(v.zeros(0), 5),
        lambda v, a, b: v.from_digits(np.zeros((2, 0), np.int64), 11),
        lambda v, a, b: v.from_digits(np.zeros(2, np.int64), 11),
        lambda v, a, b: v.from_digits(np.zeros((2, 1), np.int64), 0),
        lambda v, a, b: v.from_digits(np.zeros((2, 1), np.int64), 63),
    ]
    for backend in (PLAIN, FAST):
        a, b = backend.from_ints([1, 2, 3]), backend.from_ints([1, 2, 3, 4])
        for call in calls:
            with pytest.raises(ValueError):
                call(backend, a, b)


def test_no_method_changes_its_operands() -> None:
    xs, ys = [3, R - 1, 5, 7], [R - 2, 11, 13, 17]
    a, b = FAST.from_ints(xs), FAST.from_ints(ys)
    a.setflags(write=False)
    b.setflags(write=False)
    for v in (FAST.add(a, b), FAST.sub(a, b), FAST.mul(a, b), FAST.neg(a), FAST.scale(a, 3), FAST.shift(a, 3)):
        assert v.flags.writeable
    FAST.combine([1, 2], [a, b])
    FAST.ntt(a), FAST.intt(a), FAST.inverse(a), FAST.running_sum(a), FAST.divide_linear(a, 9), FAST.inner(a, b)
    assert (FAST.to_ints(a), FAST.to_ints(b)) == (xs, ys)


def test_threads_do_not_disturb_each_other() -> None:
    v = FAST.powers(3, 1024)
    expected = FAST.to_ints(FAST.ntt(v))
    results: list[list[int]] = []

    def work() -> None:
        for _ in range(20):
            out = FAST.ntt(v)
        results.append(FAST.to_ints(out))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


@settings(max_examples=5)
@given(st.integers(0, 2**32))
def test_products_near_the_modulus(seed: int) -> None:
    """Operands within a few units of 0 and r, where a reduction that is left out shows."""
    rng = np.random.default_rng(seed)
    near = [int(x) % R for x in rng.integers(-3, 4, 200)]
    other = [int(x) % R for x in rng.integers(-3, 4, 200)]
    both(lambda v, make: v.mul(make(near), make(other)))
    both(lambda v, make: v.add(v.sub(make(near), make(other)), v.mul(make(near), make(near))))


@pytest.mark.parametrize("locator", ["UserProvidedCacheLocator", "UserWideCacheLocator"])
def test_works_where_the_source_directory_is_not_writable(tmp_path: Path, locator: str) -> None:
    """numba then keeps the code in the user's cache directory or, where there is none either (a directory of the
    user's choice that was never chosen), not at all; a fresh process compiles, computes and warns of nothing."""
    code = (
        "from marginseal.algebra.vectors_numba import NumbaVectors\n"
        "v = NumbaVectors()\n"
        "assert v.to_ints(v.mul(v.from_ints([6]), v.from_ints([7]))) == [42]\n"
    )
    environment = os.environ | {"NUMBA_CACHE_LOCATOR_CLASSES": locator, "XDG_CACHE_HOME": str(tmp_path)}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-W", "error", "-c", code]
    subprocess.run(command, check=True, timeout=3600, env=environment, cwd=Path(__file__).parents[2])
    assert any(tmp_path.rglob("*.nbi")) == (locator == "UserWideCacheLocator")
