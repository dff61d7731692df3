"""Section 7, acceptance: attacks 12.2 and 12.5 on the source list, each stopped by one check."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from marginseal.algebra import kzg
from marginseal.errors import DecodeError, MarginSealError
from marginseal.records.acceptance import SourceEvidence, check_sources, source_faults
from marginseal.records.envelope import peek, sign
from marginseal.records.keys import Role
from marginseal.records.manifest import Manifest
from marginseal.records.source import PublishedStatement, SourceStatement, open_statement
from marginseal.records.statement import SourceEntry, Statement
from tests.records.world import (
    BOOKS,
    CONFINED,
    CURVE,
    CUT,
    EXPIRY,
    MANIFEST,
    OWNER,
    SEALING,
    SOURCE_KEYS,
    SRS,
    UNIVERSE,
    N,
    World,
    commitment,
    entry,
    evidence_of,
    honest,
    key,
    publish,
    registry,
    seed,
    statement_of,
    tiles,
)

INFINITY = bytes([0xC0]) + bytes(47)


def codes(statement: Statement, evidence: SourceEvidence) -> list[str]:
    faults = [fault.code for fault in source_faults(statement, evidence, srs=SRS, curve=CURVE)]
    if faults:
        with pytest.raises(MarginSealError) as e:
            check_sources(statement, evidence, srs=SRS, curve=CURVE)
        assert e.value.code == faults[0]
    else:
        check_sources(statement, evidence, srs=SRS, curve=CURVE)
    return faults


def substituted(world: World, replacement: list[PublishedStatement]) -> tuple[Statement, SourceEvidence]:
    """The honest world, in which one book's publications are replaced, by the institution and all it colludes with."""
    book = peek(SourceStatement, replacement[0].message).terms.source
    kept = [p for p in world.published if peek(SourceStatement, p.message).terms.source != book]
    published = kept + replacement
    sources = tuple(sorted((entry(p) for p in published), key=lambda e: e.order))
    return replace(world.statement, sources=sources), evidence_of(published, world.evidence.registry)


def entries(statement: Statement, change: Callable[[list[SourceEntry]], list[SourceEntry]]) -> Statement:
    return replace(statement, sources=tuple(change(list(statement.sources))))


@pytest.mark.parametrize("confined", [False, True])
def test_honest_sources_are_accepted(confined: bool) -> None:
    world = honest(confined)
    assert codes(world.statement, world.evidence) == []
    facts = check_sources(world.statement, world.evidence, srs=SRS, curve=CURVE)
    assert facts.hold_until == CUT + 2 * 86_400
    assert len(facts.messages) == len(world.statement.sources) == 6


def test_one_source_without_hold_makes_it_a_snapshot() -> None:
    statement, evidence = substituted(honest(), publish(*BOOKS[0], hold_until=None))
    assert codes(statement, evidence) == []
    assert check_sources(statement, evidence, srs=SRS, curve=CURVE).hold_until is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"cut_id": "cut-0"}, "accept.cut"),
        ({"cut_time": CUT - 1}, "accept.cut"),
        ({"account": "fund-2"}, "accept.account"),
        ({"complete": False}, "accept.complete"),
        ({"expiry": EXPIRY - 1}, "accept.expired"),
        ({"hold_until": EXPIRY - 1}, "accept.hold"),
    ],
)
def test_12_2_a_commitment_signed_for_something_else(changes: dict[str, Any], expected: str) -> None:
    statement, evidence = substituted(honest(), publish(*BOOKS[0], **changes))
    assert codes(statement, evidence) == [expected] * len(tiles())


def test_the_last_second_of_message_and_hold_counts() -> None:
    statement, evidence = substituted(honest(), publish(*BOOKS[0], expiry=EXPIRY, hold_until=EXPIRY))
    assert codes(statement, evidence) == []


def test_12_2_the_nth_root_swap() -> None:
    """A commitment signed at n = 16, read on the 8-th roots, shows rows 0, 2, 4, ... and hides the losing odd ones."""
    lots = [9, -(10**5), 8, -(10**5), 7, -(10**5), 6, -(10**5), 5, 0]
    signed = publish(*BOOKS[0], n=16, lots=lots)
    message, tile = peek(SourceStatement, signed[0].message), tiles(16)[0]
    public = SOURCE_KEYS["custodian"].public
    _, opening = open_statement(signed[0], tile, source_key=public, sealing_key=SEALING, commitment=commitment(16))
    # On the 8-th roots the signed commitment opens to the even rows: -300,000 lots are gone.
    for i in range(8):
        W = kzg.open_row(commitment(16), opening.q, [opening.b_0], 2 * i)
        assert kzg.verify_opening(kzg.row_opening(8, message.C, i, int(opening.q[2 * i]), W), SRS, CURVE)
    book = [p for p in honest().published if peek(SourceStatement, p.message).terms.source == "custodian"]
    statement, evidence = substituted(honest(), [signed[0], book[1]])
    assert message.n == 16
    assert codes(statement, evidence) == ["accept.n"]
    # The other way round, too: everything else of that message is in order.
    assert codes(statement, replace(evidence, n=16)) == ["accept.n"] * 5


