"""A market small enough to follow by hand: what rules are printed for, and the worked examples of docs/rules.

Five instruments (cash, bitcoin spot, perpetual and call, an ether perpetual), five scenarios besides the null one; one
tick is one dollar.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from marginseal.market.epoch import RiskEpoch, epoch_from_arrays

PARAMETERS = {
    "initial_factor_permille": 1200,
    "maintenance_factor_permille": 1000,
    "delta_limit.BTC": 40,
    "gamma_limit": 5,
    "vega_limit": 30,
    "concentration_threshold_permille.1": 40,
    "concentration_rate_permille.1": 10,
    "offset_permille": 800,
    "es_level_permille": 600,
    "var_level_permille": 800,
    "factor_loading.alt.ETH": 2000,
    "factor_loading.market.BTC": 3000,
    "factor_loading.market.ETH": 4000,
}


@cache
def example_epoch() -> RiskEpoch:
    """USD, BTC, BTC-PERP, BTC-CALL, ETH-PERP; prices in dollars of a lot."""
    pnl = [
        [0, 0, 0, 0, 0],
        [0, -100, -100, -35, -20],
        [0, 100, 100, 70, 20],
        [0, -200, -200, -52, -30],
        [0, 200, 200, 150, 30],
        [0, 0, 0, 20, 0],
    ]
    return epoch_from_arrays(
        np.array(pnl),
        name="example",
        instrument_ids=("USD", "BTC", "BTC-PERP", "BTC-CALL", "ETH-PERP"),
        scenario_labels=("null", "down 10 %", "up 10 %", "down 20 %", "up 20 %", "volatility up"),
        underlyings=("BTC", "ETH"),
        underlying_of=np.array([-1, 0, 0, 0, 1]),
        value=np.array([1, 1000, 0, 60, 0]),
        notional=np.array([1, 1000, 1000, 1000, 200]),
        haircut_long=np.array([0, 20, 5, 0, 1]),
        haircut_short=np.array([0, 20, 5, 3, 1]),
        short_minimum=np.array([0, 0, 0, 40, 0]),
        delta=np.array([0, 10, 10, 5, 2]),
        gamma=np.array([0, 0, 0, 1, 0]),
        vega=np.array([0, 0, 0, 4, 0]),
        max_lots=np.array([100_000, 50, 50, 50, 50]),
        rounding_error=np.array([0, 500, 500, 900, 400]),
        tick="1",
        parameters=PARAMETERS,
    )
