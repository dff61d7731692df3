"""What comes back of a submission: waiting for it, why it was refused, and the attestation kept on the desk.

An attestation is saved with its receipt and head once it is what this desk signed; `recover` fetches what the log took
while nobody waited for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marginseal.cli.desk import Desk
from marginseal.cli.remote import Card
from marginseal.errors import InputError, MarginSealError, PolicyError, ProofRejected, ServiceError, Unsatisfied

if TYPE_CHECKING:
    from marginseal.records.keys import PublicKey
    from server.answers import Logged
    from server.client import Client
    from server.wire import Answer

Observer = Callable[[str], None]


def wait_for(client: Client, name: str, observe: Observer, *, timeout_s: float = 600.0) -> dict[str, Any]:
    """The final status, told on the way.  ServiceError service.timeout."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        status = client.status(name, wait_s=2)
        if status["state"] not in ("ready", "running"):
            return status
        observe(f"{status['ahead']} ahead in the queue" if status["state"] == "ready" else str(status["stage"]))
    raise ServiceError("service.timeout", "the submission is still being worked on; submit again to find it")


def refusal(state: str, code: object, answer: Answer | None) -> MarginSealError:
    """Why, as far as the prover told its owner; without an answer, as far as it tells everybody."""
    if answer is None:
        return ServiceError(str(code or "submission.refused"), f"the submission ended as {state}")
    said, message = answer.code or "submission.refused", answer.message or "refused"
    if answer.line is not None:
        return Unsatisfied(said, message, line=answer.line, shortfall=answer.shortfall or 0)
    return PolicyError(said, message)


def candidate(desk: Desk, statement: bytes) -> Path:
    """Where the schedule of a statement waits until the log has taken it."""
    return desk.root / "account" / "schedules" / f"{statement.hex()}.bin"


def save(desk: Desk, card: Card, logged: Logged, digest: bytes) -> None:
    """Attestation, receipt, head, schedule of the statement `digest`, checked to be what the desk sent and the log has.

    ProofRejected signature.*, log.*, submit.statement; InputError submit.schedule when the schedule is not here."""
    from marginseal.files import write_atomic
    from marginseal.log.client import verify_newest
    from marginseal.records.attestation import Attestation

    attestation = Attestation.decode(logged.attestation)
    statement, sequence = attestation.statement, logged.sequence
    if statement.digest != digest or statement.sequence != sequence:
        raise ProofRejected("submit.statement", "the service's attestation is not of the statement that was sent")
    attestation.verify_signatures([card.prover_key, *_own_prover(desk)])
    if logged.head is not None:
        verify_newest(
            logged.receipt, logged.head, logged.attestation, card.log_policy, account=statement.account,
            sequence=sequence, statement_digest=digest, now=int(time.time()), max_age_s=600,
        )  # fmt: skip
    waiting, kept = candidate(desk, digest), desk.schedule_file(sequence)
    if waiting.exists():
        waiting.replace(kept)
    if not kept.exists():
        raise InputError("submit.schedule", "the schedule behind the log's attestation is not on this desk")
    place = desk.attestation_file(sequence)
    write_atomic(place.with_suffix(".receipt"), logged.receipt)
    if logged.head is not None:
        write_atomic(place.with_suffix(".head"), logged.head)
    write_atomic(place, logged.attestation)


def _own_prover(desk: Desk) -> list[PublicKey]:
    """The key of an institution that proves for itself too."""
    return [desk.prover_key()] if (desk.root / "prover.pub").exists() else []


def recover(desk: Desk, client: Client, card: Card) -> int:
    """Fetch what the log took and the desk did not save, a broken run's; how many attestations that is."""
    from marginseal.records.attestation import Attestation

    account = desk.manifest()[0].account
    newest, last = client.latest(account), desk.last_sequence()
    newer = 0 if newest is None else newest.sequence - last
    for sequence in range(last + 1, last + 1 + max(0, newer)):
        logged = newest if newest is not None and sequence == newest.sequence else client.attestation(account, sequence)
        if logged is None:
            raise ServiceError("service.log", "the log's chain of the account has a gap")
        save(desk, card, logged, Attestation.decode(logged.attestation).statement.digest)
    return max(0, newer)
