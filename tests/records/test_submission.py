"""The submission: what the prover checks, sealing, padding, and that it shows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from marginseal.errors import DecodeError, MarginSealError
from marginseal.records.attestation import RuleRef, sign_statement
from marginseal.records.keys import Role
from marginseal.records.opening import Opening
from marginseal.records.sealing import OVERHEAD, SealingKey
from marginseal.records.source import SourceStatement, open_statement
from marginseal.records.statement import Continuity
from marginseal.records.submission import (
    MAX_CLASS,
    MIN_CLASS,
    SourceOpening,
    Submission,
    SubmissionHeader,
    open_submission,
    pad,
    seal_submission,
    unpad,
)
from tests.records.world import (
    OWNER,
    PLEDGES,
    SEALING,
    SOURCE_KEYS,
    commitment,
    honest,
    key,
    peek,
    schedule,
    seed,
    tiles,
)

WORLD = honest()
PROVER_SEALING = SealingKey(seed("prover sealing"))
NONCE = seed("nonce")
TILES = dict(enumerate(tiles()))


def openings() -> tuple[SourceOpening, ...]:
    by_digest = {p.message.digest: p for p in WORLD.published}
    out = []
    for entry in WORLD.statement.sources:
        published = by_digest[entry.message_digest]
        message = peek(SourceStatement, published.message)
        _, opening = open_statement(
            published,
            tiles()[message.tile],
            source_key=SOURCE_KEYS[message.terms.source].public,
            sealing_key=SEALING,
            commitment=commitment(),
        )
        out.append(SourceOpening(published.message, opening))
    return tuple(out)


SUBMISSION = Submission(
    statement=WORLD.statement,
    owner=sign_statement(WORLD.statement, OWNER),
    rules=(RuleRef("worst_case"),),
    sources=openings(),
    pledges=WORLD.pledges,
    response_key=SEALING.public,
)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def check(submission: Submission) -> None:
    submission.check(TILES, commitment())


def with_source(index: int, **changes: Any) -> Submission:
    sources = list(SUBMISSION.sources)
    sources[index] = replace(sources[index], **changes)
    return replace(SUBMISSION, sources=tuple(sources))


def test_round_trip_and_check() -> None:
    check(SUBMISSION)
    data = SUBMISSION.encode()
    again = Submission.decode(data)
    assert again.encode() == data
    assert again.sources[0].opening.q.tolist() == SUBMISSION.sources[0].opening.q.tolist()
    check(again)


def test_a_linked_submission_carries_the_previous_schedule() -> None:
    lower = schedule({"venue-a": 5}, 2)
    statement = replace(
        WORLD.statement,
        sequence=2,
        prev=WORLD.statement.digest,
        continuity=Continuity.LINKED,
        previous_pledge=WORLD.statement.pledge,
        pledge=lower.commit(commitment()),
    )
    changes = {"statement": statement, "owner": sign_statement(statement, OWNER), "pledges": lower}
    assert refusal(lambda: replace(SUBMISSION, **changes)) == "submission.link"  # type: ignore[arg-type]
    linked = replace(SUBMISSION, **changes, previous_pledges=WORLD.pledges)  # type: ignore[arg-type]
    check(Submission.decode(linked.encode()))
    wrong = replace(linked, previous_pledges=lower)
    assert refusal(lambda: check(wrong)) == "submission.pledges"
    assert refusal(lambda: replace(SUBMISSION, previous_pledges=WORLD.pledges)) == "submission.link"


def test_what_the_prover_refuses() -> None:
    first, second = SUBMISSION.sources[:2]
    honest_opening = first.opening
    q = honest_opening.q.copy()
    q[2] += 1
    more = Opening(q, honest_opening.b_0, honest_opening.random)
    cases: list[tuple[Submission, str]] = [
        (with_source(0, opening=more), "source.opening-digest"),
        (with_source(0, opening=second.opening), "source.opening-digest"),
        (with_source(0, message=second.message), "submission.source"),
        (replace(SUBMISSION, sources=(second, first, *SUBMISSION.sources[2:])), "submission.source"),
        (replace(SUBMISSION, pledges=schedule({"venue-a": 21, "venue-b": 10})), "submission.pledges"),
        (replace(SUBMISSION, pledges=schedule(PLEDGES, n=16)), "submission.pledges"),
        (replace(SUBMISSION, owner=bytes(64)), "signature.invalid"),
        (
            replace(SUBMISSION, statement=replace(WORLD.statement, expiry=WORLD.statement.expiry + 1)),
            "signature.invalid",
        ),
    ]
    for submission, expected in cases:
        assert refusal(lambda s=submission: check(s)) == expected
    assert refusal(lambda: SUBMISSION.check({0: TILES[0]}, commitment())) == "submission.tile"
    assert refusal(lambda: SUBMISSION.check(TILES, commitment(16))) == "opening.rows"
    other = replace(WORLD.statement, srs=seed("another"))
    elsewhere = replace(SUBMISSION, statement=other, owner=sign_statement(other, OWNER))
    assert refusal(lambda: check(elsewhere)) == "submission.srs"
    assert refusal(lambda: replace(SUBMISSION, rules=())) == "submission.count"
    assert refusal(lambda: replace(SUBMISSION, sources=SUBMISSION.sources[1:])) == "submission.count"
    assert refusal(lambda: replace(SUBMISSION, owner=b"")) == "submission.owner"


def test_nothing_private_is_shown() -> None:
    shown = repr(SUBMISSION) + str(SUBMISSION) + repr(SUBMISSION.sources) + repr(SUBMISSION.pledges)
    for source in SUBMISSION.sources:
        assert str(source.opening.b_0) not in shown
    assert str(SUBMISSION.pledges.opening.b_0) not in shown
    assert "5000" not in shown


def test_no_key_that_signs_is_in_it() -> None:
    data = SUBMISSION.encode()
    for signing in (OWNER, *SOURCE_KEYS.values(), key(Role.VENUE, "venue-a")):
        assert signing.seed not in data
        assert signing.seed.hex().encode() not in data


def test_it_opens_under_its_own_header_alone() -> None:
    header, sealed = seal_submission(SUBMISSION, PROVER_SEALING.public, NONCE)
    assert open_submission(header, sealed, PROVER_SEALING).encode() == SUBMISSION.encode()
    for changes in (
        {"account": "fund-2"},
        {"epoch": seed("another")},
        {"sequence": 2},
        {"nonce": seed("another")},
        {"prover_key": "0" * 32},
    ):
        other = replace(header, **changes)  # type: ignore[arg-type]
        assert refusal(lambda h=other: open_submission(h, sealed, PROVER_SEALING)) == "sealing.open"
    assert refusal(lambda: open_submission(header, sealed, SEALING)) == "sealing.open"


def test_a_header_that_lies_about_its_submission() -> None:
    """Anyone can seal: a header for another place in the chain than the submission's is refused after opening."""
    from marginseal.records.sealing import seal_info

    lie = SubmissionHeader("fund-2", WORLD.statement.epoch, 1, NONCE, PROVER_SEALING.public.key_id)
    sealed = PROVER_SEALING.public.seal(pad(SUBMISSION.encode()), seal_info("submission", lie.members))
    assert refusal(lambda: open_submission(lie, sealed, PROVER_SEALING)) == "submission.header"
    for bad in ({"account": ""}, {"epoch": b""}, {"nonce": b"short"}, {"sequence": 0}, {"prover_key": ""}):
        assert refusal(lambda b=bad: replace(lie, **b)) == "submission.header"  # type: ignore[arg-type]


