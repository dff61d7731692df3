"""The queue: every accepted submission is done once, whatever dies when.

A job is claimed under a lease, which a heartbeat extends; a worker that dies lets it lapse, and another begins anew.
`attempt` is the fence: finishing names the attempt that was claimed, so that a worker that slept through its lease
changes nothing.  Doing the work twice must be harmless, and is: the log takes one attestation per (account, sequence),
and worker.py looks there first.  Jobs of one account run in the order they came, one at a time (each attestation names
its predecessor); between accounts turns are given out fairly, so that a hundred submissions of one account do not delay
the first of another.  What a job takes is sealed, so it counts as one turn until a worker has opened it and charges
what it found (`charge`): sixty-four proofs in one submission move what the account has waiting back by as many turns.

`Queue` is what server and worker use.  `LeaseQueue` keeps it in the service's own database: in a file for one machine,
on PostgreSQL for several, whose clocks must agree to well within a lease.  Why it stays there: docs/decisions/0007.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import sqlalchemy as sa

from marginseal.errors import StorageError
from server.store import Store
from server.tables import FINAL_STATES, jobs, results, submissions

DEATHS_AT_ONCE = 4
"""Attempts that begin at once after a worker died; beyond, it may be the job that kills."""

Stage = Literal["queued", "claimed", "opened", "proving", "logging", "finished"]
Clock = Callable[[], int]


def now_ms() -> int:
    """Unix milliseconds UTC, the clock of every table."""
    return time.time_ns() // 1_000_000


class Busy(StorageError):
    """The queue is full, or the account has too many jobs in it.  Try again after `retry_after` seconds."""

    def __init__(self, code: str, message: str, *, retry_after: int) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Job:
    """A claimed job: sealed bytes (of kind "proved": a finished attestation), and what is public about them."""

    id: int
    submission: str
    account: str
    sequence: int
    epoch: bytes
    prover_key: str
    sealed: bytes
    attempt: int
    worker: str
    kind: str = "sealed"


@dataclass(frozen=True)
class Outcome:
    """How a job ended.  `code` says for all to see why it was refused; the reason itself is in `result`, sealed."""

    state: Literal["attested", "refused"]
    result: bytes | None
    code: str | None = None
    attestation: bytes | None = None
    log_index: int | None = None


class Queue(Protocol):
    """What server and worker need of a queue."""

    def enqueue(self, c: sa.Connection, submission: str, account: str, sequence: int) -> None:
        """In the caller's transaction, with the submission itself: both or neither.  Busy when there is no room."""

    def claim(self, worker: str) -> Job | None:
        """The next job that is due, if any; it is this worker's until its lease lapses."""

    def charge(self, job: Job, cost: int) -> None:
        """The job takes so many turns of its account.  Once for a job; nothing if it is no longer this worker's."""

    def heartbeat(self, job: Job, stage: Stage) -> bool:
        """Extend the lease and say how far the job is.  False: the job is no longer this worker's."""

    def finish(self, job: Job, outcome: Outcome) -> bool:
        """Record the outcome and the sealed answer, drop the sealed submission.  False: no longer this worker's."""

    def retry(self, job: Job, code: str) -> bool:
        """Try again later, or give up for an operator to see when the attempts are used up.  False as above."""


@dataclass(frozen=True)
class Limits:
    """Seconds and counts.  The lease exceeds the longest time a worker may hold its interpreter without a heartbeat."""

    lease_s: float = 15.0
    max_attempts: int = 20
    backoff_s: float = 1.0
    backoff_max_s: float = 60.0
    max_queued: int = 2_000
    max_queued_per_account: int = 16


