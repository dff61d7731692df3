"""Building an epoch: reproducible bytes, values, Greeks and charges by hand, settled rows, refusals."""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch, encode
from marginseal.market.parameters import Charge, RiskParameters, parameters_json, parse_parameters
from marginseal.market.pricing import black76_greeks
from marginseal.market.revaluation import columns, revalue
from marginseal.market.scenarios import Scenario, scenario_grid, scenario_set
from marginseal.market.snapshot import Index, Quote, Snapshot, parse_snapshot, snapshot_json
from marginseal.market.universe import parse_universe, universe_json
from tests.market.markets import EXPIRY, NOW, one_of_each, parameters, refused, snapshot_of

ROOT = Path(__file__).resolve().parents[2]
UNIVERSE = one_of_each()
SNAPSHOT = snapshot_of(UNIVERSE)
FREE = {kind: Charge(0, 0) for kind in ("cash", "currency", "spot", "staked", "perpetual", "future", "option")}
CALL, PUT = 8, 9


def build(snapshot: Snapshot = SNAPSHOT, **changes: object) -> RiskEpoch:
    return build_epoch(UNIVERSE, snapshot, parameters(**changes))


EPOCH = build()


def test_the_same_three_give_the_same_bytes() -> None:
    """Also when each has been through its file."""
    universe = parse_universe(universe_json(UNIVERSE))
    snapshot = parse_snapshot(snapshot_json(SNAPSHOT), universe)
    again = build_epoch(universe, snapshot, parse_parameters(parameters_json(parameters())))
    assert encode(again) == encode(EPOCH)
    assert EPOCH.universe_digest == UNIVERSE.digest
    assert EPOCH.snapshot_digest == SNAPSHOT.digest
    assert EPOCH.parameters_digest == parameters().digest


def test_the_digest_is_pinned() -> None:
    """Known answer of the whole chain, prices to ticks: holds on every IEEE 754 machine."""
    assert EPOCH.digest.hex() == "1cc8ee1bc9b3f9452b435520f34a76115a97339c5f2e53d152a1340104f5537a"


OTHER_UNIT = """
import hashlib
from tests.market.test_build_epoch import EPOCH, gains
print(hashlib.sha256(gains().tobytes()).hexdigest(), EPOCH.digest.hex())
"""


def gains() -> np.ndarray:
    grid = scenario_grid(parameters(), UNIVERSE.underlyings)
    return revalue(columns(UNIVERSE, SNAPSHOT), grid, parameters(), UNIVERSE.underlyings)


