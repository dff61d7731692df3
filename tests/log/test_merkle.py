"""Tree hashing, paths and their checks: published vectors, and every small tree against the naive one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import InputError, ProofRejected, StorageError
from marginseal.log import tiles
from marginseal.log.merkle import (
    EMPTY_ROOT,
    CompactTree,
    leaf_hash,
    node_hash,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)
from tests.log.support import sha, vectors
from tests.oracles import naive_merkle

V = vectors("log_merkle.json")
LEAVES = [bytes.fromhex(x) for x in V["leaves"]]
ROOTS = [bytes.fromhex(x) for x in V["roots"]]
SIZES = range(1, 71)  # past the fourth full tile, so that a tile of the second level exists
DATA = [sha(f"entry {i}") for i in range(300)]


class TileStore:
    """Tiles in a dict, with the reader over them and a count of its questions."""

    def __init__(self) -> None:
        self.tiles: dict[tiles.TileKey, bytes] = {}
        self.questions = 0

    def read(self, keys: list[tiles.TileKey]) -> dict[tiles.TileKey, bytes]:
        self.questions += 1
        return {key: self.tiles[key] for key in keys if key in self.tiles}

    def append(self, size: int, hashes: list[bytes]) -> None:
        writer = tiles.TreeWriter(size, self.read)
        for h in hashes:
            writer.append(h)
        assert writer.size == size + len(hashes)
        assert writer.fresh == writer.changed.keys() - self.tiles.keys()
        self.tiles.update(writer.changed)


@pytest.fixture(scope="module")
def store() -> TileStore:
    store = TileStore()
    for i, data in enumerate(DATA):
        store.append(i, [leaf_hash(data)])
    return store


def test_published_hashes() -> None:
    for case in V["hashes"]:
        given = [bytes.fromhex(x) for x in case["input"]]
        match case["kind"]:
            case "empty":
                found = EMPTY_ROOT
            case "leaf":
                found = leaf_hash(given[0])
            case _:
                found = node_hash(given[0], given[1])
        assert found.hex() == case["hash"], case["desc"]


def test_published_roots() -> None:
    tree = CompactTree()
    assert tree.root() == EMPTY_ROOT
    for data, root in zip(LEAVES, ROOTS, strict=True):
        tree.append(leaf_hash(data))
        assert tree.root() == root


def inclusion_faults(
    index: int, size: int, leaf: bytes, path: list[bytes], root: bytes
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """One fault each, over every part of a proof."""
    yield "index - 1", (index - 1, size, leaf, path, root)
    yield "index + 1", (index + 1, size, leaf, path, root)
    yield "index ^ 2", (index ^ 2, size, leaf, path, root)
    yield "index + size", (index + size, size, leaf, path, root)
    yield "size * 2", (index, size * 2, leaf, path, root)
    yield "size 0", (index, 0, leaf, path, root)
    yield "wrong leaf", (index, size, sha("wrong leaf"), path, root)
    yield "short leaf", (index, size, b"leaf", path, root)
    yield "empty root", (index, size, leaf, path, EMPTY_ROOT)
    yield "no root", (index, size, leaf, path, b"")
    yield "trailing empty", (index, size, leaf, [*path, b""], root)
    yield "trailing root", (index, size, leaf, [*path, root], root)
    yield "preceding empty", (index, size, leaf, [b"", *path], root)
    yield "preceding root", (index, size, leaf, [root, *path], root)
    for i in range(len(path)):
        flipped = bytes([path[i][0] ^ 8]) + path[i][1:]
        yield f"bit flipped in {i}", (index, size, leaf, [*path[:i], flipped, *path[i + 1 :]], root)
        yield f"{i} removed", (index, size, leaf, path[:i] + path[i + 1 :], root)
        yield f"{i} doubled", (index, size, leaf, [*path[:i], path[i], *path[i:]], root)


def consistency_faults(
    size1: int, root1: bytes, size2: int, root2: bytes, path: list[bytes]
) -> Iterator[tuple[str, tuple[Any, ...]]]:
    yield "size1 - 1", (size1 - 1, root1, size2, root2, path)
    yield "size1 + 1", (size1 + 1, root1, size2, root2, path)
    yield "size1 ^ 2", (size1 ^ 2, root1, size2, root2, path)
    yield "size1 0", (0, root1, size2, root2, path)
    yield "size2 * 2", (size1, root1, size2 * 2, root2, path)
    yield "size2 / 2", (size1, root1, size2 // 2, root2, path)
    yield "wrong root1", (size1, sha("wrong"), size2, root2, path)
    yield "wrong root2", (size1, root1, size2, sha("wrong"), path)
    yield "short root1", (size1, b"root", size2, root2, path)
    yield "trailing empty", (size1, root1, size2, root2, [*path, b""])
    yield "trailing root1", (size1, root1, size2, root2, [*path, root1])
    yield "preceding root1", (size1, root1, size2, root2, [root1, *path])
    yield "preceding root2", (size1, root1, size2, root2, [root2, *path])
    if root1 != root2:
        yield "roots swapped", (size1, root2, size2, root1, path)
    if path:
        yield "empty path", (size1, root1, size2, root2, [])
        yield "truncated", (size1, root1, size2, root2, path[:-1])
    for i in range(len(path)):
        flipped = bytes([path[i][0] ^ 16]) + path[i][1:]
        yield f"bit flipped in {i}", (size1, root1, size2, root2, [*path[:i], flipped, *path[i + 1 :]])


def is_refused(check: Callable[..., None], arguments: tuple[Any, ...]) -> bool:
    try:
        check(*arguments)
    except ProofRejected:
        return True
    return False


def test_published_inclusion_proofs() -> None:
    for case in V["inclusion"]:
        index, size = case["index"], case["size"]
        leaf, root = leaf_hash(LEAVES[index]), ROOTS[size - 1]
        path = [bytes.fromhex(x) for x in case["path"]]
        verify_inclusion(index, size, leaf, path, root)
        for desc, arguments in inclusion_faults(index, size, leaf, path, root):
            with pytest.raises(ProofRejected) as refused:
                verify_inclusion(*arguments)
            assert refused.value.code == "log.inclusion", desc


def test_published_consistency_proofs() -> None:
    for case in V["consistency"]:
        size1, size2 = case["size1"], case["size2"]
        root1, root2 = ROOTS[size1 - 1], ROOTS[size2 - 1]
        path = [bytes.fromhex(x) for x in case["path"]]
        verify_consistency(size1, root1, size2, root2, path)
        for desc, arguments in consistency_faults(size1, root1, size2, root2, path):
            with pytest.raises(ProofRejected) as refused:
                verify_consistency(*arguments)
            assert refused.value.code == "log.consistency", desc


@pytest.mark.parametrize("size2", [0, 1, 8])
@pytest.mark.parametrize("path", [[], [EMPTY_ROOT]])
def test_a_consistency_proof_from_nothing_is_refused(size2: int, path: list[bytes]) -> None:
    root2 = EMPTY_ROOT if size2 == 0 else ROOTS[size2 - 1]
    with pytest.raises(ProofRejected, match="out of order"):
        verify_consistency(0, EMPTY_ROOT, size2, root2, path)


def test_a_path_does_not_lead_beyond_the_size() -> None:
    """A log that signs a root of two entries as that of one: the path would show the second to stand first."""
    a, b = leaf_hash(b"a"), leaf_hash(b"b")
    verify_inclusion(1, 2, b, [a], node_hash(a, b))
    with pytest.raises(ProofRejected, match="too long"):
        verify_inclusion(0, 1, b, [a], node_hash(a, b))
    left = [leaf_hash(bytes([i])) for i in range(4)]
    four = node_hash(node_hash(left[0], left[1]), node_hash(left[2], left[3]))
    root7, root8 = (node_hash(four, node_hash(node_hash(a, b), last)) for last in (a, node_hash(a, b)))
    path = [a, b, node_hash(a, b), four]
    verify_consistency(7, root7, 8, root8, path)
    with pytest.raises(ProofRejected, match="too long"):
        verify_consistency(3, root7, 4, root8, path)


def test_the_one_leaf_tree() -> None:
    verify_inclusion(0, 1, ROOTS[0], [], ROOTS[0])
    for index, size in ((0, 0), (1, 1), (-1, 1), (1, 0), (2, 1)):
        with pytest.raises(ProofRejected):
            verify_inclusion(index, size, ROOTS[0], [], ROOTS[0])


@pytest.mark.parametrize("size", SIZES)
def test_every_small_tree_is_the_naive_one(size: int, store: TileStore) -> None:
    leaves = DATA[:size]
    root = naive_merkle.mth(leaves)
    assert tiles.root(size, store.read) == root
    tree = CompactTree()
    for data in leaves:
        tree.append(leaf_hash(data))
    assert (tree.size, tree.root()) == (size, root)
    for index in range(size):
        path = tiles.inclusion_path(index, size, store.read)
        assert path == naive_merkle.path(index, leaves)
        assert root_from_inclusion(index, size, leaf_hash(DATA[index]), path) == root


@pytest.mark.parametrize("size2", SIZES)
def test_every_small_consistency_proof_is_the_naive_one(size2: int, store: TileStore) -> None:
    root2 = naive_merkle.mth(DATA[:size2])
    for size1 in range(1, size2 + 1):
        path = tiles.consistency_path(size1, size2, store.read)
        assert path == naive_merkle.proof(size1, DATA[:size2])
        verify_consistency(size1, naive_merkle.mth(DATA[:size1]), size2, root2, path)


def test_every_fault_in_small_proofs_is_refused(store: TileStore) -> None:
    roots = {size: naive_merkle.mth(DATA[:size]) for size in range(1, 18)}
    for size in range(2, 18):
        for index in range(size):
            path = tiles.inclusion_path(index, size, store.read)
            for desc, arguments in inclusion_faults(index, size, leaf_hash(DATA[index]), path, roots[size]):
                assert is_refused(verify_inclusion, arguments), f"{index} of {size}: {desc}"
        for size1 in range(1, size):
            path = tiles.consistency_path(size1, size, store.read)
            for desc, arguments in consistency_faults(size1, roots[size1], size, roots[size], path):
                assert is_refused(verify_consistency, arguments), f"{size1} to {size}: {desc}"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=12))
def test_tiles_do_not_depend_on_how_appends_are_grouped(groups: list[int]) -> None:
    grouped, single, at = TileStore(), TileStore(), 0
    for count in groups:
        hashes = [leaf_hash(DATA[i % 300]) for i in range(at, at + count)]
        grouped.append(at, hashes)
        for i, h in enumerate(hashes):
            single.append(at + i, [h])
        at += count
    assert grouped.tiles == single.tiles


def test_a_proof_is_one_question(store: TileStore) -> None:
    store.questions = 0
    tiles.inclusion_path(123, 299, store.read)
    assert store.questions == 1


def test_wide_tiles_are_those_of_the_static_interface(store: TileStore) -> None:
    """C2SP tlog-tiles: 300 entries are one full tile, one of width 44, and one of width 1 above."""
    hashes = [leaf_hash(data) for data in DATA]
    assert tiles.wide_tile(0, 0, 256, store.read) == b"".join(hashes[:256])
    assert tiles.wide_tile(0, 1, 44, store.read) == b"".join(hashes[256:])
    assert tiles.wide_tile(1, 0, 1, store.read) == naive_merkle.mth(DATA[:256])
    for level, index, width in ((0, 1, 45), (1, 0, 2), (2, 0, 1)):
        with pytest.raises(StorageError):
            tiles.wide_tile(level, index, width, store.read)
    for level, index, width in ((0, 0, 0), (0, 0, 257), (8, 0, 1), (0, -1, 1)):
        with pytest.raises(InputError):
            tiles.wide_tile(level, index, width, store.read)


def test_what_is_outside_the_tree_is_refused(store: TileStore) -> None:
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(InputError):
            tiles.inclusion_path(index, size, store.read)
    for size1, size2 in ((0, 5), (6, 5), (-1, 5)):
        with pytest.raises(InputError):
            tiles.consistency_path(size1, size2, store.read)


def test_a_damaged_tile_is_found_not_hashed() -> None:
    store = TileStore()
    store.append(0, [leaf_hash(data) for data in DATA[:40]])
    whole = store.tiles[0, 2]
    for damaged in (whole[:-32], whole[:-1], b""):
        store.tiles[0, 2] = damaged
        with pytest.raises(StorageError):
            tiles.root(40, store.read)
        with pytest.raises(StorageError):
            store.append(40, [leaf_hash(DATA[40])])
    del store.tiles[1, 0]
    with pytest.raises(StorageError):
        tiles.inclusion_path(3, 32, store.read)
