"""Worst case with limited netting between underlyings: a gain in one pays for a loss in another at a share alone.

    Pᵘ_s·q + l_u,s - z_u,s = 0  for every u and s >= 1     M + Σ_u (φ z_u,s - κ l_u,s) >= 0  for every s >= 1
    κ² R - f M >= 0     resources - R >= 0                                                                         (1)

Pᵘ are the columns of underlying u, with one more group for what has no underlying.  z and l, both >= 0, are its gain
and its loss in scenario s; φ <= κ is the share of a gain that counts, in permille; M is in 1/1000 tick.  As z - l is
the profit, one tick more of l is one more of z, and φ z - κ l falls by κ - φ: choosing badly only hurts.  With φ = κ
the rule is the worst case; with φ = 0 the losses of all underlyings in one scenario add up.
"""

from __future__ import annotations

from circuits.choices import Largest, PositivePart
from circuits.expr import Expr, each
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, PERMILLE, cover, holdings, permille, resources, tier_factor
from circuits.rules.rule import Condition, Context, Rule
from circuits.rules.tail import SCENARIOS
from marginseal.market.epoch import RiskEpoch
from marginseal.market.epoch_bounds import MAX_CELLS
from marginseal.records.statement import Kind, Tier

_NONE = "no underlying"  # with a space: no symbol of an underlying

OFFSET = Condition(
    "rule.offset",
    "the epoch has an offset_permille of 0..1000",
    lambda c: 0 <= c.epoch.parameters.get("offset_permille", -1) <= PERMILLE,
)


def _groups(epoch: RiskEpoch) -> dict[str, int]:
    """Name -> index of every underlying that has an instrument; -1 for those without one, if they gain or lose."""
    groups = {name: u for u, name in enumerate(epoch.underlyings) if (epoch.underlying_of == u).any()}
    if not groups or epoch.pnl[:, epoch.underlying_of == -1].any():
        groups[_NONE] = -1
    return groups


SIZE = Condition(
    "rule.size",
    "underlyings x scenarios x instruments are at most the cells an epoch may have: each underlying takes a matrix",
    lambda c: len(_groups(c.epoch)) * c.epoch.pnl.size <= MAX_CELLS,
)


def _build(model: Model, c: Context) -> None:
    q = holdings(model, c)
    room = resources(model, c, q)
    f, kappa = tier_factor(model, c), permille(model)
    phi = model.coef("φ", c.epoch.parameters["offset_permille"], "share of a gain that counts, permille", r"\varphi")
    counted: list[Expr] = []
    most = 0
    for group, underlying in _groups(c.epoch).items():
        columns = c.epoch.pnl_of(underlying)[1:]
        tex = rf"{{\text{{{group}}}}}"
        what = f"profit of one lot of {group} in scenario s ≥ 1, ticks"
        profit: Expr = model.matrix(f"P({group})", "s", columns, what, f"P^{tex}") @ q
        low, high = value_range(profit)
        z, l_ = (
            model.variable(
                f"{symbol}({group})", "s", len(columns), 0, top, meaning, PositivePart(part), f"{symbol}^{tex}"
            )
            for symbol, top, meaning, part in (
                ("z", high, f"at least the gain in {group} in scenario s, ticks", profit),
                ("l", -low, f"at least the loss in {group} in scenario s, ticks", -profit),
            )
        )
        model.equal(f"{group}", profit + each(l_) - each(z), "s", f"gain and loss in {group}, in every scenario")
        counted.append(phi * each(z) - kappa * each(l_))
        most += PERMILLE * -low
    netted = counted[0]
    for part in counted[1:]:
        netted = netted + part
    meaning = "at least the worst loss after offsets, 1/1000 tick"
    M = model.variable("M", "", 1, 0, most, meaning, Largest(-netted))
    model.nonneg("scenario", each(M) + netted, "s", "M covers what is lost after offsets in every scenario")
    cover(model, room, f * each(M), permille(model, 2), "requirement: f/1000 of the worst loss after offsets, ticks")


RULE = Rule(
    name="product_offsets",
    title="Worst case with product offsets",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="The worst case over scenarios, where a gain in one underlying pays only in part for a loss in another.",
    conditions=(HAIRCUT_PAIRS, FACTORS, SCENARIOS, OFFSET, SIZE),
    build=_build,
)
