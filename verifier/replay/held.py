"""What the attestations of a log name, opened once and kept for the last few uses: `Held`.

Epochs, circuits, registries, universes; of other attestations the statement, of sources' messages what their
successors are held against.  Nothing here is judged but what it takes to open a thing; memory does not grow with the
log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from functools import cached_property
from typing import Any, TypeVar

from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal.errors import PolicyError
from marginseal.log.entry import Entry
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe
from marginseal.records.attestation import Attestation, RuleRef
from marginseal.records.envelope import Envelope, Record
from marginseal.records.evidence import Told
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Claim, Statement
from verifier import log_attached
from verifier.claims import check_claim, compile_claim, link_of
from verifier.log_epoch import open_epoch, open_universe
from verifier.log_index import Named, Records
from verifier.policy import Trust
from verifier.replay.records import Known, Published

T = TypeVar("T")
R = TypeVar("R", bound=Record)
_EPOCHS, _CIRCUITS, _RECORDS, _STATEMENTS, _MESSAGES = 4, 8, 256, 256, 4096


class Kept:
    """The last `limit` things made, by name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Hashable, object] = {}

    def __contains__(self, name: Hashable) -> bool:
        return name in self._kept

    def __getitem__(self, name: Hashable) -> Any:
        return self._kept[name]

    def get(self, name: Hashable, make: Callable[[], T]) -> T:
        found: T = self._kept.pop(name) if name in self._kept else make()  # type: ignore[assignment]
        self._kept[name] = found
        while len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]
        return found


class Held:
    """What one process holds of a log; `known` is what its records come to."""

    def __init__(self, records: Records, trust: Trust, known: Known) -> None:
        self.trust, self.known = trust, known
        self._records = records
        self._by_digest = {p.digest: p for p in reversed(known.epochs)}
        self._epochs, self._circuits, self._opened = Kept(_EPOCHS), Kept(_CIRCUITS), Kept(_RECORDS)
        self._statements, self._messages = Kept(_STATEMENTS), Kept(_MESSAGES)

    def epoch(self, digest: bytes, index: int) -> tuple[Published, RiskEpoch]:
        published = self._by_digest.get(digest)
        if published is None or published.position.index >= index:
            raise PolicyError("replay.epoch", "the epoch it names is not in the log before it, rightly signed")

        def make() -> RiskEpoch:
            return open_epoch(self._records, published.position.index, self.trust, self.known.ring)[1]

        return published, self._epochs.get(digest, make)

    def circuit(self, epoch: RiskEpoch, rule: RuleRef, claim: Claim, statement: Statement, venues: int) -> Compiled:
        link = link_of(statement)
        name = (epoch.digest, rule, claim.tier, venues, link)
        made = self._circuits.get(name, lambda: compile_claim(rule, claim.tier, epoch, venues=venues, link=link))
        check_claim(claim, rule, made.circuit)
        return made

    def _registry(self, kind: type[R], named: Named, digest: bytes, index: int) -> R:
        at = named.get(digest)
        if at is None or at.index >= index:
            what = kind.PURPOSE.name.lower().replace("_", "-")
            raise PolicyError(f"replay.{what}", "a registry it names is not in the log before it")

        def make() -> R:
            time, entry = self._records.entry(at.index)
            return self.known.ring.open(kind, Envelope.decode(entry.payload), self.trust.operators, time)

        return self._opened.get((kind, digest), make)

    def source_registry(self, digest: bytes, index: int) -> SourceRegistry:
        return self._registry(SourceRegistry, self.known.index.source_registries, digest, index)

    def venue_registry(self, digest: bytes, index: int) -> VenueRegistry:
        return self._registry(VenueRegistry, self.known.index.venue_registries, digest, index)

    def rows(self, universe: bytes) -> int:
        return self._opened.get(("rows", universe), lambda: rows_for(len(self.universe(universe))))

    def universe(self, digest: bytes) -> Universe:
        return self._opened.get(("universe", digest), lambda: open_universe(self._records, self.known.index, digest))

    def statement(self, index: int, made: Statement | None = None) -> Statement:
        """Of the attestation at an entry; `made` puts it there."""
        return self._statements.get(
            index, lambda: made or Attestation.decode(self._records.entry(index)[1].payload).statement
        )

    def messages(self, index: int) -> Callable[[bytes], Told | None]:
        """What messages say, by digest, of those that the attestation at an entry came with: read at most once."""
        read: list[dict[bytes, Told]] = []

        def told(digest: bytes) -> Told | None:
            if digest in self._messages:
                kept: Told = self._messages[digest]
                return kept
            if not read:
                came = self.published(self._records.entry(index)[1], self.statement(index))
                read.append(dict(log_attached.told(came)))
            return read[0].get(digest)

        return told

    def note(self, digest: bytes, said: Told) -> None:
        """Keep what a message says for its successor."""
        self._messages.get(digest, lambda: said)

    def published(self, entry: Entry, statement: Statement) -> Iterator[PublishedStatement]:
        """What came with an attestation; records that attestations share are not read for each."""
        return log_attached.published(self._records, entry, statement, known=self._common)

    def releases(self, entry: Entry, statement: Statement) -> Iterator[bytes]:
        return log_attached.releases(self._records, entry, statement)

    @cached_property
    def _common(self) -> set[bytes]:
        """SHA-256 of the payloads of universes, epochs and registries, which attestations share."""
        index = self.known.index
        named = [index.universes, index.source_registries, index.venue_registries]
        positions = [at.index for of in named for at in of.values()]
        positions += [said.position.index for records in index.epochs.values() for said in records]
        return {hashlib.sha256(self._records.entry(at)[1].payload).digest() for at in positions}
