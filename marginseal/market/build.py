"""Universe + snapshot + parameters -> risk epoch, deterministically: the same three give the same bytes everywhere.

Everything is computed per lot in the settlement currency and crosses into ticks in quantize.py.  One lot's

    value     mark: lot x mark (x index for coin-quoted options); 0 for perpetuals and futures, settled at the mark
    notional  lot x index; inverse perpetuals and futures: the lot itself; spot, staked, cash: the value
    charge    permille of notional by kind  +  half-spread x spread_permille, capped  +  k x confidence x exposure
              +  the gap between an option's mark and its model value, on the side it would flatter

A charge rounds up.  Settled rows are worth nothing, gain nothing, and cost twice their notional or strike on either
side, so that a position a source failed to settle can only hurt its holder.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marginseal.errors import InputError, RangeError
from marginseal.market.elementary import FloatArray
from marginseal.market.epoch import RiskEpoch
from marginseal.market.parameters import RiskParameters
from marginseal.market.pricing import black76_greeks
from marginseal.market.quantize import ceil_ticks, round_ticks, rounding_error
from marginseal.market.revaluation import CASH, FUTURE, OPTION, PERPETUAL, SPOT, STAKED, Columns, columns, revalue
from marginseal.market.scenarios import ScenarioSet, scenario_grid
from marginseal.market.snapshot import Snapshot
from marginseal.market.universe import KINDS, Universe


def build_epoch(
    universe: Universe, snapshot: Snapshot, parameters: RiskParameters, scenarios: ScenarioSet | None = None
) -> RiskEpoch:
    """The epoch of one snapshot; `scenarios` defaults to the grid of the parameters.

    It expires after parameters.lifetime_s, or at the first expiry of an instrument if that is earlier.
    InputError, RangeError snapshot.*, parameters.*, scenarios.*, quantize.out-of-range, epoch.*."""
    snapshot.check(universe)
    parameters.check(universe)
    _check_quality(snapshot, parameters)
    underlyings = universe.underlyings
    if scenarios is None:
        scenarios = scenario_grid(parameters, underlyings)
    if scenarios.moves.shape[1] != len(underlyings):
        raise InputError("scenarios.shape", "the scenarios are not over the underlyings of this universe")
    c = columns(universe, snapshot)
    tick = parameters.tick
    gains = revalue(c, scenarios, parameters, underlyings)
    money = _money(c)
    long, short = _charges(c, money, universe, snapshot, parameters)
    value, pnl = round_ticks(money.value, tick), round_ticks(gains, tick)
    expiries = [i.expiry for i in universe.instruments if i.expiry is not None and i.id not in snapshot.settled]
    return RiskEpoch(
        universe_digest=universe.digest,
        snapshot_digest=snapshot.digest,
        parameters_digest=parameters.digest,
        name=snapshot.name,
        operator=parameters.operator,
        time=snapshot.time,
        expires=min([snapshot.time + parameters.lifetime_s, *expiries]),
        currency=universe.settlement,
        tick=tick,
        instrument_ids=universe.ids,
        underlyings=underlyings,
        scenario_labels=scenarios.labels,
        underlying_of=c.asset,
        value=value,
        notional=round_ticks(money.notional, tick),
        haircut_long=ceil_ticks(long, tick),
        haircut_short=ceil_ticks(short, tick),
        short_minimum=ceil_ticks(
            np.where(c.kind == OPTION, money.notional * parameters.short_minimum_permille / 1000.0, 0.0), tick
        ),
        delta=round_ticks(money.delta * 1e-2, tick),
        gamma=round_ticks(money.gamma * 1e-4, tick),
        vega=round_ticks(money.vega * 1e-2, tick),
        max_lots=np.array([i.max_lots for i in universe.instruments], dtype=np.int64),
        rounding_error=rounding_error(money.value + gains, value + pnl, tick, _largest(c, scenarios)),
        pnl=pnl,
        parameters=parameters.integers(),
    )


def _largest(c: Columns, scenarios: ScenarioSet) -> FloatArray:
    """The largest price of a lot that any scenario touches, (N,)."""
    price = np.maximum(c.price, c.index)
    price = np.where(c.kind == OPTION, np.maximum(price, c.strike), price)
    price = np.where(c.inverse & (c.kind != OPTION), np.maximum(c.index / c.price, 1.0), price)
    return np.where(c.live, c.lot * price * (1.0 + np.abs(scenarios.moves).max(initial=0.0)), 0.0)


def _check_quality(snapshot: Snapshot, parameters: RiskParameters) -> None:
    if snapshot.max_age_s > parameters.max_age_s:
        moments = [q.time for q in snapshot.quotes.values()] + [i.time for i in snapshot.index.values()]
        if snapshot.time - min(moments) > parameters.max_age_s:
            raise InputError("snapshot.stale", f"a quote is older than the parameters' {parameters.max_age_s} s")
    intervals = [(what, index.confidence) for what, index in snapshot.index.items()]
    intervals += [(what, quote.confidence) for what, quote in snapshot.quotes.items()]
    for what, confidence in intervals:
        if confidence > parameters.max_confidence:
            raise RangeError("snapshot.uncertain", f"{what}: its price interval is wider than the parameters accept")


@dataclass(frozen=True, eq=False)
class _Money:
    """Per lot, (N,), settlement currency: value, notional, what a price of one unit is worth (`unit`), dollar Greeks.

    delta S dV/dS   gamma S**2 d2V/dS2   vega dV/dsigma, with forwards moving in proportion to the index."""

    value: FloatArray
    notional: FloatArray
    unit: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray


def _money(c: Columns) -> _Money:
    held = np.isin(c.kind, (CASH, SPOT, STAKED))
    futures = np.isin(c.kind, (PERPETUAL, FUTURE))
    options = c.kind == OPTION
    coin = options & c.inverse
    # A price move of 1: the lot itself, in coin for a coin-quoted option, and N S0/F0**2 to first order when inverse.
    unit = np.where(coin, c.lot * c.index, c.lot)
    unit = np.where(futures & c.inverse, c.lot * c.index / (c.price * c.price), unit)
    value = np.where(futures, 0.0, unit * c.mark)
    notional = np.where(held, value, np.where(futures & c.inverse, c.lot, c.lot * c.index))
    delta = np.where(held & (c.kind != CASH), value, np.where(futures, unit * c.price, 0.0))
    gamma, vega = np.zeros_like(delta), np.zeros_like(delta)
    rows = np.flatnonzero(options & c.live)
    g = black76_greeks(c.price[rows], c.strike[rows], c.volatility[rows], c.years[rows], c.call[rows])
    scale = np.where(c.inverse[rows], c.lot[rows] * c.index[rows] / c.price[rows], c.lot[rows])
    delta[rows] = scale * (c.price[rows] * g.delta)
    gamma[rows] = scale * (c.price[rows] * c.price[rows] * g.gamma)
    vega[rows] = scale * g.vega
    live = c.live.astype(np.float64)
    return _Money(value * live, notional, unit, delta * live, gamma * live, vega * live)


def _charges(
    c: Columns, money: _Money, universe: Universe, snapshot: Snapshot, parameters: RiskParameters
) -> tuple[FloatArray, FloatArray]:
    kinds = [KINDS[k] for k in c.kind]
    charged = ["currency" if pegged else kind for kind, pegged in zip(kinds, c.pegged, strict=True)]
    long = np.array([parameters.charges[k].long_permille for k in charged]) * money.notional / 1000.0
    short = np.array([parameters.charges[k].short_permille for k in charged]) * money.notional / 1000.0
    cap = money.notional * parameters.spread_cap_permille / 1000.0
    below, above = _half_spreads(c, universe, snapshot)
    share = parameters.spread_permille / 1000.0
    # Selling a long position brings the bid; without a bid it costs the cap, but never more than an option is worth.
    sell = np.where(np.isnan(below), cap, np.minimum(below * money.unit * share, cap))
    sell = np.where(c.kind == OPTION, np.minimum(sell, money.value), sell)
    buy = np.where(np.isnan(above), cap, np.minimum(above * money.unit * share, cap))
    traded = c.live & (c.kind != CASH)
    long, short = long + np.where(traded, sell, 0.0), short + np.where(traded, buy, 0.0)
    exposure = np.maximum(np.abs(money.delta), money.value)
    interval = parameters.confidence_multiple * _confidence(universe, snapshot) * exposure
    gap = np.where(c.kind == OPTION, money.value - c.lot * c.option_model, 0.0)
    long, short = long + interval + np.maximum(gap, 0.0), short + interval + np.maximum(-gap, 0.0)
    claim = 2.0 * np.where(c.kind == OPTION, np.maximum(money.notional, c.lot * c.strike), money.notional)
    return np.where(c.live, long, claim), np.where(c.live, short, claim)


def _half_spreads(c: Columns, universe: Universe, snapshot: Snapshot) -> tuple[FloatArray, FloatArray]:
    """(mark - bid, ask - mark), at least 0, in the quote's own unit; NaN where the side is not quoted."""
    below, above = np.full(len(universe), np.nan), np.full(len(universe), np.nan)
    for row, i in enumerate(universe.instruments):
        quote = snapshot.quotes.get(i.id)
        if quote is not None and quote.bid is not None:
            below[row] = max(c.mark[row] - quote.bid, 0.0)
        if quote is not None and quote.ask is not None:
            above[row] = max(quote.ask - c.mark[row], 0.0)
    return below, above


def _confidence(universe: Universe, snapshot: Snapshot) -> FloatArray:
    """The relative price interval of each row: its own quote's plus its underlying's."""
    out = np.zeros(len(universe))
    for row, i in enumerate(universe.instruments):
        if i.underlying in snapshot.index:
            out[row] += snapshot.index[i.underlying].confidence
        if i.id in snapshot.quotes:
            out[row] += snapshot.quotes[i.id].confidence
    return out
