"""Option chains to universe and snapshot: a generated chain always, faults one at a time, gzip and its limits."""

from __future__ import annotations

import dataclasses
import gzip
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from marginseal.market import fields, importer
from marginseal.market.build import build_epoch
from marginseal.market.importer import CHAIN_COLUMNS, Staked, expiry_name, import_chain, parse_chain, read_chain
from marginseal.market.pricing import black76_greeks
from tests.market.markets import EXPIRY, NOW, parameters, refused, small_chain

CHAIN = small_chain()
ROWS = parse_chain(CHAIN)


def test_a_generated_chain_becomes_a_market() -> None:
    universe, snapshot = import_chain(
        ROWS, staked={"ETH": Staked("stETH", 1.0, 0.998)}, stablecoins={"USDC": 0.9997}, half_spread=0.0002
    )
    assert len(ROWS) == 2 * 2 * 6 * 2
    assert len(universe) == len(ROWS) + 2 + (3 + 2) + (4 + 2)
    assert universe.ids[:5] == ("USD", "USDC", "BTC", "BTC-PERP-LINEAR", "BTC-PERPETUAL")
    assert universe.underlyings == ("BTC", "ETH")
    option = universe.instruments[universe.row("BTC-27MAR26-60000-C")]
    assert (option.contract, str(option.lot), option.expiry, str(option.strike)) == (
        "inverse",
        "0.1",
        EXPIRY,
        "60000.0",
    )
    future = snapshot.quotes["BTC-27MAR26"]
    assert future.mark == snapshot.forwards["BTC"][EXPIRY] == pytest.approx(60_000 * 1.00343, rel=1e-4)
    assert snapshot.quotes["stETH"].mark == pytest.approx(3_000 * 0.998)
    assert snapshot.quotes["BTC"].bid == pytest.approx(59_988.0)
    epoch = build_epoch(universe, snapshot, parameters())
    assert epoch.pnl.shape == (163, len(universe))


def test_marks_are_black76_at_the_quoted_volatility() -> None:
    """The importer's coin prices, the pricer's dollars and the chain's deltas agree."""
    universe, snapshot = import_chain(ROWS)
    for row in ROWS:
        forward = snapshot.forwards[row.currency][row.expiry]
        model = black76_greeks(
            forward, float(row.strike), row.iv, (row.expiry - NOW) / 31_536_000, row.option_type == "call"
        )
        assert float(model.value) / forward == pytest.approx(row.mark, abs=2e-8)
        assert float(model.delta) == pytest.approx(row.delta, abs=2e-5)
        quote = snapshot.quotes[row.name]
        assert quote.bid is None or quote.bid <= quote.mark <= (quote.ask or 1)
    assert universe.row("ETH-26JUN26-3000-P") > 0


def test_the_generator_is_seeded() -> None:
    assert small_chain() == CHAIN
    assert small_chain(seed=8) != CHAIN


def test_without_a_stated_spread_futures_stay_unquoted() -> None:
    _, snapshot = import_chain(ROWS)
    assert snapshot.quotes["BTC-PERPETUAL"].bid is None
    assert snapshot.quotes["BTC-PERPETUAL"].ask is None


def line(**changes: str) -> bytes:
    """The chain's header and first row, changed."""
    lines = CHAIN.decode().splitlines()
    row = dict(zip(CHAIN_COLUMNS, lines[1].split(","), strict=True))
    return (lines[0] + "\n" + ",".join((row | changes).values()) + "\n").encode()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("chain.name", {"instrument_name": "BTC-27MAR26-54000-P"}),
        ("chain.name", {"instrument_name": "BTC-28MAR26-54000-C"}),
        ("chain.name", {"instrument_name": "BTC-27MAR26-55000-C"}),
        ("chain.name", {"instrument_name": "ETH-27MAR26-54000-C"}),
        ("chain.name", {"instrument_name": "BTC-27MAR26-54000"}),
        ("field.name", {"instrument_name": ""}),
        ("field.choice", {"option_type": "both"}),
        ("field.decimal", {"strike": "5e4"}),
        ("field.time", {"expiry_datetime": "2026-03-27"}),
        ("field.time", {"timestamp": ""}),
        ("field.number", {"mark_price": "nan"}),
        ("field.number", {"mark_price": "inf"}),
        ("field.number", {"mark_price": ""}),
        ("field.number", {"bid_price": "0x1"}),
        ("field.number", {"implied_volatility": "1_0"}),
        ("field.out-of-range", {"mark_price": "-0.1"}),
        ("field.out-of-range", {"implied_volatility": "21"}),
        ("field.out-of-range", {"delta": "1.1"}),
        ("field.out-of-range", {"index_price": "0"}),
        ("field.out-of-range", {"underlying": "1e99"}),
    ],
)
def test_a_faulty_row_is_refused(code: str, change: dict[str, str]) -> None:
    assert len(parse_chain(line())) == 1
    with refused(code):
        parse_chain(line(**change))


