"""What an epoch says at a glance, for people: counts, times, digests, magnitudes and parameters."""

from __future__ import annotations

from typing import Any

import numpy as np

from marginseal.market import fields
from marginseal.market.epoch import RiskEpoch


def summary(epoch: RiskEpoch) -> dict[str, Any]:
    """Plain values under stable names; amounts in ticks, times in UTC, digests in hex.

    `largest_gain` and `largest_loss` name the lot and scenario of the extreme entries of P."""
    by_underlying = {"cash": int((epoch.underlying_of < 0).sum())}
    for k, underlying in enumerate(epoch.underlyings):
        by_underlying[underlying] = int((epoch.underlying_of == k).sum())
    return {
        "name": epoch.name,
        "operator": epoch.operator,
        "digest": epoch.digest.hex(),
        "universe_digest": epoch.universe_digest.hex(),
        "snapshot_digest": epoch.snapshot_digest.hex(),
        "parameters_digest": epoch.parameters_digest.hex(),
        "time": fields.time_text(epoch.time),
        "expires": fields.time_text(epoch.expires),
        "currency": epoch.currency,
        "tick": epoch.tick,
        "instruments": epoch.instruments,
        "scenarios": epoch.scenarios,
        "instruments_by_underlying": by_underlying,
        "largest_gain": _extreme(epoch, int(epoch.pnl.argmax())),
        "largest_loss": _extreme(epoch, int(epoch.pnl.argmin())),
        "largest_rounding_error_milliticks": int(epoch.rounding_error.max()),
        "matrix_mebibytes": round(epoch.pnl.nbytes / 2**20, 2),
        "parameters": dict(epoch.parameters),
    }


def _extreme(epoch: RiskEpoch, at: int) -> dict[str, Any]:
    scenario, row = (int(i) for i in np.unravel_index(at, epoch.pnl.shape))
    return {
        "ticks": int(epoch.pnl[scenario, row]),
        "instrument": epoch.instrument_ids[row],
        "scenario": epoch.scenario_labels[scenario],
    }
