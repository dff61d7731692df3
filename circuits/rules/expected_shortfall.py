"""Expected shortfall over the scenarios: the mean of the k worst losses (Rockafellar and Uryasev, 2000).

    P_s·q + t + u_s >= 0  for s >= 1     T - k t - Σ u_s >= 0     κ k R - f T >= 0     resources - R >= 0           (1)

The sum of the k largest of the losses -P_s·q is the least value of k t + Σ max(0, -P_s·q - t) over t, attained at the
k-th largest loss, which is an integer.  Whatever integers t and u_s >= 0 are put there, k t + Σ u_s is at least that
sum, and T >= 0 at least its positive part; as f >= 0, choosing badly only hurts.  k = max(1, floor((S-1)(1-level))).
"""

from __future__ import annotations

from types import MappingProxyType

from circuits.choices import Largest, PositivePart
from circuits.expr import Expr, each, total
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, cover, holdings, permille, resources, tier_factor
from circuits.rules.rule import Context, Rule
from circuits.rules.tail import SCENARIOS, beyond, level_condition
from marginseal.records.statement import Kind, Tier


def _build(model: Model, c: Context) -> None:
    count = max(1, beyond(c, "es"))
    q = holdings(model, c)
    P = model.matrix("P", "s", c.epoch.pnl[1:], "profit of one lot in scenario s ≥ 1, ticks")
    profit: Expr = P @ q
    room = resources(model, c, q)
    k = model.coef("k", count, "scenarios in the tail")
    worst = -value_range(profit)[0]
    t = model.variable("t", "", 1, -worst, worst, "threshold, ticks", Largest(-profit, count, floored=False))
    excess = PositivePart(-(profit + each(t)))
    u = model.variable("u", "s", len(P.values), 0, 2 * worst, "loss beyond the threshold in scenario s, ticks", excess)
    tail = k * each(t) + total(u)
    T = model.variable(
        "T", "", 1, 0, count * worst, "at least the sum of the k worst losses, ticks", PositivePart(tail)
    )
    f, kappa = tier_factor(model, c), permille(model)
    unit = model.coef("κk", kappa.value * count, "κ times k", r"\kappa k")
    why = "threshold and excess cover the loss in every scenario"
    model.nonneg("scenario", profit + each(t) + each(u), "s", why, 2 * worst)
    model.nonneg("tail", each(T) - tail, "", "T is at least k times the expected shortfall", 2 * count * worst)
    cover(model, room, f * each(T), unit, "requirement: f/1000 of the expected shortfall, ticks")
    model.quantity("scenario_profit", profit, "profit of the portfolio in each scenario but the null one, ticks", 1)
    model.quantity("tail_loss", each(T), "sum of the k worst losses, not below 0, ticks")


RULE = Rule(
    name="expected_shortfall",
    title="Expected shortfall",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="Value after haircuts covers the pledges and the mean loss of the worst scenarios.",
    conditions=(HAIRCUT_PAIRS, FACTORS, SCENARIOS, level_condition("es")),
    build=_build,
    defaults=MappingProxyType({"level_permille": None}),
)
