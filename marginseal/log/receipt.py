"""Receipts, as in C2SP tlog-proof: one text that shows an entry to be in a log, offline.

    c2sp.org/tlog-proof@v1
    extra <base64(leaf)>
    index <index>
    <base64(hash)>            the inclusion path, leaf end first
    ...

    <checkpoint, as signed and cosigned>

`extra` is not authenticated by the format; ours carries the leaf itself (`entry.Leaf`), whose hash the path then
authenticates.
"""

from __future__ import annotations

from dataclasses import dataclass

from marginseal.errors import DecodeError
from marginseal.log.checkpoint import parse_number
from marginseal.log.entry import MAX_LEAF_BYTES, Leaf
from marginseal.log.merkle import HASH_BYTES, MAX_SIZE
from marginseal.log.note import MAX_NOTE_BYTES, decode_base64, encode_base64

_FIRST_LINE = "c2sp.org/tlog-proof@v1"
_CODE = "receipt.malformed"
MAX_PATH = MAX_SIZE.bit_length()
MAX_RECEIPT_BYTES = MAX_NOTE_BYTES + 45 * MAX_PATH + 2 * MAX_LEAF_BYTES


@dataclass(frozen=True)
class Receipt:
    """Entry `index` is `leaf`, `path` leads from it to the root in the checkpoint `note`.  Nothing is verified yet."""

    index: int
    leaf: Leaf
    path: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        lines = [_FIRST_LINE, "extra " + encode_base64(self.leaf.encode()), f"index {self.index}"]
        lines += [encode_base64(h) for h in self.path]
        return "\n".join([*lines, "", ""]).encode() + self.note

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Bytes -> Receipt, and `decode(b).encode() == b`.  DecodeError receipt.malformed, leaf.*, wire.*."""
        if len(data) > MAX_RECEIPT_BYTES:
            raise DecodeError("receipt.too-large", "a receipt is too large")
        head, blank, note = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise DecodeError(_CODE, "receipt: not ASCII before the checkpoint") from None
        if not blank or not 3 <= len(lines) <= 3 + MAX_PATH or lines[0] != _FIRST_LINE:
            raise DecodeError(_CODE, "not a tlog-proof of version 1 with its leaf and a checkpoint")
        if not lines[1].startswith("extra ") or not lines[2].startswith("index "):
            raise DecodeError(_CODE, "a receipt lacks its leaf or its index")
        leaf = Leaf.decode(decode_base64(lines[1].removeprefix("extra "), code=_CODE, what="receipt leaf"))
        index = parse_number(lines[2].removeprefix("index "), MAX_SIZE, "receipt")
        path = tuple(decode_base64(line, code=_CODE, what="receipt hash") for line in lines[3:])
        if any(len(h) != HASH_BYTES for h in path):
            raise DecodeError(_CODE, "a hash in a receipt is not 32 bytes")
        return cls(index, leaf, path, note)
