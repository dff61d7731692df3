"""Section 10, the rows about books, sources and the account's own statement: each attack tried in the simulator.

Names carry the row.  A venue that decides and an auditor that replays both have to stop it, where both can see it.
What no test can show (a source never listed, a tri-party asset) is in docs/threats.md.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import DecodeError, InputError, PolicyError, ProofRejected, Unsatisfied
from marginseal.log.publish import publish_manifest, publish_record
from marginseal.records.attestation import make_attestation
from marginseal.records.envelope import peek, sign
from marginseal.records.evidence import Conflict, conflict, is_false_opening
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from marginseal.records.manifest import SourceRelease
from marginseal.records.source import SourceStatement, open_statement
from marginseal.records.statement import Statement
from marginseal.records.submission import SourceOpening
from marginseal.records.tiles import tiles_of
from tests.records.world import key
from tests.simulator.parties import both_say, restated, signed_anyway, venue_says
from tests.simulator.world import (
    HOUR,
    LOTS,
    OPERATOR,
    PROVER,
    SOURCE_KEYS,
    SOURCES,
    UNIVERSE,
    Fund,
    N,
    World,
    commitment,
    proofs_of,
    source_registry,
)


def books(fund: Fund, *sources: str, **changes: Any) -> list[Any]:
    return [p for s in sources for p in fund.publish(s, **changes)]


def test_10_leaving_out_a_source_with_the_losing_leg(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest(published=books(fund, "custodian", "venue-a"))
    assert both_say(world, fund, tmp_path) == (["accept.left-out"], ["accept.left-out"])


def test_10_leaving_out_a_source_by_a_new_manifest(world: World, fund: Fund, tmp_path: Path) -> None:
    """Without the delay, then without the source's signature; with both it may go."""
    fewer = [s for s in SOURCES if s != "venue-b"]

    def manifest(effective: int) -> Any:
        return sign(fund.manifest_of(fewer, version=2, previous=fund.manifest.digest, effective=effective), [fund.key])

    at_once, later = manifest(world.now), manifest(world.now + 2 * HOUR)
    publish_manifest(world.log, at_once, now=world.now)
    fund.attest(published=books(fund, *fewer), manifest=at_once)
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["manifest.too-soon"]
    assert auditor == ["manifest.too-soon", "accept.manifest"]

    other = World.new(tmp_path / "other")
    other.epoch("one")
    fund = other.fund()
    publish_manifest(other.log, later, now=other.now)
    other.now += 2 * HOUR
    other.epoch("two")
    fund.attest(published=books(fund, *fewer), manifest=later)
    venue, auditor = both_say(other, fund, tmp_path / "second")
    assert venue == ["manifest.book-gone"]
    assert auditor[0] == "manifest.book-gone"

    third = World.new(tmp_path / "third")
    third.epoch("one")
    fund = third.fund()
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, third.now)
    publish_record(
        third.log, LogKind.SOURCE_RELEASE, sign(flat, [SOURCE_KEYS["venue-b"]]), now=third.now, account=fund.name
    )
    publish_manifest(third.log, later, now=third.now)
    third.now += 2 * HOUR
    third.epoch("two")
    fund.attest(published=books(fund, *fewer), manifest=later)
    assert both_say(third, fund, tmp_path / "third-bundle") == ([], [])


