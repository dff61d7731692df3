"""Full revaluation: what one lot of every instrument gains in every scenario, in the settlement currency, as floats.

    cash             0; in another currency -lot S0 stable
    spot             lot P0 m
    staked           lot (P0 (1 + m)(1 - staked) - P0),  P0 = min(market price, redemption rate x index)
    linear           lot (F1 - F0)            perpetuals and futures, lot in units
    inverse          lot (1/F0 - 1/F1) S1     perpetuals and futures, lot in notional
    option, linear   lot (V(F1, s1, t1) - V(F0, s0, t0))
    option, inverse  lot (V(F1, s1, t1)/F1 S1 - V(F0, s0, t0)/F0 S0)

m the index move, S1 = S0 (1 + m), F1 = F0 (1 + m) exp(basis t1) for dated contracts and F0 (1 + m) for the rest,
s1 the shocked volatility, t1 = max(t0 - days, 0); each result is multiplied by the scenario's weight.  The forward of
an expiry is held while time passes.  An option is compared with its own model value, not its mark, so that the null
scenario is exactly zero; build.py charges the difference.  Rounding is left to quantize.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marginseal.market.elementary import FloatArray, exp
from marginseal.market.parameters import RiskParameters
from marginseal.market.pricing import (
    YEAR_S,
    black76,
    inverse_future_gain,
    inverse_option_price,
    shocked_volatility,
    term_structure,
)
from marginseal.market.scenarios import ScenarioSet
from marginseal.market.snapshot import Snapshot
from marginseal.market.universe import KINDS, Universe

_BLOCK = 2**18  # scenario-instrument pairs priced at a time
CASH, SPOT, STAKED, PERPETUAL, FUTURE, OPTION = range(len(KINDS))


@dataclass(frozen=True, eq=False)
class Columns:
    """A universe and its snapshot as arrays of shape (N,), row by row.

    kind     index into KINDS                    inverse   whether the contract is
    live     false for settled rows, which are worth nothing
    pegged   cash in another currency than the settlement currency
    asset    index into universe.underlyings, -1 for cash        lot   as in the universe
    mark     as quoted; staked: the lower of market and redemption; cash: 1 or the currency's price
    index    price of the underlying; cash: as mark
    price    P0 or F0: the mark, and for options the forward of their expiry
    strike, volatility, call   of options, else 1, 0, false
    years    to expiry, ACT/365, else 0
    """

    kind: npt.NDArray[np.int64]
    inverse: npt.NDArray[np.bool_]
    live: npt.NDArray[np.bool_]
    pegged: npt.NDArray[np.bool_]
    asset: npt.NDArray[np.int64]
    lot: FloatArray
    mark: FloatArray
    index: FloatArray
    price: FloatArray
    strike: FloatArray
    volatility: FloatArray
    call: npt.NDArray[np.bool_]
    years: FloatArray

    @property
    def option_model(self) -> FloatArray:
        """Model value of one unit in the settlement currency, (N,), 0 where there is no live option."""
        out = np.zeros(len(self.lot))
        rows = np.flatnonzero((self.kind == OPTION) & self.live)
        f, s = self.price[rows], self.index[rows]
        value = black76(f, self.strike[rows], self.volatility[rows], self.years[rows], self.call[rows])
        out[rows] = np.where(self.inverse[rows], inverse_option_price(f, s, value), value)
        return out


def columns(universe: Universe, snapshot: Snapshot) -> Columns:
    """The arrays behind a checked pair; `Snapshot.check` comes first."""
    n = len(universe)
    out = {what: np.zeros(n) for what in ("mark", "index", "volatility", "years")}
    price, strike = np.ones(n), np.ones(n)
    live = np.ones(n, dtype=bool)
    call = np.zeros(n, dtype=bool)
    assets = {asset: k for k, asset in enumerate(universe.underlyings)}
    for row, i in enumerate(universe.instruments):
        index = 1.0 if i.underlying == universe.settlement else snapshot.index[i.underlying].price
        out["index"][row] = index
        strike[row] = 1.0 if i.strike is None else float(i.strike)
        call[row] = i.option_type == "call"
        if i.kind == "cash":
            out["mark"][row] = price[row] = index
            continue
        if i.id in snapshot.settled:
            live[row] = False
            continue
        quote = snapshot.quotes[i.id]
        mark = quote.mark if quote.redemption_rate is None else min(quote.mark, quote.redemption_rate * index)
        out["mark"][row] = price[row] = mark
        if i.expiry is not None:
            out["years"][row] = (i.expiry - snapshot.time) / YEAR_S
            if i.kind == "option":
                price[row] = snapshot.forwards[i.underlying][i.expiry]
                out["volatility"][row] = quote.iv
    return Columns(
        kind=np.array([KINDS.index(i.kind) for i in universe.instruments], dtype=np.int64),
        inverse=np.array([i.contract == "inverse" for i in universe.instruments]),
        live=live,
        pegged=np.array([i.kind == "cash" and i.underlying != universe.settlement for i in universe.instruments]),
        asset=np.array([assets.get(i.underlying, -1) for i in universe.instruments], dtype=np.int64),
        lot=np.array([float(i.lot) for i in universe.instruments]),
        price=price,
        strike=strike,
        call=call,
        **out,
    )


def revalue(c: Columns, scenarios: ScenarioSet, parameters: RiskParameters, underlyings: tuple[str, ...]) -> FloatArray:
    """Gain of one long lot, (S, N), in the settlement currency.  `underlyings` orders the scenarios' columns."""
    gains = np.zeros((len(scenarios), len(c.lot)))
    pegged = np.flatnonzero(c.pegged)
    gains[:, pegged] = -(c.lot[pegged] * c.index[pegged]) * scenarios.stable[:, None]
    for kind in (SPOT, STAKED, PERPETUAL, FUTURE, OPTION):
        for inverse in (False, True):
            rows = np.flatnonzero(c.live & (c.kind == kind) & (c.inverse == inverse))
            step = max(1, _BLOCK // max(rows.size, 1))
            for start in range(0, len(scenarios) if rows.size else 0, step):
                some = slice(start, start + step)
                shock = _Shock.of(c, rows, scenarios, some)
                gain = (
                    _option_gain(c, rows, shock, parameters, underlyings) if kind == OPTION else _gain(c, rows, shock)
                )
                gains[some, rows] = c.lot[rows] * gain
    gains *= scenarios.weight[:, None]
    return gains


@dataclass(frozen=True, eq=False)
class _Shock:
    """Some scenarios seen by some rows, (s, n): index factor 1 + m, factor of the price, volatility, years left."""

    index: FloatArray
    price: FloatArray
    vol: FloatArray
    years: FloatArray

    @classmethod
    def of(cls, c: Columns, rows: npt.NDArray[np.int64], scenarios: ScenarioSet, some: slice) -> _Shock:
        asset = c.asset[rows]
        index = 1.0 + scenarios.moves[some][:, asset]
        years = np.maximum(c.years[rows] - scenarios.days[some, None] / 365.0, 0.0)
        price = index
        if c.kind[rows[0]] in (FUTURE, OPTION):
            price = index * exp(scenarios.basis[some, None] * years)
        elif c.kind[rows[0]] == STAKED:
            price = index * (1.0 - scenarios.staked[some, None])
        return cls(index=index, price=price, vol=scenarios.vol[some][:, asset], years=years)


def _gain(c: Columns, rows: npt.NDArray[np.int64], shock: _Shock) -> FloatArray:
    before, after = c.price[rows], c.price[rows] * shock.price
    if c.inverse[rows[0]]:
        return inverse_future_gain(before, after, c.index[rows] * shock.index)
    return after - before


def _option_gain(
    c: Columns,
    rows: npt.NDArray[np.int64],
    shock: _Shock,
    parameters: RiskParameters,
    underlyings: tuple[str, ...],
) -> FloatArray:
    scans = [parameters.underlyings[u] for u in underlyings]
    asset, years = c.asset[rows], c.years[rows]
    volatility = shocked_volatility(
        c.volatility[rows],
        shock.vol,
        up=np.array([scan.vol_up for scan in scans])[asset],
        down=np.array([scan.vol_down for scan in scans])[asset],
        floor_up=np.array([scan.min_vol_up for scan in scans])[asset],
        term=term_structure(years, short_power=parameters.grid.short_power, long_power=parameters.grid.long_power),
    )
    before, after = c.price[rows], c.price[rows] * shock.price
    strike, call = c.strike[rows], c.call[rows]
    value_before = black76(before, strike, c.volatility[rows], years, call)
    value_after = black76(after, strike, volatility, shock.years, call)
    if c.inverse[rows[0]]:
        value_before = inverse_option_price(before, c.index[rows], value_before)
        value_after = inverse_option_price(after, c.index[rows] * shock.index, value_after)
    return value_after - value_before
