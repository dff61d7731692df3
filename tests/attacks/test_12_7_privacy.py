"""Protocol section 12, item 7: what a proof gives away, with its blinders and without.

The attacker knows everything but one lot: the other rows, the rule, the claim.  He tries every value.  The Jacobian
that counts the blinders is tests/prover/test_jacobian.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

import prover.prove
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.records.statement import Statement
from prover.blinding import Blinders
from prover.prove import Secrets, prove
from tests.attacks.cases import Case, full, margin
from tests.attacks.forge import Forger, random_blinders
from tests.attacks.poly import column, evaluate, interpolate, inv
from verifier.messages import Proof
from verifier.rounds import Rounds

ROW = 3
CASE = margin(sources=1, spare=9000)
SECRET_LOT = CASE.rows[0][ROW]
Spoil = Callable[[Blinders], Blinders]


def proof_with(blinders: Blinders) -> Proof:
    """A real proof whose blinders are what a broken generator made of them; its self-check is not asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover.prove, "draw", lambda *args, **fields: blinders)
        patch.setattr(prover.prove, "verify", lambda *args, **fields: None)
        data = prove(CASE.circuit, CASE.statement, CASE.columns(), CASE.openings, Secrets(b"k" * 32))
    return Proof.decode(data, CASE.circuit)


def zero_limbs(b: Blinders) -> Blinders:
    return replace(b, limbs=tuple((0, 0) for _ in b.limbs))


def one_limb_blinder(b: Blinders) -> Blinders:
    return replace(b, limbs=tuple((x, 0) for x, _ in b.limbs))


def zero_m(b: Blinders) -> Blinders:
    return replace(b, m=(0,))


def zero_h(b: Blinders) -> Blinders:
    return replace(b, h=tuple((0,) for _ in b.h))


def candidates() -> Iterator[tuple[int, Case]]:
    """Every value of the lot, with the witness it would mean."""
    P = CASE.circuit.dense[0].values
    requirement = CASE.statement.claims[0].inputs[0]
    for lot in range(-100, 100):
        q = list(CASE.rows[0])
        q[ROW] = lot
        slack = [int(x) + requirement for x in P @ np.array(q)]
        if min(slack) >= 0:
            yield lot, replace(CASE, rows=(tuple(q), tuple(slack) + (0,) * (8 - len(slack))))


KEY = commitment_key(8)


def commit(values: list[int]) -> bytes:
    return KEY.commit_values(KEY.vectors.from_ints(values))


def by_limb_commitment(guess: Case, proof: Proof, rounds: tuple[int, int, int]) -> bool:
    return commit(guess.limb_rows()[0]) == proof.limbs[0]


def by_limb_commitment_and_evaluation(guess: Case, proof: Proof, rounds: tuple[int, int, int]) -> bool:
    """The evaluation at z gives the one blinder there is; the commitment says whether the guess was right."""
    _, _, z = rounds
    rows = guess.limb_rows()[0]
    b_0 = (proof.c_z[0] - evaluate(interpolate(rows), z)) * inv(pow(z, 8, R) - 1) % R
    return KEY.commit_values(KEY.vectors.from_ints(rows), [b_0]) == proof.limbs[0]


def by_multiplicities(guess: Case, proof: Proof, rounds: tuple[int, int, int]) -> bool:
    flat = [x for row in guess.limb_rows() for x in row]
    return commit([flat.count(i) for i in range(8)]) == proof.m


def by_helper(guess: Case, proof: Proof, rounds: tuple[int, int, int]) -> bool:
    beta = rounds[0]
    rows = guess.limb_rows()[:3]
    return commit([sum(inv(beta + row[i]) for row in rows) % R for i in range(8)]) == proof.h[0]


def challenges(proof: Proof) -> tuple[int, int, int]:
    run = Rounds.start(CASE.circuit, CASE.statement, 0)
    beta, _ = run.round_1(proof.limbs, proof.m)
    y = run.round_2(proof.h, proof.phi)
    return beta, y, run.round_3(proof.Q)


def recovered(proof: Proof, test: Callable[[Case, Proof, tuple[int, int, int]], bool]) -> list[int]:
    known = challenges(proof)
    return [lot for lot, guess in candidates() if test(guess, proof, known)]


@pytest.mark.parametrize(
    ("spoil", "test", "left"),
    [
        (zero_limbs, by_limb_commitment, 26),
        (zero_limbs, by_limb_commitment_and_evaluation, 26),
        (one_limb_blinder, by_limb_commitment_and_evaluation, 26),
        (zero_m, by_multiplicities, 1),
        (zero_h, by_helper, 6),
    ],
)
def test_12_7_without_its_blinders_a_lot_is_found_by_trying(
    spoil: Spoil, test: Callable[[Case, Proof, tuple[int, int, int]], bool], left: int
) -> None:
    """A limb leaves the values that share it, one in eight; a helper those of the same three limbs in any order."""
    blinders = random_blinders(CASE.circuit, 4)
    found = recovered(proof_with(spoil(blinders)), test)
    assert SECRET_LOT in found
    assert len(found) <= left
    assert recovered(proof_with(blinders), test) == []


def test_12_7_with_zero_blinders_the_real_self_check_may_well_pass() -> None:
    """A proof need not hide anything to be valid: only the generator stands for that.

    (A column of zeros would be the identity, which is refused; here no limb is zero throughout.)"""
    case = margin(sources=1, spare=9000, slacks=5)
    assert case.columns().any(axis=1).all()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prover.prove, "draw", lambda *args, **fields: zero_limbs(random_blinders(case.circuit, 4)))
        assert prove(case.circuit, case.statement, case.columns(), case.openings, Secrets(b"k" * 32))


