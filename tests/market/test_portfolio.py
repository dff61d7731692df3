"""Holdings: files there and back, netting, refusals, and nothing private in errors or representations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from marginseal.errors import MarginSealError
from marginseal.market.portfolio import (
    MAX_SUM,
    Portfolio,
    holdings_csv,
    holdings_json,
    merge,
    parse_holdings_csv,
    parse_holdings_json,
    portfolio_from,
    read_holdings,
)
from tests.market.markets import one_of_each, refused

UNIVERSE = one_of_each()
CSV = b"instrument,lots\nUSD,5000\nBTC-PERP,-123456\n"


def test_there_and_back(tmp_path: Path) -> None:
    book = parse_holdings_csv(CSV, UNIVERSE)
    assert book.lots.tolist() == [5000, 0, 0, 0, -123456, 0, 0, 0, 0, 0]
    assert not book.lots.flags.writeable
    assert holdings_csv(book, UNIVERSE) == CSV
    assert parse_holdings_json(holdings_json(book, UNIVERSE), UNIVERSE) == book
    (tmp_path / "b.csv").write_bytes(CSV)
    (tmp_path / "b.json").write_bytes(holdings_json(book, UNIVERSE))
    assert read_holdings(tmp_path / "b.csv", UNIVERSE) == read_holdings(tmp_path / "b.json", UNIVERSE) == book
    assert book != merge([book, book])


@pytest.mark.parametrize(
    ("code", "rows"),
    [
        ("holdings.unknown-instrument", b"DOGE,5\n"),
        ("holdings.duplicate", b"USD,5\nUSD,0\n"),
        ("holdings.fractional", b"USD,0.5\n"),
        ("holdings.fractional", b"USD,1e3\n"),
        ("holdings.fractional", b"USD,\n"),
        ("holdings.out-of-range", b"BTC,1000001\n"),
        ("holdings.out-of-range", b"BTC,-1000001\n"),
        ("holdings.out-of-range", b"BTC,-9223372036854775808\n"),
        ("csv.columns", b"USD,5,5\n"),
        ("csv.too-long", b"USD,1\n" * 11),
    ],
)
def test_csv_faults(code: str, rows: bytes) -> None:
    with refused(code):
        parse_holdings_csv(b"instrument,lots\n" + rows, UNIVERSE)
    assert parse_holdings_csv(b"instrument,lots\nBTC,1000000\n", UNIVERSE).lots[2] == 10**6


@pytest.mark.parametrize(
    ("code", "entries"),
    [
        ("holdings.fractional", '[{"instrument": "USD", "lots": 1.0}]'),
        ("holdings.fractional", '[{"instrument": "USD", "lots": true}]'),
        ("holdings.fractional", '[{"instrument": "USD", "lots": "5"}]'),
        ("holdings.unknown-instrument", '[{"instrument": 5, "lots": 5}]'),
        ("holdings.unknown-instrument", '[{"instrument": "usd", "lots": 5}]'),
        ("holdings.duplicate", '[{"instrument": "USD", "lots": 5}, {"instrument": "USD", "lots": 5}]'),
        ("holdings.out-of-range", '[{"instrument": "BTC", "lots": 1' + "0" * 400 + "}]"),
        ("field.missing", '[{"instrument": "USD"}]'),
        ("field.array", "{}"),
    ],
)
def test_json_faults(code: str, entries: str) -> None:
    with refused(code):
        parse_holdings_json(f'{{"format": "marginseal-holdings-1", "holdings": {entries}}}'.encode(), UNIVERSE)


def test_holdings_of_another_universe() -> None:
    book = parse_holdings_csv(CSV, UNIVERSE)
    other = holdings_json(book, UNIVERSE).replace(UNIVERSE.digest.hex().encode(), b"00" * 32)
    with refused("holdings.universe"):
        parse_holdings_json(other, UNIVERSE)
    stranger = Portfolio(bytes(32), book.lots)
    for attempt in (lambda: merge([book, stranger]), lambda: holdings_csv(stranger, UNIVERSE)):
        with refused("holdings.universe"):
            attempt()


def test_sources_are_netted_exactly() -> None:
    a = portfolio_from(UNIVERSE, [("BTC-PERP", 10**6, "a")])
    b = portfolio_from(UNIVERSE, [("BTC-PERP", -999_999, "b"), ("USD", 7, "b")])
    assert merge([a, b]).lots[[0, 4]].tolist() == [7, 1]
    assert merge([a]) == a
    with refused("holdings.empty"):
        merge([])


def test_sums_do_not_wrap() -> None:
    lots = np.zeros(10, dtype=np.int64)
    lots[0] = MAX_SUM - 1
    big = Portfolio(UNIVERSE.digest, lots)
    with refused("holdings.out-of-range"):
        merge([big, big])
    for bad in (MAX_SUM, -MAX_SUM, -(2**63)):
        with refused("holdings.out-of-range"):
            Portfolio(UNIVERSE.digest, np.array([bad]))
    for shape in (np.zeros((2, 2), dtype=np.int64), np.zeros(3)):
        with refused("holdings.shape"):
            Portfolio(UNIVERSE.digest, shape)


def test_nothing_private_is_shown() -> None:
    """No instrument and no quantity in a representation or an error."""
    book = parse_holdings_csv(CSV, UNIVERSE)
    assert "123456" not in repr(book)
    for rows in (b"BTC-PERP,7777777\n", b"BTC-PERP,77.77\n", b"BTC-PERP,7\nBTC-PERP,7\n", b"SECRET,777\n"):
        with pytest.raises(MarginSealError) as caught:
            parse_holdings_csv(b"instrument,lots\n" + rows, UNIVERSE)
        shown = str(caught.value)
        assert "PERP" not in shown
        assert "SECRET" not in shown
        assert "77" not in shown
        assert caught.value.__cause__ is None
