"""Canonical JSON documents: the one form of every signed record and of the files beside them (docs/wire.md).

A document is an RFC 8785 object with exactly the members its type has.  Digests, keys and commitments are lower-case
hexadecimal, long byte strings base64url without padding, amounts that may pass 2^53 decimal text.  One value has one
spelling, so `decode` can demand that the bytes are what it would write itself.  What a member means is left to the
record that owns it; the statement and the openings, which are hashed or large, keep the fixed widths of `wire`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, TypeVar

import rfc8785

from marginseal.errors import DecodeError
from marginseal.files import parse_json
from marginseal.records.wire import is_identifier

E = TypeVar("E", bound=StrEnum)

MAX_INTEGER = 2**53 - 1
MAX_TIME = 253_402_300_799  # the last second of the year 9999

_HEX = re.compile(r"([0-9a-f]{2})*", re.ASCII)
_DECIMAL = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)


def canonical(document: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of a document this program made."""
    return rfc8785.dumps(dict(document))


def encode_base64(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def parse_hex(value: object, size: int) -> bytes | None:
    """`size` bytes from lower-case hexadecimal, or None."""
    if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
        return None
    return bytes.fromhex(value)


def is_name(value: object) -> bool:
    """Whether a value can name a party, a book, a cut: 1..64 bytes of UTF-8, printable, without outer spaces."""
    return isinstance(value, str) and is_identifier(value) and value.isprintable() and value == value.strip()


class Members:
    """The members of one JSON object, read by type.  Every reader raises DecodeError record.* and names the member."""

    def __init__(self, value: object, what: str, keys: tuple[str, ...]) -> None:
        """DecodeError record.object, record.members: a member is missing, or unknown to this version."""
        if not isinstance(value, dict):
            raise DecodeError("record.object", f"{what}: not a JSON object")
        if value.keys() != set(keys):
            missing = sorted(set(keys) - value.keys())
            fault = f"lacks {', '.join(missing)}" if missing else "has members that this version does not know"
            raise DecodeError("record.members", f"{what}: {fault}")
        self._value, self._what = value, what

    def _fault(self, code: str, key: str, message: str) -> DecodeError:
        return DecodeError(f"record.{code}", f"{self._what}: {key}: {message}")

    def member(self, key: str) -> object:
        """The value as it stands, for a reader of its own."""
        return self._value[key]

    def is_null(self, key: str) -> bool:
        return self._value[key] is None

    def name(self, key: str) -> str:
        value = self._value[key]
        if not is_name(value):
            raise self._fault("name", key, "not a printable name of 1 to 64 bytes")
        return str(value)

    def text(self, key: str, *, limit: int) -> str:
        """Free text of at most `limit` characters, printable."""
        value = self._value[key]
        if not isinstance(value, str) or len(value) > limit or not value.isprintable():
            raise self._fault("text", key, f"not printable text of at most {limit} characters")
        return value

    def constant(self, key: str, expected: str | int) -> None:
        """A format name or version that must be the one this program knows."""
        value = self._value[key]
        if type(value) is not type(expected) or value != expected:
            raise self._fault("format", key, "a format or version this program does not know")

    def integer(self, key: str, low: int = 0, high: int = MAX_INTEGER) -> int:
        value = self._value[key]
        if type(value) is not int or not low <= value <= high:
            raise self._fault("integer", key, f"not a whole number in {low}..{high}")
        return value

    def time(self, key: str) -> int:
        return self.integer(key, 0, MAX_TIME)

    def decimal(self, key: str, low: int, high: int) -> int:
        """An integer written as text, so that no reader rounds it."""
        value = self._value[key]
        if not isinstance(value, str) or not _DECIMAL.fullmatch(value) or not low <= int(value) <= high:
            raise self._fault("decimal", key, "not a whole number in range, written as text")
        return int(value)

    def flag(self, key: str) -> bool:
        value = self._value[key]
        if not isinstance(value, bool):
            raise self._fault("flag", key, "not true or false")
        return value

    def choice(self, key: str, kind: type[E]) -> E:
        value = self._value[key]
        try:
            return kind(value)
        except ValueError:
            raise self._fault("choice", key, "not one of the values this version knows") from None

    def hex(self, key: str, size: int) -> bytes:
        data = parse_hex(self._value[key], size)
        if data is None:
            raise self._fault("hex", key, f"not {2 * size} lower-case hexadecimal digits")
        return data

    def base64(self, key: str, *, limit: int) -> bytes:
        """base64url without padding, in its one spelling, of at most `limit` bytes."""
        return self._base64(key, self._value[key], limit)

    def base64_list(self, key: str, *, count: int, limit: int) -> list[bytes]:
        return [self._base64(key, item, limit) for item in self.items(key, limit=count)]

    def _base64(self, key: str, value: object, limit: int) -> bytes:
        if isinstance(value, str) and len(value) <= (4 * limit + 2) // 3 and value.isascii():
            try:
                data = base64.b64decode(value + "=" * (-len(value) % 4), altchars=b"-_", validate=True)
            except binascii.Error:
                data = None
            # Unused low bits and either alphabet decode alike; the round trip leaves one spelling.
            if data is not None and encode_base64(data) == value:
                return data
        raise self._fault("base64", key, f"not base64url of at most {limit} bytes")

    def items(self, key: str, *, limit: int) -> list[Any]:
        value = self._value[key]
        if not isinstance(value, list) or len(value) > limit:
            raise self._fault("list", key, f"not a list of at most {limit} items")
        return value

    def objects(self, key: str, keys: tuple[str, ...], *, limit: int) -> list[Members]:
        return [Members(item, f"{self._what}: {key}", keys) for item in self.items(key, limit=limit)]

    def names(self, key: str, *, limit: int) -> tuple[str, ...]:
        values = self.items(key, limit=limit)
        if not all(is_name(x) for x in values):
            raise self._fault("name", key, "not a list of printable names of 1 to 64 bytes")
        return tuple(values)

    def object(self, key: str, keys: tuple[str, ...]) -> Members:
        return Members(self._value[key], f"{self._what}: {key}", keys)

    def mapping(self, key: str, *, limit: int) -> dict[str, Any]:
        """An object whose member names are data: at most `limit` printable names."""
        value = self._value[key]
        if not isinstance(value, dict) or len(value) > limit or not all(is_name(name) for name in value):
            raise self._fault("mapping", key, f"not an object of at most {limit} named members")
        return value


def decode_object(data: bytes, *, what: str, limit: int) -> dict[str, Any]:
    """Canonical bytes -> the JSON object they spell.  DecodeError record.size, record.not-canonical, json.*."""
    if len(data) > limit:
        raise DecodeError("record.size", f"{what}: larger than {limit} bytes")
    value = parse_json(data, what=what)
    try:
        same = isinstance(value, dict) and rfc8785.dumps(value) == data
    except (ValueError, RecursionError):  # numbers past 2^53, lone surrogates: nothing RFC 8785 can write
        same = False
    if not same:
        raise DecodeError("record.not-canonical", f"{what}: not the RFC 8785 form of a JSON object")
    return dict(value)


def decode(data: bytes, *, what: str, keys: tuple[str, ...], limit: int) -> Members:
    """Canonical bytes -> the members of the document.  DecodeError record.*, json.*."""
    return Members(decode_object(data, what=what, limit=limit), what, keys)
