"""How an attestation follows its predecessor, so that no pledge falls unseen (protocol section 8, continuity).

The pledge commitment is the predecessor's (*same*); or the new attestation's cut is not before the predecessor's expiry
(*expired*); or the circuit carries the predecessor's commitment and lowers only rows whose venue signed a release
(*linked*).  That the linked equation holds is the circuit's; that the releases are real is checked here.

A schedule keeps its meaning only while rows, unit and number of rows do: venues are appended and never moved, and the
currency, the tick and n stay.  (On the 8-th roots, a schedule made at n = 16 shows every other row.)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

from marginseal.errors import DecodeError, MarginSealError, PolicyError, ProofRejected
from marginseal.records import document
from marginseal.records.document import MAX_INTEGER, MAX_TIME, is_name
from marginseal.records.envelope import Envelope, peek
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import Purpose
from marginseal.records.registry import VenueRegistry
from marginseal.records.statement import Continuity, Kind, Release, Statement

_KEYS = ("account", "issued", "nonce", "releases", "row", "statement", "venue")
_WHOLE = "the whole pledge"


@dataclass(frozen=True)
class PledgeRelease:
    """A venue releases, whole, what was pledged to it in one statement: the linked equation frees its row altogether.

    A venue that wants to keep a part waits for the successor, in which its row may be pledged anew, before it signs
    away the rest; nothing in a circuit bounds how far a released row falls.

    venue, row      who signs, and its row in the registry of that statement
    account         whose pledge
    statement       digest of the attestation's statement whose pledge it releases: the successor's `prev`
    nonce           never used twice by the venue for the account
    issued          unix seconds"""

    PURPOSE: ClassVar[Purpose] = Purpose.PLEDGE_RELEASE

    venue: str
    row: int
    account: str
    statement: bytes
    nonce: int
    issued: int

    def __post_init__(self) -> None:
        if not is_name(self.venue) or not is_name(self.account) or len(self.statement) != 32:
            raise DecodeError("release.fields", "pledge release: a name or digest that cannot be")
        if not 0 <= self.row < 2048 or not 0 <= self.nonce <= MAX_INTEGER or not 0 <= self.issued <= MAX_TIME:
            raise DecodeError("release.fields", "pledge release: a row, nonce or time that cannot be")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "account": self.account,
                "issued": self.issued,
                "nonce": self.nonce,
                "releases": _WHOLE,
                "row": self.row,
                "statement": self.statement.hex(),
                "venue": self.venue,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, release.*."""
        top = document.decode(payload, what="pledge release", keys=_KEYS, limit=4096)
        top.constant("releases", _WHOLE)
        return cls(
            venue=top.name("venue"),
            row=top.integer("row"),
            account=top.name("account"),
            statement=top.hex("statement", 32),
            nonce=top.integer("nonce"),
            issued=top.time("issued"),
        )


def listed_releases(envelopes: Mapping[bytes, Envelope]) -> tuple[Release, ...]:
    """The statement's list of releases, from signed releases by digest.  DecodeError release.*, record.*."""
    out = []
    for digest, envelope in envelopes.items():
        envelope.check_type(PledgeRelease.PURPOSE)
        release = PledgeRelease.from_payload(envelope.payload)
        out.append(Release(release.row, release.nonce, digest))
    return tuple(sorted(out, key=lambda release: release.row))


