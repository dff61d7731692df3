"""What an attestation says: every field of protocol.md section 5, in the order in which it is absorbed.

A `Statement` is public.  Its digest is the transcript's state after all items, so that each proof continues from it and
the account key signs it.  `encode`, `decode` give the canonical bytes (docs/wire.md); `decode` is the only door.
What the digests stand for (epoch, manifest, registries, signed source messages) is checked by those who hold them:
`verifier.acceptance`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

from marginseal.errors import DecodeError
from marginseal.records.wire import Reader, Writer, is_identifier
from marginseal.transcript import PROTOCOL, VERSION, Transcript

POINT_BYTES = 48
MAX_SOURCES = 2**16
MAX_CLAIMS = 64
MAX_INPUTS = 1024
MAX_RELEASES = 2048
MAX_TILES = 2**16
INPUT_BOUND = 2**62
NO_PREDECESSOR = bytes(32)


class Kind(IntEnum):
    """What a circuit's proof may be used as; absorbed with its claim and part of the circuit digest."""

    ATTESTATION = 1
    DISCLOSURE = 2


class Tier(IntEnum):
    """Initial: may open positions.  Maintenance: must not be liquidated.  Initial implies maintenance."""

    INITIAL = 1
    MAINTENANCE = 2


class Continuity(IntEnum):
    """How the pledge commitment follows the predecessor's (protocol.md section 8)."""

    FIRST = 0
    SAME = 1
    EXPIRED = 2
    LINKED = 3


@dataclass(frozen=True)
class Release:
    """A venue's signed release of its whole pledge: the row, its nonce, and the digest of the signed message."""

    row: int
    nonce: int
    digest: bytes


@dataclass(frozen=True)
class SourceEntry:
    """One commitment of one book: the digest is that of the source's signed message, C is [q + b_0 Z_H]_1."""

    source: str
    book: str
    tile: int
    message_digest: bytes
    C: bytes

    @property
    def order(self) -> tuple[bytes, bytes, int]:
        return self.source.encode(), self.book.encode(), self.tile


@dataclass(frozen=True)
class Claim:
    """One proof over the statement's commitments: which circuit, at which tier, with which public inputs."""

    kind: Kind
    circuit: bytes
    tier: Tier
    inputs: tuple[int, ...]


@dataclass(frozen=True)
class Statement:
    """All that an attestation says; digests are 32 raw bytes, points 48 compressed bytes, times unix seconds UTC."""

    srs: bytes
    epoch: bytes
    universe: bytes
    manifest: bytes
    source_registry: bytes
    venue_registry: bytes
    account: str
    account_key: bytes
    sequence: int
    prev: bytes
    cut_id: str
    cut_time: int
    expiry: int
    currency: str
    tick: str
    pledge: bytes
    continuity: Continuity
    previous_pledge: bytes | None
    releases: tuple[Release, ...]
    sources: tuple[SourceEntry, ...]
    claims: tuple[Claim, ...]

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault is not None:
            raise DecodeError("statement." + fault[0], "statement: " + fault[1])

    def start(self) -> Transcript:
        """A transcript that has absorbed the whole statement, and nothing else."""
        return Transcript(self.digest)

    @cached_property
    def digest(self) -> bytes:
        """The transcript's state after the whole statement: what the account key signs, under a label of its own, and
        what the next attestation names as `prev`."""
        t = Transcript()
        t.absorb("protocol", PROTOCOL.encode("ascii"))
        t.absorb_int("version", VERSION)
        t.absorb("srs", self.srs)
        t.absorb("epoch", self.epoch)
        t.absorb("universe", self.universe)
        t.absorb("manifest", self.manifest)
        t.absorb("source-registry", self.source_registry)
        t.absorb("venue-registry", self.venue_registry)
        t.absorb("account", self.account.encode())
        t.absorb("account-key", self.account_key)
        t.absorb_int("sequence", self.sequence)
        t.absorb("prev", self.prev)
        t.absorb("cut-id", self.cut_id.encode())
        t.absorb_int("cut-time", self.cut_time)
        t.absorb_int("expiry", self.expiry)
        t.absorb("currency", self.currency.encode())
        t.absorb("tick", self.tick.encode())
        t.absorb("pledge", self.pledge)
        t.absorb_int("continuity", self.continuity)
        if self.continuity == Continuity.LINKED:
            assert self.previous_pledge is not None
            t.absorb("previous-pledge", self.previous_pledge)
            t.absorb_int("releases", len(self.releases))
            for release in self.releases:
                t.absorb_int("release-row", release.row)
                t.absorb_int("release-nonce", release.nonce)
                t.absorb("release-digest", release.digest)
        t.absorb_int("sources", len(self.sources))
        for entry in self.sources:
            t.absorb("source-id", entry.source.encode())
            t.absorb("book-id", entry.book.encode())
            t.absorb_int("tile", entry.tile)
            t.absorb("message-digest", entry.message_digest)
            t.absorb("C", entry.C)
        t.absorb_int("claims", len(self.claims))
        for claim in self.claims:
            t.absorb_int("kind", claim.kind)
            t.absorb("circuit", claim.circuit)
            t.absorb_int("tier", claim.tier)
            t.absorb_int("inputs", len(claim.inputs))
            for value in claim.inputs:
                t.absorb_int("input", value)
        return t.state

    def encode(self) -> bytes:
        w = Writer()
        w.text(PROTOCOL).int64(VERSION)
        for digest in (self.srs, self.epoch, self.universe, self.manifest, self.source_registry, self.venue_registry):
            w.raw(digest)
        w.text(self.account).raw(self.account_key).int64(self.sequence).raw(self.prev)
        w.text(self.cut_id).int64(self.cut_time).int64(self.expiry).text(self.currency).text(self.tick)
        w.raw(self.pledge).int64(self.continuity)
        if self.continuity == Continuity.LINKED:
            assert self.previous_pledge is not None
            w.raw(self.previous_pledge).int64(len(self.releases))
            for release in self.releases:
                w.int64(release.row).int64(release.nonce).raw(release.digest)
        w.int64(len(self.sources))
        for entry in self.sources:
            w.text(entry.source).text(entry.book).int64(entry.tile).raw(entry.message_digest).raw(entry.C)
        w.int64(len(self.claims))
        for claim in self.claims:
            w.int64(claim.kind).raw(claim.circuit).int64(claim.tier).int64(len(claim.inputs))
            for value in claim.inputs:
                w.int64(value)
        return w.bytes()

    @classmethod
    def decode(cls, data: bytes) -> Statement:
        """Canonical bytes -> Statement.  DecodeError statement.* or wire.*; commitments are decoded as points later."""
        r = Reader(data, what="statement")
        if r.text() != PROTOCOL or r.int64() != VERSION:
            raise DecodeError("statement.version", "statement: unknown protocol or version")
        srs, epoch, universe, manifest, source_registry, venue_registry = (r.raw(32) for _ in range(6))
        account, account_key, sequence, prev = r.text(), r.raw(32), r.int64(), r.raw(32)
        cut_id, cut_time, expiry, currency, tick = r.text(), r.int64(), r.int64(), r.text(), r.text()
        pledge, continuity = r.raw(POINT_BYTES), r.enum(Continuity)
        previous_pledge, releases = None, []
        if continuity == Continuity.LINKED:
            previous_pledge = r.raw(POINT_BYTES)
            releases = [Release(r.int64(), r.int64(), r.raw(32)) for _ in range(r.count(MAX_RELEASES))]
        sources = [
            SourceEntry(r.text(), r.text(), r.int64(), r.raw(32), r.raw(POINT_BYTES))
            for _ in range(r.count(MAX_SOURCES))
        ]
        claims = [
            Claim(r.enum(Kind), r.raw(32), r.enum(Tier), tuple(r.int64() for _ in range(r.count(MAX_INPUTS))))
            for _ in range(r.count(MAX_CLAIMS))
        ]
        r.end()
        return cls(
            srs, epoch, universe, manifest, source_registry, venue_registry, account, account_key, sequence, prev,
            cut_id, cut_time, expiry, currency, tick, pledge, continuity, previous_pledge, tuple(releases),
            tuple(sources), tuple(claims),
        )  # fmt: skip


