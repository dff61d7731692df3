"""`attest.Public` out of the log: records by the digests that statements name, and the objects behind them."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import TypeVar

import sqlalchemy as sa

from marginseal.errors import InputError, MarginSealError, PolicyError
from marginseal.log.entry import ATTESTATION
from marginseal.log.log import Log
from marginseal.market import epoch as epochs
from marginseal.market.universe import Universe, parse_universe
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope, Record, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyRing
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Statement
from server.catalogue import Catalogue, Found
from server.held import Held, Keys
from server.jobs import Clock
from server.store import Store
from server.tables import published

T = TypeVar("T", bound=Record)
_PUBLISHED = sa.select(published.c.object).where(published.c.message == sa.bindparam("message"))
_EPOCHS = 4
_RECENT_EPOCHS = 64  # in which a newer one is looked for; the epoch of a statement expires before as many have come
_RECORDS = 256
_MESSAGES = 4096


class LoggedRecords:
    """What is logged here was checked when it was published (publish.py); whether it still holds, `held` says.

    clock             unix milliseconds: what is judged now the log takes now
    PolicyError public.unknown for a digest that the log does not hold; keys.not-in-force and ProofRejected
    signature.threshold for an operator's record that does not hold (any more)."""

    def __init__(self, store: Store, log: Log, catalogue: Catalogue, clock: Clock, *, manifest_delay_s: int) -> None:
        self._store, self._log, self._catalogue, self._clock = store, log, catalogue, clock
        self._keys, self._manifest_delay_s = Keys(store, log, catalogue), manifest_delay_s
        self._held: Held | None = None
        # What is logged under a digest never changes.  An epoch may take 32 MB; circuits made from it share its matrix.
        self._epoch = lru_cache(maxsize=_EPOCHS)(lambda digest: epochs.decode(self._log.get_object(digest)))
        self._universe = lru_cache(maxsize=_EPOCHS)(lambda index: parse_universe(self._payload(index)))
        self._envelope = lru_cache(maxsize=_RECORDS)(lambda index: Envelope.decode(self._payload(index)))
        self._found = lru_cache(maxsize=_RECORDS)(self._find)
        self._published = lru_cache(maxsize=_MESSAGES)(self._stored)

    @property
    def held(self) -> Held:
        """What holds by what the log has of keys now."""
        ring, kept = self._keys.ring(), self._held
        if kept is None or kept.ring is not ring:
            self._held = kept = Held(ring, self._log, self._catalogue, self._envelope, self._manifest_delay_s)
        return kept

    def keys(self) -> tuple[KeyRing, int]:
        """The ring of keys, and the time at which the log takes what is judged now (unix seconds)."""
        return self._keys.ring(), max(self.now_s, self._log.tail()[1])

    @property
    def now_s(self) -> int:
        return self._clock() // 1000

    def _payload(self, index: int) -> bytes:
        return self._log.entry(index)[1].payload

    def _find(self, digest: bytes, kind: LogKind) -> Found:
        self._catalogue.sync(self._log.size())
        found = self._catalogue.by_digest(digest, kind)
        if found is None:  # which is not remembered: it may come yet
            raise PolicyError("public.unknown", f"the log holds no {kind} of that digest")
        return found

    def epoch(self, digest: bytes) -> epochs.RiskEpoch:
        self.epoch_record(digest)
        return self._epoch(digest)

    def epoch_record(self, digest: bytes) -> EpochRecord:
        return self._record(EpochRecord, digest, LogKind.EPOCH)

    def superseded(self, digest: bytes, *, before: int) -> bool:
        """Whether a newer epoch of the same operator and universe was logged before that time (unix seconds)."""
        epoch, held = self.epoch_record(digest), self.held
        for found in self._catalogue.recent(LogKind.EPOCH, _RECENT_EPOCHS):
            with contextlib.suppress(MarginSealError):  # a thief's, or nobody's: the log has it, and it is no epoch
                other = held.open(EpochRecord, found)
                same = (other.operator, other.universe) == (epoch.operator, epoch.universe)
                if same and other.time > epoch.time and found.time < before:
                    return True
        return False

    def universe(self, digest: bytes) -> Universe:
        return self._universe(self._found(digest, LogKind.UNIVERSE).index)

    def manifest(self, digest: bytes) -> Manifest:
        manifest = peek(Manifest, self._envelope(self._found(digest, LogKind.MANIFEST).index))
        if all(name != digest for _, name in self.manifests(manifest.account)):
            raise PolicyError("public.manifest", "a manifest that does not follow the one before")
        return manifest

    def manifests(self, account: str) -> list[tuple[Manifest, bytes]]:
        """The account's manifests that follow one another, oldest first, each with its digest."""
        self._catalogue.sync(self._log.size())
        return self.held.manifests(account)

    def account_records(self, account: str) -> list[bytes]:
        """The digests of the records that are logged under an account's name."""
        self._catalogue.sync(self._log.size())
        return [found.name for found in self._catalogue.of_account(LogKind.ACCOUNT, account)]

    def source_releases(self, account: str) -> list[Envelope]:
        """What sources signed to let books of the account go."""
        self._catalogue.sync(self._log.size())
        return [self._envelope(f.index) for f in self._catalogue.of_account(LogKind.SOURCE_RELEASE, account)]

    def pledge_releases(self, account: str) -> list[Envelope]:
        """What venues signed to let pledges of the account fall."""
        self._catalogue.sync(self._log.size())
        return [self._envelope(f.index) for f in self._catalogue.of_account(LogKind.PLEDGE_RELEASE, account)]

    def attested(self, account: str, statement: bytes) -> Statement | None:
        """The statement of this digest, if the log holds an attestation of it by the account."""
        self._catalogue.sync(self._log.size())
        found = self._catalogue.by_digest(statement, ATTESTATION)
        if found is None or found.account != account or found.statement_digest != statement:
            return None
        return Attestation.decode(self._payload(found.index)).statement

    def newest_source_registry(self) -> SourceRegistry | None:
        self._catalogue.sync(self._log.size())
        held = self.held.source_registries().held
        return held[-1][1] if held else None

    def source_registry(self, digest: bytes) -> SourceRegistry:
        return self._record(SourceRegistry, digest, LogKind.SOURCE_REGISTRY)

    def venue_registry(self, digest: bytes) -> VenueRegistry:
        return self._record(VenueRegistry, digest, LogKind.VENUE_REGISTRY)

    def source_statement(self, message: bytes) -> PublishedStatement:
        try:
            return PublishedStatement.decode(self._log.get_object(self._published(message)))
        except InputError:
            raise PolicyError("public.unpublished", "a source's statement is not published here") from None

    def predecessor(self, account: str, sequence: int) -> Attestation | None:
        position = self._log.attestation(account, sequence)
        return None if position is None else Attestation.decode(self._log.entry(position.index)[1].payload)

    def objects_of(self, s: Statement) -> set[bytes]:
        """SHA-256 of all that an attestation of this statement cannot be replayed without."""
        records = [
            (s.epoch, LogKind.EPOCH),
            (s.universe, LogKind.UNIVERSE),
            (s.manifest, LogKind.MANIFEST),
            (s.source_registry, LogKind.SOURCE_REGISTRY),
            (s.venue_registry, LogKind.VENUE_REGISTRY),
        ]
        needed = {self._found(digest, kind).payload_digest for digest, kind in records}
        return needed | {s.epoch} | {self._published(entry.message_digest) for entry in s.sources}

    def _stored(self, message: bytes) -> bytes:
        """SHA-256 of the published statement that holds the message of this digest; it never changes."""
        with self._store.read() as c:
            stored: bytes | None = c.scalar(_PUBLISHED, {"message": message})
        if stored is None:  # which is not remembered: it may come yet
            raise PolicyError("public.unpublished", "a source's statement is not published here")
        return stored

    def _record(self, kind: type[T], digest: bytes, entry: LogKind) -> T:
        return self.held.open(kind, self._found(digest, entry))
