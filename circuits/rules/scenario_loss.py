"""A disclosure: no scenario loses more than a public requirement.

    P_s·q + requirement >= 0   for every s                                                                     (1)

Signed lots of at least 44 bits on one vector, slacks of at least 55 bits, no pledges, no free choice but the slacks.  A
portfolio that gains more than 2**55 ticks in some scenario is beyond the slack's width and cannot be shown.
"""

from __future__ import annotations

from circuits.expr import Expr, public
from circuits.model import Model
from circuits.rules.parts import NULL_SCENARIO
from circuits.rules.rule import Context, Rule
from marginseal.records.statement import Kind, Tier

LOT_BITS = 44
SLACK_BITS = 55


def _build(m: Model, c: Context) -> None:
    q = m.signed_holdings(2 ** (LOT_BITS - 1) - 1)
    P = m.matrix("P", "s", c.epoch.pnl, "profit of one lot in scenario s, ticks")
    profit: Expr = P @ q
    top = 2**SLACK_BITS - 1
    requirement = m.public_input("requirement", 0, top, "bound on the worst scenario loss, ticks")
    m.nonneg("scenario", profit + public(requirement), "s", "no scenario loses more than the requirement", high=top)
    m.quantity("scenario_profit", profit, "profit of the portfolio in each scenario, ticks")


RULE = Rule(
    name="scenario_loss",
    title="Bound on the worst scenario loss",
    kind=Kind.DISCLOSURE,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="The worst loss over all scenarios is at most a public requirement.",
    conditions=(NULL_SCENARIO,),
    build=_build,
)
