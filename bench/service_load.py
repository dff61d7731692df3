"""The service under load, on loopback: throughput, reads, latency of status calls, epoch to attestation, a soak.

    python bench/service_load.py [--books 24] [--rounds 5] [--workers 2] [--soak 0] [--seed 1] [--json out.json]

Books have 512 rows and come from three sources; proofs, TLS, signatures and databases are the real ones.  Targets:

* throughput: the service attests at least 85 % of what as many processes attest in a bare loop over the same books
  (counted between the 10 % and the 90 % mark of a round, so that neither start nor end counts; rounds of both in turn,
  both at the niceness of workers);
* reads: the newest attestation of an account at no less than half the rate of a static reply of 6 KB by this server;
* status: p99 of status calls under full load below ten times the p99 of the idle server;
* follow: from an epoch published to a fresh attestation of the same positions, under two seconds;
* soak: server and workers are killed at random every few seconds for so many seconds; afterwards every accepted
  submission is attested, exactly once, and every attestation verifies with its receipt.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import random
import signal
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from service_world import ROWS, SCENARIOS, Fund, Service, make_epoch

from marginseal.errors import ServiceError
from marginseal.log.client import verify_receipt
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.note import VerifierKey
from marginseal.log.policy import LogPolicy
from marginseal.market import epoch as epochs
from marginseal.records.attestation import Attestation
from marginseal.records.submission import NONCE_BYTES, Submission, seal_submission
from server.client import Client
from server.main import close_log, make_worker, open_log, unlock_worker_keys
from server.store import Store
from server.tables import jobs

# The bare loop


def _bare(config: Any, submissions: list[bytes], ready: Any, go: Any, out: Any) -> None:
    """One process: the worker's own attestor over opened submissions, and nothing of the service around it."""
    worker = make_worker(config, unlock_worker_keys(config), "bare")
    os.nice(config.worker.niceness)
    proving = worker._task
    opened = [Submission.decode(data) for data in submissions]
    proving._attestor.attest(opened[0], proving._public)  # type: ignore[attr-defined]
    ready.release()
    while go.get():
        started = time.monotonic()
        for submission in opened:
            proving._attestor.attest(submission, proving._public)  # type: ignore[attr-defined]
        out.put((started, time.monotonic()))


