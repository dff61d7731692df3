"""A world with real proofs, small enough to be quick: a log, oracles, an operator, sources, venues, institutions.

Ten instruments on sixteen rows.  Everyone here is honest by default, and everyone can be told to lie: sources publish
what they are given, the institution signs any statement, the prover signs any attestation, the operator any epoch, the
log's key any checkpoint.  What nobody can do is make a proof of what is false.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import rfc8785

from circuits.circuit import Role as VectorRole
from circuits.model import rows_for
from circuits.rules.registry import rule_named
from marginseal.algebra.commit import CommitmentKey, commitment_key
from marginseal.algebra.srs import ceremony
from marginseal.log.log import Log
from marginseal.log.publish import (
    publish_account,
    publish_attestation,
    publish_epoch,
    publish_manifest,
    publish_record,
    publish_universe,
)
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch, encode
from marginseal.market.parameters import parameters_json
from marginseal.market.snapshot import snapshot_json
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import Attestation, RuleRef, make_attestation, sign_statement
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import FIRST, Manifest
from marginseal.records.oracle import make_snapshot
from marginseal.records.pledges import PledgeSchedule, draw_schedule, open_pledge
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey
from marginseal.records.source import BookTerms, PublishedStatement, SourceStatement, make_statements, open_statement
from marginseal.records.statement import Kind, Statement, Tier
from marginseal.records.submission import Submission
from marginseal.records.tiles import tiles_of
from prover.attest import blinder_sums, net_lots
from prover.compose import ClaimRequest, OpenedBook, Predecessor, Registries, compose
from prover.prove import Secrets, prove
from prover.witness import make_witness
from tests.log.support import POLICY as LOG_POLICY
from tests.log.support import open_log
from tests.market.markets import NOW, one_of_each, parameters
from tests.records import test_oracle as oracles
from tests.records.world import key, seed
from verifier.claims import compile_claims
from verifier.decision.dossier import Dossier
from verifier.decision.gather import gather, newest_of
from verifier.log_index import LogRecords
from verifier.policy import Policy, parse_policy
from verifier.verify import Setting

UNIVERSE = one_of_each()
N = rows_for(len(UNIVERSE))
HOUR = 3600
CHAIN_LIMIT = 16
OPERATOR, PROVER = key(Role.OPERATOR, "risk"), key(Role.PROVER, "prover-1")
SOURCES = ("custodian", "venue-a", "venue-b")
VENUES = ("venue-a", "venue-b", "venue-c")
SOURCE_KEYS = {name: key(Role.SOURCE, name) for name in SOURCES}
VENUE_KEYS = {name: key(Role.VENUE, name) for name in VENUES}
ORACLES = oracles.KEYS
RULE = RuleRef("worst_case")
PLEDGES = {"venue-a": 2_000, "venue-b": 1_000}
LOTS = {
    "custodian": [900_000, 0, 30, 0, 0, 0, 0, 0, 0, 0],
    "venue-a": [0, 0, 0, 0, 12, 0, 0, 0, 1, 0],
    "venue-b": [100_000, 0, 0, 0, -15, 0, 0, 0, 0, -2],
}


@cache
def commitment() -> CommitmentKey:
    return commitment_key(N, ceremony())


@cache
def setting() -> Setting:
    return Setting.default()


def source_registry(version: int = 1, **rows: Any) -> SourceRegistry:
    listed = (RegisteredSource(s, SOURCE_KEYS[s].public, rows.get(s.replace("-", "_"))) for s in SOURCES)
    return SourceRegistry("risk", version, NOW - HOUR, tuple(listed))


def venue_registry(version: int = 1, names: Sequence[str] = VENUES) -> VenueRegistry:
    return VenueRegistry("risk", version, NOW - HOUR, tuple(RegisteredVenue(v, VENUE_KEYS[v].public) for v in names))


def is_disclosure(rule: RuleRef) -> bool:
    return rule_named(rule.name).kind == Kind.DISCLOSURE


@dataclass(frozen=True)
class Attested:
    """An attestation with what its owner keeps and what the log needs beside it."""

    attestation: Attestation
    schedule: PledgeSchedule
    objects: tuple[bytes, ...]

    @property
    def statement(self) -> Statement:
        return self.attestation.statement


@dataclass
class World:
    """Public records in one log, at one moment (`now`, unix seconds)."""

    log: Log
    now: int = NOW
    epochs: list[RiskEpoch] = field(default_factory=list)
    epoch_records: dict[bytes, Envelope] = field(default_factory=dict)
    sources: Envelope = field(default_factory=lambda: sign(source_registry(), [OPERATOR]))
    venues: Envelope = field(default_factory=lambda: sign(venue_registry(), [OPERATOR]))
    listed_venues: VenueRegistry = field(default_factory=venue_registry)
    oracle_ring: KeyRing = NO_CHANGES

    @classmethod
    def new(cls, folder: Path, **changes: Any) -> World:
        world = cls(open_log(folder), **changes)
        publish_universe(world.log, UNIVERSE, now=world.now)
        publish_record(world.log, LogKind.SOURCE_REGISTRY, world.sources, now=world.now)
        publish_record(world.log, LogKind.VENUE_REGISTRY, world.venues, now=world.now)
        return world

    def reports(
        self, factor: str = "1", liars: Iterable[str] = (), lie: str = "1.5", time: int | None = None
    ) -> list[Envelope]:
        seen = (self.now if time is None else time) - 1
        made = [
            oracles.report(name, lie if name in liars else str(Decimal(factor) * Decimal(spread)), time=seen)
            for name, spread in zip(oracles.NAMES, ("1", "1.001", "0.999", "1.002", "1.0005"), strict=True)
        ]
        return [sign(report, [ORACLES[report.oracle]]) for report in made]

    def epoch(
        self,
        name: str = "epoch",
        factor: str = "1",
        *,
        change: Callable[[RiskEpoch], RiskEpoch] = lambda epoch: epoch,
        reports: list[Envelope] | None = None,
        objects: bool = True,
        time: int | None = None,
    ) -> RiskEpoch:
        """Publish the epoch of this moment, or of another; `change` is what a lying operator makes of it."""
        time = self.now if time is None else time
        reports = self.reports(factor, time=time) if reports is None else reports
        known = replace(oracles.POLICY, ring=self.oracle_ring)
        snapshot = make_snapshot(reports, known, UNIVERSE, name=name, time=time)
        model = parameters(operator="risk")
        epoch = change(build_epoch(UNIVERSE, snapshot, model))
        record = sign(epoch_record(epoch), [OPERATOR])
        beside = [snapshot_json(snapshot), parameters_json(model), *(r.encode() for r in reports)] if objects else []
        publish_epoch(self.log, epoch, record, now=self.now, objects=beside)
        self.epochs.append(epoch)
        self.epoch_records[epoch.digest] = record
        return epoch

    def fund(self, name: str = "fund-1") -> Fund:
        """An institution whose account and manifest are logged."""
        fund = Fund(name, self)
        publish_account(
            self.log, sign(AccountRecord(name, fund.key.public, fund.sealing.public), [fund.key]), now=self.now
        )
        publish_manifest(self.log, fund.manifest, now=self.now)
        return fund

    def append(self, attested: Attested) -> int:
        return publish_attestation(self.log, attested.attestation, attested.objects, now=self.now)

    def dossier(self, fund: Fund, venue: str = "venue-a", **options: Any) -> Dossier:
        """What a venue gathers from the log about the account's newest, with the opening of its pledge."""
        newest = fund.history[-1]
        opening = open_pledge(newest.schedule, newest.statement, self.listed_venues, venue, commitment())
        note, head = newest_of(self.log, fund.name, now=self.now)
        options = {"chain_limit": CHAIN_LIMIT, "pledge": opening.encode()} | options
        return gather(LogRecords(self.log), fund.name, note, head, **options)


