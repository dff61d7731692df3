"""Both ways to multiply over a fixed list of points give the sum that the scalars give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.basis import Basis, CurveBasis
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.algebra.vectors import default_vectors

CURVE = backend()
LOGARITHMS = [1, 2, R - 1, R - 2, 1, 3**100 % R]
"""Of the points: with a point twice and two opposite pairs, where an addition has its special cases."""

POINTS = [CURVE.mul(CURVE.generator, x) for x in LOGARITHMS]
BASES: list[Basis] = [CurveBasis(POINTS, CURVE)]
if default_vectors().name == "numba":
    from marginseal.algebra.msm_numba import FixedBase

    BASES.append(FixedBase(CURVE.dump_g1(POINTS)))
each_basis = pytest.mark.parametrize("basis", BASES, ids=lambda basis: type(basis).__name__)

ELEMENT = st.one_of(st.sampled_from([0, 1, R - 1, R // 2]), st.integers(0, R - 1))
INT64 = st.one_of(st.sampled_from([0, 1, -1, 2**63 - 1, -(2**63)]), st.integers(-(2**63), 2**63 - 1))


def le_bytes(scalars: Sequence[int]) -> bytes:
    return b"".join(x.to_bytes(32, "little") for x in scalars)


def expected(scalars: Sequence[int]) -> bytes:
    total = sum(x * a for x, a in zip(scalars, LOGARITHMS, strict=False))
    return CURVE.encode_g1(CURVE.mul(CURVE.generator, total))


@each_basis
@given(st.lists(ELEMENT, max_size=len(POINTS)))
@settings(deadline=None)
def test_scalars(basis: Basis, scalars: list[int]) -> None:
    assert basis.msm(le_bytes(scalars)) == expected(scalars)


@each_basis
@given(st.integers(0, len(POINTS)).flatmap(lambda m: st.lists(INT64, min_size=m, max_size=m)), st.data())
@settings(deadline=None)
def test_small_values_with_a_tail(basis: Basis, values: list[int], data: st.DataObject) -> None:
    tail = data.draw(st.lists(ELEMENT, max_size=len(POINTS) - len(values)))
    assert basis.msm_small(np.array(values, dtype=np.int64), le_bytes(tail)) == expected([*values, *tail])


@each_basis
def test_more_scalars_than_points_are_refused(basis: Basis) -> None:
    count = len(POINTS)
    column = np.ones(count, dtype=np.int64)
    with pytest.raises(ValueError, match="scalars"):
        basis.msm(le_bytes([1] * (count + 1)))
    with pytest.raises(ValueError, match="scalars"):
        basis.msm_small(column, le_bytes([1]))
    with pytest.raises(ValueError, match="scalars"):
        basis.msm_small(np.ones(count + 1, dtype=np.int64), b"")
    with pytest.raises(ValueError, match="scalars"):
        basis.msm(bytes(31))
