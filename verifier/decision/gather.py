"""The dossier of an account's newest attestation, out of a log at hand: everything public that a decision needs.

The log is the desk's own, or a mirror of a service's (`marginseal.log.mirror`): `Reading` is what of it is asked for.
What the account itself hands over (the opening of the venue's pledge) comes in as bytes.  Nothing is verified here:
`decide` does that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import cached_property
from itertools import chain

from marginseal.errors import InputError, MarginSealError
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import Book, Entry
from marginseal.log.log import Log
from marginseal.log.receipt import Receipt
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope, peek
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.source import by_message
from marginseal.records.statement import Statement
from verifier import log_attached
from verifier.decision.accepted import Accepted
from verifier.decision.dossier import Dossier, LoggedEpoch, LoggedRecord
from verifier.log_epoch import epoch_objects
from verifier.log_index import Index, Position, Reading
from verifier.log_manifest import readable

_MAX_RELEASES = 2**26
"""Bytes of what sources signed to let the books of one manifest go: one of them takes some hundred."""


def _books(manifest: bytes) -> set[Book]:
    """Of what is logged as a manifest; noise has none."""
    with contextlib.suppress(MarginSealError):
        return set(peek(Manifest, Envelope.decode(manifest)).books)
    return set()


def newest_of(log: Log, account: str, *, now: int, max_age_s: int = 0) -> tuple[bytes, bytes]:
    """(checkpoint, head of the account) of a log that signs for itself.  InputError log.no-account."""
    receipt, head = log.newest(account, now=now, max_age_s=max_age_s)
    return Receipt.decode(receipt).note, head


def gather(
    reading: Reading,
    account: str,
    note: bytes,
    head: bytes,
    *,
    chain_limit: int,
    accepted: Accepted | None = None,
    pledge: bytes | None = None,
    seen: Checkpoint | None = None,
) -> Dossier:
    """Of the tree under the checkpoint `note`, with the log's own word for the account's newest, `head`.

    chain_limit, accepted   how many attestations before the newest to add, and the one at which to stop before that
    seen                    the checkpoint the venue used last
    InputError log.no-account, gather.unknown for what the log lacks, log.range for a checkpoint it does not reach."""
    found = _Gathering(reading, account, note)
    statement, entry = found.statement, found.entry
    records = found.epoch(statement.epoch)
    newer = [at for at in found.index.epochs_after(statement.epoch) if at.index < found.at]
    links = list(found.chain(chain_limit, accepted))
    named = [Attestation.decode(link.envelope).statement for link in links]
    universe = found.index.universes.get(statement.universe)
    return Dossier(
        attestation=entry.payload,
        epoch=reading.object(statement.epoch),
        epoch_records=records,
        source_registry=found.named(found.index.source_registries, statement.source_registry, "source registry"),
        venue_registry=found.named(found.index.venue_registries, statement.venue_registry, "venue registry"),
        manifests=tuple(found.manifest(at) for at in found.index.manifests.get(account, ()) if at.index < found.size),
        messages=found.published(entry, statement),
        receipt=reading.receipt(found.at, note),
        head=head,
        consistency=reading.consistency(seen.size, found.size)
        if seen is not None and 0 < seen.size < found.size
        else (),
        source_registries=tuple(found.logged(at) for at in found.index.source_registries_all if at.index < found.size),
        newer_epochs=tuple(map(found.logged, newer)),
        keys=tuple(found.logged(at) for at in found.index.keys if at.index < found.size),
        pledge=pledge,
        chain=tuple(links),
        chain_epochs=tuple(
            (reading.object(digest), found.epoch(digest))
            for digest in dict.fromkeys(s.epoch for s in named)
            if digest != statement.epoch
        ),
        chain_venue_registries=tuple(
            found.named(found.index.venue_registries, digest, "venue registry")
            for digest in dict.fromkeys(s.venue_registry for s in named)
            if digest != statement.venue_registry
        ),
        messages_before=found.published_before() if links else (),
        releases=found.releases(entry, statement),
        universe=None if universe is None else reading.entry(universe.index)[1].payload,
    )


class _Gathering:
    """The tree under one checkpoint, and the account's newest attestation in it."""

    def __init__(self, reading: Reading, account: str, note: bytes) -> None:
        self._reading, self._account, self._note = reading, account, note
        self.size = Checkpoint.of(note).size
        at = reading.newest(account, self.size)
        if at is None:
            raise InputError("log.no-account", "the log holds no attestation of this account")
        self.at = at
        self.entry = reading.entry(at)[1]
        self.statement = Attestation.decode(self.entry.payload).statement

    @cached_property
    def index(self) -> Index:
        return self._reading.index(self.size)

    def _at(self, named: dict[bytes, Position], digest: bytes, what: str) -> Position:
        if digest not in named:
            raise InputError("gather.unknown", f"the log holds no {what} that a statement names")
        return named[digest]

    def logged(self, at: Position, releases: tuple[bytes, ...] = ()) -> LoggedRecord:
        payload = self._reading.entry(at.index)[1].payload
        return LoggedRecord(payload, self._reading.receipt(at.index, self._note), releases)

    def named(self, named: dict[bytes, Position], digest: bytes, what: str) -> LoggedRecord:
        return self.logged(self._at(named, digest, what))

    def epoch(self, digest: bytes) -> tuple[LoggedEpoch, ...]:
        """All records of an epoch, with what they were made from."""
        records = [said.position for said in self.index.epochs.get(digest, ()) if said.position.index < self.size]
        if not records:
            raise InputError("gather.unknown", "the log holds no epoch that a statement names")
        return tuple(self._recorded(at, digest) for at in records)

    def _recorded(self, at: Position, digest: bytes) -> LoggedEpoch:
        prices = epoch_objects(self._reading, self._reading.entry(at.index)[1], digest)
        logged = self.logged(at)
        return LoggedEpoch(logged.envelope, logged.receipt, (), prices.snapshot, prices.reports)

    def manifest(self, at: Position) -> LoggedRecord:
        """With the sources' releases that the log had before it, and those that came with it."""
        entry = self._reading.entry(at.index)[1]
        gone = self._gone(at, entry)
        return self.logged(at, tuple(self._source_releases(at, entry, gone)) if gone else ())

    def _gone(self, at: Position, entry: Entry) -> set[Book]:
        """The books of any manifest before this one that are not in it: whichever of them it follows, what it left out
        is among these."""
        books = set[Book]()
        for earlier in self.index.manifests.get(self._account, ()):
            if earlier.index < at.index:
                books |= _books(self._reading.entry(earlier.index)[1].payload)
        return books - _books(entry.payload)

    def _source_releases(self, at: Position, entry: Entry, gone: set[Book]) -> Iterator[bytes]:
        """Read one by one, and no other kept: an entry may name thousands of objects, each of 256 MiB."""
        before = [x for x in self.index.source_releases.get(self._account, ()) if x.index < at.index]
        objects = (self._reading.object(digest) for digest in entry.dependencies)
        records = (self._reading.entry(x.index)[1].payload for x in before)
        seen, size = set[bytes](), 0
        for envelope in readable(chain(objects, records)):
            with contextlib.suppress(MarginSealError):
                claimed = peek(SourceRelease, envelope)
                if claimed.account != self._account or (claimed.source, claimed.book) not in gone:
                    continue
                data = envelope.encode()
                if envelope.digest not in seen:
                    seen.add(envelope.digest)
                    size += len(data)
                    yield data
            if size > _MAX_RELEASES:
                raise InputError("gather.releases", "the log holds more releases of one account than a venue reads")

    def chain(self, limit: int, accepted: Accepted | None) -> Iterator[LoggedRecord]:
        """The attestations before the newest that decide verifies, oldest first."""
        last = self.statement.sequence
        known = 1 if accepted is None or accepted.expires <= self.statement.cut_time else accepted.sequence
        for sequence in range(max(1, known, last - limit), last):
            at = self._reading.attestation(self._account, sequence)
            if at is None or at >= self.at:
                raise InputError("gather.unknown", "the log's chain of the account has a gap")
            entry = self._reading.entry(at)[1]
            releases = self.releases(entry, Attestation.decode(entry.payload).statement)
            yield LoggedRecord(entry.payload, self._reading.receipt(at, self._note), releases)

    def published(self, entry: Entry, statement: Statement) -> tuple[bytes, ...]:
        """Of several publications of one message the one that counts, so that they are no more than the sources."""
        found = by_message(log_attached.published(self._reading, entry, statement))
        return tuple(one.encode() for one in found.values())

    def published_before(self) -> tuple[bytes, ...]:
        at = self._reading.attestation(self._account, self.statement.sequence - 1)
        if at is None:
            return ()
        entry = self._reading.entry(at)[1]
        return self.published(entry, Attestation.decode(entry.payload).statement)

    def releases(self, entry: Entry, statement: Statement) -> tuple[bytes, ...]:
        return tuple(log_attached.releases(self._reading, entry, statement))
