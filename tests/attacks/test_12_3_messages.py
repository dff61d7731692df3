"""Protocol section 12, item 3: messages chosen too late, moved, exchanged; and openings that do not belong.

Each attack on the order of the transcript is a real forgery: the account below is short of its requirement, and the
verifier with that flaw says it is not."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest

from circuits.circuit import Vector
from marginseal.algebra.field import R
from tests.attacks.cases import Case, full, margin
from tests.attacks.flawed_rounds import EarlyBeta, EarlyNu, EarlyRho, EarlyY, EarlyZ, deaf_to
from tests.attacks.forge import Forger, accepts, drops, nu_powers, stopped_by_its_defence
from tests.attacks.lattice import relation_near
from tests.attacks.poly import (
    Poly,
    add,
    column,
    divide_by_linear,
    evaluate,
    inv,
    on_rows,
    scale,
    sub,
)
from verifier.rounds import Rounds

LOTS, SLACKS = 0, 1  # the vectors of `margin`
SHORT_BY = 1000


def unhealthy(*, slacks: int = 6) -> Case:
    """`margin` claiming a requirement that its worst scenario misses by 1000 ticks; that slack is given as 0."""
    case = margin(S=8 if slacks > 6 else 5, slacks=slacks, seed=2)
    case = case.claiming(case.statement.claims[0].inputs[0] - SHORT_BY)
    for s in range(case.circuit.equations):
        case = case.with_row(SLACKS, s, max(case.rows[SLACKS][s] - SHORT_BY, 0))
    return case


def test_the_account_is_short() -> None:
    case = unhealthy()
    assert not accepts(case, Forger(case).forge())
    assert accepts(case, Forger(case, drop=drops("equations")).forge(), drop=drops("equations"))


# Order.


class LateM(Forger):
    """With beta known, one multiplicity that is no small number closes the running sum."""

    def step_1(self) -> None:
        self.beta, self.rho = self.peek().round_1(self.limbs_1, self.dummy)
        self.collapse()
        self.m, self.h = self.pick_m(), self.pick_h()
        gap = sum(self.step_rows()) % R
        rows = on_rows(self.m, self.n)
        rows[0] = (rows[0] + gap * self.beta) % R  # m_0 / (beta + 0) takes the gap away
        self.m = column(rows, self.blinders.m)
        self.m_1 = self.commit(self.m)
        self.beta, self.rho = self.run.round_1(self.limbs_1, self.m_1)


@pytest.mark.parametrize("flawed", [EarlyBeta, deaf_to("m")], ids=["late", "never"])
def test_12_3_m_chosen_after_beta(flawed: type[Rounds]) -> None:
    stopped_by_its_defence(LateM(unhealthy(), rounds=flawed))
    assert not accepts(unhealthy(), LateM(unhealthy()).forge())


class LateColumns(Forger):
    """With rho known, slacks within the table whose errors e_j cancel: sum_j rho^j e_j = 0, each e_j > 0."""

    def step_1(self) -> None:
        _, rho = self.peek().round_1([self.dummy] * self.circuit.columns, self.dummy)
        M = self.circuit.equations
        weights = [pow(rho, j + 1, R) for j in range(M)]
        requirement = self.statement.claims[0].inputs[0]
        true = [
            sum(a * q for a, q in zip(line, self.case.rows[LOTS], strict=True)) + requirement
            for line in self.circuit.dense[0].values.tolist()
        ]
        assert min(true) == -SHORT_BY
        lying = self.case
        for s, (x, e) in enumerate(zip(true, relation_near(weights, R, [2**40] * M), strict=True)):
            assert e != 0
            lying = lying.with_row(SLACKS, s, x + e)
        self.limb_rows = lying.limb_rows()  # every limb in its table
        self.limbs = [column(r, b) for r, b in zip(self.limb_rows, self.blinders.limbs, strict=True)]
        self.limbs_1 = [self.commit(c) for c in self.limbs]
        super().step_1()


@pytest.mark.parametrize("flawed", [EarlyRho], ids=["late"])
def test_12_3_columns_chosen_after_rho(flawed: type[Rounds]) -> None:
    case = unhealthy(slacks=15)
    stopped_by_its_defence(LateColumns(case, rounds=flawed))
    assert not accepts(case, LateColumns(case).forge())


class UnheardColumns(Forger):
    """With beta and rho known and m sent, one limb in a row of no equation takes all that the running sum lacks."""

    def step_1(self) -> None:
        self.m = column([self.circuit.columns] * self.n, self.blinders.m)
        self.m_1 = self.commit(self.m)
        self.beta, self.rho = self.peek().round_1([self.dummy] * self.circuit.columns, self.m_1)
        self.collapse()
        first, row = self.circuit.vectors[SLACKS].first, self.n - 1
        assert self.case.circuit.equations < self.n
        self.h = self.pick_h()
        gap = sum(self.step_rows()) - inv(self.beta + self.limb_rows[first][row])
        self.limb_rows[first][row] = (-inv(gap) - self.beta) % R
        self.limbs = [column(r, b) for r, b in zip(self.limb_rows, self.blinders.limbs, strict=True)]
        self.limbs_1 = [self.commit(c) for c in self.limbs]
        self.beta, self.rho = self.run.round_1(self.limbs_1, self.m_1)


def test_12_3_columns_never_absorbed() -> None:
    stopped_by_its_defence(UnheardColumns(unhealthy(), rounds=deaf_to("limb")))
    assert not accepts(unhealthy(), UnheardColumns(unhealthy()).forge())


class LateHelper(Forger):
    """With y known, one wrong helper pays for the step that phi is short of, identity against identity.

    phi may well be sent before y: its error is a constant, and only the helper depends on y."""

    def step_2(self) -> None:
        self.h = self.pick_h()
        self.phi = self.pick_phi()
        self.phi_1 = self.commit(self.phi)
        early = self.peek()
        early.round_1(self.limbs_1, self.m_1)
        self.y = early.round_2([self.dummy] * self.circuit.groups, self.phi_1)
        row, point = self.n - 1, pow(self.w, self.n - 1, R)
        T, product = evaluate(self.T(), point), 1
        for A in self.group(0):
            product = product * evaluate(A, point) % R
        gap = sum(self.step_rows()) % R
        delta = gap * T * inv(pow(self.y, self.circuit.groups, R) * product - T) % R
        rows = on_rows(self.h[0], self.n)
        rows[row] = (rows[row] + delta) % R
        self.h[0] = column(rows, self.blinders.h[0])
        self.h_1 = [self.commit(h) for h in self.h]
        self.y = self.run.round_2(self.h_1, self.phi_1)


@pytest.mark.parametrize("flawed", [EarlyY, deaf_to("h")], ids=["late", "never"])
def test_12_3_h_chosen_after_y(flawed: type[Rounds]) -> None:
    stopped_by_its_defence(LateHelper(unhealthy(), rounds=flawed))
    assert not accepts(unhealthy(), LateHelper(unhealthy()).forge())


class LateQuotient(Forger):
    """With z known, one coefficient of Q makes lin vanish there, whatever it does elsewhere."""

    def pick_Q(self) -> Poly:
        early = self.peek()
        early.round_1(self.limbs_1, self.m_1)
        early.round_2(self.h_1, self.phi_1)
        z = early.round_3([self.dummy] * 3)
        Q = super().pick_Q()
        missing = evaluate(self.batch(), z) * inv(pow(z, self.n, R) - 1) - evaluate(Q, z)
        return add(Q, [missing])


@pytest.mark.parametrize("flawed", [EarlyZ, deaf_to("Q")], ids=["late", "never"])
def test_12_3_quotient_chosen_after_z(flawed: type[Rounds]) -> None:
    stopped_by_its_defence(LateQuotient(unhealthy(), rounds=flawed))
    assert not accepts(unhealthy(), LateQuotient(unhealthy()).forge())


class LateClaims(Forger):
    """With nu known, a wrong c_1(z) that pays for what lin does not give: F vanishes at z, and nothing else does."""

    def step_4(self) -> None:
        early = self.peek()
        early.round_1(self.limbs_1, self.m_1)
        early.round_2(self.h_1, self.phi_1)
        early.round_3(self.Q_1)
        true, phi_wz = self.pick_claims()
        nu = early.round_4([1] * len(true), phi_wz)
        powers = nu_powers(nu, len(true), self.drop)

        def F_at_z(first: int) -> int:
            claims = [first, *true[1:]]
            opened = sum(x * (c - k) for x, c, k in zip(powers, true, claims, strict=True))
            return (evaluate(self.lin(claims, phi_wz), self.z) + opened) % R

        zero, one = F_at_z(0), F_at_z(1)  # affine in one claim, in a circuit without squares
        claim = -zero * inv(one - zero) % R
        assert claim != true[0]
        self.c_z, self.phi_wz = [claim, *true[1:]], phi_wz
        self.nu = self.run.round_4(self.c_z, self.phi_wz)


@pytest.mark.parametrize("flawed", [EarlyNu, deaf_to("c(z)")], ids=["late", "never"])
def test_12_3_evaluations_chosen_after_nu(flawed: type[Rounds]) -> None:
    stopped_by_its_defence(LateClaims(unhealthy(), rounds=flawed))
    assert not accepts(unhealthy(), LateClaims(unhealthy()).forge())


# Messages that are not what they should be.


class RolledHelpers(Forger):
    def pick_h(self) -> list[Poly]:
        rows = [on_rows(h, self.n) for h in super().pick_h()]
        return [column([*r[1:], r[0]], b) for r, b in zip(rows, self.blinders.h, strict=True)]


def test_12_3_h_off_by_one_row() -> None:
    """Rolled helpers have the right sum, so phi closes; each group's identity is what sees the row."""
    case = margin()
    stopped_by_its_defence(RolledHelpers(case, drop=drops("groups")))
    assert not accepts(case, RolledHelpers(case).forge())


