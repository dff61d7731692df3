"""Continuity in its three forms, releases, and everything that would let a pledge fall unseen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from marginseal.errors import DecodeError, MarginSealError
from marginseal.records import document
from marginseal.records.continuity import PledgeRelease, check_continuity, continuity_faults, listed_releases
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keys import Role
from marginseal.records.registry import RegisteredVenue, VenueRegistry
from marginseal.records.statement import Continuity, Kind, Release, Statement
from tests.records.world import (
    CUT,
    EXPIRY,
    OPERATOR,
    VENUE_ENVELOPE,
    VENUE_KEYS,
    VENUE_REGISTRY,
    N,
    commitment,
    honest,
    key,
    schedule,
    seed,
)

FIRST = honest().statement
REGISTRIES = {VENUE_ENVELOPE.digest: VENUE_REGISTRY}


def following(continuity: Continuity, **changes: object) -> Statement:
    base = {
        "sequence": 2,
        "prev": FIRST.digest,
        "cut_id": "cut-2",
        "cut_time": CUT + 3600,
        "expiry": EXPIRY + 3600,
        "continuity": continuity,
    }
    return replace(FIRST, **(base | changes))  # type: ignore[arg-type]


def codes(
    statement: Statement,
    previous: Statement | None = FIRST,
    releases: Mapping[bytes, Envelope] | None = None,
    registries: Mapping[bytes, VenueRegistry] = REGISTRIES,
    n: int = N,
    previous_n: int = N,
) -> list[str]:
    context: dict[str, Any] = {
        "n": n,
        "previous_n": previous_n,
        "registries": registries,
        "releases": releases or {},
    }
    found = [fault.code for fault in continuity_faults(statement, previous, **context)]
    if found:
        with pytest.raises(MarginSealError) as e:
            check_continuity(statement, previous, **context)
        assert e.value.code == found[0]
    else:
        check_continuity(statement, previous, **context)
    return found


LOWER = schedule({"venue-a": 5, "venue-b": 10}, 2).commit(commitment())


def release(**changes: object) -> PledgeRelease:
    base: dict[str, Any] = {
        "venue": "venue-a",
        "row": 0,
        "account": FIRST.account,
        "statement": FIRST.digest,
        "nonce": 7,
        "issued": CUT + 60,
    }
    return PledgeRelease(**(base | changes))


def linked(*signed: Envelope, listed: tuple[Release, ...] | None = None, **changes: object) -> Statement:
    found = listed_releases({e.digest: e for e in signed}) if listed is None else listed
    given = {"pledge": LOWER, "previous_pledge": FIRST.pledge, "releases": found}
    return following(Continuity.LINKED, **(given | changes))


def signed_by(venue: str, what: PledgeRelease) -> Envelope:
    return sign(what, [VENUE_KEYS[venue]])


GOOD = signed_by("venue-a", release())


def test_the_first_has_no_predecessor() -> None:
    assert codes(FIRST, None) == []
    assert codes(following(Continuity.SAME), None) == ["continuity.predecessor"]


def test_the_same_commitment_follows() -> None:
    assert codes(following(Continuity.SAME)) == []


def test_12_5_a_pledge_lowered_without_release() -> None:
    assert codes(following(Continuity.SAME, pledge=LOWER)) == ["continuity.pledge"]
    assert codes(following(Continuity.EXPIRED, pledge=LOWER)) == ["continuity.expired"]
    # The linked circuit is told of another predecessor, in which the pledge was low already.
    assert codes(linked(previous_pledge=LOWER)) == ["continuity.link"]
    # And a release that nobody signed, or signed for something else.
    listed = (Release(0, 7, GOOD.digest),)
    assert codes(linked(listed=listed)) == ["release.missing"]


def test_12_5_a_pledge_does_not_end_before_its_attestation() -> None:
    """Shortened once, the next but one is "expired" while a venue still counts on the first one's pledge."""
    assert codes(following(Continuity.SAME, expiry=EXPIRY - 1)) == ["continuity.shortened"]
    assert codes(linked(GOOD, expiry=EXPIRY - 1), releases={GOOD.digest: GOOD}) == ["continuity.shortened"]
    assert codes(following(Continuity.SAME, expiry=EXPIRY)) == []


def test_12_5_a_disclosure_alone_carries_no_pledges_on() -> None:
    """Its circuits bind no pledges, so its commitment is anything the owner liked."""
    bare = replace(FIRST, claims=tuple(replace(c, kind=Kind.DISCLOSURE) for c in FIRST.claims))
    assert codes(following(Continuity.SAME, prev=bare.digest), bare) == ["continuity.disclosure"]


def test_a_release_is_signed_by_the_venue_of_today() -> None:
    """The venue's key changed since the predecessor: its old one, perhaps stolen, releases nothing."""
    new_key = key(Role.VENUE, "venue-a, rotated")
    rotated = VenueRegistry("risk", 2, CUT, (RegisteredVenue("venue-a", new_key.public), *VENUE_REGISTRY.venues[1:]))
    digest = sign(rotated, [OPERATOR]).digest
    registries = REGISTRIES | {digest: rotated}
    for signed, expected in ((GOOD, ["signature.threshold"]), (sign(release(), [new_key]), [])):
        statement = linked(signed, venue_registry=digest)
        assert codes(statement, releases={signed.digest: signed}, registries=registries) == expected


