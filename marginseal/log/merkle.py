"""Merkle tree hashing and proof checking, as in RFC 9162 section 2.1 (the same tree as RFC 6962).

    MTH({})      = SHA-256("")
    MTH({d})     = SHA-256(0x00 | d)
    MTH(D[0:n])  = SHA-256(0x01 | MTH(D[0:k]) | MTH(D[k:n])),    k the largest power of two below n

Everything here maps hashes to hashes and keeps O(log n) of them.  Where the hashes of a large tree are kept, and how
a path is made from them, is `tiles`; what a root means, and who signed it, is `checkpoint`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from marginseal.errors import ProofRejected

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
MAX_SIZE = 2**62  # entries: keeps every index within a signed 64-bit column


def leaf_hash(data: bytes) -> bytes:
    """SHA-256(0x00 | data): the hash of one entry."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 | left | right): the hash of an inner node from its two children."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split(n: int) -> int:
    """The largest power of two strictly below n, for n >= 2: where a tree of n leaves divides."""
    return 1 << ((n - 1).bit_length() - 1)


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges [lo, hi) of leaves whose hashes make up the path of leaf `index`, 0 <= index < size, leaf end first.

    PATH(m, D[0:n]) of RFC 9162 section 2.1.3.1, as ranges."""
    lo, hi = 0, size
    ranges: list[tuple[int, int]] = []
    while hi - lo > 1:
        middle = lo + split(hi - lo)
        if index < middle:
            ranges.append((middle, hi))
            hi = middle
        else:
            ranges.append((lo, middle))
            lo = middle
    ranges.reverse()
    return ranges


def consistency_ranges(size1: int, size2: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose hashes prove that the tree of size2 extends that of size1, 0 < size1 <= size2.

    PROOF(m, D[0:n]) of RFC 9162 section 2.1.4.1, as ranges; empty when the sizes are equal."""
    lo, hi = 0, size2
    ranges: list[tuple[int, int]] = []
    while hi != size1:
        middle = lo + split(hi - lo)
        if size1 <= middle:
            ranges.append((middle, hi))
            hi = middle
        else:
            ranges.append((lo, middle))
            lo = middle
    if lo != 0:  # otherwise the subtree is the whole first tree, whose root the checker has
        ranges.append((lo, hi))
    ranges.reverse()
    return ranges


def root_from_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes]) -> bytes:
    """The root that `path` leads to from the leaf hash `leaf` at `index` in a tree of `size` (RFC 9162, 2.1.3.2).

    ProofRejected log.inclusion: index outside the tree, a path of the wrong length, a hash that is not 32 bytes."""
    _check_hashes(path, leaf, code="log.inclusion")
    if not 0 <= index < size <= MAX_SIZE:
        raise ProofRejected("log.inclusion", "the leaf index lies outside the tree")
    fn, sn = index, size - 1
    r = leaf
    for p in path:
        if sn == 0:
            raise ProofRejected("log.inclusion", "the inclusion path is too long")
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while fn & 1 == 0 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            r = node_hash(r, p)
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise ProofRejected("log.inclusion", "the inclusion path is too short")
    return r


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """The leaf hash `leaf` is entry `index` of the tree (size, root).  ProofRejected log.inclusion."""
    if len(root) != HASH_BYTES or root_from_inclusion(index, size, leaf, path) != root:
        raise ProofRejected("log.inclusion", "the inclusion path does not lead to the root")


def verify_consistency(size1: int, root1: bytes, size2: int, root2: bytes, path: Sequence[bytes]) -> None:
    """The tree (size2, root2) extends the tree (size1, root1) (RFC 9162, 2.1.4.2).  ProofRejected log.consistency.

    size1 = 0 is refused: every tree extends the empty one, so a proof of it would prove nothing, and a caller who
    starts from nothing has no first root to trust."""
    code = "log.consistency"
    _check_hashes(path, root1, root2, code=code)
    if not 0 < size1 <= size2 <= MAX_SIZE:
        raise ProofRejected(code, "the sizes of a consistency proof are out of order")
    if size1 == size2:
        if path or root1 != root2:
            raise ProofRejected(code, "two roots of one size differ, or the path is not empty")
        return
    if not path:
        raise ProofRejected(code, "the consistency path is empty")
    nodes = list(path)
    if size1 & (size1 - 1) == 0:
        nodes.insert(0, root1)
    fn, sn = size1 - 1, size2 - 1
    while fn & 1:
        fn >>= 1
        sn >>= 1
    fr = sr = nodes[0]
    for c in nodes[1:]:
        if sn == 0:
            raise ProofRejected(code, "the consistency path is too long")
        if fn & 1 or fn == sn:
            fr = node_hash(c, fr)
            sr = node_hash(c, sr)
            while fn & 1 == 0 and fn != 0:
                fn >>= 1
                sn >>= 1
        else:
            sr = node_hash(sr, c)
        fn >>= 1
        sn >>= 1
    if sn != 0:
        raise ProofRejected(code, "the consistency path is too short")
    if fr != root1 or sr != root2:
        raise ProofRejected(code, "the consistency path does not lead to both roots")


class CompactTree:
    """The root of a growing list of leaves in O(log n) memory: the roots of its complete subtrees, largest first.

    For readers that pass over a whole log once."""

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """One more leaf hash; equal subtrees merge, one for each trailing one bit of the old size."""
        size, node = self.size, leaf
        while size & 1:
            node = node_hash(self._roots.pop(), node)
            size >>= 1
        self._roots.append(node)
        self.size += 1

    def root(self) -> bytes:
        """MTH of the leaves so far."""
        if not self._roots:
            return EMPTY_ROOT
        root = self._roots[-1]
        for left in reversed(self._roots[:-1]):
            root = node_hash(left, root)
        return root


def _check_hashes(path: Sequence[bytes], *more: bytes, code: str) -> None:
    if len(path) > 2 * MAX_SIZE.bit_length() or any(len(h) != HASH_BYTES for h in (*path, *more)):
        raise ProofRejected(code, "a proof holds too many hashes, or one that is not 32 bytes")
