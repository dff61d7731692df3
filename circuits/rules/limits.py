"""Limits on net delta, gamma and vega, per underlying and in total; the worst case with them.

    -L <= sum_{i of u} greek_i q_i <= L      for every limit L > 0 of the epoch                                    (1)

A limit is an epoch parameter: `delta_limit.BTC` for one underlying, `delta_limit` over all of them; 0 is no limit.
Nothing is free but the slacks, and both tiers have the same limits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from circuits.expr import Text, Variables, text
from circuits.model import Model
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, NULL_SCENARIO
from circuits.rules.rule import Condition, Context, Rule
from circuits.rules.worst_case import worst_case_lines
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier

GREEKS: Mapping[str, Text] = {
    "delta": text("δ", r"\delta"),
    "gamma": text("γ", r"\gamma"),
    "vega": text("ν", r"\nu"),
}


def limits_of(epoch: RiskEpoch) -> list[tuple[str, str, int]]:
    """(greek, underlying or "" for all, limit) for every limit among the epoch's parameters, sorted."""
    out = []
    for key, value in sorted(epoch.parameters.items()):
        base, _, index = key.partition(".")
        greek = base.removesuffix("_limit")
        if base.endswith("_limit") and greek in GREEKS:
            out.append((greek, index, value))
    return out


LIMITS_KNOWN = Condition(
    "rule.limit",
    "every limit is at least 0 and names an underlying of the epoch, or none",
    lambda c: all(v >= 0 and (not u or u in c.epoch.underlyings) for _, u, v in limits_of(c.epoch)),
)

SOME_LIMIT = Condition(
    "rule.no-limit",
    "the epoch has a delta, gamma or vega limit above 0",
    lambda c: any(value > 0 for _, _, value in limits_of(c.epoch)),
)


def limit_lines(m: Model, c: Context, q: Variables) -> None:
    """Two slack rows for every limit above zero: (1)."""
    for greek, underlying, value in limits_of(c.epoch):
        if not value:
            continue
        per_lot = getattr(c.epoch, greek)
        where = "all underlyings"
        if underlying:
            where = underlying
            per_lot = np.where(c.epoch.underlying_of == c.epoch.underlyings.index(underlying), per_lot, 0)
        name, tag = GREEKS[greek], underlying or "all"
        row = m.row(f"{name.plain}_{tag}", per_lot, f"{greek} of one lot of {where}", f"{name.tex}_{{{tag}}}")
        limit = m.coef(f"L_{name.plain},{tag}", value, f"{greek} limit, {where}", f"L_{{{name.tex},{tag}}}")
        m.within(f"{greek} limit, {where}", row @ q, limit, f"net {greek} of {where} within its limit on either side")
        m.quantity(f"{greek}.{tag}", row @ q, f"net {greek} of {where}")


def _build(m: Model, c: Context) -> None:
    limit_lines(m, c, worst_case_lines(m, c))


RULE = Rule(
    name="worst_case_limits",
    title="Worst case over scenarios, within Greek limits",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="The worst case over scenarios, and net delta, gamma and vega within the limits of the epoch.",
    conditions=(HAIRCUT_PAIRS, NULL_SCENARIO, FACTORS, LIMITS_KNOWN, SOME_LIMIT),
    build=_build,
)