def test_after_expiry_anything_follows() -> None:
    late = {"cut_time": EXPIRY, "expiry": EXPIRY + 3600, "pledge": LOWER}
    assert codes(following(Continuity.EXPIRED, **late)) == []
    assert codes(following(Continuity.EXPIRED, **(late | {"cut_time": EXPIRY - 1}))) == ["continuity.expired"]
    assert codes(following(Continuity.EXPIRED, **late, tick="0.1"), n=16) == []


def test_a_release_by_the_venue_is_accepted() -> None:
    assert codes(linked(GOOD), releases={GOOD.digest: GOOD}) == []
    assert codes(linked()) == []


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (signed_by("venue-b", release()), "signature.threshold"),
        (sign(release(), [key(Role.VENUE, "stranger")]), "signature.threshold"),
        (signed_by("venue-b", release(venue="venue-b", row=0)), "signature.threshold"),
        (signed_by("venue-a", release(venue="venue-c")), "release.row"),
        (signed_by("venue-a", release(account="fund-2")), "release.statement"),
        (signed_by("venue-a", release(statement=seed("an older attestation"))), "release.statement"),
    ],
)
def test_a_release_of_something_else_is_not(envelope: Envelope, expected: str) -> None:
    assert codes(linked(envelope), releases={envelope.digest: envelope}) == [expected]


def test_the_list_names_the_release_as_it_is() -> None:
    releases = {GOOD.digest: GOOD}
    other = signed_by("venue-a", release(nonce=8))
    assert codes(linked(listed=(Release(0, 8, GOOD.digest),)), releases=releases) == ["release.row"]
    assert codes(linked(listed=(Release(1, 7, GOOD.digest),)), releases=releases) == ["signature.threshold"]
    assert codes(linked(listed=(Release(3, 7, GOOD.digest),)), releases=releases) == ["registry.unknown-row"]
    planted = {GOOD.digest: other}
    assert codes(linked(GOOD), releases=planted) == ["release.missing"]


def test_a_release_is_not_used_twice() -> None:
    """It names the statement whose pledge it releases: the attestation after that has another predecessor."""
    second = linked(GOOD)
    third = replace(
        second,
        sequence=3,
        prev=second.digest,
        cut_time=CUT + 7200,
        expiry=EXPIRY + 7200,
        pledge=schedule({}, 3).commit(commitment()),
        previous_pledge=second.pledge,
    )
    assert codes(third, second, {GOOD.digest: GOOD}) == ["release.statement"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sequence": 3}, ["continuity.sequence"]),
        ({"account": "fund-2"}, ["continuity.sequence"]),
        ({"prev": seed("another")}, ["continuity.prev"]),
        ({"cut_time": CUT - 1}, ["continuity.cut"]),
        ({"currency": "EUR"}, ["continuity.unit"]),
        ({"tick": "0.0001"}, ["continuity.unit"]),
    ],
)
def test_12_5_the_chain(changes: dict[str, object], expected: list[str]) -> None:
    assert codes(following(Continuity.SAME, **changes)) == expected


def test_a_schedule_keeps_its_number_of_rows() -> None:
    """The n-th-root swap on pledges: the same commitment read at n = 8 gives venue i what venue 2 i had at 16."""
    assert codes(following(Continuity.SAME), n=8, previous_n=16) == ["continuity.unit"]
    assert codes(linked(), n=8, previous_n=16) == ["continuity.unit"]


def test_venues_keep_their_rows() -> None:
    more = VenueRegistry(
        "risk", 2, CUT, (*VENUE_REGISTRY.venues, RegisteredVenue("venue-d", key(Role.VENUE, "d").public))
    )
    moved = VenueRegistry("risk", 2, CUT, VENUE_REGISTRY.venues[::-1])
    fewer = VenueRegistry("risk", 2, CUT, VENUE_REGISTRY.venues[:2])
    for registry, expected in ((more, []), (moved, ["continuity.rows"]), (fewer, ["continuity.rows"])):
        digest = sign(registry, [OPERATOR]).digest
        statement = following(Continuity.SAME, venue_registry=digest)
        assert codes(statement, registries={**REGISTRIES, digest: registry}) == expected
        assert codes(statement) == ["continuity.registry"]


def test_releases_round_trip_and_refuse() -> None:
    assert PledgeRelease.from_payload(release().payload()) == release()
    for changes in ({"row": 2048}, {"row": -1}, {"nonce": -1}, {"venue": ""}):
        with pytest.raises(DecodeError):
            release(**changes)
    base = document.decode_object(release().payload(), what="release", limit=4096)
    # A part of a pledge has no words here: no circuit bounds how far a released row falls.
    for change in ({"releases": "15"}, {"releases": "all"}, {"releases": None}, {"amount": "15"}, {"extra": 1}):
        with pytest.raises(DecodeError):
            PledgeRelease.from_payload(document.canonical({**base, **change}))


def test_two_releases_for_one_row_have_no_statement() -> None:
    again = signed_by("venue-a", release(nonce=8))
    with pytest.raises(DecodeError) as e:
        linked(GOOD, again)
    assert e.value.code == "statement.release"
