"""A venue that watches an account: when the alarm is raised, whatever the log brings meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marginseal.cli import venue
from tests.simulator.world import policy
from verifier.decision.accepted import Accepted, AcceptedMemory
from verifier.decision.verdict import Verdict

Told = tuple[int, bool, int]  # sequence, whether it is accepted, expiry


def watched(
    monkeypatch: pytest.MonkeyPatch, told: dict[int, Told], until: int, memory: Path | None = None
) -> list[tuple[str, int]]:
    """(event, second) of a watch over the seconds 0 .. until - 1; `told`: what the log has from a second on."""
    now, newest = [-1], SimpleNamespace(sequence=0)

    def latest(account: str, *, after: int, wait_s: float) -> Any:
        newest.sequence = told[max(s for s in told if s <= now[0])][0]
        return newest if newest.sequence > after else None

    @contextmanager
    def visiting(*arguments: object, **options: object) -> Iterator[Any]:
        yield SimpleNamespace(latest=latest)

    def decided(*arguments: object, **options: object) -> Verdict:
        sequence, accepted, expires = next(t for t in told.values() if t[0] == newest.sequence)
        return Verdict(accepted, {"sequence": sequence, "expires": expires}, () if accepted else (("code", "why"),))

    def stop() -> bool:
        now[0] += 1
        return now[0] >= until

    monkeypatch.setattr(venue, "connected", visiting)
    monkeypatch.setattr(venue, "mirrored", visiting)
    monkeypatch.setattr(venue, "decide_account", decided)
    card: Any = None
    events = venue.watch_account(
        card, policy(), "fund-1", lambda: None, memory=memory, warn_s=10, stop=stop, clock=lambda: now[0], wait_s=0.0
    )
    return [(event["event"], event["time"]) for event in events]


def test_one_that_is_refused_puts_no_alarm_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """The account logs another that says it lasts for ever, and that the venue does not take."""
    told = {0: (1, True, 50), 20: (2, False, 10**9)}
    expected = [("accepted", 0), ("refused", 20), ("expiring", 40), ("margin-call", 50)]
    assert watched(monkeypatch, told, 60) == expected


def test_one_that_is_refused_ends_no_alarm(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {0: (1, True, 20), 30: (2, False, 35), 40: (3, True, 100)}
    expected = [("accepted", 0), ("expiring", 10), ("margin-call", 20), ("refused", 30), ("accepted", 40)]
    assert watched(monkeypatch, told, 50) == expected


def test_the_first_may_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, {0: (1, False, 20)}, 30) == [("refused", 0), ("expiring", 10), ("margin-call", 20)]


def test_a_watch_goes_on_with_what_was_accepted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Started anew when the newest is one that the venue refuses, however long that says it lasts."""
    AcceptedMemory(tmp_path / "seen.accepted").store("fund-1", Accepted(1, bytes(32), 20))
    told = {0: (2, False, 10**9)}
    expected = [("refused", 0), ("expiring", 10), ("margin-call", 20)]
    assert watched(monkeypatch, told, 30, tmp_path / "seen") == expected