@dataclass
class Fund:
    """An institution: its key, its books at the sources, and what it attested so far."""

    name: str
    world: World
    history: list[Attested] = field(default_factory=list)
    cuts: int = 0

    def __post_init__(self) -> None:
        self.key: SigningKey = key(Role.ACCOUNT, self.name)
        self.sealing = SealingKey(seed(f"sealing {self.name}"))
        self.books = {source: seed(f"{self.name} {source}").hex()[:32] for source in SOURCES}
        self.manifest = sign(self.manifest_of(SOURCES), [self.key])

    def manifest_of(self, sources: Iterable[str], **changes: Any) -> Manifest:
        listed = tuple((source, self.books[source]) for source in sources)
        return replace(Manifest(self.name, 1, FIRST, NOW - 10, (self.key.public,), listed), **changes)

    def publish(self, source: str, lots: Sequence[int] | None = None, **changes: Any) -> list[PublishedStatement]:
        """What a source signs of this account's book at the newest epoch's moment."""
        moment = self.world.now
        base = BookTerms(
            source, self.name, self.books[source], f"cut-{moment}", moment, self.cuts + 1, True, moment + 48 * HOUR,
            moment + 48 * HOUR,
        )  # fmt: skip
        terms = replace(base, **changes)
        registry = peek(SourceRegistry, self.world.sources)
        tiles = tiles_of(UNIVERSE, N)
        return make_statements(
            terms,
            tiles,
            LOTS[source] if lots is None else lots,
            key=SOURCE_KEYS[source],
            recipient=self.sealing.public,
            commitment=commitment(),
            allowed=[registry.source(source).allowed(UNIVERSE.digest, N, tile.index) for tile in tiles],
        )

    def open(self, published: Iterable[PublishedStatement]) -> list[OpenedBook]:
        tiles = tiles_of(UNIVERSE, N)
        out = []
        for one in published:
            said = peek(SourceStatement, one.message)
            statement, opening = open_statement(
                one, tiles[said.tile], source_key=SOURCE_KEYS[said.terms.source].public, sealing_key=self.sealing,
                commitment=commitment(),
            )  # fmt: skip
            out.append(OpenedBook(one.message, statement, opening))
        return out

    def schedule(self, pledges: dict[str, int] | None) -> PledgeSchedule:
        """A new schedule, or the predecessor's where nothing is asked for."""
        if pledges is None and self.history:
            return self.history[-1].schedule
        return draw_schedule(
            PLEDGES if pledges is None else pledges, self.world.listed_venues, N, account=self.name,
            sequence=len(self.history) + 1, secret=self.key.seed,
        )  # fmt: skip

    def submission(
        self,
        published: Sequence[PublishedStatement],
        *,
        epoch: RiskEpoch | None = None,
        pledges: dict[str, int] | None = None,
        releases: Sequence[Envelope] = (),
        rules: Sequence[RuleRef] = (RULE,),
        tier: Tier = Tier.INITIAL,
        inputs: tuple[int, ...] = (),
        manifest: Envelope | None = None,
        change: Callable[[Statement], Statement] = lambda statement: statement,
    ) -> Submission:
        """The next of the chain; `change` is what a lying institution signs instead."""
        world = self.world
        last = self.history[-1] if self.history else None
        made = compose(
            epoch or world.epochs[-1],
            self.open(published),
            self.schedule(pledges),
            [ClaimRequest(rule, tier, inputs if is_disclosure(rule) else ()) for rule in rules],
            account=self.name,
            key=self.key,
            registries=Registries(
                (manifest or self.manifest).digest, world.sources.digest, world.venues.digest,
                len(world.listed_venues.venues),
            ),
            expiry=world.now + 24 * HOUR,
            response_key=self.sealing.public,
            commitment=commitment(),
            previous=None if last is None else Predecessor(last.statement, last.schedule, tuple(releases)),
        )  # fmt: skip
        statement = change(made.statement)
        return replace(made, statement=statement, owner=sign_statement(statement, self.key))

    def attest(
        self,
        lots: dict[str, list[int]] | None = None,
        *,
        published: Sequence[PublishedStatement] | None = None,
        log: bool = True,
        **options: Any,
    ) -> Attested:
        """Cut, compose, prove, log."""
        if published is None:
            published = [p for source in SOURCES for p in self.publish(source, (lots or LOTS)[source])]
        submission = self.submission(published, **options)
        attested = Attested(
            attestation_of(submission, options.get("epoch") or self.world.epochs[-1], self.world),
            submission.pledges,
            objects_of(self.world, submission, published, options.get("manifest") or self.manifest),
        )
        if log:
            self.world.append(attested)
            self.accept(attested)
        return attested

    def accept(self, attested: Attested) -> None:
        """Go on from this one."""
        self.history.append(attested)
        self.cuts += 1

    def release(self, venue: str, **changes: Any) -> Envelope:
        """A venue's signed release of its pledge in the newest attestation."""
        world, newest = self.world, self.history[-1].statement
        base = PledgeRelease(
            venue, world.listed_venues.row(venue), self.name, newest.digest, newest.sequence, world.now
        )
        return sign(replace(base, **changes), [VENUE_KEYS[venue]])


