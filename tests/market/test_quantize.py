"""The crossing from float to ticks: the stated rule in exact fractions, the guard grid, the error bound."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.market.quantize import ceil_ticks, in_ticks, round_ticks, rounding_error
from tests.market.markets import refused

LIMIT = 2.0**40


def by_the_rule(y: float) -> int:
    """Round y to 1/4096 tick, then to a tick, half to even both times; Fraction's round is half to even."""
    return round(Fraction(round(Fraction(y) * 4096), 4096))


@settings(max_examples=500, deadline=None)
@given(st.floats(-1e9, 1e9) | st.floats(-3, 3) | st.integers(-10_000, 10_000).map(lambda k: k / 2))
def test_the_rule_in_exact_fractions(y: float) -> None:
    assert int(round_ticks(y, "1")) == by_the_rule(y)
    up = int(ceil_ticks(y, "1"))
    assert up == math.ceil(Fraction(round(Fraction(y) * 4096), 4096))
    assert up >= Fraction(y) - Fraction(1, 8192)


def test_half_ticks_go_to_even() -> None:
    assert round_ticks([0.5, 1.5, 2.5, -0.5, -1.5, -2.5], "1").tolist() == [0, 2, 2, 0, -2, -2]
    assert ceil_ticks([0.5, 1.0, 1.00001, -0.5, 1.01], "1").tolist() == [1, 1, 1, 0, 2]
    assert round_ticks([1.005, 1.015], "0.01").tolist() == [100, 102]


def test_the_last_bits_do_not_decide_a_half_tick() -> None:
    """Half ticks of exact arithmetic, with eight ulps of noise: one answer, where plain rounding has two."""
    halves = np.arange(-2_000, 2_000) * 0.5
    noise = np.spacing(np.abs(halves) + 1.0) * 8.0
    below, exact, above = (round_ticks(halves + k * noise, "1") for k in (-1, 0, 1))
    assert below.tolist() == exact.tolist() == above.tolist()
    assert np.rint(halves - noise).tolist() != np.rint(halves + noise).tolist()
    assert ceil_ticks(np.arange(5) + 1e-9, "1").tolist() == [0, 1, 2, 3, 4]


def test_range_and_not_a_number() -> None:
    assert int(round_ticks(LIMIT - 2, "1")) == 2**40 - 2
    for amount in (LIMIT - 1, -LIMIT, math.inf, -math.inf, math.nan):
        with refused("quantize.out-of-range"):
            round_ticks([0.0, amount], "1")
        with refused("quantize.out-of-range"):
            ceil_ticks(amount, "1")
    with refused("quantize.out-of-range"):
        in_ticks(2e5, "0.0000001")
    assert in_ticks(np.zeros((0, 3)), "0.01").shape == (0, 3)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6))
def test_the_stated_error_covers_the_exact_one(amounts: list[float]) -> None:
    column = np.array(amounts).reshape(-1, 1)
    ticks = round_ticks(column, "0.01")
    stated = int(rounding_error(column, ticks, "0.01", np.array([1e6]))[0])
    exact = max(abs(Fraction(a) * 100 - int(t)) for a, t in zip(amounts, ticks[:, 0], strict=True))
    assert exact * 1000 <= stated <= 502
