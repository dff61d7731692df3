"""Canonical bytes for small records: fixed widths, counts first, nothing optional, nothing trailing.

Text is UTF-8 of 1..64 bytes behind one length byte; integers are int64, two's complement, big-endian.  A `Reader` turns
untrusted bytes into values or raises DecodeError wire.*; counts are checked against a limit before anything is made.
"""

from __future__ import annotations

import re
from enum import IntEnum
from typing import TypeVar

from marginseal.errors import DecodeError

E = TypeVar("E", bound=IntEnum)

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def is_identifier(value: str) -> bool:
    """Whether a text can stand on the wire: 1..64 bytes of UTF-8, no control character: a log line ends at one, and
    U+009B begins a terminal's escape sequence as ESC [ does."""
    try:
        return 1 <= len(value.encode("utf-8")) <= 64 and not _CONTROL.search(value)
    except UnicodeEncodeError:  # a lone surrogate
        return False


class Writer:
    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def raw(self, data: bytes) -> Writer:
        self._parts.append(data)
        return self

    def text(self, value: str) -> Writer:
        assert is_identifier(value)
        data = value.encode()
        return self.raw(bytes([len(data)]) + data)

    def int64(self, value: int) -> Writer:
        return self.raw(value.to_bytes(8, "big", signed=True))

    def bytes(self) -> bytes:
        return b"".join(self._parts)


class Reader:
    def __init__(self, data: bytes, *, what: str) -> None:
        self._data, self._at, self._what = data, 0, what

    def raw(self, length: int) -> bytes:
        if self._at + length > len(self._data):
            raise DecodeError("wire.truncated", f"{self._what}: ends early")
        out = self._data[self._at : self._at + length]
        self._at += length
        return out

    def text(self) -> str:
        length = self.raw(1)[0]
        if not 1 <= length <= 64:
            raise DecodeError("wire.text", f"{self._what}: a text is not 1 to 64 bytes")
        try:
            value = self.raw(length).decode("utf-8")
        except UnicodeDecodeError:
            raise DecodeError("wire.text", f"{self._what}: a text is not UTF-8") from None
        if not is_identifier(value):
            raise DecodeError("wire.text", f"{self._what}: a text holds a control character")
        return value

    def int64(self) -> int:
        return int.from_bytes(self.raw(8), "big", signed=True)

    def count(self, limit: int) -> int:
        n = self.int64()
        if not 0 <= n <= limit:
            raise DecodeError("wire.count", f"{self._what}: a count is out of range")
        return n

    def enum(self, kind: type[E]) -> E:
        try:
            return kind(self.int64())
        except ValueError:
            raise DecodeError("wire.enum", f"{self._what}: an unknown {kind.__name__.lower()}") from None

    def end(self) -> None:
        if self._at != len(self._data):
            raise DecodeError("wire.trailing", f"{self._what}: bytes are left over")
