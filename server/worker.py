"""A prover worker: claim, prove, log, acknowledge; again.  And the supervisor that keeps a number of them alive.

A worker is a process of its own.  It may be killed at any instruction: what it held is claimed again, and doing it
again is harmless, because the task looks at the log before it proves and the log takes one attestation per (account,
sequence).  While a job runs, a second thread extends its lease and says how far it is; when the lease is lost anyway
the work goes on, its acknowledgement changes nothing.

`at` is called at four named points, in the order of KILL_POINTS.  Tests pass a function that kills the process there;
the service passes none.  What the task does with the sealed bytes is proving.py.
"""

from __future__ import annotations

import logging
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Literal, Protocol

from marginseal.errors import MarginSealError, StorageError
from server.jobs import Job, LeaseQueue, Outcome, Queue, Stage
from server.logs import where

_log = logging.getLogger("marginseal.worker")

Point = Literal["after-claim", "after-proof", "after-log-append", "before-acknowledge"]
STAGE_SHOWN_S = 0.3
KILL_POINTS: tuple[Point, ...] = ("after-claim", "after-proof", "after-log-append", "before-acknowledge")


class Progress(Protocol):
    """Given to the task: `stage` says how far it is, `work` how many turns it takes, `at` marks the named points."""

    def stage(self, stage: Stage) -> None: ...

    def work(self, turns: int) -> None: ...

    def at(self, point: Point) -> None: ...


Task = Callable[[Job, Progress], Outcome]


def nothing(_point: Point) -> None:
    """What the service passes for `at`."""


class _Progress:
    """The progress of one job; beats until `stop`."""

    def __init__(self, queue: Queue, job: Job, every_s: float, at: Callable[[Point], None]) -> None:
        self._queue, self._job, self._every_s, self.at = queue, job, every_s, at
        self._stage: Stage = "claimed"
        self._changed = threading.Event()
        self._stopped = threading.Event()

    def stage(self, stage: Stage) -> None:
        self._stage = stage
        self._changed.set()

    def work(self, turns: int) -> None:
        if turns > 1:
            self._queue.charge(self._job, turns)

    def stop(self) -> None:
        self._stopped.set()
        self._changed.set()

    def beat(self) -> None:
        """A beat when its time has come, and soon after a change of stage; a short job needs none at all."""
        while not self._stopped.is_set():
            self._changed.wait(self._every_s)
            if self._stopped.wait(STAGE_SHOWN_S):
                return
            self._changed.clear()
            try:
                if not self._queue.heartbeat(self._job, self._stage):
                    _log.warning("lease lost", extra={"job": self._job.id, "attempt": self._job.attempt})
                    return
            except StorageError as e:
                _log.warning("no heartbeat", extra={"job": self._job.id, "code": e.code})


class Worker:
    """One loop over one queue.  `name` is unique among all workers that ever ran; `release` frees what it holds."""

    def __init__(
        self,
        queue: Queue,
        task: Task,
        *,
        name: str,
        beat_s: float,
        idle_s: float = 0.05,
        at: Callable[[Point], None] = nothing,
        release: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue, self._task, self._name, self._beat_s, self._idle_s = queue, task, name, beat_s, idle_s
        self._at, self.close = at, release
        self._stop = threading.Event()

    def stop(self) -> None:
        """Finish the job at hand, then return from `run`."""
        self._stop.set()

    def run(self) -> None:
        """Until `stop`."""
        while not self._stop.is_set():
            try:
                busy = self.run_once()
            except StorageError as e:
                _log.error("queue unavailable", extra={"code": e.code})
                busy = False
            if not busy:
                self._stop.wait(self._idle_s)

    def run_once(self) -> bool:
        """One job, if there is one."""
        job = self._queue.claim(self._name)
        if job is None:
            return False
        started = time.monotonic()
        try:
            with self._beating(job) as progress:
                progress.at("after-claim")
                outcome = self._task(job, progress)
                progress.at("before-acknowledge")
        except Exception as e:
            # Not the owner's doing as far as is known, so it is tried again; the message may quote the job.
            code = e.code if isinstance(e, MarginSealError) else "worker.failed"
            _log.error("attempt failed", extra={"job": job.id, "attempt": job.attempt, "code": code, "at": where(e)})
            self._queue.retry(job, code)
            return True
        done = self._queue.finish(job, outcome)
        ms = round(1000 * (time.monotonic() - started))
        _log.info(outcome.state if done else "finished by another", extra={"job": job.id, "ms": ms})
        return True

    @contextmanager
    def _beating(self, job: Job) -> Iterator[_Progress]:
        progress = _Progress(self._queue, job, self._beat_s, self._at)
        thread = threading.Thread(target=progress.beat, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield progress
        finally:
            progress.stop()
            thread.join()


class Supervisor:
    """Keeps `count` worker processes alive until SIGTERM or SIGINT, and ends the leases of those that died.

    start(name) -> a started process that runs a Worker of that name and stops on SIGTERM."""

    RESTART_S = 1.0

    def __init__(self, start: Callable[[str], BaseProcess], queue: LeaseQueue, count: int) -> None:
        self._start, self._queue, self._count = start, queue, count
        self._running: dict[str, BaseProcess] = {}
        self._stop = threading.Event()

    def stop(self) -> None:
        self._stop.set()

    def run(self, *, each_second: Callable[[], None] = lambda: None, patience_s: float = 120.0) -> None:
        """`each_second` is housekeeping.  At the end workers finish their job; after `patience_s` they are killed."""
        while not self._stop.is_set():
            while len(self._running) < self._count:
                name = secrets.token_hex(8)
                self._running[name] = self._start(name)
            wait([p.sentinel for p in self._running.values()], timeout=1.0)
            if self._bury():
                self._stop.wait(self.RESTART_S)
            try:
                each_second()
            except StorageError as e:
                _log.warning("housekeeping", extra={"code": e.code})
        for process in self._running.values():
            process.terminate()
        deadline = time.monotonic() + patience_s
        for process in self._running.values():
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()
        self._bury()

    def _bury(self) -> bool:
        dead = {name: p for name, p in self._running.items() if not p.is_alive()}
        for name, process in dead.items():
            del self._running[name]
            try:
                held = self._queue.forfeit(name)
            except StorageError as e:  # its leases lapse by themselves
                _log.warning("leases not ended", extra={"worker": name, "code": e.code})
                held = 0
            if process.exitcode != 0:
                _log.error("worker died", extra={"worker": name, "status": process.exitcode or 0, "count": held})
        return bool(dead)


def stop_on_signals(stop: Callable[[], None]) -> None:
    """SIGTERM and SIGINT call `stop`; in the main thread."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())


def new_name() -> str:
    """A worker's name when there is no supervisor to give one."""
    return f"{os.getpid()}-{secrets.token_hex(6)}"
