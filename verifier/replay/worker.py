"""One worker of a replay: every attestation of a range of the bundle, judged again from what the log holds.

    entry = payload, signatures, keys not revoked      epoch in force, newest within the tolerance, circuits compiled
    sources accepted under the manifest in force       chain, pledge continuity, the sources' own sequences
    proofs of the range in one batch

Epochs, circuits, registries and manifests are kept for the last few uses; nothing of an attestation outlives its range.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.policy import MAX_AHEAD_S
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe
from marginseal.records.acceptance import SourceEvidence, check_sources
from marginseal.records.attestation import Attestation, RuleRef
from marginseal.records.continuity import PledgeRelease, continuity_faults
from marginseal.records.envelope import Envelope, Record, peek
from marginseal.records.evidence import Told, sequence_faults
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import PublishedStatement, SourceStatement, by_message
from marginseal.records.statement import Claim, Continuity, Statement
from verifier.batch import Item, verify_batch
from verifier.claims import check_claim, check_epoch, compile_claim, link_of
from verifier.log_entry import says_attestation
from verifier.log_epoch import open_epoch, open_universe, rebuild_epoch
from verifier.log_index import BundleRecords, Named, Position
from verifier.log_manifest import in_force
from verifier.policy import Trust
from verifier.replay.records import Finding, Known, Published
from verifier.verify import Setting

T = TypeVar("T")
R = TypeVar("R", bound=Record)
MAX_PUBLISHED = 2**18
_EPOCHS, _CIRCUITS, _RECORDS, _STATEMENTS, _MESSAGES = 4, 8, 256, 256, 4096


class Kept:
    """The last `limit` things made, by name."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[Hashable, object] = {}

    def get(self, name: Hashable, make: Callable[[], T]) -> T:
        found: T = self._kept.pop(name) if name in self._kept else make()  # type: ignore[assignment]
        self._kept[name] = found
        while len(self._kept) > self._limit:
            del self._kept[next(iter(self._kept))]
        return found


@dataclass(frozen=True)
class Range:
    """Entries start .. stop - 1, and for each attestation among them the entry of its predecessor, if it has one."""

    start: int
    stop: int
    previous: tuple[tuple[int, int], ...]


@dataclass
class Judged:
    """What came of a range.  released: (venue, account, nonce, digest of the release) of every release used."""

    findings: list[Finding] = field(default_factory=list)
    attestations: int = 0
    proofs: int = 0
    by_epoch: dict[str, int] = field(default_factory=dict)
    by_rule: dict[str, int] = field(default_factory=dict)
    by_continuity: dict[str, int] = field(default_factory=dict)
    released: list[tuple[str, str, int, bytes]] = field(default_factory=list)


