"""The transform in the group against the sums that define it, and against the published digests of the ceremony's."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("numba")

from marginseal.algebra.curve import P, backend
from marginseal.algebra.field import R, inverse, root_of_unity
from marginseal.algebra.numba_lagrange import BETA, LAMBDA, lagrange_basis, odd_digits, split
from marginseal.algebra.srs import ceremony
from marginseal.errors import DecodeError, InputError

CURVE = backend()


def multiples(logarithms: list[int]) -> bytes:
    return CURVE.dump_g1([CURVE.mul(CURVE.generator, k) for k in logarithms])


def transformed(logarithms: list[int]) -> list[int]:
    n = len(logarithms)
    w = inverse(root_of_unity(n))
    return [inverse(n) * sum(pow(w, i * j, R) * k for j, k in enumerate(logarithms)) % R for i in range(n)]


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 64, 256])
def test_the_defining_sums(n: int) -> None:
    rng = random.Random(n)
    logarithms = [rng.randrange(1, R) for _ in range(n)]
    assert lagrange_basis(multiples([*logarithms, 1]), n) == multiples(transformed(logarithms))


@pytest.mark.parametrize("n", [8, 128])
def test_the_ceremony(n: int) -> None:
    srs = ceremony()
    assert lagrange_basis(srs.g1_affine, n) == CURVE.dump_g1(srs.lagrange(n, CURVE))


@pytest.mark.parametrize("n", [2, 8, 32])
def test_exceptional_additions_in_every_round(n: int) -> None:
    """Close logarithms: butterflies meet equal and opposite points and infinity on the way to finite results."""
    rng = random.Random(n)
    tried = 0
    while tried < 6:
        values = [rng.choice([1, 2, R - 1]) for _ in range(n)]
        w = root_of_unity(n)
        logarithms = [sum(pow(w, i * j, R) * v for i, v in enumerate(values)) % R for j in range(n)]
        if 0 in logarithms:
            continue
        tried += 1
        assert lagrange_basis(multiples(logarithms), n) == multiples(values)


def test_infinity_among_the_results_is_an_error() -> None:
    w = root_of_unity(16)
    for logarithms in ([1] * 16, [pow(w, 3 * i, R) for i in range(16)]):
        with pytest.raises(InputError) as caught:
            lagrange_basis(multiples(logarithms), 16)
        assert caught.value.code == "srs.degenerate"


def test_refusals() -> None:
    points = multiples([1, 2, 3, 4])
    with pytest.raises(ValueError, match="root of unity"):
        lagrange_basis(points, 3)
    with pytest.raises(ValueError, match="points"):
        lagrange_basis(points, 8)
    with pytest.raises(DecodeError):
        lagrange_basis(points[:-96] + bytes(96), 4)


@given(st.one_of(st.sampled_from([0, 1, 2, LAMBDA, LAMBDA + 1, LAMBDA - 1, R - 1, R - LAMBDA]), st.integers(0, R - 1)))
def test_halves_and_digits(s: int) -> None:
    halves = split(s)
    assert (halves[0] + halves[1] * LAMBDA - s) % R == 0
    digits = odd_digits([s])[0].tolist()
    for k, row in zip(halves, digits, strict=True):
        assert sum(16**i * d for i, d in enumerate(row)) == k
        assert all(d % 2 and abs(d) <= 15 for d in row)
        assert row[-1] > 0


def test_beta_belongs_to_lambda() -> None:
    x, y = (int.from_bytes(part, "big") for part in (multiples([5])[:48], multiples([5])[48:]))
    image = multiples([5 * LAMBDA])
    assert image == (x * BETA % P).to_bytes(48, "big") + y.to_bytes(48, "big")
