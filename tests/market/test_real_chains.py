"""Ten chains of a real venue, five of them from the crash of February 2026; read from MARGINSEAL_MARKET_DATA."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from marginseal.market import fields
from marginseal.market.build import build_epoch
from marginseal.market.importer import ChainRow, Staked, import_chain, read_chain
from marginseal.market.parameters import RiskParameters, UnderlyingRisk
from marginseal.market.pricing import black76_greeks

FOLDER = os.environ.get("MARGINSEAL_MARKET_DATA")
pytestmark = pytest.mark.skipif(FOLDER is None, reason="MARGINSEAL_MARKET_DATA names no folder with market data")

CRASH = (
    "2026-02-05T04:29:52Z",
    "2026-02-05T09:36:47Z",
    "2026-02-05T15:51:32Z",
    "2026-02-05T21:29:37Z",
    "2026-02-06T04:30:12Z",
)
LAST = "2026-08-22T15:33:51Z"
PARAMETERS = RiskParameters("real", "tests", {"BTC": UnderlyingRisk(0.16), "ETH": UnderlyingRisk(0.18, vol_up=0.4)})


@pytest.fixture(scope="module")
def rows() -> list[ChainRow]:
    return read_chain(Path(FOLDER or "") / "deribit_option_chains.csv.gz")


@pytest.mark.parametrize("moment", CRASH)
def test_an_epoch_from_each_crash_snapshot(rows: list[ChainRow], moment: str) -> None:
    universe, snapshot = import_chain(
        rows,
        time=fields.time(moment, "moment"),
        staked={"ETH": Staked("wstETH", 1.22, 0.998)},
        stablecoins={"USDC": 0.9995},
        half_spread=0.0005,
    )
    epoch = build_epoch(universe, snapshot, PARAMETERS)
    assert epoch.pnl.shape == (163, len(universe))
    assert len(universe) > 1_600
    assert int(epoch.rounding_error.max()) <= 1_001
    assert int(np.abs(epoch.pnl).max()) < 2**27
    # A short option is never an asset: what its holder owes, less its best profit, is not below its charge.
    options = np.array([i.kind == "option" for i in universe.instruments])
    assert (epoch.value + epoch.pnl.min(axis=0) + epoch.haircut_short >= -1)[options].all()


def test_the_crash_is_seen(rows: list[ChainRow]) -> None:
    """Index down by 12.8 % over the five snapshots, at-the-money volatility up from about 46 % to about 86 %."""
    index, vol = [], []
    for moment in CRASH:
        _, snapshot = import_chain(rows, time=fields.time(moment, "moment"))
        index.append(snapshot.index["BTC"].price)
        vol.append(
            np.median([
                r.iv for r in rows
                if r.time == snapshot.time and r.currency == "BTC" and 0.4 <= abs(r.delta) <= 0.6
                and 10 * 86_400 <= r.expiry - r.time <= 45 * 86_400
            ])
        )  # fmt: skip
    assert min(index) / max(index) - 1 == pytest.approx(-0.128, abs=0.03)
    assert vol[0] < 0.6
    assert max(vol) > 0.75


def test_quoted_marks_and_deltas(rows: list[ChainRow]) -> None:
    """Marks are Black-76 over the row's own forward: median error 1e-5 coin; deltas are the forward's."""
    last = [r for r in rows if r.time == fields.time(LAST, "last") and r.mark > 0]
    f, k = np.array([r.forward for r in last]), np.array([float(r.strike) for r in last])
    t = np.array([(r.expiry - r.time) / 31_536_000 for r in last])
    model = black76_greeks(f, k, np.array([r.iv for r in last]), t, np.array([r.option_type == "call" for r in last]))
    errors = np.abs(model.value / f - np.array([r.mark for r in last]))
    assert len(last) > 1_900
    assert np.median(errors) < 1.5e-5
    assert np.quantile(errors, 0.99) < 1e-4
    deltas = np.abs(model.delta - np.array([r.delta for r in last]))
    assert np.median(deltas) < 4e-4
    assert np.quantile(deltas, 0.99) < 1.2e-2


def test_every_chain_imports(rows: list[ChainRow]) -> None:
    for moment in sorted({row.time for row in rows}):
        universe, snapshot = import_chain(rows, time=moment)
        assert len(universe) > 1_300
        assert snapshot.time == moment
