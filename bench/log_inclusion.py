"""How long an inclusion proof takes in a log of ten million entries, and how many hashes it has.

    python bench/log_inclusion.py [--entries 10000000] [--proofs 2000] [--json out.json]

The store is a real one of full size: every tile of a tree whose leaves are all alike (what a hash is does not change
how long it takes to fetch).  Timed is what a server does: a read transaction, one question, the path.  Each is checked.
Target: at most 24 hashes, under 1 ms.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

from marginseal.log import tiles
from marginseal.log.merkle import leaf_hash, node_hash, verify_inclusion
from marginseal.log.sql import SqlStorage, open_sqlite


def fill(storage: SqlStorage, entries: int) -> bytes:
    """Every tile of the tree, a hundred thousand a transaction; the leaf hash."""
    leaf = common = leaf_hash(b"entry")
    level = 0
    while entries >> (4 * level):
        count = entries >> (4 * level)
        full, rest = divmod(count, tiles.TILE_WIDTH)
        keys = [(level, index) for index in range(full + (rest > 0))]
        whole = common * tiles.TILE_WIDTH
        for at in range(0, len(keys), 100_000):
            some = keys[at : at + 100_000]
            content = {key: whole if key[1] < full else common * rest for key in some}
            with storage.write() as tx:
                tx.put_tiles(content, set(some))
        for _ in range(tiles.TILE_HEIGHT):
            common = node_hash(common, common)
        level += 1
    return leaf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=10_000_000)
    parser.add_argument("--proofs", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=".") as folder:
        storage = open_sqlite(Path(folder) / "log.db")
        start = time.perf_counter()
        leaf = fill(storage, args.entries)
        size = sum(p.stat().st_size for p in Path(folder).iterdir())
        print(f"{args.entries} entries: tiles written in {time.perf_counter() - start:.1f} s, {size / 1e6:.0f} MB")
        with storage.read() as snapshot:
            root = tiles.root(args.entries, snapshot.tiles)
        rng = random.Random(1)
        made, checked, longest = [], [], 0
        for _ in range(args.proofs):
            index = rng.randrange(args.entries)
            start = time.perf_counter()
            with storage.read() as snapshot:
                path = tiles.inclusion_path(index, args.entries, snapshot.tiles)
            middle = time.perf_counter()
            verify_inclusion(index, args.entries, leaf, path, root)
            checked.append(time.perf_counter() - middle)
            made.append(middle - start)
            longest = max(longest, len(path))
        made.sort()
        figures = {
            "entries": args.entries,
            "most hashes": longest,
            "proof median us": round(1e6 * statistics.median(made)),
            "proof 90 % us": round(1e6 * made[int(0.90 * len(made))]),
            "proof 99 % us": round(1e6 * made[int(0.99 * len(made))]),
            "verification median us": round(1e6 * statistics.median(checked)),
        }
        for name, value in figures.items():
            print(f"{name:<24} {value}")
        if args.json is not None:
            args.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
