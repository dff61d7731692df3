"""Manifests, accounts, registries, keys over time: who may change what, and when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.records import document
from marginseal.records.account import AccountRecord, open_account
from marginseal.records.envelope import Envelope, open_signed, sign
from marginseal.records.keychange import KeyChange, KeyRevocation, KeyRing
from marginseal.records.keys import Role
from marginseal.records.manifest import FIRST, Manifest, SourceRelease, in_force, open_manifest
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey
from tests.records.world import (
    ACCOUNT,
    BOOKS,
    CONFINED,
    CUT,
    MANIFEST,
    MANIFEST_ENVELOPE,
    OPERATOR,
    OWNER,
    RECORD,
    SOURCE_KEYS,
    UNIVERSE,
    VENUE_REGISTRY,
    key,
    registry,
    seed,
)

DAY = 86_400
NEW_KEY = key(Role.ACCOUNT, "fund-1 next")
ANOTHER = key(Role.SOURCE, "of no registry")
BEFORE = (MANIFEST, MANIFEST_ENVELOPE.digest)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def next_manifest(**changes: object) -> Manifest:
    base = {"version": 2, "previous": MANIFEST_ENVELOPE.digest, "effective": CUT + DAY}
    return replace(MANIFEST, **(base | changes))  # type: ignore[arg-type]


def opened(
    manifest: Manifest, *, signer: object = OWNER, releases: tuple[Envelope, ...] = (), before: object = BEFORE
) -> Manifest:
    return open_manifest(
        sign(manifest, [signer]),  # type: ignore[list-item]
        logged=CUT,
        delay_s=DAY,
        previous=before,  # type: ignore[arg-type]
        releases=releases,
        registry=registry(),
    )


def let_go(source: str, book: str, **changes: object) -> Envelope:
    what = replace(SourceRelease(source, ACCOUNT, book, MANIFEST_ENVELOPE.digest, CUT), **changes)  # type: ignore[arg-type]
    return sign(what, [SOURCE_KEYS[source]])


def test_round_trips() -> None:
    assert Manifest.from_payload(MANIFEST.payload()) == MANIFEST
    assert AccountRecord.from_payload(RECORD.payload()) == RECORD
    assert VenueRegistry.from_payload(VENUE_REGISTRY.payload()) == VENUE_REGISTRY
    for some in (registry(), registry(venue_a=CONFINED), registry(custodian={}, venue_b={UNIVERSE.digest: ()})):
        assert SourceRegistry.from_payload(some.payload()) == some
    released = SourceRelease("custodian", ACCOUNT, "b", seed("manifest"), CUT)
    assert SourceRelease.from_payload(released.payload()) == released


def test_the_first_manifest_is_signed_by_its_own_key() -> None:
    assert opened(MANIFEST, before=None) == MANIFEST
    assert refusal(lambda: opened(MANIFEST, signer=NEW_KEY, before=None)) == "signature.threshold"
    assert refusal(lambda: opened(next_manifest(), before=None)) == "manifest.succession"


def test_books_are_added_after_the_delay() -> None:
    more = next_manifest(books=(*BOOKS, ("venue-c", "d")))
    assert opened(more) == more
    early = replace(more, effective=CUT + DAY - 1)
    assert refusal(lambda: opened(early)) == "manifest.too-soon"


def test_a_manifest_does_not_overtake_the_one_before() -> None:
    """Of a chain the last that has begun is in force: one announced for later could be skipped by the next."""
    announced = next_manifest(books=(*BOOKS, ("venue-c", "d")), effective=CUT + 9 * DAY)
    digest = sign(announced, [OWNER]).digest
    third = replace(announced, version=3, previous=digest)
    before = (announced, digest)
    assert opened(third, before=before) == third
    assert refusal(lambda: opened(replace(third, effective=CUT + 9 * DAY - 1), before=before)) == "manifest.too-soon"


def test_10_a_source_does_not_leave_without_its_own_signature() -> None:
    fewer = next_manifest(books=BOOKS[1:])
    source, book = BOOKS[0]
    good = let_go(source, book)
    assert opened(fewer, releases=(good,)) == fewer
    forged = sign(SourceRelease(source, ACCOUNT, book, BEFORE[1], CUT), [SOURCE_KEYS["venue-a"]])
    for releases, expected in (
        ((), "manifest.book-gone"),
        ((let_go(source, "another book"),), "manifest.book-gone"),
        ((let_go(source, book, account="fund-2"),), "manifest.book-gone"),
        ((let_go(source, book, manifest=seed("an older manifest")),), "manifest.book-gone"),
        ((let_go(*BOOKS[1]),), "manifest.book-gone"),
        ((forged,), "manifest.book-gone"),
    ):
        assert refusal(lambda r=releases: opened(fewer, releases=r)) == expected
    without_registry = lambda: open_manifest(  # noqa: E731
        sign(fewer, [OWNER]), logged=CUT, delay_s=DAY, previous=BEFORE, releases=(good,)
    )
    assert refusal(without_registry) == "manifest.book-gone"


def test_a_release_that_does_not_hold_keeps_no_book_of_others() -> None:
    """Whoever may have a release logged could otherwise stop every change of any account's manifest."""
    fewer = next_manifest(books=BOOKS[1:])
    source, book = BOOKS[0]
    unknown = sign(SourceRelease("no such source", ACCOUNT, book, BEFORE[1], CUT), [ANOTHER])
    replaced = sign(SourceRelease(source, ACCOUNT, book, BEFORE[1], CUT), [ANOTHER])
    another_kind = sign(fewer, [OWNER])
    for bad in (unknown, replaced, another_kind):
        assert opened(fewer, releases=(bad, let_go(source, book), bad)) == fewer
        assert refusal(lambda bad=bad: opened(fewer, releases=(bad,))) == "manifest.book-gone"


