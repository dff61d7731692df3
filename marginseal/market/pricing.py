"""What a lot is worth: Black (1976) on the forward, and the payoffs of linear and inverse contracts.

All functions are vectorised over numpy arrays that broadcast, and use the bit-reproducible functions of elementary.py.
Prices are undiscounted (interest on premiums is ignored over the margin horizon, as the large crypto venues do); for an
inverse option that is exact: its premium is paid in coin, and the coin is the numeraire.

Symbols: F forward, K strike, s volatility per square-root year, t years to expiry (ACT/365), S index, N notional.
Source: F. Black, "The pricing of commodity contracts", Journal of Financial Economics 3 (1976).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from marginseal.market.elementary import FloatArray, exp, log, ndtr, normal_density

YEAR_S = 365 * 86_400
DAY_S = 86_400
MIN_SPREAD = 1e-12  # s sqrt t up to here counts as none: the value differs from intrinsic by less than 4e-13 F


@dataclass(frozen=True)
class Greeks:
    """Black-76 value and sensitivities for one unit, in the units of F; arrays of the broadcast shape.

    delta dV/dF    gamma d2V/dF2    vega dV/ds (per 1.00 of volatility)    theta dV/d(calendar time), per year, F held
    """

    value: FloatArray
    delta: FloatArray
    gamma: FloatArray
    vega: FloatArray
    theta: FloatArray


def black76(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    volatility: npt.ArrayLike,
    years: npt.ArrayLike,
    call: npt.ArrayLike,
) -> FloatArray:
    """V = w (F Phi(w d1) - K Phi(w d2)),  d1 = ln(F/K)/(s sqrt t) + s sqrt(t)/2,  d2 = d1 - s sqrt t.

    w = +1 for a call, -1 for a put.  F, K > 0, s, t >= 0, finite, and F / K within the normal range.  Where s sqrt t is
    at most MIN_SPREAD the value is exactly the intrinsic value max(w (F - K), 0); it is never below that."""
    f, k, _, w, d1, d2, _ = _setup(forward, strike, volatility, years, call)
    return _value(f, k, w, d1, d2)


def black76_greeks(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    volatility: npt.ArrayLike,
    years: npt.ArrayLike,
    call: npt.ArrayLike,
) -> Greeks:
    """Value, delta w Phi(w d1), gamma phi(d1)/(F s sqrt t), vega F phi(d1) sqrt t, theta -F phi(d1) s/(2 sqrt t).

    Limits where s sqrt t = 0: delta w 1{w (F - K) > 0}, w/2 at F = K; gamma, vega and theta 0."""
    f, k, sigma, w, d1, d2, root = _setup(forward, strike, volatility, years, call)
    density = np.where(np.isfinite(d1), normal_density(d1), 0.0)
    spread = sigma * root
    live = spread > MIN_SPREAD
    safe = np.where(live, spread, 1.0)
    safe_root = np.where(live, root, 1.0)
    density = np.where(live, density, 0.0)
    return Greeks(
        value=_value(f, k, w, d1, d2),
        delta=w * ndtr(w * d1),
        gamma=density / (f * safe),
        vega=f * density * root,
        theta=-(f * density * sigma) / (safe_root * 2.0),
    )


def _setup(
    forward: npt.ArrayLike,
    strike: npt.ArrayLike,
    volatility: npt.ArrayLike,
    years: npt.ArrayLike,
    call: npt.ArrayLike,
) -> tuple[FloatArray, ...]:
    f, k, sigma, t, c = np.broadcast_arrays(
        np.asarray(forward, dtype=np.float64),
        np.asarray(strike, dtype=np.float64),
        np.asarray(volatility, dtype=np.float64),
        np.asarray(years, dtype=np.float64),
        np.asarray(call, dtype=bool),
    )
    w = np.where(c, 1.0, -1.0)
    root = np.sqrt(t)
    spread = sigma * root
    moneyness = log(f / k)
    live = spread > MIN_SPREAD
    ratio = moneyness / np.where(live, spread, 1.0)
    # A vanishing spread puts d1 at plus or minus infinity, or at 0 for F = K: then Phi gives the intrinsic value.
    limit = np.where(f > k, np.inf, np.where(f < k, -np.inf, 0.0))
    d1 = np.where(live, ratio + spread * 0.5, limit)
    d2 = np.where(live, d1 - spread, limit)
    return f, k, sigma, w, d1, d2, root


def _value(f: FloatArray, k: FloatArray, w: FloatArray, d1: FloatArray, d2: FloatArray) -> FloatArray:
    raw = w * (f * ndtr(w * d1) - k * ndtr(w * d2))
    return np.maximum(raw, np.maximum(w * (f - k), 0.0))


def inverse_future_coin(price_before: npt.ArrayLike, price_after: npt.ArrayLike) -> FloatArray:
    """1/F0 - 1/F1: gain in coin of an inverse perpetual or future, per unit of notional held long."""
    return 1.0 / np.asarray(price_before, dtype=np.float64) - 1.0 / np.asarray(price_after, dtype=np.float64)


def inverse_future_gain(
    price_before: npt.ArrayLike, price_after: npt.ArrayLike, index_after: npt.ArrayLike
) -> FloatArray:
    """(1/F0 - 1/F1) S1: the same gain in the settlement currency, the coin sold at the shocked index S1."""
    return inverse_future_coin(price_before, price_after) * np.asarray(index_after, dtype=np.float64)


def inverse_option_price(forward: npt.ArrayLike, index: npt.ArrayLike, option_value: npt.ArrayLike) -> FloatArray:
    """(V/F) S: a coin-margined option is worth V(F, K)/F coins, each worth the index S.  V from `black76`."""
    coins = np.asarray(option_value, dtype=np.float64) / np.asarray(forward, dtype=np.float64)
    return coins * np.asarray(index, dtype=np.float64)


def term_structure(years: npt.ArrayLike, *, short_power: float, long_power: float) -> FloatArray:
    """(30 / max(d, 1))**p, d days to expiry, p = short_power up to 30 days, then long_power: near ones move more."""
    days = np.maximum(np.asarray(years, dtype=np.float64) * 365.0, 1.0)
    power = np.where(days <= 30.0, short_power, long_power)
    return exp(power * log(30.0 / days))


def shocked_volatility(
    volatility: FloatArray,
    direction: FloatArray,
    *,
    up: FloatArray,
    down: FloatArray,
    floor_up: FloatArray,
    term: FloatArray,
) -> FloatArray:
    """s (1 + v up c) for v > 0, at least floor_up;  s max(0, 1 + v down c) for v < 0;  s itself for v = 0.

    direction v in -1..1, up, down, floor_up >= 0, term c from `term_structure`; arrays that broadcast."""
    raised = np.maximum(volatility * (1.0 + direction * up * term), floor_up)
    lowered = volatility * np.maximum(0.0, 1.0 + direction * down * term)
    return np.where(direction > 0.0, raised, np.where(direction < 0.0, lowered, volatility))
