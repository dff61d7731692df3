"""Black-76 against QuantLib and parity, its limits, and the published vectors SP1, TM1 and D1."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.market.pricing import (
    black76,
    black76_greeks,
    inverse_future_coin,
    inverse_future_gain,
    inverse_option_price,
    shocked_volatility,
    term_structure,
)

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # the wrapper's own types, on import
    import QuantLib as ql

PRICES = st.floats(0.5, 2e5)
VOLATILITIES = st.floats(0.02, 4.0)
YEARS = st.floats(1e-4, 3.0)


@settings(max_examples=300, deadline=None)
@given(PRICES, st.floats(-2.5, 2.5), VOLATILITIES, YEARS, st.booleans())
def test_value_and_greeks_agree_with_quantlib(f: float, x: float, sigma: float, t: float, call: bool) -> None:
    k = f * float(np.exp(x * sigma * np.sqrt(t)))
    payoff = ql.PlainVanillaPayoff(ql.Option.Call if call else ql.Option.Put, k)
    reference = ql.BlackCalculator(payoff, f, sigma * np.sqrt(t), 1.0)
    got = black76_greeks(f, k, sigma, t, call)
    assert float(got.value) == pytest.approx(reference.value(), rel=1e-10, abs=1e-12 * f)
    assert float(got.delta) == pytest.approx(reference.deltaForward(), abs=1e-12)
    assert float(got.gamma) * f == pytest.approx(reference.gammaForward() * f, rel=1e-9)
    assert float(got.vega) == pytest.approx(reference.vega(t), rel=1e-9)
    assert float(got.theta) == pytest.approx(reference.theta(f, t), rel=1e-9, abs=1e-9 * f)
    assert float(black76(f, k, sigma, t, call)) == float(got.value)


@settings(max_examples=300, deadline=None)
@given(PRICES, PRICES, st.floats(0.0, 4.0), st.floats(0.0, 3.0))
def test_put_call_parity_and_bounds(f: float, k: float, sigma: float, t: float) -> None:
    call, put = float(black76(f, k, sigma, t, True)), float(black76(f, k, sigma, t, False))
    assert call - put == pytest.approx(f - k, abs=1e-11 * max(f, k))
    assert max(f - k, 0.0) <= call <= f * (1 + 1e-12)
    assert max(k - f, 0.0) <= put <= k * (1 + 1e-12)


@pytest.mark.parametrize(("sigma", "years"), [(0.0, 1.0), (0.5, 0.0), (0.0, 0.0), (1e-13, 1.0)])
def test_no_time_or_no_volatility_is_exactly_intrinsic(sigma: float, years: float) -> None:
    f = np.array([90.0, 100.0, 110.0])
    call, put = black76_greeks(f, 100.0, sigma, years, True), black76_greeks(f, 100.0, sigma, years, False)
    assert call.value.tolist() == [0.0, 0.0, 10.0]
    assert put.value.tolist() == [10.0, 0.0, 0.0]
    assert call.delta.tolist() == [0.0, 0.5, 1.0]
    assert put.delta.tolist() == [-1.0, -0.5, 0.0]
    for greeks in (call, put):
        assert greeks.gamma.tolist() == greeks.vega.tolist() == [0.0] * 3
        assert np.abs(greeks.theta).tolist() == [0.0] * 3


def test_greeks_are_the_derivatives() -> None:
    f, k, sigma, t, h = 61_000.0, 65_000.0, 0.6, 0.2, 1e-3
    for call in (True, False):
        g = black76_greeks(f, k, sigma, t, call)
        up, down = black76(f + h * f, k, sigma, t, call), black76(f - h * f, k, sigma, t, call)
        assert float(g.delta) == pytest.approx(float((up - down) / (2 * h * f)), rel=1e-4)
        assert float(g.gamma) == pytest.approx(float((up - 2 * g.value + down) / (h * f) ** 2), rel=1e-4)
        vega = (black76(f, k, sigma + h, t, call) - black76(f, k, sigma - h, t, call)) / (2 * h)
        assert float(g.vega) == pytest.approx(float(vega), rel=1e-4)
        theta = (black76(f, k, sigma, t - 1e-5, call) - black76(f, k, sigma, t + 1e-5, call)) / 2e-5
        assert float(g.theta) == pytest.approx(float(theta), rel=1e-4)


def test_span_array_vector() -> None:
    """SP1: long one future, short one call, F 2790, K 2825, 16 SPAN scenarios; losses in USD."""
    f, k, iv, t, multiplier, scan = 2790.0, 2825.0, 0.16, 30 / 365, 250.0, 120.0
    base = float(black76(f, k, iv, t, True))
    assert base == pytest.approx(35.757279442480694, rel=1e-12)
    moves = np.array([0, 0, 1, 1, -1, -1, 2, 2, -2, -2, 3, 3, -3, -3, 6, -6]) / 3 * scan
    direction = np.array([1.0, -1.0] * 7 + [0.0, 0.0])
    share = np.array([1.0] * 14 + [0.35] * 2)
    one = np.ones(16)
    vols = shocked_volatility(iv * one, direction, up=0.35 * one, down=0.35 * one, floor_up=0 * one, term=one)
    losses = -share * multiplier * (moves - (black76(f + moves, k, vols, t, True) - base))
    expected = [
        4372.485227, -4246.704805, -846.921873, -9891.703674, 10498.192326, 3137.734046, -5161.205118, -13684.792146,
        17484.112449, 11827.130869, -8616.734059, -15889.286243, 25242.189105, 21291.340661, -5867.974214, 17919.176221,
    ]  # fmt: skip
    assert losses == pytest.approx(expected, abs=1e-6)
    assert losses.max() == pytest.approx(25242.18910519289, rel=1e-12)


def test_tims_vector() -> None:
    """TM1: a short straddle at S = K = 100 over ten points of up to 15 %."""
    points = 100.0 * (1 + np.array([-15, -12, -9, -6, -3, 3, 6, 9, 12, 15]) / 100)

    def straddle(s: object) -> np.ndarray:
        return black76(s, 100.0, 0.40, 30 / 365, True) + black76(s, 100.0, 0.40, 30 / 365, False)  # type: ignore[arg-type]

    premium = 100 * float(straddle(100.0))
    losses = 100 * straddle(points) - premium
    expected = [660.074353, 428.747672, 238.040413, 98.457172, 17.833556, 44.345853, 146.305227, 298.493620, 492.094189]
    assert losses[:9] == pytest.approx(expected, abs=1e-6)
    assert losses.max() == pytest.approx(718.1304721038622, rel=1e-12)
    assert premium == pytest.approx(914.4844614471247, rel=1e-12)


def test_inverse_future_vector() -> None:
    """D1: an exchange's own example of a BTC perpetual and a dated future, risk matrix rows in coin."""
    perpetual, future, index = 0.314538364, -0.001187534, 65666.19
    moves = np.array([-0.16, -0.12, -0.08, -0.04, 0.04, 0.08, 0.12, 0.16])
    mark = 65910.57
    row = perpetual * mark * inverse_future_coin(mark, mark * (1 + moves))
    expected = [
        -0.05991206933333334, -0.04289159509090909, -0.027351162086956524, -0.013105765166666668,
        0.012097629384615385, 0.023299138074074074, 0.033700539, 0.043384601931034494,
    ]  # fmt: skip
    assert row == pytest.approx(expected, rel=1e-12)
    other = future * 67371.75 * inverse_future_coin(67371.75, 67371.75 * (1 + moves))
    assert float(other[0]) == pytest.approx(0.0002261969523809524, rel=1e-12)
    assert -float((row + other).min()) == pytest.approx(0.05968587238095239, rel=1e-12)
    # Extended moves: a share range/|m| of the gain in money, seen in coin at the edge of the range.
    for move, edge in ((-0.66, -0.16), (-0.33, -0.16), (0.5, 0.16), (5.0, 0.16)):
        money = perpetual * mark * float(inverse_future_gain(mark, mark * (1 + move), index * (1 + move)))
        coin = money * 0.16 / abs(move) / (index * (1 + edge))
        assert coin == pytest.approx(expected[0] if edge < 0 else expected[-1], rel=1e-12)


