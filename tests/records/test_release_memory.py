"""A venue's memory of releases: one nonce a release, also for many at once, and none after the memory was lost."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from marginseal.errors import DecodeError, PolicyError
from marginseal.records.release_memory import ReleaseMemory


def statement(number: int) -> bytes:
    return number.to_bytes(32, "big")


def test_a_statement_is_released_once(tmp_path: Path) -> None:
    memory = ReleaseMemory(tmp_path / "memory.json", "venue-a")
    first = memory.give("fund-1", statement(1), 3, now=100)
    assert memory.give("fund-1", statement(1), 3, now=900) == first
    assert (first.venue, first.row, first.nonce, first.issued) == ("venue-a", 3, 100, 100)
    assert memory.give("fund-1", statement(2), 3, now=100).nonce == 101
    assert memory.give("fund-2", statement(2), 3, now=50).nonce == 102
    with pytest.raises(PolicyError, match=r"release\.row"):
        memory.give("fund-1", statement(1), 4, now=100)
    assert len(ReleaseMemory(tmp_path / "memory.json", "venue-a").released()) == 3
    assert (tmp_path / "memory.json").stat().st_mode & 0o777 == 0o600


def test_a_memory_that_cannot_be_read_is_no_fresh_start(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    ReleaseMemory(path, "venue-a").give("fund-1", statement(1), 0, now=100)
    with pytest.raises(PolicyError, match=r"release\.memory"):
        ReleaseMemory(path, "venue-b").give("fund-1", statement(1), 1, now=100)
    path.write_bytes(b"")
    with pytest.raises(DecodeError):
        ReleaseMemory(path, "venue-a").give("fund-1", statement(2), 0, now=100)


def _give(path: Path, number: int) -> None:
    for i in range(10):
        ReleaseMemory(path, "venue-a").give("fund-1", statement(100 * number + i), 0, now=100)


def test_many_at_once_get_nonces_of_their_own(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=_give, args=(tmp_path / "memory.json", n)) for n in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    released = ReleaseMemory(tmp_path / "memory.json", "venue-a").released()
    assert sorted(r.nonce for r in released) == list(range(100, 140))
