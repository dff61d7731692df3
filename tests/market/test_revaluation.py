"""Revaluation of each kind of instrument against scalar formulas written out with the math library."""

from __future__ import annotations

import math

import numpy as np
import pytest

from marginseal.market.revaluation import columns, revalue
from marginseal.market.scenarios import Scenario, ScenarioSet, scenario_grid, scenario_set
from tests.market.markets import EXPIRY, NOW, one_of_each, parameters, snapshot_of

UNIVERSE = one_of_each()
SNAPSHOT = snapshot_of(UNIVERSE)
T0 = (EXPIRY - NOW) / (365 * 86_400)


def phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def black(f: float, k: float, s: float, t: float, w: int) -> float:
    if s <= 0 or t <= 0:
        return max(w * (f - k), 0.0)
    d1 = math.log(f / k) / (s * math.sqrt(t)) + 0.5 * s * math.sqrt(t)
    return w * (f * phi(w * d1) - k * phi(w * (d1 - s * math.sqrt(t))))


def shocked(s: float, v: float, up: float, down: float) -> float:
    term = (30 / max(T0 * 365, 1)) ** (0.3 if T0 * 365 <= 30 else 0.13)
    if v > 0:
        return max(s * (1 + v * up * term), 0.4)
    return s * max(0.0, 1 + v * down * term)


def by_hand(x: Scenario) -> list[float]:
    """One lot of each row: formulas of docs/formats.md, in their first form."""
    btc, eth = 1 + x.moves[0], 1 + x.moves[1]
    t1 = max(T0 - x.days / 365, 0.0)
    carry = math.exp(x.basis * t1)
    lst = min(3_540.0, 1.2 * 3_000.0)
    call0 = black(60_300, 60_000, 0.5, T0, 1) / 60_300 * 60_000
    f1 = 60_300 * btc * carry
    call1 = black(f1, 60_000, shocked(0.5, x.vol[0], 0.5, 0.25), t1, 1) / f1 * 60_000 * btc
    put0 = black(3_010, 3_000, 0.6, T0, -1)
    put1 = black(3_010 * eth * carry, 3_000, shocked(0.6, x.vol[1], 0.4, 0.25), t1, -1)
    gains = [
        0.0,
        -0.999 * x.stable,
        0.01 * 60_000 * (btc - 1),
        0.1 * (lst * eth * (1 - x.staked) - lst),
        0.01 * 60_020 * (btc - 1),
        100 * (1 / 3_001 - 1 / (3_001 * eth)) * 3_000 * eth,
        100 * (1 / 60_300 - 1 / (60_300 * btc * carry)) * 60_000 * btc,
        0.1 * 3_010 * (eth * carry - 1),
        0.1 * (call1 - call0),
        put1 - put0,
    ]
    return [x.weight * gain for gain in gains]


def scenarios() -> list[Scenario]:
    rng = np.random.default_rng(5)
    out = [Scenario("null", (0.0, 0.0), (0.0, 0.0))]
    for k in range(60):
        moves = tuple(float(m) for m in rng.uniform(-0.7, 1.5, 2))
        vol = tuple(float(v) for v in rng.uniform(-1, 1, 2))
        rest = [float(v) for v in rng.uniform(0, 1, 5)]
        out.append(
            Scenario(f"s{k}", moves, vol, rest[0] * 40, rest[1], rest[2], rest[3], rest[4] * 2 - 1)  # some past expiry
        )
    return out


def test_every_kind_by_hand() -> None:
    chosen = scenarios()
    gains = revalue(columns(UNIVERSE, SNAPSHOT), scenario_set(chosen), parameters(), UNIVERSE.underlyings)
    expected = np.array([by_hand(x) for x in chosen])
    assert gains == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert any(x.days > 25 for x in chosen)
    assert not gains[0].any()


def test_the_null_scenario_is_exactly_zero() -> None:
    grid = scenario_grid(parameters(), UNIVERSE.underlyings)
    gains = revalue(columns(UNIVERSE, SNAPSHOT), grid, parameters(), UNIVERSE.underlyings)
    assert gains[0].tolist() == [0.0] * len(UNIVERSE)
    assert gains[1:, 2:].any(axis=0).all()


def test_blocks_of_scenarios_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Priced seven pairs at a time or all at once: the same bits."""
    grid = scenario_grid(parameters(), UNIVERSE.underlyings)
    c = columns(UNIVERSE, SNAPSHOT)
    whole = revalue(c, grid, parameters(), UNIVERSE.underlyings)
    monkeypatch.setattr("marginseal.market.revaluation._BLOCK", 7)
    assert whole.tobytes() == revalue(c, grid, parameters(), UNIVERSE.underlyings).tobytes()


def one(scenario: Scenario) -> ScenarioSet:
    return scenario_set([Scenario("null", (0.0, 0.0), (0.0, 0.0)), scenario])


def test_the_staked_token_takes_the_lower_price() -> None:
    c = columns(UNIVERSE, SNAPSHOT)
    assert c.mark[3] == 3_540.0  # below 1.2 x 3,000
    half = one(Scenario("depeg", (-0.5, -0.5), (0.0, 0.0), staked=0.5))
    loss = revalue(c, half, parameters(), UNIVERSE.underlyings)[1, 3]
    assert loss == pytest.approx(-0.1 * 3_540 * 0.75)


def test_an_inverse_future_moves_linearly_in_money() -> None:
    """(1/F0 - 1/F1) S1 = (S0/F0) m with F and S in proportion: short and long mirror each other."""
    c = columns(UNIVERSE, SNAPSHOT)
    up, down = (
        revalue(c, one(Scenario("m", (m, m), (0.0, 0.0))), parameters(), UNIVERSE.underlyings)[1, 5]
        for m in (0.3, -0.3)
    )
    assert up == pytest.approx(100 * 3_000 / 3_001 * 0.3)
    assert up == pytest.approx(-down)