def test_12_2_two_tiles_commitments_swapped() -> None:
    def swap(sources: list[SourceEntry]) -> list[SourceEntry]:
        a, b = sources[0], sources[1]
        return [replace(a, C=b.C), replace(b, C=a.C), *sources[2:]]

    world = honest()
    assert codes(entries(world.statement, swap), world.evidence) == ["accept.commitment"] * 2

    def swap_messages(sources: list[SourceEntry]) -> list[SourceEntry]:
        a, b = sources[0], sources[1]
        return [
            replace(b, tile=a.tile),
            replace(a, tile=b.tile),
            *sources[2:],
        ]

    assert codes(entries(world.statement, swap_messages), world.evidence) == ["accept.tile"] * 2


def test_12_2_a_source_left_out() -> None:
    world = honest()
    without = entries(world.statement, lambda sources: sources[2:])
    assert codes(without, world.evidence) == ["accept.left-out"] * 2
    one_tile = entries(world.statement, lambda sources: sources[:1] + sources[2:])
    assert codes(one_tile, world.evidence) == ["accept.left-out"]


def test_12_2_a_source_counted_twice() -> None:
    """In any order: the statement itself has no encoding in which an entry occurs twice or out of order."""
    world = honest()
    sources = world.statement.sources
    for changed in ((sources[0], *sources), (sources[1], sources[0], *sources[2:]), (*sources[1:], sources[0])):
        with pytest.raises(DecodeError) as e:
            replace(world.statement, sources=changed)
        assert e.value.code == "statement.source-order"
    # Under another book id, or as another source's book: not in the manifest, and not what was signed.
    for alias in (replace(sources[0], book="z" * 32), replace(sources[0], source="custodian-2")):
        twice = tuple(sorted((*sources, alias), key=lambda e: e.order))
        found = codes(replace(world.statement, sources=twice), world.evidence)
        assert found[0] == "accept.not-listed"
        assert found[1] in ("accept.source", "registry.unknown-source")


def test_12_2_the_same_message_stands_for_one_entry_alone() -> None:
    world = honest()

    def reuse(sources: list[SourceEntry]) -> list[SourceEntry]:
        return [sources[0], replace(sources[1], message_digest=sources[0].message_digest), *sources[2:]]

    assert codes(entries(world.statement, reuse), world.evidence) == ["accept.tile"]


def test_12_2_tiles_of_different_sequences() -> None:
    """A lot moved between tiles between two cuts would be counted twice, or not at all."""
    first, second = publish(*BOOKS[0], sequence=1), publish(*BOOKS[0], sequence=2)
    statement, evidence = substituted(honest(), [first[0], second[1]])
    assert codes(statement, evidence) == ["accept.sequence"]
    assert codes(*substituted(honest(), second)) == []


def test_12_2_a_tile_that_nobody_asked_for() -> None:
    world = honest()
    assert codes(world.statement, replace(world.evidence, tiles=1)) == ["accept.not-listed"] * 3
    assert codes(world.statement, replace(world.evidence, tiles=3)) == ["accept.left-out"] * 3


def test_12_2_a_commitment_that_nobody_signed() -> None:
    world = honest()
    other = world.statement.sources[2].C

    def change(sources: list[SourceEntry]) -> list[SourceEntry]:
        return [replace(sources[0], C=other), *sources[1:]]

    assert codes(entries(world.statement, change), world.evidence) == ["accept.commitment"]


def test_an_entry_is_never_the_identity() -> None:
    """A source that signs it holds nothing and has no blinder: everybody could read that."""
    message = replace(peek(SourceStatement, honest().published[0].message), C=INFINITY)
    signed = sign(message, [SOURCE_KEYS["custodian"]])
    book = [p for p in honest().published if peek(SourceStatement, p.message).terms.source == "custodian"]
    statement, evidence = substituted(honest(), [replace(book[0], message=signed), book[1]])
    assert codes(statement, evidence) == ["point.infinity"]


def test_a_message_by_somebody_else_or_missing() -> None:
    world = honest()
    message = peek(SourceStatement, world.published[0].message)
    forged = sign(message, [key(Role.SOURCE, "stranger")])
    book = list(world.published[:2])
    assert codes(*substituted(world, [replace(book[0], message=forged), book[1]])) == ["signature.threshold"]
    # Another registered source cannot sign for it either.
    forged = sign(message, [SOURCE_KEYS["venue-a"]])
    assert codes(*substituted(world, [replace(book[0], message=forged), book[1]])) == ["signature.threshold"]
    messages = dict(world.evidence.published)
    digest = world.statement.sources[0].message_digest
    lost = {d: m for d, m in messages.items() if d != digest}
    assert codes(world.statement, replace(world.evidence, published=lost)) == ["accept.message"]
    # A store that hands out another message under the digest.
    planted = {**messages, digest: messages[world.statement.sources[1].message_digest]}
    assert codes(world.statement, replace(world.evidence, published=planted)) == ["accept.digest"]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("srs", ["accept.srs"] + ["accept.srs"] * 6),
        ("universe", ["accept.universe"] * 6),
        ("manifest", ["accept.manifest"]),
        ("source_registry", ["accept.source-registry"]),
        ("account_key", ["accept.account-key"]),
    ],
)
def test_12_5_a_statement_about_another(field: str, expected: list[str]) -> None:
    world = honest()
    changed = replace(world.statement, **{field: seed("another")})  # type: ignore[arg-type]
    assert codes(changed, world.evidence) == expected