class RolledPhi(Forger):
    def pick_phi(self) -> Poly:
        rows = on_rows(super().pick_phi(), self.n)
        return column([*rows[1:], rows[0]], self.blinders.phi)


def test_12_3_phi_off_by_one_row() -> None:
    stopped_by_its_defence(RolledPhi(margin(), drop=drops("running")))
    assert not accepts(margin(), RolledPhi(margin()).forge())


class SwappedPieces(Forger):
    """The pieces sent, and absorbed, as 1, 0, 2."""

    def pieces(self, Q: Poly) -> list[Poly]:
        Q_0, Q_1, Q_2 = super().pieces(Q)
        return [Q_1, Q_0, Q_2]


def test_12_3_quotient_pieces_swapped() -> None:
    stopped_by_its_defence(SwappedPieces(margin(), drop=drops("Q-order")))
    assert not accepts(margin(), SwappedPieces(margin()).forge())


class ExchangedClaims(Forger):
    """Two claims exchanged before nu, of two columns of one group that no equation tells apart."""

    def pick_claims(self) -> tuple[list[int], int]:
        claims, phi_wz = super().pick_claims()
        return [*claims[:-2], claims[-1], claims[-2]], phi_wz


def with_idle_columns() -> Case:
    """`margin` with a vector of three limbs in no equation: lin is symmetric in them."""
    case = margin()
    circuit = replace(case.circuit, vectors=(*case.circuit.vectors, Vector(3, False, case.circuit.columns)))
    claim = replace(case.statement.claims[0], circuit=circuit.digest)
    rows = (*case.rows, tuple(range(100, 108)))
    return replace(case, circuit=circuit, statement=replace(case.statement, claims=(claim,)), rows=rows)


