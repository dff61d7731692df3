"""Protocol section 12, item 2: what the signed commitments hold, and what a liar would like them to hold.

Whose signature stands behind an entry (cut, account, sequence, manifest) is marginseal.records.acceptance's to check
and tests/records' to attack; here is what the proof alone stops, and what it provably does not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from circuits.circuit import Circuit
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import Curve, backend
from marginseal.algebra.field import R
from marginseal.errors import DecodeError
from marginseal.records.statement import SourceEntry, Statement
from tests.attacks.cases import FREE_ROW, LONG, NET, PLEDGE, SHORT, SLACK, TILE_1, Case, full, margin
from tests.attacks.flawed_rounds import EarlyZ, deaf_to
from tests.attacks.forge import Forger, accepts, drops, stopped_by_its_defence
from tests.attacks.poly import Poly, column, on_rows, scale
from verifier.rounds import Rounds
from verifier.verify import Decoded, bound_points

LOTS, SLACKS = 0, 1  # the vectors of `margin`


def with_lots(case: Case, q: Sequence[int]) -> Case:
    """`margin` with other lots and the slacks that go with them; its commitments stay."""
    requirement = case.statement.claims[0].inputs[0]
    slack = case.circuit.dense[0].values @ np.array(q) + requirement
    rows = (tuple(q), tuple(int(x) for x in slack) + (0,) * (case.circuit.n - len(slack)))
    return replace(case, rows=rows)


def moved(case: Case, vector: int, row: int, by: int) -> Case:
    """`full` with one lot or pledge changed and the scenario slacks that go with it."""
    out = case.with_row(vector, row, case.rows[vector][row] + by)
    A = {LONG: case.circuit.dense[0], TILE_1: case.circuit.dense[1]}
    for s in range(4):
        gain = {PLEDGE: -1}.get(vector, 0)
        if vector in A:
            gain = int(A[vector].values[s, row]) - (2 if vector == LONG else 0)
        out = out.with_row(SLACK, s, out.rows[SLACK][s] + gain * by)
    return out


def test_12_2_lot_added_after_the_source_signed() -> None:
    case = margin(spare=200)
    q = list(case.rows[LOTS])
    q[3] += 1
    stopped_by_its_defence(Forger(with_lots(case, q), drop=drops("binding")))


@pytest.mark.parametrize(("vector", "bound"), [(LONG, 0), (TILE_1, 1), (PLEDGE, 2)])
def test_12_2_each_bound_vector_is_bound(vector: int, bound: int) -> None:
    """A lot more in a tile, or a pledge changed after the owner signed: each has its own line."""
    case = full()
    stopped_by_its_defence(Forger(moved(case, vector, FREE_ROW, 1), drop=drops(f"binding:{bound}")))


def test_12_2_long_and_short_are_bound_together_only() -> None:
    """One more on both sides nets to nothing: bound as a combination, charged twice, and so harmless."""
    case = full()
    both = case.with_row(LONG, 0, case.rows[LONG][0] + 1).with_row(SHORT, 0, case.rows[SHORT][0] + 1)
    for s in range(4):
        both = both.with_row(SLACK, s, case.rows[SLACK][s] - 5)
    assert accepts(both, Forger(both).forge())
    assert case.circuit.targets[NET] == ((LONG, 1), (SHORT, -1))


def swapped_tiles(statement: Statement) -> Statement:
    """For each source the commitment of one tile under the name of the other."""
    s = statement.sources
    C = [s[1].C, s[0].C, s[3].C, s[2].C]
    return replace(statement, sources=tuple(replace(e, C=c) for e, c in zip(s, C, strict=True)))


def test_12_2_commitments_of_two_tiles_swapped() -> None:
    case = full()
    swapped = swapped_tiles(case.statement)
    assert not accepts(case, Forger(case).forge(), statement=swapped)

    def trusting(circuit: Circuit, statement: Statement, curve: Curve, known: Decoded) -> list[object]:
        """A verifier that lets the prover say which tile an entry is."""
        return bound_points(circuit, swapped_tiles(statement), curve, known)

    stopped_by_its_defence(Forger(case, statement=swapped), patches=[("bound_points", trusting)])


def test_12_2_lot_moved_between_tiles() -> None:
    """The sum over both tiles is what was signed; y keeps the two bindings apart."""
    case = full()
    there = moved(moved(case, LONG, FREE_ROW, 1), TILE_1, FREE_ROW, -1)
    stopped_by_its_defence(Forger(there, drop=drops("y")))


def test_12_2_source_left_out() -> None:
    """The sum without its losing leg is another commitment: not what the witness adds up to."""
    case = margin()
    without = replace(case.statement, sources=case.statement.sources[:1])
    stopped_by_its_defence(Forger(case, statement=without, drop=drops("binding")))
    proof = Forger(case).forge()
    assert accepts(case, proof)
    assert not accepts(case, proof, statement=without)


@pytest.mark.parametrize("order", [(1, 0), (0, 0), (0, 1, 1)])
def test_12_2_source_out_of_order_or_twice(order: tuple[int, ...]) -> None:
    """Refused by the statement itself, made or read."""
    case = margin()
    entries = tuple(case.statement.sources[i] for i in order)
    with pytest.raises(DecodeError) as e:
        replace(case.statement, sources=entries)
    assert e.value.code == "statement.source-order"
    data, size = case.statement.encode(), len(case.statement.sources)
    starts = [data.index(bytes([len(e.source)]) + e.source.encode()) for e in case.statement.sources]
    width = starts[1] - starts[0]
    pieces = [data[starts[i] : starts[i] + width] for i in order]
    count = starts[0] - 8
    forged = data[:count] + len(order).to_bytes(8, "big") + b"".join(pieces) + data[starts[0] + size * width :]
    with pytest.raises(DecodeError) as e:
        Statement.decode(forged)
    assert e.value.code == "statement.source-order"


def test_12_2_source_counted_twice_under_another_name() -> None:
    """The proof adds what the list has.  That a book stands there once is the manifest's to say, not the proof's."""
    case = margin(sources=1, size=40, spare=4000)
    entry = case.statement.sources[0]
    twice = replace(case.statement, sources=(entry, replace(entry, source="source-9")))
    doubled = replace(with_lots(case, [2 * x for x in case.rows[LOTS]]), p=(scale(case.p[0], 2),), statement=twice)
    assert accepts(doubled, Forger(doubled).forge())
    assert not accepts(doubled, Forger(doubled).forge(), statement=case.statement)


def test_12_2_nth_root_swap() -> None:
    """A commitment signed at n = 16, read on the 8-th roots, shows every other row; the proof cannot tell.

    What stops it is acceptance: n is in the signed message and has to be the circuit's."""
    rng = random.Random(5)
    held = [rng.randrange(-20, 20) for _ in range(16)]
    held[1] = -90  # the losing leg, on an odd row
    b_0 = rng.randrange(R)
    C = commitment_key(16).commit_small(np.array(held, dtype=np.int64), [b_0])
    case = margin(sources=1, spare=2000)
    entry = replace(case.statement.sources[0], C=C)
    p: Poly = column([x % R for x in held], [b_0])
    assert on_rows(p, 8) == [x % R for x in held[::2]]
    swap = replace(with_lots(case, held[::2]), statement=replace(case.statement, sources=(entry,)), p=(p,))
    assert accepts(swap, Forger(swap).forge())