class Worker:
    """One process's part; `judge` may be called for any ranges in any order."""

    def __init__(self, bundle: Bundle, trust: Trust, known: Known, setting: Setting) -> None:
        self._records = BundleRecords(bundle)
        self._trust, self._known, self._setting = trust, known, setting
        self._by_digest = {p.digest: p for p in reversed(known.epochs)}
        self._epochs, self._circuits, self._opened = Kept(_EPOCHS), Kept(_CIRCUITS), Kept(_RECORDS)
        self._statements, self._messages = Kept(_STATEMENTS), Kept(_MESSAGES)

    def rebuild(self, index: int) -> tuple[bool, list[Finding]]:
        """The epoch of entry `index` built again: (whether it could be, what is wrong)."""
        try:
            return rebuild_epoch(self._records, self._universe, index, self._trust, self._known.ring), []
        except MarginSealError as e:
            return False, [Finding(e.code, e.message, index)]

    def judge(self, part: Range) -> Judged:
        """Every attestation of the range; its proofs in one batch."""
        out, before = Judged(), dict(part.previous)
        items: list[tuple[Finding, Item]] = []
        try:
            for position, entry in self._records.items(part.start, part.stop):
                if entry.kind == ATTESTATION:
                    one = _Attestation(self, position, entry, before.get(position.index), out)
                    items += one.judge()
        except MarginSealError as e:  # the bytes end here: the structural pass says the same
            out.findings.append(Finding(e.code, e.message))
        errors = verify_batch([item for _, item in items], setting=self._setting)
        for (where, _), error in zip(items, errors, strict=True):
            if error is not None:
                finding = Finding(error.code, error.message, where.index, where.account, where.sequence)
                out.findings.append(finding)
        out.proofs += len(items)
        return out

    # What attestations name, kept ------------------------------------------------------------------------------------

    def epoch(self, digest: bytes, index: int) -> tuple[Published, RiskEpoch]:
        published = self._by_digest.get(digest)
        if published is None or published.position.index >= index:
            raise PolicyError("replay.epoch", "the epoch it names is not in the log before it, rightly signed")

        def make() -> RiskEpoch:
            return open_epoch(self._records, published.position.index, self._trust, self._known.ring)[1]

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
            return self._known.ring.open(kind, Envelope.decode(entry.payload), self._trust.operators, time)

        return self._opened.get((kind, digest), make)

    def source_registry(self, digest: bytes, index: int) -> SourceRegistry:
        return self._registry(SourceRegistry, self._known.index.source_registries, digest, index)

    def venue_registry(self, digest: bytes, index: int) -> VenueRegistry:
        return self._registry(VenueRegistry, self._known.index.venue_registries, digest, index)

    def rows(self, universe: bytes) -> int:
        return self._opened.get(("rows", universe), lambda: rows_for(len(self._universe(universe))))

    def _universe(self, digest: bytes) -> Universe:
        return self._opened.get(("universe", digest), lambda: open_universe(self._records, self._known.index, digest))

    def statement(self, index: int, made: Statement | None = None) -> Statement:
        """Of the attestation at an entry; `made` puts it there."""
        return self._statements.get(
            index, lambda: made or Attestation.decode(self._records.entry(index)[1].payload).statement
        )

    def message(self, digest: bytes, index: int) -> Told | None:
        """What the message with this digest says, of those that entry `index` depends on."""

        def load() -> Told | None:
            for one in self.published(index):
                self.note(one.message.digest, peek(SourceStatement, one.message))
            return self._messages.get(digest, lambda: None)

        return self._messages.get(digest, load) or self._messages.get(digest, lambda: None)

    def note(self, digest: bytes, said: SourceStatement) -> None:
        """Keep what a message says for its successor."""
        self._messages.get(digest, lambda: Told.of(said))

    def published(self, index: int) -> Iterator[PublishedStatement]:
        for data in self.attached(self._records.entry(index)[1]):
            try:
                yield PublishedStatement.decode(data)
            except MarginSealError:
                continue

    def attached(self, entry: Entry) -> Iterator[bytes]:
        """The small objects that an entry depends on and that are no record of many: statements and releases."""
        for digest in entry.dependencies:
            if digest not in self._by_digest and digest not in self._common:
                data = self._records.object(digest)
                if len(data) <= MAX_PUBLISHED:
                    yield data

    @cached_property
    def _common(self) -> set[bytes]:
        """SHA-256 of the payloads of universes, epochs and registries, which attestations share."""
        index = self._known.index
        named = [index.universes, index.source_registries, index.venue_registries]
        positions = [at.index for of in named for at in of.values()]
        positions += [said.position.index for records in index.epochs.values() for said in records]
        return {hashlib.sha256(self._records.entry(at)[1].payload).digest() for at in positions}


