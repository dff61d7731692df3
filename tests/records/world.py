"""A small world of parties for the record tests: an account with three books, two tiles of eight rows, three venues."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.commit import CommitmentKey, commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.srs import ceremony
from marginseal.algebra.vectors import PythonVectors
from marginseal.records.acceptance import SourceEvidence
from marginseal.records.account import AccountRecord
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.keys import Role, SigningKey
from marginseal.records.manifest import FIRST, Manifest
from marginseal.records.pledges import PledgeSchedule, draw_schedule
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey
from marginseal.records.source import BookTerms, PublishedStatement, SourceStatement, by_message, make_statements
from marginseal.records.statement import NO_PREDECESSOR, Claim, Continuity, Kind, SourceEntry, Statement, Tier
from marginseal.records.tiles import Tile, tiles_of
from tests.market.markets import one_of_each

N = 8
CUT = 1_793_000_000
EXPIRY = CUT + 86_400
CURVE = backend()
SRS = ceremony()
UNIVERSE = one_of_each()


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def key(role: Role, name: str) -> SigningKey:
    return SigningKey(role, seed(f"{role} {name}"))


def randomness(name: str) -> Callable[[int], bytes]:
    """Reproducible bytes, a new stream for each name."""
    rng = np.random.default_rng(list(seed(name)))
    return lambda count: rng.bytes(count)


@cache
def tiles(n: int = N) -> tuple[Tile, ...]:
    return tiles_of(UNIVERSE, n)


@cache
def commitment(n: int = N) -> CommitmentKey:
    return commitment_key(n, SRS, PythonVectors(), curve=CURVE)


ACCOUNT = "fund-1"
OWNER = key(Role.ACCOUNT, ACCOUNT)
OPERATOR = key(Role.OPERATOR, "risk")
PROVER = key(Role.PROVER, "prover-1")
SEALING = SealingKey(seed("sealing"))
RECORD = AccountRecord(ACCOUNT, OWNER.public, SEALING.public)
BOOKS = (("custodian", "b" * 32), ("venue-a", "a" * 32), ("venue-b", "c" * 32))
SOURCE_KEYS = {source: key(Role.SOURCE, source) for source, _ in BOOKS}
VENUES = ("venue-a", "venue-b", "venue-c")
VENUE_KEYS = {venue: key(Role.VENUE, venue) for venue in VENUES}
LOTS = {
    "custodian": [5000, 0, 3, -2, 0, 0, 0, 0, 0, 0],
    "venue-a": [0, 0, 0, 0, 10, -4, 0, 0, 7, 0],
    "venue-b": [-100, 0, 0, 0, 0, 0, -3, 1, 0, -9],
}
CONFINED = {UNIVERSE.digest: ((0, 1), (4, 10))}


def registry(**rows: dict[bytes, tuple[tuple[int, int], ...]]) -> SourceRegistry:
    sources = tuple(
        RegisteredSource(source, SOURCE_KEYS[source].public, rows.get(source.replace("-", "_"))) for source, _ in BOOKS
    )
    return SourceRegistry("risk", 1, CUT, sources)


VENUE_REGISTRY = VenueRegistry("risk", 1, CUT, tuple(RegisteredVenue(v, VENUE_KEYS[v].public) for v in VENUES))
MANIFEST = Manifest(ACCOUNT, 1, FIRST, CUT - 10, (OWNER.public,), BOOKS)
MANIFEST_ENVELOPE = sign(MANIFEST, [OWNER])
VENUE_ENVELOPE = sign(VENUE_REGISTRY, [OPERATOR])


def terms(source: str, book: str, **changes: object) -> BookTerms:
    base = BookTerms(source, ACCOUNT, book, "cut-1", CUT, 1, True, CUT + 2 * 86_400, CUT + 2 * 86_400)
    return replace(base, **changes)  # type: ignore[arg-type]


def publish(
    source: str,
    book: str,
    *,
    n: int = N,
    lots: list[int] | None = None,
    confined: SourceRegistry | None = None,
    stream: str = "",
    **changes: object,
) -> list[PublishedStatement]:
    """What a source publishes for the account at one cut, one statement a tile."""
    masks = None
    if confined is not None:
        masks = [confined.source(source).allowed(UNIVERSE.digest, n, tile.index) for tile in tiles(n)]
    return make_statements(
        terms(source, book, **changes),
        tiles(n),
        LOTS[source] if lots is None else lots,
        key=SOURCE_KEYS[source],
        recipient=SEALING.public,
        commitment=commitment(n),
        allowed=masks,
        random=randomness(f"{source} {book} {n} {stream} {changes}"),
    )


def schedule(amounts: dict[str, int], sequence: int = 1, n: int = N) -> PledgeSchedule:
    return draw_schedule(
        amounts, VENUE_REGISTRY, n, account=ACCOUNT, sequence=sequence, secret=OWNER.seed,
        random=randomness(f"{amounts} {sequence} {n}"),
    )  # fmt: skip


PLEDGES = {"venue-a": 20, "venue-b": 10}


@dataclass(frozen=True)
class World:
    """A statement with everything a verifier needs beside it."""

    statement: Statement
    evidence: SourceEvidence
    published: tuple[PublishedStatement, ...]
    pledges: PledgeSchedule


def entry(published: PublishedStatement) -> SourceEntry:
    message = peek(SourceStatement, published.message)
    return SourceEntry(message.terms.source, message.terms.book, message.tile, published.message.digest, message.C)


def statement_of(
    published: list[PublishedStatement], pledge: bytes, registry_envelope: Envelope, **changes: object
) -> Statement:
    base = Statement(
        srs=SRS.digest,
        epoch=seed("epoch"),
        universe=UNIVERSE.digest,
        manifest=MANIFEST_ENVELOPE.digest,
        source_registry=registry_envelope.digest,
        venue_registry=VENUE_ENVELOPE.digest,
        account=ACCOUNT,
        account_key=OWNER.public.raw,
        sequence=1,
        prev=NO_PREDECESSOR,
        cut_id="cut-1",
        cut_time=CUT,
        expiry=EXPIRY,
        currency="USD",
        tick="0.01",
        pledge=pledge,
        continuity=Continuity.FIRST,
        previous_pledge=None,
        releases=(),
        sources=tuple(sorted((entry(p) for p in published), key=lambda e: e.order)),
        claims=(Claim(Kind.ATTESTATION, seed("circuit"), Tier.INITIAL, ()),),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def evidence_of(published: list[PublishedStatement], chosen: SourceRegistry, **changes: object) -> SourceEvidence:
    base = SourceEvidence(
        registry=chosen,
        registry_digest=sign(chosen, [OPERATOR]).digest,
        manifest=MANIFEST,
        manifest_digest=MANIFEST_ENVELOPE.digest,
        published=by_message(published),
        n=N,
        tiles=len(tiles()),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


@cache
def honest(confined: bool = False) -> World:
    """The account's first statement, all sources honest; `confined`: venue-a may speak for some rows alone."""
    chosen = registry(venue_a=CONFINED) if confined else registry()
    published = [p for source, book in BOOKS for p in publish(source, book, confined=chosen)]
    pledges = schedule(PLEDGES)
    statement = statement_of(published, pledges.commit(commitment()), sign(chosen, [OPERATOR]))
    return World(statement, evidence_of(published, chosen), tuple(published), pledges)


def lots(values: list[int]) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
