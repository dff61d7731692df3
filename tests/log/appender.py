"""A process that appends until it is killed, and says what was acknowledged: run by test_crash.

    python -m tests.log.appender FOLDER NAME DATABASE [POINT COUNT]

DATABASE is the address of a database server, or empty for SQLite in the folder.

Each line on standard output is written after the call it tells of has returned:
    ready                              the log is open
    entry <index> <digest>             appended
    signed <base64(note)>              a checkpoint
With a POINT the process kills itself there, the COUNT-th time it comes by.
"""

from __future__ import annotations

import base64
import os
import random
import signal
import sys
from pathlib import Path
from typing import Any

from marginseal.log import sql
from marginseal.log.log import Log
from marginseal.log.memory import CheckpointMemory
from tests.log.support import attestation, open_log

# Where a process can die between two things that belong together.
POINTS = {
    "entry written": (sql._Session, "add_entry"),
    "place taken": (sql._Session, "add_attestation"),
    "books written": (sql._Session, "add_books"),
    "tiles written": (sql._Session, "put_tiles"),
    "object written": (sql._Session, "add_object"),
    "checkpoint written": (sql._Session, "add_checkpoint"),
    "checkpoint remembered": (CheckpointMemory, "store"),
    "batch committed": (Log, "append_many"),
    "checkpoint committed": (Log, "checkpoint"),
}


def die_at(point: str, count: int) -> None:
    owner, name = POINTS[point]
    original = getattr(owner, name)
    left = count

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        result = original(*args, **kwargs)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def main() -> None:
    folder, name, database_url = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    if len(sys.argv) > 4:
        die_at(sys.argv[4], int(sys.argv[5]))
    rng = random.Random(f"{name} {os.getpid()}")
    log = open_log(folder, database_url or None)
    say("ready")
    accounts = [f"{name} {i}" for i in range(3)]
    while True:
        step(log, rng, accounts)


def step(log: Log, rng: random.Random, accounts: list[str]) -> None:
    digest = log.put_object(rng.randbytes(3000))
    wanted = rng.choices(accounts, k=rng.choice([1, 1, 1, 5]))
    heads = {account: head.sequence if (head := log.head(account)) else 0 for account in accounts}
    batch = []
    for account in wanted:
        heads[account] += 1
        batch.append(attestation(account, heads[account], payload=rng.randbytes(2000), dependencies=(digest,)))
    for index, entry in zip(log.append_many(batch, now=1000), batch, strict=True):
        say("entry", index, entry.digest.hex())
    if rng.random() < 0.5:
        say("signed", base64.b64encode(log.checkpoint(now=1000)).decode())


if __name__ == "__main__":
    main()
