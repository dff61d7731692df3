"""Private values never leave a worker's memory in the clear.

Every private field of two submissions carries a marker: lots, pledges, blinders, openings, keys.  A scanner first finds
a marker planted in each place where one could end up; then two submissions are served, a healthy one and one whose
proof fails with an exception that quotes the book, and the scanner finds nothing in the databases, the logs, the
metrics, the answers, the temporary files, or beside the processes.
"""

from __future__ import annotations

import base64
import contextlib
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from marginseal.algebra.field import scalar_bytes
from marginseal.records.submission import Submission
from server.main import passphrase
from server.store import Store
from server.tables import submissions
from tests.server.patience import PATIENCE_S, until
from tests.server.test_kills import children_of
from tests.server.wire_level import recorder
from tests.server.world import LOTS, ROOT, Account, Site, site

CASH = 987_654_321
PLEDGE = 123_456_787


def spellings(value: bytes) -> list[bytes]:
    """A byte string as it is, in hexadecimal, and as it shows in base64 at each of the three alignments."""
    out = [value, value.hex().encode(), value.hex().upper().encode()]
    for shift in range(3):
        encoded = base64.b64encode(bytes(shift) + value)
        inner = encoded[4 * (shift > 0) : -4]  # without the ends, which depend on the neighbours
        out += [inner, inner.replace(b"+", b"-").replace(b"/", b"_")]
    return out


def markers(submission: Submission, account: Account) -> dict[str, list[bytes]]:
    """Name -> what to look for."""
    out: dict[str, list[bytes]] = {}
    for name, number in {"cash lots": CASH, "pledge": PLEDGE}.items():
        four = number.to_bytes(4, "big")
        out[name] = [str(number).encode(), f"{number:,}".encode(), f"{number:_}".encode(), four, four[::-1]]
    openings = {f"source {i}": s.opening for i, s in enumerate(submission.sources)} | {
        "pledges": submission.pledges.opening
    }
    for name, opening in openings.items():
        out[f"{name}: blinder"] = [*spellings(scalar_bytes(opening.b_0)), str(opening.b_0).encode()]
        out[f"{name}: random"] = spellings(opening.random)
        out[f"{name}: rows"] = spellings(opening.encode()[20:80])
    for name, seed in {
        "account": account.key.seed,
        "sealing": account.sealing.seed,
        "response": account.response.seed,
    }.items():
        out[f"{name} key"] = spellings(seed)
    return out


def found(wanted: dict[str, list[bytes]], places: dict[str, bytes]) -> set[tuple[str, str]]:
    return {
        (name, place)
        for place, data in places.items()
        for name, needles in wanted.items()
        if any(needle in data for needle in needles)
    }


def files(*roots: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for root in roots for p in root.rglob("*") if p.is_file()}


class Watched:
    """A site whose every output is kept: files, logs, temporary files, and what its clients were answered."""

    def __init__(self, s: Site, temporary: Path) -> None:
        self.site, self.temporary, self.answers = s, temporary, bytearray()

    def places(self) -> dict[str, bytes]:
        out = files(self.site.config.data_dir, self.temporary)
        out |= {f"log {i}": log.read_bytes() for i, log in enumerate(self.site.logs)}
        out["answers"] = bytes(self.answers)
        out["metrics"] = recorder(self.site, None).send("GET", "/metrics", signed=False).content
        out["cores"] = b"".join(p.read_bytes() for p in ROOT.glob("core*") if p.is_file())
        return out

    def submit(self, account: Account, submission: Submission) -> dict[str, Any]:
        client = self.site.client(account)
        send = client._send

        def keep(*args: Any) -> Any:
            response = send(*args)
            self.answers += repr(response.headers).encode() + response.content
            return response

        client._send = keep  # type: ignore[method-assign]
        return client.wait(client.submit(submission))


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    with site(tmp_path / "site", worker={"processes": 1}, queue={"max_attempts": 2, "backoff_s": 0.1}) as s:
        yield Watched(s, temporary)


def marked(s: Site, name: str) -> tuple[Account, Submission]:
    account = s.account(name)
    lots = {**LOTS, "custodian": [CASH, *LOTS["custodian"][1:]]}
    submission, published = account.submission(lots, pledges={"venue-a": PLEDGE, "venue-b": 10})
    s.publish(published)
    return account, submission


