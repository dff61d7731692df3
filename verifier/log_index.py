"""Where a log holds what statements name by digest: made in one pass over its entries, the same for a log and a bundle.

    universe, source registry, venue registry            digest -> position
    epoch                                                digest -> positions and moments of all its records
    manifests, source releases                           account -> positions, in the order of the log
    source registries, key changes and revocations       positions, in the order of the log

Only positions are kept, so memory grows with the records and the parties, never with the attestations.  Nothing is
verified here; a payload that cannot be read is under no name.  A universe and a registry are named by their own bytes,
and the first place counts; of an epoch anybody can say something, so that all that was said of it is kept, and who
reads decides which record is an operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from marginseal.errors import InputError, MarginSealError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.log import Log
from marginseal.market.universe import parse_universe
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keys import Purpose
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


class Reading(Records, Protocol):
    """A log that can also say where attestations are, and show under a checkpoint what it holds."""

    def newest(self, account: str, size: int) -> int | None:
        """The entry of the account's newest attestation among the first `size`."""

    def attestation(self, account: str, sequence: int) -> int | None:
        """The entry of one attestation of the account."""

    def receipt(self, index: int, note: bytes) -> bytes:
        """Of an entry under a signed checkpoint.  InputError log.range, ProofRejected log.inclusion."""

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """The proof that the tree of `second` entries extends that of `first`.  InputError log.range."""

    def index(self, size: int) -> Index:
        """Where the first `size` entries hold what statements name; it may know of later ones too."""


class LogRecords:
    """`Reading` of a log in its store.  fetch: an object that the store lacks, from where the log is mirrored."""

    def __init__(self, log: Log, fetch: Callable[[bytes], bytes] | None = None) -> None:
        self._log, self._fetch = log, fetch or log.get_object
        self._index, self._indexed = Index(), 0

    def size(self) -> int:
        return self._log.size()

    def entry(self, index: int) -> tuple[int, Entry]:
        return self._log.entry(index)

    def items(self, start: int, stop: int) -> Iterator[tuple[Position, Entry]]:
        for stored in self._log.entries(start, stop):
            yield Position(stored.index, stored.time), Entry.decode(stored.data)

    def object(self, digest: bytes) -> bytes:
        return self._fetch(digest)

    def newest(self, account: str, size: int) -> int | None:
        at = self._log.head(account, size)
        return None if at is None else at.index

    def attestation(self, account: str, sequence: int) -> int | None:
        at = self._log.attestation(account, sequence)
        return None if at is None else at.index

    def receipt(self, index: int, note: bytes) -> bytes:
        return self._log.receipt(index, note)

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        return tuple(self._log.consistency(first, second))

    def index(self, size: int) -> Index:
        if self._indexed < size:
            self._index.read(self, self._indexed, size)
            self._indexed = size
        return self._index


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


@dataclass(frozen=True)
class Recorded:
    """Where a record of an epoch is, and of which moment it says that the epoch is."""

    position: Position
    time: int


@dataclass
class Index:
    """The first position of every name; of epochs, accounts and what is judged in order all positions."""

    universes: Named = field(default_factory=dict)
    epochs: dict[bytes, list[Recorded]] = field(default_factory=dict)
    source_registries: Named = field(default_factory=dict)
    source_registries_all: list[Position] = field(default_factory=list)
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
                self.epochs.setdefault(record.epoch, []).append(Recorded(position, record.time))
            case LogKind.SOURCE_REGISTRY:
                envelope = Envelope.decode(entry.payload)
                envelope.check_type(Purpose.SOURCE_REGISTRY)
                self.source_registries.setdefault(envelope.digest, position)
                self.source_registries_all.append(position)
            case LogKind.VENUE_REGISTRY:
                envelope = Envelope.decode(entry.payload)
                envelope.check_type(Purpose.VENUE_REGISTRY)
                self.venue_registries.setdefault(envelope.digest, position)
            case LogKind.MANIFEST if entry.account is not None:
                self.manifests.setdefault(entry.account, []).append(position)
            case LogKind.SOURCE_RELEASE if entry.account is not None:
                self.source_releases.setdefault(entry.account, []).append(position)
            case LogKind.KEY_CHANGE | LogKind.KEY_REVOCATION:
                self.keys.append(position)

    def epochs_after(self, digest: bytes) -> list[Position]:
        """Where epochs of a later moment than this one are recorded, wherever in the log it is itself.

        Of what is said of its own moment the earliest counts here: too many records do no harm, one too few would."""
        since = min((said.time for said in self.epochs.get(digest, ())), default=0)
        later = [said.position for records in self.epochs.values() for said in records if said.time > since]
        return sorted(later, key=lambda at: at.index)

    def read(self, records: Records, start: int, stop: int) -> None:
        """Take entries start .. stop - 1 in."""
        for position, entry in records.items(start, stop):
            if entry.kind != ATTESTATION:
                self.add(position, entry)
