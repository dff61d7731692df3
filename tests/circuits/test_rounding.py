"""What portfolio margin says of ticks holds of the amounts that were rounded to them; without the charge it may not."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from circuits.evaluate import evaluate_rule
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.records.statement import Tier


class Market(NamedTuple):
    """Exact amounts of one lot in 1/1000 tick, and the epoch that they are rounded to."""

    value: list[int]
    profits: list[list[int]]
    epoch: RiskEpoch


def market(value: list[int], profits: list[list[int]], factors: tuple[int, int]) -> Market:
    """The null scenario is added.  An epoch's rounding error is the largest of value and profit over the scenarios."""
    exact = np.array([[0] * len(value), *profits], dtype=np.int64)
    v, p = (np.rint(np.array(x) / 1000).astype(np.int64) for x in (value, exact))
    epoch = epoch_from_arrays(
        p,
        value=v,
        haircut_long=1,
        max_lots=1000,
        rounding_error=np.abs(np.array(value) + exact - 1000 * (v + p)).max(axis=0),
        parameters={"initial_factor_permille": factors[0], "maintenance_factor_permille": factors[1]},
    )
    return Market(value, exact.tolist(), epoch)


def most_pledged(rule: str, m: Market, lots: list[int], tier: Tier) -> int:
    """Ticks, to the last one; may be negative, as far as arithmetic goes."""
    return evaluate_rule(rule, m.epoch, tier, np.array(lots), np.array([0])).surplus


def shortfall(m: Market, lots: list[int], pledge: int, tier: Tier) -> int:
    """Of exact amounts in the worst scenario, 1/10**6 tick: pledge + haircut - value - f profit; healthy if <= 0."""
    f = m.epoch.parameters["initial_factor_permille" if tier == Tier.INITIAL else "maintenance_factor_permille"]
    haircut = sum(max(0, x) for x in lots)
    value = sum(a * x for a, x in zip(m.value, lots, strict=True)) - 1000 * (haircut + pledge)
    return max(-1000 * value - f * sum(a * x for a, x in zip(row, lots, strict=True)) for row in m.profits)


amounts = st.integers(-3_000, 3_000)
pairs = st.lists(amounts, min_size=2, max_size=2)


@given(
    pairs,
    st.lists(pairs, min_size=1, max_size=4),
    st.lists(st.integers(-1000, 1000), min_size=2, max_size=2),
    st.tuples(st.integers(0, 3_000), st.integers(0, 3_000)).map(lambda t: (max(t), min(t))),
)
def test_what_holds_of_ticks_holds_of_exact_amounts(
    value: list[int], profits: list[list[int]], lots: list[int], factors: tuple[int, int]
) -> None:
    m = market(value, profits, factors)
    for tier in Tier:
        assert shortfall(m, lots, most_pledged("portfolio_margin", m, lots, tier), tier) <= 0


def test_the_worst_case_alone_may_hide_it() -> None:
    """A thousand lots, each 0.4 ticks short of what it is rounded to: 400 ticks that nobody has."""
    m = market([600, 0], [[-400, 0]], (1000, 1000))
    pledge = most_pledged("worst_case", m, [1000, 0], Tier.INITIAL)
    assert shortfall(m, [1000, 0], pledge, Tier.INITIAL) == 800 * 10**6
    charged = most_pledged("portfolio_margin", m, [1000, 0], Tier.INITIAL)
    assert shortfall(m, [1000, 0], charged, Tier.INITIAL) == 0
