"""A program for test_kills.py: workers that are killed at a named point of their job, one after the other.

    kill_worker.py <configuration> <count> <point> ...

For every line on standard input, the next point: `count` workers are forked from here, after the imports and before any
connection; each claims one job and sends itself SIGKILL when it reaches the point.  Leases are left to lapse, as when
the machine loses power.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import server.proving  # noqa: F401 (imported once here, not in every child)
from marginseal.algebra.commit import commitment_key
from server.config import Config, load
from server.main import WorkerKeys, make_worker, unlock_worker_keys
from server.worker import Point

ROWS = 16  # of the circuit of the world's epoch: its tables are made once


def main() -> None:
    config, count = load(Path(sys.argv[1])), int(sys.argv[2])
    keys = unlock_worker_keys(config)
    for path in config.path(config.keys_dir).glob("sealing-*.key"):
        keys.sealing(path.stem.removeprefix("sealing-"))
    commitment_key(ROWS)
    for point in sys.argv[3:]:
        sys.stdin.readline()
        for number in range(count):
            run_and_die(config, keys, point, number)
        print(f"{count} killed {point}", flush=True)


def run_and_die(config: Config, keys: WorkerKeys, point: str, number: int) -> None:
    def at(reached: Point) -> None:
        if reached == point:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        make_worker(config, keys, f"{point}-{number}", at=at).run_once()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
        sys.exit(f"worker {number} was not killed at {point}")


if __name__ == "__main__":
    main()