def test_a_book_cannot_be_renamed_away() -> None:
    renamed = next_manifest(books=tuple(sorted(((BOOKS[0][0], "a" * 31), *BOOKS[1:]))))
    assert refusal(lambda: opened(renamed)) == "manifest.book-gone"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"account": "fund-2"}, "manifest.succession"),
        ({"version": 3}, "manifest.succession"),
        ({"previous": seed("another")}, "manifest.succession"),
    ],
)
def test_manifests_follow_one_another(changes: dict[str, Any], expected: str) -> None:
    assert refusal(lambda: opened(next_manifest(**changes))) == expected


def test_only_a_key_of_the_manifest_before_changes_it() -> None:
    taken_over = next_manifest(keys=(NEW_KEY.public,))
    assert refusal(lambda: opened(taken_over, signer=NEW_KEY)) == "signature.threshold"
    assert opened(taken_over) == taken_over


def test_the_manifest_in_force() -> None:
    later = next_manifest()
    assert in_force([MANIFEST, later], CUT) == MANIFEST
    assert in_force([later, MANIFEST], CUT + DAY) == later
    with pytest.raises(PolicyError):
        in_force([MANIFEST], MANIFEST.effective - 1)


BAD_MANIFESTS: list[dict[str, Any]] = [
    {"books": []},
    {"books": [["a", "b"], ["a", "b"]]},
    {"books": [["b", "a"], ["a", "b"]]},
    {"books": [["a"]]},
    {"books": [["a", 1]]},
    {"books": "ab"},
    {"keys": []},
    {"keys": ["00"]},
    {"keys": [OWNER.public.raw.hex()] * 2},
    {"version": 0},
    {"version": 2},
    {"effective": -1},
    {"account": ""},
    {"previous": "00"},
    {"more": 1},
]


@pytest.mark.parametrize(
    "change", BAD_MANIFESTS, ids=lambda change: ",".join(change) if isinstance(change, dict) else None
)
def test_what_is_no_manifest_is_refused(change: dict[str, Any]) -> None:
    base = document.decode_object(MANIFEST.payload(), what="manifest", limit=2**20)
    with pytest.raises(DecodeError):
        Manifest.from_payload(document.canonical({**base, **change}))
    assert base["previous"] == FIRST.hex()


# Accounts.


def test_an_account_record_signs_itself_and_its_successor() -> None:
    first = sign(RECORD, [OWNER])
    assert open_account(first) == RECORD
    assert refusal(lambda: open_account(sign(RECORD, [NEW_KEY]))) == "signature.threshold"
    moved = replace(RECORD, key=NEW_KEY.public, sealing_key=SealingKey(seed("next")).public, version=2)
    assert open_account(sign(moved, [OWNER, NEW_KEY]), previous=RECORD) == moved
    # Each signature is needed: the old key allows it, the new one shows that its holder has it.
    assert refusal(lambda: open_account(sign(moved, [OWNER]), previous=RECORD)) == "signature.threshold"
    assert refusal(lambda: open_account(sign(moved, [NEW_KEY]), previous=RECORD)) == "signature.threshold"
    assert refusal(lambda: open_account(sign(moved, [NEW_KEY]))) == "account.succession"
    other = replace(moved, account="fund-2")
    assert refusal(lambda: open_account(sign(other, [OWNER, NEW_KEY]), previous=RECORD)) == "account.succession"