def test_only_the_size_class_shows() -> None:
    _, sealed = seal_submission(SUBMISSION, PROVER_SEALING.public, NONCE)
    assert len(sealed) - OVERHEAD == MIN_CLASS
    smaller = replace(SUBMISSION, rules=(RuleRef("x"),))
    assert len(seal_submission(smaller, PROVER_SEALING.public, NONCE)[1]) == len(sealed)
    for size, padded in ((0, MIN_CLASS), (MIN_CLASS - 8, MIN_CLASS), (MIN_CLASS - 7, 2 * MIN_CLASS)):
        assert len(pad(bytes(size))) == padded
        assert unpad(pad(b"\x01" * size)) == b"\x01" * size
    assert refusal(lambda: pad(bytes(MAX_CLASS - 7))) == "submission.size"


@pytest.mark.parametrize(
    "padded",
    [
        b"",
        bytes(8),
        bytes(MIN_CLASS - 1),
        bytes(MIN_CLASS + 1),
        pad(b"x")[:-1] + b"\x01",
        pad(b"x") + bytes(MIN_CLASS),  # a larger class than the data needs
        (MIN_CLASS).to_bytes(8, "big") + bytes(MIN_CLASS - 8),
        (2**64 - 1).to_bytes(8, "big") + bytes(MIN_CLASS - 8),
    ],
    ids=lambda p: f"{len(p)} bytes",
)
def test_padding_has_one_form(padded: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        unpad(padded)
    assert e.value.code == "submission.padding"
