"""Margin rules written by hand in plain Python: what "the rule holds" means, independent of the modelling language.

All numbers are Python integers, lists are indexed [scenario][instrument] and [instrument]; q are signed lots.  The
formulas are those of docs/rules/, in their first form, before any variable is introduced.
"""

from __future__ import annotations

from collections.abc import Sequence

from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Tier

Lots = Sequence[int]


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(int(x) * int(y) for x, y in zip(a, b, strict=True))


def profits(epoch: RiskEpoch, q: Lots) -> list[int]:
    """P_s·q of every scenario, ticks."""
    return [dot(row, q) for row in epoch.pnl.tolist()]


def equity(epoch: RiskEpoch, q: Lots) -> int:
    """Mark value less the haircut of the side that each position is on, ticks."""
    longs, shorts = [max(0, x) for x in q], [max(0, -x) for x in q]
    charge = dot(epoch.haircut_long.tolist(), longs) + dot(epoch.haircut_short.tolist(), shorts)
    return dot(epoch.value.tolist(), q) - charge


def factor(epoch: RiskEpoch, tier: Tier) -> int:
    return epoch.parameters["initial_factor_permille" if tier == Tier.INITIAL else "maintenance_factor_permille"]


def worst_case(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """1000 (equity - sum of pledges) + f P_s·q >= 0 in every scenario."""
    resources = 1000 * (equity(epoch, q) - sum(pledges))
    return all(resources + factor(epoch, tier) * profit >= 0 for profit in profits(epoch, q))


def scenario_loss(epoch: RiskEpoch, q: Lots, requirement: int) -> bool:
    return all(profit + requirement >= 0 for profit in profits(epoch, q))
