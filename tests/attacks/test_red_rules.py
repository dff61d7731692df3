"""A rule must not fall silent: what an epoch says about a parametric rule is read in full, or refused.

An underlying that no factor loads on would bear no risk at all, and a loading under a name that nobody reads is none:
whoever holds that underlying would show a requirement of zero.
"""

from __future__ import annotations

import numpy as np
import pytest

from circuits.compile import compile_rule
from circuits.evaluate import evaluate
from circuits.rules.parametric import LOADINGS
from circuits.rules.rule import Context
from marginseal.errors import RuleError
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.records.statement import Tier


def two_underlyings(*, second: str = "ETH", **loadings: int) -> RiskEpoch:
    """Cash, a perpetual on BTC and one on `second`; loadings by factor_underlying."""
    parameters = {"factor_loading." + name.replace("__", "."): value for name, value in loadings.items()}
    return epoch_from_arrays(
        np.zeros((2, 3), dtype=np.int64),
        underlyings=("BTC", second),
        underlying_of=np.array([-1, 0, 1]),
        value=np.array([1, 0, 0]),
        delta=np.array([0, 10_000, 10_000]),
        parameters=parameters,
    )


def refusal(epoch: RiskEpoch) -> str | None:
    try:
        compile_rule("parametric", epoch, Tier.INITIAL, venues=0)
    except RuleError as e:
        return e.code
    return None


def test_an_underlying_without_a_loading_is_refused() -> None:
    assert refusal(two_underlyings(market__BTC=2000)) == "rule.loadings"
    # A name with a dot fits no parameter, so nothing can load on it.
    assert refusal(two_underlyings(second="ETH.e", market__BTC=2000)) == "rule.loadings"
    assert refusal(two_underlyings(market__BTC=2000, market__ETH=2500)) is None


def test_no_exposure_goes_unseen() -> None:
    epoch = two_underlyings(market__BTC=2000, alt__ETH=2500)
    compiled = compile_rule("parametric", epoch, Tier.INITIAL, venues=0)
    empty = evaluate(compiled.model, np.array([0, 0, 0]), np.zeros(0, dtype=np.int64)).figure("requirement")
    for row in (1, 2):
        lots = np.zeros(3, dtype=np.int64)
        lots[row] = -5
        held = evaluate(compiled.model, lots, np.zeros(0, dtype=np.int64)).figure("requirement")
        assert held > empty


@pytest.mark.parametrize("name", ["market", "ETH"])
def test_a_loading_that_nobody_reads_is_refused(name: str) -> None:
    loadings = {"market__BTC": 2000, "market__ETH": 2500, name: 1}
    assert refusal(two_underlyings(second="ETH", **loadings)) == "rule.loadings"


def test_a_loading_of_zero_is_an_answer() -> None:
    epoch = two_underlyings(market__BTC=2000, market__ETH=0)
    assert LOADINGS.holds(Context(epoch, Tier.INITIAL, {}))
    assert refusal(epoch) is None
