"""`PythonVectors` against definitions written out in `tests/oracles/naive_field.py`.

The other backend is compared with this one, method by method, in `test_numba_vectors.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.vectors import BACKEND_VARIABLE, FieldVectors, PythonVectors, default_vectors
from marginseal.errors import InputError
from tests.oracles import naive_field

V: FieldVectors = PythonVectors()

EDGES = [0, 1, 2, R - 1, R - 2, R // 2, R // 2 + 1, 2**64, 2**254]
ELEMENT = st.one_of(st.sampled_from(EDGES), st.integers(0, R - 1))
SCALAR = st.one_of(ELEMENT, st.integers(-(2**300), 2**300))
VECTOR = st.lists(ELEMENT, max_size=24)
INT64 = st.one_of(st.sampled_from([0, 1, -1, -(2**63), 2**63 - 1]), st.integers(-(2**63), 2**63 - 1))
SMALL_DOMAIN = st.integers(0, 5).map(lambda k: 2**k)


def vectors_of(size: st.SearchStrategy[int], count: int) -> st.SearchStrategy[list[list[int]]]:
    def draw(n: int) -> st.SearchStrategy[list[list[int]]]:
        return st.lists(st.lists(ELEMENT, min_size=n, max_size=n), min_size=count, max_size=count)

    return size.flatmap(draw)


PAIR = vectors_of(st.integers(0, 20), 2)
ON_DOMAIN = vectors_of(SMALL_DOMAIN, 1).map(lambda vs: vs[0])


@given(st.lists(SCALAR, max_size=20))
def test_integers_go_in_reduced(xs: list[int]) -> None:
    v = V.from_ints(xs)
    assert V.to_ints(v) == [x % R for x in xs]
    assert V.length(v) == len(xs)
    assert V.to_le_bytes(v) == b"".join((x % R).to_bytes(32, "little") for x in xs)


def test_numpy_integers_are_integers() -> None:
    assert V.to_ints(V.from_ints(list(np.array([-5, 7])))) == [R - 5, 7]


@given(st.lists(INT64, max_size=20))
def test_signed_words(xs: list[int]) -> None:
    assert V.to_ints(V.from_int64(np.array(xs, dtype=np.int64))) == [x % R for x in xs]


DIGIT = st.integers(-(2**62) + 1, 2**62 - 1)


@given(
    st.integers(1, 5).flatmap(lambda k: st.lists(st.lists(DIGIT, min_size=k, max_size=k), min_size=1, max_size=9)),
    st.integers(1, 62),
)
def test_digits_are_summed_with_their_weights(rows: list[list[int]], bits: int) -> None:
    expected = [sum(d * 2 ** (bits * k) for k, d in enumerate(row)) % R for row in rows]
    assert V.to_ints(V.from_digits(np.array(rows, dtype=np.int64), bits)) == expected


@pytest.mark.parametrize(("shape", "bits"), [((4,), 8), ((4, 0), 8), ((4, 2), 0), ((4, 2), 63)])
def test_digits_of_another_shape_are_refused(shape: tuple[int, ...], bits: int) -> None:
    with pytest.raises(ValueError, match="digits"):
        V.from_digits(np.zeros(shape, dtype=np.int64), bits)


@given(PAIR, SCALAR)
def test_elementwise(pair: list[list[int]], x: int) -> None:
    a, b = pair
    u, v = V.from_ints(a), V.from_ints(b)
    assert V.to_ints(V.add(u, v)) == [(p + q) % R for p, q in zip(a, b, strict=True)]
    assert V.to_ints(V.sub(u, v)) == [(p - q) % R for p, q in zip(a, b, strict=True)]
    assert V.to_ints(V.mul(u, v)) == [p * q % R for p, q in zip(a, b, strict=True)]
    assert V.to_ints(V.neg(u)) == [(R - p) % R for p in a]
    assert V.to_ints(V.scale(u, x)) == [p * x % R for p in a]
    assert V.to_ints(V.shift(u, x)) == [(p + x) % R for p in a]
    assert V.inner(u, v) == sum(p * q for p, q in zip(a, b, strict=True)) % R
    assert V.to_ints(u) == a  # never in place


@given(st.lists(ELEMENT.filter(bool), max_size=20))
def test_inverse(a: list[int]) -> None:
    assert V.to_ints(V.mul(V.inverse(V.from_ints(a)), V.from_ints(a))) == [1] * len(a)
    with pytest.raises(ZeroDivisionError):
        V.inverse(V.from_ints([*a, 0]))


@given(VECTOR)
def test_running_sum_is_exclusive(a: list[int]) -> None:
    sums, total = V.running_sum(V.from_ints(a))
    assert V.to_ints(sums) == [sum(a[:i]) % R for i in range(len(a))]
    assert total == sum(a) % R


@given(ON_DOMAIN, st.integers(-70, 70))
def test_roll_is_multiplication_of_the_argument(coeffs: list[int], k: int) -> None:
    n = len(coeffs)
    turned = [c * pow(root_of_unity(n), j * k, R) for j, c in enumerate(coeffs)]
    assert V.to_ints(V.roll(V.ntt(V.from_ints(coeffs)), k)) == naive_field.values_on_roots(turned, n)


@given(st.lists(VECTOR, max_size=4))
def test_concat(vs: list[list[int]]) -> None:
    assert V.to_ints(V.concat([V.from_ints(v) for v in vs])) == [x for v in vs for x in v]


@given(VECTOR, st.integers(0, 9), st.data())
def test_pad_and_take(a: list[int], more: int, data: st.DataObject) -> None:
    v = V.from_ints(a)
    assert V.to_ints(V.pad(v, len(a) + more)) == a + [0] * more
    start = data.draw(st.integers(0, len(a)))
    stop = data.draw(st.integers(start, len(a)))
    assert V.to_ints(V.take(v, start, stop)) == a[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 2), (2, 1), (0, 4), (4, 4)])
def test_take_outside_is_refused(start: int, stop: int) -> None:
    with pytest.raises(ValueError, match="range"):
        V.take(V.zeros(3), start, stop)


@given(st.lists(ELEMENT, min_size=1, max_size=9), st.data())
def test_gather_and_scatter(a: list[int], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(a) - 1), max_size=30))
    at = np.array(places, dtype=np.int64)
    gathered = V.gather(V.from_ints(a), at)
    assert V.to_ints(gathered) == [a[i] for i in places]
    sums = V.scatter(gathered, at, len(a))
    assert V.to_ints(sums) == [x * places.count(i) % R for i, x in enumerate(a)]


@pytest.mark.parametrize("place", [-1, 3])
def test_places_outside_are_refused(place: int) -> None:
    at = np.array([0, place], dtype=np.int64)
    with pytest.raises(ValueError, match="place"):
        V.gather(V.zeros(3), at)
    with pytest.raises(ValueError, match="place"):
        V.scatter(V.zeros(2), at, 3)


@given(SCALAR, st.integers(0, 20))
def test_constants_and_powers(x: int, n: int) -> None:
    assert V.to_ints(V.zeros(n)) == [0] * n
    assert V.to_ints(V.full(n, x)) == [x % R] * n
    assert V.to_ints(V.powers(x, n)) == [pow(x, i, R) for i in range(n)]


@given(ON_DOMAIN)
def test_transform_gives_the_values_on_the_roots(coeffs: list[int]) -> None:
    values = V.ntt(V.from_ints(coeffs))
    assert V.to_ints(values) == naive_field.values_on_roots(coeffs, len(coeffs))
    assert V.to_ints(V.intt(values)) == coeffs
    assert V.to_ints(V.intt(V.from_ints(coeffs))) == naive_field.interpolate(coeffs)


@given(vectors_of(st.integers(1, 12), 2))
def test_product_of_polynomials_by_transforms(pair: list[list[int]]) -> None:
    a, b = pair
    size = 32
    by_values = V.mul(V.ntt(V.pad(V.from_ints(a), size)), V.ntt(V.pad(V.from_ints(b), size)))
    expected = naive_field.product(a, b)
    assert V.to_ints(V.intt(by_values)) == expected + [0] * (size - len(expected))


@pytest.mark.parametrize("n", [512, 1024, 2048, 4096, 8192])
def test_large_transforms_at_a_few_points(n: int) -> None:
    coeffs = [pow(3, i * i, R) for i in range(n)]
    values = V.to_ints(V.ntt(V.from_ints(coeffs)))
    for i in (0, 1, n // 2 - 1, n // 2, n - 1):
        assert values[i] == naive_field.evaluate(coeffs, pow(naive_field.root(n), i, R))
    assert V.to_ints(V.intt(V.from_ints(values))) == coeffs


@pytest.mark.parametrize("n", [0, 3, 12])
def test_lengths_without_a_transform(n: int) -> None:
    with pytest.raises(ValueError, match="root of unity"):
        V.ntt(V.zeros(n))
    with pytest.raises(ValueError, match="root of unity"):
        V.intt(V.zeros(n))


@given(VECTOR, SCALAR)
def test_evaluate(coeffs: list[int], x: int) -> None:
    assert V.evaluate(V.from_ints(coeffs), x) == naive_field.evaluate(coeffs, x % R)


@given(st.lists(ELEMENT, min_size=1, max_size=24), SCALAR)
def test_division_by_a_linear_factor(coeffs: list[int], z: int) -> None:
    quotient = V.to_ints(V.divide_linear(V.from_ints(coeffs), z))
    assert len(quotient) == len(coeffs) - 1
    back = naive_field.product(quotient, [-z % R, 1]) if quotient else [0]
    assert naive_field.add(back, [naive_field.evaluate(coeffs, z % R)])[: len(coeffs)] == coeffs


def test_nothing_to_divide() -> None:
    with pytest.raises(ValueError, match="polynomial"):
        V.divide_linear(V.zeros(0), 3)


@given(vectors_of(st.integers(0, 10), 4), st.lists(SCALAR, min_size=4, max_size=4))
def test_combination(vs: list[list[int]], scalars: list[int]) -> None:
    expected = [sum(x * row for x, row in zip(scalars, rows, strict=True)) % R for rows in zip(*vs, strict=True)]
    assert V.to_ints(V.combine(scalars, [V.from_ints(v) for v in vs])) == expected


@given(ON_DOMAIN, SCALAR)
@settings(max_examples=50)
def test_barycentric_weights_evaluate_from_values(values: list[int], z: int) -> None:
    n = len(values)
    if pow(z, n, R) == 1:
        z = 2  # of large order
    weights = V.barycentric(n, z)
    assert V.inner(weights, V.from_ints(values)) == naive_field.evaluate(naive_field.interpolate(values), z % R)
    assert sum(V.to_ints(weights)) % R == 1


@pytest.mark.parametrize("i", [0, 1, 5])
def test_no_barycentric_weights_on_the_roots(i: int) -> None:
    with pytest.raises(ZeroDivisionError):
        V.barycentric(8, pow(root_of_unity(8), i, R))


def test_lengths_that_do_not_match_are_refused() -> None:
    a, b = V.zeros(3), V.zeros(4)
    for method in (V.add, V.sub, V.mul, V.inner):
        with pytest.raises(ValueError, match=r"argument|elements"):
            method(a, b)
    for scalars, vs in (([1, 1], [a, b]), ([1], [a, a]), ([1, 1], [a]), ([], [])):
        with pytest.raises(ValueError, match="combination"):
            V.combine(scalars, vs)
    with pytest.raises(ValueError, match="pad"):
        V.pad(b, 3)
    with pytest.raises(ValueError, match="argument"):
        V.scatter(a, np.zeros(4, dtype=np.int64), 5)


def backend_in_a_fresh_process(choice: str | None, *, hide_numba: bool = False) -> str:
    """The last line of `default_vectors()` under the variable, in an interpreter of its own."""
    hidden = "sys.modules['numba'] = None; " if hide_numba else ""
    code = (
        f"import sys; {hidden}from marginseal.algebra.vectors import default_vectors as f; "
        "assert f() is f(); print(f().name)"
    )
    environment = {k: v for k, v in os.environ.items() if k != BACKEND_VARIABLE}
    if choice is not None:
        environment[BACKEND_VARIABLE] = choice
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    return (done.stdout or done.stderr).strip().splitlines()[-1]


def test_choice_of_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    assert backend_in_a_fresh_process("python") == "python"
    assert backend_in_a_fresh_process(None, hide_numba=True) == "python"
    assert "backend.unavailable" in backend_in_a_fresh_process("numba", hide_numba=True)
    monkeypatch.setenv(BACKEND_VARIABLE, "abacus")
    with pytest.raises(InputError) as e:
        default_vectors()
    assert e.value.code == "backend.unknown"


def test_numba_is_the_default_where_it_is_installed() -> None:
    pytest.importorskip("numba")
    assert backend_in_a_fresh_process(None) == backend_in_a_fresh_process("numba") == "numba"


def test_the_interface_is_imported_without_numba() -> None:
    code = "import sys, marginseal.algebra.vectors, marginseal.algebra.commit; print('numba' in sys.modules)"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