def test_10_a_release_under_a_registry_that_goes_back(world: World, fund: Fund, tmp_path: Path) -> None:
    """The log takes an older registry behind the one of today: a source that was dropped lets no book go by it."""
    dropped = source_registry(2)
    for registry in (replace(dropped, sources=dropped.sources[:-1]), replace(source_registry(), issued=world.now)):
        publish_record(world.log, LogKind.SOURCE_REGISTRY, sign(registry, [OPERATOR]), now=world.now)
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now)
    gone = sign(flat, [SOURCE_KEYS["venue-b"]])
    publish_record(world.log, LogKind.SOURCE_RELEASE, gone, now=world.now, account=fund.name)
    fewer = [s for s in SOURCES if s != "venue-b"]
    later = fund.manifest_of(fewer, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    manifest = sign(later, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    world.now += 2 * HOUR
    world.epoch("two")
    fund.attest(published=books(fund, *fewer), manifest=manifest)
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["manifest.book-gone"]
    assert auditor == ["replay.registry-version", "manifest.book-gone", "accept.manifest"]


def test_10_a_release_that_comes_after_the_manifest(world: World, fund: Fund, tmp_path: Path) -> None:
    """The book had left when its source let it go: what the log took later is of no use to what it took before."""
    fewer = [s for s in SOURCES if s != "venue-b"]
    later = fund.manifest_of(fewer, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    manifest = sign(later, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now)
    gone = sign(flat, [SOURCE_KEYS["venue-b"]])
    publish_record(world.log, LogKind.SOURCE_RELEASE, gone, now=world.now, account=fund.name)
    world.now += 2 * HOUR
    world.epoch("two")
    fund.attest(published=books(fund, *fewer), manifest=manifest)
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["manifest.book-gone"]
    assert auditor[0] == "manifest.book-gone"


def test_10_leaving_out_by_the_manifest_before(world: World, fund: Fund, tmp_path: Path) -> None:
    """A book was added and its manifest is in force; the institution goes on with the one before."""
    first = [s for s in SOURCES if s != "venue-b"]
    fund.manifest = sign(fund.manifest_of(first), [fund.key])
    world = World.new(tmp_path / "second")
    world.epoch("one")
    fund.world = world
    publish_manifest(world.log, fund.manifest, now=world.now)
    more = fund.manifest_of(SOURCES, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    publish_manifest(world.log, sign(more, [fund.key]), now=world.now)
    world.now += 3 * HOUR
    world.epoch("two")
    fund.attest(published=books(fund, *first))
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["accept.manifest", "accept.left-out"]
    assert auditor == ["accept.manifest"]


def test_10_a_source_never_listed_but_the_venue_itself(world: World, fund: Fund) -> None:
    """Nothing shows what nobody listed; a venue sees that its own books are not among them."""
    first = [s for s in SOURCES if s != "venue-a"]
    fund.manifest = sign(fund.manifest_of(first, version=1), [fund.key])
    publish_manifest(world.log, fund.manifest, now=world.now)
    fund.attest(published=books(fund, *first))
    assert "decide.not-listed" in venue_says(world, fund)


def test_10_a_sham_or_bought_source_in_the_manifest(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest()
    assert venue_says(world, fund, sources={"custodian": None, "venue-a": None}) == ["decide.source"]
    # A bought source that the registry confines cannot speak for other rows: its tool refuses, and without the proof
    # the verifier does.
    confined = {UNIVERSE.digest: ((0, 1), (4, 5))}
    tight = World.new(tmp_path / "tight", sources=sign(source_registry(venue_b=confined), [OPERATOR]))
    tight.epoch("one")
    fund = tight.fund()
    with pytest.raises(InputError) as e:
        fund.publish("venue-b")
    assert e.value.code == "rows.outside"
    honest = [0] * len(UNIVERSE)
    honest[0] = 100_000
    published = [*books(fund, "custodian", "venue-a"), *fund.publish("venue-b", honest)]
    bare = [replace(p, row_proof=None) for p in published]
    fund.attest(published=bare)
    assert both_say(tight, fund, tmp_path) == (["accept.rows"], ["accept.rows"])


def test_10_counting_a_source_twice(world: World, fund: Fund) -> None:
    published = books(fund, *SOURCES)
    with pytest.raises(DecodeError) as e:
        fund.submission([*published, published[0]])
    assert e.value.code == "statement.source-order"


def test_10_assets_in_transit_twice_need_two_cuts(world: World, fund: Fund, tmp_path: Path) -> None:
    """The sender reports before it sends, the receiver after: two cuts, and there is one for all."""
    early = books(fund, "custodian", "venue-a")
    world.now += 60
    late = books(fund, "venue-b")
    with pytest.raises(PolicyError) as e:
        fund.submission([*early, *late])
    assert e.value.code == "compose.cut"
    # An institution and a prover that sign what `compose` refuses: the proof is real, one message is of another cut.
    same = books(fund, *SOURCES)
    later = fund.publish("venue-b", cut_id="later", cut_time=world.now + 30)
    said = peek(SourceStatement, later[0].message)

    def swap(statement: Statement) -> Statement:
        changed = {"message_digest": later[0].message.digest, "C": said.C}
        entries = [replace(x, **changed) if x.source == "venue-b" else x for x in statement.sources]
        return replace(statement, sources=tuple(entries))

    submission = fund.submission(same, change=swap)
    opening = SourceOpening(later[0].message, fund.open(later)[0].opening)
    entries = zip(submission.statement.sources, submission.sources, strict=True)
    opened = replace(submission, sources=tuple(opening if x.source == "venue-b" else o for x, o in entries))
    proofs = proofs_of(opened, world.epochs[-1], 3)
    signed_anyway(fund, opened, proofs, [*(p for p in same if p.message.digest != same[2].message.digest), *later])
    assert both_say(world, fund, tmp_path) == (["accept.cut"], ["accept.cut"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"cut_id": "another cut"}, "accept.cut"),
        ({"cut_time": 1_772_438_399}, "accept.cut"),
        ({"expiry": 1_772_438_400 + 60 * HOUR}, "accept.expired"),
    ],
)
def test_10_a_commitment_of_another_cut(
    world: World, fund: Fund, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    """The institution restates what the sources signed, the prover proves it: the proof holds, the messages do not."""
    fund.attest(change=restated(**changes))
    venue, auditor = both_say(world, fund, tmp_path)
    assert code in venue
    assert code in auditor


def test_10_a_commitment_of_another_account(world: World, fund: Fund, tmp_path: Path) -> None:
    """What was signed for fund-2 is put under fund-1."""
    rich = world.fund("fund-2")
    borrowed = books(rich, *SOURCES)
    fund.sealing, fund.books = rich.sealing, rich.books
    with pytest.raises(PolicyError) as e:
        fund.attest(published=borrowed)
    assert e.value.code == "log.book-taken"


def test_10_one_book_signed_for_two_accounts(world: World, fund: Fund) -> None:
    """The log takes a book under one account, for ever; two messages are evidence against the source."""
    other = world.fund("fund-2")
    mine = fund.publish("custodian")[0].message
    other.books = fund.books
    theirs = other.publish("custodian")[0].message
    assert conflict(mine, theirs, SOURCE_KEYS["custodian"].public) == Conflict.TWO_ACCOUNTS
    other.manifest = sign(other.manifest_of(SOURCES), [other.key])
    with pytest.raises(PolicyError) as e:
        publish_manifest(world.log, other.manifest, now=world.now)
    assert e.value.code == "log.book-taken"


def test_10_withdrawal_between_cuts(world: World, fund: Fund, tmp_path: Path) -> None:
    """Without a hold the verdict is a snapshot; an attestation cannot outlive the hold it claims."""
    fund.attest(published=books(fund, *SOURCES, hold_until=None))
    assert both_say(world, fund, tmp_path) == (["decide.hold"], [])
    other = World.new(tmp_path / "other")
    other.epoch("one")
    short = other.fund()
    short.attest(published=books(short, *SOURCES, hold_until=other.now + HOUR))
    assert both_say(other, short, tmp_path / "short") == (["accept.hold"] * 3, ["accept.hold"])


def test_10_a_source_attesting_for_the_account(world: World, fund: Fund, tmp_path: Path) -> None:
    """The custodian knows its own opening and finds a prover: the account key is missing."""
    submission = fund.submission(books(fund, *SOURCES))
    proofs = proofs_of(submission, world.epochs[-1], 3)
    with pytest.raises(ProofRejected) as e:
        make_attestation(submission.statement, bytes(64), submission.rules, proofs, PROVER)
    assert e.value.code == "signature.invalid"
    # With an account key of its own it signs, and the manifest does not name that key.
    owner, fund.key = fund.key, key(Role.ACCOUNT, "the custodian's")
    fund.attest()
    fund.key = owner
    assert both_say(world, fund, tmp_path) == (["decide.account", "accept.account-key"], ["accept.account-key"])


def test_10_a_source_withholding_the_opening(world: World, fund: Fund, tmp_path: Path) -> None:
    """Published without the ciphertext that was signed, a message counts as unsigned."""
    published = books(fund, *SOURCES)
    tile = tiles_of(UNIVERSE, N)[0]
    withheld = replace(published[0], sealed=b"nothing to see")
    with pytest.raises(ProofRejected) as e:
        open_statement(
            withheld, tile, source_key=SOURCE_KEYS["custodian"].public, sealing_key=fund.sealing,
            commitment=commitment(),
        )  # fmt: skip
    assert e.value.code == "source.ciphertext"
    attested = fund.attest(published=published, log=False)
    objects = (*(o for o in attested.objects if o != published[0].encode()), withheld.encode())
    world.append(replace(attested, objects=objects))
    fund.accept(attested)
    assert both_say(world, fund, tmp_path) == (["accept.ciphertext"], ["accept.ciphertext"])


def test_10_a_source_falsifying_the_opening(world: World, fund: Fund) -> None:
    """It signs one commitment and seals the opening of another: transferable evidence."""
    honest = fund.publish("custodian")[0]
    more = [lots + (i == 0) for i, lots in enumerate(LOTS["custodian"])]
    other = fund.publish("custodian", more)[0]
    tile, public = tiles_of(UNIVERSE, N)[0], SOURCE_KEYS["custodian"].public
    _, opening = open_statement(
        honest, tile, source_key=public, sealing_key=fund.sealing, commitment=commitment()
    )  # fmt: skip
    said = replace(peek(SourceStatement, honest.message), C=peek(SourceStatement, other.message).C)
    lie = replace(honest, message=sign(said, [SOURCE_KEYS["custodian"]]))
    with pytest.raises(ProofRejected) as e:
        open_statement(lie, tile, source_key=public, sealing_key=fund.sealing, commitment=commitment())
    assert e.value.code in ("source.opening-commitment", "source.ciphertext")
    assert is_false_opening(lie.message, opening.encode(), tile, public, commitment())
    assert not is_false_opening(honest.message, opening.encode(), tile, public, commitment())


def test_10_a_source_that_replays_an_old_book(world: World, fund: Fund, tmp_path: Path) -> None:
    """The old message under a new cut does not carry it; two messages for one cut are a conflict."""
    fund.attest()
    world.now += 60
    stale = books(fund, "custodian", sequence=1)
    fund.attest(published=[*stale, *books(fund, "venue-a", "venue-b")])
    assert both_say(world, fund, tmp_path) == (["accept.order"], ["accept.order"])


def test_10_two_books_for_one_cut(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest()
    again = books(fund, *SOURCES)
    first = fund.history[0]
    assert fund.publish("custodian")[0].message.digest not in {e.message_digest for e in first.statement.sources}
    fund.attest(published=again)
    venue, auditor = both_say(world, fund, tmp_path)
    assert set(venue) == set(auditor) == {"accept.conflict"}
    message = next(p.message for p in again if peek(SourceStatement, p.message).terms.source == "custodian")
    before = fund.publish("custodian", sequence=1)[0].message
    assert conflict(message, before, SOURCE_KEYS["custodian"].public) == Conflict.TWO_MESSAGES


def test_10_nobody_proves_a_book_that_is_not_healthy(world: World, fund: Fund) -> None:
    """What all of this protects: the honest numbers of a broke fund have no proof."""
    broke = LOTS | {"custodian": [0] * len(UNIVERSE), "venue-b": [-900_000, 0, 0, 0, -15, 0, 0, 0, 0, -2]}
    with pytest.raises(Unsatisfied):
        fund.attest(broke)


def test_10_a_commitment_signed_for_another_account(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest(published=books(fund, *SOURCES, account="fund-2"))
    assert both_say(world, fund, tmp_path) == (["accept.account"] * 3, ["accept.account"])


def test_10_a_source_that_holds_more_than_it_may_list(world: World, fund: Fund, tmp_path: Path) -> None:
    """It says itself that these are not all positions."""
    fund.attest(published=books(fund, *SOURCES, complete=False))
    assert both_say(world, fund, tmp_path) == (["accept.complete"] * 3, ["accept.complete"])
