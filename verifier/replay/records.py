"""The records of a log, checked in the order in which the log took them: signatures, chains, and what follows.

`RecordPass` goes over everything but attestations and gathers what judging those needs: which key counts when (first,
for a revocation may be dated back), which manifest of an account is in force when, which epochs an operator published
when.  It keeps that and the last of each chain; memory grows with parties and records.  Rebuilding epochs is
`verifier.log_epoch`, judging attestations `attestation`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain

from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.entry import Entry
from marginseal.market.universe import parse_universe
from marginseal.records.account import AccountRecord, open_account
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyRing
from marginseal.records.logged import LogKind
from marginseal.records.manifest import SourceRelease
from marginseal.records.registry import VenueRegistry
from marginseal.records.report_note import ReportNote
from verifier.log_index import Index, Position, Records
from verifier.log_manifest import HeldManifest, SourceRegistries, take_manifest
from verifier.policy import Trust


@dataclass(frozen=True)
class Finding:
    """One thing wrong: a stable code, words, and the entry, account and sequence it concerns."""

    code: str
    message: str
    index: int | None = None
    account: str | None = None
    sequence: int | None = None


@dataclass(frozen=True)
class Published:
    """An epoch that an operator signed: its moment, its end, and when the log took it."""

    operator: str
    universe: bytes
    digest: bytes
    time: int
    expires: int
    position: Position


@dataclass
class Known:
    """What the records come to, as attestations are judged by it."""

    index: Index = field(default_factory=Index)
    manifests: dict[str, list[HeldManifest]] = field(default_factory=dict)
    epochs: list[Published] = field(default_factory=list)
    ring: KeyRing = field(default_factory=KeyRing)

    def newer_epoch(self, epoch: Published, logged: int, index: int, lag_s: int) -> Published | None:
        """An epoch of the same operator and universe that is newer, logged more than `lag_s` before `logged`."""
        for other in reversed(self.epochs):
            same = (other.operator, other.universe) == (epoch.operator, epoch.universe)
            newer = same and other.time > epoch.time and other.position.index < index
            if newer and logged - other.position.time > lag_s:
                return other
        return None


class RecordPass:
    """Every record is noted, oldest first, and then judged, oldest first."""

    def __init__(self, records: Records, trust: Trust) -> None:
        self.known = Known(ring=KeyRing(trust.operators))
        self._noted: list[Position] = []
        self._records, self._trust = records, trust
        self._accounts: dict[str, AccountRecord] = {}
        self._sources = SourceRegistries()
        self._venues: VenueRegistry | None = None

    def note(self, position: Position, entry: Entry) -> Iterator[Finding]:
        """Where a record is, and whether it changes or revokes a key: what is wrong with it then."""
        self.known.index.add(position, entry)
        if entry.kind not in (LogKind.KEY_CHANGE, LogKind.KEY_REVOCATION):
            self._noted.append(position)
            return
        try:
            self.known.ring = self.known.ring.apply(Envelope.decode(entry.payload), logged=position.time)
        except MarginSealError as e:
            yield Finding(e.code, e.message, position.index, entry.account)

    def judge(self) -> Iterator[Finding]:
        """What is wrong with the other records; what is right is known from here on."""
        for position in self._noted:
            account = None
            try:
                _, entry = self._records.entry(position.index)
                account = entry.account
                self._take(position, entry)
            except MarginSealError as e:
                yield Finding(e.code, e.message, position.index, account)

    def _take(self, position: Position, entry: Entry) -> None:
        if entry.kind == LogKind.UNIVERSE:
            parse_universe(entry.payload)
            return
        if entry.kind == LogKind.ORACLE_REPORT:
            note = ReportNote.from_payload(entry.payload)
            note.check(Envelope.decode(self._records.object(note.report)))
            return
        try:
            kind = LogKind(entry.kind)
        except ValueError:
            raise PolicyError("replay.kind", "an entry of a kind that this version does not know") from None
        envelope = Envelope.decode(entry.payload)
        match kind:
            case LogKind.EPOCH:
                self._epoch(position, envelope)
            case LogKind.SOURCE_REGISTRY:
                self._source_registry(position, envelope)
            case LogKind.VENUE_REGISTRY:
                self._venue_registry(position, envelope)
            case LogKind.ACCOUNT:
                previous = self._accounts.get(entry.account or "")
                ring = self.known.ring
                account = open_account(envelope, previous=previous, ring=ring, logged=position.time)
                _same_account(entry, account.account)
                self._accounts[account.account] = account
            case LogKind.MANIFEST:
                self._manifest(position, entry)
            case LogKind.SOURCE_RELEASE:
                _same_account(entry, peek(SourceRelease, envelope).account)
            case LogKind.PLEDGE_RELEASE:
                _same_account(entry, peek(PledgeRelease, envelope).account)

    def _epoch(self, position: Position, envelope: Envelope) -> None:
        record = self.known.ring.open(EpochRecord, envelope, self._trust.operators, position.time)
        published = Published(record.operator, record.universe, record.epoch, record.time, record.expires, position)
        self.known.epochs.append(published)

    def _source_registry(self, position: Position, envelope: Envelope) -> None:
        self._sources.take(position.index, envelope, self.known.ring, self._trust.operators, position.time)

    def _venue_registry(self, position: Position, envelope: Envelope) -> None:
        registry = self.known.ring.open(VenueRegistry, envelope, self._trust.operators, position.time)
        before, self._venues = self._venues, registry
        if before is not None and registry.version <= before.version:
            raise PolicyError("replay.registry-version", "a venue registry that is no later than the one before")
        if before is not None and not registry.extends(before):
            raise PolicyError("continuity.rows", "a venue of the registry before lost its row")

    def _manifest(self, position: Position, entry: Entry) -> None:
        # One at a time and only if a book is gone: an entry may name thousands of objects, each of 256 MiB of nothing.
        account = entry.account or ""
        logged = self.known.index.source_releases.get(account, ())
        attached = chain(
            (self._records.object(digest) for digest in entry.dependencies),
            (self._records.entry(at.index)[1].payload for at in logged if at.index < position.index),
        )
        held = self.known.manifests.get(account, [])
        one = take_manifest(
            entry.payload,
            position.index,
            entry.leaf(position.time),
            previous=held[-1] if held else None,
            releases=attached,
            registry=self._sources.before(position.index),
            delay_s=self._trust.manifest_delay_s,
            ring=self.known.ring,
        )
        self.known.manifests[account] = [*held, one]


def _same_account(entry: Entry, account: str) -> None:
    if entry.account != account:
        raise PolicyError("replay.entry", "the entry is under another account than the record in it")