def test_12_5_another_account_cut_or_expiry() -> None:
    world = honest()
    assert codes(replace(world.statement, account="fund-2"), world.evidence)[0] == "accept.manifest"
    assert set(codes(replace(world.statement, cut_id="cut-9"), world.evidence)) == {"accept.cut"}
    assert set(codes(replace(world.statement, cut_time=CUT + 1), world.evidence)) == {"accept.cut"}
    late = replace(world.statement, expiry=CUT + 2 * 86_400 + 1)
    assert set(codes(late, world.evidence)) == {"accept.expired"}
    assert set(codes(replace(world.statement, cut_time=CUT - 11), world.evidence)) == {
        "accept.manifest-early",
        "accept.cut",
    }


def test_a_manifest_with_one_more_book_asks_for_it() -> None:
    more = Manifest(MANIFEST.account, 1, MANIFEST.previous, MANIFEST.effective, MANIFEST.keys, (*BOOKS, ("z", "z")))
    envelope = sign(more, [OWNER])
    world = honest()
    statement = replace(world.statement, manifest=envelope.digest)
    evidence = replace(world.evidence, manifest=more, manifest_digest=envelope.digest)
    assert codes(statement, evidence) == ["accept.left-out"] * 2


def test_a_confined_source_proves_its_rows() -> None:
    world = honest(True)
    digest = next(e.message_digest for e in world.statement.sources if e.source == "venue-a" and e.tile == 0)
    published = dict(world.evidence.published)
    lost = {**published, digest: replace(published[digest], row_proof=None)}
    assert codes(world.statement, replace(world.evidence, published=lost)) == ["accept.rows"]
    other = next(p.row_proof for d, p in published.items() if d != digest and p.row_proof is not None)
    swapped = {**published, digest: replace(published[digest], row_proof=other)}
    assert codes(world.statement, replace(world.evidence, published=swapped)) == ["rows.authority"]


def test_rows_are_read_from_the_registry_and_not_from_the_proof() -> None:
    """The source held rows 0 and 4..9; the registry now confines it to rows 0 and 4..7: the old proof is no good."""
    world = honest(True)
    tighter = registry(venue_a={UNIVERSE.digest: ((0, 1), (4, 8))})
    evidence = evidence_of(list(world.published), tighter)
    statement = replace(world.statement, source_registry=evidence.registry_digest)
    assert codes(statement, evidence) == ["rows.authority"]
    # A universe that its registry entry does not name: no rows at all.
    nowhere = registry(venue_a={seed("other universe"): ((0, 10),)})
    evidence = evidence_of(list(world.published), nowhere)
    statement = replace(world.statement, source_registry=evidence.registry_digest)
    assert codes(statement, evidence) == ["rows.authority"] * 2


def test_a_colluding_source_offsets_another_and_row_authority_stops_it() -> None:
    """Section 7, trust: vectors add.  venue-a signs +100 on a row where venue-b is short 100; confined, it cannot."""
    held = [0] * 10
    held[0] = 100
    offset = publish("venue-a", BOOKS[1][1], lots=held)
    assert codes(*substituted(honest(), offset)) == []
    confined = registry(venue_a={UNIVERSE.digest: ((4, 10),)})
    evidence = evidence_of([*honest().published[:2], *offset, *honest().published[4:]], confined)
    published = list(honest().published[:2]) + offset + list(honest().published[4:])
    statement = statement_of(published, honest().statement.pledge, sign(confined, [key(Role.OPERATOR, "risk")]))
    assert codes(statement, evidence) == ["accept.rows"] * 2
    with pytest.raises(MarginSealError) as e:
        publish("venue-a", BOOKS[1][1], lots=held, confined=confined)
    assert e.value.code == "rows.outside"


def test_every_reason_is_given_at_once() -> None:
    world = honest()
    statement = entries(world.statement, lambda sources: sources[1:])
    found = codes(replace(statement, cut_id="cut-9", account_key=seed("x")), world.evidence)
    assert found == ["accept.account-key", "accept.left-out", *["accept.cut"] * 5]


def test_masks_of_the_registry() -> None:
    source = registry(venue_a=CONFINED).source("venue-a")
    assert [source.allowed(UNIVERSE.digest, N, t) for t in range(2)] == [bytes([0b11110001]), bytes([0b00000011])]
    assert registry().source("venue-a").allowed(UNIVERSE.digest, N, 0) is None
    whole = registry(venue_a={UNIVERSE.digest: ((0, 16),)}).source("venue-a")
    assert whole.allowed(UNIVERSE.digest, N, 0) is None
    assert np.count_nonzero(np.unpackbits(np.frombuffer(source.allowed(UNIVERSE.digest, 16, 0) or b"", np.uint8))) == 7
