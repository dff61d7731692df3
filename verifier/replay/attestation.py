"""One attestation under replay: everything it says, held against what the log holds.

    entry = payload, signatures, keys not revoked      epoch in force, newest within the tolerance, circuits compiled
    sources accepted under the manifest in force       chain, pledge continuity, the sources' own sequences

All that is wrong is noted; the proofs are returned, for a batch (`worker`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from circuits.compile import Compiled
from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.entry import Entry
from marginseal.log.policy import MAX_AHEAD_S
from marginseal.market.epoch import RiskEpoch
from marginseal.records.acceptance import SourceEvidence, check_sources
from marginseal.records.attestation import Attestation
from marginseal.records.continuity import PledgeRelease, continuity_faults
from marginseal.records.envelope import Envelope, peek
from marginseal.records.evidence import Told, sequence_faults
from marginseal.records.registry import VenueRegistry
from marginseal.records.source import by_message
from marginseal.records.statement import Continuity, Statement
from verifier.batch import Item
from verifier.claims import check_epoch
from verifier.log_entry import says_attestation
from verifier.log_index import Position
from verifier.log_manifest import in_force
from verifier.replay.held import Held
from verifier.replay.records import Finding, Published
from verifier.verify import Setting

T = TypeVar("T")


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


class Judgement:
    """One attestation under replay."""

    def __init__(
        self, held: Held, setting: Setting, position: Position, entry: Entry, previous: int | None, out: Judged
    ) -> None:
        """previous: the entry of the one before it in its account's chain; out: where findings go."""
        self._held, self._setting, self._out = held, setting, out
        self._position, self._entry, self._previous = position, entry, previous

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
        statement, held = attestation.statement, self._held
        held.statement(self._position.index, statement)
        self._count(attestation)
        self._says_what_it_is(statement)
        self._attempt(lambda: self._signatures(attestation))
        self._times(statement)
        index = self._position.index
        epoch = self._attempt(lambda: held.epoch(statement.epoch, index))
        venues = self._attempt(lambda: held.venue_registry(statement.venue_registry, index))
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
        held, statement = self._held, attestation.statement
        self._require(statement.srs == held.trust.srs, "replay.srs", "over powers that are not trusted")
        held.known.ring.accept(attestation.verify_signatures, held.trust.provers, self._position.time)

    def _times(self, statement: Statement) -> None:
        at = self._position.time
        self._require(statement.cut_time <= at + MAX_AHEAD_S, "replay.backdated", "logged before its own cut")
        self._require(at < statement.expiry, "replay.expired", "logged after it had expired")

    def _epoch(self, epoch: Published) -> None:
        held, at = self._held, self._position
        self._require(at.time < epoch.expires, "replay.epoch-expired", "logged after its epoch had expired")
        newer = held.known.newer_epoch(epoch, at.time, at.index, held.trust.epoch_lag_s)
        self._require(newer is None, "replay.epoch-newer", "a newer epoch was in the log")

    def _compile(self, attestation: Attestation, epoch: RiskEpoch, venues: int) -> list[Compiled]:
        statement = attestation.statement
        check_epoch(statement, epoch)
        self._held.rows(statement.universe)  # the log has the universe
        pairs = zip(attestation.body.rules, statement.claims, strict=True)
        return [self._held.circuit(epoch, rule, claim, statement, venues) for rule, claim in pairs]

    def _sources(self, statement: Statement, compiled: Compiled) -> None:
        held, index = self._held, self._position.index
        registry = held.source_registry(statement.source_registry, index)
        manifest = in_force(held.known.manifests.get(statement.account, ()), statement.cut_time, index)
        if manifest is None:
            raise PolicyError("replay.manifest", "no manifest of the account is in force at the cut")
        evidence = SourceEvidence(
            registry=registry,
            registry_digest=statement.source_registry,
            manifest=manifest.manifest,
            manifest_digest=manifest.digest,
            published=by_message(held.published(self._entry, statement)),
            n=compiled.circuit.n,
            tiles=compiled.circuit.tiles,
            ring=held.known.ring,
            logged=self._position.time,
        )
        setting = self._setting
        facts = check_sources(statement, evidence, srs=setting.srs, curve=setting.curve)
        for entry, said in zip(statement.sources, facts.messages, strict=True):
            held.note(entry.message_digest, Told.of(said))
        self._source_sequences(statement)

    def _source_sequences(self, statement: Statement) -> None:
        held, previous, index = self._held, self._previous, self._position.index
        if previous is None:
            return
        before = held.statement(previous)
        for fault in sequence_faults(statement, before, held.messages(index), held.messages(previous)):
            self._found(fault)

    def _continuity(self, statement: Statement, venues: VenueRegistry | None) -> None:
        held, index = self._held, self._position.index
        if statement.continuity == Continuity.FIRST:
            first = self._previous is None
            self._require(first, "continuity.sequence", "a first attestation of an account that has others")
            return
        previous_index = self._previous
        if previous_index is None or venues is None:
            self._require(previous_index is not None, "continuity.predecessor", "its predecessor is not in the log")
            return

        def faults() -> list[MarginSealError]:
            previous = held.statement(previous_index)
            older = held.venue_registry(previous.venue_registry, index)
            releases = self._releases(statement, older)
            return list(
                continuity_faults(
                    statement,
                    previous,
                    n=held.rows(statement.universe),
                    previous_n=held.rows(previous.universe),
                    registries={statement.venue_registry: venues, previous.venue_registry: older},
                    releases=releases,
                    ring=held.known.ring,
                    logged=self._position.time,
                )
            )

        for fault in self._attempt(faults) or []:
            self._found(fault)

    def _releases(self, statement: Statement, registry: VenueRegistry) -> dict[bytes, Envelope]:
        found: dict[bytes, Envelope] = {}
        for data in self._held.releases(self._entry, statement):
            envelope = Envelope.decode(data)
            release = peek(PledgeRelease, envelope)
            found[envelope.digest] = envelope
            self._out.released.append((release.venue, release.account, release.nonce, envelope.digest))
        return found
