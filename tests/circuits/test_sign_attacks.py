"""Signs that must not be there (section 12.1): a signed pledge, a signed K, a signed slack.

Each circuit is changed to carry them, where the attack succeeds by search, and tried as it is, where it does not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from circuits.check import check_witness
from circuits.circuit import Circuit
from circuits.compile import Compiled, compile_rule
from circuits.rules.example import example_epoch
from circuits.rules.registry import RULES
from marginseal.records.statement import Kind, Tier
from tests.oracles import rules
from tests.oracles.brute import System, Values, block_named, columns, equations_of, given, keys

NOTHING = [0] * 5


def with_signed(compiled: Compiled, symbol: str) -> Compiled:
    """The same circuit with the vector of one block signed."""
    vector, _ = keys(compiled, block_named(compiled, symbol))[0]
    vectors = list(compiled.circuit.vectors)
    vectors[vector] = replace(vectors[vector], signed=True)
    return replace(compiled, circuit=replace(compiled.circuit, vectors=tuple(vectors)))


def solve(compiled: Compiled, start: Values, **tried: list[int]) -> Values | None:
    system = System(compiled.circuit, equations_of(compiled.circuit))
    return system.solve(start, [(k, w) for s, w in tried.items() for k in keys(compiled, block_named(compiled, s))])


def is_witness(circuit: Circuit, values: Values, q: list[int], pledges: list[int]) -> bool:
    bound = tuple(np.array([*x, *[0] * (8 - len(x))]) for x in (q, pledges))
    return check_witness(circuit, columns(circuit, values), bound) == []


def test_12_1_a_signed_pledge_lends_to_itself() -> None:
    """An empty account pledges 1,000 to one venue and minus 1,000 to another."""
    compiled = compile_rule("worst_case", example_epoch(), Tier.INITIAL, venues=2)
    start = given(compiled, g=[1000, -1000], **{"q⁺": NOTHING, "q⁻": NOTHING})
    signed = with_signed(compiled, "g")
    values = solve(signed, start, m=[0], R=[0])
    assert values is not None
    assert is_witness(signed.circuit, values, NOTHING, [1000, -1000])
    assert not rules.worst_case(example_epoch(), Tier.INITIAL, NOTHING, [1000])
    # Unsigned, the owner's commitment to -1000 is one to r - 1000, and no row of limbs adds up to that.
    with pytest.raises(AssertionError):
        columns(compiled.circuit, values)


def test_12_1_a_signed_K_is_a_negative_norm() -> None:
    """K = -2 has the square of 2, and cancels what is charged for the floors."""
    compiled = compile_rule("parametric", example_epoch(), Tier.INITIAL, venues=1, parameters={"scale": 10_000})
    q = [50, 0, 0, 0, 2]  # 50 dollars and 2 ether perpetuals, which need 84
    assert not rules.parametric(example_epoch(), Tier.INITIAL, q, [0], scale=10_000)
    start = given(compiled, g=[0], **{"q⁺": q, "q⁻": NOTHING})
    signed = with_signed(compiled, "K")
    values = solve(signed, start, R=[0], K=[-2], u=[0, 1])
    assert values is not None
    assert is_witness(signed.circuit, values, q, [0])
    assert solve(compiled, start, R=list(range(49)), K=list(range(3)), u=[0, 1]) is None
    with pytest.raises(AssertionError):
        columns(compiled.circuit, values)


def test_12_1_a_signed_slack_is_no_inequality() -> None:
    compiled = compile_rule("worst_case", example_epoch(), Tier.INITIAL, venues=1)
    start = given(compiled, g=[1000], **{"q⁺": NOTHING, "q⁻": NOTHING})
    signed = with_signed(compiled, "s[health]")
    values = solve(signed, start, m=[0], R=[0])
    assert values is not None
    assert is_witness(signed.circuit, values, NOTHING, [1000])
    assert solve(compiled, start, m=[0], R=[0]) is None


@pytest.mark.parametrize("name", sorted(name for name, rule in RULES.items() if rule.kind == Kind.ATTESTATION))
def test_12_1_no_rule_has_such_a_sign(name: str) -> None:
    compiled = compile_rule(name, example_epoch(), Tier.INITIAL, venues=1)
    slacks = [line.slack for line in compiled.model.lines if line.slack is not None]
    fixed = [compiled.model.pledge, *slacks]
    symbols = {"m", "R", "T", "K", "b", "b'", "q⁺", "q⁻", "u"} - ({"u"} if name == "parametric" else set())
    for block in compiled.model.blocks:
        if block in fixed or block.symbol.plain in symbols:
            assert all(not compiled.circuit.vectors[s.target].signed for s in compiled.plan.places[block])
