"""Synthetic epochs of any size for benchmarks and tests: seeded integers of a realistic magnitude, no market.

For an epoch that means something, see build.py and the example market.
"""

from __future__ import annotations

import numpy as np

from marginseal.market.epoch import RiskEpoch, epoch_from_arrays


def synthetic_epoch(n_instruments: int, n_scenarios: int, seed: int = 0) -> RiskEpoch:
    """A seeded epoch with |P| < 2**27: the profit of a lot is delta * move + gamma * move**2 / 2 + noise, in ticks.

    Two underlyings (the first half of the instruments on the first), lots worth up to 2**27 ticks, haircuts of 0..2 %.
    The same arguments give the same bytes."""
    rng = np.random.default_rng(seed)
    n, s = n_instruments, n_scenarios
    notional = rng.integers(2**20, 2**27, n)
    share = rng.integers(-1000, 1001, n)  # delta as a share of notional, permille
    convexity = rng.integers(0, 1001, n)
    move = rng.integers(-300, 301, s)  # permille
    move[0] = 0
    delta, gamma = notional * share // 1000, notional * convexity // 1000
    pnl = np.empty((s, n), dtype=np.int64)
    for row in range(s):  # row by row: no temporary the size of the matrix
        pnl[row] = (delta * move[row]) // 1000 + (gamma * move[row] ** 2) // 2_000_000 + rng.integers(-4, 5, n)
    pnl[0] = 0
    return epoch_from_arrays(
        pnl,
        name=f"synthetic {s} x {n}, seed {seed}",
        underlyings=("BTC", "ETH"),
        underlying_of=np.arange(n, dtype=np.int64) * 2 // max(n, 1),
        value=notional // 10,
        notional=notional,
        haircut_long=notional * rng.integers(0, 21, n) // 1000,
        haircut_short=notional * rng.integers(0, 21, n) // 1000,
        short_minimum=notional // 200,
        delta=delta // 100,
        gamma=gamma // 10_000,
        vega=notional // 500,
        rounding_error=500,
        max_lots=2**24,
    )
