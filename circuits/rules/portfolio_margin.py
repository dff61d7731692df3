"""Portfolio margin: the worst case over scenarios, a floor on short options, add-ons for size, and rounding charged.

    P_s·q + m >= 0  for every s       κ A - ρ·(q⁺ + q⁻) >= 0       κ R - f m - w A >= 0       R + x - o·q⁻ >= 0
    e_k,i - q⁺_i - q⁻_i + T_k,i >= 0  for every i and k            resources - R - x - Σ_k c_k·e_k >= 0            (1)

The requirement is max(scan, floor) + add-ons, as SPAN has it.  R is the scan: f times the worst loss, and what rounding
to ticks may hide.  Writing a + b for the errors of value and profit of the book in one scenario, |a + b| <= A, and
|a| <= A from the null one, so |κ a + f b| = |f (a + b) + (κ - f) a| <= w A with w = max(κ, 2 f - κ): what the rule says
of integers holds of the amounts they were rounded from.  x lifts R to the floor o·q⁻, o the least charge on a short
lot.  e_k,i is the part of a position beyond T_k,i lots, each threshold with its own charge c_k,i on what is beyond it.
m, A, R, x and e are free; larger ones only hurt.
"""

from __future__ import annotations

from circuits.choices import PositivePart, Quotient
from circuits.expr import Expr, Net, each, entries
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import (
    FACTORS,
    HAIRCUT_PAIRS,
    NULL_SCENARIO,
    PERMILLE,
    permille,
    tier_factor,
)
from circuits.rules.rule import Condition, Context, Rule
from circuits.rules.worst_case import worst_loss
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier

_THRESHOLD, _RATE = "concentration_threshold_permille.", "concentration_rate_permille."


def concentrations(epoch: RiskEpoch) -> dict[str, tuple[int, int]]:
    """Tag -> (threshold, permille of max_lots; rate, permille of notional) of those with both, sorted by tag."""
    tags = sorted(name.removeprefix(_RATE) for name in epoch.parameters if name.startswith(_RATE))
    known = [tag for tag in tags if _THRESHOLD + tag in epoch.parameters]
    return {tag: (epoch.parameters[_THRESHOLD + tag], epoch.parameters[_RATE + tag]) for tag in known}


def _paired(epoch: RiskEpoch) -> bool:
    given = [value for name, value in epoch.parameters.items() if name.startswith((_THRESHOLD, _RATE))]
    return len(given) == 2 * len(concentrations(epoch)) and min(given, default=0) >= 0


CONCENTRATIONS = Condition(
    "rule.concentration",
    "each concentration threshold has a rate, and each rate a threshold, none below 0",
    lambda c: _paired(c.epoch),
)

CHARGES = Condition(
    "rule.charges",
    "short minimum, rounding error and notional of every instrument are at least 0",
    lambda c: min(int(a.min()) for a in (c.epoch.short_minimum, c.epoch.rounding_error, c.epoch.notional)) >= 0,
)


def _build(model: Model, c: Context) -> None:
    epoch = c.epoch
    q, room, m = worst_loss(model, c)
    f, kappa = tier_factor(model, c), permille(model)

    rho = model.row("ρ", epoch.rounding_error, "rounding of one lot's value and profit, 1/1000 tick", r"\rho")
    thousandths = rho @ q.long + rho @ q.short
    top = -(-value_range(thousandths)[1] // PERMILLE)
    A = model.variable(
        "A", "", 1, 0, top, "at least the rounding of the whole book, ticks", Quotient(thousandths, kappa, up=True)
    )
    model.nonneg("rounding", kappa * each(A) - thousandths, "", "A covers the rounding of every position", PERMILLE - 1)

    w = model.coef("w", max(PERMILLE, 2 * f.value - PERMILLE), "the larger of κ and 2 f - κ, permille")
    scan = f * m + w * each(A)
    meaning = "scan: f/1000 of the worst scenario loss, and the rounding, ticks"
    top = -(-value_range(scan)[1] // PERMILLE)
    R = model.variable("R", "", 1, 0, top, meaning, Quotient(scan, kappa, up=True))
    model.nonneg("scan", kappa * each(R) - scan, "", "the scan, rounded up to whole ticks", PERMILLE - 1)

    o = model.row("o", epoch.short_minimum, "least charge on one lot held short, ticks")
    floor = o @ q.short
    x = model.variable(
        "x",
        "",
        1,
        0,
        value_range(floor)[1],
        "what the floor asks beyond the scan, ticks",
        PositivePart(floor - each(R)),
    )
    model.nonneg("short minimum", each(R) + each(x) - floor, "", "the requirement is no less than the floor", top)

    charge = each(R) + each(x)
    for tag, (threshold, rate) in concentrations(epoch).items():
        charge = charge + _beyond(model, c, q, tag, threshold, rate)
    model.nonneg("health", room - charge, "", "resources cover the requirement")
    model.quantity("scan", each(R), meaning)
    model.quantity("short_minimum", floor, "least charge on what is held short, ticks")
    model.quantity("requirement", charge, "max(scan, floor) and the charges on size, ticks")


def _beyond(model: Model, c: Context, q: Net, tag: str, threshold: int, rate: int) -> Expr:
    """The charge on what each position has beyond a threshold, with the variables and the lines it needs."""
    epoch = c.epoch
    free = epoch.max_lots // PERMILLE * threshold + epoch.max_lots % PERMILLE * threshold // PERMILLE
    per_lot = -(-epoch.notional * rate // PERMILLE)
    share = f"{threshold}/1000 of the most lots"
    T = model.row(f"T{tag}", free, f"lots free of charge {tag}: {share}", f"T^{{({tag})}}")
    charge = model.row(f"c{tag}", per_lot, f"{rate}/1000 of the notional of one lot, ticks", f"c^{{({tag})}}")
    over = each(q.long) + each(q.short) - entries(T, "i")
    high = int((epoch.max_lots - free).max())
    e = model.variable(
        f"e{tag}",
        "i",
        epoch.instruments,
        0,
        high,
        f"lots of instrument i beyond {share}",
        PositivePart(over),
        f"e^{{({tag})}}",
    )
    model.nonneg(
        f"concentration {tag}",
        each(e) - over,
        "i",
        "e covers what a position has beyond its threshold",
        int(free.max()),
    )
    model.quantity(f"concentration.{tag}", charge @ e, "charge on size, ticks")
    return charge @ e


RULE = Rule(
    name="portfolio_margin",
    title="Portfolio margin",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary=(
        "Value after haircuts covers the pledges, the worst case over scenarios with a floor on short options, "
        "add-ons for concentration, and all rounding."
    ),
    conditions=(HAIRCUT_PAIRS, NULL_SCENARIO, FACTORS, CONCENTRATIONS, CHARGES),
    build=_build,
)
