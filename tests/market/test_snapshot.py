"""Snapshots: files there and back, digests, and one refusal for each fault."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from marginseal.market import fields
from marginseal.market.snapshot import Index, Snapshot, parse_snapshot, read_snapshot, snapshot_json
from tests.market.markets import EXPIRY, NOW, document, one_of_each, refused, reparsed, snapshot_of

UNIVERSE = one_of_each()
SNAPSHOT = snapshot_of(UNIVERSE)
OPTION = "BTC-27MAR26-60000-C"
Change = Callable[[dict[str, Any]], None]


def put(*path: Any, to: Any) -> Change:
    def change(doc: dict[str, Any]) -> None:
        for key in path[:-1]:
            doc = doc[key]
        doc[path[-1]] = to

    return change


def drop(*path: Any) -> Change:
    def change(doc: dict[str, Any]) -> None:
        for key in path[:-1]:
            doc = doc[key]
        del doc[path[-1]]

    return change


def test_there_and_back(tmp_path: Path) -> None:
    SNAPSHOT.check(UNIVERSE)
    again = parse_snapshot(snapshot_json(SNAPSHOT), UNIVERSE)
    assert again == SNAPSHOT
    assert again.digest == SNAPSHOT.digest
    (tmp_path / "s.json").write_bytes(snapshot_json(SNAPSHOT))
    assert read_snapshot(tmp_path / "s.json", UNIVERSE) == SNAPSHOT


def test_what_is_left_out_has_a_default() -> None:
    def shorten(doc: dict[str, Any]) -> None:
        for item in (*doc["index"].values(), *doc["quotes"].values()):
            del item["confidence"]
            if item["time"] == fields.time_text(NOW):
                del item["time"]
        del doc["settled"]

    assert reparsed(UNIVERSE, shorten).digest == SNAPSHOT.digest


def test_the_digest_is_pinned_and_sees_every_number() -> None:
    assert SNAPSHOT.digest.hex() == "2fabe0d162981ca9fc83fe28121cb7edb84e542c7b218f1e1c4d059be7b8a15c"
    doc = document(SNAPSHOT)
    paths = [("name",), ("time",), ("max_age_s",), ("universe_digest",)]
    paths += [("index", s, k) for s in doc["index"] for k in ("price", "time", "confidence")]
    paths += [("quotes", i, k) for i, q in doc["quotes"].items() for k in q]
    paths += [("forwards", s, e) for s, curve in doc["forwards"].items() for e in curve]
    digests = {rfc8785.dumps(doc)}
    for path in paths:
        changed = document(SNAPSHOT)
        put(*path, to="changed")(changed)
        digests.add(rfc8785.dumps(changed))
    assert len(digests) == len(paths) + 1
    other = dataclasses.replace(SNAPSHOT, index={**SNAPSHOT.index, "BTC": Index(60_000.01, NOW)})
    assert other.digest != SNAPSHOT.digest


FAULTS: list[tuple[str, Change]] = [
    ("snapshot.universe", put("universe_digest", to="00" * 32)),
    ("field.choice", put("format", to="marginseal-snapshot-9")),
    ("field.unknown", put("weather", to="fine")),
    ("field.missing", drop("forwards")),
    ("field.time", put("time", to="yesterday")),
    ("field.out-of-range", put("max_age_s", to=0)),
    ("field.out-of-range", put("max_age_s", to=86_401)),
    ("snapshot.missing", drop("index", "BTC")),
    ("snapshot.missing", drop("index", "USDC")),
    ("snapshot.unknown-instrument", put("index", "DOGE", to={"price": 1})),
    ("field.out-of-range", put("index", "BTC", "price", to=0)),
    ("field.out-of-range", put("index", "BTC", "price", to=-1)),
    ("field.out-of-range", put("index", "BTC", "price", to=1e13)),
    ("field.number", put("index", "BTC", "price", to="60000")),
    ("field.number", put("index", "BTC", "price", to=True)),
    ("snapshot.missing", drop("quotes", "BTC-PERP")),
    ("snapshot.unknown-instrument", put("quotes", "DOGE", to={"mark": 1})),
    ("snapshot.unknown-instrument", put("quotes", "USD", to={"mark": 1})),
    ("field.missing", drop("quotes", "BTC-PERP", "mark")),
    ("field.out-of-range", put("quotes", "BTC-PERP", "mark", to=0)),
    ("field.out-of-range", put("quotes", OPTION, "mark", to=-0.1)),
    ("field.out-of-range", put("quotes", OPTION, "bid", to=-0.1)),
    ("snapshot.crossed", put("quotes", OPTION, "bid", to=0.0581)),
    ("snapshot.volatility", drop("quotes", OPTION, "iv")),
    ("snapshot.volatility", put("quotes", "BTC", "iv", to=0.5)),
    ("field.out-of-range", put("quotes", OPTION, "iv", to=20.1)),
    ("snapshot.redemption", drop("quotes", "wstETH", "redemption_rate")),
    ("snapshot.redemption", put("quotes", "BTC", "redemption_rate", to=1)),
    ("field.out-of-range", put("quotes", "wstETH", "redemption_rate", to=0)),
    ("field.out-of-range", put("quotes", "BTC", "confidence", to=1.5)),
    ("snapshot.stale", put("quotes", "BTC", "time", to=fields.time_text(NOW - 301))),
    ("snapshot.stale", put("index", "ETH", "time", to=fields.time_text(NOW - 301))),
    ("snapshot.future", put("quotes", "BTC", "time", to=fields.time_text(NOW + 1))),
    ("snapshot.missing", drop("forwards", "BTC")),
    ("snapshot.missing", drop("forwards", "BTC", fields.time_text(EXPIRY))),
    ("snapshot.unknown-instrument", put("forwards", "BTC", fields.time_text(EXPIRY + 1), to=1)),
    ("snapshot.unknown-instrument", put("forwards", "USDC", to={})),
    ("field.out-of-range", put("forwards", "BTC", fields.time_text(EXPIRY), to=0)),
    ("field.time", put("forwards", "BTC", "27MAR26", to=1)),
    ("snapshot.not-expired", put("settled", to=[OPTION])),
    ("snapshot.not-expired", put("settled", to=["BTC"])),
    ("snapshot.unknown-instrument", put("settled", to=["DOGE"])),
    ("snapshot.duplicate", put("settled", to=[OPTION, OPTION])),
]


@pytest.mark.parametrize(("code", "change"), FAULTS)
def test_one_fault_one_refusal(code: str, change: Change) -> None:
    with refused(code):
        reparsed(UNIVERSE, change)


def test_bounds_of_age_and_spread_are_inclusive() -> None:
    reparsed(UNIVERSE, put("quotes", "BTC", "time", to=fields.time_text(NOW - 300)))
    reparsed(UNIVERSE, put("quotes", OPTION, "bid", to=0.058))
    reparsed(UNIVERSE, put("quotes", OPTION, "mark", to=0))


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"1e400"])
def test_numbers_that_are_none(number: bytes) -> None:
    data = snapshot_json(SNAPSHOT)
    assert b'"price": 60000.0' in data
    with refused("json.not-finite"):
        parse_snapshot(data.replace(b'"price": 60000.0', b'"price": ' + number), UNIVERSE)


def test_a_quote_given_twice_is_refused() -> None:
    data = snapshot_json(SNAPSHOT)
    with refused("json.duplicate-key"):
        parse_snapshot(data.replace(b'"quotes": {', b'"quotes": {"BTC": {"mark": 1},'), UNIVERSE)


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("field.number", {"index": {**SNAPSHOT.index, "BTC": Index(float("nan"), NOW)}}),
        ("field.number", {"forwards": {**SNAPSHOT.forwards, "BTC": {EXPIRY: float("inf")}}}),
        ("field.out-of-range", {"index": {**SNAPSHOT.index, "BTC": Index(-1.0, NOW)}}),
    ],
)
def test_a_snapshot_made_by_a_program_obeys_the_same(code: str, change: dict[str, Any]) -> None:
    with refused(code):
        dataclasses.replace(SNAPSHOT, **change).check(UNIVERSE)


def at(moment: int) -> Snapshot:
    """The tiny snapshot with every time moved to one moment."""
    return dataclasses.replace(
        SNAPSHOT,
        time=moment,
        index={k: dataclasses.replace(i, time=moment) for k, i in SNAPSHOT.index.items()},
        quotes={k: dataclasses.replace(q, time=moment) for k, q in SNAPSHOT.quotes.items()},
    )


def test_nothing_expired_is_priced() -> None:
    at(EXPIRY - 1).check(UNIVERSE)
    with refused("snapshot.expired"):
        at(EXPIRY).check(UNIVERSE)


def test_expired_rows_may_be_settled() -> None:
    """After expiry the dated rows need no quote, and the snapshot names them; nothing else may be named."""
    dated = frozenset(i.id for i in UNIVERSE.instruments if i.expiry is not None)
    quotes = {k: q for k, q in at(EXPIRY).quotes.items() if k not in dated}
    later = dataclasses.replace(at(EXPIRY), settled=dated, forwards={}, quotes=quotes)
    later.check(UNIVERSE)
    assert parse_snapshot(snapshot_json(later), UNIVERSE) == later
    with refused("snapshot.unknown-instrument"):
        dataclasses.replace(later, quotes={**quotes, OPTION: SNAPSHOT.quotes[OPTION]}).check(UNIVERSE)
    with refused("snapshot.expired"):
        dataclasses.replace(later, settled=dated - {OPTION}).check(UNIVERSE)
