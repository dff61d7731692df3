"""The field types every market document is made of: names, exact decimals, integers, times.

One definition of each keeps files, epochs and digests in one normal form.  A decimal has one spelling ("0.01", never
"1e-2" or ".010"), a time is whole UTC seconds, a name is short, printable enough to be shown and free of controls.
What a document means, and which fields it needs, is left to its own module.
"""

from __future__ import annotations

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

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,18})?", re.ASCII)
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
    if value != value.strip() or any(ord(c) < 0x20 or 0x7F <= ord(c) <= 0x9F for c in value):
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
        raise InputError("field.decimal", f'{what}: must be a plain decimal in quotes, such as "0.01"')
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
