"""Source statements: made, opened, checked, and what their evidence shows."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from marginseal.errors import DecodeError, InputError, MarginSealError, ProofRejected, RangeError
from marginseal.records import evidence
from marginseal.records.envelope import Envelope, open_signed, peek, sign
from marginseal.records.evidence import Conflict
from marginseal.records.keys import Role
from marginseal.records.opening import Opening
from marginseal.records.sealing import SealingKey, seal_info
from marginseal.records.source import (
    PublishedStatement,
    SourceStatement,
    book_id,
    check_opening,
    make_statement,
    open_statement,
)
from marginseal.records.tiles import Tile, split, tile_count
from tests.records.world import (
    BOOKS,
    CURVE,
    LOTS,
    SEALING,
    SOURCE_KEYS,
    SRS,
    UNIVERSE,
    N,
    commitment,
    key,
    publish,
    seed,
    terms,
    tiles,
)

SOURCE, BOOK = BOOKS[1]
PUBLISHED = publish(SOURCE, BOOK)
STATEMENTS = [peek(SourceStatement, p.message) for p in PUBLISHED]


def opened(published: PublishedStatement, index: int) -> Opening:
    _, opening = open_statement(
        published,
        tiles()[index],
        source_key=SOURCE_KEYS[SOURCE].public,
        sealing_key=SEALING,
        commitment=commitment(),
    )
    return opening


def resigned(statement: SourceStatement, sealed: bytes) -> PublishedStatement:
    """What a dishonest source would publish: any statement, under its own key."""
    return PublishedStatement(sign(statement, [SOURCE_KEYS[SOURCE]]), sealed)


def lying(opening: Opening, **changes: object) -> tuple[SourceStatement, bytes]:
    """A statement whose signed opening is `opening`, its commitment that of the honest one."""
    sealed = SEALING.public.seal(opening.encode(), seal_info("opening", STATEMENTS[0].place))
    digests = {"opening_digest": opening.digest, "ciphertext_digest": hashlib.sha256(sealed).digest()}
    return replace(STATEMENTS[0], **digests, **changes), sealed  # type: ignore[arg-type]


def refusal(call: object) -> str:
    with pytest.raises(MarginSealError) as e:
        call()  # type: ignore[operator]
    return e.value.code


def test_the_account_opens_what_the_source_signed() -> None:
    lots = [x for index, p in enumerate(PUBLISHED) for x in opened(p, index).q.tolist()]
    assert lots[: len(UNIVERSE)] == LOTS[SOURCE]
    assert lots[len(UNIVERSE) :] == [0] * (2 * N - len(UNIVERSE))
    for statement, index in zip(STATEMENTS, range(2), strict=True):
        assert (statement.tile, statement.n, statement.srs) == (index, N, SRS.digest)
        assert statement.terms == terms(SOURCE, BOOK)
    assert len({s.C for s in STATEMENTS}) == 2


def test_published_statements_and_payloads_round_trip() -> None:
    for published, statement in zip(PUBLISHED, STATEMENTS, strict=True):
        assert PublishedStatement.decode(published.encode()) == published
        assert SourceStatement.from_payload(statement.payload()) == statement


def test_nothing_private_is_published() -> None:
    opening = opened(PUBLISHED[0], 0)
    for shown in (PUBLISHED[0].encode(), repr(PUBLISHED[0]).encode(), repr(opening).encode()):
        assert opening.encode() not in shown
        assert str(opening.b_0).encode() not in shown
    assert repr(opening) == "Opening()"


def test_every_commitment_has_a_blinder_of_its_own() -> None:
    """Tiles, cuts, retries and two accounts of one random stream: no two blinders are alike."""
    drawn = [opened(p, i).b_0 for i, p in enumerate(PUBLISHED)]
    for stream in ("again", "and again"):
        drawn += [opened(p, i).b_0 for i, p in enumerate(publish(SOURCE, BOOK, stream=stream))]
    assert len(set(drawn)) == len(drawn)


def test_the_blinder_is_hedged() -> None:
    """With a broken system generator (all zeros), place, rows, tile or key still give another blinder."""

    def draw(**changes: object) -> int:
        fixed = {"tile": tiles()[0], "q": np.zeros(N, dtype=np.int64), "signer": SOURCE_KEYS[SOURCE], "cut": "cut-1"}
        given = fixed | changes
        published = make_statement(
            terms(SOURCE, BOOK, cut_id=given["cut"]),
            given["tile"],  # type: ignore[arg-type]
            given["q"],  # type: ignore[arg-type]
            key=given["signer"],  # type: ignore[arg-type]
            recipient=SEALING.public,
            commitment=commitment(),
            random=bytes,
        )
        statement = peek(SourceStatement, published.message)
        sealed = SEALING.open(published.sealed, seal_info("opening", statement.place))
        return Opening.decode(sealed).b_0

    one = np.zeros(N, dtype=np.int64)
    one[0] = 1
    other = key(Role.SOURCE, "other")
    drawn = [draw(), draw(cut="cut-2"), draw(tile=tiles()[1]), draw(q=one), draw(signer=other)]
    assert len(set(drawn)) == len(drawn)
    assert draw() == drawn[0]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"sealed": b""}, "source.ciphertext"),
        ({"sealed": PUBLISHED[1].sealed}, "source.ciphertext"),
        ({"message": sign(STATEMENTS[0], [key(Role.SOURCE, "stranger")])}, "signature.threshold"),
        ({"message": PUBLISHED[1].message}, "source.ciphertext"),
    ],
)
def test_a_changed_publication_counts_as_unsigned(change: dict[str, object], code: str) -> None:
    assert refusal(lambda: opened(replace(PUBLISHED[0], **change), 0)) == code  # type: ignore[arg-type]


def test_12_2_a_lot_added_after_the_source_signed() -> None:
    honest = opened(PUBLISHED[0], 0)
    q = honest.q.copy()
    q[4] += 1
    more = Opening(q, honest.b_0, honest.random)
    # The institution alone: the hash is not the signed one.
    code = refusal(lambda: check_opening(STATEMENTS[0], more.encode(), tiles()[0], commitment()))
    assert code == "source.opening-digest"
    # Together with the source, which signs the other hash: the commitment is not behind it.
    statement, sealed = lying(more)
    assert refusal(lambda: opened(resigned(statement, sealed), 0)) == "source.opening-commitment"


def test_12_2_q_known_and_b_0_not() -> None:
    honest = opened(PUBLISHED[0], 0)
    guess = Opening(honest.q, honest.b_0 ^ 1, honest.random)
    statement, sealed = lying(guess)
    assert refusal(lambda: opened(resigned(statement, sealed), 0)) == "source.opening-commitment"


def test_12_2_a_commitment_that_was_hashed_to_the_curve() -> None:
    foreign = CURVE.encode_g1(CURVE.hash_to_g1(b"nobody knows", b"TEST-ONLY"))
    statement, sealed = lying(opened(PUBLISHED[0], 0), C=foreign)
    assert refusal(lambda: opened(resigned(statement, sealed), 0)) == "source.opening-commitment"


@pytest.mark.parametrize(
    ("row", "lots", "code"),
    [(4, 10**6 + 1, "source.opening-lots"), (4, -(10**6) - 1, "source.opening-lots"), (4, 10**6, None)],
)
def test_quantities_stay_within_the_universe(row: int, lots: int, code: str | None) -> None:
    holdings = list(LOTS[SOURCE])
    holdings[row] = lots
    if code is None:
        assert publish(SOURCE, BOOK, lots=holdings)
        return
    with pytest.raises(RangeError) as e:
        publish(SOURCE, BOOK, lots=holdings)
    assert e.value.code == "tile.lots"
    assert str(lots) not in str(e.value)
    # A source that signs it nevertheless is found out by the institution.
    honest = opened(PUBLISHED[0], 0)
    q = honest.q.copy()
    q[row] = lots
    statement, sealed = lying(Opening(q, honest.b_0, honest.random))
    assert refusal(lambda: opened(resigned(statement, sealed), 0)) == code


def test_rows_beyond_the_universe_are_zero() -> None:
    beyond = np.zeros(N, dtype=np.int64)
    beyond[len(UNIVERSE) - N] = 1
    with pytest.raises(RangeError) as e:
        tiles()[1].check(beyond)
    assert e.value.code == "tile.beyond"
    with pytest.raises(RangeError):
        split([0] * (len(UNIVERSE) + 1), tiles())


@pytest.mark.parametrize(
    "first", [0.5, 1.0, float("nan"), 2**63, -(2**63) - 1, "1", None, True, [1]], ids=lambda x: repr(x)
)
def test_lots_are_whole_numbers(first: object) -> None:
    lots = [first] * 10 if isinstance(first, bool) else [first, *[0] * 9]
    with pytest.raises(RangeError):
        split(lots, tiles())  # type: ignore[arg-type]


def test_a_malformed_opening_that_the_source_signed_is_evidence() -> None:
    for message in (b"", opened(PUBLISHED[0], 0).encode() + b"\0"):
        statement = replace(STATEMENTS[0], opening_digest=hashlib.sha256(message).digest())
        code = refusal(lambda m=message, s=statement: check_opening(s, m, tiles()[0], commitment()))
        assert code == "source.opening-malformed"
        assert evidence.is_false_opening(
            sign(statement, [SOURCE_KEYS[SOURCE]]), message, tiles()[0], SOURCE_KEYS[SOURCE].public, commitment()
        )


def test_a_false_opening_convicts_the_source_and_an_honest_one_does_not() -> None:
    honest = opened(PUBLISHED[0], 0)
    public = SOURCE_KEYS[SOURCE].public

    def convicts(message: Envelope, opening: Opening) -> bool:
        return evidence.is_false_opening(message, opening.encode(), tiles()[0], public, commitment())

    false = Opening(honest.q, honest.b_0 ^ 1, honest.random)
    statement, sealed = lying(false)
    assert convicts(resigned(statement, sealed).message, false)
    assert not convicts(PUBLISHED[0].message, honest)
    # The institution cannot convict an honest source with an opening it made up.
    assert not convicts(PUBLISHED[0].message, false)
    with pytest.raises(ProofRejected):
        convicts(sign(statement, [key(Role.SOURCE, "stranger")]), false)


@pytest.mark.parametrize(
    ("row", "b_0", "random", "code"),
    [
        (0, 0, bytes(32), "opening.blinder"),
        (0, 1, bytes(31), "opening.blinder"),
        (2**62, 1, bytes(32), "opening.lots"),
        (-(2**62), 1, bytes(32), "opening.lots"),
        (-(2**63), 1, bytes(32), "opening.lots"),
    ],
)
def test_an_opening_hides_and_stays_in_range(row: int, b_0: int, random: bytes, code: str) -> None:
    q = np.zeros(N, dtype=np.int64)
    q[3] = row
    assert refusal(lambda: Opening(q, b_0, random)) == code
    for edge in (2**62 - 1, 1 - 2**62):
        q[3] = edge
        assert Opening.decode(Opening(q, 1, bytes(32)).encode()).q.tolist() == q.tolist()


@pytest.mark.parametrize("n", [0, 1, 4, 12, 4096])
def test_an_opening_has_as_many_rows_as_a_commitment(n: int) -> None:
    assert refusal(lambda: Opening(np.zeros(n, dtype=np.int64), 1, bytes(32))) == "opening.rows"
    assert refusal(lambda: Opening(np.zeros((8, 1), dtype=np.int64), 1, bytes(32))) == "opening.rows"


def test_a_statement_over_other_powers_is_not_opened() -> None:
    """A source that knows a tau could open its commitment to anything."""
    elsewhere = resigned(replace(STATEMENTS[0], srs=seed("a tau somebody knows")), PUBLISHED[0].sealed)
    assert refusal(lambda: opened(elsewhere, 0)) == "source.srs"


def test_the_tile_is_the_statements() -> None:
    with pytest.raises(InputError):
        opened(PUBLISHED[0], 1)


def test_an_opening_for_another_account_stays_closed() -> None:
    with pytest.raises(DecodeError):
        open_statement(
            PUBLISHED[0],
            tiles()[0],
            source_key=SOURCE_KEYS[SOURCE].public,
            sealing_key=SealingKey(seed("somebody")),
            commitment=commitment(),
        )


def conflict_of(**changes: object) -> Conflict | None:
    other = publish(SOURCE, BOOK, stream="other", **changes)[0]  # type: ignore[arg-type]
    return evidence.conflict(PUBLISHED[0].message, other.message, SOURCE_KEYS[SOURCE].public)


def test_two_messages_for_one_cut_are_evidence() -> None:
    assert conflict_of() is Conflict.TWO_MESSAGES
    assert conflict_of(lots=[0] * 10) is Conflict.TWO_MESSAGES
    # One moment under two names, and one name for two moments.
    assert conflict_of(cut_id="another name") is Conflict.TWO_MESSAGES
    assert conflict_of(cut_time=terms(SOURCE, BOOK).cut_time + 1) is Conflict.TWO_MESSAGES


def test_one_book_under_two_accounts_is_evidence() -> None:
    assert conflict_of(account="fund-2") is Conflict.TWO_ACCOUNTS
    assert conflict_of(account="fund-2", cut_id="x", cut_time=terms(SOURCE, BOOK).cut_time + 9) is Conflict.TWO_ACCOUNTS


def test_honest_messages_do_not_contradict_each_other() -> None:
    later = {"cut_id": "cut-2", "cut_time": terms(SOURCE, BOOK).cut_time + 3600, "sequence": 2}
    assert conflict_of(**later) is None
    public = SOURCE_KEYS[SOURCE].public
    assert evidence.conflict(PUBLISHED[0].message, PUBLISHED[1].message, public) is None
    assert evidence.conflict(PUBLISHED[0].message, PUBLISHED[0].message, public) is None
    countersigned = PUBLISHED[0].message.countersign(key(Role.SOURCE, "somebody"))
    assert evidence.conflict(PUBLISHED[0].message, countersigned, public) is None
    forged = sign(STATEMENTS[1], [key(Role.SOURCE, "somebody")])
    with pytest.raises(ProofRejected):
        evidence.conflict(PUBLISHED[0].message, forged, public)


def test_book_ids_hide_the_book_and_do_not_depend_on_the_account() -> None:
    assert book_id(seed("salt"), "client 7") == book_id(seed("salt"), "client 7")
    assert len({book_id(seed(s), b) for s in ("salt", "other") for b in ("client 7", "client 8")}) == 4
    with pytest.raises(InputError):
        book_id(b"short", "client 7")


DOCUMENT = json.loads(STATEMENTS[0].payload())


def compact(value: dict[str, object]) -> bytes:
    """RFC 8785 of these documents, and of numbers that RFC 8785 cannot write."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"account": ""}, {"account": "a\nb"}, {"account": " a"}, {"account": "x" * 65}, {"book": 7}, {"n": 12},
        {"n": 4}, {"n": 4096}, {"n": True}, {"n": 8.5}, {"tile": -1}, {"tile": 2**16}, {"sequence": 0},
        {"sequence": 2**53}, {"complete": 1}, {"complete": None}, {"hold_until": 5}, {"hold_until": "now"},
        {"expiry": 0}, {"cut_time": -1}, {"protocol": "MARGINSEAL/2"}, {"srs": "00"}, {"srs": "AA" * 32},
        {"universe": "g0" * 32}, {"commitment": "00" * 47}, {"commitment": None}, {"extra": 1},
    ],
)  # fmt: skip
def test_fields_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(DecodeError):
        SourceStatement.from_payload(compact({**DOCUMENT, **change}))


@pytest.mark.parametrize("missing", sorted(DOCUMENT))
def test_no_field_is_optional(missing: str) -> None:
    with pytest.raises(DecodeError):
        SourceStatement.from_payload(compact({k: v for k, v in DOCUMENT.items() if k != missing}))


def test_a_hold_may_be_absent() -> None:
    statement = replace(STATEMENTS[0], terms=replace(STATEMENTS[0].terms, hold_until=None))
    assert SourceStatement.from_payload(statement.payload()) == statement
    assert open_signed(
        SourceStatement, sign(statement, [SOURCE_KEYS[SOURCE]]), [SOURCE_KEYS[SOURCE].public]
    ).terms == terms(SOURCE, BOOK, hold_until=None)


def test_tiles_cover_the_universe_and_nothing_else() -> None:
    assert [len(t.max_lots) for t in tiles()] == [8, 2]
    assert [len(t.max_lots) for t in tiles(16)] == [10]
    assert tile_count(2048, 2048) == 1
    assert tile_count(2049, 2048) == 2
    for index in (-1, 2):
        with pytest.raises(InputError):
            Tile.of(UNIVERSE, N, index)
    for n in (0, 4, 12, 4096):
        with pytest.raises(InputError):
            tile_count(10, n)
