"""The universe: the ordered list of instruments whose row numbers every commitment, epoch and proof shares.

Row = index, and rows are append-only: a later universe begins with the rows of the earlier one (`extends`), so a
holdings vector keeps its meaning.  An instrument fixes what one lot is, exactly, and how many lots one book may hold;
what it is worth is left to the snapshot.  Files: docs/formats.md, "Universe".
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rfc8785

from marginseal.errors import InputError, RangeError
from marginseal.files import MAX_JSON_BYTES, parse_json, read_bytes
from marginseal.market import fields
from marginseal.market.epoch_bounds import MAX_INSTRUMENTS, MAX_LOTS, MAX_UNDERLYINGS

FORMAT = "marginseal-universe-1"
KINDS = ("cash", "spot", "staked", "perpetual", "future", "option")
CONTRACTS = ("linear", "inverse")
OPTION_TYPES = ("call", "put")
LOT_BOUNDS = ("0.000000000001", "1000000000")
STRIKE_BOUNDS = ("0.000001", "1000000000000")
CSV_COLUMNS = ("id", "kind", "underlying", "contract", "lot", "expiry", "strike", "option_type", "max_lots")
_DOMAIN = b"MARGINSEAL-V1-UNIVERSE\x00"
_OPTIONAL = ("expiry", "strike", "option_type")


@dataclass(frozen=True)
class Instrument:
    """One row: what a lot is.

    id           1..64 bytes of UTF-8, unique in its universe
    kind         cash, spot, staked (a token that redeems for its underlying), perpetual, future, option
    underlying   asset symbol ("BTC"); for cash, the currency itself
    contract     linear, or inverse (margined and settled in the underlying; perpetuals, futures and options only)
    lot          units of the underlying per lot (staked: units of the token; inverse perpetuals and futures: notional
                 in the settlement currency), an exact decimal
    expiry       unix seconds; futures and options only
    strike, option_type   options only: settlement currency per unit, and call or put
    max_lots     bound on |lots| of one book, 1 <= max_lots < 2**43
    """

    id: str
    kind: str
    underlying: str
    contract: str
    lot: Decimal
    max_lots: int
    expiry: int | None = None
    strike: Decimal | None = None
    option_type: str | None = None

    def __post_init__(self) -> None:
        fields.name(self.id, "instrument id")
        fields.symbol(self.underlying, f"{self.id}: underlying")
        fields.choice(self.kind, f"{self.id}: kind", KINDS)
        fields.choice(self.contract, f"{self.id}: contract", CONTRACTS)
        fields.exact(self.lot, f"{self.id}: lot", *LOT_BOUNDS)
        fields.integer(self.max_lots, f"{self.id}: max_lots", low=1, high=MAX_LOTS - 1)
        if self.contract == "inverse" and self.kind in ("cash", "spot", "staked"):
            raise InputError("universe.contract", f"{self.id}: {self.kind} cannot be inverse")
        dated = self.kind in ("future", "option")
        if dated != (self.expiry is not None):
            raise InputError("universe.expiry", f"{self.id}: {self.kind} {'needs an' if dated else 'has no'} expiry")
        if self.expiry is not None:
            fields.integer(self.expiry, f"{self.id}: expiry", low=0, high=fields.MAX_TIME)
        option = self.kind == "option"
        if option != (self.strike is not None) or option != (self.option_type is not None):
            raise InputError("universe.option", f"{self.id}: strike and option_type belong to options, both of them")
        if self.strike is not None:
            fields.exact(self.strike, f"{self.id}: strike", *STRIKE_BOUNDS)
            fields.choice(self.option_type, f"{self.id}: option_type", OPTION_TYPES)

    def document(self) -> dict[str, Any]:
        """The JSON object of this row, in normal form: exact decimals as text, absent fields left out."""
        out: dict[str, Any] = {
            "id": self.id,
            "kind": self.kind,
            "underlying": self.underlying,
            "contract": self.contract,
            "lot": fields.decimal_text(self.lot),
            "max_lots": self.max_lots,
        }
        if self.expiry is not None:
            out["expiry"] = fields.time_text(self.expiry)
        if self.strike is not None:
            out["strike"] = fields.decimal_text(self.strike)
            out["option_type"] = self.option_type
        return out


@dataclass(frozen=True)
class Universe:
    """Ordered instruments, row = index; at most 4,096 rows x 16 tiles.  InputError, RangeError universe.*."""

    name: str
    settlement: str
    instruments: tuple[Instrument, ...]

    def __post_init__(self) -> None:
        fields.name(self.name, "universe name")
        fields.symbol(self.settlement, "settlement currency")
        if not self.instruments:
            raise InputError("universe.empty", "a universe needs at least one instrument")
        if len(self.instruments) > MAX_INSTRUMENTS:
            raise RangeError("universe.size", f"more than {MAX_INSTRUMENTS} instruments")
        seen: set[str] = set()
        for instrument in self.instruments:
            if instrument.id in seen:
                raise InputError("universe.duplicate", f"{instrument.id}: listed twice")
            seen.add(instrument.id)
        both = {self.settlement, *self.currencies}.intersection(self.underlyings)
        if both:
            raise InputError("universe.currency", f"{min(both)}: is cash, and cannot be an underlying as well")
        if len(self.underlyings) > MAX_UNDERLYINGS:
            raise RangeError("universe.size", f"more than {MAX_UNDERLYINGS} underlyings")

    def __len__(self) -> int:
        return len(self.instruments)

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Instrument ids in row order."""
        return tuple(i.id for i in self.instruments)

    @cached_property
    def underlyings(self) -> tuple[str, ...]:
        """The assets that scenarios move, in order of first appearance; cash is not among them."""
        return tuple(dict.fromkeys(i.underlying for i in self.instruments if i.kind != "cash"))

    @cached_property
    def currencies(self) -> tuple[str, ...]:
        """Cash other than the settlement currency (stablecoins), in order of first appearance."""
        cash = (i.underlying for i in self.instruments if i.kind == "cash" and i.underlying != self.settlement)
        return tuple(dict.fromkeys(cash))

    @cached_property
    def _rows(self) -> Mapping[str, int]:
        return MappingProxyType({i.id: row for row, i in enumerate(self.instruments)})

    def row(self, instrument_id: str) -> int:
        """The row of an instrument.  InputError universe.unknown-instrument."""
        try:
            return self._rows[instrument_id]
        except KeyError:
            shown = instrument_id[: fields.MAX_NAME_BYTES]
            raise InputError("universe.unknown-instrument", f"{shown!r} is not in universe {self.name}") from None

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of a domain label and the RFC 8785 form of the document."""
        return hashlib.sha256(_DOMAIN + rfc8785.dumps(self.document())).digest()

    def extends(self, older: Universe) -> bool:
        """Whether every row of `older` keeps its number and meaning here."""
        return self.settlement == older.settlement and self.instruments[: len(older)] == older.instruments

    def document(self) -> dict[str, Any]:
        """The JSON document in normal form."""
        return {
            "format": FORMAT,
            "name": self.name,
            "settlement": self.settlement,
            "instruments": [i.document() for i in self.instruments],
        }


def parse_universe(data: bytes) -> Universe:
    """A universe from its JSON file.  DecodeError json.*, InputError field.*, universe.*, RangeError."""
    top = fields.obj(
        parse_json(data, what="universe"), "universe", required=("format", "name", "settlement", "instruments")
    )
    fields.choice(top["format"], "universe: format", (FORMAT,))
    rows = fields.array(top["instruments"], "universe: instruments", high=MAX_INSTRUMENTS)
    return Universe(
        name=fields.name(top["name"], "universe name"),
        settlement=fields.symbol(top["settlement"], "settlement currency"),
        instruments=tuple(_instrument(row, f"instrument {number}") for number, row in enumerate(rows)),
    )


def _instrument(row: object, what: str) -> Instrument:
    required = [c for c in CSV_COLUMNS if c not in _OPTIONAL]
    r = fields.obj(row, what, required=required, optional=_OPTIONAL)
    lot_low, lot_high = LOT_BOUNDS
    low, high = STRIKE_BOUNDS
    return Instrument(
        id=fields.name(r["id"], f"{what}: id"),
        kind=fields.choice(r["kind"], f"{what}: kind", KINDS),
        underlying=fields.symbol(r["underlying"], f"{what}: underlying"),
        contract=fields.choice(r["contract"], f"{what}: contract", CONTRACTS),
        lot=fields.decimal(r["lot"], f"{what}: lot", low=lot_low, high=lot_high),
        max_lots=fields.integer(r["max_lots"], f"{what}: max_lots", low=1, high=MAX_LOTS - 1),
        expiry=fields.time(r["expiry"], f"{what}: expiry") if "expiry" in r else None,
        strike=fields.decimal(r["strike"], f"{what}: strike", low=low, high=high) if "strike" in r else None,
        option_type=fields.choice(r["option_type"], f"{what}: option_type", OPTION_TYPES)
        if "option_type" in r
        else None,
    )


def universe_json(universe: Universe) -> bytes:
    """The JSON file: one instrument a line, so that a change of rows reads well in a diff."""
    return fields.pretty(universe.document())


def parse_universe_csv(data: bytes, *, name: str, settlement: str) -> Universe:
    """A universe from CSV with a header of CSV_COLUMNS; name and settlement currency come from the caller."""
    rows = fields.csv_rows(data, "universe", columns=CSV_COLUMNS, high=MAX_INSTRUMENTS)
    instruments = []
    for line, row in rows:
        document: dict[str, Any] = {k: v for k, v in row.items() if v or k not in _OPTIONAL}
        document["max_lots"] = fields.whole(row["max_lots"], f"line {line}: max_lots")
        instruments.append(_instrument(document, f"line {line}"))
    return Universe(name=name, settlement=settlement, instruments=tuple(instruments))


def universe_csv(universe: Universe) -> bytes:
    """The instruments as CSV, columns CSV_COLUMNS; the name and settlement currency are not in it."""
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(i.document() for i in universe.instruments)
    return out.getvalue().encode()


def read_universe(path: Path) -> Universe:
    """`parse_universe` of a file of at most 64 MB.  InputError file.*."""
    return parse_universe(read_bytes(path, limit=MAX_JSON_BYTES, what="universe"))
