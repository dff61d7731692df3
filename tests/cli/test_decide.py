"""From a desk to a venue's verdict and an auditor's replay, without any service."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from marginseal.cli.desk import Desk
from marginseal.cli.log import append_desk, open_log
from marginseal.log.entry import Entry
from marginseal.market.example import example_market
from tests.cli.conftest import Run

NOW = example_market().snapshot.time + 60


@pytest.fixture(scope="session")
def logged_desk(finished_desk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = Path(shutil.copytree(finished_desk, tmp_path_factory.mktemp("logged") / "desk"))
    append_desk(Desk(copy), NOW)
    return copy


@pytest.fixture
def logged(logged_desk: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(logged_desk, tmp_path / "desk"))


def test_a_desk_logs_and_a_venue_accepts(run: Run, desk: Path) -> None:
    at = ("--at", NOW)
    assert "logged 1 attestations" in run("log", "append", *at, cwd=desk).out
    assert json.loads(run("log", "append", *at, "--json", cwd=desk).out)["appended"] == 0
    assert "attestation  fund-1 1" in run("log", "show", cwd=desk).out
    assert run("log", "policy", "venue-a", cwd=desk).status == 0
    assert run("open", "pledge", "venue-a", cwd=desk).status == 0
    told = run("decide", "venue-a", *at, "--json", cwd=desk)
    assert told.status == 0, told.out
    verdict = json.loads(told.out)
    assert verdict["accepted"]
    assert verdict["facts"]["pledge_ticks"] == 60_000_000
    assert (desk / "log" / "seen.venue-a").exists()
    assert "pledged: 600,000.00 USD" in run("decide", "venue-a", *at, cwd=desk).out


def test_a_refusal_gives_every_reason_and_status_8(run: Run, logged: Path) -> None:
    run("log", "policy", "venue-a", cwd=logged)
    path = logged / "policies" / "venue-a.json"
    policy = json.loads(path.read_text())
    path.write_text(json.dumps(policy | {"minimum_pledge_ticks": "1", "rules": []}))
    told = run("decide", "venue-a", "--at", NOW + 90_000, "--json", cwd=logged)
    assert told.status == 8
    codes = {reason["code"] for reason in json.loads(told.out)["reasons"]}
    assert {"decide.rule", "decide.expired", "decide.epoch-age", "decide.pledge"} <= codes
    words = run("decide", "venue-a", "--at", NOW + 90_000, cwd=logged)
    assert "the attestation has expired: a margin call [decide.expired]" in words.out
    assert run("decide", "venue-b", "--policy", path, "--at", NOW, cwd=logged).status == 8


def test_a_log_put_back_is_noticed_by_the_venue(run: Run, logged: Path) -> None:
    at = ("--at", NOW)
    run("log", "policy", "venue-a", cwd=logged)
    earlier = shutil.copytree(logged, logged.parent / "earlier")
    log = open_log(Desk(logged))
    log.append(Entry("note", b"anything"), now=NOW)
    assert run("decide", "venue-a", *at, cwd=logged).status == 0
    # The store is put back as it was, and what the log remembers with it; the venue remembers what it saw.
    shutil.copy(logged / "log" / "seen.venue-a", earlier / "log" / "seen.venue-a")
    told = run("decide", "venue-a", *at, "--json", cwd=earlier)
    assert told.status == 8
    assert [r["code"] for r in json.loads(told.out)["reasons"]] == ["log.rollback"]
    # Where the store alone was put back, the log itself refuses.
    shutil.copy(logged / "log" / "released", earlier / "log" / "released")
    assert run("decide", "venue-a", *at, cwd=earlier).status == 9


def test_replay_of_an_exported_bundle(run: Run, logged: Path, tmp_path: Path) -> None:
    run("log", "policy", "venue-a", cwd=logged)
    assert run("log", "export", tmp_path / "bundle", cwd=logged).status == 0
    policy = logged / "policies" / "venue-a.json"
    log = open_log(Desk(logged))
    log.append(Entry("note", b"after the export"), now=NOW + 60)
    kept = log.checkpoint(now=NOW + 60)
    shutil.rmtree(logged / "log")
    page, report = tmp_path / "report.html", tmp_path / "report.json"
    told = run(
        "replay", tmp_path / "bundle", "--policy", policy, "--workers", 1, "--page", page, "--report", report
    )  # fmt: skip
    assert told.status == 0, told.out + told.err
    assert "1 attestations of 1 accounts, 1 proofs, 1 of 1 epochs rebuilt" in told.out
    assert json.loads(report.read_text())["sound"] is True
    assert "Nothing is wrong with this log." in page.read_text()
    # What the auditor saw elsewhere counts, also where nothing is fetched.
    later = tmp_path / "later"
    later.write_bytes(kept)
    missed = run("replay", tmp_path / "bundle", "--policy", policy, "--workers", 1, "--json", "--seen", later)
    assert missed.status == 7
    assert {f["code"] for f in json.loads(missed.out)["findings"]} == {"log.truncated"}
    # One byte of the proof: the entry is named, and the tree no longer leads to the signed root.
    data = bytearray((tmp_path / "bundle" / "entries.bin").read_bytes())
    data[-2000] ^= 1
    (tmp_path / "bundle" / "entries.bin").write_bytes(bytes(data))
    wrong = run("replay", tmp_path / "bundle", "--policy", policy, "--workers", 1, "--json")
    assert wrong.status == 7
    codes = {finding["code"] for finding in json.loads(wrong.out)["findings"]}
    assert codes & {"bundle.root", "log.fork"}


def test_what_is_missing_is_said(run: Run, desk: Path) -> None:
    assert run("decide", "venue-a", cwd=desk).status == 3
    run("log", "policy", "venue-a", cwd=desk)
    assert "[log.none]" in run("decide", "venue-a", cwd=desk).err
    assert run("log", "export", desk / "b", cwd=desk).status == 3
    assert run("replay", desk, "--policy", desk / "policies" / "venue-a.json", cwd=desk).status == 3
