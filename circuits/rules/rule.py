"""What a rule is: a name, conditions on what it is built from, and the function that writes its lines.

A rule is `build(model, context)`.  Its conditions are checked first and refuse parameters outside which the rule would
not be sound (protocol.md section 1); the parameters it was built with become bytes of the circuit, so that everyone who
compiles it means the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from circuits.model import Model
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier


@dataclass(frozen=True)
class Context:
    """What a rule is written about: the epoch, the tier, and the parameters of the rule itself."""

    epoch: RiskEpoch
    tier: Tier
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Condition:
    """Something the rule needs; `code` refuses where it does not hold, `text` is what the page says."""

    code: str
    text: str
    holds: Callable[[Context], bool]


@dataclass(frozen=True)
class Rule:
    """`defaults` fixes which rule parameters there are, with their default values; the empty mapping means none."""

    name: str
    title: str
    kind: Kind
    tiers: tuple[Tier, ...]
    summary: str
    conditions: tuple[Condition, ...]
    build: Callable[[Model, Context], None]
    defaults: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, eq=False)
class BuiltRule:
    """A rule on an epoch: the model with its lines, and the canonical bytes of what it was built with."""

    rule: Rule
    epoch: RiskEpoch
    tier: Tier
    model: Model
    parameters: bytes
