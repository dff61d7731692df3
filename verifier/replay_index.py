"""Where a log holds what statements name by digest: made in one pass over its entries, the same for a log and a bundle.

    universe, epoch, source registry, venue registry     digest -> position
    manifests, source releases                           account -> positions, in the order of the log
    key changes and revocations                          positions, in the order of the log

Only positions are kept, so memory grows with the records and the parties, never with the attestations.  Nothing is
verified here; a payload that cannot be read is under no name.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from marginseal.errors import InputError, MarginSealError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.log import Log
from marginseal.market.universe import parse_universe
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.logged import LogKind


@dataclass(frozen=True)
class Position:
    """Entry `index`, which the log took at `time`."""

    index: int
    time: int


class Records(Protocol):
    """A log, or a bundle of one."""

    def size(self) -> int: ...

    def entry(self, index: int) -> tuple[int, Entry]:
        """(time, entry).  DecodeError, InputError log.range."""

    def items(self, start: int, stop: int) -> Iterator[tuple[Position, Entry]]: ...

    def object(self, digest: bytes) -> bytes:
        """The object with this SHA-256.  InputError log.no-object."""


class LogRecords:
    """`Records` of a log in its store."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def size(self) -> int:
        return self._log.size()

    def entry(self, index: int) -> tuple[int, Entry]:
        return self._log.entry(index)

    def items(self, start: int, stop: int) -> Iterator[tuple[Position, Entry]]:
        for stored in self._log.entries(start, stop):
            yield Position(stored.index, stored.time), Entry.decode(stored.data)

    def object(self, digest: bytes) -> bytes:
        return self._log.get_object(digest)


class BundleRecords:
    """`Records` of a bundle on disk."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle

    def size(self) -> int:
        return self._bundle.description.entries

    def entry(self, index: int) -> tuple[int, Entry]:
        for item in self._bundle.entries(index, index + 1):
            return item.time, item.entry
        raise InputError("log.range", "the bundle does not hold this entry")

    def items(self, start: int, stop: int) -> Iterator[tuple[Position, Entry]]:
        for item in self._bundle.entries(start, stop):
            yield Position(item.index, item.time), item.entry

    def object(self, digest: bytes) -> bytes:
        return self._bundle.object(digest)


Named = dict[bytes, Position]


@dataclass
class Index:
    """The first position of every name, and for accounts all positions in order."""

    universes: Named = field(default_factory=dict)
    epochs: Named = field(default_factory=dict)
    source_registries: Named = field(default_factory=dict)
    venue_registries: Named = field(default_factory=dict)
    manifests: dict[str, list[Position]] = field(default_factory=dict)
    source_releases: dict[str, list[Position]] = field(default_factory=dict)
    keys: list[Position] = field(default_factory=list)

    def add(self, position: Position, entry: Entry) -> None:
        """Take an entry in; those of other kinds change nothing."""
        try:
            self._add(position, entry)
        except MarginSealError:
            return

    def _add(self, position: Position, entry: Entry) -> None:
        match entry.kind:
            case LogKind.UNIVERSE:
                self.universes.setdefault(parse_universe(entry.payload).digest, position)
            case LogKind.EPOCH:
                record = peek(EpochRecord, Envelope.decode(entry.payload))
                self.epochs.setdefault(record.epoch, position)
            case LogKind.SOURCE_REGISTRY:
                self.source_registries.setdefault(Envelope.decode(entry.payload).digest, position)
            case LogKind.VENUE_REGISTRY:
                self.venue_registries.setdefault(Envelope.decode(entry.payload).digest, position)
            case LogKind.MANIFEST if entry.account is not None:
                self.manifests.setdefault(entry.account, []).append(position)
            case LogKind.SOURCE_RELEASE if entry.account is not None:
                self.source_releases.setdefault(entry.account, []).append(position)
            case LogKind.KEY_CHANGE | LogKind.KEY_REVOCATION:
                self.keys.append(position)

    @classmethod
    def of(cls, records: Records, stop: int | None = None) -> Index:
        """Of the first `stop` entries; all of them by default."""
        index = cls()
        for position, entry in records.items(0, records.size() if stop is None else stop):
            if entry.kind != ATTESTATION:
                index.add(position, entry)
        return index
