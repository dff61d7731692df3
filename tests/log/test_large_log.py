"""A log of ten million entries, simulated: proofs stay short and quick, and touch a handful of tiles.

All leaves but a few are one and the same, so every hash of the tree follows from one hash a level; the few others make
the sampled paths differ.  The tiles that proofs can ask for lie in a real store, among all others of the upper levels.
"""

from __future__ import annotations

import statistics
import time
from functools import cached_property
from pathlib import Path

import pytest

from marginseal.log import tiles
from marginseal.log.merkle import leaf_hash, node_hash, verify_consistency, verify_inclusion
from marginseal.log.sql import SqlStorage, open_sqlite

SIZE = 10_000_000
STEP = 49_999
SAMPLES = [*range(0, SIZE, STEP), SIZE - 1, SIZE - 2]


class SimulatedTree:
    """Hash of any complete subtree over `size` leaves, all `common` but those at `special` indexes."""

    def __init__(self, size: int, special: list[int]) -> None:
        self.size = size
        self.special = {index: leaf_hash(index.to_bytes(4, "big")) for index in special}
        self.nodes: dict[tiles.Node, bytes] = {}
        level = self.special
        for height in range(25):
            self.nodes.update({(height, index): h for index, h in level.items()})
            parents = {index >> 1 for index in level}
            level = {
                i: node_hash(level.get(2 * i, self.common[height]), level.get(2 * i + 1, self.common[height]))
                for i in parents
            }

    @cached_property
    def common(self) -> list[bytes]:
        hashes = [leaf_hash(b"common")]
        for _ in range(25):
            hashes.append(node_hash(hashes[-1], hashes[-1]))
        return hashes

    def leaf(self, index: int) -> bytes:
        return self.special.get(index, self.common[0])

    def tile(self, key: tiles.TileKey) -> bytes:
        level, index = key
        first = index * tiles.TILE_WIDTH
        stop = min(first + tiles.TILE_WIDTH, self.size >> (4 * level))
        height = 4 * level
        return b"".join(self.nodes.get((height, i), self.common[height]) for i in range(first, stop))


@pytest.fixture(scope="module")
def tree() -> SimulatedTree:
    return SimulatedTree(SIZE, SAMPLES)


@pytest.fixture(scope="module")
def storage(tree: SimulatedTree, tmp_path_factory: pytest.TempPathFactory) -> SqlStorage:
    storage = open_sqlite(Path(tmp_path_factory.mktemp("large")) / "log.db")
    lowest = {(0, i >> 4) for index in SAMPLES for i in (index, index ^ 16)} | {(0, (SIZE - 1) >> 4)}
    upper = [(level, i) for level in range(1, 6) for i in range(((SIZE >> (4 * level)) + 15) >> 4)]
    content = {key: tree.tile(key) for key in [*sorted(lowest), *upper]}
    with storage.write() as tx:
        tx.put_tiles({key: data for key, data in content.items() if data}, {key for key in content if content[key]})
    return storage


def test_inclusion_proofs_are_short_and_verify(tree: SimulatedTree, storage: SqlStorage) -> None:
    with storage.read() as snapshot:
        root = tiles.root(SIZE, snapshot.tiles)
        for index in SAMPLES:
            path = tiles.inclusion_path(index, SIZE, snapshot.tiles)
            assert len(path) <= 24
            verify_inclusion(index, SIZE, tree.leaf(index), path, root)


def test_inclusion_proofs_take_no_longer_in_a_large_log(storage: SqlStorage, tmp_path: Path) -> None:
    """From a read transaction of its own to the path, beside the same in a log of a thousand entries on this machine:
    three tiles there, six here.  One look at all tiles, instead of the six, would take a hundred times as long."""
    tree, small = SimulatedTree(1000, []), open_sqlite(tmp_path / "log.db")
    keys = [(level, i) for level in range(3) for i in range(((1000 >> (4 * level)) + 15) >> 4)]
    with small.write() as tx:
        tx.put_tiles({key: tree.tile(key) for key in keys}, set(keys))

    def median_s(store: SqlStorage, size: int) -> float:
        times = []
        for index in SAMPLES:
            start = time.thread_time()
            with store.read() as snapshot:
                tiles.inclusion_path(index % size, size, snapshot.tiles)
            times.append(time.thread_time() - start)
        return statistics.median(times)

    assert median_s(storage, SIZE) < 10 * median_s(small, 1000)


def test_consistency_proofs_are_short_and_verify(storage: SqlStorage) -> None:
    with storage.read() as snapshot:
        root = tiles.root(SIZE, snapshot.tiles)
        for size in [STEP * 16 // 16, STEP * 20, 2**23, SIZE - 1, SIZE]:
            size1 = size & ~255 or 256  # whole tiles, which are those that were stored
            path = tiles.consistency_path(size1, SIZE, snapshot.tiles)
            assert len(path) <= 25
            verify_consistency(size1, tiles.root(size1, snapshot.tiles), SIZE, root, path)


def test_a_proof_asks_for_at_most_a_dozen_tiles(storage: SqlStorage) -> None:
    for index in SAMPLES:
        asked: list[tiles.TileKey] = []

        def count(keys: list[tiles.TileKey], asked: list[tiles.TileKey] = asked) -> dict[tiles.TileKey, bytes]:
            asked.extend(keys)
            with storage.read() as snapshot:
                return dict(snapshot.tiles(keys))

        tiles.inclusion_path(index, SIZE, count)
        assert len(asked) == len(set(asked)) <= 12
