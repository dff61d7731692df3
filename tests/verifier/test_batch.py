"""Many proofs at once: the bad ones are named, exactly; and why the weights have to be fresh."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.errors import DecodeError, MarginSealError, PolicyError, ProofRejected
from prover.prove import Secrets, prove
from tests.attacks.cases import Case, full, margin
from tests.attacks.forge import Forger, accepts
from tests.attacks.poly import evaluate, inv
from verifier.batch import WEIGHT_BITS, Item, bad_equations, fresh_weight, verify_batch
from verifier.collapse import collapse
from verifier.verify import PairingEquation, Replayed, Setting, assemble, holds, replay, verify


@cache
def good() -> tuple[Item, ...]:
    """Proofs of three circuits, two of them of one."""
    cases = [margin(), full(), margin(16), margin()]
    return tuple(
        Item(c.circuit, c.statement, prove(c.circuit, c.statement, c.columns(), c.openings, Secrets(b"k" * 32)))
        for c in cases
    )


def wrong(item: Item) -> Item:
    """Well formed, not valid: W negated."""
    at = len(item.proof) - 48
    return replace(item, proof=item.proof[:at] + bytes([item.proof[at] ^ 0x20]) + item.proof[at + 1 :])


def codes(errors: list[MarginSealError | None]) -> list[str | None]:
    return [None if e is None else e.code for e in errors]


def test_good_proofs_and_none_at_all() -> None:
    assert verify_batch(good()) == [None] * 4
    assert verify_batch([]) == []


@pytest.mark.parametrize("bad", [s for k in range(1, 5) for s in itertools.combinations(range(4), k)])
def test_bisection_names_exactly_the_bad_ones(bad: tuple[int, ...]) -> None:
    items = [wrong(item) if i in bad else item for i, item in enumerate(good())]
    assert codes(verify_batch(items)) == ["verify.pairing" if i in bad else None for i in range(4)]


@pytest.mark.parametrize("seed", range(3))
def test_bad_ones_among_many(seed: int) -> None:
    """More than one stack of one circuit, and bad ones wherever they fall."""
    draw = random.Random(seed)
    items = [good()[draw.choice((0, 0, 0, 1, 2))] for _ in range(40)]
    bad = {draw.randrange(40) for _ in range(draw.randrange(1, 6))}
    items = [wrong(item) if i in bad else item for i, item in enumerate(items)]
    assert codes(verify_batch(items)) == ["verify.pairing" if i in bad else None for i in range(40)]


def test_every_kind_of_error_is_the_one_verify_raises() -> None:
    a, b, c, d = good()
    items = [
        replace(a, proof=a.proof[:-1]),
        replace(b, index=1),
        wrong(c),
        replace(d, proof=b"\xff" * len(d.proof)),
        a,
        replace(a, statement=replace(a.statement, srs=bytes(32))),
    ]
    errors = verify_batch(items)
    for item, error in zip(items, errors, strict=True):
        if error is None:
            verify(item.circuit, item.statement, item.proof, item.index)
            continue
        with pytest.raises(type(error)) as e:
            verify(item.circuit, item.statement, item.proof, item.index)
        assert e.value.code == error.code
    assert [type(e) for e in errors] == [
        DecodeError,
        PolicyError,
        ProofRejected,
        DecodeError,
        type(None),
        PolicyError,
    ]


class Counting:
    """A curve library that remembers what it decoded."""

    def __init__(self) -> None:
        self.decoded: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(backend(), name)

    def decode_g1(self, data: bytes) -> Any:
        self.decoded.append(data)
        return backend().decode_g1(data)


def test_the_points_of_a_statement_are_decoded_once_for_all_its_claims() -> None:
    """2^16 sources and 64 claims are four million points, and a quarter of an hour, before any proof is judged."""
    item = good()[0]
    claims = item.statement.claims * 3
    statement = replace(item.statement, claims=claims)
    curve = Counting()
    setting = replace(Setting.default(), curve=curve)
    items = [replace(item, statement=statement, index=k) for k in range(len(claims))]
    assert codes(verify_batch(items, setting=setting)) == ["verify.pairing"] * 3
    of_statement = [statement.pledge, *(e.C for e in statement.sources)]
    assert sorted(data for data in curve.decoded if data in of_statement) == sorted(set(of_statement))


def test_openings_join_as_equations_of_their_own() -> None:
    setting = Setting.default()
    curve = setting.curve
    P = curve.mul(curve.generator, 99)
    opens = PairingEquation(curve.identity(), P, curve.mul(setting.srs.g1(curve)[1], R - 99))  # 99 tau - 99 tau
    assert holds(opens, setting)
    breaks = replace(opens, A=curve.generator)
    equations = [(7, opens), (8, breaks), (9, opens), (3, breaks)]
    assert bad_equations(equations, setting) == [8, 3]


# Weights.


def test_weights_are_fresh_and_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = {fresh_weight() for _ in range(64)}
    assert len(drawn) == 64
    assert all(1 <= w < 2**WEIGHT_BITS for w in drawn)
    for lowest, weight in ((0, 1), (2**128 - 2, 2**128 - 1)):
        monkeypatch.setattr("secrets.randbelow", lambda bound, x=lowest: min(x, bound - 1))
        assert fresh_weight() == weight


def test_weights_are_drawn_after_all_proofs_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """And anew at every step of the bisection, one for each proof."""
    events: list[str] = []

    def watched(*args: Any) -> Replayed:
        events.append("replay")
        return replay(*args)

    def weight() -> int:
        events.append("weight")
        return fresh_weight()

    monkeypatch.setattr("verifier.batch.replay", watched)
    verify_batch(good(), weight=weight)
    assert events == ["replay"] * 4 + ["weight"] * 4
    events.clear()
    verify_batch([wrong(good()[0]), *good()[1:]], weight=weight)
    assert events == ["replay"] * 4 + ["weight"] * (4 + 2 + 2)


def short(seed: int) -> Case:
    """An account that misses its requirement by 1000 ticks."""
    case = margin(seed=seed)
    case = case.claiming(case.statement.claims[0].inputs[0] - 1000)
    for s in range(case.circuit.equations):
        case = case.with_row(1, s, max(case.rows[1][s] - 1000, 0))
    return case


class Pair(Forger):
    """Step 4 left open: what F misses at z for a claim about phi(wz) that is off by d."""

    def until_step_4(self) -> None:
        self.run = self.rounds.start(self.case.circuit, self.statement, self.index)
        self.limbs_1 = [self.commit(c) for c in self.limbs]
        self.step_1()
        self.collapse()
        self.step_2()
        self.step_3()
        c_z, phi_wz = self.pick_claims()
        # lin(z) is affine in the claim; the openings of the limbs are honest and add nothing.
        self.missing = evaluate(self.lin(c_z, phi_wz), self.z)
        self.slope = (evaluate(self.lin(c_z, phi_wz + 1), self.z) - self.missing) % R
        self.off = 0

    def pick_claims(self) -> tuple[list[int], int]:
        c_z, phi_wz = super().pick_claims()
        return c_z, (phi_wz + getattr(self, "off", 0)) % R

    def finish(self, off: int) -> bytes:
        self.off = off
        self.step_4()
        self.step_5()
        return self.proof().encode()


def cancelling(weights: tuple[int, int]) -> list[Item]:
    """Two false statements whose errors cancel under these weights.

    With the best W, the pairing equation misses -(a (X - wz) - d (X - z)), a = missing + slope d, for a claim about
    phi(wz) that is off by d.  Two proofs give two unknown d and, coefficient by coefficient, two equations."""
    pairs = [Pair(short(seed), seed=seed) for seed in (2, 3)]
    rows: list[list[int]] = [[], []]
    right = [0, 0]
    for pair, weight in zip(pairs, weights, strict=True):
        pair.until_step_4()
        z, wz = pair.z, pair.w * pair.z % R
        rows[0].append(weight * (pair.slope - 1) % R)
        rows[1].append(weight * (pair.slope * wz - z) % R)
        right[0] -= weight * pair.missing
        right[1] -= weight * pair.missing * wz
    (a, b), (c, d) = rows
    determinant = inv((a * d - b * c) % R)
    off = (right[0] * d - b * right[1]) * determinant % R, (a * right[1] - right[0] * c) * determinant % R
    return [Item(p.case.circuit, p.statement, p.finish(x)) for p, x in zip(pairs, off, strict=True)]


def repeating(*weights: int) -> Iterator[int]:
    return itertools.cycle(weights)


@pytest.mark.parametrize("weights", [(1, 1), (1, 2), (2**127 + 5, 3)])
def test_12_3_weights_known_in_advance(weights: tuple[int, int]) -> None:
    """Two unhealthy accounts, proven healthy together to a verifier whose weights can be told; fresh ones name both."""
    items = cancelling(weights)
    source = repeating(*weights)
    assert codes(verify_batch(items, weight=lambda: next(source))) == [None, None], "not even a forgery"
    assert codes(verify_batch(items)) == ["verify.pairing"] * 2
    for item in items:
        with pytest.raises(ProofRejected):
            verify(item.circuit, item.statement, item.proof)


def test_the_short_accounts_are_short() -> None:
    for seed in (2, 3):
        assert not accepts(short(seed), Forger(short(seed)).forge())


def test_an_honest_equation_is_the_one_that_verify_checks() -> None:
    item, setting = good()[0], Setting.default()
    r = replay(item.circuit, item.statement, item.proof, item.index, setting, {})
    assert holds(assemble(r, collapse(item.circuit, r.rhs, r.rho, setting.vectors), setting), setting)