# Registries.


def test_unknown_names_and_rows() -> None:
    assert refusal(lambda: registry().source("nobody")) == "registry.unknown-source"
    assert refusal(lambda: VENUE_REGISTRY.row("nobody")) == "registry.unknown-venue"
    for row in (-1, 3):
        assert refusal(lambda r=row: VENUE_REGISTRY.venue(r)) == "registry.unknown-row"
    assert [VENUE_REGISTRY.row(v.id) for v in VENUE_REGISTRY.venues] == [0, 1, 2]


def test_registries_are_the_operators() -> None:
    signed = sign(registry(), [OPERATOR])
    assert open_signed(SourceRegistry, signed, [OPERATOR.public]) == registry()
    assert (
        refusal(lambda: open_signed(SourceRegistry, signed, [key(Role.OPERATOR, "x").public])) == "signature.threshold"
    )


def source(name: str, who: str = "x", rows: object = None) -> RegisteredSource:
    return RegisteredSource(name, key(Role.SOURCE, who).public, rows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda: SourceRegistry("risk", 1, CUT, ()),
        lambda: SourceRegistry("risk", 0, CUT, (source("a"),)),
        lambda: SourceRegistry("", 1, CUT, (source("a"),)),
        lambda: SourceRegistry("risk", 1, CUT, (source("b"), source("a", "y"))),
        lambda: SourceRegistry("risk", 1, CUT, (source("a"), source("a", "y"))),
        lambda: SourceRegistry("risk", 1, CUT, (source("a"), source("b"))),  # one key twice
        lambda: source("a", rows={b"short": ()}),
        lambda: source("a", rows={seed("u"): ((4, 4),)}),
        lambda: source("a", rows={seed("u"): ((4, 3),)}),
        lambda: source("a", rows={seed("u"): ((0, 4), (4, 8))}),
        lambda: source("a", rows={seed("u"): ((4, 8), (0, 2))}),
        lambda: source("a", rows={seed("u"): ((0, 2**16 + 1),)}),
        lambda: source("a", rows={seed("u"): ((-1, 2),)}),
        lambda: RegisteredSource("a", OWNER.public),
        lambda: RegisteredVenue("a", OWNER.public),
        lambda: VenueRegistry("risk", 1, CUT, ()),
        lambda: VenueRegistry("risk", 1, CUT, (VENUE_REGISTRY.venues[0],) * 2),
    ],
)
def test_what_is_no_registry_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DecodeError):
        make()


@pytest.mark.parametrize("rows", [[], {"x": []}, {"00" * 32: [[1]]}, {"00" * 32: [[1, 2.5]]}, {"00" * 32: [[True, 2]]}])
def test_rows_are_ranges_of_integers(rows: object) -> None:
    base = document.decode_object(registry().payload(), what="registry", limit=2**20)
    base["sources"][0]["rows"] = rows
    with pytest.raises(DecodeError):
        SourceRegistry.from_payload(document.canonical(base))


# Keys over time.

OLD, NEXT, STRANGER = (key(Role.SOURCE, name) for name in ("old", "next", "stranger"))
RING = KeyRing((OPERATOR.public,))


def changed(ring: KeyRing = RING, *, signers: object, logged: int = 1000, **fields: object) -> KeyRing:
    base = KeyChange("custodian", OLD.public, NEXT.public, 2000)
    return ring.apply(
        sign(replace(base, **fields), list(signers)),  # type: ignore[arg-type, call-overload]
        logged=logged,
    )


def revoked(ring: KeyRing = RING, *, signers: object, at: int, logged: int = 1000, who: Any = OLD) -> KeyRing:
    record = KeyRevocation("custodian", who.public, at)
    return ring.apply(sign(record, list(signers)), logged=logged)  # type: ignore[call-overload]


def holder(ring: KeyRing, moment: int) -> object:
    """Who counts where the list names OLD."""
    keys = ring.in_force([OLD.public], moment)
    assert len(keys) < 2
    return keys[0] if keys else None