def test_a_chain_of_several_moments() -> None:
    later = [dataclasses.replace(row, time=row.time + 60) for row in ROWS]
    with refused("chain.time"):
        import_chain([*ROWS, *later])
    assert import_chain([*ROWS, *later], time=NOW + 60)[1].time == NOW + 60
    with refused("chain.empty"):
        import_chain(ROWS, time=NOW + 1)
    with refused("chain.empty"):
        import_chain([])
    with refused("chain.duplicate"):
        import_chain([*ROWS, ROWS[0]])


def test_rows_collected_one_by_one() -> None:
    """Index and forward are medians; a crossed quote loses both sides; an expired row is left out."""
    first = dataclasses.replace(ROWS[0], bid=0.9, ask=0.1, index=1.0, forward=1.0)
    gone = dataclasses.replace(ROWS[1], expiry=NOW)
    universe, snapshot = import_chain([first, gone, *ROWS[2:]])
    assert snapshot.quotes[first.name].bid is None
    assert snapshot.quotes[first.name].ask is None
    assert snapshot.index["BTC"].price == 60_000.0
    assert snapshot.forwards["BTC"][EXPIRY] == ROWS[2].forward
    with refused("universe.unknown-instrument"):
        universe.row(gone.name)


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, packed, broken = tmp_path / "c.csv", tmp_path / "c.csv.gz", tmp_path / "broken.gz"
    plain.write_bytes(CHAIN)
    packed.write_bytes(gzip.compress(CHAIN))
    assert read_chain(plain) == read_chain(packed) == ROWS
    broken.write_bytes(gzip.compress(CHAIN)[:-20])
    with refused("chain.gzip"):
        read_chain(broken)
    broken.write_bytes(b"\x1f\x8b" + b"\x00" * 50)
    with refused("chain.gzip"):
        read_chain(broken)
    # A small file that unpacks to a large one stops at the limit, before the memory is taken.
    monkeypatch.setattr(importer, "MAX_CHAIN_BYTES", 100_000)
    packed.write_bytes(gzip.compress(bytes(2**25)))
    tracemalloc.start()
    with refused("file.too-large"):
        read_chain(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**22
    with refused("file.missing"):
        read_chain(tmp_path / "none")


def test_expiry_names() -> None:
    assert expiry_name(EXPIRY) == "27MAR26"
    assert expiry_name(fields.time("2026-09-04T08:00:00Z", "x")) == "4SEP26"


class Watched(importer.ChainRow):
    """A row that counts how often it is looked at."""

    looks = 0

    def __getattribute__(self, name: str) -> Any:
        Watched.looks += 1
        return super().__getattribute__(name)


def test_a_chain_of_as_many_expiries_as_rows_takes_no_longer() -> None:
    """A file within the limits has a million rows: a look at every row for every expiry would take half a day."""
    first, count = dataclasses.asdict(ROWS[0]), 1500
    rows = [Watched(**first | {"name": f"{ROWS[0].name}{k}", "expiry": EXPIRY + 86_400 * k}) for k in range(count)]
    Watched.looks = 0
    _, snapshot = import_chain(rows)
    assert len(snapshot.forwards[ROWS[0].currency]) == count
    assert Watched.looks < 100 * count
