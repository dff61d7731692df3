"""Records as log entries: each with its kind, its account, its books and the objects it cannot be replayed without.

What a relying party or an auditor looks for in a log (`verifier.log_index`) is put there in this form.  Nothing is
verified here but key records: who appends has opened the others under keys he trusts, and replay opens them again.
"""

from __future__ import annotations

from collections.abc import Iterable

import rfc8785

from marginseal.log.entry import ATTESTATION, Book, Entry
from marginseal.log.log import Log
from marginseal.market import epoch as epochs
from marginseal.market.universe import Universe
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope, peek
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import Purpose
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest


def publish_universe(log: Log, universe: Universe, *, now: int) -> int:
    data = rfc8785.dumps(universe.document())
    log.put_object(data)
    return log.append(Entry(LogKind.UNIVERSE, data), now=now)


def publish_epoch(
    log: Log, epoch: epochs.RiskEpoch, record: Envelope, *, now: int, objects: Iterable[bytes] = ()
) -> int:
    """objects: what rebuilding needs beside the universe: snapshot, parameters, oracle reports."""
    return publish_record(log, LogKind.EPOCH, record, now=now, objects=[epochs.encode(epoch), *objects])


def publish_account(log: Log, record: Envelope, *, now: int) -> int:
    return publish_record(log, LogKind.ACCOUNT, record, now=now, account=peek(AccountRecord, record).account)


def publish_manifest(log: Log, record: Envelope, *, now: int, releases: Iterable[Envelope] = ()) -> int:
    """releases: the sources' signatures on the books that left."""
    manifest = peek(Manifest, record)
    return publish_record(
        log,
        LogKind.MANIFEST,
        record,
        now=now,
        account=manifest.account,
        books=manifest.books,
        objects=[release.encode() for release in releases],
    )


def publish_record(
    log: Log,
    kind: LogKind,
    record: Envelope,
    *,
    now: int,
    account: str | None = None,
    books: tuple[Book, ...] = (),
    objects: Iterable[bytes] = (),
) -> int:
    """The index of the entry; publishing the same record again changes nothing.  Errors of `Log.append`."""
    data = record.encode()
    log.put_object(data)
    dependencies = tuple(sorted({log.put_object(item) for item in objects}))
    return log.append(Entry(kind, data, account=account, dependencies=dependencies, books=books), now=now)


def publish_key_record(log: Log, record: Envelope, ring: KeyRing, *, now: int) -> int:
    """A key change or revocation that holds by the earlier ones: `ring`, of all that the log has of keys.

    Errors of `KeyRing.apply`: what the log takes here is worth something to whoever trusts the ring's operators."""
    ring.apply(record, logged=max(now, log.tail()[1]))
    kind = LogKind.KEY_CHANGE if record.payload_type == Purpose.KEY_CHANGE else LogKind.KEY_REVOCATION
    return publish_record(log, kind, record, now=now)


def attestation_entry(attestation: Attestation, dependencies: Iterable[bytes]) -> Entry:
    """The entry that says what its payload says; dependencies: SHA-256 of all that replaying it needs."""
    s = attestation.statement
    return Entry(
        ATTESTATION,
        attestation.data,
        account=s.account,
        sequence=s.sequence,
        statement_digest=s.digest,
        prev=s.prev,
        books=tuple(sorted({(e.source, e.book) for e in s.sources}, key=lambda b: (b[0].encode(), b[1].encode()))),
        dependencies=tuple(sorted(set(dependencies))),
    )


def publish_attestation(log: Log, attestation: Attestation, objects: Iterable[bytes], *, now: int) -> int:
    """objects: universe, epoch, epoch record, manifest, registries, source statements, pledge releases."""
    return log.append(attestation_entry(attestation, [log.put_object(data) for data in objects]), now=now)
