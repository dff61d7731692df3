"""12.7 on records: what a commitment, its hash and its openings tell about a holding, and what they would without
blinders."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from marginseal.records.envelope import peek
from marginseal.records.opening import Opening
from marginseal.records.source import SourceStatement
from tests.records.world import BOOKS, CURVE, SRS, N, commitment, publish, tiles

HELD = np.array([7, 0, 0, -3, 0, 0, 0, 0], dtype=np.int64)
GUESSES = [(a, b) for a in range(12) for b in range(-5, 5)]


def guess(a: int, b: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    q = np.zeros(N, dtype=np.int64)
    q[0], q[3] = a, b
    return q


def recovered(C: bytes) -> list[tuple[int, int]]:
    """All guesses whose commitment without a blinder is C."""
    return [(a, b) for a, b in GUESSES if commitment().commit_small(guess(a, b)) == C]


def test_12_7_without_a_blinder_a_holding_is_recovered_and_with_one_it_is_not() -> None:
    assert recovered(commitment().commit_small(HELD)) == [(7, -3)]
    assert recovered(Opening(HELD, 123456789, bytes(32)).commit(commitment())) == []


def test_12_7_two_tiles_that_share_b_0_would_show_their_difference() -> None:
    """Why every commitment draws its own: C - C' is then a commitment without a blinder."""
    empty = np.zeros(N, dtype=np.int64)
    first, second = (Opening(q, 987654321, bytes(32)).commit(commitment()) for q in (HELD, empty))
    difference = CURVE.add(CURVE.decode_g1(first), CURVE.neg(CURVE.decode_g1(second)))
    assert recovered(CURVE.encode_g1(difference)) == [(7, -3)]
    # What the library publishes for two tiles of one book.
    published = [peek(SourceStatement, p.message).C for p in publish(*BOOKS[0], lots=[7, 0, 0, -3, *[0] * 6])]
    points = [CURVE.decode_g1(C) for C in published]
    assert recovered(CURVE.encode_g1(CURVE.add(points[0], CURVE.neg(points[1])))) == []


def test_12_7_two_cuts_of_one_book_do_not_show_that_nothing_changed() -> None:
    one, two = (publish(*BOOKS[0], stream=stream)[0] for stream in ("one", "two"))
    a, b = (peek(SourceStatement, p.message) for p in (one, two))
    assert a.C != b.C
    assert a.opening_digest != b.opening_digest
    assert one.sealed != two.sealed


def test_12_7_the_hash_of_the_opening_does_not_allow_it_either() -> None:
    """It covers b_0 and 32 random bytes; without them the guesses could be tried one by one."""
    opening = Opening(HELD, 123456789, bytes(range(32)))
    rows = HELD.astype(">i8").tobytes()
    assert rows in opening.encode()
    tried = {hashlib.sha256(guess(a, b).astype(">i8").tobytes()).digest() for a, b in GUESSES}
    assert hashlib.sha256(rows).digest() in tried
    assert opening.digest not in tried
    other = Opening(HELD, 123456789, bytes(32))
    assert other.commit(commitment()) == opening.commit(commitment())
    assert other.digest != opening.digest


@pytest.mark.parametrize("lots", [[0] * 10, [10**6] * 10])
def test_what_is_published_has_one_size(lots: list[int]) -> None:
    sizes = {len(p.sealed) for p in publish(*BOOKS[0], lots=lots)}
    assert sizes == {8 * N + 94 + 1136}
    assert len(tiles()) == 2
    assert SRS.size == 4096
