"""Worst case over scenarios: resources cover the tier's multiple of the worst scenario loss (risk grids).

    P_s·q + m >= 0  for every s          κ (v·q - h⁺·q⁺ - h⁻·q⁻ - Σ g) - f m >= 0                              (1)

m is free.  The first line makes it at least the worst loss, and at least 0, as P_0 = 0; a larger m only lowers the
second line, as f >= 0.  So (1) has a solution exactly when  κ resources + f P_s·q >= 0  for every s.  One variable
instead of resources in every scenario keeps the matrix that of the epoch, unscaled and shared by both tiers.
"""

from __future__ import annotations

from circuits.choices import Largest
from circuits.expr import Expr, Net, each
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, NULL_SCENARIO, holdings, permille, resources, tier_factor
from circuits.rules.rule import Context, Rule
from marginseal.records.statement import Kind, Tier


def worst_case_lines(m: Model, c: Context) -> Net:
    """The lines of (1); returns the holdings, for rules that add lines of their own."""
    q = holdings(m, c)
    P = m.matrix("P", "s", c.epoch.pnl, "profit of one lot in scenario s, ticks")
    profit: Expr = P @ q
    room = resources(m, c, q)
    worst = max(0, -value_range(profit)[0])
    loss = m.variable("m", "", 1, 0, worst, "at least the worst scenario loss, ticks", Largest(-profit))
    f, kappa = tier_factor(m, c), permille(m)
    m.nonneg("scenario", profit + each(loss), "s", "m covers the loss in every scenario; in the null scenario m ≥ 0")
    m.nonneg("health", kappa * room - f * each(loss), "", "resources cover f/1000 of the worst loss")
    m.quantity("scenario_profit", profit, "profit of the portfolio in each scenario, ticks")
    m.quantity("requirement_permille", f * each(loss), "f times the worst loss, 1/1000 tick")
    return q


def _build(m: Model, c: Context) -> None:
    worst_case_lines(m, c)


RULE = Rule(
    name="worst_case",
    title="Worst case over scenarios",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="In every scenario, value after haircuts and the tier's multiple of the profit or loss covers all pledges.",
    conditions=(HAIRCUT_PAIRS, NULL_SCENARIO, FACTORS),
    build=_build,
)