def test_12_3_evaluations_exchanged() -> None:
    case = with_idle_columns()
    assert case.circuit.columns % 3 == 0
    stopped_by_its_defence(ExchangedClaims(case, drop=drops("nu-powers")))
    assert accepts(case, Forger(case).forge())
    assert not accepts(case, ExchangedClaims(case).forge())


@pytest.mark.parametrize("first", range(8))
def test_12_3_evaluations_exchanged_in_the_bytes(first: int) -> None:
    case = margin()
    honest = Forger(case)
    data = honest.forge()
    at = 48 * (len(honest.limbs_1) + len(honest.h_1) + 5) + 32 * first
    assert not accepts(case, data[:at] + data[at + 32 : at + 64] + data[at : at + 32] + data[at + 64 :])


class ChosenClaims(Forger):
    """A claim about c_1(z) that makes lin vanish for a false statement; nobody asks whether c_1 takes it."""

    def pick_claims(self) -> tuple[list[int], int]:
        true, phi_wz = super().pick_claims()
        zero, one = (evaluate(self.lin([x, *true[1:]], phi_wz), self.z) for x in (0, 1))
        return [-zero * inv(one - zero) % R, *true[1:]], phi_wz


def test_12_3_evaluations_chosen_to_fit() -> None:
    stopped_by_its_defence(ChosenClaims(unhealthy(), drop=drops("nu")))
    assert not accepts(unhealthy(), ChosenClaims(unhealthy()).forge())


