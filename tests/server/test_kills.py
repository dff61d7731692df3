"""kill -9 at every named point, many times each: nothing accepted is lost, nothing is twice in the log."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from marginseal.errors import ServiceError
from marginseal.log.entry import ATTESTATION, Entry
from server.jobs import LeaseQueue
from server.main import close_log, limits, make_worker, open_log, unlock_worker_keys
from server.store import Store
from server.tables import jobs, results, submissions
from server.worker import KILL_POINTS
from tests.server.patience import PATIENCE_S, until
from tests.server.world import Site, python_path, site, submit_directly

KILLS = {"sqlite": 20, "postgresql": 5}
LONG_POLL_S = 55


def attested(s: Site) -> list[tuple[str, int]]:
    """(account, sequence) of every attestation in the log."""
    log = open_log(s.config, None)
    entries = [Entry.decode(stored.data) for stored in log.entries()]
    close_log(log)
    return [(str(e.account), int(e.sequence or 0)) for e in entries if e.kind == ATTESTATION]


def drain(s: Site) -> None:
    """One worker until the queue is empty."""
    with contextlib.closing(make_worker(s.config, unlock_worker_keys(s.config), "last")) as worker:
        while worker.run_once():
            pass


def test_killed_at_every_named_point_many_times(tmp_path: Path, database_url: str | None) -> None:
    """Many jobs, each killed at every point in turn, then finished: all attested, each once."""
    with site(tmp_path, database_url=database_url, queue={"lease_s": 600}) as s:
        store = Store(s.config.store_url)
        kills = KILLS[store.url.get_backend_name()]
        accounts = s.accounts(kills)
        names = [submit_directly(s, account, submission) for account, submission in s.submissions(accounts)]
        queue = LeaseQueue(store, limits(s.config))
        command = [sys.executable, str(Path(__file__).with_name("kill_worker.py")), str(s.write_config()), str(kills)]
        with subprocess.Popen(
            [*command, *KILL_POINTS],
            env={**os.environ, "PYTHONPATH": python_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            before: list[tuple[str, int]] = []
            for point in KILL_POINTS:
                program.stdin.write("go\n")
                program.stdin.flush()
                assert program.stdout.readline() == f"{kills} killed {point}\n"
                logged = attested(s)
                assert len(logged) == (kills if point in ("after-log-append", "before-acknowledge") else 0)
                assert logged[: len(before)] == before
                before = logged
                with store.read() as c:
                    assert Counter(c.scalars(sa.select(jobs.c.state))) == {"running": kills}
                    assert c.scalar(sa.select(sa.func.count(submissions.c.sealed))) == kills
                assert queue.claim("nobody") is None  # every lease still stands
                assert sum(queue.forfeit(f"{point}-{i}") for i in range(kills)) == kills
        assert program.returncode == 0
        drain(s)

        assert Counter(attested(s)) == {(account.name, 1): 1 for account in accounts}
        with store.read() as c:
            rows = c.execute(sa.select(jobs.c.submission, jobs.c.state, jobs.c.attempt, jobs.c.log_index)).all()
            assert c.scalar(sa.select(sa.func.count()).select_from(results)) == kills
            assert c.scalar(sa.select(sa.func.count(submissions.c.sealed))) == 0
        assert {row.submission for row in rows} == set(names)
        assert {(row.state, row.attempt) for row in rows} == {("attested", 1 + len(KILL_POINTS))}
        assert len({row.log_index for row in rows}) == kills
        store.close()


def test_the_supervisor_replaces_a_killed_worker_and_its_job_is_done(tmp_path: Path, database_url: str | None) -> None:
    with site(tmp_path, database_url=database_url, worker={"processes": 1}, queue={"lease_s": 600}) as s:
        s.serve()
        s.work()
        fund = s.account("fund")
        client = s.client(fund)
        for sequence in (1, 2, 3):
            submission, published = fund.submission()
            s.publish(published)
            if sequence == 1:  # so that there is a worker that waits for jobs
                submitted = client.submit(submission)
            else:
                with no_end_of_a_job(s):
                    submitted = client.submit(submission)
                    kill_the_worker(s)
            status = client.wait(submitted)
            assert (status["state"], status["sequence"]) == ("attested", sequence), s.said()
        assert attested(s) == [("fund", 1), ("fund", 2), ("fund", 3)]


@contextlib.contextmanager
def no_end_of_a_job(s: Site) -> Iterator[None]:
    """Nobody else writes to the log: a worker may claim a job and prove, and then waits, or tries it again.

    For seconds, on a database server: it ends transactions that idle (`store.STUCK_MS`)."""
    log = open_log(s.config, None)
    try:
        with log.storage.write():
            yield
    finally:
        close_log(log)


def kill_the_worker(s: Site) -> None:
    """kill -9 the worker process that holds a job, when one does."""
    running = sa.select(jobs.c.worker).where(jobs.c.state == "running")
    with contextlib.closing(Store(s.config.store_url)) as store:

        def held() -> bool:
            with store.read() as c:
                return c.scalar(running) is not None

        until(held, "a worker with a job")
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and is_worker(int(process.name), s):
            os.kill(int(process.name), 9)


def is_worker(pid: int, s: Site) -> bool:
    """A spawned child of this site's own supervisor."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return b"spawn_main" in command and parent_of(pid) in {p.pid for p in s.processes}


def parent_of(pid: int) -> int:
    """0 for a process that is gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, ValueError):
        return 0


def test_a_restart_with_a_full_queue_finishes_all_of_it(tmp_path: Path, database_url: str | None) -> None:
    with site(
        tmp_path, database_url=database_url, worker={"processes": 2}, queue={"max_queued": 12, "lease_s": 600}
    ) as s:
        server = s.serve()
        accounts = s.accounts(4)
        submitted = []
        for _ in range(3):
            for account, submission in s.submissions(accounts):
                submitted.append((account, s.client(account).submit(submission)))
        assert s.stop(server, 9) == -9
        s.serve()
        s.work()
        for account, one in submitted:
            status = s.client(account).wait(one)
            assert status["state"] == "attested", s.said()
        assert sorted(attested(s)) == sorted((a.name, n) for a in accounts for n in (1, 2, 3))


def test_a_killed_master_takes_its_processes_along_and_frees_the_port(tmp_path: Path) -> None:
    """Even with a caller waiting in a long poll: the next master serves at once."""
    server = {"long_poll_s": LONG_POLL_S, "request_timeout_s": 120}
    with site(tmp_path, server=server) as s:
        master = s.serve()
        waiting = threading.Thread(target=lambda: suppress_unreachable(s))
        waiting.start()
        children = until(lambda: children_of(master.pid), "a process that serves")
        assert s.client().log_key()
        assert s.stop(master, 9) == -9
        killed = time.monotonic()
        until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "the end of its processes")
        assert time.monotonic() - killed < LONG_POLL_S / 2  # left alone, they would first let the caller wait
        s.serve()
        assert s.client().log_key()
        waiting.join(PATIENCE_S)
        assert not waiting.is_alive()


def children_of(pid: int) -> list[int]:
    return [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit() and parent_of(int(p.name)) == pid]


def suppress_unreachable(s: Site) -> None:
    with contextlib.suppress(ServiceError):
        s.client(patience_s=0).newest_record("key-changes", wait_s=LONG_POLL_S)
