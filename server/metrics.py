"""Prometheus metrics: counts and durations by route, and the state of the queue.

What happens over HTTP is counted in every server process and added up at the scrape (prometheus_client's multi-process
files, in a directory that `serve` empties when it starts).  The queue and the log are read from their databases at the
scrape, so that they are right whatever was killed.  Labels are route templates, methods, status codes and states: never
an account, an identifier or anything a caller sent.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import sqlalchemy as sa

from marginseal.errors import InputError
from server.jobs import Clock
from server.store import Store
from server.tables import JOB_STATES, jobs

_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_FILE_BYTES = 2**20  # all routes, methods and statuses come to a tenth of it
_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def share_between_processes(directory: Path) -> None:
    """Call once, in the parent, before anything imports prometheus_client: the library decides at its import."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    os.environ[_DIRECTORY] = str(directory)


def _reserve() -> None:
    """Room on the disk for what this process counts, before the library maps its files into memory.

    It makes them sparse: on a full disk the first count that needs another block would end the process (SIGBUS), with
    every request anew, where a request is to be refused with 503.  InputError file.unwritable."""
    if _DIRECTORY not in os.environ:
        return
    for kind in ("counter", "histogram"):
        path = Path(os.environ[_DIRECTORY]) / f"{kind}_{os.getpid()}.db"
        try:
            fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                os.posix_fallocate(fd, 0, _FILE_BYTES)
            finally:
                os.close(fd)
        except OSError as e:
            raise InputError("file.unwritable", f"cannot write {path}: {e.strerror}") from None


class Metrics:
    """The metrics of one process; `render` gives the text of all."""

    def __init__(
        self, store: Store, log_size: Callable[[], int], clock: Clock, *, cosignatures: Callable[[], int] = lambda: 0
    ) -> None:
        import prometheus_client as p

        self._store, self._log_size, self._clock = store, log_size, clock
        self._cosignatures = cosignatures
        _reserve()
        self._registry = p.CollectorRegistry()
        self._requests = p.Counter(
            "marginseal_http_requests", "Requests answered", ["route", "method", "status"], registry=self._registry
        )
        self._seconds = p.Histogram(
            "marginseal_http_seconds", "Time to answer", ["route"], buckets=_BUCKETS, registry=self._registry
        )
        self._refusals = p.Counter("marginseal_refusals", "Requests refused", ["code"], registry=self._registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def refused(self, code: str) -> None:
        self._refusals.labels(code).inc()

    def render(self) -> bytes:
        """Text format 0.0.4."""
        import prometheus_client as p
        from prometheus_client import multiprocess
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

        measured = self._database()

        class Database:
            def collect(self) -> Iterator[Metric]:
                states = GaugeMetricFamily("marginseal_jobs", "Jobs by state", labels=["state"])
                for state in JOB_STATES:
                    states.add_metric([state], measured.get(state, 0))
                yield states
                yield GaugeMetricFamily("marginseal_oldest_job_seconds", "Longest wait", value=measured["oldest"])
                yield CounterMetricFamily("marginseal_job_attempts", "Claims", value=measured["attempts"])
                yield SummaryMetricFamily(
                    "marginseal_job_seconds",
                    "First claim to attestation",
                    count_value=int(measured["attested"]),
                    sum_value=measured["seconds"],
                )
                yield GaugeMetricFamily("marginseal_log_entries", "Entries of the log", value=measured["log"])
                yield GaugeMetricFamily(
                    "marginseal_log_cosignatures", "Of the newest checkpoint", value=measured["cosignatures"]
                )

        database = p.CollectorRegistry(auto_describe=False)
        database.register(Database())
        shared = self._registry
        if _DIRECTORY in os.environ:
            shared = p.CollectorRegistry()
            multiprocess.MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return p.generate_latest(shared) + p.generate_latest(database)

    def _database(self) -> dict[str, float]:
        count = sa.func.count()
        spent = sa.func.sum(jobs.c.finished - jobs.c.started)
        with self._store.read() as c:
            out: dict[str, float] = dict.fromkeys(JOB_STATES, 0)
            for state, number in c.execute(sa.select(jobs.c.state, count).group_by(jobs.c.state)):
                out[state] = number
            waiting = sa.select(sa.func.min(jobs.c.created)).where(jobs.c.state.in_(("ready", "running")))
            oldest = c.scalar(waiting)
            out["attempts"] = c.scalar(sa.select(sa.func.sum(jobs.c.attempt))) or 0
            out["seconds"] = (c.scalar(sa.select(spent).where(jobs.c.state == "attested")) or 0) / 1000
        out["oldest"] = 0 if oldest is None else max(0, self._clock() - oldest) / 1000
        out["log"] = self._log_size()
        out["cosignatures"] = self._cosignatures()
        return out