class _Attestation:
    """One attestation under replay."""

    def __init__(self, worker: Worker, position: Position, entry: Entry, previous: int | None, out: Judged) -> None:
        self._worker, self._position, self._entry, self._previous = worker, position, entry, previous
        self._out = out

    def _found(self, e: MarginSealError) -> None:
        where = self._position.index, self._entry.account, self._entry.sequence
        self._out.findings.append(Finding(e.code, e.message, *where))

    def _attempt(self, run: Callable[[], T]) -> T | None:
        try:
            return run()
        except MarginSealError as e:
            self._found(e)
            return None

    def _require(self, holds: bool, code: str, message: str) -> None:
        if not holds:
            self._found(PolicyError(code, message))

    def judge(self) -> list[tuple[Finding, Item]]:
        """Notes everything that is wrong but the proofs, which it returns."""
        self._out.attestations += 1
        attestation = self._attempt(lambda: Attestation.decode(self._entry.payload))
        if attestation is None:
            return []
        statement, worker = attestation.statement, self._worker
        worker.statement(self._position.index, statement)
        self._count(attestation)
        self._says_what_it_is(statement)
        self._attempt(lambda: self._signatures(attestation))
        self._times(statement)
        index = self._position.index
        epoch = self._attempt(lambda: worker.epoch(statement.epoch, index))
        venues = self._attempt(lambda: worker.venue_registry(statement.venue_registry, index))
        if epoch is not None:
            self._epoch(epoch[0])
        self._continuity(statement, venues)
        if epoch is None or venues is None:
            return []
        compiled = self._attempt(lambda: self._compile(attestation, epoch[1], len(venues.venues)))
        if compiled is None:
            return []
        self._attempt(lambda: self._sources(statement, compiled[0]))
        where = Finding("", "", index, self._entry.account, self._entry.sequence)
        return [
            (where, Item(c.circuit, statement, proof, i))
            for i, (c, proof) in enumerate(zip(compiled, attestation.proofs, strict=True))
        ]

    def _count(self, attestation: Attestation) -> None:
        statement, out = attestation.statement, self._out
        for counts, name in (
            (out.by_epoch, statement.epoch.hex()),
            (out.by_continuity, statement.continuity.name.lower()),
            *((out.by_rule, rule.name) for rule in attestation.body.rules),
        ):
            counts[name] = counts.get(name, 0) + 1

    def _says_what_it_is(self, statement: Statement) -> None:
        same = says_attestation(self._entry.leaf(self._position.time), statement)
        self._require(same, "replay.entry", "the entry says something else than the attestation in it")

    def _signatures(self, attestation: Attestation) -> None:
        worker, statement = self._worker, attestation.statement
        self._require(statement.srs == worker._trust.srs, "replay.srs", "over powers that are not trusted")
        worker._known.ring.accept(attestation.verify_signatures, worker._trust.provers, self._position.time)

    def _times(self, statement: Statement) -> None:
        at = self._position.time
        self._require(statement.cut_time <= at + MAX_AHEAD_S, "replay.backdated", "logged before its own cut")
        self._require(at < statement.expiry, "replay.expired", "logged after it had expired")

    def _epoch(self, epoch: Published) -> None:
        worker, at = self._worker, self._position
        self._require(at.time < epoch.expires, "replay.epoch-expired", "logged after its epoch had expired")
        newer = worker._known.newer_epoch(epoch, at.time, at.index, worker._trust.epoch_lag_s)
        self._require(newer is None, "replay.epoch-newer", "a newer epoch was in the log")

    def _compile(self, attestation: Attestation, epoch: RiskEpoch, venues: int) -> list[Compiled]:
        statement = attestation.statement
        check_epoch(statement, epoch)
        self._worker.rows(statement.universe)  # the log has the universe
        pairs = zip(attestation.body.rules, statement.claims, strict=True)
        return [self._worker.circuit(epoch, rule, claim, statement, venues) for rule, claim in pairs]

    def _sources(self, statement: Statement, compiled: Compiled) -> None:
        worker, index = self._worker, self._position.index
        registry = worker.source_registry(statement.source_registry, index)
        held = in_force(worker._known.manifests.get(statement.account, ()), statement.cut_time, index)
        if held is None:
            raise PolicyError("replay.manifest", "no manifest of the account is in force at the cut")
        evidence = SourceEvidence(
            registry=registry,
            registry_digest=statement.source_registry,
            manifest=held.manifest,
            manifest_digest=held.digest,
            published=by_message(worker.published(index)),
            n=compiled.circuit.n,
            tiles=compiled.circuit.tiles,
            ring=worker._known.ring,
            logged=self._position.time,
        )
        setting = worker._setting
        facts = check_sources(statement, evidence, srs=setting.srs, curve=setting.curve)
        for entry, said in zip(statement.sources, facts.messages, strict=True):
            worker.note(entry.message_digest, said)
        self._source_sequences(statement)

    def _source_sequences(self, statement: Statement) -> None:
        worker, previous, index = self._worker, self._previous, self._position.index
        if previous is None:
            return
        faults = sequence_faults(
            statement,
            worker.statement(previous),
            lambda digest: worker.message(digest, index),
            lambda digest: worker.message(digest, previous),
        )
        for fault in faults:
            self._found(fault)

    def _continuity(self, statement: Statement, venues: VenueRegistry | None) -> None:
        worker, index = self._worker, self._position.index
        if statement.continuity == Continuity.FIRST:
            first = self._previous is None
            self._require(first, "continuity.sequence", "a first attestation of an account that has others")
            return
        previous_index = self._previous
        if previous_index is None or venues is None:
            self._require(previous_index is not None, "continuity.predecessor", "its predecessor is not in the log")
            return

        def faults() -> list[MarginSealError]:
            previous = worker.statement(previous_index)
            older = worker.venue_registry(previous.venue_registry, index)
            releases = self._releases(statement, older)
            return list(
                continuity_faults(
                    statement,
                    previous,
                    n=worker.rows(statement.universe),
                    previous_n=worker.rows(previous.universe),
                    registries={statement.venue_registry: venues, previous.venue_registry: older},
                    releases=releases,
                    ring=worker._known.ring,
                    logged=self._position.time,
                )
            )

        for fault in self._attempt(faults) or []:
            self._found(fault)

    def _releases(self, statement: Statement, registry: VenueRegistry) -> dict[bytes, Envelope]:
        wanted = {release.digest for release in statement.releases}
        found: dict[bytes, Envelope] = {}
        if not wanted:
            return found
        for data in self._worker.attached(self._entry):
            if hashlib.sha256(data).digest() in wanted:
                envelope = Envelope.decode(data)
                release = peek(PledgeRelease, envelope)
                found[envelope.digest] = envelope
                self._out.released.append((release.venue, release.account, release.nonce, envelope.digest))
        return found
