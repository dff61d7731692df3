"""Worst case over scenarios: resources cover the tier's multiple of the worst scenario loss (risk grids).

    P_s·q + m >= 0  for every s     κ R - f m >= 0     v·q - h⁺·q⁺ - h⁻·q⁻ - Σ g - R >= 0                         (1)

m and R are free.  The first line makes m at least the worst loss, and at least 0, as P_0 = 0; the second makes R at
least f m / κ, as f >= 0; larger ones only lower the third line.  So (1) has a solution exactly when
κ resources + f P_s·q >= 0 for every s.  Two variables instead of resources in every scenario keep the matrix that of
the epoch, unscaled and shared by both tiers.
"""

from __future__ import annotations

from circuits.choices import Largest
from circuits.expr import Expr, Net, each
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import (
    FACTORS,
    HAIRCUT_PAIRS,
    NULL_SCENARIO,
    cover,
    holdings,
    permille,
    resources,
    tier_factor,
)
from circuits.rules.rule import Context, Rule
from marginseal.records.statement import Kind, Tier


def worst_loss(model: Model, c: Context) -> tuple[Net, Expr, Expr]:
    """The first line of (1): holdings, resources, and m, at least the worst loss over the scenarios."""
    q = holdings(model, c)
    P = model.matrix("P", "s", c.epoch.pnl, "profit of one lot in scenario s, ticks")
    profit: Expr = P @ q
    room = resources(model, c, q)
    worst = max(0, -value_range(profit)[0])
    m = model.variable("m", "", 1, 0, worst, "at least the worst scenario loss, ticks", Largest(-profit))
    why = "m covers the loss in every scenario; in the null one m ≥ 0"
    model.nonneg("scenario", profit + each(m), "s", why, 2 * worst)
    model.quantity("scenario_profit", profit, "profit of the portfolio in each scenario, ticks")
    return q, room, each(m)


def worst_case_lines(model: Model, c: Context) -> Net:
    """The lines of (1); returns the holdings, for rules that add lines of their own."""
    q, room, m = worst_loss(model, c)
    f, kappa = tier_factor(model, c), permille(model)
    cover(model, room, f * m, kappa, "requirement: f/1000 of the worst scenario loss, ticks")
    return q


def _build(model: Model, c: Context) -> None:
    worst_case_lines(model, c)


RULE = Rule(
    name="worst_case",
    title="Worst case over scenarios",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="In every scenario, value after haircuts and the tier's multiple of the profit or loss covers all pledges.",
    conditions=(HAIRCUT_PAIRS, NULL_SCENARIO, FACTORS),
    build=_build,
)
