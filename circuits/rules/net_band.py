"""A disclosure: one net figure of the portfolio lies in a public band; low = high discloses the figure itself.

    low <= sum_{i of u} a_i q_i <= high                                                                             (1)

a is the delta, gamma or vega of one lot, its mark value, or its exposure at the index price, in ticks; u is one
underlying or all of them.  Signed lots on one vector, no pledges, nothing free but the slacks.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from circuits.expr import Text, public, text
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.limits import GREEKS
from circuits.rules.rule import Condition, Context, Rule
from marginseal.records.statement import INPUT_BOUND, Kind, Tier

MEASURES: Mapping[str, Text] = {**GREEKS, "value": text("v"), "notional": text("x")}

KNOWN_MEASURE = Condition(
    "rule.measure",
    f"measure is one of {', '.join(MEASURES)}",
    lambda c: isinstance(c.parameters["measure"], str) and c.parameters["measure"] in MEASURES,
)

KNOWN_UNDERLYING = Condition(
    "rule.underlying",
    'underlying is one of the epoch\'s, or "" for all instruments',
    lambda c: c.parameters["underlying"] == "" or c.parameters["underlying"] in c.epoch.underlyings,
)


def _build(m: Model, c: Context) -> None:
    measure, underlying = c.parameters["measure"], c.parameters["underlying"]
    q = m.signed_holdings(int(c.epoch.max_lots.max()), c.epoch.max_lots)
    per_lot = getattr(c.epoch, measure)
    where = underlying or "all instruments"
    if underlying:
        per_lot = np.where(c.epoch.underlying_of == c.epoch.underlyings.index(underlying), per_lot, 0)
    name, tag = MEASURES[measure], underlying or "all"
    row = m.row(f"{name.plain}_{tag}", per_lot, f"{measure} of one lot of {where}", f"{name.tex}_{{{tag}}}")
    net = row @ q
    top = min(value_range(net)[1], INPUT_BOUND - 1)
    low = m.public_input("low", -top, top, f"lower end of the band of net {measure}")
    high = m.public_input("high", -top, top, f"upper end of the band of net {measure}")
    m.nonneg("band, lower", net - public(low), "", f"net {measure} of {where} is at least low", 2 * top)
    m.nonneg("band, upper", public(high) - net, "", f"net {measure} of {where} is at most high", 2 * top)
    m.quantity("net", net, f"net {measure} of {where}")


RULE = Rule(
    name="net_band",
    title="Public band for a net figure",
    kind=Kind.DISCLOSURE,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="A net figure of the portfolio (delta, gamma, vega, value, exposure) lies in a public band.",
    conditions=(KNOWN_MEASURE, KNOWN_UNDERLYING),
    build=_build,
    defaults=MappingProxyType({"measure": "delta", "underlying": ""}),
)
