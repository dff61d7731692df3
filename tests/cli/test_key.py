"""Replacing and revoking keys by the command: what a record needs, what a log takes, what a venue then says."""

from __future__ import annotations

import json
from pathlib import Path

from marginseal.records.envelope import Envelope, peek
from marginseal.records.keychange import KeyChange, KeyRevocation
from tests.cli.conftest import Run
from tests.cli.test_decide import NOW, logged, logged_desk  # noqa: F401

FUTURE = 2_000_000_000


def test_a_key_gives_way_to_a_new_one(run: Run, desk: Path) -> None:
    old, new, out = desk / "keys" / "source-custodian.json", desk / "keys" / "custodian-2.json", desk / "change.json"
    told = run("key", "change", old, new, "--holder", "custodian", "--at", FUTURE, "--out", out, "--json")
    assert told.status == 0, told.err
    record = peek(KeyChange, Envelope.decode(out.read_bytes()))
    assert (record.holder, record.effective) == ("custodian", FUTURE)
    assert json.loads(told.out)["new"] == record.new.raw.hex() == json.loads(new.read_text())["public"]
    assert new.stat().st_mode & 0o777 == 0o600
    # A successor that is there already is the one that is named.
    again = run("key", "change", old, new, "--holder", "custodian", "--at", FUTURE, "--out", out, "--json")
    assert json.loads(again.out)["new"] == record.new.raw.hex()


def test_a_lost_key_needs_an_operator(run: Run, desk: Path) -> None:
    lost = json.loads((desk / "keys" / "source-custodian.json").read_text())["public"]
    new, out = desk / "keys" / "custodian-2.json", desk / "change.json"
    options = ("--holder", "custodian", "--out", out)
    assert "[key.role]" in run("key", "change", lost, new, *options).err
    assert "[key.signer]" in run("key", "change", lost, new, *options, "--role", "source").err
    operator = ("--role", "source", "--operator", desk / "keys" / "operator.json")
    assert run("key", "change", lost, new, *options, *operator).status == 0
    assert run("key", "revoke", lost, *options, *operator).status == 0
    assert peek(KeyRevocation, Envelope.decode(out.read_bytes())).key.raw.hex() == lost


def test_a_change_that_is_refused_leaves_no_key(run: Run, desk: Path) -> None:
    old, new = desk / "keys" / "source-custodian.json", desk / "keys" / "new.json"
    lost = json.loads(old.read_text())["public"]
    for wrong in (
        (lost, new, "--holder", "custodian", "--role", "source"),  # nobody signs
        (old, new, "--holder", ""),
        (old, new, "--holder", "custodian", "--operator", desk / "keys" / "nobody.json"),
    ):
        assert run("key", "change", *wrong, "--out", desk / "change.json").status in (3, 4)
        assert not new.exists()
        assert not (desk / "change.json").exists()
    missing = run("key", "change", desk / "keys" / "typo.json", new, "--holder", "custodian")
    assert "[file.missing]" in missing.err


def test_only_an_operator_dates_a_revocation_back(run: Run, desk: Path) -> None:
    key, out = desk / "keys" / "source-custodian.json", desk / "gone.json"
    dated = ("key", "revoke", key, "--holder", "custodian", "--at", 5, "--out", out)
    assert "[key.backdated]" in run(*dated).err
    assert not out.exists()
    assert run(*dated, "--operator", desk / "keys" / "operator.json").status == 0
    assert "[key.publish]" in run("key", "publish", out).err  # into which log?


def test_a_venue_goes_by_what_was_published(run: Run, logged: Path) -> None:  # noqa: F811
    """The prover's key, revoked by the operator as of before the attestation."""
    run("log", "policy", "venue-a", cwd=logged)
    record, keys = logged / "gone.json", logged / "keys"
    revoke = ("key", "revoke", keys / "prover.json", "--holder", "prover", "--out", record, "--at", NOW - 100)
    assert run(*revoke, "--operator", keys / "operator.json").status == 0
    assert run("key", "publish", record, "--desk", logged).status == 0
    told = run("decide", "venue-a", "--json", cwd=logged)
    assert "keys.not-in-force" in {reason["code"] for reason in json.loads(told.out)["reasons"]}


def test_a_log_takes_no_record_that_is_worth_nothing(run: Run, logged: Path) -> None:  # noqa: F811
    """A key that was revoked names no successor; nor does a change take effect before it is logged."""
    keys, record = logged / "keys", logged / "record.json"
    prover, heir = keys / "prover.json", keys / "heir.json"
    options = ("--holder", "prover", "--out", record)
    run("key", "change", prover, heir, *options, "--at", NOW)
    assert "[keys.backdated]" in run("key", "publish", record, "--desk", logged).err
    run("key", "revoke", prover, *options)
    assert run("key", "publish", record, "--desk", logged).status == 0
    run("key", "change", prover, heir, *options, "--at", FUTURE)
    assert "[signature.threshold]" in run("key", "publish", record, "--desk", logged).err
    run("key", "change", prover, heir, *options, "--at", FUTURE, "--operator", keys / "operator.json")
    assert run("key", "publish", record, "--desk", logged).status == 0
