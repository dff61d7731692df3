"""The export bundle: a whole log as plain files, for replay without the log, years later.

    bundle.json       format, version, the software that decodes it, origin, counts, root: one sorted JSON object
    entries.bin       for every entry  u64 time | u32 length | canonical bytes of the entry
    entries.idx       u64 offset of every entry in entries.bin, so that workers can read ranges
    checkpoints.bin   for every checkpoint ever signed, in order  u32 length | note
    objects/ab/<hex>  every object that an entry depends on, under its SHA-256

Integers are unsigned and big-endian.  The bytes depend on the log's content and the software version alone.  Here is
the reader, which gives what stands in the files and believes none of it; `export` writes a bundle, `bundle_check` finds
everything that is wrong with one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.files import parse_json, read_bytes
from marginseal.log.entry import MAX_ENTRY_BYTES, Entry
from marginseal.log.merkle import HASH_BYTES, MAX_SIZE
from marginseal.log.note import MAX_NOTE_BYTES
from marginseal.log.storage import MAX_OBJECT_BYTES

FORMAT = "marginseal-log-bundle"
VERSION = 1
_MAX_DESCRIPTION_BYTES = 16 * 2**10
_FRAME_BYTES = 8 + 4

Progress = Callable[[int, int], None]  # entries done, entries in all


@dataclass(frozen=True)
class Description:
    """What bundle.json says; a claim until `bundle_check` has passed."""

    decoder: str
    decoder_version: str
    origin: str
    entries: int
    checkpoints: int
    objects: int
    root: bytes

    def encode(self) -> bytes:
        document = {
            "format": FORMAT,
            "version": VERSION,
            "decoder": {"name": self.decoder, "version": self.decoder_version},
            "origin": self.origin,
            "entries": self.entries,
            "checkpoints": self.checkpoints,
            "objects": self.objects,
            "root": self.root.hex(),
        }
        return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Description:
        """DecodeError json.*, bundle.malformed, bundle.version."""
        document = parse_json(data, what="bundle.json")
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            raise DecodeError("bundle.malformed", "bundle.json does not describe a bundle")
        decoder = document.get("decoder")
        if not isinstance(decoder, dict) or not all(isinstance(decoder.get(x), str) for x in ("name", "version")):
            raise DecodeError("bundle.malformed", "bundle.json does not name what decodes it")
        if document.get("version") != VERSION:
            by = f"{decoder['name']} {decoder['version']}"[:80]
            raise DecodeError("bundle.version", f"a bundle of another version; {by!r} decodes it")
        entries, checkpoints, objects = (_count(document.get(x)) for x in ("entries", "checkpoints", "objects"))
        origin, root = document.get("origin"), document.get("root")
        if not isinstance(origin, str) or not isinstance(root, str) or len(root) != 2 * HASH_BYTES:
            raise DecodeError("bundle.malformed", "bundle.json lacks its origin or root")
        try:
            raw = bytes.fromhex(root)
        except ValueError:
            raise DecodeError("bundle.malformed", "the root in bundle.json is not hexadecimal") from None
        found = cls(decoder["name"], decoder["version"], origin, entries, checkpoints, objects, raw)
        if found.encode() != data:
            raise DecodeError("bundle.malformed", "bundle.json is not in its one canonical form")
        return found


@dataclass(frozen=True)
class BundleEntry:
    """Entry `index`, taken by the log at `time`."""

    index: int
    time: int
    entry: Entry


class Bundle:
    """A bundle on disk, opened for reading.  DecodeError bundle.*, json.*; InputError file.*."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self.open_file("bundle.json") as file:  # never a pipe, which would wait for ever
            raw = file.read(_MAX_DESCRIPTION_BYTES + 1)
        if len(raw) > _MAX_DESCRIPTION_BYTES:
            raise InputError("file.too-large", f"bundle.json is larger than {_MAX_DESCRIPTION_BYTES} bytes")
        self.description = Description.decode(raw)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[BundleEntry]:
        """Entries start .. stop - 1, as they stand in the file.

        DecodeError bundle.truncated, entry.*, wire.*; InputError log.range."""
        stop = self.description.entries if stop is None else stop
        if not 0 <= start <= stop <= self.description.entries:
            raise InputError("log.range", "the bundle does not hold these entries")
        if start == stop:
            return
        with self.open_file("entries.idx") as offsets, self.open_file("entries.bin") as data:
            _seek(offsets, 8 * start)
            _seek(data, int.from_bytes(read_exactly(offsets, 8), "big"))
            for index in range(start, stop):
                time, length = read_frame(data)
                yield BundleEntry(index, time, Entry.decode(read_exactly(data, length)))

    def checkpoints(self) -> Iterator[bytes]:
        """The signed notes in order.  DecodeError bundle.truncated."""
        with self.open_file("checkpoints.bin") as notes:
            for _ in range(self.description.checkpoints):
                length = int.from_bytes(read_exactly(notes, 4), "big")
                if length > MAX_NOTE_BYTES:
                    raise DecodeError("bundle.malformed", "a checkpoint in the bundle is too large")
                yield read_exactly(notes, length)
            nothing_left(notes)

    def has_object(self, digest: bytes) -> bool:
        """Whether there is a file under this digest."""
        return object_path(self.path, digest).is_file()

    def object(self, digest: bytes) -> bytes:
        """The object with this SHA-256.  InputError log.no-object, ProofRejected bundle.object."""
        if not self.has_object(digest):
            raise InputError("log.no-object", "the bundle holds no such object")
        data = read_bytes(object_path(self.path, digest), limit=MAX_OBJECT_BYTES, what="object")
        if hashlib.sha256(data).digest() != digest:
            raise ProofRejected("bundle.object", f"object {digest.hex()} is not what its name says")
        return data

    def open_file(self, name: str) -> BinaryIO:
        """One of the files, for reading.  InputError file.unreadable."""
        path = self.path / name
        if not path.is_file():
            raise InputError("file.missing", f"bundle: there is no file {name}")
        try:
            return open(path, "rb")
        except OSError as e:
            raise InputError("file.unreadable", f"bundle: cannot read {name}: {e.strerror}") from None