class Foreign(Forger):
    """A bound commitment C of which the forger knows no polynomial.

    C = [v] + E for the v of his choice and some E of unknown logarithm.  E has the scalar -y^{I-b} in lin; with z known
    before the quotient it is taken back out by Q_0 + l E, l (z^n - 1) = -y^{I-b}."""

    def step_3(self) -> None:
        curve, sizes = self.setting.curve, len(self.circuit.bound) + self.circuit.groups
        polys = self.pieces(self.pick_Q())
        early = self.peek()
        early.round_1(self.limbs_1, self.m_1)
        early.round_2(self.h_1, self.phi_1)
        z = early.round_3([self.dummy] * 3)
        held = curve.decode_g1(self.statement.sources[0].C)
        E = curve.add(held, curve.neg(curve.decode_g1(self.commit(self.p[0]))))
        factor = -pow(self.y, sizes, R) * pow(pow(z, self.n, R) - 1, -1, R) % R
        self.Q = polys
        self.Q_1 = [self.commit(q) for q in polys]
        self.Q_1[0] = curve.encode_g1(curve.add(curve.decode_g1(self.Q_1[0]), curve.mul(E, factor)))
        self.z = self.run.round_3(self.Q_1)


def foreign(case: Case, C: bytes, rounds: type[Rounds]) -> Foreign:
    sources: tuple[SourceEntry, ...] = (replace(case.statement.sources[0], C=C),)
    statement = replace(case.statement, sources=sources)
    return Foreign(case, statement=statement, rounds=rounds, p=[column([x % R for x in case.rows[LOTS]], [77])])


def of_unknown_blinder(case: Case) -> bytes:
    """[q + b_0 Z_H], and nobody remembers b_0."""
    unknown = random.SystemRandom().randrange(R)
    return commitment_key(8).commit_small(np.array(case.rows[LOTS], dtype=np.int64), [unknown])


def of_unknown_everything(case: Case) -> bytes:
    """A point hashed to the curve: whatever it may hold, nobody signed up for that."""
    curve = backend()
    return curve.encode_g1(curve.hash_to_g1(b"nobody", b"MARGINSEAL-TEST"))


@pytest.mark.parametrize("rounds", [EarlyZ, deaf_to("Q")], ids=["z-before-Q", "Q-not-absorbed"])
@pytest.mark.parametrize("make", [of_unknown_blinder, of_unknown_everything])
def test_12_2_commitment_of_unknown_opening(make: Callable[[Case], bytes], rounds: type[Rounds]) -> None:
    """Proven only where the quotient is chosen after z: protocol order, and soundness step 3."""
    case = margin(sources=1)
    C = make(case)
    stopped_by_its_defence(foreign(case, C, rounds))
    attempt = foreign(case, C, Rounds)
    assert not accepts(case, attempt.forge(), statement=attempt.statement)


def test_12_2_blinder_guessed() -> None:
    """q known, b_0 not: a proof for b_0 = 0 is a proof about another commitment."""
    case = margin(sources=1)
    guess = Forger(case, p=[column([x % R for x in case.rows[LOTS]])], drop=drops("binding"))
    stopped_by_its_defence(guess)
    plain = Forger(case, p=[column([x % R for x in case.rows[LOTS]])])
    assert not accepts(case, plain.forge())


def test_12_2_commitments_of_other_books_do_not_fit() -> None:
    """The same lots under another b_0 (another cut, another book): the old proof is of no use."""
    case = margin()
    key = commitment_key(8)
    C = [key.commit_small(np.array(case.rows[LOTS], dtype=np.int64), [b]) for b in (1, 2)]
    proof = Forger(case).forge()
    for c in C:
        other = replace(case.statement, sources=(replace(case.statement.sources[0], C=c),))
        assert not accepts(case, proof, statement=other)
