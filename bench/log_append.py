"""How fast the log appends, against bare durable one-row commits of the same run and disk.

    python bench/log_append.py [--blocks 12] [--block 200] [--payload 4096] [--json out.json]

Four things are timed in turn, block after block, so that other work on the machine falls on all alike; the figure of
each is the median over its blocks.  `bare driver` is one INSERT of the payload and a COMMIT through the driver alone,
`bare core` the same through SQLAlchemy Core, `append` one attestation (three books, eight dependencies, fifty
accounts), `append_many` a block of them in one commit.  All use write-ahead log and synchronous=FULL, each in a file
of its own.  Target: append at 60 % of the bare commits or more.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Column, Integer, LargeBinary, MetaData, Table, insert

from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Entry
from marginseal.log.log import Log
from marginseal.log.note import Signer
from marginseal.log.sql import open_sqlite

ORIGIN = "bench.example/log"
ACCOUNTS = 50


def bare_driver(path: Path, payload: int) -> Callable[[int], None]:
    c = sqlite3.connect(path, isolation_level=None)
    c.execute("PRAGMA journal_mode=WAL")
    c.execute("PRAGMA synchronous=FULL")
    c.execute("CREATE TABLE bare (number INTEGER PRIMARY KEY, data BLOB)")

    def run(count: int) -> None:
        for _ in range(count):
            c.execute("BEGIN IMMEDIATE")
            c.execute("INSERT INTO bare (data) VALUES (?)", (os.urandom(payload),))
            c.execute("COMMIT")

    return run


def bare_core(path: Path, payload: int) -> Callable[[int], None]:
    engine = open_sqlite(path).engine
    metadata = MetaData()
    table = Table("bare", metadata, Column("number", Integer, primary_key=True), Column("data", LargeBinary))
    metadata.create_all(engine)
    statement = insert(table)

    def run(count: int) -> None:
        for _ in range(count):
            with engine.begin() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                connection.execute(statement, {"data": os.urandom(payload)})

    return run


class Attestations:
    """Entries shaped like attestations, chained per account."""

    def __init__(self, log: Log, payload: int) -> None:
        self.payload = payload
        self.dependencies = tuple(sorted(log.put_object(os.urandom(1000)) for _ in range(8)))
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.made = 0

    def next(self) -> Entry:
        account = f"account-{self.made % ACCOUNTS}"
        self.made += 1
        last, prev = self.heads.get(account, (0, NO_PREDECESSOR))
        digest = os.urandom(32)
        self.heads[account] = (last + 1, digest)
        books = tuple((f"source-{k}", f"{account}-book") for k in range(3))
        payload = os.urandom(self.payload)
        return Entry(ATTESTATION, payload, account, last + 1, digest, prev, books, self.dependencies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--block", type=int, default=200)
    parser.add_argument("--payload", type=int, default=4096, help="bytes of an attestation")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=".") as folder:
        base = Path(folder)
        log = Log(open_sqlite(base / "log.db"), origin=ORIGIN, signer=Signer(ORIGIN, Ed25519PrivateKey.generate()))
        attestations = Attestations(log, args.payload)

        def one_by_one(entries: list[Entry]) -> None:
            for entry in entries:
                log.append(entry, now=1)

        driver, core = bare_driver(base / "driver.db", args.payload), bare_core(base / "core.db", args.payload)
        rates: dict[str, list[float]] = {"bare driver": [], "bare core": [], "append": [], "append_many": []}
        for _ in range(args.blocks):
            batches = [[attestations.next() for _ in range(args.block)] for _ in range(2)]
            runs: dict[str, Callable[[], object]] = {
                "bare driver": partial(driver, args.block),
                "bare core": partial(core, args.block),
                "append": partial(one_by_one, batches[0]),
                "append_many": partial(log.append_many, batches[1], now=1),
            }
            for name, run in runs.items():
                start = time.perf_counter()
                run()
                rates[name].append(args.block / (time.perf_counter() - start))

        median = {name: statistics.median(values) for name, values in rates.items()}
        for name, rate in median.items():
            print(f"{name:<12} {rate:8.0f} /s   {1e6 / rate:7.0f} us")
        for bare in ("bare driver", "bare core"):
            print(f"append / {bare}: {100 * median['append'] / median[bare]:.0f} %")
        if args.json is not None:
            args.json.write_text(json.dumps({"payload": args.payload, "per_second": median}, indent=1))


if __name__ == "__main__":
    main()