def _fault(s: Statement) -> tuple[str, str] | None:
    """The first thing wrong with a statement on its own, as (code, message)."""
    digests = [s.srs, s.epoch, s.universe, s.manifest, s.source_registry, s.venue_registry, s.account_key, s.prev]
    digests += [e.message_digest for e in s.sources] + [c.circuit for c in s.claims] + [x.digest for x in s.releases]
    if any(len(d) != 32 for d in digests):
        return "digest", "a digest or key is not 32 bytes"
    points = [s.pledge] + [e.C for e in s.sources] + ([] if s.previous_pledge is None else [s.previous_pledge])
    if any(len(p) != POINT_BYTES for p in points):
        return "point", "a commitment is not 48 bytes"
    names = [s.account, s.cut_id, s.currency, s.tick] + [x for e in s.sources for x in (e.source, e.book)]
    if not all(is_identifier(x) for x in names):
        return "name", "an identifier is not 1 to 64 bytes of UTF-8"
    if not 1 <= s.sequence < 2**63 or (s.sequence == 1) != (s.prev == NO_PREDECESSOR):
        return "sequence", "sequences start at 1, and only the first has no predecessor"
    if (s.sequence == 1) != (s.continuity == Continuity.FIRST):
        return "continuity", "the first attestation of an account, and it alone, has continuity 'first'"
    if not 0 <= s.cut_time < s.expiry < 2**62:
        return "times", "the cut lies before the expiry"
    if (s.continuity == Continuity.LINKED) != (s.previous_pledge is not None):
        return "link", "a predecessor's pledge commitment comes with continuity 'linked', and only then"
    if s.releases and s.continuity != Continuity.LINKED:
        return "link", "releases come with continuity 'linked' only"
    if len(s.releases) > MAX_RELEASES or not 1 <= len(s.sources) <= MAX_SOURCES or not 1 <= len(s.claims) <= MAX_CLAIMS:
        return "count", "too many or too few sources, claims or releases"
    if any(not 0 <= release.row < MAX_RELEASES or not 0 <= release.nonce < 2**63 for release in s.releases):
        return "release", "a release names no row or nonce"
    if any(a.row >= b.row for a, b in zip(s.releases, s.releases[1:], strict=False)):
        return "release", "releases are strictly increasing by row"
    if any(a.order >= b.order for a, b in zip(s.sources, s.sources[1:], strict=False)):
        return "source-order", "sources are strictly increasing by (source, book, tile)"
    if any(not 0 <= e.tile < MAX_TILES for e in s.sources):
        return "tile", "a tile is out of range"
    if any(len(c.inputs) > MAX_INPUTS or any(abs(x) >= INPUT_BOUND for x in c.inputs) for c in s.claims):
        return "input", "a public input is out of range"
    return None