# Built once: making a statement costs more than running it.
_LAPSED = sa.and_(jobs.c.state == "running", jobs.c.lease_until < sa.bindparam("now"))
_DUE = sa.or_(sa.and_(jobs.c.state == "ready", jobs.c.run_at <= sa.bindparam("now")), _LAPSED)
_EARLIER = jobs.alias("earlier")
_WAITS = sa.exists().where(
    _EARLIER.c.account == jobs.c.account, _EARLIER.c.state.in_(("ready", "running")), _EARLIER.c.id < jobs.c.id
)
_NEXT = sa.select(jobs.c.id).where(_DUE, ~_WAITS).order_by(jobs.c.turn, jobs.c.id).limit(1)
_GIVE_UP = (
    sa.update(jobs)
    .where(_LAPSED, jobs.c.attempt >= sa.bindparam("most"))
    .values(state="dead", code="job.abandoned", stage="finished", finished=sa.bindparam("now"))
)
_CLAIM = (
    sa.update(jobs)
    .where(jobs.c.id == _NEXT.with_for_update(skip_locked=True).scalar_subquery())
    .values(
        state="running",
        worker=sa.bindparam("by"),
        lease_until=sa.bindparam("until"),
        attempt=jobs.c.attempt + 1,
        stage="claimed",
        started=sa.func.coalesce(jobs.c.started, sa.bindparam("now")),
    )
    .returning(jobs.c.id, jobs.c.submission, jobs.c.account, jobs.c.sequence, jobs.c.attempt)
)
_SUBMISSION = sa.select(submissions).where(submissions.c.id == sa.bindparam("name"))
_MINE = sa.and_(
    jobs.c.id == sa.bindparam("mine"),
    jobs.c.state == "running",
    jobs.c.worker == sa.bindparam("by"),
    jobs.c.attempt == sa.bindparam("fence"),
)
_BEAT = sa.update(jobs).where(_MINE).values(lease_until=sa.bindparam("until"), stage=sa.bindparam("at"))
_FINISH = (
    sa.update(jobs)
    .where(_MINE)
    .values(
        state=sa.bindparam("how"),
        code=sa.bindparam("why"),
        attestation=sa.bindparam("digest"),
        log_index=sa.bindparam("place"),
        stage="finished",
        finished=sa.bindparam("now"),
        lease_until=None,
    )
)
_ANSWER = sa.insert(results)
_ENQUEUE = sa.insert(jobs)
_OWN = jobs.c.account == sa.bindparam("whose")


