"""Protocol section 12, last line: departures that are accepted because they prove nothing else."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from tests.attacks.cases import Case, full, margin
from tests.attacks.forge import Forger, accepts
from tests.attacks.poly import Poly, add, column, mul, on_rows, scale, shift, vanishing

CASES = [margin(), full()]
BOTH = pytest.mark.parametrize("case", CASES, ids=lambda c: str(c.circuit.rule))


@BOTH
def test_harmless_phi_with_an_offset(case: Case) -> None:
    """Only differences of phi are looked at; the last row closes for any start."""

    class Offset(Forger):
        def pick_phi(self) -> Poly:
            return add(super().pick_phi(), [123456789])

    assert accepts(case, Offset(case).forge())


@BOTH
def test_harmless_Q_rebalanced_between_its_pieces(case: Case) -> None:
    """X^{n+2} times anything, out of one piece and into the one before: the same Q."""

    class Rebalanced(Forger):
        def pieces(self, Q: Poly) -> list[Poly]:
            Q_0, Q_1, Q_2 = super().pieces(Q)
            draw = random.Random(3)
            a, b = ([draw.randrange(R) for _ in range(9)] for _ in range(2))
            k = self.n + 2
            return [add(Q_0, shift(a, k)), add(Q_1, scale(a, -1), shift(b, k)), add(Q_2, scale(b, -1))]

    assert accepts(case, Rebalanced(case).forge())


def test_harmless_errors_of_two_sources_that_cancel() -> None:
    """C_1 + E and C_2 - E: vectors add, so a source can offset any row of another.

    An attestation is worth as much as its least trusted source (section 7); row authority is what confines one."""
    case = margin()
    curve, key = backend(), commitment_key(8)
    C = [curve.decode_g1(e.C) for e in case.statement.sources]
    E = curve.decode_g1(key.commit_coefficients(key.vectors.from_ints(column([0, 500, 0, 0, 0, 0, 0, 0]))))
    moved = [curve.encode_g1(curve.add(C[0], E)), curve.encode_g1(curve.add(C[1], curve.neg(E)))]
    sources = tuple(replace(e, C=c) for e, c in zip(case.statement.sources, moved, strict=True))
    cancelled = replace(case, statement=replace(case.statement, sources=sources))
    assert accepts(cancelled, Forger(cancelled).forge())
    half = replace(case, statement=replace(case.statement, sources=(sources[0], case.statement.sources[1])))
    assert not accepts(half, Forger(half).forge())


@pytest.mark.parametrize("count", [2, 10, 4088])
def test_harmless_signed_commitment_with_high_multiples_of_Z_H(count: int) -> None:
    """p_b enters by its values on H: a degree up to 4095 changes nothing of what is proven."""
    case = margin(sources=1)
    draw = random.Random(count)
    p = add(case.p[0], mul([draw.randrange(R) for _ in range(count)], vanishing(8)))
    assert on_rows(p, 8) == on_rows(case.p[0], 8)
    assert len(p) == 8 + count
    key = commitment_key(8)
    C = key.commit_coefficients(key.vectors.from_ints(p))
    statement = replace(case.statement, sources=(replace(case.statement.sources[0], C=C),))
    high = replace(case, statement=statement, p=(p,))
    assert accepts(high, Forger(high).forge())


def test_harmless_columns_with_more_blinders() -> None:
    """No degree is bounded anywhere, and none has to be."""

    class Fat(Forger):
        def pick_m(self) -> Poly:
            return add(super().pick_m(), mul([1, 2, 3, 4], vanishing(self.n)))

        def pick_phi(self) -> Poly:
            return add(super().pick_phi(), mul([5] * 7, vanishing(self.n)))

    fat = Fat(margin())
    fat.limbs = [add(c, mul([7, 8, 9], vanishing(8))) for c in fat.limbs]
    assert accepts(margin(), fat.forge())
