"""The log that bench/replay.py replays: the example market, three sources, accounts that attest in every epoch.

Proofs are real.  What takes long (statements and proofs) is kept in the user's cache directory, one file an account;
the log and its bundle are made from it anew every time, so that a change of their formats needs no new proofs.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType

import rfc8785
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal import __version__
from marginseal.algebra.commit import CommitmentKey, commitment_key
from marginseal.algebra.srs import ceremony
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from marginseal.log.note import Signer
from marginseal.log.policy import LogPolicy
from marginseal.log.publish import (
    publish_account,
    publish_attestation,
    publish_epoch,
    publish_manifest,
    publish_record,
    publish_universe,
)
from marginseal.log.sql import open_sqlite
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch, encode
from marginseal.market.example import SOURCES, ExampleMarket, example_market
from marginseal.market.parameters import parameters_json
from marginseal.market.snapshot import Snapshot, snapshot_json
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import RuleRef, make_attestation
from marginseal.records.envelope import Envelope, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import FIRST, Manifest
from marginseal.records.pledges import draw_schedule
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey
from marginseal.records.source import BookTerms, PublishedStatement, book_id, make_statements, open_statement
from marginseal.records.statement import Statement, Tier
from marginseal.records.tiles import tiles_of
from prover.attest import blinder_sums, net_lots
from prover.compose import ClaimRequest, OpenedBook, Predecessor, Registries, compose
from prover.prove import Secrets, prove
from prover.witness import make_witness
from verifier.claims import compile_claim
from verifier.policy import Trust

ORIGIN = "bench.example/log"
RULE = RuleRef("worst_case_limits")
VENUES = ("venue-a", "venue-b")
STEP_S = 60


def seed(name: str) -> bytes:
    return hashlib.sha256(f"bench {name}".encode()).digest()


def key(role: Role, name: str) -> SigningKey:
    return SigningKey(role, seed(f"{role} {name}"))


OPERATOR, PROVER = key(Role.OPERATOR, "risk"), key(Role.PROVER, "prover")
SOURCE_KEYS = {name: key(Role.SOURCE, name) for name in SOURCES}
SIGNER = Signer(ORIGIN, Ed25519PrivateKey.from_private_bytes(seed("log")))


@cache
def market() -> ExampleMarket:
    return example_market()


@cache
def commitment() -> CommitmentKey:
    return commitment_key(rows_for(len(market().universe)), ceremony())


@cache
def registries() -> tuple[Envelope, Envelope, VenueRegistry]:
    issued = market().snapshot.time
    sources = tuple(RegisteredSource(s, SOURCE_KEYS[s].public) for s in sorted(SOURCES))
    venues = VenueRegistry(
        "risk", 1, issued, tuple(RegisteredVenue(v, key(Role.VENUE, v).public) for v in VENUES)
    )  # fmt: skip
    return sign(SourceRegistry("risk", 1, issued, sources), [OPERATOR]), sign(venues, [OPERATOR]), venues


@cache
def snapshot(number: int) -> Snapshot:
    """The example's ordinary day, a little later and a little higher."""
    base, later, up = market().snapshot, STEP_S * number, 1 + number / 10_000
    return replace(
        base,
        name=f"epoch {number}",
        time=base.time + later,
        index=MappingProxyType({s: replace(i, time=i.time + later, price=i.price * up) for s, i in base.index.items()}),
        forwards=MappingProxyType(
            {s: MappingProxyType({e: f * up for e, f in curve.items()}) for s, curve in base.forwards.items()}
        ),
        quotes=MappingProxyType({name: replace(q, time=q.time + later) for name, q in base.quotes.items()}),
    )


@cache
def epoch(number: int) -> RiskEpoch:
    return build_epoch(market().universe, snapshot(number), market().parameters)