def test_inverse_contracts_in_money() -> None:
    # 100 USD of notional at 50,000 is 0.002 coin; at 60,000 it gained 0.002 - 0.00166.. coin, sold at the index 59,000.
    assert float(inverse_future_gain(50_000.0, 60_000.0, 59_000.0)) * 100 == pytest.approx((0.002 - 1 / 600) * 59_000)
    # An option quoted at 0.05 coin is worth 0.05 index, whatever the forward.
    assert float(inverse_option_price(61_000.0, 60_000.0, 0.05 * 61_000.0)) == pytest.approx(3_000.0)


def test_volatility_shocks() -> None:
    one = np.ones(1)

    def shocked(v: float, direction: float, term: float = 1.0, down: float = 0.25) -> float:
        vols = shocked_volatility(
            v * one, direction * one, up=0.5 * one, down=down * one, floor_up=0.4 * one, term=term * one
        )
        return float(vols[0])

    assert shocked(0.6, 0.0) == 0.6
    assert shocked(0.6, 1.0) == pytest.approx(0.9)
    assert shocked(0.1, 1.0) == 0.4
    assert shocked(0.6, -1.0) == pytest.approx(0.45)
    assert shocked(0.6, -0.5, term=2.0) == pytest.approx(0.45)
    assert shocked(0.6, -1.0, term=5.0) == 0.0
    terms = term_structure(np.array([0.0, 1.0, 15.0, 30.0, 120.0]) / 365, short_power=0.3, long_power=0.13)
    assert terms == pytest.approx([30**0.3, 30**0.3, 2**0.3, 1.0, 0.25**0.13], rel=1e-13)