class ConflictingClaims(Forger):
    """One column committed twice, opened to two values: the errors cancel if both weigh the same."""

    def pick_claims(self) -> tuple[list[int], int]:
        true, phi_wz = super().pick_claims()
        i, j = 0, len(true) - 1  # different groups and vectors, so lin is affine in what one gains and the other loses

        def claims(d: int) -> list[int]:
            out = list(true)
            out[i], out[j] = (out[i] + d) % R, (out[j] - d) % R
            return out

        zero, one = (evaluate(self.lin(claims(d), phi_wz), self.z) for d in (0, 1))
        return claims(-zero * inv(one - zero) % R), phi_wz


def test_12_3_conflicting_duplicate_openings() -> None:
    case = unhealthy()
    first, last = 0, case.circuit.columns - 1
    rows = case.limb_rows()
    rows[last] = list(rows[first])  # the same column, in the same blinders: one commitment, two claims
    forger = ConflictingClaims(case, drop=drops("nu-powers"), limb_rows=rows)
    forger.limbs[last] = list(forger.limbs[first])
    proof = forger.forge()
    assert forger.limbs_1[first] == forger.limbs_1[last]
    assert forger.c_z[first] != forger.c_z[last]
    assert accepts(case, proof, drop=drops("nu-powers")), "not even a forgery"
    real = ConflictingClaims(case, limb_rows=rows)
    real.limbs[last] = list(real.limbs[first])
    assert not accepts(case, proof)
    assert not accepts(case, real.forge())


class ChosenPhi(Forger):
    """A claim about phi(wz) that makes lin vanish for a false statement."""

    def pick_claims(self) -> tuple[list[int], int]:
        true, _ = super().pick_claims()
        zero, one = (evaluate(self.lin(true, x), self.z) for x in (0, 1))
        return true, -zero * inv(one - zero) % R


def test_12_3_phi_wz_chosen_to_fit() -> None:
    stopped_by_its_defence(ChosenPhi(unhealthy(), drop=drops("phi-opening")))
    assert not accepts(unhealthy(), ChosenPhi(unhealthy()).forge())


class OtherPoint(Forger):
    """Everything honest but the point that W opens at."""

    def pick_W(self) -> Poly:
        powers = nu_powers(self.nu, len(self.c_z), self.drop)
        other = secrets.randbelow(R)
        F = add(self.lin(self.c_z, self.phi_wz), *[scale(c, x) for x, c in zip(powers, self.limbs, strict=True)])
        return add(divide_by_linear(F, other), divide_by_linear(self.phi, self.w * other % R))


@pytest.mark.parametrize("case", [margin(), full()], ids=lambda c: str(c.circuit.rule))
def test_12_3_W_for_another_point(case: Case) -> None:
    assert not accepts(case, OtherPoint(case).forge())
    honest = Forger(case)
    data = honest.forge()
    other = Forger(case, seed=1).forge()
    assert accepts(case, data)
    assert not accepts(case, data[:-48] + other[-48:])


def test_12_3_openings_each_at_its_own_point() -> None:
    """phi opened at z and F at wz: the two points of W exchanged."""

    class Exchanged(Forger):
        def pick_W(self) -> Poly:
            powers = nu_powers(self.nu, len(self.c_z), self.drop)
            F = add(self.lin(self.c_z, self.phi_wz), *[scale(c, x) for x, c in zip(powers, self.limbs, strict=True)])
            wz = self.w * self.z % R
            return add(divide_by_linear(F, wz), divide_by_linear(sub(self.phi, [self.phi_wz]), self.z))

    assert not accepts(margin(), Exchanged(margin()).forge())