def test_12_7_signed_commitment_hides_by_its_one_blinder() -> None:
    values = np.array(CASE.rows[0], dtype=np.int64)

    def found(C: bytes) -> list[int]:
        return [lot for lot, guess in candidates() if KEY.commit_small(np.array(guess.rows[0], dtype=np.int64)) == C]

    assert found(KEY.commit_small(values)) == [SECRET_LOT]
    assert found(KEY.commit_small(values, [0])) == [SECRET_LOT]
    assert found(CASE.statement.sources[0].C) == []


def test_12_7_two_tiles_that_share_b_0_leak_their_difference() -> None:
    """C_0 - C_1 = [q_0 - q_1] without a blinder: one unknown lot of the two books is found by trying."""
    curve = backend()
    rng = np.random.default_rng(8)
    q = [rng.integers(-50, 50, size=8, dtype=np.int64) for _ in range(2)]

    def leak(b: tuple[int, int]) -> list[int]:
        C = [curve.decode_g1(KEY.commit_small(x, [b_0])) for x, b_0 in zip(q, b, strict=True)]
        difference = curve.encode_g1(curve.add(C[0], curve.neg(C[1])))
        out = []
        for lot in range(-50, 50):
            guess = q[0] - q[1]
            guess[ROW] = lot - q[1][ROW]
            if KEY.commit_small(guess) == difference:
                out.append(lot)
        return out

    assert leak((12345, 12345)) == [int(q[0][ROW])]
    assert leak((12345, 54321)) == []


def items(data: bytes, case: Case) -> list[bytes]:
    """All points and scalars of a proof."""
    points = case.circuit.columns + case.circuit.groups + 5
    scalars = data[48 * points : -48]
    return (
        [data[i : i + 48] for i in range(0, 48 * points, 48)]
        + [data[-48:]]
        + [scalars[i : i + 32] for i in range(0, len(scalars), 32)]
    )


def fixed(value: bytes) -> Secrets:
    return Secrets(b"k" * 32, lambda: value)


@pytest.mark.parametrize("case", [CASE, full()], ids=lambda c: str(c.circuit.rule))
def test_12_7_two_proofs_of_one_portfolio_share_nothing(case: Case) -> None:
    """Fresh bytes, another statement, other limbs or another index: each alone changes every single item.

    The hedge: where the system's generator repeats itself, a new statement or witness still means new blinders."""

    def run(statement: Statement, fresh: bytes) -> list[bytes]:
        return items(prove(case.circuit, statement, case.columns(), case.openings, fixed(fresh)), case)

    later = replace(case.statement, expiry=case.statement.expiry + 1)
    twice = replace(case.statement, claims=case.statement.claims * 2)
    runs = [
        run(case.statement, b"a" * 32),
        run(case.statement, b"b" * 32),
        run(later, b"a" * 32),
        run(twice, b"a" * 32),
        items(
            prove(case.circuit, twice, case.columns(), case.openings, fixed(b"a" * 32), index=1),
            case,
        ),
    ]
    everything = [item for one in runs for item in one]
    assert len(set(everything)) == len(everything)
    assert run(case.statement, b"a" * 32) == runs[0], "the same randomness and statement give the same proof"


def test_12_7_other_limbs_mean_other_blinders() -> None:
    """The same statement and the same 'random' bytes, another witness: no limb keeps its blinders.

    Free limbs (rows of no equation) may change while the statement stays; the difference of two such columns under
    one pair of blinders would be theirs alone."""
    other = CASE.with_row(1, 7, 1)
    a, b = (items(prove(c.circuit, c.statement, c.columns(), c.openings, fixed(b"a" * 32)), c) for c in (CASE, other))
    assert not set(a) & set(b)
    assert (CASE.columns() != other.columns()).any(axis=1).sum() == 1


def test_12_7_private_values_print_as_nothing() -> None:
    blinders = random_blinders(CASE.circuit)
    assert str(blinders.b) not in repr(blinders)
    assert repr(blinders) == "Blinders()"
    assert "k" * 32 not in repr(Secrets(b"k" * 32))


def test_12_7_commitments_to_different_portfolios_look_alike() -> None:
    """For any other lot there are blinders that give the same limb commitment and evaluation: nothing is decided."""
    proof = proof_with(random_blinders(CASE.circuit, 4))
    _, _, z = challenges(proof)
    honest = Forger(CASE, blinders=random_blinders(CASE.circuit, 4)).limbs[0]
    tau = 987654321  # any tau: two equations, two unknowns
    for _, guess in candidates():
        rows = guess.limb_rows()[0]
        Z_z, Z_tau = pow(z, 8, R) - 1, pow(tau, 8, R) - 1
        at_z = (proof.c_z[0] - evaluate(interpolate(rows), z)) * inv(Z_z) % R
        at_tau = (evaluate(honest, tau) - evaluate(interpolate(rows), tau)) * inv(Z_tau) % R
        b_1 = (at_z - at_tau) * inv(z - tau) % R
        b_0 = (at_z - b_1 * z) % R
        other = column(rows, [b_0, b_1])
        assert (evaluate(other, z), evaluate(other, tau)) == (evaluate(honest, z), evaluate(honest, tau))
