"""Several machines on one database server: by configuration alone they serve one queue and write one log.

A machine is a data directory, a configuration and processes of its own; what it shares with the others is the address
of the database and the key files."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from marginseal.log.merkle import verify_consistency
from marginseal.records.submission import NONCE_BYTES, Submission, seal_submission
from server.client import Submitted
from server.store import Store
from server.tables import jobs
from server.wire import encode_body
from tests.databases import new_schema
from tests.postgres import Cluster
from tests.server.patience import PATIENCE_S, hold_port, until
from tests.server.test_kills import attested, children_of, is_worker
from tests.server.wire_level import post_octets
from tests.server.world import ROOT, Account, Site, python_path, site

ACCOUNTS, EACH = 4, 3


@pytest.fixture
def machines(tmp_path: Path, schema: str) -> Iterator[tuple[Site, Site]]:
    sections = {"worker": {"processes": 1}, "queue": {"lease_s": 4}}
    with site(tmp_path / "one", database_url=schema, **sections) as one:
        data = tmp_path / "other" / "data"
        for name in ("keys", "tls"):
            shutil.copytree(one.config.data_dir / name, data / name)
        port = hold_port()
        server = one.config.server.model_copy(update={"port": port.getsockname()[1]})
        other = Site(one.config.model_copy(update={"data_dir": data, "server": server}), port=port)
        try:
            yield one, other
        finally:
            other.close()


def submitted(machines: tuple[Site, Site]) -> list[tuple[Account, Submitted]]:
    """The submissions of every account in turn, each handed to one machine or the other."""
    one, _ = machines
    accounts, out = one.accounts(ACCOUNTS), []
    for turn in range(EACH):
        made: list[tuple[Account, Submission]] = one.submissions(accounts)
        for number, (account, submission) in enumerate(made):
            out.append((account, machines[(turn + number) % 2].client(account).submit(submission)))
    return out


def done_by(s: Site) -> list[int]:
    """The jobs that this machine's workers say they finished."""
    lines = [json.loads(line) for log in s.logs for line in log.read_text().splitlines() if line.startswith("{")]
    return [line["job"] for line in lines if line["event"] == "attested"]


def test_two_machines_drain_one_queue_and_each_job_is_attested_once(machines: tuple[Site, Site]) -> None:
    for machine in machines:
        machine.serve()
    waiting = submitted(machines)
    for machine in machines:
        machine.work()
    for number, (account, one) in enumerate(waiting):
        status = machines[number % 2].client(account).wait(one)  # asked of any machine
        assert status["state"] == "attested", machines[0].said() + machines[1].said()
    done = [done_by(machine) for machine in machines]
    assert all(done), done
    assert Counter(done[0] + done[1]) == dict.fromkeys(done[0] + done[1], 1)
    assert len(done[0] + done[1]) == ACCOUNTS * EACH
    assert Counter(attested(machines[0])) == {
        (f"fund-{n}", sequence): 1 for n in range(ACCOUNTS) for sequence in range(1, EACH + 1)
    }


def test_a_machine_that_is_gone_leaves_its_jobs_to_the_other(machines: tuple[Site, Site]) -> None:
    one, other = machines
    one.serve()
    waiting = submitted((one, one))
    lost = other.work()
    until(lambda: done_by(other), "a job that the machine has done")
    workers = children_of(lost.pid)
    os.kill(lost.pid, signal.SIGKILL)
    for worker in workers:
        os.kill(worker, signal.SIGKILL)
    one.work()
    for account, submission in waiting:
        assert one.client(account).wait(submission)["state"] == "attested", one.said()
    assert len(attested(one)) == len(set(attested(one))) == ACCOUNTS * EACH


