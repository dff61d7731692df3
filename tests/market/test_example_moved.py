"""The example market at another moment: the same books and prices, healthy and unhealthy as shipped."""

from __future__ import annotations

import re

import pytest

from marginseal.errors import MarginSealError
from marginseal.market.example import DAY, example_market
from marginseal.market.importer import expiry_name
from marginseal.market.snapshot import parse_snapshot, snapshot_json
from marginseal.market.universe import parse_universe, universe_json
from tests.market.test_example_market import surplus, together

SHIPPED = example_market()
NOON = 1_795_348_800  # 2026-11-22


def test_at_its_own_moment_it_is_the_shipped_one() -> None:
    moved = example_market(SHIPPED.snapshot.time)
    assert moved.universe == SHIPPED.universe
    assert moved.epoch.digest == SHIPPED.epoch.digest
    assert moved.crash_epoch.digest == SHIPPED.crash_epoch.digest


@pytest.mark.parametrize("hour", [0, 5, 11, 12, 17, 23])
def test_it_is_as_healthy_at_any_hour(hour: int) -> None:
    at = NOON + hour * 3600 + 17
    moved = example_market(at, crash_after_s=60)
    assert (moved.epoch.time, moved.crash_epoch.time) == (at, at + 60)
    for tier in ("initial", "maintenance"):
        assert surplus(moved.epoch, together(moved.books), tier) > 1.5e8
        assert surplus(moved.epoch, together(moved.unhealthy), tier) < -1.2e8
        assert surplus(moved.crash_epoch, together(moved.crash_books), tier) < -2.5e7


def test_names_and_expiries_move_together() -> None:
    moved = example_market(NOON)
    assert len(moved.universe) == len(SHIPPED.universe)
    for before, after in zip(SHIPPED.universe.instruments, moved.universe.instruments, strict=True):
        if before.expiry is None:
            assert before == after
            continue
        assert after.expiry is not None
        assert (after.expiry - before.expiry) % DAY == 0
        assert re.split("-", after.id)[1] == expiry_name(after.expiry)
        assert (after.lot, after.strike, after.kind) == (before.lot, before.strike, before.kind)
    for source, book in SHIPPED.books.items():
        assert (moved.books[source].lots == book.lots).all()


def test_it_is_what_its_files_say() -> None:
    moved = example_market(NOON + 1)
    universe = parse_universe(universe_json(moved.universe))
    assert universe == moved.universe
    assert parse_snapshot(snapshot_json(moved.snapshot), universe).digest == moved.snapshot.digest
    assert moved.epoch.digest == example_market(NOON + 1).epoch.digest


@pytest.mark.parametrize(("at", "gap"), [(0, None), (2**60, None), (NOON, -1), (NOON, 10**9)])
def test_moments_no_market_has_are_refused(at: int, gap: int | None) -> None:
    with pytest.raises(MarginSealError):
        example_market(at, crash_after_s=gap)
