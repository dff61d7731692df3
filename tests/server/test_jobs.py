"""The queue: nothing accepted is lost, nothing is done twice, accounts take turns, and it has an end."""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from server.jobs import DEATHS_AT_ONCE, Busy, Job, LeaseQueue, Limits, Outcome
from server.store import Store
from server.tables import jobs, results, submissions
from server.tidy import DAY_MS, tidy
from tests.databases import fresh_store

SEALED = b"sealed bytes"


def put(store: Store, queue: LeaseQueue, account: str, sequence: int) -> str:
    name = secrets.token_hex(16)
    with store.write() as c:
        c.execute(
            sa.insert(submissions).values(
                id=name, account=account, sequence=sequence, epoch=bytes(32), prover_key="k",
                idempotency_key=name, body_digest=bytes(32), sealed=SEALED, received=0,
            )
        )  # fmt: skip
        queue.enqueue(c, name, account, sequence)
    return name


class Clock:
    def __init__(self) -> None:
        self.ms = 1_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def store(tmp_path: Path, database_url: str | None) -> Iterator[Store]:
    with contextlib.closing(fresh_store(tmp_path, database_url)) as store:
        yield store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(store: Store, clock: Clock) -> LeaseQueue:
    return LeaseQueue(store, Limits(lease_s=10, max_attempts=3), clock)


def claimed(queue: LeaseQueue, worker: str = "w") -> Job:
    job = queue.claim(worker)
    assert job is not None
    return job


def state(store: Store, submission: str) -> str:
    with store.read() as c:
        return str(c.scalar(sa.select(jobs.c.state).where(jobs.c.submission == submission)))


DONE = Outcome("attested", b"answer", attestation=bytes(32), log_index=7)


def test_a_job_is_claimed_with_its_sealed_bytes_and_finished_once(store: Store, queue: LeaseQueue) -> None:
    name = put(store, queue, "fund", 1)
    job = claimed(queue)
    assert (job.submission, job.account, job.sequence, job.sealed, job.attempt) == (name, "fund", 1, SEALED, 1)
    assert queue.claim("other") is None
    assert queue.finish(job, DONE)
    assert not queue.finish(job, DONE)
    with store.read() as c:
        assert c.execute(sa.select(results.c.sealed)).all() == [(b"answer",)]
        assert c.scalar(sa.select(submissions.c.sealed)) is None
    assert queue.claim("other") is None


