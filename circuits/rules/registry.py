"""Every rule by name, and the building of one on an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import rfc8785

from circuits.model import Link, Model
from circuits.rules import (
    expected_shortfall,
    isolated,
    limits,
    net_band,
    parametric,
    portfolio_margin,
    product_offsets,
    scenario_loss,
    value_at_risk,
    worst_case,
)
from circuits.rules.rule import BuiltRule, Context, Rule
from marginseal.errors import RuleError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier

_ALL = (
    worst_case,
    limits,
    portfolio_margin,
    product_offsets,
    isolated,
    expected_shortfall,
    value_at_risk,
    parametric,
    scenario_loss,
    net_band,
)
RULES: Mapping[str, Rule] = MappingProxyType({module.RULE.name: module.RULE for module in _ALL})


def rule_named(name: str) -> Rule:
    """RuleError rule.unknown."""
    if name not in RULES:
        raise RuleError("rule.unknown", f"there is no rule {name!r}; there are {', '.join(sorted(RULES))}")
    return RULES[name]


def build(
    name: str | Rule,
    epoch: RiskEpoch,
    tier: Tier,
    *,
    venues: int,
    link: Link | None = None,
    parameters: Mapping[str, object] | None = None,
) -> BuiltRule:
    """A rule on an epoch and tier.  RuleError rule.* if a condition does not hold or a parameter is unknown."""
    rule = name if isinstance(name, Rule) else rule_named(name)
    if tier not in rule.tiers:
        raise RuleError("rule.tier", f"{rule.name} has no tier {tier.name.lower()}")
    if link is not None and rule.kind != Kind.ATTESTATION:
        raise RuleError("rule.link", f"{rule.name} is a disclosure: it carries no pledges and continues none")
    given = dict(rule.defaults) | dict(parameters or {})
    unknown = sorted(given.keys() - rule.defaults.keys())
    if unknown:
        raise RuleError("rule.parameter", f"{rule.name} has no parameter {unknown[0]!r}")
    context = Context(epoch, tier, MappingProxyType(given))
    for condition in rule.conditions:
        if not condition.holds(context):
            raise RuleError(condition.code, f"{rule.name} needs: {condition.text}")
    model = Model(epoch.instruments, venues if rule.kind == Kind.ATTESTATION else 0, link)
    rule.build(model, context)
    document: dict[str, Any] = {"tier": tier.name.lower(), "rule": given}
    if rule.kind == Kind.ATTESTATION:
        document |= {"venues": venues, "link": None if link is None else list(link.released_rows)}
    try:
        encoded = rfc8785.dumps(document)
    except (rfc8785.CanonicalizationError, TypeError, RecursionError):
        raise RuleError("rule.parameter", f"{rule.name}: a parameter has no canonical form") from None
    return BuiltRule(rule, epoch, tier, model, encoded)
