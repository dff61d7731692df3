"""Exact products against Python integers, at the bounds where float64 or int64 would go wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from circuits import products
from circuits.products import add, integers, magnitude, multiply, positive_part, product, scale, total

Ints = NDArray[np.int64]
INT64_MIN = -(2**63)


def naive(matrix: Ints, x: list[int]) -> list[int]:
    return [sum(a * b for a, b in zip(row, x, strict=True)) for row in matrix.tolist()]


def numbers(bits: int) -> st.SearchStrategy[int]:
    edge = st.sampled_from([0, 1, -1, 2**bits - 1, 1 - 2**bits, 2 ** (bits - 1), -(2 ** (bits - 1))])
    return edge | st.integers(1 - 2**bits, 2**bits - 1)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_product_is_the_sum_of_python_integers(data: st.DataObject) -> None:
    m, k = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 9))
    a_bits, x_bits = data.draw(st.integers(1, 63)), data.draw(st.integers(1, 100))
    rows = st.lists(numbers(a_bits), min_size=k, max_size=k)
    matrix = np.array(data.draw(st.lists(rows, min_size=m, max_size=m)), dtype=np.int64)
    x = data.draw(st.lists(numbers(x_bits), min_size=k, max_size=k))
    assert product(matrix, integers(x)).tolist() == naive(matrix, x)
    if magnitude(matrix) < 2**40:
        assert product(matrix, integers(x), matrix.astype(np.float64)).tolist() == naive(matrix, x)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("a_bits", [26, 27, 39, 40, 41, 52])
def test_all_entries_at_the_bound(a_bits: int, sign: int) -> None:
    k = 2048
    matrix = np.full((3, k), sign * (2**a_bits - 1), dtype=np.int64)
    matrix[1, ::2] *= -1
    x = [2**43 - 1] * k
    x[::2] = [1 - 2**43] * (k // 2)
    assert product(matrix, integers(x)).tolist() == naive(matrix, x)


def test_a_digit_too_wide_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound matters: with two bits more to a digit the same product is rounded."""
    matrix = np.full((1, 2048), 2**27 - 1, dtype=np.int64)
    x = [2**43 - 1 - i for i in range(2048)]
    assert product(matrix, integers(x)).tolist() == naive(matrix, x)
    exact = products._digit_bits
    monkeypatch.setattr(products, "_digit_bits", lambda k, bound: exact(k, bound) + 2)
    assert product(matrix, integers(x)).tolist() != naive(matrix, x)


def test_int64_min() -> None:
    matrix = np.array([[INT64_MIN, 1], [INT64_MIN, INT64_MIN]], dtype=np.int64)
    assert product(matrix, integers([1, 1])).tolist() == [INT64_MIN + 1, 2 * INT64_MIN]
    assert magnitude(matrix) == 2**63


def test_a_row_of_many_chunks() -> None:
    rng = np.random.default_rng(7)
    matrix = rng.integers(-(2**20), 2**20, (700, 1500))
    x = rng.integers(-(2**30), 2**30, 1500)
    expected = naive(matrix, x.tolist())
    assert product(matrix, x).tolist() == expected
    assert product(matrix << 30, x).tolist() == [value << 30 for value in expected]


@settings(max_examples=100, deadline=None)
@given(st.lists(numbers(63), min_size=1, max_size=6), st.lists(numbers(70), min_size=1, max_size=6), numbers(66))
def test_elementwise_arithmetic_never_wraps(a: list[int], b: list[int], factor: int) -> None:
    b = (b * 6)[: len(a)]
    x, y = integers(a), integers(b)
    assert add(x, y).tolist() == [p + q for p, q in zip(a, b, strict=True)]
    assert multiply(x, y).tolist() == [p * q for p, q in zip(a, b, strict=True)]
    assert scale(factor, x).tolist() == [factor * p for p in a]
    assert total(x) == sum(a)
    assert positive_part(y).tolist() == [max(0, p) for p in b]
    assert magnitude(y) == max(abs(p) for p in b)


@pytest.mark.parametrize("bad", [[1.5], ["1"], np.array([1.0]), [None]])
def test_only_integers(bad: object) -> None:
    with pytest.raises(TypeError):
        integers(bad)
