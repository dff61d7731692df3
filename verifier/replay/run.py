"""Replay: every attestation ever logged, judged again offline from an export bundle (system.md, object 12).

    structure       files, objects, tree, checkpoints, chains, books            marginseal.log.bundle_check
    records         every signature and chain of records                        records
    epochs          rebuilt from snapshot and parameters, byte for byte         verifier.log_epoch
    attestations    signatures, sources, manifests, continuity, proofs          attestation, on all cores (worker)

Ranges are handed out as they are taken up and nothing of a range is kept but counts and findings, so memory does not
grow with the length of the log: it grows with the parties, the records, and the releases that were used.  Whom to
believe is the auditor's (`policy.Trust`); nothing in the bundle says so.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

from marginseal.errors import MarginSealError
from marginseal.log.bundle import Bundle
from marginseal.log.bundle_check import bundle_faults
from marginseal.log.entry import ATTESTATION
from verifier.log_index import BundleRecords
from verifier.policy import Trust
from verifier.replay.attestation import Judged
from verifier.replay.records import Finding, Known, RecordPass
from verifier.replay.report import MAX_FINDINGS, MAX_OF_CODE, Report
from verifier.replay.worker import Range, Worker
from verifier.verify import Setting

RANGE = 128  # entries of one range: enough proofs for one batch, few enough to balance and to keep
Progress = Callable[[str, int, int], None]  # what is being done, how many entries are done, how many there are


def replay(
    bundle: Bundle,
    trust: Trust,
    *,
    seen: Sequence[bytes] = (),
    workers: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Everything that is wrong with the log in the bundle, and figures of what was checked.

    seen      signed checkpoints of the log from earlier visits, or of others: the bundle has to reach and extend them
    workers   processes, by default one for each core; 1 does all of it in this process
    Nothing in the bundle makes it raise but what `Bundle` itself refuses."""
    start = time.perf_counter()
    workers = workers or len(os.sched_getaffinity(0))
    total = bundle.description.entries
    if workers > 1:
        _fork_server()  # imports while the records are read
    tally = _Tally(progress, total)
    known = tally.records(bundle, trust)
    with _pool(workers, bundle, trust, known) as pool:
        tally.run(pool, bundle, known, workers, seen)
    findings = sorted(tally.findings, key=lambda f: (f.index is None, f.index or 0, f.code))
    return Report(
        description=bundle.description,
        srs=trust.srs,
        findings=tuple(dict.fromkeys(findings[:MAX_FINDINGS])),
        unlisted=max(0, len(findings) - MAX_FINDINGS) + tally.dropped,
        by_code=tally.by_code,
        records=tally.record_count,
        accounts=len(known.manifests),
        epochs=tuple((p.digest.hex(), p.time, tally.judged.by_epoch.get(p.digest.hex(), 0)) for p in known.epochs),
        rebuilt=tally.rebuilt,
        attestations=tally.judged.attestations,
        proofs=tally.judged.proofs,
        rules=tally.judged.by_rule,
        continuity=tally.judged.by_continuity,
        releases=len(tally.nonces),
        workers=workers,
        seconds=time.perf_counter() - start,
    )


