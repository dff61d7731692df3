"""The scenario grid: order, labels, decorrelation, wrong-way depegs, no repetition; and what a set must be."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from marginseal.market.parameters import Grid, UnderlyingRisk
from marginseal.market.scenarios import Scenario, scenario_grid, scenario_set
from tests.market.markets import parameters, refused

BOTH = ("BTC", "ETH")
GRID = scenario_grid(parameters(), BOTH)


def test_the_default_grid() -> None:
    assert len(GRID) == 163
    assert GRID.labels[0] == "null"
    for array in (GRID.moves, GRID.vol, GRID.days, GRID.staked, GRID.stable, GRID.basis):
        assert not array[0].any()
    assert GRID.weight[0] == 1.0
    joint = [label for label in GRID.labels if label.startswith("joint")]
    assert len(joint) == 9 * 3 * 3 - 1
    points = {tuple(m) for m in GRID.moves if m[0] / 0.16 == pytest.approx(m[1] / 0.18)}
    assert len(points) >= 9
    assert sum(label.startswith("extreme") for label in GRID.labels) == 4


def test_one_underlying_can_move_without_the_other() -> None:
    """Both directions of each, still or against the other, in every volatility state."""
    seen = {(tuple(np.sign(m).astype(int)), v[0]) for m, v in zip(GRID.moves, GRID.vol, strict=True)}
    for signs in ((1, 0), (-1, 0), (0, 1), (0, -1), (1, -1), (-1, 1)):
        for vol in (-1.0, 0.0, 1.0):
            assert (signs, vol) in seen
    assert any(v[0] == 1 and v[1] == -1 for v in GRID.vol)
    assert any(v[0] == -1 and v[1] == 1 for v in GRID.vol)


def test_depegs_happen_inside_a_price_move() -> None:
    wrong_way = (GRID.moves < 0).all(axis=1) & (GRID.staked > 0) & (GRID.stable > 0)
    assert wrong_way.any()
    assert ((GRID.moves == 0).all(axis=1) & (GRID.stable > 0)).any()


def test_three_underlyings_meet_in_pairs() -> None:
    three = scenario_grid(parameters(underlyings={u: UnderlyingRisk(0.1) for u in ("A", "B", "C")}), ("A", "B", "C"))
    still = [(m == 0).sum() for m, label in zip(three.moves, three.labels, strict=True) if label.startswith("apart")]
    assert min(still) == 1
    assert len(set(three.labels)) == len(three)
    # A alone is named once, though it is part of two pairs.
    alone = [m for m, v in zip(three.moves, three.vol, strict=True) if v[0] == 0 and m[0] and not m[1] and not m[2]]
    assert len({tuple(m) for m in alone}) == len(alone) == 4


def test_one_underlying_has_no_pairs() -> None:
    one = scenario_grid(parameters(), ("BTC",))
    assert not any(label.startswith("apart") for label in one.labels)
    assert one.moves.shape == (len(one), 1)


def test_the_null_scenario_comes_first_whatever_the_grid() -> None:
    grid = Grid(price_points=(0.5,), horizons_days=(1.0,), product_points=(), extremes=(), depegs=(), basis=())
    small = scenario_grid(parameters(grid=grid), BOTH)
    assert small.labels[0] == "null"
    assert small.days[1:4].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    "change",
    [
        {"label": ""},
        {"moves": (-1.0, 0.0)},
        {"moves": (float("nan"), 0.0)},
        {"vol": (1.1, 0.0)},
        {"days": -1.0},
        {"weight": 1.1},
        {"weight": -0.1},
        {"staked": 1.1},
        {"stable": -0.1},
        {"basis": 2.0},
        {"vol": (0.0,)},
    ],
)
def test_a_scenario_keeps_its_bounds(change: dict[str, Any]) -> None:
    good = Scenario("s", (0.1, 0.1), (0.0, 0.0))
    code = {"label": "field.name"}.get(next(iter(change)), "field.out-of-range")
    if change.get("vol") == (0.0,):
        code = "scenarios.shape"
    if change.get("moves", (0,))[0] != change.get("moves", (0,))[0]:
        code = "field.number"
    with refused(code):
        dataclasses.replace(good, **change)


def test_a_set_begins_with_the_null_scenario() -> None:
    null, move = Scenario("null", (0.0,), (0.0,)), Scenario("up", (0.1,), (0.0,))
    assert scenario_set([null, move]).labels == ("null", "up")
    for bad in ([], [move, null], [Scenario("time", (0.0,), (0.0,), days=1.0)]):
        with refused("scenarios.null"):
            scenario_set(bad)
    with refused("scenarios.duplicate"):
        scenario_set([null, move, move])
    with refused("scenarios.shape"):
        scenario_set([null, Scenario("up", (0.1, 0.1), (0.0, 0.0))])
    with refused("scenarios.size"):
        scenario_set([null] * (2**14 + 1))
