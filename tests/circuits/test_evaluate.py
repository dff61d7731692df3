"""What the owner is shown: equity, requirement, surplus, resources by scenario, headroom by line; figures by hand."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.evaluate import LineResult, evaluate, evaluate_rule
from circuits.rules.example import example_epoch
from circuits.rules.registry import build
from marginseal.errors import RangeError, RuleError
from marginseal.records.statement import Tier

LOTS = np.array([2000, 1, -2, -1, 3])  # 2,000 dollars, 1 bitcoin, 2 perpetuals and a call short, 3 ether perpetuals
PROFITS = [0, 100 - 60 + 35, -100 - 70 + 60, 200 + 52 - 90, -200 - 150 + 90, -20]


def test_the_report_of_a_portfolio() -> None:
    result = evaluate_rule("worst_case", example_epoch(), Tier.INITIAL, LOTS, np.array([100, 50]))
    equity = 2000 + 1000 - 60 - (20 + 10 + 3 + 3)
    assert result.figure("value") == 2940
    assert result.figure("equity") == equity == 2904
    assert result.figure("pledged") == 150
    assert result.quantities["scenario_profit"].tolist() == PROFITS
    assert result.figure("requirement") == 1200 * 260 // 1000 == 312
    assert result.surplus == 2904 - 150 - 312
    room = 1000 * (2904 - 150)
    assert result.scenario_resources() == sorted(
        ((s, room + 1200 * x) for s, x in enumerate(PROFITS)), key=lambda found: found[1]
    )
    assert result.scenario_resources()[0] == (4, room - 1200 * 260)
    assert result.holds
    assert result.lines == (
        LineResult("scenario", 0, 4, 6, False),
        LineResult("requirement", 0, 0, 1, False),
        LineResult("health", 2442, 0, 1, False),
    )


def test_an_unhealthy_portfolio_has_a_report_too() -> None:
    result = evaluate_rule("worst_case", example_epoch(), Tier.INITIAL, LOTS, np.array([2592, 1]))
    assert not result.holds
    assert result.worst == LineResult("health", -1, 0, 1, False)
    assert result.surplus == -1


def test_scenarios_keep_their_numbers_where_the_null_scenario_is_left_out() -> None:
    result = evaluate_rule("expected_shortfall", example_epoch(), Tier.MAINTENANCE, LOTS)
    assert result.figure("tail_loss") == 260 + 110
    assert result.figure("requirement") == 185
    assert [s for s, _ in result.scenario_resources()] == [4, 2, 5, 1, 3]
    assert result.surplus == 2904 - 185


def test_an_equation_that_does_not_hold_counts_as_its_residual() -> None:
    built = build("value_at_risk", example_epoch(), Tier.INITIAL, venues=0)
    result = evaluate(built.model, LOTS, np.zeros(0, dtype=np.int64))
    assert result.lines[0] == LineResult("b is 0 or 1", 0, 0, 5, True)
    built.model.equal("one is two", result.model.lines[2].expr + 1)
    broken = evaluate(built.model, LOTS, np.zeros(0, dtype=np.int64))
    assert broken.worst == LineResult("one is two", -1, 0, 1, True)


def test_what_does_not_fit() -> None:
    epoch = example_epoch()
    with pytest.raises(RangeError):
        evaluate_rule("worst_case", epoch, Tier.INITIAL, np.array([0, 51, 0, 0, 0]))
    with pytest.raises(RangeError):
        evaluate_rule("scenario_loss", epoch, Tier.INITIAL, LOTS, np.array([1]), inputs=(300,))
    with pytest.raises(RuleError):
        evaluate_rule("scenario_loss", epoch, Tier.INITIAL, LOTS)
    assert evaluate_rule("scenario_loss", epoch, Tier.INITIAL, LOTS, inputs=(260,)).holds
    assert not evaluate_rule("scenario_loss", epoch, Tier.INITIAL, LOTS, inputs=(259,)).holds
