"""Snapshots as a table: there and back, the same digest, one refusal for each fault."""

from __future__ import annotations

import pytest

from marginseal.errors import InputError, RangeError
from marginseal.market.example import ExampleMarket, example_market
from marginseal.market.snapshot import Snapshot
from marginseal.market.snapshot_csv import CSV_COLUMNS, parse_snapshot_csv, snapshot_csv
from tests.market.markets import NOW, one_of_each, snapshot_of

UNIVERSE = one_of_each()
SNAPSHOT = snapshot_of(UNIVERSE)
TABLE = snapshot_csv(SNAPSHOT).decode()


def read(table: str) -> Snapshot:
    return parse_snapshot_csv(table.encode(), UNIVERSE, name=SNAPSHOT.name, time=NOW, max_age_s=SNAPSHOT.max_age_s)


def row(kind: str, name: str, **cells: str) -> str:
    return ",".join({"kind": kind, "name": name, **cells}.get(column, "") for column in CSV_COLUMNS) + "\n"


def test_there_and_back() -> None:
    assert read(TABLE) == SNAPSHOT
    assert read(TABLE).digest == SNAPSHOT.digest
    head, *rows = TABLE.splitlines(keepends=True)
    assert read(head + "".join(reversed(rows))).digest == SNAPSHOT.digest


def test_the_shipped_market_there_and_back() -> None:
    market: ExampleMarket = example_market()
    s = market.snapshot
    again = parse_snapshot_csv(snapshot_csv(s), market.universe, name=s.name, time=s.time, max_age_s=s.max_age_s)
    assert again.digest == s.digest


@pytest.mark.parametrize(
    ("code", "more"),
    [
        ("field.choice", row("price", "BTC", price="1")),
        ("snapshot.cells", row("index", "BTC")),
        ("snapshot.cells", row("index", "BTC", price="1", bid="1")),
        ("snapshot.cells", row("forward", "BTC", price="1")),
        ("snapshot.cells", row("forward", "BTC", price="1", expiry="2026-03-27T08:00:00Z", iv="1")),
        ("snapshot.cells", row("quote", "BTC")),
        ("snapshot.cells", row("settled", "BTC", price="1")),
        ("field.name", row("index", "", price="1")),
        ("field.number", row("index", "X", price="nan")),
        ("field.number", row("index", "X", price="1,5".replace(",", "_"))),
        ("field.number", row("index", "X", price="0x10")),
        ("field.number", row("index", "X", price=" 1")),
        ("field.number", row("index", "X", price="1e999")),
        ("field.out-of-range", row("index", "X", price="-1")),
        ("field.time", row("index", "X", price="1", time="yesterday")),
        ("snapshot.duplicate", row("index", "BTC", price="1")),
        ("snapshot.duplicate", row("quote", "BTC", price="1")),
        ("snapshot.unknown-instrument", row("index", "X", price="1")),
        ("snapshot.unknown-instrument", row("quote", "X", price="1")),
        ("snapshot.unknown-instrument", row("settled", "X")),
        ("csv.columns", "index,BTC\n"),
    ],
)
def test_a_row_that_does_not_belong(code: str, more: str) -> None:
    with pytest.raises((InputError, RangeError)) as caught:
        read(TABLE + more)
    assert caught.value.code == code


def test_a_missing_row_is_missed() -> None:
    head, *rows = TABLE.splitlines(keepends=True)
    for gone in range(len(rows)):
        with pytest.raises(InputError, match=r"snapshot\.(missing|expired)"):
            read(head + "".join(rows[:gone] + rows[gone + 1 :]))
