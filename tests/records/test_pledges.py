"""Pledge schedules and their openings; attacks 12.6."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from marginseal.algebra import kzg
from marginseal.errors import DecodeError, MarginSealError
from marginseal.records import document
from marginseal.records.envelope import peek, sign
from marginseal.records.keys import Role
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeOpening, PledgeSchedule, draw_schedule, open_pledge, verify_pledge
from marginseal.records.registry import RegisteredVenue, VenueRegistry
from marginseal.records.row_opening import RowOpening, open_row, verify_row
from marginseal.records.source import SourceStatement, open_statement
from marginseal.records.statement import Statement
from tests.records.world import (
    CURVE,
    OPERATOR,
    OWNER,
    PLEDGES,
    SEALING,
    SOURCE_KEYS,
    SRS,
    UNIVERSE,
    VENUE_ENVELOPE,
    VENUE_REGISTRY,
    N,
    commitment,
    honest,
    key,
    schedule,
    seed,
    tiles,
)

WORLD = honest()
OPENING = open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, "venue-a", commitment())


def verify(
    opening: PledgeOpening = OPENING,
    statement: Statement = WORLD.statement,
    registry: VenueRegistry = VENUE_REGISTRY,
    digest: bytes = VENUE_ENVELOPE.digest,
    venue: str = "venue-a",
    n: int = N,
) -> int:
    return verify_pledge(opening, statement, registry, digest, venue, n, srs=SRS, curve=CURVE)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


@pytest.mark.parametrize("venue", ["venue-a", "venue-b", "venue-c"])
def test_each_venue_reads_its_own_amount(venue: str) -> None:
    opening = open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, venue, commitment())
    assert PledgeOpening.decode(opening.encode()) == opening
    assert verify(opening, venue=venue) == PLEDGES.get(venue, 0)


def test_12_6_a_value_off_by_one() -> None:
    for amount in (19, 21, 0, 2**62 - 1):
        assert refusal(lambda a=amount: verify(replace(OPENING, amount=a))) == "pledge.opening"


def test_12_6_a_row_beyond_the_registry() -> None:
    assert refusal(lambda: verify(venue="venue-d")) == "pledge.venue"
    unlisted = replace(OPENING, venue="venue-d")
    assert refusal(lambda: verify(unlisted, venue="venue-d")) == "registry.unknown-venue"

    def open_unlisted() -> PledgeOpening:
        return open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, "venue-d", commitment())

    assert refusal(open_unlisted) == "registry.unknown-venue"
    # A registry with more venues than the circuit has rows: neither side opens or reads the surplus.
    venues = tuple(RegisteredVenue(f"v{i}", key(Role.VENUE, f"v{i}").public) for i in range(N + 1))
    large = VenueRegistry("risk", 1, 0, venues)
    digest = sign(large, [OPERATOR]).digest
    statement = replace(WORLD.statement, venue_registry=digest)
    assert refusal(lambda: open_pledge(WORLD.pledges, statement, large, "v8", commitment())) == "pledge.rows"
    beyond = replace(OPENING, venue="v8", statement=statement.digest)
    assert refusal(lambda: verify(beyond, statement, large, digest, "v8")) == "registry.unknown-row"
    assert refusal(lambda: schedule_for(large)) == "pledge.rows"


def schedule_for(registry: VenueRegistry) -> PledgeSchedule:
    return draw_schedule({}, registry, N, account="fund-1", sequence=1, secret=OWNER.seed)


def test_12_6_another_accounts_pledge() -> None:
    """The other account's opening is right for its own commitment, and for no other statement."""
    rich = schedule({"venue-a": 10**9})
    theirs = replace(WORLD.statement, account="fund-2", pledge=rich.commit(commitment()))
    opening = open_pledge(rich, theirs, VENUE_REGISTRY, "venue-a", commitment())
    assert verify(opening, theirs) == 10**9
    assert refusal(lambda: verify(opening)) == "pledge.statement"
    renamed = replace(opening, account="fund-1", statement=WORLD.statement.digest)
    assert refusal(lambda: verify(renamed)) == "pledge.opening"


def test_12_6_two_venues_told_they_are_the_same_row() -> None:
    """The opening of venue-a's row, shown to venue-b: it reads its own row in the registry."""
    assert refusal(lambda: verify(venue="venue-b")) == "pledge.venue"
    assert refusal(lambda: verify(replace(OPENING, venue="venue-b"), venue="venue-b")) == "pledge.opening"
    # A registry in which venue-b comes first is not the one the statement names.
    swapped = VenueRegistry("risk", 1, 0, (VENUE_REGISTRY.venues[1], VENUE_REGISTRY.venues[0]))
    digest = sign(swapped, [OPERATOR]).digest
    shown = replace(OPENING, venue="venue-b")
    assert refusal(lambda: verify(shown, registry=swapped, digest=digest, venue="venue-b")) == "pledge.registry"


def test_an_opening_of_another_statement_or_number_of_rows() -> None:
    later = replace(WORLD.statement, expiry=WORLD.statement.expiry + 1)
    assert refusal(lambda: verify(statement=later)) == "pledge.statement"
    venue_b = open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, "venue-b", commitment())
    assert refusal(lambda: verify(venue_b, venue="venue-b", n=16)) == "pledge.opening"