def test_one_submission_sent_to_both_at_once_is_one(machines: tuple[Site, Site]) -> None:
    """As by a client whose first answer was late: whichever is second finds the first, never a second job."""
    for machine in machines:
        machine.serve()
    for account, submission in machines[0].submissions(machines[0].accounts(ACCOUNTS)):
        prover = machines[0].client().prover_key()
        body = encode_body(*seal_submission(submission, prover, secrets.token_bytes(NONCE_BYTES)))
        name, together = secrets.token_urlsafe(16), threading.Barrier(2)

        def post(
            machine: Site, account: Account = account, body: bytes = body, name: str = name,
            together: threading.Barrier = together,
        ) -> tuple[int, str]:  # fmt: skip
            together.wait()
            response = post_octets(machine, "/v1/submissions", account, body, name)
            return response.status_code, response.json()["id"]

        with ThreadPoolExecutor() as pool:
            answers = list(pool.map(post, machines))
        assert sorted(status for status, _ in answers) == [200, 202]
        assert len({one for _, one in answers}) == 1
    with contextlib.closing(Store(machines[0].config.store_url)) as store, store.read() as c:
        assert Counter(c.scalars(sa.select(jobs.c.account))) == {f"fund-{n}": 1 for n in range(ACCOUNTS)}


def test_a_database_server_that_crashes_is_waited_for(tmp_path: Path, postgresql: Cluster) -> None:
    """kill -9 of PostgreSQL while jobs run and a worker has died: the others live on, and each job ends once."""
    sections = {"worker": {"processes": 2}, "queue": {"lease_s": 4}}
    with new_schema(postgresql.url()) as url, site(tmp_path, database_url=url, **sections) as s:
        server = s.serve()
        accounts = s.accounts(ACCOUNTS)
        waiting = [(account, s.client(account).submit(one)) for account, one in s.submissions(accounts)]
        supervisor = s.work()
        deadline = time.monotonic() + 120
        while not done_by(s):
            assert time.monotonic() < deadline, s.said()
            time.sleep(0.02)
        worker = next(pid for pid in children_of(supervisor.pid) if is_worker(pid, s))
        with postgresql.crashed():
            os.kill(worker, signal.SIGKILL)
            while "leases not ended" not in s.logs[-1].read_text():
                assert supervisor.poll() is None, s.said()
                assert time.monotonic() < deadline, s.said()
                time.sleep(0.02)
        for account, one in waiting:
            assert s.client(account, patience_s=60).wait(one, timeout_s=180)["state"] == "attested", s.said()
        assert sorted(attested(s)) == [(account.name, 1) for account in accounts]
        assert (server.poll(), supervisor.poll()) == (None, None), s.said()


def test_two_servers_sign_one_log(machines: tuple[Site, Site]) -> None:
    """Checkpoints taken from both in turn, while the log grows, extend one another."""
    for machine in machines:
        machine.serve()
    clients = [machine.client() for machine in machines]
    policy, seen = machines[0].log_policy, None
    for turn in range(6):
        machines[turn % 2].account(f"grower-{turn}")
        time.sleep(1.1 if turn == 3 else 0)
        client = clients[turn % 2]
        checkpoint = policy.verify(client.checkpoint()).checkpoint
        if seen is not None and seen.size < checkpoint.size:
            path = client.consistency(seen.size, checkpoint.size)
            verify_consistency(seen.size, seen.root, checkpoint.size, checkpoint.root, path)
        if seen is not None and seen.size == checkpoint.size:
            assert seen.root == checkpoint.root
        seen = checkpoint if seen is None or checkpoint.size > seen.size else seen


def test_machines_may_start_on_an_empty_database_together(tmp_path: Path, schema: str) -> None:
    code = """
import sys
from pathlib import Path
from server.config import load
from server.main import first_run
first_run(load(data_dir=Path(sys.argv[1]), database_url=sys.argv[2]), print, log_cost=14)
"""
    command = [sys.executable, "-c", code]
    started = [
        subprocess.Popen(
            [*command, str(tmp_path / f"machine-{n}"), schema],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": python_path()},
            stdout=subprocess.DEVNULL,
        )
        for n in range(3)
    ]
    assert [process.wait(PATIENCE_S) for process in started] == [0, 0, 0]
