"""The scenarios: which joint moves of price, volatility, time, peg and basis an epoch prices, each with a label.

`ScenarioSet` is plain data, so that any other set (a SPAN array, a filtered historical simulation) can go through the
same pricing.  `scenario_grid` makes the default set from the parameters, in this order:

1. the null scenario;
2. joint moves: price points x volatility states x horizons, all underlyings at the same fraction of their range;
3. extremes: large moves with volatility up, of whose profit or loss a share counts;
4. decorrelation: for each pair of underlyings, every pair of different fractions x volatility states, others still, so
   that a hedge of one with the other is tested where they part;
5. volatilities that part: one underlying's up while the others' go down, at unchanged prices;
6. wrong-way depegs: staked tokens and stablecoins lose their peg inside a price move;
7. basis: dated forwards move against the index, alone and inside the largest price moves.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marginseal.errors import InputError, RangeError
from marginseal.market import fields
from marginseal.market.elementary import FloatArray
from marginseal.market.epoch_bounds import MAX_SCENARIOS
from marginseal.market.parameters import Grid, RiskParameters

VOL_STATES = (("vol-", -1.0), ("vol=", 0.0), ("vol+", 1.0))


@dataclass(frozen=True)
class Scenario:
    """One scenario over U underlyings.

    label     1..64 bytes
    moves     U relative index moves, each > -1           vol   U volatility directions in -1..1, scaled by the scan
    days      time that passes, >= 0                       weight  share of the profit or loss that counts, 0..1
    staked    staked tokens' loss against their underlying, 0..1
    stable    other currencies' loss against the settlement currency, 0..1
    basis     annualised shift of dated forwards against the index: F1 = F0 (1 + move) exp(basis * years left)
    """

    label: str
    moves: tuple[float, ...]
    vol: tuple[float, ...]
    days: float = 0.0
    weight: float = 1.0
    staked: float = 0.0
    stable: float = 0.0
    basis: float = 0.0

    def __post_init__(self) -> None:
        fields.name(self.label, "scenario label")
        if len(self.moves) != len(self.vol):
            raise InputError("scenarios.shape", f"{self.label}: needs a move and a volatility for each underlying")
        for move, direction in zip(self.moves, self.vol, strict=True):
            fields.number(move, f"{self.label}: move", low=-0.999, high=1e3)
            fields.number(direction, f"{self.label}: vol", low=-1.0, high=1.0)
        fields.number(self.days, f"{self.label}: days", low=0.0, high=366.0)
        fields.number(self.weight, f"{self.label}: weight", low=0.0, high=1.0)
        fields.number(self.staked, f"{self.label}: staked", low=0.0, high=1.0)
        fields.number(self.stable, f"{self.label}: stable", low=0.0, high=1.0)
        fields.number(self.basis, f"{self.label}: basis", low=-1.0, high=1.0)

    @property
    def null(self) -> bool:
        """Nothing moves and no time passes."""
        still = (*self.moves, *self.vol, self.days, self.staked, self.stable, self.basis)
        return not any(still)


@dataclass(frozen=True, eq=False)
class ScenarioSet:
    """S scenarios as arrays: moves, vol (S, U); days, weight, staked, stable, basis (S,).  Row 0 is the null one."""

    labels: tuple[str, ...]
    moves: FloatArray
    vol: FloatArray
    days: FloatArray
    weight: FloatArray
    staked: FloatArray
    stable: FloatArray
    basis: FloatArray

    def __len__(self) -> int:
        return len(self.labels)


def scenario_set(scenarios: list[Scenario]) -> ScenarioSet:
    """Scenarios as arrays.  InputError scenarios.null when the first is not the null scenario, scenarios.duplicate."""
    if not scenarios or not scenarios[0].null:
        raise InputError("scenarios.null", "the first scenario must be the null scenario")
    if len(scenarios) > MAX_SCENARIOS:
        raise RangeError("scenarios.size", f"more than {MAX_SCENARIOS} scenarios")
    labels = tuple(s.label for s in scenarios)
    if len(set(labels)) != len(labels):
        raise InputError("scenarios.duplicate", "two scenarios have one label")
    if len({len(s.moves) for s in scenarios}) != 1:
        raise InputError("scenarios.shape", "the scenarios are not over the same underlyings")

    def column(values: list[float] | list[tuple[float, ...]]) -> npt.NDArray[np.float64]:
        return np.array(values, dtype=np.float64)

    return ScenarioSet(
        labels=labels,
        moves=column([s.moves for s in scenarios]),
        vol=column([s.vol for s in scenarios]),
        days=column([s.days for s in scenarios]),
        weight=column([s.weight for s in scenarios]),
        staked=column([s.staked for s in scenarios]),
        stable=column([s.stable for s in scenarios]),
        basis=column([s.basis for s in scenarios]),
    )


def scenario_grid(parameters: RiskParameters, underlyings: tuple[str, ...]) -> ScenarioSet:
    """The default set for these underlyings (see the module's list); what repeats an earlier scenario is left out.

    With the default grid and two underlyings: 159 scenarios."""
    ranges = tuple(parameters.underlyings[u].price_range for u in underlyings)
    still = (0.0,) * len(underlyings)
    scenarios = [Scenario("null", still, still)]
    seen = {_key(scenarios[0])}
    for scenario in itertools.chain(
        _joint(parameters.grid, ranges),
        _extremes(parameters.grid, ranges),
        _decorrelated(parameters.grid, ranges, underlyings),
        _depegs(parameters.grid, ranges),
        _basis(parameters.grid, ranges),
    ):
        if _key(scenario) not in seen:
            seen.add(_key(scenario))
            scenarios.append(scenario)
    return scenario_set(scenarios)


def _key(s: Scenario) -> tuple[object, ...]:
    return s.moves, s.vol, s.days, s.weight, s.staked, s.stable, s.basis


def _joint(grid: Grid, ranges: tuple[float, ...]) -> Iterator[Scenario]:
    for days, point, (state, vol) in itertools.product(grid.horizons_days, grid.price_points, VOL_STATES):
        yield Scenario(
            f"joint {point:+g} {state} {days:g}d", tuple(point * r for r in ranges), (vol,) * len(ranges), days=days
        )


def _extremes(grid: Grid, ranges: tuple[float, ...]) -> Iterator[Scenario]:
    every = (1.0,) * len(ranges)
    for move, weight in grid.extremes:
        yield Scenario(f"extreme {move:+g} x {weight:g} vol+", (move,) * len(ranges), every, weight=weight)


def _decorrelated(grid: Grid, ranges: tuple[float, ...], underlyings: tuple[str, ...]) -> Iterator[Scenario]:
    days = grid.horizons_days[0]
    for (i, j), (state, vol) in itertools.product(itertools.combinations(range(len(ranges)), 2), VOL_STATES):
        for a, b in itertools.product(grid.product_points, repeat=2):
            if a == b:
                continue
            moves = [0.0] * len(ranges)
            moves[i], moves[j] = a * ranges[i], b * ranges[j]
            label = f"apart {underlyings[i]} {a:+g} {underlyings[j]} {b:+g} {state}"
            yield Scenario(label, tuple(moves), (vol,) * len(ranges), days=days)
    if len(ranges) > 1:
        for i, underlying in enumerate(underlyings):
            vols = tuple(1.0 if k == i else -1.0 for k in range(len(ranges)))
            yield Scenario(f"apart {underlying} vol+ others vol-", (0.0,) * len(ranges), vols, days=days)


def _depegs(grid: Grid, ranges: tuple[float, ...]) -> Iterator[Scenario]:
    for (point, staked, stable), (state, vol) in itertools.product(grid.depegs, VOL_STATES[1:]):
        yield Scenario(
            f"depeg {point:+g} staked -{staked:g} stable -{stable:g} {state}",
            tuple(point * r for r in ranges),
            (vol,) * len(ranges),
            days=grid.horizons_days[0],
            staked=staked,
            stable=stable,
        )


def _basis(grid: Grid, ranges: tuple[float, ...]) -> Iterator[Scenario]:
    for shift, point in itertools.product(grid.basis, (-1.0, 0.0, 1.0)):
        yield Scenario(
            f"basis {shift:+g} at {point:+g}",
            tuple(point * r for r in ranges),
            (0.0,) * len(ranges),
            days=grid.horizons_days[0],
            basis=shift,
        )
