"""What the entry of a record says, held against the record in it: the same for a venue and for an auditor.

The log keeps its rules (one attestation at each place, a book under one account) by what entries say and reads no
payload.  An entry that says something else than its payload has kept none of them for it.  That it is of the right kind
is for who looks it up to see.
"""

from __future__ import annotations

from collections.abc import Iterable

from marginseal.log.entry import ATTESTATION, Book, Entry, Leaf
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest
from marginseal.records.statement import Statement


def says_attestation(leaf: Leaf, s: Statement) -> bool:
    """Whether the entry is under the account, at the place and of the books of the attestation in it."""
    books = _books((e.source, e.book) for e in s.sources)
    return _same(leaf, Entry(ATTESTATION, b"", s.account, s.sequence, s.digest, s.prev, books))


def says_manifest(leaf: Leaf, manifest: Manifest) -> bool:
    """Whether the entry is under the account and of the books of the manifest in it."""
    return _same(leaf, Entry(LogKind.MANIFEST, b"", manifest.account, books=_books(manifest.books)))


def _books(books: Iterable[Book]) -> tuple[Book, ...]:
    return tuple(sorted(set(books), key=lambda book: (book[0].encode(), book[1].encode())))


def _same(leaf: Leaf, expected: Entry) -> bool:
    other = expected.leaf(leaf.time)
    chain = expected.chain is None or leaf.chain == other.chain
    return chain and (leaf.account, leaf.books_digest) == (other.account, other.books_digest)
