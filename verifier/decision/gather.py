"""The dossier of an account's newest attestation, out of a log at hand: everything public that a decision needs.

The log is the desk's own, or a mirror of a service's (`marginseal.log.mirror`): `Reading` is what of it is asked for.
What the account itself hands over (the opening of the venue's pledge) comes in as bytes.  Nothing is verified here:
`decide` does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import cached_property

from marginseal.errors import InputError, MarginSealError
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.receipt import Receipt
from marginseal.records.attestation import Attestation
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Statement
from verifier.decision.accepted import Accepted
from verifier.decision.dossier import Dossier, LoggedEpoch, LoggedRecord
from verifier.log_epoch import epoch_objects
from verifier.log_index import Index, Position, Reading

_MAX_PUBLISHED = 2**18


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
    published = tuple(found.published(entry, statement))
    return Dossier(
        attestation=entry.payload,
        epoch=reading.object(statement.epoch),
        epoch_records=records,
        source_registry=found.named(found.index.source_registries, statement.source_registry, "source registry"),
        venue_registry=found.named(found.index.venue_registries, statement.venue_registry, "venue registry"),
        manifests=tuple(found.manifest(at) for at in found.index.manifests.get(account, ()) if at.index < found.size),
        messages=published,
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
        messages_before=tuple(found.published_before()) if links else (),
        releases=tuple(found.releases(entry, statement)),
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
        before = [x for x in self.index.source_releases.get(self._account, ()) if x.index < at.index]
        logged = [self._reading.entry(x.index)[1].payload for x in before]
        attached = [self._reading.object(digest) for digest in self._reading.entry(at.index)[1].dependencies]
        return self.logged(at, (*attached, *logged))

    def chain(self, limit: int, accepted: Accepted | None) -> Iterator[LoggedRecord]:
        """The attestations before the newest that decide verifies, oldest first."""
        last = self.statement.sequence
        known = 1 if accepted is None or accepted.expires <= self.statement.cut_time else accepted.sequence
        for sequence in range(max(1, known, last - limit), last):
            at = self._reading.attestation(self._account, sequence)
            if at is None or at >= self.at:
                raise InputError("gather.unknown", "the log's chain of the account has a gap")
            entry = self._reading.entry(at)[1]
            releases = tuple(self.releases(entry, Attestation.decode(entry.payload).statement))
            yield LoggedRecord(entry.payload, self._reading.receipt(at, self._note), releases)

    def published(self, entry: Entry, statement: Statement) -> Iterator[bytes]:
        wanted = {e.message_digest for e in statement.sources}
        for data in self._small(entry, statement):
            try:
                found = PublishedStatement.decode(data)
            except MarginSealError:
                continue
            if found.message.digest in wanted:
                yield data

    def published_before(self) -> Iterator[bytes]:
        at = self._reading.attestation(self._account, self.statement.sequence - 1)
        if at is not None:
            entry = self._reading.entry(at)[1]
            yield from self.published(entry, Attestation.decode(entry.payload).statement)

    def releases(self, entry: Entry, statement: Statement) -> Iterator[bytes]:
        wanted = {release.digest for release in statement.releases}
        for data in self._small(entry, statement) if wanted else ():
            if hashlib.sha256(data).digest() in wanted:
                yield data

    def _small(self, entry: Entry, statement: Statement) -> Iterator[bytes]:
        """What an attestation depends on but its epoch, as far as it can be a statement or a release."""
        for digest in entry.dependencies:
            data = b"" if digest == statement.epoch else self._reading.object(digest)
            if 0 < len(data) <= _MAX_PUBLISHED:
                yield data
