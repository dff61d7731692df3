"""Putting public records where everyone finds them: into the log, with what they depend on.

Each function checks the record's signatures under the keys that the service lists for its signer, or what followed them
(`ring`: the log's key changes and revocations, and whose risk operators count), in force at the moment at which venues
and auditors ask for it.  It stores what the record needs as objects, and appends one entry; doing it again changes
nothing.  Source statements are objects that attestations depend on, found by the digest of the signed message.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import rfc8785
import sqlalchemy as sa

from marginseal.errors import PolicyError, StorageError
from marginseal.files import parse_json
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.policy import MAX_AHEAD_S
from marginseal.market import epoch as epochs
from marginseal.market import parameters
from marginseal.market import snapshot as snapshots
from marginseal.market.universe import Universe
from marginseal.records.account import AccountRecord, open_account
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, Record, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import PublicKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, SourceRelease, open_manifest
from marginseal.records.oracle import OracleReport
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.report_note import ReportNote
from marginseal.records.source import PublishedStatement, SourceStatement
from server.public import LoggedRecords
from server.tables import published

MAX_WAITING = 4
"""Manifests of one account that are logged and not yet in effect.  The log keeps for ever what it takes, and a manifest
may have megabytes: without an end an account could fill the disk of the service and of everyone who follows the log."""

_TRIES = 32
R = TypeVar("R", bound=Record)


def publish_universe(log: Log, universe: Universe, *, now: int) -> int:
    data = rfc8785.dumps(universe.document())
    log.put_object(data)
    return log.append(Entry(LogKind.UNIVERSE, data), now=now)


def publish_epoch(
    log: Log,
    epoch: epochs.RiskEpoch,
    record: Envelope,
    ring: KeyRing,
    *,
    now: int,
    objects: Sequence[bytes] = (),
) -> int:
    """objects: what rebuilding needs (snapshot, parameters, oracle reports).

    ProofRejected signature.threshold; PolicyError epoch-record.*, keys.not-in-force."""
    _open_operators(log, EpochRecord, record, ring, now).check(epoch)
    data = epochs.encode(epoch)
    return _append(log, LogKind.EPOCH, record, objects=[data, *objects], now=now)


def check_inputs(epoch: epochs.RiskEpoch, universe: Universe, objects: Iterable[bytes]) -> None:
    """Snapshot and parameters are among the objects, each the one that the epoch was built from.

    Whoever follows the log builds the epoch again from these.  PolicyError epoch-record.inputs; errors of parsing."""
    found: dict[str, set[bytes]] = {"snapshot": set(), "parameters": set()}
    for data in objects:
        document = parse_json(data, what="an input of the epoch")
        form = document.get("format") if isinstance(document, dict) else None
        if form == snapshots.FORMAT:
            found["snapshot"].add(snapshots.parse_snapshot(data, universe).digest)
        elif form == parameters.FORMAT:
            found["parameters"].add(parameters.parse_parameters(data).digest)
    for what, named in (("snapshot", epoch.snapshot_digest), ("parameters", epoch.parameters_digest)):
        if found[what] != {named}:
            given = "another one is given" if found[what] else "it is not given"
            raise PolicyError("epoch-record.inputs", f"the {what} that the epoch was built from is needed: {given}")


def publish_source_registry(log: Log, record: Envelope, ring: KeyRing, *, now: int) -> int:
    _open_operators(log, SourceRegistry, record, ring, now)
    return _append(log, LogKind.SOURCE_REGISTRY, record, now=now)


def publish_venue_registry(log: Log, record: Envelope, ring: KeyRing, *, now: int) -> int:
    _open_operators(log, VenueRegistry, record, ring, now)
    return _append(log, LogKind.VENUE_REGISTRY, record, now=now)


def publish_account(log: Log, record: Envelope, *, now: int, previous: AccountRecord | None = None) -> int:
    return _append(log, LogKind.ACCOUNT, record, account=open_account(record, previous=previous).account, now=now)


def publish_manifest(
    log: Log, public: LoggedRecords, record: Envelope, account_keys: Sequence[PublicKey], *, now: int, delay_s: int
) -> int:
    """The account's next manifest; the first is signed by a key that is registered for the account.

    It is judged by what the log holds and dated by the log's time, and taken at that very place: of two that are
    published at once one is judged again, after the other, as whoever replays the log will judge it.  It follows the
    last that holds: what a thief had logged is passed over once his key is revoked back to before.
    ProofRejected signature.threshold; PolicyError manifest.succession, .too-soon, .book-gone, .waiting, keys.*;
    StorageError log.moved."""
    claimed = peek(Manifest, record)
    entry = _entry(LogKind.MANIFEST, record, account=claimed.account, books=claimed.books)
    for _ in range(_TRIES):
        size, time = log.tail()
        there = log.index_of(entry)
        if there is not None:
            return there
        before, ring, logged = public.manifests(claimed.account), public.held.ring, max(now, time)
        if not before:
            ring.open(Manifest, record, account_keys, logged)
        if sum(manifest.effective > logged for manifest, _ in before) >= MAX_WAITING:
            raise PolicyError("manifest.waiting", f"{MAX_WAITING} manifests of the account wait to take effect")
        open_manifest(
            record,
            logged=logged,
            delay_s=delay_s,
            previous=before[-1] if before else None,
            releases=public.source_releases(claimed.account),
            registry=public.newest_source_registry(),
            ring=ring,
        )
        try:
            return _put(log, entry, now=now, after=(size, time))
        except PolicyError as e:
            if e.code != "log.moved":
                raise
    raise StorageError("log.moved", "the log grows too fast for a manifest to be judged by all of it")


def publish_source_release(
    log: Log, record: Envelope, source_keys: Iterable[PublicKey], ring: KeyRing, *, now: int
) -> int:
    """A source lets a book of an account go; the account's next manifest may then leave it out."""
    release = ring.open(SourceRelease, record, source_keys, _moment(log, now))
    return _append(log, LogKind.SOURCE_RELEASE, record, account=release.account, now=now)


