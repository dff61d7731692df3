"""The README's path, verb by verb, as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from circuits.rules.registry import RULES
from marginseal.algebra.curve import GENERATOR_G1
from marginseal.cli.desk import Desk
from marginseal.errors import ProofRejected
from marginseal.records.attestation import Attestation, make_attestation
from marginseal.records.keys import Role
from marginseal.records.statement import Kind
from tests.cli.conftest import Run


@pytest.mark.parametrize("rule", [name for name, r in RULES.items() if r.kind == Kind.ATTESTATION])
def test_every_rule_judges_the_shipped_market_as_it_comes(run: Run, finished_desk: Path, rule: str) -> None:
    """Whatever a rule needs of an epoch's parameters, the example has."""
    holdings = sorted((finished_desk / "holdings").glob("*.csv"))
    found = json.loads(run("margin", *holdings, "--rule", rule, "--json", cwd=finished_desk).out)
    assert found["requirement_ticks"] > 0
    assert found["holds"] == (rule != "isolated")


def test_from_an_empty_folder_to_an_opened_pledge(run: Run, tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    assert run("init", desk).status == 0
    assert run("epoch", "build", cwd=desk).status == 0
    assert json.loads(run("epoch", "verify", "--json").out)["rebuilt"] is True
    holdings = sorted(str(p) for p in (desk / "holdings").glob("*.csv"))
    margin = json.loads(run("margin", *holdings, "--json", "--plot", desk / "margin.svg").out)
    assert margin["holds"]
    assert margin["cross_ticks"] < margin["isolated_ticks"]
    assert (desk / "margin.svg").read_bytes().startswith(b"<?xml")
    for source in ("custodian", "venue-a", "venue-b"):
        assert run("commit", source).status == 0
    proven = json.loads(run("prove", "--rule", "worst_case_limits", "--json").out)
    assert proven["sequence"] == 1
    verified = json.loads(run("verify", "attestations/000001.json", "--json").out)
    assert verified["verified"]
    claim = {"rule": "worst_case_limits", "parameters": {}, "tier": "initial", "kind": "attestation", "inputs": []}
    assert verified["claims"] == [claim]
    assert run("open", "pledge", "venue-a").status == 0
    assert "600,000.00 USD" in run("open", "check", "opened/venue-a.json", "--venue", "venue-a").out
    assert run("open", "row", "custodian", "USD").status == 0
    assert run("open", "check", next((desk / "opened").glob("custodian.*.json"))).status == 0


def test_a_second_attestation_continues_the_first(run: Run, desk: Path) -> None:
    assert json.loads(run("prove", "--json", cwd=desk).out)["sequence"] == 2
    same = json.loads(run("verify", "attestations/000002.json", "--json").out)
    assert same["continuity"] == "same"
    pledges = {"format": "marginseal-pledges-1", "pledges": {"venue-a": "600000.00", "venue-b": "500000.00"}}
    (desk / "pledges.json").write_text(json.dumps(pledges))
    assert run("prove").status == 0
    linked = json.loads(run("verify", "attestations/000003.json", "--json").out)
    assert linked["continuity"] == "linked"


def test_a_pledge_does_not_fall_without_a_release(run: Run, desk: Path) -> None:
    pledges = {"format": "marginseal-pledges-1", "pledges": {"venue-a": "500000.00", "venue-b": "400000.00"}}
    (desk / "pledges.json").write_text(json.dumps(pledges))
    refused = run("prove", cwd=desk)
    assert refused.status == 6
    assert "continuity" in refused.err
    assert not (desk / "attestations" / "000002.json").exists()


def test_a_disclosure_rides_along(run: Run, desk: Path) -> None:
    body = run("prove", "--rule", "worst_case", "--rule", "scenario_loss", "--input", 2**40, "--json", cwd=desk)
    assert json.loads(body.out)["rules"] == ["worst_case", "scenario_loss"]
    assert run("verify", "attestations/000002.json").status == 0


def test_the_reference_library_agrees(run: Run, desk: Path) -> None:
    body = run("verify", "attestations/000001.json", "--backend", "reference", "--json", cwd=desk)
    assert json.loads(body.out)["backend"] == "reference"


def test_an_epoch_shows_one_lot_of_each_instrument(run: Run, desk: Path) -> None:
    epoch = Desk(desk).epoch()
    shown = json.loads(run("epoch", "show", "epoch.bin", "--instruments", "--json", cwd=desk).out)
    assert [lot["instrument"] for lot in shown["lots"]] == list(epoch.instrument_ids)
    for name, values in (
        ("value", epoch.value),
        ("worst", epoch.pnl.min(axis=0)),
        ("delta", epoch.delta),
        ("rounding_error_milliticks", epoch.rounding_error),
    ):
        assert [lot[name] for lot in shown["lots"]] == values.tolist()
    assert "One lot of each" in run("epoch", "show", "epoch.bin", "--instruments").out
    assert "lots" not in json.loads(run("epoch", "show", "epoch.bin", "--json").out)


def test_of_several_the_bad_ones_are_named(run: Run, desk: Path) -> None:
    """Verified in one batch: one whose opening is another point, signed by its prover all the same, and a lost one."""
    first, second, forged = (desk / "attestations" / name for name in ("000001.json", "000002.json", "forged.json"))
    assert run("prove", cwd=desk).status == 0
    good = Attestation.decode(first.read_bytes())
    proof = good.proofs[0][:-48] + GENERATOR_G1
    prover = Desk(desk).signing_key("prover", Role.PROVER)
    bad = make_attestation(good.statement, good.body.owner, good.body.rules, [proof], prover)
    forged.write_bytes(bad.data)
    ran = run("verify", first, forged, second, "lost.json", "--json")
    found = json.loads(ran.out)["attestations"]
    assert ran.status == ProofRejected.exit_status
    assert [one.get("code") for one in found] == [None, "verify.pairing", None, "file.missing"]
    assert [one["verified"] for one in found] == [True, False, True, False]
    assert run("verify", first, forged).out.startswith("1 of 2 verified")
    assert run("verify", first, second).status == 0


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['marginseal', '--help']\n"
        "from marginseal.cli.main import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "print(sorted({'numpy', 'numba', 'matplotlib', 'flask'} & set(sys.modules)), file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.stderr.strip() == "[]", ran.stderr


def test_the_local_demo_plays_and_refuses_every_tampering(run: Run) -> None:
    told = run("demo", "--local")
    assert told.status == 0, told.err
    assert "17 tried, 17 refused" in told.out
