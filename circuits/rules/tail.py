"""What expected shortfall and value at risk share: the level, and how many scenarios lie beyond it.

Statistics are over the scenarios 1 .. S-1, of one weight each; the null scenario is no draw, it only says that a
requirement is never negative.  Counts are rounded so that the requirement errs high.
"""

from __future__ import annotations

from circuits.rules.parts import PERMILLE
from circuits.rules.rule import Condition, Context

SCENARIOS = Condition(
    "rule.scenarios",
    "at least one scenario besides the null scenario",
    lambda c: c.epoch.scenarios >= 2,
)


def level(c: Context, kind: str) -> int | None:
    """The rule's own level, or that of the epoch (`es_level_permille`, `var_level_permille`); None where neither is."""
    own = c.parameters["level_permille"]
    found = c.epoch.parameters.get(f"{kind}_level_permille") if own is None else own
    return found if type(found) is int else None


def level_condition(kind: str) -> Condition:
    def holds(c: Context) -> bool:
        found = level(c, kind)
        return found is not None and 500 <= found <= 999

    return Condition(
        "rule.level", f"a level of 500..999 permille, of the rule or as {kind}_level_permille of the epoch", holds
    )


def beyond(c: Context, kind: str) -> int:
    """floor((S - 1) (1000 - level) / 1000): how many scenarios may lie beyond the level."""
    found = level(c, kind)
    assert found is not None
    return (c.epoch.scenarios - 1) * (PERMILLE - found) // PERMILLE