@dataclass
class _Tally:
    """What has come of the parts so far."""

    progress: Progress
    total: int
    findings: list[Finding] = field(default_factory=list)
    by_code: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    record_count: int = 0
    rebuilt: int = 0
    judged: Judged = field(default_factory=Judged)
    nonces: dict[tuple[str, str, int], bytes] = field(default_factory=dict)

    def add(self, findings: list[Finding]) -> None:
        """Keep findings up to a bound: a log may be wrong in every entry.

        The bound is one for each code, so that ten thousand trifles do not hide the one that counts."""
        for finding in findings:
            self.by_code[finding.code] += 1
            if self.by_code[finding.code] <= MAX_OF_CODE:
                self.findings.append(finding)
            else:
                self.dropped += 1

    def structure(self, found: tuple[list[Finding], Counter[str]]) -> None:
        """The findings of the structural pass that it kept, and how many there were."""
        self.add(found[0])
        self.by_code += found[1]
        self.dropped += found[1].total()

    def records(self, bundle: Bundle, trust: Trust) -> Known:
        records = BundleRecords(bundle)
        record_pass = RecordPass(records, trust)
        try:
            for position, entry in records.items(0, self.total):
                if entry.kind != ATTESTATION:
                    self.record_count += 1
                    self.add(list(record_pass.note(position, entry)))
                if position.index % 256 == 0:
                    self.progress("records", position.index, self.total)
        except MarginSealError as e:  # the structural pass names the place
            self.add([Finding(e.code, e.message)])
        for finding in record_pass.judge():
            self.add([finding])
        return record_pass.known

    def run(self, pool: Executor, bundle: Bundle, known: Known, workers: int, seen: Sequence[bytes]) -> None:
        """All parts, no more of them under way than keeps the workers busy."""
        waiting = self._parts(pool, bundle, known, workers, seen)
        under_way: dict[Future[Any], Callable[[Any], None]] = {}
        done = False
        while not done or under_way:
            while not done and len(under_way) < 2 * workers:
                part = next(waiting, None)
                done = part is None
                if part is not None:
                    under_way[part[0]] = part[1]
            finished, _ = wait(under_way, return_when=FIRST_COMPLETED)
            for future in finished:
                under_way.pop(future)(future.result())

    def _parts(
        self, pool: Executor, bundle: Bundle, known: Known, workers: int, seen: Sequence[bytes]
    ) -> Iterator[tuple[Future[Any], Callable[[Any], None]]]:
        yield pool.submit(_structure, seen), self.structure
        for published in known.epochs:
            yield pool.submit(_rebuild, published.position.index), self._rebuilt
        for part in ranges(bundle, min(RANGE, max(16, self.total // (4 * workers)))):
            yield pool.submit(_judge, part), self._judged(part)

    def _rebuilt(self, result: tuple[bool, list[Finding]]) -> None:
        self.rebuilt += result[0]
        self.add(result[1])

    def _judged(self, part: Range) -> Callable[[Judged], None]:
        def take(judged: Judged) -> None:
            mine = self.judged
            self.add(judged.findings)
            mine.attestations += judged.attestations
            mine.proofs += judged.proofs
            for into, more in (
                (mine.by_epoch, judged.by_epoch),
                (mine.by_rule, judged.by_rule),
                (mine.by_continuity, judged.by_continuity),
            ):
                for name, count in more.items():
                    into[name] = into.get(name, 0) + count
            for venue, account, nonce, digest in judged.released:
                if self.nonces.setdefault((venue, account, nonce), digest) != digest:
                    message = f"{venue} used nonce {nonce} for two releases"
                    self.add([Finding("release.nonce", message, None, account)])
            self.progress("attestations", part.stop, self.total)

        return take


def ranges(bundle: Bundle, size: int) -> Iterator[Range]:
    """The bundle in ranges, each attestation with the entry of the one before it in its account's chain."""
    records, total = BundleRecords(bundle), bundle.description.entries
    last: dict[str, int] = {}
    for start in range(0, total, size):
        stop, previous = min(start + size, total), []
        try:
            for position, entry in records.items(start, stop):
                if entry.kind == ATTESTATION and entry.account is not None:
                    if entry.account in last:
                        previous.append((position.index, last[entry.account]))
                    last[entry.account] = position.index
        except MarginSealError:  # what can be read of the range is judged; the structural pass names the place
            yield Range(start, stop, tuple(previous))
            return
        yield Range(start, stop, tuple(previous))


# Workers ----------------------------------------------------------------------------------------------------------

_worker: tuple[Worker, Bundle, Trust] | None = None


def _start(path: Path, trust: Trust, known: Known) -> None:
    global _worker
    bundle = Bundle(path)
    _worker = Worker(bundle, trust, known, Setting.default()), bundle, trust


def _given() -> tuple[Worker, Bundle, Trust]:
    assert _worker is not None
    return _worker


def _structure(seen: Sequence[bytes]) -> tuple[list[Finding], Counter[str]]:
    """(findings, those beyond MAX_OF_CODE by their code): the pass goes on, for the gravest may come last."""
    _, bundle, trust = _given()
    out: list[Finding] = []
    kept: Counter[str] = Counter()
    beyond: Counter[str] = Counter()
    for fault in bundle_faults(bundle, trust.log, seen=seen):
        if kept[fault.code] < MAX_OF_CODE:
            kept[fault.code] += 1
            out.append(Finding(fault.code, fault.message, fault.index))
        else:
            beyond[fault.code] += 1
    return out, beyond


def _rebuild(index: int) -> tuple[bool, list[Finding]]:
    return _given()[0].rebuild(index)


def _judge(part: Range) -> Judged:
    return _given()[0].judge(part)


class _Here(Executor):
    """Runs what it is given, at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@contextmanager
def _pool(workers: int, bundle: Bundle, trust: Trust, known: Known) -> Iterator[Executor]:
    global _worker
    if workers == 1:
        before = _worker
        _start(bundle.path, trust, known)
        try:
            yield _Here()
        finally:
            _worker = before
        return
    if trust.oracles is not None:  # a read-only mapping does not travel between processes
        trust = replace(trust, oracles=replace(trust.oracles, oracles=dict(trust.oracles.oracles)))
    arguments = (bundle.path, trust, known)
    with ProcessPoolExecutor(workers, mp_context=_fork_server(), initializer=_start, initargs=arguments) as pool:
        yield pool


def _fork_server() -> BaseContext:
    """What starts workers: forked from one process, of a single thread, that has imported all they need once.

    It and they inherit the path on which this process finds modules, and no current folder before it; and, as there are
    as many of them as cores, matrix products of one thread."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["verifier.replay.preload"])
    with _environment(OPENBLAS_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(sys.path), PYTHONSAFEPATH="1"):
        forkserver.ensure_running()
    return context


@contextmanager
def _environment(**changes: str) -> Iterator[None]:
    """Environment variables of the processes started meanwhile."""
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