class Bare:
    """As many processes as the service has workers, idle between rounds."""

    def __init__(self, service: Service, submissions: list[Submission], workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        ready, self._out = context.Semaphore(0), context.Queue()
        self._go = [context.Queue() for _ in range(workers)]
        self._count = len(submissions)
        self._processes = []
        for number, go in enumerate(self._go):
            share = [s.encode() for s in submissions[number::workers]]
            p = context.Process(target=_bare, args=(service.config, share, ready, go, self._out), daemon=True)
            p.start()
            self._processes.append(p)
        for _ in self._processes:
            ready.acquire()

    def rate(self) -> float:
        for go in self._go:
            go.put(True)
        times = [self._out.get(timeout=600) for _ in self._go]
        return self._count / (max(end for _, end in times) - min(start for start, _ in times))

    def close(self) -> None:
        for go in self._go:
            go.put(False)
        for p in self._processes:
            p.join()


# Throughput, and status calls meanwhile


def latencies(call: Callable[[], object], *, count: int = 0, until: threading.Event | None = None) -> list[float]:
    out: list[float] = []
    while len(out) < count or (until is not None and not until.is_set()):
        started = time.perf_counter()
        call()
        out.append(1000 * (time.perf_counter() - started))
    return out


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def throughput(service: Service, funds: list[Fund], epoch: Any, rounds: int) -> dict[str, Any]:
    """Rounds in turn, so that other work falls on both alike: the bare loop, then everything submitted at once."""
    submissions = [fund.next(epoch) for fund in funds]
    bare = Bare(service, submissions, service.config.worker.processes)
    clients = [service.client(fund) for fund in funds]
    first = clients[0].submit(submissions[0])
    clients[0].wait(first)
    idle = latencies(lambda: clients[0].status(first.id), count=400)
    pairs = []
    for number in range(rounds):
        ours = submissions[1:] if number == 0 else [fund.next(epoch) for fund in funds[1:]]
        pairs.append((bare.rate(), _round(service, clients, ours)))
    bare.close()
    loaded = _status_under_load(service, clients, [[f.next(epoch) for f in funds[1:]] for _ in range(rounds)], first.id)
    return {
        "bare per s": [one for one, _ in pairs],
        "service per s": [one for _, one in pairs],
        "service / bare, of the best": max(s for _, s in pairs) / max(b for b, _ in pairs),
        "service / bare, median of rounds": statistics.median(s / b for b, s in pairs),
        "status idle p50 ms": statistics.median(idle),
        "status idle p99 ms": percentile(idle, 0.99),
        "status loaded p50 ms": statistics.median(loaded),
        "status loaded p99 ms": percentile(loaded, 0.99),
        "status p99 loaded / idle": percentile(loaded, 0.99) / percentile(idle, 0.99),
        "status calls under load": len(loaded),
    }


def _status_under_load(
    service: Service, clients: list[Client], batches: list[list[Submission]], watched: str
) -> list[float]:
    """Latencies while all workers prove."""
    done, loaded = threading.Event(), list[float]()
    poll = threading.Thread(target=lambda: loaded.extend(_paced(lambda: clients[0].status(watched), done)))
    poll.start()
    for submissions in batches:
        _round(service, clients, submissions)
    done.set()
    poll.join()
    return loaded


def _round(service: Service, clients: list[Client], submissions: list[Submission]) -> float:
    """Attested a second between the 10 % and the 90 % mark of these submissions."""
    prover = clients[0].prover_key()
    sealed = [seal_submission(one, prover, os.urandom(NONCE_BYTES)) for one in submissions]
    names = [client.submit_sealed(*one).id for client, one in zip(clients[1:], sealed, strict=True)]
    store = Store(service.config.store_url)
    query = sa.select(jobs.c.state, jobs.c.finished).where(jobs.c.submission.in_(names)).order_by(jobs.c.finished)
    while True:
        with store.read() as c:
            rows = c.execute(query).all()
        if all(row.finished is not None for row in rows):
            break
        time.sleep(0.5)
    store.close()
    assert {row.state for row in rows} == {"attested"}
    low, high = len(rows) // 10, 9 * len(rows) // 10
    return float(1000 * (high - low) / (rows[high].finished - rows[low].finished))


def _paced(call: Callable[[], object], until: threading.Event) -> list[float]:
    """About forty calls a second, one after the other."""
    out: list[float] = []
    while not until.wait(0.02):
        out += latencies(call, count=1)
    return out


# Reads


def _reader(service: Service, path: str, seconds: float, out: Any, go: Any) -> None:
    context = ssl.create_default_context(cafile=str(service.config.data_dir / "tls" / "ca.pem"))
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", service.config.server.port)) as raw:
        connection = context.wrap_socket(raw, server_hostname="127.0.0.1")
        stream = connection.makefile("rb")
        go.wait()
        count, deadline = 0, time.monotonic() + seconds
        while time.monotonic() < deadline:
            connection.sendall(request)
            length = 0
            status = stream.readline()
            assert status.startswith(b"HTTP/1.1 200"), status
            while (line := stream.readline()) != b"\r\n":
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            assert len(stream.read(length)) == length
            count += 1
        out.put(count / seconds)


def read_rate(service: Service, path: str, *, clients: int = 2, seconds: float = 3.0) -> float:
    context = multiprocessing.get_context("fork")
    out, go = context.Queue(), context.Event()
    processes = [context.Process(target=_reader, args=(service, path, seconds, out, go)) for _ in range(clients)]
    for p in processes:
        p.start()
    time.sleep(0.3)
    go.set()
    rates = [out.get(timeout=30 + seconds) for _ in processes]
    for p in processes:
        p.join()
    return sum(rates)


def reads(service: Service, account: str) -> dict[str, float]:
    """In turn, three times each, so that other work falls on both alike; the best of each."""
    latest = f"/v1/accounts/{account}/attestations/latest"
    rounds = [(read_rate(service, "/static"), read_rate(service, latest)) for _ in range(3)]
    static, newest = (max(r[i] for r in rounds) for i in (0, 1))
    return {"static 6 KB per s": static, "newest per s": newest, "ratio": newest / static}


# From an epoch to an attestation


def follow(service: Service, fund: Fund, count: int = 3) -> list[float]:
    """Seconds from the start of publishing to a verified-by-the-log attestation, with an agent that long-polls."""
    times: list[float] = []
    known = service.client().newest_record("epochs")
    for number in range(count):
        epoch = make_epoch(f"follow-{number}", seed=100 + number)
        attested = threading.Event()

        def agent(seen: bytes | None = known, done: threading.Event = attested) -> None:
            client = service.client(fund)
            digest = client.newest_record("epochs", after=seen, wait_s=30)
            assert digest is not None
            status = client.wait(client.submit(fund.next(epochs.decode(client.object(digest)))))
            assert status["state"] == "attested", status
            done.set()

        thread = threading.Thread(target=agent)
        thread.start()
        time.sleep(0.5)
        started = time.monotonic()
        service.publish(epoch)
        attested.wait(60)
        times.append(time.monotonic() - started)
        thread.join()
        known = epoch.digest
    return times


# Soak


def descendants(pid: int) -> Iterator[int]:
    for task in Path("/proc").iterdir():
        if task.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((task / "stat").read_text().rsplit(")", 1)[1].split()[1]) == pid:
                    yield int(task.name)
                    yield from descendants(int(task.name))


def soak(service: Service, funds: list[Fund], epoch: Any, seconds: float, rng: random.Random) -> dict[str, Any]:
    """Funds submit one after the other without end; every two to six seconds a process of the service is killed."""
    accepted: dict[str, tuple[str, int]] = {}
    stop, kills = threading.Event(), Counter()  # type: ignore[var-annotated]
    problems: list[str] = []

    def submit(fund: Fund) -> None:
        client = service.client(fund, patience_s=120)
        while not stop.is_set():
            submission = fund.next(epoch)
            try:
                submitted = client.submit(submission)
                accepted[submitted.id] = (fund.name, submission.statement.sequence)
                status = client.wait(submitted, timeout_s=240)
            except ServiceError as e:
                problems.append(e.code)
                return
            if status["state"] != "attested":
                problems.append(f"{status['state']} {status['code']}")
                return

    threads = [threading.Thread(target=submit, args=(fund,)) for fund in funds]
    for t in threads:
        t.start()
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(rng.uniform(2, 6))
        which = rng.choice(sorted(service.processes))
        master = service.processes[which].pid
        victims = [master, *descendants(master)]
        victim = rng.choice(victims)
        kills[f"{which} {'master' if victim == master else 'child'}"] += 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        if service.processes[which].poll() is not None or victim == master:
            service.processes[which].wait()
            service.start(which)
    stop.set()
    for t in threads:
        t.join()
    log = open_log(service.config, None)
    logged = [Entry.decode(e.data) for e in log.entries()]
    close_log(log)
    found = Counter((e.account, e.sequence) for e in logged if e.kind == ATTESTATION)
    # A submission whose answer was lost is accepted too: it may be logged without standing in `accepted`.
    missing = [one for one in accepted.values() if found[one] != 1]
    return {
        "seconds": seconds,
        "kills": dict(kills),
        "accepted": len(accepted),
        "logged": sum(found.values()),
        "twice": [one for one, count in found.items() if count != 1],
        "missing": missing,
        "problems": problems,
        "replayed": replay(service, epoch, logged),
    }


def replay(service: Service, epoch: Any, logged: list[Entry]) -> int:
    """Every attestation: its receipt under the log's key, its signatures, its proofs."""
    from service_world import VENUES

    from circuits.compile import compile_rule
    from marginseal.records.keys import PublicKey, Role
    from marginseal.records.statement import Tier
    from server.main import ATTESTATION_KEY, public_half
    from verifier.verify import verify

    client = service.client()
    policy = LogPolicy(service.config.log.origin, (VerifierKey.parse(client.log_key()),))
    prover = PublicKey(Role.PROVER, public_half(service.config, ATTESTATION_KEY))
    circuit = compile_rule("worst_case", epoch, Tier.INITIAL, venues=len(VENUES)).circuit
    count = 0
    for index, entry in enumerate(logged):
        if entry.kind != ATTESTATION:
            continue
        attestation = Attestation.decode(entry.payload)
        verify_receipt(client.receipt(index), entry.payload, policy)
        attestation.verify_signatures([prover])
        if attestation.statement.claims[0].circuit == circuit.digest:
            verify(circuit, attestation.statement, attestation.proofs[0])
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--books", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--soak", type=float, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # for the processes started here, as the service does for its own
    report: dict[str, Any] = {"rows": ROWS, "scenarios": SCENARIOS, "books": options.books, "workers": options.workers}
    with tempfile.TemporaryDirectory() as directory:
        sections = {"worker": {"processes": options.workers}, "queue": {"lease_s": 20, "max_attempts": 1000}}
        service = Service.new(Path(directory), **sections)
        try:
            run(service, options, report)
        finally:
            service.stop()
    print(json.dumps(report, indent=2))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))


def run(service: Service, options: argparse.Namespace, report: dict[str, Any]) -> None:
    epoch = make_epoch("bench")
    funds = [Fund.new(f"fund-{i}") for i in range(options.books)]
    service.prepare(epoch, funds)
    service.start("serve")
    service.start("work")
    report["service"] = throughput(service, funds, epoch, options.rounds)
    report["reads"] = reads(service, funds[0].name)
    report["epoch to attestation s"] = follow(service, funds[0])
    if options.soak:
        epoch = make_epoch("soak")  # the newest: a service takes one that was superseded for `log.epoch_lag_s` no more
        service.publish(epoch)
        report["soak"] = soak(service, funds[1:5], epoch, options.soak, random.Random(options.seed))


if __name__ == "__main__":
    main()