def test_12_2_a_pledge_changed_after_the_owner_signed() -> None:
    other = schedule({"venue-a": 21, "venue-b": 10})
    code = refusal(lambda: open_pledge(other, WORLD.statement, VENUE_REGISTRY, "venue-a", commitment()))
    assert code == "pledge.schedule"


def test_12_4_the_identity_is_no_witness() -> None:
    assert refusal(lambda: verify(replace(OPENING, witness=bytes([0xC0]) + bytes(47)))) == "point.infinity"
    identity = replace(WORLD.statement, pledge=bytes([0xC0]) + bytes(47))
    assert refusal(lambda: verify(replace(OPENING, statement=identity.digest), identity)) == "point.infinity"


@pytest.mark.parametrize("amount", [-1, 2**62])
def test_amounts_are_bounded(amount: int) -> None:
    assert refusal(lambda: schedule({"venue-a": amount})) == "pledge.amount"
    assert refusal(lambda: replace(OPENING, amount=amount)) == "pledge.fields"


def test_a_schedule_has_no_negative_amounts_and_shows_none() -> None:
    q = np.zeros(N, dtype=np.int64)
    q[0] = -1
    with pytest.raises(DecodeError) as e:
        PledgeSchedule.decode(Opening(q, 5, bytes(32)).encode())
    assert e.value.code == "pledge.negative"
    assert repr(WORLD.pledges) == "PledgeSchedule()"
    assert "20" not in repr(OPENING).replace(OPENING.statement.hex(), "").split("statement=")[0]
    assert "amount" not in repr(OPENING)
    assert "witness" not in repr(OPENING)


def test_an_unknown_venue_is_not_pledged_to() -> None:
    assert refusal(lambda: schedule({"venue-x": 1})) == "registry.unknown-venue"


def test_every_schedule_has_a_blinder_of_its_own() -> None:
    blinders = {schedule(a, s).opening.b_0 for a in (PLEDGES, {}) for s in (1, 2)}
    assert len(blinders) == 4


@pytest.mark.parametrize(
    "change",
    [{"amount": 20}, {"amount": "020"}, {"amount": "-1"}, {"amount": str(2**62)}, {"statement": ""}, {"row": 0}],
)
def test_what_is_no_opening_is_refused(change: dict[str, object]) -> None:
    base = json.loads(OPENING.encode())
    with pytest.raises(DecodeError):
        PledgeOpening.decode(document.canonical({**base, **change}))


# Rows of a source's book, for an auditor.

MESSAGE = WORLD.published[1].message  # the custodian's second tile: rows 8 and 9
BOOK, BOOK_OPENING = open_statement(
    WORLD.published[0], tiles()[0], source_key=SOURCE_KEYS["custodian"].public, sealing_key=SEALING,
    commitment=commitment(),
)  # fmt: skip
BOOK_DIGEST = WORLD.published[0].message.digest


def shown_row(row: int) -> RowOpening:
    return open_row(BOOK_OPENING, BOOK, BOOK_DIGEST, row, len(UNIVERSE), commitment())


def read_row(shown: RowOpening, digest: bytes = BOOK_DIGEST) -> int:
    return verify_row(shown, BOOK, digest, len(UNIVERSE), srs=SRS, curve=CURVE)


@pytest.mark.parametrize("row", [0, 3, 7])
def test_an_auditor_reads_a_row(row: int) -> None:
    shown = shown_row(row)
    assert RowOpening.decode(shown.encode()) == shown
    assert read_row(shown) == int(BOOK_OPENING.q[row])
    assert refusal(lambda: read_row(replace(shown, lots=shown.lots + 1))) == "row-opening.opening"
    assert refusal(lambda: read_row(replace(shown, row=(row + 1) % 8))) == "row-opening.opening"
    assert refusal(lambda: read_row(shown, seed("another message"))) == "row-opening.message"
    assert "lots" not in repr(shown)


def test_12_6_a_row_beyond_the_universe_or_of_another_tile() -> None:
    for row in (-1, 8, 10, 2**40):
        assert refusal(lambda r=row: shown_row(r)) == "row-opening.row"
        assert refusal(lambda r=row: read_row(replace(shown_row(0), row=r))) == "row-opening.row"
    second = peek(SourceStatement, MESSAGE)
    beyond = RowOpening(MESSAGE.digest, 10, 0, OPENING.witness)
    call = lambda: verify_row(beyond, second, MESSAGE.digest, len(UNIVERSE), srs=SRS, curve=CURVE)  # noqa: E731
    assert refusal(call) == "row-opening.row"
    other = Opening(BOOK_OPENING.q, BOOK_OPENING.b_0 + 1, bytes(32))
    call_2 = lambda: open_row(other, BOOK, BOOK_DIGEST, 0, len(UNIVERSE), commitment())  # noqa: E731
    assert refusal(call_2) == "row-opening.opening"


def test_openings_join_one_batch() -> None:
    from marginseal.records.pledges import pledge_equation

    venues = ("venue-a", "venue-b", "venue-c")
    opened = [open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, v, commitment()) for v in venues]
    equations = [
        pledge_equation(o, WORLD.statement, VENUE_REGISTRY, VENUE_ENVELOPE.digest, v, N, CURVE)
        for o, v in zip(opened, venues, strict=True)
    ]
    assert kzg.holds(zip((3, 5, 2**100), equations, strict=True), SRS, CURVE)