def objects_of(
    world: World, submission: Submission, published: Iterable[PublishedStatement], manifest: Envelope
) -> tuple[bytes, ...]:
    epoch = next(e for e in world.epochs if e.digest == submission.statement.epoch)
    return (
        universe_payload(),
        encode(epoch),
        world.epoch_records[epoch.digest].encode(),
        manifest.encode(),
        world.sources.encode(),
        world.venues.encode(),
        *(p.encode() for p in published),
        *(r.encode() for r in submission.releases),
    )


@cache
def universe_payload() -> bytes:
    return rfc8785.dumps(UNIVERSE.document())


def proofs_of(submission: Submission, epoch: RiskEpoch, venues: int) -> list[bytes]:
    """Real proofs of the submission's own openings, with none of an honest prover's checks.  Unsatisfied."""
    statement = submission.statement
    compiled = compile_claims(statement, submission.rules, epoch, venues=venues)
    books = [(e.tile, s.opening) for e, s in zip(statement.sources, submission.sources, strict=True)]
    lots = net_lots(books, epoch.instruments, N)
    out = []
    for index, one in enumerate(compiled):
        roles = {b.role for b in one.circuit.bound}
        before = submission.previous_pledges
        witness = make_witness(
            one,
            lots,
            submission.pledges.opening.q[:venues] if VectorRole.PLEDGES in roles else None,
            statement.claims[index].inputs,
            before.opening.q[:venues] if before is not None and VectorRole.PREVIOUS_PLEDGES in roles else None,
        )
        sums = blinder_sums(one.circuit, books, submission)
        out.append(prove(one.circuit, statement, witness.columns, sums, Secrets(PROVER.seed), index=index))
    return out


