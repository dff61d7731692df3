"""Risk parameters: defaults, files there and back, and one refusal for each fault."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marginseal.market.parameters import (
    DEFAULT_CHARGES,
    Charge,
    Grid,
    RiskParameters,
    UnderlyingRisk,
    parameters_json,
    parse_parameters,
    read_parameters,
)
from tests.market.markets import one_of_each, parameters, refused

MINIMAL: dict[str, Any] = {
    "format": "marginseal-parameters-1",
    "name": "n",
    "operator": "o",
    "underlyings": {"BTC": {"price_range": 0.16}},
}


def parsed(**changes: Any) -> RiskParameters:
    return parse_parameters(json.dumps(MINIMAL | changes).encode())


def test_defaults_and_there_and_back(tmp_path: Path) -> None:
    defaults = parsed()
    assert defaults == RiskParameters("n", "o", {"BTC": UnderlyingRisk(0.16)})
    assert parse_parameters(parameters_json(defaults)) == defaults
    assert parse_parameters(parameters_json(defaults)).digest == defaults.digest
    (tmp_path / "p.json").write_bytes(parameters_json(parameters()))
    assert read_parameters(tmp_path / "p.json") == parameters()
    changed = parsed(
        tick="0.10",
        grid={"price_points": [0, 1], "extremes": [[2, 0.5]], "depegs": [], "basis": [], "short_power": 0.5},
        charges={"spot": {"long_permille": 1, "short_permille": 2}},
        rule={"delta_limit.BTC": 7, "offset_permille": 0, "my_own": -5},
    )
    assert changed.tick == "0.1"
    assert changed.grid == Grid(price_points=(0, 1), extremes=((2, 0.5),), depegs=(), basis=(), short_power=0.5)
    assert changed.charges == {**DEFAULT_CHARGES, "spot": Charge(1, 2)}
    assert changed.integers()["my_own"] == -5
    assert changed.integers()["es_level_permille"] == 975
    assert list(changed.integers()) == sorted(changed.integers())
    assert parse_parameters(parameters_json(changed)).digest == changed.digest != defaults.digest


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("field.missing", {"underlyings": {"BTC": {}}}),
        ("field.unknown", {"underlyings": {"BTC": {"price_range": 0.1, "x": 1}}}),
        ("field.unknown", {"colour": 1}),
        ("field.symbol", {"underlyings": {"B C": {"price_range": 0.1}}}),
        ("field.out-of-range", {"underlyings": {"BTC": {"price_range": 0}}}),
        ("field.out-of-range", {"underlyings": {"BTC": {"price_range": 1.0}}}),
        ("field.out-of-range", {"underlyings": {"BTC": {"price_range": 0.1, "vol_up": -0.1}}}),
        ("field.out-of-range", {"underlyings": {"BTC": {"price_range": 0.1, "vol_down": 1.1}}}),
        ("field.number", {"underlyings": {"BTC": {"price_range": "0.1"}}}),
        ("field.decimal", {"tick": "1e-2"}),
        ("field.decimal", {"tick": 0.01}),
        ("field.out-of-range", {"tick": "0"}),
        ("field.out-of-range", {"lifetime_s": 0}),
        ("field.out-of-range", {"lifetime_s": 604_801}),
        ("field.integer", {"lifetime_s": 60.0}),
        ("field.out-of-range", {"max_age_s": 0}),
        ("field.out-of-range", {"max_confidence": 1.1}),
        ("field.out-of-range", {"confidence_multiple": -1}),
        ("field.out-of-range", {"initial_factor_permille": 10_001}),
        ("field.out-of-range", {"maintenance_factor_permille": -1}),
        ("epoch.factors", {"initial_factor_permille": 799}),
        ("field.out-of-range", {"charges": {"spot": {"long_permille": -1, "short_permille": 5}}}),
        ("field.out-of-range", {"charges": {"spot": {"long_permille": 1, "short_permille": 1001}}}),
        ("field.integer", {"charges": {"spot": {"long_permille": 0.5, "short_permille": 1}}}),
        ("field.missing", {"charges": {"spot": {"long_permille": 1}}}),
        ("parameters.charges", {"charges": {"swap": {"long_permille": 1, "short_permille": 1}}}),
        ("field.out-of-range", {"spread_permille": 1001}),
        ("field.out-of-range", {"short_minimum_permille": -1}),
        ("field.out-of-range", {"grid": {"price_points": [1.5]}}),
        ("parameters.grid", {"grid": {"price_points": []}}),
        ("parameters.grid", {"grid": {"horizons_days": []}}),
        ("field.out-of-range", {"grid": {"horizons_days": [-1]}}),
        ("field.out-of-range", {"grid": {"extremes": [[-1, 0.5]]}}),
        ("field.out-of-range", {"grid": {"extremes": [[1, 1.5]]}}),
        ("field.out-of-range", {"grid": {"extremes": [[1, -0.5]]}}),
        ("field.out-of-range", {"grid": {"depegs": [[0, 0.91, 0]]}}),
        ("field.out-of-range", {"grid": {"depegs": [[0, -0.1, 0]]}}),
        ("parameters.grid", {"grid": {"extremes": [[1]]}}),
        ("field.out-of-range", {"grid": {"extremes": [[1, 0.1, 0.1]]}}),
        ("field.array", {"grid": {"extremes": [1]}}),
        ("field.array", {"grid": {"basis": 1}}),
        ("field.number", {"grid": {"basis": ["1"]}}),
        ("parameters.duplicate", {"grid": {"basis": [0.1, 0.1]}}),
        ("field.out-of-range", {"grid": {"basis": [k / 100 for k in range(65)]}}),
        ("field.out-of-range", {"grid": {"long_power": 1.1}}),
        ("field.unknown", {"grid": {"shape": []}}),
        ("parameters.rule", {"rule": {"initial_factor_permille": 1}}),
        ("parameters.unknown-underlying", {"rule": {"delta_limit.DOGE": 1}}),
        ("field.out-of-range", {"rule": {"delta_limit": -1}}),
        ("field.out-of-range", {"rule": {"offset_permille": 1001}}),
        ("field.out-of-range", {"rule": {"free": 2**53}}),
        ("field.integer", {"rule": {"free": 1.5}}),
        ("field.integer", {"rule": {"free": True}}),
        ("epoch.parameter-name", {"rule": {"Free": 1}}),
        ("epoch.parameter-name", {"rule": {"a.b.c.d": 1}}),
        ("parameters.concentration", {"rule": {"concentration_threshold_permille.3": 1}}),
        ("parameters.concentration", {"rule": {"concentration_rate_permille.9": 1}}),
        ("field.choice", {"format": "x"}),
        ("field.name", {"operator": ""}),
    ],
)
def test_one_fault_one_refusal(code: str, changes: dict[str, Any]) -> None:
    with refused(code):
        parsed(**changes)


def test_nan_and_duplicates() -> None:
    text = json.dumps(MINIMAL)
    with refused("json.not-finite"):
        parse_parameters(text.replace("0.16", "NaN").encode())
    with refused("json.not-finite"):
        parse_parameters(text.replace("0.16", "1e999").encode())
    with refused("json.duplicate-key"):
        parse_parameters(text.replace('"name"', '"operator"').encode())
    with refused("field.number"):
        parameters(underlyings={"BTC": UnderlyingRisk(float("nan"))})


def test_each_underlying_of_the_universe_needs_a_scan() -> None:
    parameters().check(one_of_each())
    with refused("parameters.missing-underlying"):
        parsed().check(one_of_each())
