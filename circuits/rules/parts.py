"""Pieces that several rules share: the tier's factor, what an account is worth after haircuts and pledges, its cover.

    resources = v·q - h⁺·q⁺ - h⁻·q⁻ - Σ g        ticks

v is the mark value of one lot, h⁺ and h⁻ the charges on a lot held long and short.  Each pair h⁺ + h⁻ >= 0: otherwise
raising long and short together would make value out of nothing, since only their difference is bound.
"""

from __future__ import annotations

from circuits.choices import Quotient
from circuits.expr import Coef, Expr, Net, constant, each, total
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.rule import Condition, Context
from marginseal.records.statement import Tier

PERMILLE = 1000

HAIRCUT_PAIRS = Condition(
    "rule.haircut-pair",
    "haircut_long + haircut_short >= 0 for every instrument, else an empty position would have value",
    lambda c: int((c.epoch.haircut_long + c.epoch.haircut_short).min()) >= 0,
)

NULL_SCENARIO = Condition(
    "rule.null-scenario",
    "scenario 0 is the null scenario: profit 0 in every instrument",
    lambda c: not c.epoch.pnl[0].any(),
)

FACTORS = Condition(
    "rule.factors",
    "initial factor >= maintenance factor >= 0",
    lambda c: c.epoch.parameters["initial_factor_permille"] >= c.epoch.parameters["maintenance_factor_permille"] >= 0,
)


def tier_factor(m: Model, c: Context) -> Coef:
    """f, in permille: what the worst loss is multiplied with at this tier."""
    name = "initial" if c.tier == Tier.INITIAL else "maintenance"
    f = m.coef("f", c.epoch.parameters[f"{name}_factor_permille"], f"{name} factor, permille")
    m.quantity("factor_permille", constant(f), f.meaning)
    return f


def cover(m: Model, room: Expr, charge: Expr, unit: Coef, meaning: str) -> None:
    """resources >= charge / unit, by a requirement R in whole ticks:  unit R - charge >= 0,  resources - R >= 0.

    Resources are an integer, so the least R, ceil(charge / unit), decides exactly; a larger one only hurts.  R keeps
    the factors away from values and haircuts, whose coefficients would leave the exact range."""
    top = max(0, -(-value_range(charge)[1] // unit.value))
    R = m.variable("R", "", 1, 0, top, meaning, Quotient(charge, unit, up=True))
    m.nonneg("requirement", unit * each(R) - charge, "", "the requirement, rounded up to whole ticks", unit.value - 1)
    m.nonneg("health", room - each(R), "", "resources cover the requirement")
    m.quantity("requirement", each(R), meaning)


def permille(m: Model, power: int = 1) -> Coef:
    name, tex = ("κ", r"\kappa") if power == 1 else (f"κ{'⁰¹²³'[power]}", rf"\kappa^{power}")
    return m.coef(name, PERMILLE**power, f"{PERMILLE**power}: factors are in permille", tex)


def holdings(m: Model, c: Context) -> Net:
    return m.holdings(c.epoch.max_lots)


def resources(m: Model, c: Context, q: Net) -> Expr:
    """Value after haircuts, less everything pledged; adds the pledge vector to the model."""
    v = m.row("v", c.epoch.value, "mark value of one lot, ticks")
    long = m.row("h⁺", c.epoch.haircut_long, "haircut on one lot held long, ticks", "h^{+}")
    short = m.row("h⁻", c.epoch.haircut_short, "haircut on one lot held short, ticks", "h^{-}")
    equity = v @ q - long @ q.long - short @ q.short
    pledged = total(m.pledges())
    m.quantity("value", v @ q, "mark value, ticks")
    m.quantity("equity", equity, "mark value after haircuts, ticks")
    m.quantity("pledged", pledged, "sum of all pledges, ticks")
    return equity - pledged