def test_the_width_of_the_vector_unit_changes_nothing() -> None:
    """With its wide instruction sets off, numpy's own exp and log give other last bits; ours give the same floats."""
    wide = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    run = subprocess.run(
        [sys.executable, "-c", OTHER_UNIT],
        cwd=ROOT,
        env={"NPY_DISABLE_CPU_FEATURES": " ".join(wide), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [hashlib.sha256(gains().tobytes()).hexdigest(), EPOCH.digest.hex()]


def test_every_input_changes_the_epoch() -> None:
    index = dataclasses.replace(SNAPSHOT, index={**SNAPSHOT.index, "BTC": Index(60_001.0, NOW)})
    seen = {EPOCH.digest, build(index).digest, build(tick="0.1").digest, build(lifetime_s=60).digest}
    seen |= {build(name="other").digest, build(spread_permille=0).digest, build(rule={"my_own": 1}).digest}
    assert len(seen) == 7


def test_values_and_notionals_by_hand() -> None:
    # ticks of 0.01 USD: cash, USDC at 0.999, 0.01 BTC, 0.1 wstETH at the lower of 3,540 and 3,600, futures 0,
    # 0.1 calls at 0.0577 coin, one put at 175.
    assert EPOCH.value.tolist() == [100, 100, 60_000, 35_400, 0, 0, 0, 0, 34_620, 17_500]
    assert EPOCH.notional.tolist() == [100, 100, 60_000, 35_400, 60_000, 10_000, 10_000, 30_000, 600_000, 300_000]
    assert EPOCH.underlying_of.tolist() == [-1, -1, 0, 1, 0, 1, 0, 1, 0, 1]
    assert EPOCH.max_lots.tolist() == [10**9, 10**9] + [10**6] * 8
    assert (EPOCH.time, EPOCH.expires, EPOCH.tick, EPOCH.currency) == (NOW, NOW + 3_600, "0.01", "USD")
    dear = dataclasses.replace(SNAPSHOT.quotes["wstETH"], mark=3_700.0, ask=3_750.0)
    richer = build(dataclasses.replace(SNAPSHOT, quotes={**SNAPSHOT.quotes, "wstETH": dear}))
    assert richer.value[3] == 36_000  # a market price above redemption does not count


def test_greeks_by_hand() -> None:
    t = (EXPIRY - NOW) / (365 * 86_400)
    call = black76_greeks(60_300.0, 60_000.0, 0.5, t, True)
    put = black76_greeks(3_010.0, 3_000.0, 0.6, t, False)
    delta = [0, 0, 600, 354, 600.2, 100 * 3_000 / 3_001, 100 * 60_000 / 60_300, 301]
    delta += [0.1 * 60_000 * float(call.delta), 3_010 * float(put.delta)]
    assert EPOCH.delta == pytest.approx(np.array(delta), abs=0.51)  # 1 % of dollars in cents: the same figure
    assert EPOCH.gamma[:CALL].tolist() == [0] * 8
    assert EPOCH.gamma[CALL] == pytest.approx(1e-2 * 0.1 * 60_000 * 60_300 * float(call.gamma), abs=0.51)
    assert EPOCH.gamma[PUT] == pytest.approx(1e-2 * 3_010**2 * float(put.gamma), abs=0.51)
    assert EPOCH.vega[CALL] == pytest.approx(0.1 * 60_000 / 60_300 * float(call.vega), abs=0.51)
    assert EPOCH.vega[PUT] == pytest.approx(float(put.vega), abs=0.51)


def test_greeks_are_the_slopes_of_the_matrix() -> None:
    """Delta and gamma against a move of one percent, vega against the model, through the epoch itself."""
    still = (0.0, 0.0)
    moves = [Scenario("null", still, still)]
    moves += [Scenario(f"{m:+g}", (m, m), still) for m in (0.01, -0.01)]
    epoch = build_epoch(UNIVERSE, SNAPSHOT, parameters(tick="0.0001"), scenario_set(moves))
    assert (epoch.pnl[1] - epoch.pnl[2]) / 2 == pytest.approx(epoch.delta, rel=2e-3, abs=2)
    assert epoch.pnl[1] + epoch.pnl[2] == pytest.approx(epoch.gamma, rel=2e-2, abs=2)


def test_charges_by_hand() -> None:
    """Each part alone: permille of notional, half-spread, confidence, gap between mark and model."""
    flat = {"charges": FREE, "spread_permille": 0, "confidence_multiple": 0.0, "spread_cap_permille": 0}
    bare = build(**flat)
    gap = 34_620 - 0.1 * 60_000 / 60_300 * 100 * float(
        black76_greeks(60_300.0, 60_000.0, 0.5, (EXPIRY - NOW) / 31_536_000, True).value
    )
    assert gap > 0
    assert bare.haircut_long[CALL] == pytest.approx(gap, abs=1)
    assert bare.haircut_short[CALL] == 0
    assert bare.haircut_long[[0, 1, 2, 3, 4, 5, 6, 7]].tolist() == [0] * 8

    kind = build(**flat | {"charges": FREE | {"spot": Charge(20, 30), "currency": Charge(10, 0)}})
    assert (kind.haircut_long[2], kind.haircut_short[2]) == (1_200, 1_800)
    assert kind.haircut_long[[0, 1]].tolist() == [0, 1]  # USD is free; 10 permille of 99.9 ticks, rounded up

    spread = build(**flat | {"spread_permille": 1_000, "spread_cap_permille": 10})
    assert (spread.haircut_long[2], spread.haircut_short[2]) == (10, 10)  # 10 USD of half-spread on 0.01 BTC
    assert spread.haircut_long[5] == spread.haircut_short[5] == 2  # 0.5 / 3001 of 100 USD: 1.67 ticks
    assert spread.haircut_long[6] == spread.haircut_short[6] == 100  # no book: the cap, 10 permille of 100 USD
    assert spread.haircut_short[CALL] == 180  # 0.0003 coin on 0.1 BTC
    assert spread.haircut_short[PUT] - bare.haircut_short[PUT] == 500
    assert spread.haircut_long[[0, 1]].tolist() == [0, 0]

    unsure = dataclasses.replace(SNAPSHOT, index={**SNAPSHOT.index, "BTC": Index(60_000.0, NOW, 0.001)})
    wide = build(unsure, **flat | {"confidence_multiple": 2.0})
    assert wide.haircut_long[2] == wide.haircut_short[2] == 120
    assert wide.haircut_long[4] == 121  # 2 x 0.001 x 600.2, rounded up
    assert wide.haircut_long[3] == 0
    assert EPOCH.short_minimum.tolist() == [0] * 8 + [3_000, 1_500]


def test_a_missing_side_costs_the_cap_and_an_option_never_more_than_its_value() -> None:
    cheap = Quote(0.00001, NOW, ask=0.0005, iv=0.5)
    flat = {"charges": FREE, "confidence_multiple": 0.0, "spread_permille": 1_000}
    epoch = build(dataclasses.replace(SNAPSHOT, quotes={**SNAPSHOT.quotes, "BTC-27MAR26-60000-C": cheap}), **flat)
    assert epoch.value[CALL] == 6
    assert epoch.haircut_long[CALL] == 6
    no_ask = dataclasses.replace(SNAPSHOT.quotes["ETH-3000-P"], ask=None)
    epoch = build(dataclasses.replace(SNAPSHOT, quotes={**SNAPSHOT.quotes, "ETH-3000-P": no_ask}), **flat)
    assert epoch.haircut_short[PUT] - build(**flat | {"spread_permille": 0}).haircut_short[PUT] == 3_000


@pytest.mark.parametrize("mark", [0.0, 0.03, 0.0577, 0.2])
def test_a_mark_away_from_its_model_flatters_neither_side(mark: float) -> None:
    """A short is never an asset in any scenario, and a long never stands for more than its model value."""
    quote = dataclasses.replace(SNAPSHOT.quotes["BTC-27MAR26-60000-C"], mark=mark, bid=None, ask=None)
    epoch = build(
        dataclasses.replace(SNAPSHOT, quotes={**SNAPSHOT.quotes, "BTC-27MAR26-60000-C": quote}),
        charges=FREE,
        spread_permille=0,
        spread_cap_permille=0,
    )
    years = (EXPIRY - NOW) / 31_536_000
    model = 10 * 60_000 / 60_300 * float(black76_greeks(60_300.0, 60_000.0, 0.5, years, True).value)
    assert epoch.value[CALL] - epoch.haircut_long[CALL] <= model + 1
    assert -epoch.value[CALL] - epoch.haircut_short[CALL] <= -model + 1
    assert -int((epoch.value + epoch.pnl + epoch.haircut_short)[:, CALL].min()) <= 1


def test_charges_are_never_negative() -> None:
    for epoch in (EPOCH, build(spread_permille=0), build(charges=FREE)):
        assert int(epoch.haircut_long.min()) >= 0
        assert int(epoch.haircut_short.min()) >= 0


def exact(amount: float) -> int:
    """One amount in ticks of 0.01 by decimal arithmetic on the exact binary64 value."""
    with localcontext() as context:
        context.prec = 60
        grid = (Decimal(amount) * 100 * 4096).quantize(Decimal(1), ROUND_HALF_EVEN)
        return int((grid / 4096).quantize(Decimal(1), ROUND_HALF_EVEN))


def test_the_matrix_is_the_revaluation_rounded() -> None:
    """Every entry within its stated error of the float revaluation, value and profit together."""
    amounts = gains()
    assert EPOCH.scenario_labels == scenario_grid(parameters(), UNIVERSE.underlyings).labels
    assert [[exact(g) for g in row] for row in amounts.tolist()] == EPOCH.pnl.tolist()
    values = np.array([1, 0.999, 600, 354, 0, 0, 0, 0, 346.2, 175.0])
    error = np.abs((amounts + values) * 100 - (EPOCH.pnl + EPOCH.value)).max(axis=0) * 1000
    assert (error <= EPOCH.rounding_error).all()
    assert (EPOCH.rounding_error <= error + 2).all()
    assert int(EPOCH.rounding_error.max()) <= 1_001


def test_settled_rows_only_cost() -> None:
    dated = frozenset(i.id for i in UNIVERSE.instruments if i.expiry is not None)
    later = dataclasses.replace(
        SNAPSHOT,
        time=EXPIRY,
        settled=dated,
        forwards={},
        index={k: dataclasses.replace(i, time=EXPIRY) for k, i in SNAPSHOT.index.items()},
        quotes={k: dataclasses.replace(q, time=EXPIRY) for k, q in SNAPSHOT.quotes.items() if k not in dated},
    )
    epoch = build(later)
    rows = [6, 7, CALL, PUT]
    for what in ("value", "delta", "gamma", "vega", "rounding_error"):
        assert getattr(epoch, what)[rows].tolist() == [0] * 4
    assert not epoch.pnl[:, rows].any()
    assert (
        epoch.haircut_long[rows].tolist() == epoch.haircut_short[rows].tolist() == [20_000, 60_000, 1_200_000, 600_000]
    )
    assert epoch.expires == EXPIRY + 3_600


def test_an_epoch_ends_before_an_instrument_does() -> None:
    moved = dataclasses.replace(
        SNAPSHOT,
        time=EXPIRY - 60,
        index={k: dataclasses.replace(i, time=EXPIRY - 60) for k, i in SNAPSHOT.index.items()},
        quotes={k: dataclasses.replace(q, time=EXPIRY - 60) for k, q in SNAPSHOT.quotes.items()},
    )
    assert build(moved).expires == EXPIRY


def test_refusals() -> None:
    with refused("snapshot.universe"):
        build_epoch(dataclasses.replace(UNIVERSE, name="other"), SNAPSHOT, parameters())
    with refused("parameters.missing-underlying"):
        build_epoch(UNIVERSE, SNAPSHOT, RiskParameters("n", "o", {"BTC": parameters().underlyings["BTC"]}, rule={}))
    with refused("snapshot.stale"):
        build(max_age_s=59)  # the ETH index is a minute old
    build(max_age_s=60)
    unsure = dataclasses.replace(SNAPSHOT, index={**SNAPSHOT.index, "BTC": Index(60_000.0, NOW, 0.021)})
    with refused("snapshot.uncertain"):
        build(unsure)
    with refused("quantize.out-of-range"):
        build(tick="0.000000001")
    with refused("scenarios.shape"):
        build_epoch(UNIVERSE, SNAPSHOT, parameters(), scenario_set([Scenario("null", (0.0,), (0.0,))]))
    unknown = dataclasses.replace(SNAPSHOT, index={**SNAPSHOT.index, "BTC": Index(float("nan"), NOW)})
    with refused("field.number"):
        build(unknown)
