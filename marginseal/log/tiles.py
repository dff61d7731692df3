"""A Merkle tree kept as tiles of sixteen hashes, and the paths made from them.

The hash of the complete subtree over leaves [i 2^h, (i + 1) 2^h) never changes once it exists.  Of these, the heights
h = 0, 4, 8, ... are kept:

    tile (level, index) = hashes of the subtrees of height 4 level, numbered 16 index .. 16 index + 15, concatenated

A tile grows to the right until it is full (512 bytes); its own root then becomes one hash of a tile one level up.  The
heights between are rehashed when asked for (at most seven hashes a node), so an append touches one small tile fifteen
times in sixteen, and a proof in a log of ten million entries reads at most a dozen tiles in one question.  A tile of
256 hashes as the static read interface of C2SP (tlog-tiles) serves it is sixteen of these side by side (`wide_tile`).

Where tiles live is the caller's affair: `TileReader` answers for many keys at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from marginseal.errors import InputError, StorageError
from marginseal.log.merkle import EMPTY_ROOT, HASH_BYTES, consistency_ranges, inclusion_ranges, node_hash

TILE_HEIGHT = 4
TILE_WIDTH = 1 << TILE_HEIGHT
WIDE_WIDTH = 256

TileKey = tuple[int, int]  # (level, index)
Node = tuple[int, int]  # (height, index) of a complete subtree
TileReader = Callable[[list[TileKey]], Mapping[TileKey, bytes]]  # a missing tile is left out of the answer


class TreeWriter:
    """Appends leaf hashes to a tree of `size`, and collects the tiles that change: `changed` maps key to content.

    Tiles are read once, on first use.  StorageError log.damaged when a tile is not as long as `size` says."""

    def __init__(self, size: int, read: TileReader) -> None:
        self.size = size
        self.changed: dict[TileKey, bytes] = {}
        self.fresh: set[TileKey] = set()  # of the changed ones, those that did not exist before
        self._read = read

    def append(self, leaf: bytes) -> None:
        """One more leaf; a full tile passes its root to the level above."""
        node, level, position = leaf, 0, self.size
        while True:
            index, offset = position >> TILE_HEIGHT, position & (TILE_WIDTH - 1)
            tile = self._tile((level, index), offset) + node
            self.changed[level, index] = tile
            if offset + 1 < TILE_WIDTH:
                break
            node, level, position = _subtree(tile, 0, TILE_WIDTH), level + 1, index
        self.size += 1

    def _tile(self, key: TileKey, hashes: int) -> bytes:
        tile = self.changed.get(key)
        if tile is None:
            if hashes == 0:
                self.fresh.add(key)
                return b""
            tile = self._read([key]).get(key, b"")
        if len(tile) != hashes * HASH_BYTES:
            raise StorageError("log.damaged", f"tile {key[0]}/{key[1]} does not hold {hashes} hashes")
        return tile


def root(size: int, read: TileReader) -> bytes:
    """MTH of the first `size` leaves."""
    return _range_hashes([(0, size)], read)[0] if size else EMPTY_ROOT


def inclusion_path(index: int, size: int, read: TileReader) -> list[bytes]:
    """The path of leaf `index` in the tree of `size`: at most ceil(log2 size) hashes, one question to `read`.

    InputError log.range outside 0 <= index < size."""
    if not 0 <= index < size:
        raise InputError("log.range", "there is no such entry in a tree of this size")
    return _range_hashes(inclusion_ranges(index, size), read)


def consistency_path(size1: int, size2: int, read: TileReader) -> list[bytes]:
    """The proof that the tree of size2 extends that of size1.  InputError log.range outside 0 < size1 <= size2."""
    if not 0 < size1 <= size2:
        raise InputError("log.range", "a consistency proof goes from a size above zero to one at least as large")
    return _range_hashes(consistency_ranges(size1, size2), read)


def wide_tile(level: int, index: int, width: int, read: TileReader) -> bytes:
    """`width` hashes (1..256) of the tile (level, index) of C2SP tlog-tiles: subtrees of height 8 level.

    InputError log.range for a width outside 1..256; StorageError log.damaged when the tree does not reach so far."""
    if not 0 < width <= WIDE_WIDTH or not 0 <= level < 8 or index < 0:
        raise InputError("log.range", "there is no such tile")
    keys = [(2 * level, TILE_WIDTH * index + i) for i in range(-(-width // TILE_WIDTH))]
    found = read(keys)
    content = b"".join(found.get(key, b"")[: TILE_WIDTH * HASH_BYTES] for key in keys)
    if len(content) < width * HASH_BYTES:
        raise StorageError("log.damaged", f"tile {level}/{index} holds fewer than {width} hashes")
    return content[: width * HASH_BYTES]


def _range_hashes(ranges: list[tuple[int, int]], read: TileReader) -> list[bytes]:
    """MTH of each range, which begins at a multiple of its own size rounded up to a power of two."""
    parts = [_complete(lo, hi) for lo, hi in ranges]
    tiles = read(sorted({_place(node)[0] for nodes in parts for node in nodes}))
    hashes: list[bytes] = []
    for nodes in parts:
        h = _node(nodes[-1], tiles)
        for node in reversed(nodes[:-1]):
            h = node_hash(_node(node, tiles), h)
        hashes.append(h)
    return hashes


def _complete(lo: int, hi: int) -> list[Node]:
    """The complete subtrees that make up [lo, hi), from the left: one for each one bit of its length."""
    nodes: list[Node] = []
    while lo < hi:
        height = (hi - lo).bit_length() - 1
        nodes.append((height, lo >> height))
        lo += 1 << height
    return nodes


def _place(node: Node) -> tuple[TileKey, int, int]:
    """The tile that holds a node's leaves or the node itself, and there the first hash and their number."""
    height, index = node
    level, depth = divmod(height, TILE_HEIGHT)
    first = index << depth
    return (level, first >> TILE_HEIGHT), first & (TILE_WIDTH - 1), 1 << depth


def _node(node: Node, tiles: Mapping[TileKey, bytes]) -> bytes:
    key, first, count = _place(node)
    tile = tiles.get(key, b"")
    if len(tile) < (first + count) * HASH_BYTES:
        raise StorageError("log.damaged", f"tile {key[0]}/{key[1]} is missing or too short")
    return _subtree(tile, first, count)


def _subtree(tile: bytes, first: int, count: int) -> bytes:
    """The root over `count` hashes (a power of two) of a tile, from the hash numbered `first`."""
    hashes = [tile[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in range(first, first + count)]
    while len(hashes) > 1:
        hashes = [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes), 2)]
    return hashes[0]