def test_a_key_is_replaced_by_its_successor() -> None:
    for signers in ((OLD, NEXT), (OPERATOR, NEXT)):
        ring = changed(signers=signers)
        assert [holder(ring, t) for t in (0, 1999, 2000, 10**6)] == [OLD.public, OLD.public, NEXT.public, NEXT.public]
        # Where a list names the successor itself, its predecessor does not count at all.
        assert [ring.in_force([NEXT.public], t) for t in (1999, 2000)] == [(NEXT.public,), (NEXT.public,)]
        assert ring.in_force([STRANGER.public], 0) == (STRANGER.public,)


@pytest.mark.parametrize("signers", [(OLD,), (NEXT,), (OPERATOR,), (STRANGER, NEXT), (STRANGER, OLD)])
def test_a_change_needs_the_new_key_and_the_old_or_the_operator(signers: tuple[Any, ...]) -> None:
    assert refusal(lambda: changed(signers=signers)) == "signature.threshold"


def test_changes_are_of_keys_that_are_there() -> None:
    both = (OLD, NEXT)
    assert refusal(lambda: changed(signers=both, effective=999)) == "keys.backdated"
    ring = changed(signers=both)
    taken = replace(KeyChange("venue-a", key(Role.SOURCE, "v").public, NEXT.public, 3000))
    taken_over = sign(taken, [key(Role.SOURCE, "v"), NEXT])
    assert refusal(lambda: ring.apply(taken_over, logged=1000)) == "keys.reused"
    # What was replaced names no further successor; the operator may, but not beside the one there is.
    third = {"new": STRANGER.public, "effective": 1500}
    assert refusal(lambda: changed(ring, signers=(OLD, STRANGER), **third)) == "signature.threshold"
    assert refusal(lambda: changed(ring, signers=(OPERATOR, STRANGER), **third)) == "keys.overlap"
    with pytest.raises(DecodeError):
        KeyChange("custodian", OLD.public, OLD.public, 0)
    with pytest.raises(DecodeError):
        KeyChange("custodian", OLD.public, OWNER.public, 0)


def test_a_key_is_revoked_by_its_holder_or_the_operator() -> None:
    for signers, at in (((OLD,), 1001), ((OPERATOR,), 500), ((OPERATOR,), 1000)):
        ring = revoked(signers=signers, at=at)
        assert holder(ring, at - 1) == OLD.public
        assert holder(ring, at) is None
    assert refusal(lambda: revoked(signers=(STRANGER,), at=1000)) == "signature.threshold"


def test_a_holder_cannot_disown_what_it_signed() -> None:
    """Nor what it signed in the very second in which the log took the end of its key, by either record."""
    ring = revoked(signers=(OLD,), at=5)
    assert [holder(ring, t) for t in (1000, 1001)] == [OLD.public, None]
    ring = changed(signers=(OLD, NEXT), effective=1000)
    assert [holder(ring, t) for t in (1000, 1001)] == [OLD.public, NEXT.public]
    # Nor an operator its own key, by itself.
    record = sign(KeyRevocation("risk", OPERATOR.public, 5), [OPERATOR])
    own = RING.apply(record, logged=1000)
    assert [own.in_force([OPERATOR.public], t) for t in (1000, 1001)] == [(OPERATOR.public,), ()]


def test_a_key_that_follows_one_made_up_disowns_nothing() -> None:
    """OLD is listed and has signed; its holder makes it the successor of a stranger, from a moment to come on."""
    late = changed(signers=(STRANGER, OLD), old=STRANGER.public, new=OLD.public, effective=5000)
    assert [holder(late, t) for t in (0, 999, 4999, 5000)] == [OLD.public] * 4
    assert [late.in_force([STRANGER.public], t) for t in (4999, 5000)] == [(STRANGER.public,), (OLD.public,)]
    # It ends as ever, also before that moment; and what falls with the stranger is what was to come.
    for over in (revoked(late, signers=(OLD,), at=1001), revoked(late, signers=(OPERATOR,), at=1001)):
        assert [holder(over, t) for t in (1000, 1001, 5000)] == [OLD.public, None, None]
    fallen = revoked(late, signers=(OPERATOR,), at=900, who=STRANGER)
    assert [holder(fallen, t) for t in (999, 5000)] == [OLD.public, None]


