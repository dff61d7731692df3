"""Killed at any instruction, the log loses nothing it acknowledged, and its checkpoints go on agreeing.

Two appenders share one store; both are killed with SIGKILL at random moments, again and again on the same store, and
once at each point between two things that belong together.  Afterwards everything either of them ever said is checked.
"""

from __future__ import annotations

import base64
import contextlib
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from marginseal.log.bundle import Bundle
from marginseal.log.bundle_check import bundle_faults
from marginseal.log.checkpoint import Checkpoint, check_append_only
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from tests.log.appender import POINTS
from tests.log.support import POLICY, open_log

ROOT = Path(__file__).parents[2]
KILLS = 24


def start(folder: Path, name: str, database_url: str | None, *point: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.log.appender", str(folder), name, database_url or "", *point]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def listen(process: subprocess.Popen[bytes], lines: int) -> bytes:
    """What it says until it has said so many lines, or is dead."""
    assert process.stdout is not None
    return b"".join(process.stdout.readline() for _ in range(lines))


@contextlib.contextmanager
def opened(folder: Path, database_url: str | None) -> Iterator[Log]:
    log = open_log(folder, database_url)
    try:
        yield log
    finally:
        log.storage.close()


class Witnessed:
    """All that appenders have acknowledged so far."""

    def __init__(self) -> None:
        self.entries: dict[int, str] = {}
        self.signed: list[Checkpoint] = []

    def hear(self, process: subprocess.Popen[bytes], before: bytes = b"") -> None:
        """Take in a dead process's words, those after what was listened to already."""
        assert process.stdout is not None
        assert process.stderr is not None
        with process:
            out, err = before + process.stdout.read(), process.stderr.read()
        assert process.returncode == -signal.SIGKILL, err.decode()
        lines = out.split(b"\n")[:-1]  # a line cut short was not said
        for line in lines:
            kind, _, rest = line.decode().partition(" ")
            if kind == "entry":
                index, digest = rest.split()
                assert self.entries.setdefault(int(index), digest) == digest
            elif kind == "signed":
                self.signed.append(POLICY.verify(base64.b64decode(rest)).checkpoint)

    def check(self, log: Log, folder: Path) -> None:
        stored = {s.index: Entry.decode(s.data).digest.hex() for s in log.entries()}
        assert {index: stored.get(index) for index in self.entries} == self.entries
        kept = [Checkpoint.of(c.note) for c in log.checkpoints()]
        for said in self.signed:
            assert said in kept
        ordered = sorted(kept, key=lambda c: (c.size, c.time))
        last = Checkpoint.of(log.checkpoint(now=1000))
        for old, new in [*pairwise(ordered), *((c, last) for c in self.signed)]:
            check_append_only(old, new, log.consistency(old.size, new.size) if old.size else [])
        export_bundle(log, folder)
        assert list(bundle_faults(Bundle(folder), POLICY)) == []


def test_killed_at_random_moments(tmp_path: Path, database_url: str | None) -> None:
    """However slow the machine: each is heard to work for some lines, and killed some time after that."""
    rng = random.Random(7)
    witnessed = Witnessed()
    for kill in range(KILLS // 2):
        processes = [start(tmp_path / "log", name, database_url) for name in ("left", "right")]
        lines = rng.randrange(2, 12) if kill % 4 else 0  # none: while it opens the log
        said = [listen(process, lines) for process in processes]
        for process in processes:
            time.sleep(rng.uniform(0, 0.25))
            process.kill()
        for process, before in zip(processes, said, strict=True):
            witnessed.hear(process, before)
        if kill % 4 == 3:
            with opened(tmp_path / "log", database_url) as log:
                witnessed.check(log, tmp_path / f"bundle {kill}")
    assert len(witnessed.entries) > KILLS
    assert witnessed.signed


@pytest.mark.parametrize("point", POINTS)
def test_killed_between_things_that_belong_together(tmp_path: Path, database_url: str | None, point: str) -> None:
    witnessed = Witnessed()
    for count in (1, 9):  # a batch is of five at most: by the ninth, some are acknowledged
        acknowledged = len(witnessed.entries)
        process = start(tmp_path / "log", "one", database_url, point, str(count))
        process.wait(timeout=300)
        witnessed.hear(process)
        with opened(tmp_path / "log", database_url) as log:
            witnessed.check(log, tmp_path / f"bundle {count}")
        assert len(witnessed.entries) > acknowledged or count == 1
