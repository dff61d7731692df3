"""Seeded option chains in the columns of importer.py: for the example market, for tests and for trying a model.

A chain is made from an index, a forward curve and a smile in normalised moneyness x = ln(K/F) / (a sqrt t), clipped to
|x| <= 4, with the at-the-money volatility a(t) between a near and a far level:

    a(t) = far + (near - far) exp(-t / 0.15)        iv = a(t) (1 + skew x + curvature x**2)

Marks are Black-76 over the forward, in coin, to 8 places; bids and asks lie on a price tick around them, and a bid that
would not be positive is missing, as far out-of-the-money ones are.  Randomness is uniform and seeded, and every
function is reproducible (elementary.py): the same arguments give the same bytes everywhere.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marginseal.market import fields
from marginseal.market.elementary import exp, log
from marginseal.market.importer import CHAIN_COLUMNS, expiry_name
from marginseal.market.pricing import YEAR_S, black76, black76_greeks


@dataclass(frozen=True)
class MarketState:
    """One currency at one moment.

    index      USD                                  carry      forward = index exp(carry t), per year
    near, far  at-the-money volatility at t = 0 and far out       skew, curvature   of the smile, per unit of x
    half_spread   relative half-spread of an option's price       price_tick   coin, of bids and asks
    """

    index: float
    carry: float
    near: float
    far: float
    skew: float
    curvature: float
    half_spread: float = 0.02
    price_tick: float = 0.0001


def strikes_around(price: float, step: int, count: int) -> tuple[int, ...]:
    """`count` strikes at multiples of `step`, centred on the price."""
    middle = round(price / step)
    return tuple(step * (middle + k) for k in range(-(count // 2), count - count // 2))


def chain_rows(
    moment: int, currency: str, state: MarketState, listed: Sequence[tuple[int, Sequence[int]]], seed: int
) -> list[dict[str, str]]:
    """Calls and puts of every listed (expiry, strikes), as text by column of CHAIN_COLUMNS."""
    rng = np.random.default_rng(seed)
    out = []
    for expiry, strikes in listed:
        years = (expiry - moment) / YEAR_S
        forward = round(state.index * float(exp(state.carry * years)), 4)
        centre = state.far + (state.near - state.far) * float(exp(years / -0.15))
        for strike in strikes:
            x = float(np.clip(float(log(strike / forward)) / (centre * float(np.sqrt(years))), -4.0, 4.0))
            iv = round(max(centre * (1.0 + state.skew * x + state.curvature * x * x), 0.05), 4)
            for option_type in ("call", "put"):
                call = option_type == "call"
                greeks = black76_greeks(forward, strike, iv, years, call)
                mark = round(float(black76(forward, strike, iv, years, call)) / forward, 8)
                bid, ask = _book(mark, state, float(rng.random()))
                out.append(
                    {
                        "timestamp": fields.time_text(moment),
                        "currency": currency,
                        "instrument_name": f"{currency}-{expiry_name(expiry)}-{strike}-{option_type[0].upper()}",
                        "option_type": option_type,
                        "strike": f"{strike:.1f}",
                        "expiry_datetime": fields.time_text(expiry),
                        "time_to_maturity": f"{years:.8f}",
                        "underlying_name": f"{currency}-{expiry_name(expiry)}",
                        "underlying": f"{forward:.4f}",
                        "index_price": f"{state.index:.2f}",
                        "bid_price": bid,
                        "ask_price": ask,
                        "mark_price": f"{mark:.8f}",
                        "implied_volatility": f"{iv:.4f}",
                        "delta": f"{float(greeks.delta):.5f}",
                        "vega": f"{float(greeks.vega) * 0.01:.5f}",
                        "open_interest": f"{int(rng.integers(0, 4000)) / 10:.1f}",
                        "volume": f"{int(rng.integers(0, 400)) / 10:.1f}",
                    }
                )
    return out


def _book(mark: float, state: MarketState, luck: float) -> tuple[str, str]:
    tick = state.price_tick
    half = max(mark * state.half_spread * (0.5 + luck), tick)
    below, above = int((mark - half) / tick), int((mark + half) / tick) + 1
    return (f"{below * tick:.4f}" if below > 0 else ""), f"{above * tick:.4f}"


def chain_csv(rows: Sequence[dict[str, str]]) -> bytes:
    """The CSV file of chain rows."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CHAIN_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