def attestation_of(submission: Submission, epoch: RiskEpoch, world: World) -> Attestation:
    proofs = proofs_of(submission, epoch, len(world.listed_venues.venues))
    return make_attestation(submission.statement, submission.owner, submission.rules, proofs, PROVER)


def policy_document(venue: str = "venue-a", **changes: Any) -> dict[str, Any]:
    """A policy file that accepts what honest parties here do."""
    document: dict[str, Any] = {
        "format": "marginseal-policy-1",
        "venue": venue,
        "srs": ceremony().digest.hex(),
        "operators": [OPERATOR.public.raw.hex()],
        "provers": [PROVER.public.raw.hex()],
        "oracles": {
            "keys": {name: k.public.raw.hex() for name, k in ORACLES.items()},
            "threshold": 3,
            "venues": 2,
            "window_s": 300,
            "deviation": 20,
            "confidence": 20,
        },
        "rules": [{"name": "worst_case", "parameters": {}, "tiers": ["initial"]}],
        "sources": {"custodian": None, "venue-a": None, "venue-b": "100000"},
        "accounts": {"fund-1": key(Role.ACCOUNT, "fund-1").public.raw.hex()},
        "listed_as": "venue-a",
        "registries": {"sources": 1, "venues": 1},
        "hold": True,
        "currency": "USD",
        "tick": "0.01",
        "minimum_pledge_ticks": "1000",
        "epoch_max_age_s": HOUR,
        "epoch_lag_s": 120,
        "coherence_window_s": 300,
        "min_life_s": 60,
        "chain_limit": CHAIN_LIMIT,
        "manifest_delay_s": 2 * HOUR,
        "log": {
            "origin": LOG_POLICY.origin,
            "keys": [str(k) for k in LOG_POLICY.log_keys],
            "witnesses": [],
            "threshold": 0,
            "max_age_s": 600,
        },
    }
    return document | changes


def policy(venue: str = "venue-a", **changes: Any) -> Policy:
    return parse_policy(json.dumps(policy_document(venue, **changes)).encode())