def test_a_lapsed_lease_passes_the_job_on_and_fences_the_sleeper(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    name = put(store, queue, "fund", 1)
    sleeper = claimed(queue, "sleeper")
    clock.ms += 9_000
    assert queue.heartbeat(sleeper, "proving")
    clock.ms += 9_000
    assert queue.claim("other") is None
    clock.ms += 2_000
    other = claimed(queue, "other")
    assert other.attempt == 2
    assert not queue.heartbeat(sleeper, "proving")
    assert not queue.finish(sleeper, DONE)
    assert not queue.retry(sleeper, "x")
    assert state(store, name) == "running"
    assert queue.finish(other, DONE)


def test_the_same_worker_cannot_finish_an_attempt_it_lost(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    put(store, queue, "fund", 1)
    first = claimed(queue, "w")
    clock.ms += 11_000
    second = claimed(queue, "w")
    assert not queue.finish(first, DONE)
    assert queue.finish(second, DONE)


def test_a_failed_attempt_is_tried_later_and_then_given_up(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    name = put(store, queue, "fund", 1)
    for wait in (1_000, 2_000):
        assert queue.retry(claimed(queue), "log.busy")
        assert queue.claim("w") is None
        clock.ms += wait
    assert queue.retry(claimed(queue), "log.busy")
    assert state(store, name) == "dead"
    with store.write() as c:
        assert queue.requeue(c, name)
        assert not queue.requeue(c, name)
    assert claimed(queue).sealed == SEALED


def test_a_job_that_kills_every_worker_is_given_up(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    name = put(store, queue, "fund", 1)
    for _ in range(3):
        claimed(queue)
        clock.ms += 11_000
    assert queue.claim("w") is None
    assert state(store, name) == "dead"


def test_a_dead_job_stays_dead_when_its_sequence_was_submitted_anew(
    store: Store, queue: LeaseQueue, clock: Clock
) -> None:
    name = put(store, queue, "fund", 1)
    for _ in range(3):
        queue.retry(claimed(queue), "x")
        clock.ms += 60_000
    put(store, queue, "fund", 1)
    with store.write() as c:
        assert not queue.requeue(c, name)


def test_two_live_jobs_of_one_sequence_are_impossible(store: Store, queue: LeaseQueue) -> None:
    put(store, queue, "fund", 1)
    with pytest.raises(sa.exc.IntegrityError):
        put(store, queue, "fund", 1)


def test_jobs_of_one_account_run_in_order_one_at_a_time(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    put(store, queue, "fund", 1)
    put(store, queue, "fund", 2)
    first = claimed(queue)
    assert queue.claim("other") is None
    assert queue.retry(first, "x")
    assert queue.claim("other") is None
    clock.ms += 1_000
    again = claimed(queue)
    assert again.sequence == 1
    assert queue.finish(again, DONE)
    assert claimed(queue).sequence == 2


def test_many_submissions_of_one_account_do_not_delay_the_first_of_another(store: Store, queue: LeaseQueue) -> None:
    for sequence in range(1, 9):
        put(store, queue, "large", sequence)
    for sequence in (1, 2):
        job = claimed(queue)
        assert (job.account, job.sequence) == ("large", sequence)
        assert queue.finish(job, DONE)
    put(store, queue, "small", 1)
    order = []
    while (job_or_none := queue.claim("w")) is not None:
        order.append(job_or_none.account)
        queue.finish(job_or_none, DONE)
    assert order.index("small") == 1
    assert len(order) == 7


WORK = {"large": 64, "small": 1}


@pytest.mark.parametrize("waiting", [1, 4])
def test_turns_count_the_work_in_a_job(store: Store, queue: LeaseQueue, waiting: int) -> None:
    """Who has sixty-four claims proved at once has what waits for him moved back by as many turns."""
    done, sequence = dict.fromkeys(WORK, 0), dict.fromkeys(WORK, 0)

    def more(account: str) -> None:
        sequence[account] += 1
        put(store, queue, account, sequence[account])

    for account in WORK:
        for _ in range(waiting):
            more(account)
    for _ in range(300):
        job = claimed(queue)
        queue.charge(job, WORK[job.account])
        done[job.account] += WORK[job.account]
        assert queue.finish(job, DONE)
        more(job.account)
        assert abs(done["large"] - done["small"]) <= 64
    put(store, queue, "newcomer", 1)
    assert "newcomer" in [claimed(queue, w).account for w in ("v", "w", "x")]


def test_work_is_charged_once_and_by_who_holds_the_job(store: Store, queue: LeaseQueue, clock: Clock) -> None:
    for sequence in (1, 2):
        put(store, queue, "large", sequence)
    sleeper = claimed(queue)
    queue.charge(sleeper, 4)
    clock.ms += 11_000
    again = claimed(queue)
    for _ in range(2):
        queue.charge(again, 4)
    queue.charge(sleeper, 100)
    with store.read() as c:
        assert c.execute(sa.select(jobs.c.turn, jobs.c.cost).order_by(jobs.c.id)).all() == [(1, 4), (5, 1)]


def test_the_queue_has_an_end_for_all_and_for_each(store: Store, clock: Clock) -> None:
    queue = LeaseQueue(store, Limits(max_queued=5, max_queued_per_account=3), clock)
    for sequence in (1, 2, 3):
        put(store, queue, "large", sequence)
    with pytest.raises(Busy, match=r"queue\.account-full") as e:
        put(store, queue, "large", 4)
    assert e.value.retry_after >= 1
    put(store, queue, "small", 1)
    put(store, queue, "other", 1)
    with pytest.raises(Busy, match=r"queue\.full"):
        put(store, queue, "another", 1)
    with store.read() as c:
        assert c.scalar(sa.select(sa.func.count()).select_from(submissions)) == 5


def test_the_supervisor_ends_the_lease_of_a_dead_process(store: Store, queue: LeaseQueue) -> None:
    put(store, queue, "fund", 1)
    job = claimed(queue, "gone")
    assert queue.forfeit("somebody else") == 0
    assert queue.forfeit("gone") == 1
    assert claimed(queue, "new").attempt == 2
    assert not queue.heartbeat(job, "proving")


def test_a_job_that_kills_its_workers_does_not_take_each_new_one(store: Store, clock: Clock) -> None:
    """Its turn came first, so without a pause every worker that is started anew would be its next victim."""
    queue = LeaseQueue(store, Limits(lease_s=600, max_attempts=20), clock)
    poison = put(store, queue, "bad", 1)
    honest = put(store, queue, "good", 1)
    for death in range(DEATHS_AT_ONCE):
        assert claimed(queue, f"victim {death}").submission == poison
        assert queue.forfeit(f"victim {death}") == 1
    assert claimed(queue, "last victim").submission == poison
    queue.forfeit("last victim")
    assert queue.finish(claimed(queue, "next"), DONE)
    assert state(store, honest) == "attested"
    assert queue.claim("next") is None
    waits = []
    while state(store, poison) == "running":
        before = clock.ms
        while (job := queue.claim("w")) is None and state(store, poison) == "running":
            clock.ms += 500
        waits.append((clock.ms - before) / 1000)
        if job is not None:
            queue.forfeit("w")
    assert waits[:4] == [1.5, 2.5, 4.5, 8.5]
    assert max(waits) <= 61
    assert state(store, poison) == "dead"


def test_many_threads_share_the_work_without_loss_or_repetition(store: Store) -> None:
    queue = LeaseQueue(store, Limits(lease_s=600, max_queued=500, max_queued_per_account=500))
    for i in range(60):
        put(store, queue, f"account {i % 7}", i + 1)
    done: list[int] = []

    def work(name: str) -> None:
        idle = 0
        while idle < 50:
            job = queue.claim(name)
            if job is None:
                idle += 1
                threading.Event().wait(0.005)
                continue
            idle = 0
            assert queue.finish(job, DONE)
            done.append(job.sequence)

    threads = [threading.Thread(target=work, args=(f"w{i}",)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(done) == list(range(1, 61))


class Machine(RuleBasedStateMachine):
    """Workers claim, sleep, die, fail and finish in any order.  Whatever happens, every job ends exactly once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.clock = Clock()
        self.store = store
        self.queue = LeaseQueue(self.store, Limits(lease_s=10, max_attempts=10**6), self.clock)
        self.held: list[Job] = []
        self.ended: list[int] = []
        self.submitted = 0

    @rule(account=st.sampled_from(["a", "b", "c"]))
    def submit(self, account: str) -> None:
        self.submitted += 1
        name = f"s{self.submitted}"
        with self.store.write() as c:
            c.execute(
                sa.insert(submissions).values(
                    id=name, account=account, sequence=self.submitted, epoch=bytes(32), prover_key="k",
                    idempotency_key=name, body_digest=bytes(32), sealed=SEALED, received=0,
                )
            )  # fmt: skip
            self.queue.enqueue(c, name, account, self.submitted)

    @rule(worker=st.sampled_from(["v", "w"]))
    def claim(self, worker: str) -> None:
        job = self.queue.claim(worker)
        if job is not None:
            assert job.sealed == SEALED
            self.held.append(job)

    @rule(ms=st.sampled_from([1, 4_000, 11_000]))
    def wait(self, ms: int) -> None:
        self.clock.ms += ms

    @rule(data=st.data(), act=st.sampled_from(["finish", "refuse", "retry", "beat", "die"]))
    def worker_acts(self, data: st.DataObject, act: str) -> None:
        if not self.held:
            return
        job = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        if act in ("finish", "refuse"):
            if self.queue.finish(job, DONE if act == "finish" else Outcome("refused", None, code="x")):
                self.ended.append(job.id)
        elif act == "retry":
            self.queue.retry(job, "x")
        elif act == "beat":
            self.queue.heartbeat(job, "proving")
            self.held.append(job)

    @invariant()
    def nothing_is_lost_or_repeated(self) -> None:
        assert len(self.ended) == len(set(self.ended))
        with self.store.read() as c:
            rows = c.execute(sa.select(jobs.c.id, jobs.c.account, jobs.c.state, submissions.c.sealed).join(submissions))
            found = rows.all()
        assert len(found) == self.submitted
        assert {r.id for r in found if r.state in ("attested", "refused")} == set(self.ended)
        assert all((r.sealed is None) == (r.id in self.ended) for r in found)
        running = [r.account for r in found if r.state == "running"]
        assert len(running) == len(set(running))

    def teardown(self) -> None:
        # From whatever state, workers that live finish all of it.
        self.clock.ms += 10**9
        while (job := self.queue.claim("last")) is not None:
            assert self.queue.finish(job, DONE)
            self.ended.append(job.id)
        assert len(self.ended) == self.submitted


def test_whatever_workers_do_every_job_ends_exactly_once(store: Store) -> None:
    def emptied() -> Machine:
        with store.write() as c:
            for table in (results, jobs, submissions):
                c.execute(sa.delete(table))
        return Machine(store)

    run_state_machine_as_test(emptied, settings=settings(max_examples=30, stateful_step_count=25))


def test_finished_jobs_are_forgotten_after_their_days_and_dead_ones_are_not(
    store: Store, queue: LeaseQueue, clock: Clock
) -> None:
    clock.ms = 100 * DAY_MS
    put(store, queue, "fund", 1)
    queue.finish(claimed(queue), DONE)
    put(store, queue, "fund", 2)
    for _ in range(3):
        queue.retry(claimed(queue), "x")
        clock.ms += 60_000
    put(store, queue, "other", 1)
    assert tidy(store, now=clock.ms + 29 * DAY_MS, keep_days=30) == 0
    assert tidy(store, now=clock.ms + 31 * DAY_MS, keep_days=30) == 1
    with store.read() as c:
        assert sorted(c.scalars(sa.select(jobs.c.state))) == ["dead", "ready"]
        assert c.scalar(sa.select(sa.func.count()).select_from(submissions)) == 2
        assert c.scalar(sa.select(sa.func.count()).select_from(results)) == 0
