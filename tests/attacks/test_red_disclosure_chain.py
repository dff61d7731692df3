"""A statement of disclosures alone must not stand in an account's chain: no circuit of it binds the pledges.

What was tried: attestation 1 pledges to two venues; "attestation 2" says linked, commits to no pledges at all, and
claims a disclosure only, whose circuit knows nothing of pledges; attestation 3 keeps attestation 2's empty schedule.
Every link satisfies the rules of continuity, and no venue released anything.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import prover.compose
from marginseal.cli.desk import Desk, DeskRecords
from marginseal.cli.prove import compose_desk
from marginseal.errors import PolicyError
from marginseal.records.attestation import RuleRef
from marginseal.records.continuity import check_continuity
from marginseal.records.keys import Role
from marginseal.records.statement import Claim, Continuity, Kind, Statement, Tier
from prover.attest import Attestor, Circuits
from prover.compose import ClaimRequest
from prover.prove import Secrets
from tests.cli.conftest import desk, finished_desk
from verifier.claims import compile_claim, compile_claims
from verifier.verify import Setting

__all__ = ["desk", "finished_desk"]


def _attestor(at: Desk) -> Attestor:
    key = at.signing_key("prover", Role.PROVER)
    return Attestor(key, Secrets(key.seed), Setting.default(), Circuits())


def test_no_prover_makes_one(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    at, honest = Desk(desk), prover.compose.compose
    (desk / "pledges.json").write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": {}}))

    def disclosing(*given: object, **named: object) -> object:
        epoch, books, schedule, _ = given
        claim = ClaimRequest(RuleRef("scenario_loss"), Tier.INITIAL, (2**40,))
        return honest(epoch, books, schedule, [claim], **named)  # type: ignore[arg-type]

    monkeypatch.setattr(prover.compose, "compose", disclosing)
    submission = compose_desk(at, ["worst_case"], "initial")
    statement, first = submission.statement, at.attestation(1).statement
    assert statement.continuity == Continuity.LINKED
    venues, digest = at.venues()
    # The rules of continuity have nothing against it: the linked equation is the circuit's to prove.
    check_continuity(statement, first, n=512, previous_n=512, registries={digest: venues}, releases={})
    with pytest.raises(PolicyError) as caught:
        _attestor(at).attest(submission, DeskRecords(at))
    assert caught.value.code == "claim.no-attestation"


def test_no_verifier_takes_one(desk: Path) -> None:
    at = Desk(desk)
    first, epoch = at.attestation(1), at.epoch()

    def only_disclosing(s: Statement) -> Statement:
        circuit = compile_claim(RuleRef("scenario_loss"), Tier.INITIAL, epoch, venues=3).circuit
        return replace(s, claims=(Claim(Kind.DISCLOSURE, circuit.digest, Tier.INITIAL, (2**40,)),))

    with pytest.raises(PolicyError) as caught:
        compile_claims(only_disclosing(first.statement), [RuleRef("scenario_loss")], epoch, venues=3)
    assert caught.value.code == "claim.no-attestation"
    compile_claims(first.statement, first.body.rules, epoch, venues=3)
