"""Holdings: signed whole lots per row of a universe, from one file or from several sources netted.

A portfolio is private.  Nothing here puts an instrument or a quantity into an error message or a `repr`; faults are
named by line or entry number.  Commitments and openings are left to marginseal.records.  Files: docs/formats.md.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from marginseal.errors import InputError, RangeError
from marginseal.files import MAX_JSON_BYTES, parse_json, read_bytes
from marginseal.market import fields
from marginseal.market.universe import Universe

FORMAT = "marginseal-holdings-1"
CSV_COLUMNS = ("instrument", "lots")
MAX_SUM = 2**62  # netted lots stay below this, whatever the number of sources (protocol section 3)


@dataclass(frozen=True, eq=False)
class Portfolio:
    """lots int64 (N,), read-only, by row: q = long - short.  Within max_lots in a file, below 2**62 when netted."""

    universe_digest: bytes
    lots: npt.NDArray[np.int64] = field(repr=False)

    def __post_init__(self) -> None:
        if self.lots.dtype != np.int64 or self.lots.ndim != 1:
            raise InputError("holdings.shape", "lots must be an int64 vector")
        if self.lots.size and (int(self.lots.min()) <= -MAX_SUM or int(self.lots.max()) >= MAX_SUM):
            raise RangeError("holdings.out-of-range", "a netted quantity reaches 2**62 lots")
        lots = self.lots.copy()
        lots.flags.writeable = False
        object.__setattr__(self, "lots", lots)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Portfolio)
            and self.universe_digest == other.universe_digest
            and bool(np.array_equal(self.lots, other.lots))
        )

    __hash__ = None  # type: ignore[assignment]


def portfolio_from(universe: Universe, holdings: Iterable[tuple[str, int, str]]) -> Portfolio:
    """A portfolio from (instrument id, lots, where) triples; `where` names the entry in errors ("line 3").

    InputError holdings.unknown-instrument, holdings.duplicate, field.integer; RangeError holdings.out-of-range."""
    lots = np.zeros(len(universe), dtype=np.int64)
    seen: set[int] = set()
    for instrument_id, quantity, where in holdings:
        try:
            row = universe.row(instrument_id)
        except InputError:
            raise InputError("holdings.unknown-instrument", f"{where}: no such instrument in the universe") from None
        if row in seen:
            raise InputError("holdings.duplicate", f"{where}: the instrument was listed before")
        seen.add(row)
        if type(quantity) is not int:
            raise InputError("holdings.fractional", f"{where}: lots must be a whole number")
        if abs(quantity) > universe.instruments[row].max_lots:
            raise RangeError("holdings.out-of-range", f"{where}: more lots than the universe allows")
        lots[row] = quantity
    return Portfolio(universe.digest, lots)


def parse_holdings_csv(data: bytes, universe: Universe, what: str = "holdings") -> Portfolio:
    """Holdings from CSV `instrument,lots`; `what` begins every error.  InputError csv.*, holdings.*, RangeError."""
    rows = fields.csv_rows(data, what, columns=CSV_COLUMNS, high=len(universe))
    triples = []
    for line, row in rows:
        where = f"{what}: line {line}"
        try:
            quantity = fields.whole(row["lots"], where)
        except InputError:
            raise InputError("holdings.fractional", f"{where}: lots must be a whole number") from None
        triples.append((row["instrument"], quantity, where))
    return portfolio_from(universe, triples)


def parse_holdings_json(data: bytes, universe: Universe, what: str = "holdings") -> Portfolio:
    """Holdings from JSON; a universe_digest, where given, must be this universe's.  DecodeError json.*, InputError."""
    top = fields.obj(parse_json(data, what=what), what, required=("format", "holdings"), optional=("universe_digest",))
    fields.choice(top["format"], f"{what}: format", (FORMAT,))
    if "universe_digest" in top and fields.digest(top["universe_digest"], what) != universe.digest:
        raise InputError("holdings.universe", f"{what}: not of universe {universe.name}")
    triples = []
    for number, item in enumerate(fields.array(top["holdings"], what, high=len(universe))):
        where = f"{what}: entry {number}"
        entry = fields.obj(item, where, required=CSV_COLUMNS)
        if not isinstance(entry["instrument"], str):
            raise InputError("holdings.unknown-instrument", f"{where}: no such instrument in the universe")
        triples.append((entry["instrument"], entry["lots"], where))
    return portfolio_from(universe, triples)


def read_holdings(path: Path, universe: Universe) -> Portfolio:
    """Holdings from a .json file, or a CSV file of any other name.  InputError file.*, and as the parsers."""
    data = read_bytes(path, limit=MAX_JSON_BYTES, what="holdings")
    parse = parse_holdings_json if path.suffix == ".json" else parse_holdings_csv
    return parse(data, universe, f"holdings {path.name}")


def holdings_csv(portfolio: Portfolio, universe: Universe) -> bytes:
    """The CSV file: the non-zero rows in order.  InputError holdings.universe."""
    _same_universe(portfolio, universe)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    writer.writerows((universe.ids[row], int(portfolio.lots[row])) for row in np.flatnonzero(portfolio.lots))
    return out.getvalue().encode()


def holdings_json(portfolio: Portfolio, universe: Universe) -> bytes:
    """The JSON file: the non-zero rows in order, and the universe they are of.  InputError holdings.universe."""
    _same_universe(portfolio, universe)
    rows = np.flatnonzero(portfolio.lots)
    return fields.pretty(
        {
            "format": FORMAT,
            "universe_digest": universe.digest.hex(),
            "holdings": [{"instrument": universe.ids[r], "lots": int(portfolio.lots[r])} for r in rows],
        }
    )


def merge(parts: Iterable[Portfolio]) -> Portfolio:
    """The sum of several sources' holdings, row by row.  InputError holdings.empty, holdings.universe, RangeError."""
    sources = list(parts)
    if not sources:
        raise InputError("holdings.empty", "there are no holdings to merge")
    total = np.zeros_like(sources[0].lots)
    for part in sources:
        if part.universe_digest != sources[0].universe_digest or part.lots.shape != total.shape:
            raise InputError("holdings.universe", "the holdings are not of one universe")
        total = Portfolio(part.universe_digest, total + part.lots).lots  # below 2**62 each: the sum cannot wrap
    return Portfolio(sources[0].universe_digest, total)


def _same_universe(portfolio: Portfolio, universe: Universe) -> None:
    if portfolio.universe_digest != universe.digest:
        raise InputError("holdings.universe", f"the holdings are not of universe {universe.name}")
