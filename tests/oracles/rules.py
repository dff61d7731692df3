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


def isolated(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """1000 (equity - pledges) - f sum_i max_s -(P_s,i q_i) >= 0: every instrument's own worst loss."""
    rows = epoch.pnl.tolist()
    worst = sum(max(-row[i] * x for row in rows) for i, x in enumerate(q))
    return 1000 * (equity(epoch, q) - sum(pledges)) - factor(epoch, tier) * worst >= 0


def portfolio_margin(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """equity - pledges >= max(ceil((f worst + w A) / 1000), sum of short minima) + charges on size."""
    f, sizes, p = factor(epoch, tier), [abs(x) for x in q], epoch.parameters
    rounding = -(-dot(epoch.rounding_error.tolist(), sizes) // 1000)
    worst = max(0, *(-profit for profit in profits(epoch, q)))
    scan = -(-(f * worst + max(1000, 2 * f - 1000) * rounding) // 1000)
    floor = dot(epoch.short_minimum.tolist(), [max(0, -x) for x in q])
    on_size = 0
    for tag in [key.split(".")[1] for key in p if key.startswith("concentration_rate_permille.")]:
        threshold, rate = p[f"concentration_threshold_permille.{tag}"], p[f"concentration_rate_permille.{tag}"]
        for size, most, notional in zip(sizes, epoch.max_lots.tolist(), epoch.notional.tolist(), strict=True):
            on_size += max(0, size - threshold * most // 1000) * -(-rate * notional // 1000)
    return equity(epoch, q) - sum(pledges) >= max(scan, floor) + on_size


def product_offsets(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """10^6 (equity - pledges) >= f times the largest, over the scenarios, of what the groups lose less what offsets."""
    worst = 0
    for row in epoch.pnl.tolist():
        by_group: dict[int, int] = {}
        for u, p, x in zip(epoch.underlying_of.tolist(), row, q, strict=True):
            by_group[u] = by_group.get(u, 0) + p * x
        offset = epoch.parameters["offset_permille"]
        worst = max(worst, -sum(1000 * x if x < 0 else offset * x for x in by_group.values()))
    return 10**6 * (equity(epoch, q) - sum(pledges)) >= factor(epoch, tier) * worst


def within_limits(epoch: RiskEpoch, q: Lots) -> bool:
    """Every limit above zero of the parameters, on the net Greek of its underlying, or of all."""
    for key, limit in epoch.parameters.items():
        name, _, underlying = key.partition(".")
        greek = {"delta_limit": epoch.delta, "gamma_limit": epoch.gamma, "vega_limit": epoch.vega}.get(name)
        if greek is None or limit == 0:
            continue
        held = [not underlying or (u >= 0 and epoch.underlyings[u] == underlying) for u in epoch.underlying_of.tolist()]
        net = sum(g * x for g, x, counts in zip(greek.tolist(), q, held, strict=True) if counts)
        if abs(net) > limit:
            return False
    return True


def worst_case_limits(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    return worst_case(epoch, tier, q, pledges) and within_limits(epoch, q)


def sorted_losses(epoch: RiskEpoch, q: Lots) -> list[int]:
    """Losses of the scenarios but the null one, the worst first."""
    return sorted((-profit for profit in profits(epoch, q)[1:]), reverse=True)


def expected_shortfall(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """1000 k (equity - pledges) >= f max(0, sum of the k worst losses)."""
    k = max(1, (epoch.scenarios - 1) * (1000 - epoch.parameters["es_level_permille"]) // 1000)
    tail = max(0, sum(sorted_losses(epoch, q)[:k]))
    return 1000 * k * (equity(epoch, q) - sum(pledges)) - factor(epoch, tier) * tail >= 0


def value_at_risk(epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int]) -> bool:
    """1000 (equity - pledges) >= f max(0, the (K+1)-th largest loss)."""
    K = (epoch.scenarios - 1) * (1000 - epoch.parameters["var_level_permille"]) // 1000
    var = max(0, sorted_losses(epoch, q)[K])
    return 1000 * (equity(epoch, q) - sum(pledges)) - factor(epoch, tier) * var >= 0


def parametric(
    epoch: RiskEpoch, tier: Tier, q: Lots, pledges: Sequence[int], multiplier: int = 2326, scale: int = 1000
) -> bool:
    """10^9 (equity - pledges) >= f z c (K + e), K and e the least integers with K^2 >= sum w u^2, e^2 >= sum w, and
    u_j = floor(sum_i loading_j,u(i) delta_i q_i / c)."""
    names = sorted({key.split(".")[1] for key in epoch.parameters if key.startswith("factor_loading.")})
    form = weights = 0
    for name in names:
        weight = epoch.parameters.get(f"factor_weight.{name}", 1)
        move = 0
        for u, delta, x in zip(epoch.underlying_of.tolist(), epoch.delta.tolist(), q, strict=True):
            if u >= 0:
                move += epoch.parameters.get(f"factor_loading.{name}.{epoch.underlyings[u]}", 0) * delta * x
        form += weight * (move // scale) ** 2
        weights += weight

    def root_up(x: int) -> int:
        k = 0
        while k * k < x:
            k += 1
        return k

    charge = factor(epoch, tier) * multiplier * scale * (root_up(form) + root_up(weights))
    return 10**9 * (equity(epoch, q) - sum(pledges)) - charge >= 0


def net_band(epoch: RiskEpoch, q: Lots, inputs: tuple[int, int], measure: str = "delta", underlying: str = "") -> bool:
    net = 0
    for u, a, x in zip(epoch.underlying_of.tolist(), getattr(epoch, measure).tolist(), q, strict=True):
        if not underlying or (u >= 0 and epoch.underlyings[u] == underlying):
            net += a * x
    return inputs[0] <= net <= inputs[1]