class Account:
    """One account that attests in every epoch."""

    def __init__(self, number: int) -> None:
        self.name = f"fund-{number}"
        self.key, self.sealing = key(Role.ACCOUNT, self.name), SealingKey(seed(f"sealing {self.name}"))
        self.books = {s: book_id(seed("salt"), f"{self.name} {s}") for s in SOURCES}
        books = tuple(sorted(self.books.items()))
        start = market().snapshot.time - 3600
        self.manifest = sign(Manifest(self.name, 1, FIRST, start, (self.key.public,), books), [self.key])
        self.record = sign(AccountRecord(self.name, self.key.public, self.sealing.public), [self.key])

    def publish(self, number: int) -> list[PublishedStatement]:
        moment, out = snapshot(number).time, []
        tiles = tiles_of(market().universe, commitment().n)
        for source, book in sorted(self.books.items()):
            terms = BookTerms(
                source, self.name, book, f"cut {number}", moment, number + 1, True, moment + 86_400, moment + 86_400
            )
            out += make_statements(
                terms, tiles, market().books[source].lots, key=SOURCE_KEYS[source], recipient=self.sealing.public,
                commitment=commitment(),
            )  # fmt: skip
        return out

    def attest(self, epochs: int) -> Iterator[tuple[bytes, ...]]:
        """(statement, owner's signature, proof, published statements...) for each epoch in order."""
        sources, venues, listed = registries()
        schedule = draw_schedule(
            {"venue-a": 20_000_000, "venue-b": 10_000_000}, listed, commitment().n, account=self.name, sequence=1,
            secret=self.key.seed,
        )  # fmt: skip
        previous = None
        tile = tiles_of(market().universe, commitment().n)[0]
        for number in range(epochs):
            published = self.publish(number)
            books = []
            for one, source in zip(published, sorted(SOURCES), strict=True):
                statement, opening = open_statement(
                    one, tile, source_key=SOURCE_KEYS[source].public, sealing_key=self.sealing, commitment=commitment()
                )
                books.append(OpenedBook(one.message, statement, opening))
            submission = compose(
                epoch(number), books, schedule, [ClaimRequest(RULE, Tier.INITIAL)], account=self.name, key=self.key,
                registries=Registries(self.manifest.digest, sources.digest, venues.digest, len(VENUES)),
                expiry=snapshot(number).time + 86_400, response_key=self.sealing.public, commitment=commitment(),
                previous=previous,
            )  # fmt: skip
            previous = Predecessor(submission.statement, schedule)
            one_of = circuit(number)
            opened = [
                (e.tile, s.opening) for e, s in zip(submission.statement.sources, submission.sources, strict=True)
            ]
            lots = net_lots(opened, epoch(number).instruments, commitment().n)
            witness = make_witness(one_of, lots, schedule.opening.q[: len(VENUES)], (), None)
            sums = blinder_sums(one_of.circuit, opened, submission)
            proof = prove(one_of.circuit, submission.statement, witness.columns, sums, Secrets(PROVER.seed))
            yield submission.statement.encode(), submission.owner, proof, *(p.encode() for p in published)


@cache
def circuit(number: int) -> Compiled:
    return compile_claim(RULE, Tier.INITIAL, epoch(number), venues=len(VENUES))


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "marginseal" / f"bench-replay-{__version__}-{epoch(0).digest.hex()[:12]}"


def make_account(number: int, epochs: int) -> str:
    """Make and keep the attestations of one account, unless they are kept already."""
    path = cache_folder() / f"{number}-{epochs}.json"
    if not path.exists():
        made = [[part.hex() for part in parts] for parts in Account(number).attest(epochs)]
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(made))
        partial.rename(path)
    return str(path)


def make_bundle(accounts: int, epochs: int, workers: int) -> Path:
    """The log of all accounts, in the order of its epochs, as a bundle; made anew from kept attestations."""
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(make_account, range(accounts), [epochs] * accounts))
    folder = cache_folder() / f"log-{accounts}-{epochs}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    log = Log(open_sqlite(folder / "log.db"), origin=ORIGIN, signer=SIGNER)
    (sources, venues, _), start = registries(), market().snapshot.time
    publish_universe(log, market().universe, now=start)
    publish_record(log, LogKind.SOURCE_REGISTRY, sources, now=start)
    publish_record(log, LogKind.VENUE_REGISTRY, venues, now=start)
    owners = [Account(number) for number in range(accounts)]
    for owner in owners:
        publish_account(log, owner.record, now=start)
        publish_manifest(log, owner.manifest, now=start)
    universe = rfc8785.dumps(market().universe.document())
    kept = [json.loads(Path(file).read_text()) for file in files]
    for number in range(epochs):
        now = snapshot(number).time + 1
        record, data = sign(epoch_record(epoch(number)), [OPERATOR]), encode(epoch(number))
        beside = [snapshot_json(snapshot(number)), parameters_json(market().parameters)]
        publish_epoch(log, epoch(number), record, now=now, objects=beside)
        shared = [universe, data, record.encode(), sources.encode(), venues.encode()]
        for owner, made in zip(owners, kept, strict=True):
            said, signature, proof, *statements = (bytes.fromhex(part) for part in made[number])
            attestation = make_attestation(Statement.decode(said), signature, [RULE], [proof], PROVER)
            publish_attestation(log, attestation, [*shared, owner.manifest.encode(), *statements], now=now)
        log.checkpoint(now=now)
    export_bundle(log, folder / "bundle")
    return folder / "bundle"


def trust() -> Trust:
    policy = LogPolicy(ORIGIN, (SIGNER.key,))
    return Trust(ceremony().digest, (OPERATOR.public,), (PROVER.public,), None, 600, 0, policy)
