"""Universes: files there and back, digests, append-only rows, and every refusal."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from marginseal.market.epoch_bounds import MAX_INSTRUMENTS, MAX_LOTS
from marginseal.market.universe import (
    Instrument,
    Universe,
    parse_universe,
    parse_universe_csv,
    read_universe,
    universe_csv,
    universe_json,
)
from tests.market.markets import document, one_of_each, refused

UNIVERSE = one_of_each()


def test_json_and_csv_there_and_back(tmp_path: Path) -> None:
    assert parse_universe(universe_json(UNIVERSE)) == UNIVERSE
    csv = universe_csv(UNIVERSE)
    assert parse_universe_csv(csv, name="one of each", settlement="USD") == UNIVERSE
    (tmp_path / "u.json").write_bytes(universe_json(UNIVERSE))
    assert read_universe(tmp_path / "u.json").digest == UNIVERSE.digest
    assert parse_universe(universe_json(parse_universe_csv(csv, name="other", settlement="USD"))).name == "other"
    with refused("file.missing"):
        read_universe(tmp_path / "none.json")


def test_rows_and_underlyings() -> None:
    assert UNIVERSE.row("BTC-PERP") == 4
    assert UNIVERSE.ids[4] == "BTC-PERP"
    assert UNIVERSE.underlyings == ("BTC", "ETH")
    assert UNIVERSE.currencies == ("USDC",)
    with refused("universe.unknown-instrument"):
        UNIVERSE.row("DOGE")


def test_the_digest_is_pinned_and_sees_everything() -> None:
    """The domain label, RFC 8785 and every field: known-answer first, then one change at a time."""
    assert UNIVERSE.digest.hex() == "3a11f58e29a8950da9582dad1b4d2faa81ee4ed64a507441861f09b3d85e4796"
    seen = {UNIVERSE.digest}
    option = UNIVERSE.instruments[8]
    changes: list[dict[str, Any]] = [
        {"id": "x"},
        {"underlying": "ETH"},
        {"contract": "linear"},
        {"lot": Decimal("0.2")},
        {"max_lots": 5},
        {"expiry": 5},
        {"strike": Decimal(1)},
        {"option_type": "put"},
    ]
    for change in changes:
        other = dataclasses.replace(option, **change)
        seen.add(Universe("one of each", "USD", (*UNIVERSE.instruments[:8], other, *UNIVERSE.instruments[9:])).digest)
    swapped = (UNIVERSE.instruments[1], UNIVERSE.instruments[0], *UNIVERSE.instruments[2:])
    seen.add(Universe("one of each", "USD", swapped).digest)
    seen.add(dataclasses.replace(UNIVERSE, name="x").digest)
    seen.add(dataclasses.replace(UNIVERSE, settlement="EUR").digest)
    assert len(seen) == len(changes) + 4


def test_equal_values_have_equal_digests() -> None:
    """1.50 and 1.5 are one lot, and their universes one universe."""
    one, other = (
        Universe("u", "USD", (Instrument("a", "spot", "BTC", "linear", Decimal(text), 5),)) for text in ("1.50", "1.5")
    )
    assert one == other
    assert one.digest == other.digest


def test_append_only() -> None:
    longer = dataclasses.replace(
        UNIVERSE, instruments=(*UNIVERSE.instruments, Instrument("ETH", "spot", "ETH", "linear", Decimal(1), 5))
    )
    moved = dataclasses.replace(longer, instruments=longer.instruments[::-1])
    assert longer.extends(UNIVERSE)
    assert not UNIVERSE.extends(longer)
    assert not moved.extends(UNIVERSE)


def edited(row: int, **change: Any) -> bytes:
    doc = document(UNIVERSE)
    for key, value in change.items():
        if value is None:
            del doc["instruments"][row][key]
        else:
            doc["instruments"][row][key] = value
    return rfc8785.dumps(doc)


@pytest.mark.parametrize(
    ("code", "row", "change"),
    [
        ("field.name", 0, {"id": ""}),
        ("field.choice", 0, {"kind": "swap"}),
        ("field.symbol", 0, {"underlying": "a b"}),
        ("field.choice", 0, {"contract": "quanto"}),
        ("field.decimal", 0, {"lot": 1}),
        ("field.out-of-range", 0, {"lot": "0"}),
        ("field.out-of-range", 0, {"max_lots": 0}),
        ("field.out-of-range", 0, {"max_lots": MAX_LOTS}),
        ("field.integer", 0, {"max_lots": "5"}),
        ("universe.contract", 2, {"contract": "inverse"}),
        ("universe.expiry", 2, {"expiry": "2026-03-27T08:00:00Z"}),
        ("universe.expiry", 6, {"expiry": None}),
        ("universe.option", 6, {"strike": "5"}),
        ("universe.option", 8, {"strike": None}),
        ("universe.option", 8, {"option_type": None}),
        ("field.choice", 8, {"option_type": "straddle"}),
        ("field.out-of-range", 8, {"strike": "0"}),
        ("universe.duplicate", 4, {"id": "BTC"}),
        ("universe.currency", 4, {"underlying": "USDC"}),
        ("universe.currency", 4, {"underlying": "USD"}),
        ("field.unknown", 4, {"colour": "red"}),
        ("field.missing", 4, {"lot": None}),
    ],
)
def test_a_faulty_row_is_refused(code: str, row: int, change: dict[str, Any]) -> None:
    with refused(code):
        parse_universe(edited(row, **change))


def test_a_faulty_file_is_refused() -> None:
    good = universe_json(UNIVERSE)
    for code, data in (
        ("json.malformed", good[:-3]),
        ("json.duplicate-key", good.replace(b'"name"', b'"format"', 1)),
        ("field.choice", good.replace(b"universe-1", b"universe-2")),
        ("universe.empty", rfc8785.dumps(document(UNIVERSE) | {"instruments": []})),
        ("field.object", b"[]"),
        ("field.name", good.replace(b'"id": "BTC-PERP"', b'"id": "\\ud800"')),
    ):
        with refused(code):
            parse_universe(data)
    with refused("field.integer"):
        parse_universe_csv(universe_csv(UNIVERSE).replace(b"1000000", b"1e6"), name="u", settlement="USD")
    with refused("csv.header"):
        parse_universe_csv(b"id\n", name="u", settlement="USD")


def test_sizes() -> None:
    row = UNIVERSE.instruments[2]
    many = tuple(dataclasses.replace(row, id=f"i{k}", underlying=f"U{k % 257}") for k in range(257))
    with refused("universe.size"):
        Universe("u", "USD", many)
    doc = document(UNIVERSE) | {"instruments": [0] * (MAX_INSTRUMENTS + 1)}
    with refused("field.out-of-range"):
        parse_universe(rfc8785.dumps(doc))
