"""Accepting a submission: every check that needs no plaintext, then submission and job in one transaction.

A submission is sealed; what stands outside the seal is its `Header`.  A finished attestation is accepted the same way;
its own checks come first (resources/proved.py).  Accepting is idempotent by the account's
idempotency key: the same bytes again are the same submission, whatever became of the first answer.  What is refused
here costs no proof; what can only be known from the plaintext is refused by the worker, in an answer only the owner
can open.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from server.jobs import Queue
from server.problem import Refusal
from server.signatures import Caller
from server.store import Store
from server.tables import jobs, results, submissions

# Built once: making a statement costs more than running it.
_STATUS = (
    sa.select(jobs, submissions.c.epoch, submissions.c.received, results.c.sealed)
    .join(submissions, submissions.c.id == jobs.c.submission)
    .outerjoin(results, results.c.submission == jobs.c.submission)
    .where(jobs.c.submission == sa.bindparam("submission"), jobs.c.account == sa.bindparam("account"))
)
_AHEAD = (
    sa.select(sa.func.count())
    .select_from(jobs)
    .where(
        jobs.c.state == "ready",
        sa.or_(
            jobs.c.turn < sa.bindparam("turn"),
            sa.and_(jobs.c.turn == sa.bindparam("turn"), jobs.c.id < sa.bindparam("id")),
        ),
    )
)
_PENDING = sa.select(jobs.c.id).where(
    jobs.c.account == sa.bindparam("account"),
    jobs.c.sequence == sa.bindparam("sequence"),
    jobs.c.state.in_(("ready", "running")),
)
_INSERT = sa.insert(submissions)
_KNOWN = sa.select(submissions.c.id, submissions.c.body_digest).where(
    submissions.c.account == sa.bindparam("account"), submissions.c.idempotency_key == sa.bindparam("name")
)


@dataclass(frozen=True)
class Header:
    """What stands outside the seal, and is bound to it.  prover_key: None for an attestation, which has no seal."""

    account: str
    sequence: int
    epoch: bytes
    prover_key: str | None


ReadHeader = Callable[[bytes], Header]


@dataclass(frozen=True)
class Situation:
    """What is true of the world at the time: who may be sealed to, which epochs are current, where the chain stands."""

    prover_keys: frozenset[str]
    epoch_is_current: Callable[[bytes], bool]
    head: int


@dataclass(frozen=True)
class Status:
    """A submission and its job as they stand, for the account alone."""

    id: str
    account: str
    sequence: int
    epoch: bytes
    state: str
    stage: str
    ahead: int
    attempt: int
    code: str | None
    received: int
    started: int | None
    finished: int | None
    attestation: bytes | None
    log_index: int | None
    result: bytes | None


def accept(
    store: Store,
    queue: Queue,
    caller: Caller,
    body: bytes,
    header: Header,
    idempotency_key: str,
    situation: Callable[[], Situation],
    *,
    now: int,
) -> tuple[str, bool]:
    """(id, whether it is new), durable on return.

    Refusal 403 submission.account, 409 submission.*, 422 idempotency.mismatch; Busy queue.*"""
    if header.account != caller.party:
        raise Refusal(403, "submission.account", "The submission names another account than the signer's.")
    digest = hashlib.sha256(body).digest()
    named = {"account": caller.party, "name": idempotency_key}
    with store.read() as c:
        before = c.execute(_KNOWN, named).one_or_none()
    if before is None:
        _check(header, situation())
        with store.write() as c:
            before = c.execute(_KNOWN, named).one_or_none()  # the same request may have come twice at once
            if before is None:
                return _insert(c, queue, body, digest, header, idempotency_key, now), True
    if before.body_digest != digest:
        raise Refusal(422, "idempotency.mismatch", "This idempotency key was used for another submission.")
    return str(before.id), False


def _check(header: Header, situation: Situation) -> None:
    if header.prover_key is not None and header.prover_key not in situation.prover_keys:
        raise Refusal(409, "submission.prover-key", "Sealed to a key that is not accepted; fetch the current one.")
    if not situation.epoch_is_current(header.epoch):
        raise Refusal(409, "submission.epoch", "The epoch is not logged here, or has expired.")
    if header.sequence <= situation.head:
        raise Refusal(409, "submission.sequence-taken", "The log holds an attestation of this sequence.")


def _insert(
    c: sa.Connection, queue: Queue, body: bytes, digest: bytes, header: Header, idempotency_key: str, now: int
) -> str:
    if c.scalar(_PENDING, {"account": header.account, "sequence": header.sequence}) is not None:
        raise Refusal(409, "submission.sequence-pending", "A submission of this sequence is being worked on.")
    name = secrets.token_hex(16)
    c.execute(
        _INSERT,
        {
            "id": name,
            "account": header.account,
            "sequence": header.sequence,
            "epoch": header.epoch,
            "prover_key": header.prover_key or "",
            "kind": "proved" if header.prover_key is None else "sealed",
            "idempotency_key": idempotency_key,
            "body_digest": digest,
            "sealed": body,
            "received": now,
        },
    )
    queue.enqueue(c, name, header.account, header.sequence)
    return name


def status(store: Store, account: str, submission: str) -> Status:
    """Refusal 404 submission.unknown, for another account's as well."""
    with store.read() as c:
        row = c.execute(_STATUS, {"submission": submission, "account": account}).one_or_none()
        if row is None:
            raise Refusal(404, "submission.unknown", "This account has no such submission.")
        return Status(
            id=row.submission,
            account=row.account,
            sequence=row.sequence,
            epoch=row.epoch,
            state=row.state,
            stage=row.stage,
            ahead=c.execute(_AHEAD, {"turn": row.turn, "id": row.id}).scalar_one() if row.state == "ready" else 0,
            attempt=row.attempt,
            code=row.code,
            received=row.received,
            started=row.started,
            finished=row.finished,
            attestation=row.attestation,
            log_index=row.log_index,
            result=row.sealed,
        )
