"""Isolated margin, the baseline that savings are measured against: every instrument's own worst loss, nothing netted.

    m - w⁺·q⁺ - w⁻·q⁻ >= 0     κ R - f m >= 0     v·q - h⁺·q⁺ - h⁻·q⁻ - Σ g - R >= 0                               (1)

w⁺_i = max_s -P_s,i and w⁻_i = max_s P_s,i are the worst losses of one lot held long and short, >= 0 as P_0 = 0.  Lots
held long and short at once only raise the charge.  Haircuts, pledges and tiers are those of the worst case, so that the
difference is netting and nothing else; since a sum of maxima is at least the maximum of the sum, this rule implies it.
"""

from __future__ import annotations

from circuits.choices import PositivePart
from circuits.expr import each
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


def _build(model: Model, c: Context) -> None:
    q = holdings(model, c)
    room = resources(model, c, q)
    long = model.row("w⁺", -c.epoch.pnl.min(axis=0), "worst loss of one lot held long, ticks", "w^{+}")
    short = model.row("w⁻", c.epoch.pnl.max(axis=0), "worst loss of one lot held short, ticks", "w^{-}")
    worst = long @ q.long + short @ q.short
    top = value_range(worst)[1]
    m = model.variable("m", "", 1, 0, top, "at least the sum of worst losses, ticks", PositivePart(worst))
    f, kappa = tier_factor(model, c), permille(model)
    model.nonneg("instruments", each(m) - worst, "", "m covers every instrument's own worst loss", top)
    cover(model, room, f * each(m), kappa, "requirement: f/1000 of the sum of worst losses, ticks")


RULE = Rule(
    name="isolated",
    title="Isolated margin",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="Value after haircuts covers the pledges and every instrument's own worst loss; nothing is netted.",
    conditions=(HAIRCUT_PAIRS, NULL_SCENARIO, FACTORS),
    build=_build,
)