def continuity_faults(
    statement: Statement,
    previous: Statement | None,
    *,
    n: int,
    previous_n: int,
    registries: Mapping[bytes, VenueRegistry],
    releases: Mapping[bytes, Envelope],
    ring: KeyRing = NO_CHANGES,
    logged: int = 0,
) -> Iterator[MarginSealError]:
    """Everything that is wrong with how `statement` follows `previous` (None: it says it is the first).

    n, previous_n: rows of their circuits; registries: venue registries by digest, their signatures verified; releases:
    signed releases by digest; ring: key changes, as of the moment `logged` at which the log took the attestation."""
    if previous is None:
        if statement.continuity != Continuity.FIRST:
            yield PolicyError("continuity.predecessor", "the attestation has a predecessor, which is not given")
        return
    if (statement.account, statement.sequence) != (previous.account, previous.sequence + 1):
        yield PolicyError("continuity.sequence", "not the next attestation of the same account")
    if statement.prev != previous.digest:
        yield PolicyError("continuity.prev", "the attestation names another predecessor")
    if all(claim.kind != Kind.ATTESTATION for claim in previous.claims):
        yield PolicyError("continuity.disclosure", "the predecessor proves nothing about its pledges")
    if statement.cut_time < previous.cut_time:
        yield PolicyError("continuity.cut", "the cut lies before the predecessor's")
    venues, older = registries.get(statement.venue_registry), registries.get(previous.venue_registry)
    if venues is None or older is None:
        yield PolicyError("continuity.registry", "a venue registry is not at hand")
        return
    if not venues.extends(older):
        yield PolicyError("continuity.rows", "a venue of the predecessor's registry lost its row")
    if statement.continuity == Continuity.EXPIRED:
        if statement.cut_time < previous.expiry:
            yield PolicyError("continuity.expired", "the predecessor has not expired at the cut")
        return
    if statement.expiry < previous.expiry:
        # Else the next but one could say "expired" while a venue still counts on the pledge of this one's predecessor.
        yield PolicyError("continuity.shortened", "it expires before its predecessor: a pledge would end early")
    if (statement.currency, statement.tick, n) != (previous.currency, previous.tick, previous_n):
        yield PolicyError(
            "continuity.unit", "the currency, tick or number of rows changed before the predecessor expired"
        )
    if statement.continuity == Continuity.SAME:
        if statement.pledge != previous.pledge:
            yield PolicyError("continuity.pledge", "another pledge commitment than the predecessor's")
        return
    if statement.previous_pledge != previous.pledge:
        yield PolicyError("continuity.link", "linked to another pledge commitment than the predecessor's")
    for release in statement.releases:
        try:
            _check_release(release, previous, venues, releases, ring, logged)
        except (PolicyError, ProofRejected, DecodeError) as e:
            yield e


def check_continuity(
    statement: Statement,
    previous: Statement | None,
    *,
    n: int,
    previous_n: int,
    registries: Mapping[bytes, VenueRegistry],
    releases: Mapping[bytes, Envelope],
    ring: KeyRing = NO_CHANGES,
    logged: int = 0,
) -> None:
    """Raises the first of `continuity_faults`."""
    for fault in continuity_faults(
        statement,
        previous,
        n=n,
        previous_n=previous_n,
        registries=registries,
        releases=releases,
        ring=ring,
        logged=logged,
    ):
        raise fault


def open_release(
    envelope: Envelope,
    previous: Statement,
    venues: VenueRegistry,
    row: int | None = None,
    *,
    ring: KeyRing = NO_CHANGES,
    moment: int = 0,
) -> PledgeRelease:
    """The release, signed by today's venue of `row` (None: its own word), of the pledge that stood in `previous`.

    ring, moment   key changes, and when the venue's key has to be in force

    DecodeError; ProofRejected signature.threshold; PolicyError registry.unknown-row, release.row, release.statement."""
    row = peek(PledgeRelease, envelope).row if row is None else row
    venue = venues.venue(row)
    release = ring.open(PledgeRelease, envelope, [venue.key], moment)
    if (release.venue, release.row) != (venue.id, row):
        raise PolicyError("release.row", f"row {row}: a release of another venue or row")
    if (release.account, release.statement) != (previous.account, previous.digest):
        raise PolicyError("release.statement", f"row {row}: a release of another account or statement")
    return release


def _check_release(
    listed: Release,
    previous: Statement,
    registry: VenueRegistry,
    releases: Mapping[bytes, Envelope],
    ring: KeyRing,
    moment: int,
) -> None:
    envelope = releases.get(listed.digest)
    if envelope is None or envelope.digest != listed.digest:
        raise PolicyError("release.missing", f"row {listed.row}: the venue's signed release is not at hand")
    if open_release(envelope, previous, registry, listed.row, ring=ring, moment=moment).nonce != listed.nonce:
        raise PolicyError("release.row", f"row {listed.row}: a release of another nonce")
