"""Exceptional challenges: what each would prove, were it not refused.

Nobody draws one (2^-240), so the transcript is the test's own: it gives the challenge in question, everything else
being real.  Without the check a false statement passes; with it the very same proof is refused.  (A z on H divides by
zero where the matrices are evaluated: refused before, tests/prover/test_prove.py.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from marginseal.algebra.field import R, scalar_bytes
from marginseal.errors import ProofRejected
from marginseal.transcript import Transcript
from tests.attacks.cases import Case, margin
from tests.attacks.forge import Forger, accepts
from tests.attacks.poly import Poly, add, column, divide_by_linear, evaluate, inv, scale, sub
from verifier.rounds import Rounds

LOTS, SLACKS = 0, 1  # the vectors of `margin`


def giving(label: str, value: int, *, checked: bool) -> type[Rounds]:
    """Rounds whose transcript gives this one challenge as told, with the real checks or without any."""

    class Scripted(Transcript):
        def challenge(self, name: str) -> int:
            real = super().challenge(name)
            return value if name == label else real

    class Given(Rounds):
        def __init__(self, transcript: Transcript, n: int) -> None:
            super().__init__(Scripted(transcript.state), n)

    class Unchecked(Given):
        def _challenge(self, name: str) -> int:
            return self._t.challenge(name)

        def round_1(self, limbs: Sequence[bytes], m: bytes) -> tuple[int, int]:
            for point in limbs:
                self._t.absorb("limb", point)
            self._t.absorb("m", m)
            return self._challenge("beta"), self._challenge("rho")

    return Given if checked else Unchecked


def short() -> Case:
    """An account that misses its requirement by 1000 ticks, its worst slack given as 0."""
    case = margin(seed=2)
    case = case.claiming(case.statement.claims[0].inputs[0] - 1000)
    for s in range(case.circuit.equations):
        case = case.with_row(SLACKS, s, max(case.rows[SLACKS][s] - 1000, 0))
    return case


def another_lot() -> Case:
    """A lot that nobody signed, everything else in order."""
    case = margin(spare=200)
    gains = [int(line[3]) for line in case.circuit.dense[0].values]
    case = case.with_row(LOTS, 3, case.rows[LOTS][3] + 1)
    for s, gain in enumerate(gains):
        case = case.with_row(SLACKS, s, case.rows[SLACKS][s] + gain)
    return case


def hardly_any_lots() -> Case:
    """Lots of 0 and -1, whose limbs are 0, 3, 4 or 7, and slacks of nothing, whatever the scenarios say."""
    case = margin(size=1, sources=1)
    return replace(case, rows=(case.rows[LOTS], (0,) * 8)).claiming(0)


class ChosenClaim(Forger):
    """A claim about c_1(z) that makes lin vanish; with nu = 0 no column is opened at all."""

    def pick_claims(self) -> tuple[list[int], int]:
        true, phi_wz = super().pick_claims()
        zero, one = (evaluate(self.lin([x, *true[1:]], phi_wz), self.z) for x in (0, 1))
        return [-zero * inv(one - zero) % R, *true[1:]], phi_wz


class BreakingAt5(Forger):
    """beta = -5: beta + t vanishes at row 5, where phi may then climb as it likes."""

    def pick_phi(self) -> Poly:
        steps = self.step_rows()
        values, total = [0] * self.n, 0
        for k in range(self.n):
            at = (6 + k) % self.n
            values[at] = total
            total = (total + steps[at]) % R
        assert total != 0
        return column(values, self.blinders.phi)


class OnePoint(Forger):
    """z = 0: the two points of the opening are one, and an error of F is paid for by phi's."""

    def pick_claims(self) -> tuple[list[int], int]:
        true, _ = super().pick_claims()

        def error(claim: int) -> int:
            return (evaluate(self.lin(true, claim), 0) + evaluate(self.phi, 0) - claim) % R

        zero, one = error(0), error(1)
        return true, -zero * inv(one - zero) % R

    def pick_W(self) -> Poly:
        powers = [pow(self.nu, j, R) for j in range(1, len(self.c_z) + 1)]
        F = add(self.lin(self.c_z, self.phi_wz), *[scale(c, x) for x, c in zip(powers, self.limbs, strict=True)])
        F = add(F, [-sum(x * c for x, c in zip(powers, self.c_z, strict=True))])
        return divide_by_linear(add(F, sub(self.phi, [self.phi_wz])), 0)


ATTACKS: list[tuple[str, int, type[Forger], Case]] = [
    ("rho", 0, Forger, short()),
    ("y", 0, Forger, another_lot()),
    ("nu", 0, ChosenClaim, short()),
    ("beta", R - 5, BreakingAt5, hardly_any_lots()),
    ("z", 0, OnePoint, short()),
]


@pytest.mark.parametrize(("label", "value", "forger", "case"), ATTACKS, ids=[a[0] for a in ATTACKS])
def test_an_exceptional_challenge_would_prove_a_false_statement(
    label: str, value: int, forger: type[Forger], case: Case
) -> None:
    assert not accepts(case, forger(case).forge()), "with ordinary challenges it is no forgery"
    loose, strict = giving(label, value, checked=False), giving(label, value, checked=True)
    proof = forger(case, rounds=loose).forge()
    with pytest.raises(ProofRejected) as e:
        accepts(case, proof, rounds=strict)
    assert e.value.code == "challenge.exceptional"
    assert accepts(case, proof, rounds=loose), "not even a forgery"


def test_scalars_are_absorbed_as_they_are_sent() -> None:
    case = margin()
    run = Forger(case)
    run.forge()
    again = Rounds.start(case.circuit, case.statement, 0)
    assert again.round_1(run.limbs_1, run.m_1) == (run.beta, run.rho)
    assert again.round_2(run.h_1, run.phi_1) == run.y
    assert again.round_3(run.Q_1) == run.z
    for c in run.c_z:
        again._t.absorb("c(z)", scalar_bytes(c))
    again._t.absorb("phi(wz)", scalar_bytes(run.phi_wz))
    assert again._t.challenge("nu") == run.nu
