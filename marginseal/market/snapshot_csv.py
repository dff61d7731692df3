"""A market snapshot as one table, for desks that keep their prices in sheets: one row a price.

    kind        name                 cells                                                    (columns: CSV_COLUMNS)
    index       symbol               price, and if they are not the default: time, confidence
    forward     underlying           expiry, price
    quote       instrument           price (the mark), bid, ask, iv, redemption_rate, time, confidence
    settled     instrument

What a cell means, and its bounds, are those of the JSON file (docs/formats.md); a cell that a row of its kind has no
use for stays empty.  The table has no heading of its own: name, time and age come from the caller, the universe's
digest from the universe.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from marginseal.errors import InputError
from marginseal.market import fields
from marginseal.market.epoch_bounds import MAX_INSTRUMENTS, MAX_UNDERLYINGS
from marginseal.market.snapshot import FORMAT, Snapshot, snapshot_from
from marginseal.market.universe import Universe

CSV_COLUMNS = ("kind", "name", "expiry", "price", "bid", "ask", "iv", "redemption_rate", "time", "confidence")
_MAX_ROWS = 2 * (MAX_INSTRUMENTS + MAX_UNDERLYINGS)
_NEEDED: Mapping[str, tuple[str, ...]] = {
    "index": ("price",),
    "forward": ("expiry", "price"),
    "quote": ("price",),
    "settled": (),
}
_OPTIONAL: Mapping[str, tuple[str, ...]] = {
    "index": ("time", "confidence"),
    "forward": (),
    "quote": ("bid", "ask", "iv", "redemption_rate", "time", "confidence"),
    "settled": (),
}


def parse_snapshot_csv(data: bytes, universe: Universe, *, name: str, time: int, max_age_s: int) -> Snapshot:
    """A checked snapshot of `universe` from CSV with a header of CSV_COLUMNS, at `time` (unix seconds).

    InputError csv.*, field.*, snapshot.*, RangeError: as for the JSON file, with the line where it is one row's."""
    tables: dict[str, dict[str, Any]] = {"index": {}, "quote": {}, "settled": {}}
    forwards: dict[str, dict[str, Any]] = {}
    for line, row in fields.csv_rows(data, "snapshot", columns=CSV_COLUMNS, high=_MAX_ROWS):
        kind = fields.choice(row["kind"], f"snapshot: line {line}: kind", tuple(_NEEDED))
        cells = _cells(row, kind, line)
        subject = fields.name(row["name"], f"snapshot: line {line}: name")
        into = forwards.setdefault(subject, {}) if kind == "forward" else tables[kind]
        key = cells.pop("expiry") if kind == "forward" else subject
        if key in into:
            raise InputError("snapshot.duplicate", f"snapshot: line {line}: {kind} {subject} is listed twice")
        if kind == "quote":
            cells["mark"] = cells.pop("price")
        into[key] = cells["price"] if kind == "forward" else cells
    document = {
        "format": FORMAT,
        "name": name,
        "universe_digest": universe.digest.hex(),
        "time": fields.time_text(time),
        "max_age_s": max_age_s,
        "index": tables["index"],
        "forwards": forwards,
        "quotes": tables["quote"],
        "settled": list(tables["settled"]),
    }
    return snapshot_from(document, universe)


def _cells(row: Mapping[str, str], kind: str, line: int) -> dict[str, Any]:
    """The filled cells of a row but kind and name, numbers as floats."""
    filled = {k: v for k, v in row.items() if v and k not in ("kind", "name")}
    missing = [k for k in _NEEDED[kind] if k not in filled]
    beyond = [k for k in filled if k not in _NEEDED[kind] + _OPTIONAL[kind]]
    what = f"snapshot: line {line}"
    if missing or beyond:
        fault = f"needs {missing[0]}" if missing else f"has no {beyond[0]}"
        raise InputError("snapshot.cells", f"{what}: a row of kind {kind} {fault}")
    return {k: v if k in ("expiry", "time") else fields.real(v, f"{what}: {k}") for k, v in filled.items()}


def snapshot_csv(snapshot: Snapshot) -> bytes:
    """The prices as CSV, columns CSV_COLUMNS; name, time, age and universe are not in it."""
    document = snapshot.document()
    rows: list[dict[str, Any]] = [{"kind": "index", "name": name, **item} for name, item in document["index"].items()]
    for name, curve in document["forwards"].items():
        rows += [{"kind": "forward", "name": name, "expiry": expiry, "price": price} for expiry, price in curve.items()]
    for name, quote in document["quotes"].items():
        rows.append({"kind": "quote", "name": name, "price": quote.pop("mark"), **quote})
    rows += [{"kind": "settled", "name": name} for name in document["settled"]]
    out = io.StringIO()
    writer = csv.DictWriter(out, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()
