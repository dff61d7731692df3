"""Parameters outside a rule's conditions are refused before anything is compiled, each with its code."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest

from circuits.compile import compile_rule
from circuits.rules import product_offsets
from circuits.rules.example import PARAMETERS, example_epoch
from circuits.rules.registry import RULES, build, rule_named
from marginseal.errors import RuleError
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.records.statement import Kind, Tier

ATTESTATIONS = sorted(name for name, rule in RULES.items() if rule.kind == Kind.ATTESTATION)


def past_the_checks(**fields: Any) -> RiskEpoch:
    """An epoch that decoding would refuse."""
    out = replace(example_epoch())
    for name, value in fields.items():
        object.__setattr__(out, name, value)
    return out


def with_parameters(**changes: int | None) -> RiskEpoch:
    """The example with other parameters (dots as double underscores), unchecked; None takes one away."""
    changed = {key.replace("__", "."): value for key, value in changes.items()}
    merged = {key: value for key, value in (PARAMETERS | changed).items() if value is not None}
    return past_the_checks(parameters=MappingProxyType(merged))


def refused(code: str, name: str, epoch: RiskEpoch, **parameters: object) -> None:
    with pytest.raises(RuleError) as caught:
        compile_rule(name, epoch, Tier.INITIAL, venues=0, parameters=parameters)
    assert caught.value.code == code


@pytest.mark.parametrize("name", ATTESTATIONS)
def test_haircuts_and_factors(name: str) -> None:
    short = example_epoch().haircut_short.copy()
    short[2] = -6
    refused("rule.haircut-pair", name, past_the_checks(haircut_short=short))
    refused("rule.factors", name, with_parameters(initial_factor_permille=999))
    refused("rule.factors", name, with_parameters(maintenance_factor_permille=-1))


@pytest.mark.parametrize("name", ["worst_case", "worst_case_limits", "portfolio_margin", "isolated", "scenario_loss"])
def test_a_null_scenario_that_is_none(name: str) -> None:
    pnl = example_epoch().pnl.copy()
    pnl[0, 1] = -1
    refused("rule.null-scenario", name, past_the_checks(pnl=pnl))


def test_limits() -> None:
    refused("rule.limit", "worst_case_limits", with_parameters(delta_limit__BTC=-1))
    refused("rule.limit", "worst_case_limits", with_parameters(delta_limit__DOGE=1))
    refused("rule.limit", "worst_case_limits", with_parameters(vega_limit__BTC__x=1))
    refused("rule.no-limit", "worst_case_limits", with_parameters(delta_limit__BTC=0, gamma_limit=0, vega_limit=None))


@pytest.mark.parametrize(("name", "key"), [("expected_shortfall", "es"), ("value_at_risk", "var")])
def test_levels(name: str, key: str) -> None:
    without = with_parameters(**{f"{key}_level_permille": None})
    refused("rule.level", name, without)
    for level in (499, 1000, "975", 975.0, True):
        refused("rule.level", name, without, level_permille=level)
    for level in (500, 999):
        assert compile_rule(name, without, Tier.INITIAL, parameters={"level_permille": level}).circuit.equations
    refused("rule.scenarios", name, epoch_from_arrays([[0, 0]], parameters={f"{key}_level_permille": 990}))


def test_loadings() -> None:
    none = {"factor_loading__alt__ETH": None, "factor_loading__market__BTC": None, "factor_loading__market__ETH": None}
    refused("rule.loadings", "parametric", with_parameters(**none))
    refused("rule.loadings", "parametric", with_parameters(factor_loading__alt__DOGE=1))
    refused("rule.loadings", "parametric", with_parameters(factor_loading__alt__ETH=2**17))
    refused("rule.loadings", "parametric", with_parameters(factor_loading__alt__ETH=-(2**17)))
    refused("rule.loadings", "parametric", with_parameters(**{f"factor_loading__f{j}__ETH": 1 for j in range(63)}))
    refused("rule.weights", "parametric", with_parameters(factor_weight__alt=-1))
    refused("rule.weights", "parametric", with_parameters(factor_weight__other=1))
    assert compile_rule("parametric", with_parameters(factor_weight__alt=0), Tier.INITIAL).circuit.equations
    for scale in (0, -1, 2**20 + 1, "1", 1.0, True):
        refused("rule.scale", "parametric", example_epoch(), scale=scale)
    for multiplier in (-1, 10_001, None):
        refused("rule.multiplier-permille", "parametric", example_epoch(), multiplier_permille=multiplier)


def test_add_ons() -> None:
    refused("rule.concentration", "portfolio_margin", with_parameters(concentration_rate_permille__1=None))
    refused("rule.concentration", "portfolio_margin", with_parameters(concentration_threshold_permille__1=None))
    refused("rule.concentration", "portfolio_margin", with_parameters(concentration_rate_permille__1=-1))
    refused("rule.concentration", "portfolio_margin", with_parameters(concentration_threshold_permille__1=-1))
    for what in ("short_minimum", "rounding_error", "notional"):
        less = getattr(example_epoch(), what).copy()
        less[3] = -1
        refused("rule.charges", "portfolio_margin", past_the_checks(**{what: less}))
    nothing = with_parameters(concentration_rate_permille__1=None, concentration_threshold_permille__1=None)
    labels = [line.label for line in compile_rule("portfolio_margin", nothing, Tier.INITIAL, venues=0).model.lines]
    assert labels == ["scenario", "rounding", "scan", "short minimum", "health"]


def test_offsets() -> None:
    for offset in (None, -1, 1001):
        refused("rule.offset", "product_offsets", with_parameters(offset_permille=offset))


def test_a_matrix_for_each_underlying_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = 2 * example_epoch().pnl.size
    monkeypatch.setattr(product_offsets, "MAX_CELLS", cells)
    assert compile_rule("product_offsets", example_epoch(), Tier.INITIAL, venues=0).circuit.equations
    monkeypatch.setattr(product_offsets, "MAX_CELLS", cells - 1)
    refused("rule.size", "product_offsets", example_epoch())


def test_measures() -> None:
    for measure in ("rho", "pnl", "", None, ["delta"]):
        refused("rule.measure", "net_band", example_epoch(), measure=measure)
    for underlying in ("DOGE", None, 1, ["BTC"]):
        refused("rule.underlying", "net_band", example_epoch(), underlying=underlying)


def test_names_tiers_and_parameters_a_rule_does_not_have() -> None:
    refused("rule.unknown", "no_such_rule", example_epoch())
    refused("rule.parameter", "worst_case", example_epoch(), scale=1)
    with pytest.raises(RuleError) as caught:
        build(replace(rule_named("worst_case"), tiers=(Tier.INITIAL,)), example_epoch(), Tier.MAINTENANCE, venues=0)
    assert caught.value.code == "rule.tier"


@pytest.mark.parametrize("value", [2**53, 1.5j, object(), {1: 2}, float("nan")])
def test_parameters_without_a_canonical_form(value: object) -> None:
    anything = replace(rule_named("scenario_loss"), defaults={"x": None})
    with pytest.raises(RuleError) as caught:
        build(anything, example_epoch(), Tier.INITIAL, venues=0, parameters={"x": value})
    assert caught.value.code == "rule.parameter"


def test_a_haircut_pair_of_zero_is_allowed() -> None:
    zero = epoch_from_arrays(np.array([[0], [-3]]), value=5, haircut_long=-2, haircut_short=2)
    assert compile_rule("worst_case", zero, Tier.INITIAL, venues=0).circuit.n == 8
