"""Where the story over HTTPS plays, and what its parties do there: a venue decides, an operator publishes, a prover in
league attests, an auditor's copy is bent.

Everything is done by the functions behind the verbs; what only the story needs is told from these.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from marginseal.cli.desk import Desk, DeskRecords
from marginseal.cli.output import money
from marginseal.errors import MarginSealError

if TYPE_CHECKING:
    from marginseal.cli.remote import Card
    from marginseal.cli.submit import Wanted
    from marginseal.market.epoch import RiskEpoch
    from marginseal.market.example import ExampleMarket
    from marginseal.market.snapshot import Snapshot
    from marginseal.records.attestation import Attestation
    from marginseal.records.keys import SigningKey
    from marginseal.records.pledges import PledgeSchedule
    from marginseal.records.statement import Statement
    from marginseal.records.submission import Submission
    from server.config import Config
    from verifier.decision.dossier import Dossier
    from verifier.decision.verdict import Verdict

RULE = "worst_case_limits"
ACCOUNT = "fund-1"


@dataclass(frozen=True)
class Stand:
    """Where everything is while the service runs."""

    desk: Desk
    market: ExampleMarket
    config: Config
    card: Card
    wanted: Wanted

    @property
    def epoch(self) -> RiskEpoch:
        return self.market.epoch

    def amount(self, ticks: int) -> str:
        return money(ticks, self.epoch.tick, self.epoch.currency)

    def prover_key(self) -> SigningKey:
        """The service's own: what a prover in league with the fund would sign with."""
        from marginseal.records.keyfile import read_signing_key
        from marginseal.records.keys import Role
        from server.main import ATTESTATION_KEY, passphrase

        return read_signing_key(
            self.config.path(self.config.keys_dir) / ATTESTATION_KEY, passphrase(self.config), Role.PROVER
        )


def policies(stand: Stand) -> Path:
    """Where venues keep their policies and what they saw of the log."""
    return stand.desk.root / "policies"


def decide_by(
    stand: Stand, venue: str, *, now: int | None = None, change: Callable[[Dossier], Dossier] | None = None
) -> Verdict:
    """The venue's verdict by a policy file of its own; `change` bends the dossier first, as a cheat would."""
    from marginseal.cli.remote import connected, mirrored
    from marginseal.cli.venue import decide_account, desk_policy, gather_newest, read_policy
    from marginseal.files import write_atomic
    from verifier.decision.decide import decide

    path = policies(stand) / f"{venue}.json"
    if not path.exists():
        write_atomic(path, desk_policy(stand.desk, stand.card, venue, minimum_pledge_ticks="100"))
    policy = read_policy(path)
    opening = opened(stand, venue)
    with connected(stand.card) as client, mirrored(client, policy.trust.log) as visit:
        if change is None:
            return decide_account(
                visit, policy, ACCOUNT, opening, now=now, memory=policies(stand) / f"{venue}.checkpoint"
            )
        return decide(change(gather_newest(visit, policy, ACCOUNT, opening)), policy, now=int(time.time()))


def opened(stand: Stand, venue: str) -> bytes:
    """What the fund hands the venue: the opening of its pledge in the newest attestation."""
    last = stand.desk.last_sequence()
    return opening_of(stand, stand.desk.schedule(last), stand.desk.attestation(last).statement, venue)


def opening_of(stand: Stand, schedule: PledgeSchedule, statement: Statement, venue: str) -> bytes:
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.records.pledges import open_pledge

    key = commitment_key(rows_for(stand.epoch.instruments))
    return open_pledge(schedule, statement, stand.desk.venues()[0], venue, key).encode()


def must_accept(verdict: Verdict, venue: str) -> None:
    if not verdict.accepted:
        why = "; ".join(code for code, _ in verdict.reasons)
        raise MarginSealError("demo.refused", f"{venue} refuses an honest attestation: {why}")


def must_refuse(verdict: Verdict, what: str) -> str:
    if verdict.accepted:
        raise MarginSealError("demo.accepted", f"accepted, and must not be: {what}")
    code, message = verdict.reasons[0]
    return f"{message} [{code}]"


def epoch_policy(stand: Stand) -> bytes:
    """The fund answers this operator, these very parameters, and prices within 5 % of its own."""
    epoch = stand.epoch
    return json.dumps(
        {
            "format": "marginseal-client-policy-1",
            "operators": {epoch.operator: stand.desk.operator_key().raw.hex()},
            "universes": [epoch.universe_digest.hex()],
            "rules": [{"name": RULE, "parameters": {}}],
            "parameters": [epoch.parameters_digest.hex()],
            "bounds": {name: [value, value] for name, value in epoch.parameters.items()},
            "deviation_permille": 50,
            "volatility_permille": 100,
            "max_age_s": 3600,
            "spacing_s": 0,
            "answers": 100,
            "window_s": 3600,
        }
    ).encode()


def publish(stand: Stand, snapshot: Snapshot) -> RiskEpoch:
    """The operator builds, signs and logs the epoch of a snapshot."""
    from marginseal.cli.office import office_of
    from marginseal.market.build import build_epoch
    from marginseal.market.parameters import parameters_json
    from marginseal.market.snapshot import snapshot_json
    from marginseal.records.envelope import sign
    from marginseal.records.epoch import epoch_record
    from marginseal.records.keys import Role

    parameters = stand.market.parameters
    epoch, risk = (
        build_epoch(stand.market.universe, snapshot, parameters),
        stand.desk.signing_key("operator", Role.OPERATOR),
    )
    with office_of(stand.config) as office:
        objects = [snapshot_json(snapshot), parameters_json(parameters)]
        office.publish_epoch(epoch, sign(epoch_record(epoch), [risk]), objects)
    return epoch


def attested_in_league(stand: Stand, submission: Submission) -> Attestation:
    """A prover with the service's own key that proves what it is given, and does not ask the log."""
    from prover.attest import Attestor, Circuits
    from prover.prove import Secrets
    from verifier.verify import Setting

    key = stand.prover_key()
    attestor = Attestor(key, Secrets(key.seed), Setting.default(), Circuits())
    return attestor.attest(submission, DeskRecords(stand.desk))


def short_of(stand: Stand, crash: RiskEpoch, tier: str) -> int:
    """What the fund lacks on the crash day, pledges apart; ticks above zero."""
    from marginseal.cli import margin
    from marginseal.cli.desk import tier_named
    from marginseal.market.portfolio import merge

    lots = merge(stand.market.crash_books.values()).lots
    free = int(margin.figures(crash, lots, RULE, tier_named(tier), 1)["free_ticks"])
    if free >= 0:
        raise MarginSealError("demo.crash", "the fund has margin to spare on the crash day")
    return -free


def forged(bundle: Path, target: Path) -> Path:
    """A copy of a bundle whose last entry's last byte is another."""
    import shutil

    shutil.copytree(bundle, target)
    entries = target / "entries.bin"
    data = entries.read_bytes()
    entries.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return target
