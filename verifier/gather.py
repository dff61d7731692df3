"""The dossier of an account's newest attestation, out of a log at hand: everything public that a decision needs.

What the account itself hands over (the opening of the venue's pledge) comes in as bytes.  A venue that reads the log of
a service does the same through its API.  Nothing is verified here: `decide` does that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from marginseal.errors import InputError, MarginSealError
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.receipt import Receipt
from marginseal.records.attestation import Attestation
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Statement
from verifier.dossier import Dossier, LoggedRecord
from verifier.replay_epoch import epoch_objects
from verifier.replay_index import Index, LogRecords, Position

_MAX_PUBLISHED = 2**18


def gather(
    log: Log, account: str, *, now: int, pledge: bytes | None = None, seen: Checkpoint | None = None, max_age_s: int = 0
) -> Dossier:
    """seen: the checkpoint the venue used last.  InputError log.no-account, gather.unknown for what the log lacks."""
    receipt, head = log.newest(account, now=now, max_age_s=max_age_s)
    shown = Receipt.decode(receipt)
    size = Checkpoint.of(shown.note).size
    records = LogRecords(log)
    index = Index.of(records, size)
    _, entry = records.entry(shown.index)
    statement = Attestation.decode(entry.payload).statement
    collected = _Collected(records, index, entry)

    def logged(at: Position, releases: tuple[bytes, ...] = ()) -> LoggedRecord:
        _, found = records.entry(at.index)
        return LoggedRecord(found.payload, log.receipt(at.index, shown.note), releases)

    left = tuple(records.entry(at.index)[1].payload for at in index.source_releases.get(account, []))
    epoch_at = _at(index.epochs.get(statement.epoch), "epoch")
    record = records.entry(epoch_at.index)[1]
    newer = [at for digest, at in index.epochs.items() if at.index > epoch_at.index and digest != statement.epoch]
    previous = collected.previous(log, statement)
    universe = index.universes.get(statement.universe)
    prices = epoch_objects(records, record, statement.epoch)
    published = list(collected.published(statement))
    return Dossier(
        attestation=entry.payload,
        epoch=records.object(statement.epoch),
        epoch_record=record.payload,
        source_registry=collected.payload(index.source_registries.get(statement.source_registry), "source registry"),
        venue_registry=collected.payload(index.venue_registries.get(statement.venue_registry), "venue registry"),
        manifests=tuple(
            logged(at, (*collected.attached(at), *left)) for at in index.manifests.get(account, ()) if at.index < size
        ),
        messages=tuple(p.message.encode() for p in published),
        receipt=receipt,
        head=head,
        consistency=_consistency(log, seen, size),
        newer_epochs=tuple(logged(at) for at in newer if at.index < shown.index),
        row_proofs=tuple((p.message.digest, p.row_proof.encode()) for p in published if p.row_proof is not None),
        pledge=pledge,
        previous=None if previous is None else previous.data,
        previous_epoch=None if previous is None else records.object(previous.statement.epoch),
        previous_venue_registry=None
        if previous is None
        else collected.payload(index.venue_registries.get(previous.statement.venue_registry), "venue registry"),
        releases=tuple(collected.releases(statement)),
        universe=None if universe is None else records.entry(universe.index)[1].payload,
        snapshot=prices.snapshot,
        reports=prices.reports,
    )


class _Collected:
    """Objects that entries depend on, told apart by what they are."""

    def __init__(self, records: LogRecords, index: Index, entry: Entry) -> None:
        self._records, self._index, self._entry = records, index, entry

    def payload(self, at: Position | None, what: str) -> bytes:
        return self._records.entry(_at(at, what).index)[1].payload

    def attached(self, at: Position) -> list[bytes]:
        return [self._records.object(digest) for digest in self._records.entry(at.index)[1].dependencies]

    def previous(self, log: Log, statement: Statement) -> Attestation | None:
        position = log.attestation(statement.account, statement.sequence - 1)
        return None if position is None else Attestation.decode(log.entry(position.index)[1].payload)

    def published(self, statement: Statement) -> Iterator[PublishedStatement]:
        wanted = {e.message_digest for e in statement.sources}
        for data in self._objects(_MAX_PUBLISHED):
            try:
                found = PublishedStatement.decode(data)
            except MarginSealError:
                continue
            if found.message.digest in wanted:
                yield found

    def releases(self, statement: Statement) -> Iterator[bytes]:
        wanted = {release.digest for release in statement.releases}
        for data in self._objects(_MAX_PUBLISHED):
            if hashlib.sha256(data).digest() in wanted:
                yield data

    def _objects(self, limit: int) -> Iterator[bytes]:
        for digest in self._entry.dependencies:
            data = self._records.object(digest)
            if len(data) <= limit:
                yield data


def _at(position: Position | None, what: str) -> Position:
    if position is None:
        raise InputError("gather.unknown", f"the log holds no {what} that the statement names")
    return position


def _consistency(log: Log, seen: Checkpoint | None, size: int) -> tuple[bytes, ...]:
    if seen is None or not 0 < seen.size < size:
        return ()
    return tuple(log.consistency(seen.size, size))
