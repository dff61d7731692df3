"""Every rule against its hand-written form: some choice of the free variables satisfies the equations iff it holds.

By search over all choices on small integers (nothing of the prover's own choosing), and by witness and direct check on
random portfolios.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.check import check_witness
from circuits.compile import compile_rule
from circuits.evaluate import evaluate
from circuits.model import Model
from circuits.rules.registry import RULES
from circuits.rules.rule import Context
from marginseal.errors import Unsatisfied
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.records.statement import Kind, Tier
from prover.witness import make_witness
from tests.oracles import rules
from tests.oracles.brute import satisfiable

LEVELS = {"es_level_permille": 500, "var_level_permille": 500}
LIMITS = {"delta_limit.BTC": 2, "delta_limit": 3, "gamma_limit.ETH": 1, "vega_limit": 0}
OFFSET = {"offset_permille": 500}
ADD_ONS = {"concentration_threshold_permille.1": 500, "concentration_rate_permille.1": 1000}
SEVERAL = ADD_ONS | {"concentration_threshold_permille.a": 0, "concentration_rate_permille.a": 333}
LOADINGS = {
    "factor_loading.a.BTC": 100,
    "factor_loading.a.ETH": 50,
    "factor_loading.b.ETH": -110,
    "factor_weight.b": 2,
}


def tiny(pnl: list[list[int]], **more: Any) -> RiskEpoch:
    """Two instruments of two underlyings, |q| <= 2."""
    parameters = {"initial_factor_permille": 1500, "maintenance_factor_permille": 700}
    parameters |= LEVELS | LIMITS | OFFSET | ADD_ONS | LOADINGS
    fields: dict[str, Any] = {
        "value": [2, 1],
        "haircut_long": [1, 0],
        "haircut_short": [0, 1],
        "delta": [1, 2],
        "gamma": [1, -1],
        "vega": [5, 5],
        "notional": [1, 1],
        "short_minimum": [2, 0],
        "rounding_error": [300, 600],
        "underlyings": ("BTC", "ETH"),
        "underlying_of": [0, 1],
        "max_lots": 2,
    } | more
    return epoch_from_arrays(np.array(pnl), parameters=parameters, **fields)


TINY = (
    tiny([[0, 0], [-1, 2], [2, -1]]),
    tiny([[0, 0], [1, 1], [-2, 0]], value=[0, 3], haircut_long=[2, 1], haircut_short=[-1, -1]),
    tiny([[0, 0], [0, 0], [1, -2]], value=[-1, 2], haircut_long=[0, 0], haircut_short=[0, 0]),
)
THREE = (
    tiny([[0, 0], [-1, 2], [-3, -1], [-2, -2]], value=[3, 2]),
    tiny([[0, 0], [1, -2], [-1, -1], [0, -3]], value=[2, 4]),
)
LIMITED = tiny([[0, 0]], value=0, haircut_long=0, haircut_short=0, delta=[2, 2])
FLOORED = (
    tiny([[0, 0], [-1, 0], [0, -1]], value=[1, 4], haircut_long=[0, 0], haircut_short=[0, 0]),
    tiny([[0, 0]], value=[-3, 2], haircut_long=[0, 0], haircut_short=[0, 0], short_minimum=[3, 1], rounding_error=0),
)
OPPOSED = (
    tiny([[0, 0], [-1, 2]], value=[2, 0], haircut_long=0, haircut_short=0),
    tiny([[0, 0], [1, -1], [-1, 1]], value=[-1, 2], haircut_long=0, haircut_short=0),
)
RICH = (tiny([[0, 0]], value=[9, 6]), tiny([[0, 0]], value=[-4, 5], haircut_long=[1, 1]))


@dataclass(frozen=True)
class Case:
    """A rule, its hand-written form, and windows that hold every choice that could matter at these sizes.

    doubled: lots tried long and short at once.  Amounts come first, so that a branch ends where they do not fit."""

    oracle: Callable[[RiskEpoch, Tier, list[int], list[int]], bool]
    windows: Mapping[str, Iterable[int]]
    epochs: tuple[RiskEpoch, ...] = TINY
    parameters: Mapping[str, object] = field(default_factory=dict)
    doubled: int = 1
    lots: Iterable[int] = range(-1, 3)

    def portfolios(self) -> Iterator[tuple[RiskEpoch, Tier, tuple[int, int], int, bool]]:
        """Epoch, tier, lots, pledge, and whether the rule holds."""
        for epoch, tier in product(self.epochs, Tier):
            for q in product(self.lots, repeat=2):
                for pledge in (0, 1):
                    yield epoch, tier, q, pledge, self.oracle(epoch, tier, list(q), [pledge])


LOSS, REQUIREMENT = range(8), range(11)
CASES = {
    "worst_case": Case(rules.worst_case, {"R": REQUIREMENT, "m": LOSS}),
    "worst_case_limits": Case(
        rules.worst_case_limits, {"R": REQUIREMENT, "m": LOSS}, (TINY[0], LIMITED), lots=range(-2, 3), doubled=0
    ),
    "portfolio_margin": Case(
        rules.portfolio_margin,
        {"R": range(9), "x": range(7), "m": range(5), "A": range(4), "e1": range(2)},
        FLOORED,
        lots=(-2, -1, 0, 2),
    ),
    "product_offsets": Case(
        rules.product_offsets,
        {"R": range(9), "M": range(0, 4001, 500), "l(BTC)": range(5), "l(ETH)": range(5)},
        OPPOSED,
        lots=range(-2, 3),
        doubled=0,
    ),
    "isolated": Case(rules.isolated, {"R": REQUIREMENT, "m": range(14)}),
    "expected_shortfall": Case(
        rules.expected_shortfall,
        {"R": range(8), "T": range(6), "t": range(-4, 5), "u": range(6)},
        doubled=0,  # the split is the same in every rule, and this search is the longest
    ),
    "value_at_risk": Case(rules.value_at_risk, {"R": range(14), "m": range(9), "b": range(3)}, THREE, doubled=0),
    "parametric": Case(
        lambda e, t, q, g: rules.parametric(e, t, q, g, 9000, 70),
        {"R": range(20), "K": range(16), "u": range(-10, 10)},
        RICH,
        {"multiplier_permille": 9000, "scale": 70},
        doubled=0,
    ),
}


@pytest.mark.parametrize("name", sorted(CASES))
def test_some_choice_satisfies_the_circuit_iff_the_rule_holds(name: str) -> None:
    case, compiled = CASES[name], {}
    results = []
    for epoch, tier, q, pledge, expected in case.portfolios():
        if (epoch, tier) not in compiled:
            compiled[epoch, tier] = compile_rule(name, epoch, tier, venues=1, parameters=case.parameters)
        found = satisfiable(compiled[epoch, tier], q, [pledge], case.windows, doubled=case.doubled)
        assert found == expected, (tier, q, pledge)
        results.append(expected)
    assert 0.05 < sum(results) / len(results) < 0.95


LINES = [
    (name, line)
    for name, case in CASES.items()
    for line in [x.label for x in compile_rule(name, case.epochs[0], Tier.INITIAL, venues=1).model.lines]
]


@pytest.mark.parametrize(("name", "line"), LINES)
def test_without_any_one_line_some_unhealthy_portfolio_passes(name: str, line: str) -> None:
    """Every line is needed, and this search would have seen it missing."""
    case, rule = CASES[name], RULES[name]

    def without(model: Model, c: Context) -> None:
        rule.build(model, c)
        (gone,) = [x for x in model.lines if x.label == line]
        model.lines.remove(gone)

    def passes() -> bool:
        compiled = {}
        for epoch, tier, q, pledge, expected in case.portfolios():
            if expected:
                continue
            if (epoch, tier) not in compiled:
                weak = replace(rule, build=without)
                compiled[epoch, tier] = compile_rule(weak, epoch, tier, venues=1, parameters=case.parameters)
            if satisfiable(compiled[epoch, tier], q, [pledge], case.windows, doubled=0, otherwise=0):
                return True
        return False

    # b may be any unsigned number without loss: what counts against K is the sum.  docs/rules/value_at_risk.md.
    assert passes() == (line != "b is 0 or 1")


def test_the_mean_of_two_losses_by_search() -> None:
    """A tail of two scenarios of four: threshold and excesses trade off, and the best is still the mean."""
    epoch = tiny([[0, 0], [-2, 0], [1, 0], [-1, 1], [0, -1]], value=[3, 1])
    case, held = CASES["expected_shortfall"], 0
    compiled = compile_rule("expected_shortfall", epoch, Tier.INITIAL, venues=1)
    for q, pledge in product([(1, 0), (-1, 0), (1, 1), (2, 1)], (0, 1)):
        expected = case.oracle(epoch, Tier.INITIAL, list(q), [pledge])
        held += expected
        windows = {"t": range(-2, 4), "u": range(4), "T": range(7), "R": range(6)}
        assert satisfiable(compiled, q, [pledge], windows, doubled=0) == expected, (q, pledge)
    assert 0 < held < 8


@pytest.mark.parametrize("epoch", TINY)
def test_disclosures_by_search(epoch: RiskEpoch) -> None:
    loss = compile_rule("scenario_loss", epoch, Tier.INITIAL)
    band = compile_rule("net_band", epoch, Tier.INITIAL, parameters={"measure": "gamma", "underlying": "ETH"})
    for q in product(range(-2, 3), repeat=2):
        for x in range(6):
            assert satisfiable(loss, q, [], {}, (x,)) == rules.scenario_loss(epoch, q, x)
        for low, high in product(range(-2, 3), repeat=2):
            assert satisfiable(band, q, [], {}, (low, high)) == rules.net_band(epoch, q, (low, high), "gamma", "ETH")


def test_every_attestation_rule_has_a_case() -> None:
    assert set(CASES) == {name for name, rule in RULES.items() if rule.kind == Kind.ATTESTATION}


small = st.integers(-6, 6)


@st.composite
def epochs(draw: st.DrawFn) -> RiskEpoch:
    n, s = draw(st.integers(1, 4)), draw(st.integers(2, 7))
    row = st.lists(small, min_size=n, max_size=n)
    long = draw(row)
    initial, maintenance = sorted(draw(st.tuples(st.integers(0, 2500), st.integers(0, 2500))), reverse=True)
    limits = draw(st.dictionaries(st.sampled_from(sorted(LIMITS)), st.integers(0, 30)))
    every, some = sorted(LOADINGS)[:2], sorted(LOADINGS)[2:3]  # each underlying has a loading, be it 0
    loadings = {name: draw(st.integers(-400, 400)) for name in every}
    loadings |= draw(st.dictionaries(st.sampled_from(some), st.integers(-400, 400)))
    return epoch_from_arrays(
        np.array([[0] * n] + [draw(row) for _ in range(s - 1)]),
        value=draw(row),
        haircut_long=long,
        haircut_short=[draw(st.integers(-x, 6 + abs(x))) for x in long],
        delta=draw(row),
        gamma=draw(row),
        vega=draw(row),
        notional=draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)),
        short_minimum=draw(st.lists(st.integers(0, 9), min_size=n, max_size=n)),
        rounding_error=draw(st.lists(st.integers(0, 1500), min_size=n, max_size=n)),
        underlyings=("BTC", "ETH"),
        underlying_of=draw(st.lists(st.integers(-1, 1), min_size=n, max_size=n)),
        max_lots=20,
        parameters={
            "initial_factor_permille": initial,
            "maintenance_factor_permille": maintenance,
            "es_level_permille": draw(st.integers(500, 999)),
            "var_level_permille": draw(st.integers(500, 999)),
            "delta_limit": 50,
            "offset_permille": draw(st.integers(0, 1000)),
            **limits,
            **draw(st.sampled_from([{}, ADD_ONS, SEVERAL])),
            **loadings,
        },
    )


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=60, deadline=None)
@given(epoch=epochs(), data=st.data())
def test_witness_check_and_evaluation_agree_with_the_hand_written_rule(
    name: str, epoch: RiskEpoch, data: st.DataObject
) -> None:
    case, n = CASES[name], epoch.instruments
    if name == "worst_case_limits" and not any(
        epoch.parameters.get(k, 0) > 0 for k in ("delta_limit", "delta_limit.BTC", "gamma_limit.ETH", "vega_limit")
    ):
        return
    q = data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n))
    pledges = data.draw(st.lists(st.integers(0, 10), min_size=2, max_size=2))
    healthy = {}
    for tier in Tier:
        compiled = compile_rule(name, epoch, tier, venues=2, parameters=case.parameters)
        healthy[tier] = case.oracle(epoch, tier, q, pledges)
        result = evaluate(compiled.model, np.array(q), np.array(pledges))
        assert result.holds == healthy[tier]
        if not healthy[tier]:
            with pytest.raises(Unsatisfied) as caught:
                make_witness(compiled, np.array(q), np.array(pledges))
            assert caught.value.line == result.worst.label
            continue
        witness = make_witness(compiled, np.array(q), np.array(pledges))
        assert check_witness(compiled.circuit, witness.columns, witness.bound_values) == []
        # The most that can be pledged on top, and not one tick more.
        more = np.array([pledges[0] + result.surplus, pledges[1]])
        assert make_witness(compiled, np.array(q), more).columns.shape == witness.columns.shape
        with pytest.raises(Unsatisfied, match="health"):
            make_witness(compiled, np.array(q), more + np.array([0, 1]))
    assert healthy[Tier.MAINTENANCE] or not healthy[Tier.INITIAL]


@settings(max_examples=60, deadline=None)
@given(epoch=epochs(), data=st.data())
def test_the_less_is_netted_the_more_it_costs(epoch: RiskEpoch, data: st.DataObject) -> None:
    """Isolated, then underlyings offset in part, then all of the worst case."""
    n = epoch.instruments
    q = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)))
    for tier in Tier:
        alone, partly, cross = (
            evaluate(compile_rule(name, epoch, tier, venues=1).model, q, np.array([0]))
            for name in ("isolated", "product_offsets", "worst_case")
        )
        assert alone.figure("requirement") >= partly.figure("requirement") >= cross.figure("requirement")
        assert (alone.holds, partly.holds) in {(a, b) for a in (False, cross.holds) for b in (False, cross.holds)}
        assert partly.holds or not alone.holds


@pytest.mark.parametrize(("offset", "same"), [(1000, "worst_case"), (0, "none")])
def test_the_two_ends_of_the_offset(offset: int, same: str) -> None:
    """All of a gain counts, and the rule is the worst case; nothing of it does, and losses add up."""
    epoch = replace(OPPOSED[0], parameters=OPPOSED[0].parameters | {"offset_permille": offset})
    q, none = np.array([2, 1]), np.array([0])
    found = evaluate(compile_rule("product_offsets", epoch, Tier.INITIAL, venues=1).model, q, none)
    expected = evaluate(compile_rule("worst_case", epoch, Tier.INITIAL, venues=1).model, q, none)
    assert (found.figure("requirement"), expected.figure("requirement")) == ((0, 0) if same == "worst_case" else (3, 0))


@settings(max_examples=60, deadline=None)
@given(epoch=epochs(), data=st.data())
def test_disclosures_at_both_edges(epoch: RiskEpoch, data: st.DataObject) -> None:
    n = epoch.instruments
    q = np.array(data.draw(st.lists(st.integers(-20, 20), min_size=n, max_size=n)))
    worst = max(0, *(-x for x in rules.profits(epoch, q.tolist())))
    compiled = compile_rule("scenario_loss", epoch, Tier.MAINTENANCE)
    witness = make_witness(compiled, q, None, (worst,))
    assert check_witness(compiled.circuit, witness.columns, witness.bound_values, (worst,)) == []
    if worst:
        with pytest.raises(Unsatisfied, match="scenario"):
            make_witness(compiled, q, None, (worst - 1,))
    measure = data.draw(st.sampled_from(["delta", "gamma", "vega", "value", "notional"]))
    where = data.draw(st.sampled_from(["", "BTC", "ETH"]))
    band = compile_rule("net_band", epoch, Tier.INITIAL, parameters={"measure": measure, "underlying": where})
    top = band.circuit.inputs[0].high
    net = int(evaluate(band.model, q, None, (-top, top)).quantities["net"][0])
    for low, high in ((net, net), (-top, top), (-top, net), (net, top)):
        witness = make_witness(band, q, None, (low, high))
        assert check_witness(band.circuit, witness.columns, witness.bound_values, (low, high)) == []
        assert rules.net_band(epoch, q.tolist(), (low, high), measure, where)
    for low, high in ((net + 1, top), (-top, net - 1)):
        if -top <= low <= high <= top:
            assert not rules.net_band(epoch, q.tolist(), (low, high), measure, where)
            with pytest.raises(Unsatisfied, match="band"):
                make_witness(band, q, None, (low, high))


@pytest.mark.parametrize("name", sorted(CASES))
def test_the_best_choices_fit_their_widths_at_any_holdings_within_bounds(name: str) -> None:
    """From small numbers to |P| < 2**40 and |lots| < 2**43, at the corners of the holdings' bounds and inside them."""
    rng = np.random.default_rng(7)
    for trial in range(24):
        pnl_bits, lot_bits = int(rng.integers(1, 41)), int(rng.integers(1, 44))
        pnl = rng.integers(1 - 2**pnl_bits, 2**pnl_bits, (9, 5))
        pnl[0] = 0
        parameters = {"es_level_permille": 700, "var_level_permille": 700, "factor_loading.a.BTC": 1000} | OFFSET
        epoch = epoch_from_arrays(
            pnl,
            value=2**40 - 1,
            max_lots=2**lot_bits - 1,
            delta=rng.integers(-(2**30), 2**30, 5),
            parameters=parameters | {"delta_limit": 2**52},
        )
        corner = (2**lot_bits - 1) * rng.choice([-1, 1], 5)
        q = corner if trial % 2 else rng.integers(1 - 2**lot_bits, 2**lot_bits, 5)
        compiled = compile_rule(name, epoch, Tier.INITIAL, venues=1)
        result = evaluate(compiled.model, q, np.array([0]))
        violated = {line.label for line in result.lines if line.headroom < 0}
        assert all(label == "health" or "limit" in label for label in violated)
        for block in compiled.model.blocks:
            if block.symbol.plain.startswith("s[") and any(
                label.split(",")[0] in block.symbol.plain for label in violated
            ):
                continue  # the slack of a line that does not hold, or of the other side of its limit
            assert block.low <= int(result.values[block].min()), block.symbol
            assert int(result.values[block].max()) <= block.high, block.symbol
