"""A report made of a market snapshot, and the note of it that a log holds."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from marginseal.errors import DecodeError, MarginSealError
from marginseal.market.example import example_market
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keys import Role, SigningKey
from marginseal.records.oracle import OraclePolicy, OracleReport, make_snapshot
from marginseal.records.report import report_of
from marginseal.records.report_note import ReportNote
from tests.records.world import seed

KEYS = {name: SigningKey(Role.ORACLE, seed(f"reporter {name}")) for name in ("a", "b")}
MARKET = example_market()
REPORTS = {name: report_of(MARKET.snapshot, name, f"market {name}") for name in KEYS}
SIGNED = {name: sign(report, [KEYS[name]]) for name, report in REPORTS.items()}


def test_two_who_read_the_same_make_that_snapshot_again() -> None:
    policy = OraclePolicy({n: k.public for n, k in KEYS.items()}, 2, 2, MARKET.snapshot.max_age_s, 1, 1000)
    made = make_snapshot(list(SIGNED.values()), policy, MARKET.universe, name="again", time=MARKET.snapshot.time)
    for i, quote in MARKET.snapshot.quotes.items():
        instrument = MARKET.universe.instruments[MARKET.universe.row(i)]
        if instrument.kind != "staked":  # marked at the lower of market and redemption
            assert made.quotes[i].mark == quote.mark
        assert made.quotes[i].iv == (quote.iv if instrument.kind == "option" else None)
    assert {s: i.price for s, i in made.index.items()} == {s: i.price for s, i in MARKET.snapshot.index.items()}
    assert OracleReport.from_payload(SIGNED["a"].payload) == REPORTS["a"]


def test_a_note_says_what_the_report_says() -> None:
    note = ReportNote.of(REPORTS["a"], SIGNED["a"])
    assert ReportNote.from_payload(note.payload()) == note
    assert note.check(SIGNED["a"]) == REPORTS["a"]
    assert len(note.payload()) < 400
    for other in (
        replace(note, oracle="b"),
        replace(note, time=note.time + 1),
        replace(note, venue="another"),
        replace(note, universe=bytes(32)),
        replace(note, report=bytes(32)),
    ):
        with pytest.raises(MarginSealError) as e:
            other.check(SIGNED["a"])
        assert e.value.code == "report.note"
    with pytest.raises(MarginSealError):
        note.check(SIGNED["b"])
    with pytest.raises(DecodeError):
        note.check(Envelope("text/plain", SIGNED["a"].payload, SIGNED["a"].signatures))


@pytest.mark.parametrize("change", [{"time": -1}, {"oracle": ""}, {"report": "00"}, {"universe": None}, {"more": 1}])
def test_what_is_no_note(change: dict[str, object]) -> None:
    body = json.loads(ReportNote.of(REPORTS["a"], SIGNED["a"]).payload()) | change
    with pytest.raises(DecodeError):
        ReportNote.from_payload(json.dumps(body, separators=(",", ":"), sort_keys=True).encode())
