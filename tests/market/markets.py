"""A market of one instrument of every kind, small enough to work out by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest
import rfc8785

from marginseal.errors import MarginSealError
from marginseal.market import fields
from marginseal.market.chains import MarketState, chain_csv, chain_rows, strikes_around
from marginseal.market.parameters import RiskParameters, UnderlyingRisk
from marginseal.market.snapshot import Index, Quote, Snapshot, parse_snapshot
from marginseal.market.universe import Instrument, Universe

NOW = fields.time("2026-03-02T08:00:00Z", "now")
EXPIRY = fields.time("2026-03-27T08:00:00Z", "expiry")
LATER = fields.time("2026-06-26T08:00:00Z", "expiry")


@contextmanager
def refused(code: str) -> Iterator[None]:
    """The block raises a MarginSealError of exactly this code."""
    with pytest.raises(MarginSealError) as caught:
        yield
    assert caught.value.code == code, str(caught.value)


def one_of_each() -> Universe:
    return Universe(
        name="one of each",
        settlement="USD",
        instruments=(
            Instrument("USD", "cash", "USD", "linear", Decimal("1"), 10**9),
            Instrument("USDC", "cash", "USDC", "linear", Decimal("1"), 10**9),
            Instrument("BTC", "spot", "BTC", "linear", Decimal("0.01"), 10**6),
            Instrument("wstETH", "staked", "ETH", "linear", Decimal("0.1"), 10**6),
            Instrument("BTC-PERP", "perpetual", "BTC", "linear", Decimal("0.01"), 10**6),
            Instrument("ETH-PERP-I", "perpetual", "ETH", "inverse", Decimal("100"), 10**6),
            Instrument("BTC-27MAR26", "future", "BTC", "inverse", Decimal("100"), 10**6, expiry=EXPIRY),
            Instrument("ETH-F", "future", "ETH", "linear", Decimal("0.1"), 10**6, expiry=EXPIRY),
            Instrument(
                "BTC-27MAR26-60000-C",
                "option",
                "BTC",
                "inverse",
                Decimal("0.1"),
                10**6,
                expiry=EXPIRY,
                strike=Decimal("60000"),
                option_type="call",
            ),
            Instrument(
                "ETH-3000-P",
                "option",
                "ETH",
                "linear",
                Decimal("1"),
                10**6,
                expiry=EXPIRY,
                strike=Decimal("3000"),
                option_type="put",
            ),
        ),
    )


def snapshot_of(universe: Universe) -> Snapshot:
    return Snapshot(
        name="tiny",
        universe_digest=universe.digest,
        time=NOW,
        max_age_s=300,
        index={"USDC": Index(0.999, NOW), "BTC": Index(60_000.0, NOW), "ETH": Index(3_000.0, NOW - 60)},
        forwards={"BTC": {EXPIRY: 60_300.0}, "ETH": {EXPIRY: 3_010.0}},
        quotes={
            "BTC": Quote(60_000.0, NOW, bid=59_990.0, ask=60_010.0),
            "wstETH": Quote(3_540.0, NOW, bid=3_530.0, ask=3_550.0, redemption_rate=1.2),
            "BTC-PERP": Quote(60_020.0, NOW, bid=60_015.0, ask=60_025.0),
            "ETH-PERP-I": Quote(3_001.0, NOW, bid=3_000.5, ask=3_001.5),
            "BTC-27MAR26": Quote(60_300.0, NOW),
            "ETH-F": Quote(3_010.0, NOW, bid=3_009.0, ask=3_011.0),
            "BTC-27MAR26-60000-C": Quote(0.0577, NOW, bid=0.057, ask=0.058, iv=0.5),
            "ETH-3000-P": Quote(175.0, NOW, bid=170.0, ask=180.0, iv=0.6),
        },
    )


def parameters(**changes: Any) -> RiskParameters:
    given: dict[str, Any] = {
        "name": "test",
        "operator": "tests",
        "underlyings": {"BTC": UnderlyingRisk(0.16), "ETH": UnderlyingRisk(0.18, vol_up=0.4)},
    }
    return RiskParameters(**(given | changes))


def document(item: Universe | Snapshot | RiskParameters) -> dict[str, Any]:
    return copy.deepcopy(item.document())


def reparsed(universe: Universe, change: Callable[[dict[str, Any]], None]) -> Snapshot:
    """The tiny snapshot through its file, after a change to the JSON document."""
    edited = document(snapshot_of(universe))
    change(edited)
    return parse_snapshot(rfc8785.dumps(edited), universe)


def small_chain(seed: int = 7, expiries: int = 2, strikes: int = 6) -> bytes:
    """A generated chain file over BTC and ETH."""
    states = {
        "BTC": MarketState(60_000.0, carry=0.05, near=0.45, far=0.5, skew=-0.03, curvature=0.03),
        "ETH": MarketState(3_000.0, carry=0.03, near=0.6, far=0.65, skew=-0.02, curvature=0.03),
    }
    rows = []
    for k, (currency, state) in enumerate(states.items()):
        step = 2_000 if currency == "BTC" else 100
        listed = [(e, strikes_around(state.index, step, strikes)) for e in (EXPIRY, LATER)[:expiries]]
        rows += chain_rows(NOW, currency, state, listed, seed + k)
    return chain_csv(rows)