def _live(*where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    return sa.select(sa.func.count()).where(jobs.c.state.in_(("ready", "running")), *where).scalar_subquery()


def _last_turn(*where: sa.ColumnElement[bool], end: bool = False) -> sa.ColumnElement[int]:
    """The turn of the last of these jobs; end: the first one after it."""
    turn = jobs.c.turn + jobs.c.cost if end else jobs.c.turn
    last = sa.select(turn).where(*where).order_by(jobs.c.turn.desc()).limit(1)
    return sa.func.coalesce(last.scalar_subquery(), 0)


_SERVED = sa.select(
    sa.union_all(*(sa.select(_last_turn(jobs.c.state == s).label("turn")) for s in ("running", *FINAL_STATES)))
    .subquery()
    .c.turn
).subquery()
_PLACE = sa.select(
    _live().label("all_live"),
    _live(_OWN).label("own_live"),
    _last_turn(_OWN, end=True).label("own_next"),
    sa.select(sa.func.max(_SERVED.c.turn)).scalar_subquery().label("served"),
)
_FORGET = sa.update(submissions).where(submissions.c.id == sa.bindparam("name")).values(sealed=None)


def _fence(job: Job) -> dict[str, object]:
    """What only the worker that holds this attempt can name."""
    return {"mine": job.id, "by": job.worker, "fence": job.attempt}


class LeaseQueue:
    """`Queue` on the service's database.  `forfeit` and `requeue` are for the supervisor and the operator."""

    def __init__(self, store: Store, limits: Limits, clock: Clock = now_ms) -> None:
        self._store, self._limits, self._clock = store, limits, clock
        self._idle = True  # the last claim found nothing

    def enqueue(self, c: sa.Connection, submission: str, account: str, sequence: int) -> None:
        place = c.execute(_PLACE, {"whose": account}).one()
        if place.all_live >= self._limits.max_queued:
            raise Busy("queue.full", "the prover has more work than it takes", retry_after=self._retry_after(c))
        if place.own_live >= self._limits.max_queued_per_account:
            raise Busy("queue.account-full", "this account has too many submissions waiting", retry_after=5)
        now = self._clock()
        c.execute(
            _ENQUEUE,
            {
                "submission": submission,
                "account": account,
                "sequence": sequence,
                "state": "ready",
                # Start-time fair queueing: after the account's last job, and after the turn now served.
                "turn": max(place.served + 1, place.own_next),
                "run_at": now,
                "attempt": 0,
                "stage": "queued",
                "created": now,
            },
        )

    @staticmethod
    def _retry_after(c: sa.Connection) -> int:
        """A guess at when there is room: the mean time of recent jobs, between 1 and 60 seconds."""
        done = sa.select(jobs.c.finished - jobs.c.started).where(
            jobs.c.started.is_not(None), jobs.c.state == "attested"
        )
        recent = [ms for ms in c.scalars(done.order_by(jobs.c.id.desc()).limit(16)) if ms is not None]
        return 5 if not recent else min(60, max(1, round(sum(recent) / len(recent) / 1000)))

    def claim(self, worker: str) -> Job | None:
        now = self._clock()
        if self._idle:  # an idle worker takes no write lock
            with self._store.read() as c:
                if c.scalar(_NEXT, {"now": now}) is None:
                    return None
        until = now + int(1000 * self._limits.lease_s)
        with self._store.write() as c:
            c.execute(_GIVE_UP, {"now": now, "most": self._limits.max_attempts})
            row = c.execute(_CLAIM, {"now": now, "by": worker, "until": until}).one_or_none()
            self._idle = row is None
            if row is None:
                return None
            s = c.execute(_SUBMISSION, {"name": row.submission}).one()
        return Job(
            row.id, row.submission, row.account, row.sequence, s.epoch, s.prover_key, s.sealed, row.attempt, worker,
            s.kind,
        )  # fmt: skip

    def charge(self, job: Job, cost: int) -> None:
        with self._store.write() as c:
            known = c.scalar(sa.select(jobs.c.cost).where(_MINE), _fence(job))
            more = cost - (known or cost)
            if more <= 0:
                return
            c.execute(sa.update(jobs).where(_MINE).values(cost=cost), _fence(job))
            waiting = sa.and_(jobs.c.account == job.account, jobs.c.state == "ready", jobs.c.id > job.id)
            c.execute(sa.update(jobs).where(waiting).values(turn=jobs.c.turn + more))

    def heartbeat(self, job: Job, stage: Stage) -> bool:
        until = self._clock() + int(1000 * self._limits.lease_s)
        with self._store.write() as c:
            return c.execute(_BEAT, {**_fence(job), "until": until, "at": stage}).rowcount == 1

    def finish(self, job: Job, outcome: Outcome) -> bool:
        ended = {
            "how": outcome.state,
            "why": outcome.code,
            "digest": outcome.attestation,
            "place": outcome.log_index,
            "now": self._clock(),
        }
        with self._store.write() as c:
            if c.execute(_FINISH, {**_fence(job), **ended}).rowcount != 1:
                return False
            if outcome.result is not None:
                c.execute(_ANSWER, {"submission": job.submission, "sealed": outcome.result})
            c.execute(_FORGET, {"name": job.submission})
            return True

    def retry(self, job: Job, code: str) -> bool:
        now = self._clock()
        if job.attempt >= self._limits.max_attempts:
            values = {"state": "dead", "code": code, "stage": "finished", "finished": now, "lease_until": None}
        else:
            values = {"state": "ready", "code": code, "stage": "queued", "run_at": now + self._backoff_ms(job.attempt)}
        with self._store.write() as c:
            return c.execute(sa.update(jobs).where(_MINE).values(**values), _fence(job)).rowcount == 1

    def _backoff_ms(self, failures: int) -> int:
        """Doubling from the first failure on."""
        return int(1000 * min(self._limits.backoff_max_s, self._limits.backoff_s * 2.0 ** min(failures - 1, 64)))

    def forfeit(self, worker: str) -> int:
        """End the leases of a worker whose process is known to be gone, so that nobody waits for them to lapse.

        A job under which one worker after another died waits as one that failed does: it would otherwise take each new
        worker as soon as it is there, ahead of everybody's turn, until its attempts are used up."""
        held = sa.and_(jobs.c.state == "running", jobs.c.worker == worker)
        with self._store.write() as c:
            rows = c.execute(sa.select(jobs.c.id, jobs.c.attempt).where(held)).all()
            for row in rows:
                deaths = row.attempt - DEATHS_AT_ONCE
                until = self._clock() + self._backoff_ms(deaths) if deaths > 0 else 0
                c.execute(sa.update(jobs).where(held, jobs.c.id == row.id).values(lease_until=until))
            return len(rows)

    def requeue(self, c: sa.Connection, submission: str) -> bool:
        """Give a dead job another round, in the operator's transaction.  False: not dead, or submitted anew."""
        newer = jobs.alias("newer")
        replaced = sa.exists().where(
            newer.c.account == jobs.c.account,
            newer.c.sequence == jobs.c.sequence,
            newer.c.state.in_(("ready", "running", "attested")),
        )
        dead = sa.update(jobs).where(jobs.c.submission == submission, jobs.c.state == "dead", ~replaced)
        fresh = dead.values(state="ready", attempt=0, code=None, stage="queued", run_at=self._clock(), finished=None)
        return c.execute(fresh).rowcount == 1
