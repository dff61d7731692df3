"""The field types every market document is made of: names, exact decimals, integers, times.

One definition of each keeps files, epochs and digests in one normal form.  A decimal has one spelling ("0.01", never
"1e-2" or ".010"), a time is whole UTC seconds, a name is short, printable enough to be shown and free of controls.
What a document means, and which fields it needs, is left to its own module.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from marginseal.errors import InputError, RangeError

MAX_NAME_BYTES = 64
MAX_TIME = 253_402_300_799  # 9999-12-31T23:59:59Z, the last second that ISO 8601 spells with four digits
MAX_SAFE_INTEGER = 2**53 - 1  # the largest integer RFC 8785 lets a JSON document carry

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", re.ASCII)
_REAL = re.compile(r"-?[0-9]{1,24}(\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_SYMBOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", re.ASCII)


def name(value: object, what: str) -> str:
    """1..64 bytes of UTF-8 without control characters or outer spaces.  InputError field.name."""
    if not isinstance(value, str):
        raise InputError("field.name", f"{what}: expected text")
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        raise InputError("field.name", f"{what}: not encodable as UTF-8") from None
    if not 1 <= size <= MAX_NAME_BYTES:
        raise InputError("field.name", f"{what}: must have 1..{MAX_NAME_BYTES} bytes, has {size}")
    if value != value.strip() or _CONTROL.search(value):
        raise InputError("field.name", f"{what}: has control characters or outer spaces")
    return value


def symbol(value: object, what: str) -> str:
    """An asset or currency: 1..16 of [A-Za-z0-9._-], the first a letter or digit.  InputError field.symbol."""
    if not isinstance(value, str) or not _SYMBOL.fullmatch(value):
        raise InputError("field.symbol", f"{what}: must be 1..16 of letters, digits, '.', '_', '-'")
    return value


def decimal(value: object, what: str, *, low: str, high: str) -> Decimal:
    """A decimal string in plain notation, low <= x <= high, at most 18 digits on either side of the point.

    Text, not a JSON number: a lot or tick is exact.  InputError field.decimal, RangeError field.out-of-range."""
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise InputError("field.decimal", f'{what}: must be a plain decimal, in JSON in quotes, such as "0.01"')
    number = Decimal(value)
    if not Decimal(low) <= number <= Decimal(high):
        raise RangeError("field.out-of-range", f"{what}: must lie in {low}..{high}")
    return number


def decimal_text(number: Decimal) -> str:
    """The one spelling of a decimal: no exponent, no trailing zeros after the point; "1.50" becomes "1.5"."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def integer(value: object, what: str, *, low: int, high: int) -> int:
    """A JSON integer (not a boolean, not 1.0), low <= x <= high.  field.integer, field.out-of-range."""
    if type(value) is not int:
        raise InputError("field.integer", f"{what}: must be a whole number")
    if not low <= value <= high:
        raise RangeError("field.out-of-range", f"{what}: must lie in {low}..{high}")
    return value


def number(value: object, what: str, *, low: float, high: float) -> float:
    """A finite JSON number (not a boolean, not text), low <= x <= high.  field.number, field.out-of-range."""
    if type(value) is int:
        if abs(value) > MAX_SAFE_INTEGER:
            raise RangeError("field.out-of-range", f"{what}: must lie in {low}..{high}")
        value = float(value)
    if not isinstance(value, float) or not math.isfinite(value):
        raise InputError("field.number", f"{what}: must be a finite number")
    if not low <= value <= high:
        raise RangeError("field.out-of-range", f"{what}: must lie in {low}..{high}")
    return value + 0.0  # -0.0 becomes 0.0, so that one value has one digest


def time(value: object, what: str) -> int:
    """Unix seconds of a UTC time written YYYY-MM-DDTHH:MM:SSZ.  InputError field.time."""
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise InputError("field.time", f'{what}: must be a UTC time such as "2026-03-02T08:00:00Z"')
    try:
        moment = datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise InputError("field.time", f"{what}: no such date or time") from None
    seconds = int(moment.timestamp())
    if seconds < 0:
        raise InputError("field.time", f"{what}: before 1970")
    return seconds