def object_path(bundle: Path, digest: bytes) -> Path:
    """objects/ab/<hex>: where the object with this SHA-256 stands in a bundle."""
    name = digest.hex()
    return Path(f"{bundle}/objects/{name[:2]}/{name}")  # at once: the pass over a bundle asks for every object


def read_exactly(file: BinaryIO, length: int) -> bytes:
    """DecodeError bundle.truncated when fewer bytes are left."""
    data = file.read(length)
    if len(data) != length:
        raise DecodeError("bundle.truncated", "a file of the bundle ends early")
    return data


def read_frame(file: BinaryIO) -> tuple[int, int]:
    """(time, length) of the entry that follows.  DecodeError bundle.malformed, bundle.truncated."""
    head = read_exactly(file, _FRAME_BYTES)
    time, length = int.from_bytes(head[:8], "big"), int.from_bytes(head[8:], "big")
    if length > MAX_ENTRY_BYTES:
        raise DecodeError("bundle.malformed", "an entry in the bundle is too large")
    return time, length


def nothing_left(file: BinaryIO) -> None:
    """DecodeError bundle.malformed unless the file is at its end."""
    if file.read(1):
        raise DecodeError("bundle.malformed", "a file of the bundle holds more than was announced")


def _seek(file: BinaryIO, offset: int) -> None:
    if offset > os.fstat(file.fileno()).st_size:
        raise DecodeError("bundle.truncated", "a file of the bundle ends before an entry")
    file.seek(offset)


def _count(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_SIZE:
        raise DecodeError("bundle.malformed", "a count in bundle.json is out of range")
    return value
