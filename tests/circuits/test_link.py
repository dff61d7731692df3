"""Continuity (protocol.md section 8): a pledge falls only on a row with a listed release; it may always rise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from circuits.check import check_witness
from circuits.circuit import Role
from circuits.compile import Compiled, compile_rule
from circuits.model import Link
from circuits.rules.example import example_epoch
from circuits.rules.registry import RULES
from marginseal.errors import RangeError, RuleError, Unsatisfied
from marginseal.records.statement import Kind, Tier
from prover.witness import make_witness
from tests.oracles.brute import System, block_named, equations_of, given, keys

LOTS = np.array([2000, 1, -2, -1, 3])
ATTESTATIONS = sorted(name for name, rule in RULES.items() if rule.kind == Kind.ATTESTATION)


def linked(name: str, rows: tuple[int, ...], venues: int = 3) -> Compiled:
    return compile_rule(name, example_epoch(), Tier.MAINTENANCE, venues=venues, link=Link(rows))


@pytest.mark.parametrize("name", ATTESTATIONS)
def test_10_a_pledge_falls_only_with_a_release(name: str) -> None:
    before = np.array([5, 6, 7])
    for rows in ((), (1,), (0, 2), (0, 1, 2)):
        compiled = linked(name, rows)
        assert [b.role for b in compiled.circuit.bound][1:] == [Role.PLEDGES, Role.PREVIOUS_PLEDGES]
        for change in product((-1, 0, 2), repeat=3):
            now = before + np.array(change)
            if all(c >= 0 or row in rows for row, c in enumerate(change)):
                witness = make_witness(compiled, LOTS, now, (), before)
                assert check_witness(compiled.circuit, witness.columns, witness.bound_values) == []
                assert witness.bound_values[-2][:3].tolist() == now.tolist()
                assert witness.bound_values[-1][:3].tolist() == before.tolist()
            else:
                with pytest.raises(Unsatisfied, match="continuity"):
                    make_witness(compiled, LOTS, now, (), before)


@pytest.mark.parametrize("rows", [(), (1,)])
def test_10_no_other_choice_of_released_and_increased_lets_a_pledge_fall(rows: tuple[int, ...]) -> None:
    """g + released - increased = g': by search, for every pair of schedules of two venues."""
    compiled = linked("isolated", rows, venues=2)
    system = System(compiled.circuit, equations_of(compiled.circuit))
    lots = given(compiled, **{"q⁺": [2000, 0, 0, 0, 0], "q⁻": [0] * 5})
    tried = [(key, range(3)) for symbol in ("m", "R") for key in keys(compiled, block_named(compiled, symbol))]
    if rows:
        tried += [(key, range(4)) for key in keys(compiled, block_named(compiled, "d"))]
    for now, before in product(product(range(3), repeat=2), repeat=2):
        start = lots | given(compiled, g=now, **{"g'": before})
        expected = all(a >= b or row in rows for row, (a, b) in enumerate(zip(now, before, strict=True)))
        assert (system.solve(start, tried) is not None) == expected, (now, before)


def test_10_rows_beyond_the_registry_do_not_fall_either() -> None:
    """All n rows exist: what an earlier schedule held on a row that is no venue's any more stays bound."""
    compiled = linked("isolated", (0, 1), venues=2)
    system = System(compiled.circuit, equations_of(compiled.circuit))
    start = given(compiled, **{"q⁺": [2000, 0, 0, 0, 0], "q⁻": [0] * 5}, g=[0, 0], **{"g'": [1, 1, 1]})
    tried = [(key, range(3)) for symbol in ("m", "R", "d") for key in keys(compiled, block_named(compiled, symbol))]
    assert system.solve(start, tried) is None
    start |= given(compiled, g=[0, 0, 1])
    assert system.solve(start, tried) is not None


@pytest.mark.parametrize("rows", [(1, 0), (0, 0), (3,), (-1,), (0, 8)])
def test_released_rows_are_rows_of_the_registry_in_order(rows: tuple[int, ...]) -> None:
    with pytest.raises(RuleError) as caught:
        linked("worst_case", rows)
    assert caught.value.code == "rule.link"


def test_a_disclosure_continues_nothing() -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule("scenario_loss", example_epoch(), Tier.INITIAL, link=Link())
    assert caught.value.code == "rule.link"


def test_previous_pledges_come_with_a_link_and_only_then() -> None:
    with pytest.raises(RangeError, match="previous pledges"):
        make_witness(linked("worst_case", ()), LOTS, np.array([1, 2, 3]))
    plain = compile_rule("worst_case", example_epoch(), Tier.MAINTENANCE, venues=3)
    with pytest.raises(RangeError, match="previous pledges"):
        make_witness(plain, LOTS, np.array([1, 2, 3]), (), np.array([1, 2, 3]))