def test_the_scanner_finds_a_marker_planted_in_each_place(watched: Watched) -> None:
    s = watched.site
    s.serve()
    account, submission = marked(s, "fund")
    wanted = markers(submission, account)
    assert found(wanted, watched.places()) == set()
    secret = submission.sources[0].opening.encode()

    store = Store(s.config.store_url)
    with store.write() as c:
        c.execute(
            sa.insert(submissions).values(
                id="planted", account="fund", sequence=1, epoch=bytes(32), prover_key="", idempotency_key="planted",
                body_digest=bytes(32), sealed=secret, received=0,
            )
        )  # fmt: skip
    (watched.temporary / "planted").write_text(f"lots: {CASH}")
    with open(s.logs[0], "a") as log:
        log.write(base64.b64encode(b"x" + submission.pledges.opening.random).decode())
    watched.answers += str(submission.sources[1].opening.b_0).encode()
    places = watched.places()
    places["metrics"] += f'jobs{{pledge="{PLEDGE}"}} 1'.encode()
    core = ROOT / "core.planted"
    core.write_bytes(account.response.seed)
    try:
        places |= {"cores": watched.places()["cores"]}
    finally:
        core.unlink()

    hits = found(wanted, places)
    names = {Path(place).name if "/" in place else place for _, place in hits}
    assert names >= {"service.db-wal", "planted", "log 0", "answers", "metrics", "cores"}
    assert ("cash lots", str(watched.temporary / "planted")) in hits
    assert ("pledges: random", "log 0") in hits
    assert ("response key", "cores") in hits
    store.close()


FAILING_WORKER = """
import prover.attest
def quotes_the_book(compiled, lots, *rest):
    raise ValueError(f"cannot prove {list(lots)} with {rest}")
prover.attest.make_witness = quotes_the_book
from server.logs import configure
from server.main import make_worker, unlock_worker_keys
configure()
worker = make_worker(config, unlock_worker_keys(config), "failing")
import time
while not worker.run_once():
    time.sleep(0.05)
"""


def test_no_marker_leaves_a_workers_memory(watched: Watched) -> None:
    s = watched.site
    s.serve()
    workers = s.work()
    healthy, one = marked(s, "healthy")
    status = watched.submit(healthy, one)
    assert status["state"] == "attested", s.said()
    s.stop(workers)

    unlucky, two = marked(s, "unlucky")
    client = s.client(unlucky)
    submitted = client.submit(two)
    failing = s.start(FAILING_WORKER)
    assert failing.wait(PATIENCE_S) == 0, s.said()
    assert '"code": "worker.failed"' in s.said()
    assert "ValueError" in s.said()
    watched.answers += repr(client.status(submitted.id)).encode()

    for account, submission in ((healthy, one), (unlucky, two)):
        assert found(markers(submission, account), watched.places()) == set()
    service = {"passphrase": [passphrase(s.config)], "operator key": spellings(s.operator.key.seed)}
    where = {place for _, place in found(service, watched.places())}
    assert where == {str(s.config.path(s.config.passphrase_file))}


def test_a_worker_leaves_no_core_dump_and_cannot_be_traced() -> None:
    code = """
import ctypes, os, resource
from server.harden import protect_memory
protect_memory(lock=False)
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), oct(os.umask(0)))
os.abort()
"""
    before = set(ROOT.glob("core*"))
    unlimited = resource.getrlimit(resource.RLIMIT_CORE)[1]
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (unlimited, unlimited)),
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert run.stdout.split("\n")[0] == "(0, 0) 0 0o77"
    assert run.returncode == -6
    assert set(ROOT.glob("core*")) == before


def test_no_process_of_the_service_leaves_a_core_dump(tmp_path: Path) -> None:
    """The masters as well: they unlock keys before they start those who use them, and keep them in memory."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    before = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        pytest.skip("this system allows no core dumps")
    with site(tmp_path, worker={"processes": 1}) as s:
        resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
        try:
            master = s.start("from server.main import run\nrun(config)")
        finally:
            resource.setrlimit(resource.RLIMIT_CORE, before)
        assert s.listens()

        until(lambda: len(limits_of_family(master.pid)) >= 5, "master, two parts, a server process, a worker")
        for limits in limits_of_family(master.pid):
            assert re.search(r"Max core file size +0 +0 ", limits)
        assert s.stop(master) == 0


def limits_of_family(pid: int) -> list[str]:
    """Of a process and all that came of it, those aside that only track resources or are gone already."""
    limits = [found for child in children_of(pid) for found in limits_of_family(child)]
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if command and b"resource_tracker" not in command:
            limits.append(Path(f"/proc/{pid}/limits").read_text())
    return limits
