"""Value at risk over the scenarios, exactly: an order statistic, by one hidden 0/1 variable a scenario.

    P_s·q + m + M b_s >= 0  for s >= 1     Σ b_s <= K     κ R - f m >= 0     resources - R >= 0                     (1)

b_s is 0 or 1 and says that scenario s may lie beyond m; at most K = floor((S-1)(1-level)) do.  So m >= 0 is at least
the (K+1)-th largest loss, whichever scenarios are marked; as f >= 0, choosing badly only hurts.  M is the largest loss
that holdings within their bounds can have: beyond it a marked scenario would still bind, which refuses and never lets
through.
"""

from __future__ import annotations

from types import MappingProxyType

from circuits.choices import Largest, Marked
from circuits.expr import Expr, each, total
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, cover, holdings, permille, resources, tier_factor
from circuits.rules.rule import Context, Rule
from circuits.rules.tail import SCENARIOS, beyond, level_condition
from marginseal.records.statement import Kind, Tier


def _build(model: Model, c: Context) -> None:
    count = beyond(c, "var")
    q = holdings(model, c)
    P = model.matrix("P", "s", c.epoch.pnl[1:], "profit of one lot in scenario s ≥ 1, ticks")
    profit: Expr = P @ q
    room = resources(model, c, q)
    K = model.coef("K", count, "scenarios that may lie beyond the value at risk")
    worst = max(1, -value_range(profit)[0])
    m = model.variable("m", "", 1, 0, worst, "at least the value at risk, ticks", Largest(-profit, count + 1))
    marks = Marked(-(profit + each(m)), count)
    b = model.binary("b", "s", len(P.values), "1 where scenario s may lie beyond m", marks)
    M = model.coef("M", worst, "largest loss of holdings within their bounds, ticks")
    beyond_m = model.multiple(b, M)
    f, kappa = tier_factor(model, c), permille(model)
    why = "m covers the loss in every scenario that is not marked"
    # Marked scenarios have profit + m < 0, and M is rounded up to less than twice itself: 2 M is room for both kinds.
    model.nonneg("scenario", profit + each(m) + beyond_m, "s", why, 2 * worst)
    model.nonneg("marked", K - total(b), "", "at most K scenarios are marked", count)
    cover(model, room, f * each(m), kappa, "requirement: f/1000 of the value at risk, ticks")
    model.quantity("scenario_profit", profit, "profit of the portfolio in each scenario but the null one, ticks", 1)


RULE = Rule(
    name="value_at_risk",
    title="Value at risk",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="Value after haircuts covers the pledges and the loss that only a few scenarios exceed.",
    conditions=(HAIRCUT_PAIRS, FACTORS, SCENARIOS, level_condition("var")),
    build=_build,
    defaults=MappingProxyType({"level_permille": None}),
)
