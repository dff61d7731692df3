"""What `marginseal verify` says, and files of a desk that must be refused by name and never crash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marginseal.cli.desk import Desk, DeskRecords, read_pledges
from marginseal.cli.prove import compose_desk
from marginseal.cli.verify import facts
from marginseal.errors import DecodeError, InputError
from marginseal.files import parse_json, write_atomic
from marginseal.records.attestation import RuleRef
from marginseal.records.keys import Role
from marginseal.records.statement import Tier
from prover.attest import Attestor, Circuits
from prover.compose import ClaimRequest
from prover.prove import Secrets
from tests.cli.conftest import Run, desk, finished_desk, run
from verifier.verify import Setting

__all__ = ["desk", "finished_desk", "run"]

WEAK = RuleRef("value_at_risk", b'{"level_permille":500}')


@pytest.fixture
def weak_file(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A valid attestation under a rule whose level the prover chose: half of all scenarios may lie beyond it."""
    import prover.compose

    at = Desk(desk)
    honest = prover.compose.compose

    def with_weak_rule(*given: object, **named: object) -> object:
        epoch, books, schedule, _ = given
        return honest(epoch, books, schedule, [ClaimRequest(WEAK, Tier.INITIAL)], **named)  # type: ignore[arg-type]

    monkeypatch.setattr(prover.compose, "compose", with_weak_rule)
    submission = compose_desk(at, ["value_at_risk"], "initial")
    key = at.signing_key("prover", Role.PROVER)
    attestor = Attestor(key, Secrets(key.seed), Setting.default(), Circuits())
    file = desk / "weak.json"
    write_atomic(file, attestor.attest(submission, DeskRecords(at)).data)
    return file


def test_verify_names_the_parameters_a_prover_chose(run: Run, desk: Path, weak_file: Path) -> None:
    assert facts(Desk(desk), weak_file)["claims"][0]["parameters"] == {"level_permille": 500}
    assert "level_permille" in run("verify", weak_file, cwd=desk).out
    own = facts(Desk(desk), desk / "attestations" / "000001.json")
    assert own["claims"][0]["parameters"] == {}


def test_verify_says_that_continuity_and_epoch_were_not_judged(desk: Path) -> None:
    said = " ".join(facts(Desk(desk), desk / "attestations" / "000001.json")["not_checked"])
    assert "predecessor" in said
    assert "operator" in said
    assert "parameters" in said


@pytest.mark.parametrize(
    "amount",
    [
        "1E+999999",
        "-1E+999999",
        "1E-999999",
        "sNaN",
        "Infinity",
        "",
        "1e",
        "0.001",
        "36028797018963968",
        "600000.0000000000000000000000000000001",  # more digits than Decimal keeps unless told
    ],
)
def test_an_amount_no_pledge_can_have(desk: Path, amount: str) -> None:
    at = Desk(desk)
    path = desk / "pledges.json"
    path.write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": {"venue-a": amount}}))
    with pytest.raises(InputError) as caught:
        read_pledges(path, at.venues()[0], "0.01")
    assert caught.value.code == "pledges.amount"
    assert not amount or amount not in caught.value.message


def test_file_names_that_are_no_sequence(desk: Path) -> None:
    (desk / "attestations" / "²³.json").write_text("{}")
    assert Desk(desk).last_sequence() == 1


def test_a_passphrase_that_is_no_file(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARGINSEAL_PASSPHRASE", raising=False)
    (desk / "keys" / "passphrase").unlink()
    (desk / "keys" / "passphrase").mkdir()
    with pytest.raises(InputError) as caught:
        Desk(desk).passphrase()
    assert caught.value.code == "file.unreadable"


def test_an_error_is_not_as_long_as_what_it_refuses() -> None:
    key = "k" * 1_000_000
    with pytest.raises(DecodeError) as caught:
        parse_json(f'{{"{key}":1,"{key}":1}}'.encode(), what="x")
    assert caught.value.code == "json.duplicate-key"
    assert len(caught.value.message) < 200