def time_text(seconds: int) -> str:
    """YYYY-MM-DDTHH:MM:SSZ of unix seconds, 0 <= seconds <= MAX_TIME."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def digest(value: object, what: str) -> bytes:
    """32 bytes written as 64 lower-case hexadecimal digits.  InputError field.digest."""
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise InputError("field.digest", f"{what}: must be 64 lower-case hexadecimal digits")
    return bytes.fromhex(value)


def obj(value: object, what: str, *, required: Iterable[str], optional: Iterable[str] = ()) -> Mapping[str, Any]:
    """A JSON object with exactly the keys it may have.  InputError field.object, field.missing, field.unknown."""
    if not isinstance(value, dict):
        raise InputError("field.object", f"{what}: must be a JSON object")
    needed = set(required)
    missing = sorted(needed - value.keys())
    if missing:
        raise InputError("field.missing", f"{what}: lacks {', '.join(missing)}")
    unknown = sorted(value.keys() - needed - set(optional))
    if unknown:
        raise InputError("field.unknown", f"{what}: does not know the field {unknown[0][:MAX_NAME_BYTES]!r}")
    return value


def array(value: object, what: str, *, high: int) -> list[Any]:
    """A JSON array of at most `high` items.  InputError field.array, RangeError field.out-of-range."""
    if not isinstance(value, list):
        raise InputError("field.array", f"{what}: must be a JSON array")
    if len(value) > high:
        raise RangeError("field.out-of-range", f"{what}: has more than {high} items")
    return value


def table(value: object, what: str, *, high: int) -> dict[str, Any]:
    """A JSON object of at most `high` free keys.  InputError field.object, RangeError field.out-of-range."""
    if not isinstance(value, dict):
        raise InputError("field.object", f"{what}: must be a JSON object")
    if len(value) > high:
        raise RangeError("field.out-of-range", f"{what}: has more than {high} entries")
    return value


def pretty(document: Mapping[str, Any]) -> bytes:
    """A JSON file whose diffs read well: one top-level field a line, and one line for each entry of a long one."""
    lines = []
    for key, value in document.items():
        text = json.dumps(value, ensure_ascii=False)
        if len(text) > 100 and isinstance(value, list):
            text = "[\n" + ",\n".join("  " + json.dumps(v, ensure_ascii=False) for v in value) + "\n ]"
        elif len(text) > 100 and isinstance(value, dict):
            entries = (json.dumps({k: v}, ensure_ascii=False)[1:-1] for k, v in value.items())
            text = "{\n" + ",\n".join("  " + entry for entry in entries) + "\n }"
        lines.append(f" {json.dumps(key)}: {text}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def choice(value: object, what: str, allowed: tuple[str, ...]) -> str:
    """One of a few words.  InputError field.choice."""
    if not isinstance(value, str) or value not in allowed:
        raise InputError("field.choice", f"{what}: must be one of {', '.join(allowed)}")
    return value


def exact(value: Decimal, what: str, low: str, high: str) -> Decimal:
    """A Decimal that a file can carry unchanged: `decimal` of its `decimal_text`.  InputError, RangeError field.*."""
    if not isinstance(value, Decimal) or not value.is_finite():
        raise InputError("field.decimal", f"{what}: must be a finite decimal")
    return decimal(decimal_text(value), what, low=low, high=high)


def whole(text: str, what: str) -> int:
    """A whole number as a table spells it: a minus sign if negative, 1..19 digits, no leading zeros.  field.integer."""
    if not _WHOLE.fullmatch(text):
        raise InputError("field.integer", f"{what}: must be a whole number")
    return int(text)


def real(text: str, what: str) -> float:
    """A number as a table spells it: 0.0005, 5e-4; the nearest float.  InputError field.number."""
    if not _REAL.fullmatch(text):
        raise InputError("field.number", f"{what}: must be a number")
    return float(text)


def csv_rows(data: bytes, what: str, *, columns: tuple[str, ...], high: int) -> list[tuple[int, dict[str, str]]]:
    """(line number, row) of a comma-separated UTF-8 table with exactly this header.  InputError csv.*, RangeError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("csv.not-utf8", f"{what}: not UTF-8 text") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    out: list[tuple[int, dict[str, str]]] = []
    try:
        header = next(reader, [])
        if tuple(header) != columns:
            raise InputError("csv.header", f"{what}: the first line must be {','.join(columns)}")
        for row in reader:
            if not row:
                continue
            if len(row) != len(columns):
                raise InputError("csv.columns", f"{what}: line {reader.line_num} has {len(row)} fields")
            if len(out) == high:
                raise RangeError("csv.too-long", f"{what}: more than {high} rows")
            out.append((reader.line_num, dict(zip(columns, row, strict=True))))
    except csv.Error as e:
        raise InputError("csv.malformed", f"{what}: line {reader.line_num}: {e}") from None
    return out