def publish_pledge_release(
    log: Log, public: LoggedRecords, record: Envelope, venue_keys: Iterable[PublicKey], *, now: int
) -> int:
    """A venue lets what was pledged to it in a logged statement fall; the account's next attestation may name it.

    ProofRejected signature.threshold; PolicyError release.statement (not an attestation of the account here),
    release.row (not the venue's in the registry of that statement), release.nonce (used for another release)."""
    release = public.held.ring.open(PledgeRelease, record, venue_keys, _moment(log, now))
    statement = public.attested(release.account, release.statement)
    if statement is None:
        raise PolicyError("release.statement", "the log holds no attestation of that account and statement")
    if public.venue_registry(statement.venue_registry).row(release.venue) != release.row:
        raise PolicyError("release.row", "another row than the venue's in the registry of the statement")
    for other in public.pledge_releases(release.account):
        said = peek(PledgeRelease, other)
        if (said.venue, said.nonce) == (release.venue, release.nonce) and other.digest != record.digest:
            raise PolicyError("release.nonce", "the venue used this nonce for another release")
    return _append(log, LogKind.PLEDGE_RELEASE, record, account=release.account, now=now)


def publish_oracle_report(
    log: Log, public: LoggedRecords, record: Envelope, key: PublicKey, *, now: int, max_age_s: int = snapshots.MAX_AGE_S
) -> int:
    """A report of an oracle, as an object, and a note of it in the log: from now on it was there to be chosen.

    ProofRejected signature.threshold; PolicyError public.unknown (another universe than the log's), report.window (of
    a time that lies ahead, or older than a snapshot may use)."""
    report = public.held.ring.open(OracleReport, record, [key], peek(OracleReport, record).time)
    public.universe(report.universe)
    note = ReportNote.of(report, record)
    data = note.payload()
    if log.index_of(entry := Entry(LogKind.ORACLE_REPORT, data, dependencies=(note.report,))) is None:
        if not now - max_age_s <= report.time <= now + MAX_AHEAD_S:
            raise PolicyError("report.window", "a report of a time that lies ahead, or too old for any snapshot")
        log.put_object(record.encode())
    return log.append(entry, now=now)


def _moment(log: Log, now: int) -> int:
    """When the log would take an entry."""
    return max(now, log.tail()[1])


def _open_operators(log: Log, kind: type[R], record: Envelope, ring: KeyRing, now: int) -> R:
    return ring.open(kind, record, ring.operators, _moment(log, now))


def _append(
    log: Log,
    kind: LogKind,
    record: Envelope,
    *,
    now: int,
    account: str | None = None,
    objects: Sequence[bytes] = (),
) -> int:
    dependencies = tuple(sorted({log.put_object(item) for item in objects}))
    return _put(log, _entry(kind, record, account=account, dependencies=dependencies), now=now)


def _entry(kind: LogKind, record: Envelope, **members: Any) -> Entry:
    return Entry(kind, record.encode(), **members)


def _put(log: Log, entry: Entry, *, now: int, after: tuple[int, int] | None = None) -> int:
    """The record as an object as well, since attestations depend on it."""
    log.put_object(entry.payload)
    return log.append(entry, now=now, after=after)


def publish_source_statement(
    c: sa.Connection,
    log: Log,
    statement: PublishedStatement,
    source_keys: Iterable[PublicKey],
    ring: KeyRing,
    *,
    now_ms: int,
) -> bytes:
    """The digest of the signed message; idempotent.  ring: read before the transaction of `c` began.

    ProofRejected signature.threshold, PolicyError keys.not-in-force (at the cut), source.ciphertext (not the sealed
    opening that was signed)."""
    cut = peek(SourceStatement, statement.message).terms.cut_time
    message = ring.open(SourceStatement, statement.message, source_keys, cut)
    if hashlib.sha256(statement.sealed).digest() != message.ciphertext_digest:
        raise PolicyError("source.ciphertext", "not the sealed opening that the source signed")
    name = statement.message.digest
    if c.scalar(sa.select(published.c.message).where(published.c.message == name)) is None:
        stored = log.put_object(statement.encode())
        c.execute(
            sa.insert(published).values(
                message=name,
                object=stored,
                source=message.terms.source,
                account=message.terms.account,
                received=now_ms,
            )
        )
    return name