def test_an_operator_that_is_no_longer_one_changes_nothing() -> None:
    other = key(Role.OPERATOR, "other")
    ring = KeyRing((OPERATOR.public, other.public))
    ring = ring.apply(sign(KeyRevocation("risk", OPERATOR.public, 500), [other]), logged=600)
    assert refusal(lambda: changed(ring, signers=(OPERATOR, NEXT))) == "signature.threshold"
    assert refusal(lambda: revoked(ring, signers=(OPERATOR,), at=400)) == "signature.threshold"
    # Its successor may; a stranger whom it names after that is none.
    heir = key(Role.OPERATOR, "heir")
    moved = KeyRing((OPERATOR.public,)).apply(
        sign(KeyChange("risk", OPERATOR.public, heir.public, 700), [OPERATOR, heir]), logged=700
    )
    assert holder(changed(moved, signers=(heir, NEXT)), 2000) == NEXT.public


def test_a_revocation_dated_back_undoes_what_the_key_signed_for() -> None:
    """A thief names a successor, that one another; the operator dates the theft before both."""
    third = key(Role.SOURCE, "third")
    stolen = changed(signers=(OLD, NEXT), logged=1000, effective=1000)
    stolen = changed(stolen, signers=(NEXT, third), logged=1100, old=NEXT.public, new=third.public, effective=1100)
    assert holder(stolen, 1101) == third.public
    over = revoked(stolen, signers=(OPERATOR,), at=900, logged=1200)
    assert [holder(over, t) for t in (899, 900, 1000, 1100, 5000)] == [OLD.public, None, None, None, None]
    # What an operator signed for too stands, and what the key signed before that date.
    both = changed(signers=(OLD, OPERATOR, NEXT), logged=1000, effective=1000)
    assert holder(revoked(both, signers=(OPERATOR,), at=900, logged=1200), 1001) == NEXT.public
    assert holder(revoked(changed(signers=(OLD, NEXT)), signers=(OPERATOR,), at=1001, logged=1200), 2000) == NEXT.public


def test_what_was_signed_by_a_key_out_of_its_time_is_named_as_such() -> None:
    ring, record = changed(signers=(OLD, NEXT)), SourceRelease("custodian", "fund-1", "b", bytes(32), 0)
    for who, moment, code in ((OLD, 1999, None), (OLD, 2000, "keys.not-in-force"), (NEXT, 1999, "keys.not-in-force"),
                              (NEXT, 2000, None), (STRANGER, 0, "signature.threshold")):  # fmt: skip
        signed = sign(record, [who])
        run = lambda at=moment, it=signed: ring.open(SourceRelease, it, [OLD.public], at)  # noqa: E731
        if code is None:
            assert run() == record
        else:
            assert refusal(run) == code


def test_a_revoked_key_names_no_successor() -> None:
    ring = revoked(signers=(OLD,), at=1000)
    assert refusal(lambda: changed(ring, signers=(OLD, NEXT))) == "signature.threshold"
    after = changed(ring, signers=(OPERATOR, NEXT))
    assert [holder(after, t) for t in (999, 1500, 2000)] == [OLD.public, None, NEXT.public]
    # A second revocation never brings time back.
    assert holder(revoked(ring, signers=(OPERATOR,), at=5000), 3000) is None


def test_an_accounts_next_record_is_signed_by_the_key_in_force() -> None:
    heir = key(Role.ACCOUNT, "heir")
    ring = KeyRing().apply(sign(KeyChange("fund-1", OWNER.public, heir.public, 500), [OWNER, heir]), logged=500)
    moved = replace(RECORD, version=2, key=NEW_KEY.public)

    def opened(signer: Any, logged: int) -> object:
        return open_account(sign(moved, [signer, NEW_KEY]), previous=RECORD, ring=ring, logged=logged)

    assert opened(OWNER, 500) == opened(heir, 501) == moved
    assert refusal(lambda: opened(OWNER, 501)) == refusal(lambda: opened(heir, 500)) == "keys.not-in-force"


def test_key_records_round_trip() -> None:
    for what in (KeyChange("custodian", OLD.public, NEXT.public, 2000), KeyRevocation("custodian", OLD.public, 5)):
        assert type(what).from_payload(what.payload()) == what
    with pytest.raises(DecodeError):
        RING.apply(MANIFEST_ENVELOPE, logged=0)
