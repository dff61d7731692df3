"""Protocol section 12, item 1: a witness that is wrong, proven as well as a liar can."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from circuits.circuit import Circuit, Entries, Vector
from marginseal.algebra.vectors import FieldVectors
from marginseal.errors import PolicyError
from tests.attacks import cases
from tests.attacks.cases import CONE_ROW, LIMIT_ROW, PLEDGE, SLACK, Case, K, full, margin
from tests.attacks.forge import Forger, accepts, drops, stopped_by_its_defence
from verifier.collapse import Collapsed, collapse
from verifier.verify import verify

LOTS, SLACKS = 0, 1  # the vectors of `margin`


def limb_rows(case: Case, *changes: tuple[int, int, list[int]]) -> list[list[int]]:
    """The limbs of a case whose integers at some (vector, row) are replaced by limbs of the liar's choice."""
    rows = case
    for vector, row, _ in changes:
        rows = rows.with_row(vector, row, 0)
    out = rows.limb_rows()
    for vector, row, limbs in changes:
        first = case.circuit.vectors[vector].first
        for j in range(case.circuit.vectors[vector].limbs):
            out[first + j][row] = limbs[j] if j < len(limbs) else 0
    return out


def limbs_of(case: Case, vector: int, row: int) -> list[int]:
    spec = case.circuit.vectors[vector]
    return [column[row] for column in case.limb_rows()[spec.first : spec.first + spec.limbs]]


@pytest.mark.parametrize("case", [margin(), full()], ids=lambda c: str(c.circuit.rule))
def test_an_honest_witness_passes(case: Case) -> None:
    assert accepts(case, Forger(case).forge())


@pytest.mark.parametrize("vector", [LOTS, SLACKS])
@pytest.mark.parametrize("borrowed", [1, -1])
def test_12_1_limb_out_of_table_with_the_value_unchanged(vector: int, borrowed: int) -> None:
    case = margin()
    limbs = limbs_of(case, vector, 0)
    limbs[0] += borrowed * case.circuit.n
    limbs[1] -= borrowed
    assert not all(0 <= x < case.circuit.n for x in limbs)
    stopped_by_its_defence(Forger(case, drop=drops("lookup"), limb_rows=limb_rows(case, (vector, 0, limbs))))


def test_12_1_limb_moved_to_another_row() -> None:
    """The limbs are the same ones, so the lookup holds; the equations see the rows."""
    case = margin()
    moved = case.limb_rows()
    column = moved[case.circuit.vectors[SLACKS].first]
    assert column[0] != column[1]
    column[0], column[1] = column[1], column[0]
    stopped_by_its_defence(Forger(case, drop=drops("equations"), limb_rows=moved))


def test_12_1_slack_one_below_zero() -> None:
    """Short of the requirement by one tick: the slack is -1, a field element like any other."""
    case = margin()
    short = case.claiming(case.statement.claims[0].inputs[0] - 1)
    slack = [x - 1 for x in case.rows[SLACKS][:5]]
    at = slack.index(-1)
    for i, x in enumerate(slack):
        short = short.with_row(SLACKS, i, max(x, 0))
    stopped_by_its_defence(Forger(short, drop=drops("lookup"), limb_rows=limb_rows(short, (SLACKS, at, [-1]))))


@pytest.mark.parametrize("off", [-1, 1])
def test_12_1_right_hand_side_off_by_one(off: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statement claims another requirement than the witness meets: the right-hand sides are the statement's."""
    case = margin(spare=5)
    proven = case.statement.claims[0].inputs
    claimed = case.claiming(proven[0] + off)
    proof = Forger(claimed, inputs=proven).forge()
    assert not accepts(claimed, proof)
    own = Circuit.right_hand_sides
    monkeypatch.setattr(Circuit, "right_hand_sides", lambda circuit, inputs: own(circuit, proven))
    assert accepts(claimed, proof)


def collapsing(circuit: Circuit) -> list[tuple[str, Callable[..., Collapsed]]]:
    """A verifier that takes the equations from the prover."""

    def other(_: Circuit, rhs: list[int], rho: int, V: FieldVectors) -> Collapsed:
        return collapse(circuit, rhs, rho, V)

    return [("collapse", other)]


def edited(circuit: Circuit, what: str) -> Circuit:
    """Equation 0 gone (but for a slack of its own), a copy of equation 1, or its matrix line doubled."""
    P = circuit.dense[0].values.copy()
    P[0] = {"dropped": np.zeros_like(P[0]), "duplicated": P[1], "scaled": 2 * P[0]}[what]
    e = circuit.linear
    row = e.row.copy()
    row[0] = {"dropped": 0, "duplicated": 1, "scaled": 0}[what]
    linear = Entries(e.equation, e.target, row, e.value)
    return replace(circuit, dense=(replace(circuit.dense[0], values=P),), linear=linear)


@pytest.mark.parametrize("what", ["dropped", "duplicated", "scaled"])
def test_12_1_equation_dropped_duplicated_scaled(what: str) -> None:
    case = margin(seed=3, spare=6000)
    other = edited(case.circuit, what)
    requirement = case.statement.claims[0].inputs[0]
    q = np.array(case.rows[LOTS])
    slack = other.dense[0].values @ q + requirement
    rows = case
    for s in range(5):
        rows = rows.with_row(SLACKS, s, int(slack[s]))
    if what == "duplicated":
        rows = rows.with_row(SLACKS, 0, 0)
    proof = Forger(rows, plays=other).forge()
    assert accepts(case, proof, patches=collapsing(other)), "not even a forgery"
    assert not accepts(case, proof), "forged"
    claim = replace(case.statement.claims[0], circuit=other.digest)
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, replace(case.statement, claims=(claim,)), proof)
    assert e.value.code == "verify.circuit"


