"""Openings at the command line: on whose rows, of which universe, and by whom the statement was signed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from marginseal.algebra import kzg
from marginseal.algebra.commit import commitment_key
from marginseal.cli.desk import Desk
from marginseal.files import write_atomic
from marginseal.records.attestation import make_attestation, sign_statement
from marginseal.records.envelope import sign
from marginseal.records.keys import Role, SigningKey
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeOpening
from tests.cli.conftest import Run, desk, finished_desk, run
from tests.cli.test_refusals import code

__all__ = ["desk", "finished_desk", "run"]

VENUE_B, VENUE_C = 1, 2
PLEDGED_TO_C = 777_700


def restated(at: Desk, **changes: object) -> PledgeOpening:
    """Another statement in the attestation, signed by owner and prover; venue-b is shown what venue-c was pledged.

    The schedule is made at twice the desk's rows: w_1024^2 = w_512^1, so venue-c's row there is venue-b's here."""
    honest = at.attestation(1)
    key = commitment_key(1024)
    g = np.zeros(1024, dtype=np.int64)
    g[VENUE_C] = PLEDGED_TO_C
    schedule = Opening(g, 12345, bytes(32))
    statement = replace(honest.statement, pledge=schedule.commit(key), **changes)  # type: ignore[arg-type]
    owner = sign_statement(statement, at.signing_key("account", Role.ACCOUNT))
    prover = at.signing_key("prover", Role.PROVER)
    attestation = make_attestation(statement, owner, honest.body.rules, honest.proofs, prover)
    write_atomic(at.attestation_file(1), attestation.data)
    witness = kzg.open_row(key, g, [12345], VENUE_C)
    return PledgeOpening(statement.account, "venue-b", statement.digest, PLEDGED_TO_C, witness)


def test_a_schedule_of_another_number_of_rows(run: Run, desk: Path) -> None:
    at = Desk(desk)
    shown = restated(at, epoch=bytes(range(32)))
    write_atomic(desk / "shown.json", shown.encode())
    ran = run("open", "check", "shown.json", "--venue", "venue-b", cwd=desk)
    assert (ran.status, code(ran.err)) == (8, "claim.epoch")
    assert "777" not in ran.out


def test_an_amount_read_in_another_currency(run: Run, desk: Path) -> None:
    at = Desk(desk)
    shown = restated(at, currency="XXX")
    write_atomic(desk / "shown.json", shown.encode())
    ran = run("open", "check", "shown.json", "--venue", "venue-b", cwd=desk)
    assert (ran.status, code(ran.err)) == (8, "claim.unit")


def test_a_pledge_in_an_attestation_of_a_stranger(run: Run, desk: Path) -> None:
    at = Desk(desk)
    assert run("open", "pledge", "venue-a", cwd=desk).status == 0
    forged = sign(at.attestation(1).body, [SigningKey(Role.PROVER, bytes(range(32)))])
    write_atomic(at.attestation_file(1), forged.encode())
    ran = run("open", "check", "opened/venue-a.json", "--venue", "venue-a")
    assert (ran.status, code(ran.err)) == (7, "signature.threshold")


def test_a_row_of_another_universe(run: Run, desk: Path) -> None:
    """Rows of the statement under the names of other instruments."""
    assert run("open", "row", "custodian", "USD", cwd=desk).status == 0
    (opened,) = (desk / "opened").glob("custodian.*.json")
    universe = json.loads((desk / "universe.json").read_text())
    universe["name"] = "another"
    (desk / "universe.json").write_text(json.dumps(universe))
    ran = run("open", "check", opened)
    assert (ran.status, code(ran.err)) == (8, "open.universe")
