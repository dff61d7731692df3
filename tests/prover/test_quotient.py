"""Columns on four cosets and the quotient put back together from them, against polynomials multiplied out."""

from __future__ import annotations

import random

import pytest

from marginseal.algebra.field import R
from marginseal.algebra.vectors import FieldVectors, PythonVectors, default_vectors
from prover.columns import COSETS, Column, cosets, from_remainders
from prover.quotient import leave_one_out
from tests.attacks.poly import column, evaluate, interpolate, mul, root

BACKENDS: list[FieldVectors] = [PythonVectors(), default_vectors()]
EACH = pytest.mark.parametrize("V", BACKENDS, ids=lambda V: str(V.name))


@EACH
@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_column_on_a_coset_is_its_polynomial_there(count: int, V: FieldVectors) -> None:
    n, draw = 8, random.Random(count)
    values = [draw.randrange(R) for _ in range(n)]
    blinders = tuple(draw.randrange(R) for _ in range(count))
    c = Column.of(V.from_ints(values), blinders, V)
    p = column(values, blinders)
    for coset in cosets(n, V):
        points = [coset.shift * pow(root(n), i, R) % R for i in range(n)]
        assert V.to_ints(coset.points) == points
        assert V.to_ints(coset.evaluate(c, V)) == [evaluate(p, x) for x in points]
        assert all((pow(x, n, R) - 1) % R == coset.vanishing != 0 for x in points)
        assert V.to_ints(coset.table) == [evaluate(interpolate(range(n)), x) for x in points]
    assert c.evaluate(77, n, V) == evaluate(p, 77)


@EACH
@pytest.mark.parametrize("n", [8, 32, 256])
def test_four_remainders_give_back_the_polynomial(n: int, V: FieldVectors) -> None:
    draw = random.Random(n)
    p = [draw.randrange(R) for _ in range(COSETS * n)]
    remainders = []
    for coset in cosets(n, V):
        power = pow(coset.shift, n, R)
        remainders.append(V.from_ints([sum(p[i + j * n] * pow(power, j, R) for j in range(COSETS)) for i in range(n)]))
    assert V.to_ints(from_remainders(remainders, n, V)) == p


@EACH
def test_a_remainder_is_interpolated_from_its_coset(V: FieldVectors) -> None:
    n, draw = 8, random.Random(3)
    p = [draw.randrange(R) for _ in range(n)]
    for coset in cosets(n, V):
        values = V.from_ints([evaluate(p, x) for x in V.to_ints(coset.points)])
        assert V.to_ints(coset.remainder(values, V)) == p


@EACH
@pytest.mark.parametrize("count", [1, 2, 3])
def test_leave_one_out(count: int, V: FieldVectors) -> None:
    draw = random.Random(count)
    rows = [[draw.randrange(R) for _ in range(4)] for _ in range(count)]
    product, derivative = leave_one_out([V.from_ints(r) for r in rows], V)
    for i in range(4):
        column_i = [[r[i]] for r in rows]
        others = [mul(*(column_i[:k] + column_i[k + 1 :]), [1])[0] for k in range(count)]
        assert V.to_ints(product)[i] == mul(*column_i)[0]
        assert V.to_ints(derivative)[i] == sum(others) % R