def test_12_1_pledge_below_zero() -> None:
    """A pledge of -25 would free 25 ticks of margin; pledges have no sign, so it is out of the table."""
    case = full(pledged=-25)
    assert case.rows[PLEDGE][0] == -25
    stopped_by_its_defence(Forger(case, drop=drops("lookup"), limb_rows=limb_rows(case, (PLEDGE, 0, [-25]))))


def test_12_1_signed_K() -> None:
    """K^2 does not see the sign of K, the limit does: -17 is below any limit."""
    case = full(limit=10)
    value = case.rows[K][0]
    assert value > 10
    case = case.with_row(SLACK, LIMIT_ROW, 10 + value)
    stopped_by_its_defence(Forger(case, drop=drops("lookup"), limb_rows=limb_rows(case, (K, 0, [-value]))))


def test_12_1_norm_too_small() -> None:
    """K below the norm needs a slack below zero; and a wrong square fails where squares are looked at."""
    case = full()
    smaller = case.rows[K][0] - 1
    case = case.with_row(K, 0, smaller).with_row(SLACK, LIMIT_ROW, 60 - smaller)
    slack = smaller**2 - sum(x**2 * factor for x, factor in zip(case.rows[cases.U][:2], (1, 2), strict=True))
    assert slack < 0
    limbs = limb_rows(case, (SLACK, CONE_ROW, [slack]))
    stopped_by_its_defence(Forger(case, drop=drops("lookup"), limb_rows=limbs))


def test_12_1_squares_not_looked_at() -> None:
    """Without the quadratic part, K = 0 is the norm of anything."""
    case = full()
    nothing = case.with_row(K, 0, 0).with_row(SLACK, CONE_ROW, 0).with_row(SLACK, LIMIT_ROW, 60)
    stopped_by_its_defence(Forger(nothing, drop=drops("squares")))


def test_12_1_negative_haircut_sum() -> None:
    """haircut_long + haircut_short < 0: an empty position, 63 long and 63 short, is worth 63 a row.

    The proof system proves such a rule as it proves any other, which is why decoding an epoch refuses it
    (tests/circuits/test_haircut_attack.py)."""
    empty = full(lots=([0] * 8, [0] * 8), haircuts=(2, -3))
    assert accepts(empty, Forger(empty).forge())
    richer, worth = empty, 63 * 8
    for i in range(8):
        richer = richer.with_row(cases.LONG, i, 63).with_row(cases.SHORT, i, 63)
    for s in range(4):
        richer = richer.with_row(SLACK, s, 0)
    requirement = empty.statement.claims[0].inputs[0] + empty.rows[SLACK][0]
    fair = {empty.rows[SLACK][s] for s in range(4)}
    assert fair == {empty.rows[SLACK][0]}
    richer = richer.claiming(requirement + worth)
    assert accepts(richer, Forger(richer).forge())


SCALE = 5


def scaled(*, complement: bool) -> Case:
    """a q = 5 u + rem and, with its complement, rem + rem' = 4: u is the floor of a q / 5."""
    base = margin(S=1, lots=3, slacks=3)
    a = base.circuit.dense[0].values[0]
    q = np.array(base.rows[LOTS])
    u, rem = divmod(int(a @ q), SCALE)
    linear = {(0, LOTS, i): int(x) for i, x in enumerate(a)} | {(0, 1, 0): -SCALE, (0, 2, 0): -1}
    if complement:
        linear |= {(1, 2, 0): 1, (1, 2, 1): 1}
    count = 2 if complement else 1
    circuit = replace(
        base.circuit,
        vectors=(Vector(3, True, 0), Vector(5, True, 3), Vector(2, False, 8)),
        equations=count,
        dense=(),
        linear=cases.entries(linear),
        constants=(0, SCALE - 1)[:count],
        input_terms=(),
        inputs=(),
    )
    claim = replace(base.statement.claims[0], circuit=circuit.digest, inputs=())
    rows = (base.rows[0], (u, *[0] * 7), (rem, SCALE - 1 - rem, *[0] * 6))
    return replace(base, circuit=circuit, statement=replace(base.statement, claims=(claim,)), rows=rows)


def test_12_1_remainder_beyond_its_scale() -> None:
    """u one below the floor and a remainder of 5 more; its complement is what goes below zero."""
    case = scaled(complement=True)
    u, rem = case.rows[1][0], case.rows[2][0]
    lower = case.with_row(1, 0, u - 1).with_row(2, 0, rem + SCALE)
    limbs = limb_rows(lower, (2, 1, [-1 - rem]))
    stopped_by_its_defence(Forger(lower, drop=drops("lookup"), limb_rows=limbs))
    assert accepts(case, Forger(case).forge())


def test_12_1_remainder_without_its_complement_is_free() -> None:
    """Why the second equation is there: without it any u a few below the floor is proven."""
    case = scaled(complement=False)
    u, rem = case.rows[1][0], case.rows[2][0]
    for lower in (0, 1, 2):
        other = case.with_row(1, 0, u - lower).with_row(2, 0, rem + SCALE * lower)
        assert accepts(other, Forger(other).forge())
