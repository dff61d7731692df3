"""A haircut pair that sums below zero makes value out of an empty position: shown to work, then refused.

Protocol section 12.1.  The rows of the pair take 8**6 lots, whatever the bound of the instrument was declared to be.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from circuits.check import check_witness
from circuits.compile import Compiled, compile_rule
from circuits.rules.example import example_epoch
from circuits.rules.registry import RULES
from marginseal.errors import RuleError, Unsatisfied
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier
from prover.witness import make_witness
from tests.oracles import rules
from tests.oracles.brute import System, Values, block_named, columns, equations_of, given, keys

PLEDGE = 200_000
ATTESTATIONS = sorted(name for name, rule in RULES.items() if rule.kind == Kind.ATTESTATION)


def favourable(epoch: RiskEpoch) -> RiskEpoch:
    """What decoding an epoch refuses, made past its checks: the pair of instrument 1 sums to -1."""
    out = replace(epoch)
    haircuts = epoch.haircut_long.copy()
    haircuts[1] = -21
    object.__setattr__(out, "haircut_long", haircuts)
    return out


def test_12_1_value_out_of_nothing_without_the_condition() -> None:
    """An empty account pledges 200,000: as many lots long and short at once, the difference bound to zero."""
    epoch = favourable(example_epoch())
    unchecked = replace(RULES["worst_case"], conditions=())
    compiled = compile_rule(unchecked, epoch, Tier.INITIAL, venues=1)
    assert not rules.worst_case(epoch, Tier.INITIAL, [0] * 5, [PLEDGE])
    with pytest.raises(Unsatisfied):  # the honest choice of long and short does not do it
        make_witness(compiled, np.zeros(5, dtype=np.int64), np.array([PLEDGE]))
    both = [0, PLEDGE, 0, 0, 0]
    values = solve(compiled, both)
    assert values is not None
    nothing, pledged = np.zeros(8, dtype=np.int64), np.array([PLEDGE, *[0] * 7])
    assert check_witness(compiled.circuit, columns(compiled.circuit, values), (nothing, pledged)) == []


def test_12_1_both_sides_at_once_only_cost_where_the_condition_holds() -> None:
    """The same attempt on an honest epoch has no solution, with m and R as small as they can be."""
    assert solve(compile_rule("worst_case", example_epoch(), Tier.INITIAL, venues=1), [0, PLEDGE, 0, 0, 0]) is None


def solve(compiled: Compiled, both: list[int]) -> Values | None:
    """A circuit with the same lots long and short, one pledge, and no loss: m = R = 0."""
    start = given(compiled, g=[PLEDGE], **{"q⁺": both, "q⁻": both})
    tried = [(key, [0]) for symbol in ("m", "R") for key in keys(compiled, block_named(compiled, symbol))]
    return System(compiled.circuit, equations_of(compiled.circuit)).solve(start, tried)


@pytest.mark.parametrize("name", ATTESTATIONS)
def test_12_1_every_attestation_rule_refuses_such_an_epoch(name: str) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(name, favourable(example_epoch()), Tier.MAINTENANCE, venues=1)
    assert caught.value.code == "rule.haircut-pair"
