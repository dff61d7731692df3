"""What goes into the log: an entry, and the leaf by which the tree binds it.

An `Entry` is what somebody asks to have logged: a kind, the payload (for an attestation its signed envelope), and what
the log must know to keep its rules without understanding the payload: the account, the place in the account's chain,
the (source, book id) pairs it draws on, and the digests (SHA-256) of the objects it cannot be replayed without.

    entry = "MARGINSEAL-LOG-ENTRY" | 1 | kind | account | chain | books | dependencies | payload
    leaf  = "MARGINSEAL-LOG-LEAF"  | 1 | time | kind | account | chain | digest of books | digest of dependencies
            | digest of payload

    account = count (0 or 1) | text          chain = count (0 or 1) | sequence | statement digest | prev
    books   = count | (source, book) ...     dependencies = count | digest ...        payload = length | bytes

in the encoding of `marginseal.records.wire` (texts behind their length, integers of eight bytes), so that both are
injective.  The digests in a leaf are SHA-256 of the parts as they stand in the entry; a leaf stays below 400 bytes
however many sources an attestation has, and a receipt can carry it whole.  `time` is the log's, unix seconds, never
earlier than that of the entry before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from marginseal.errors import DecodeError
from marginseal.log.merkle import HASH_BYTES, leaf_hash
from marginseal.records.wire import Reader, Writer, is_identifier

ATTESTATION = "attestation"
FORMAT = 1
MAX_PAYLOAD_BYTES = 16 * 2**20
MAX_BOOKS = 2**16
MAX_DEPENDENCIES = 2**16
MAX_ENTRY_BYTES = MAX_PAYLOAD_BYTES + MAX_BOOKS * 130 + MAX_DEPENDENCIES * HASH_BYTES + 1024
MAX_LEAF_BYTES = 400
NO_PREDECESSOR = bytes(HASH_BYTES)

Book = tuple[str, str]  # (source, book id)


@dataclass(frozen=True)
class Entry:
    """One thing to log.

    kind              1..64 bytes; `attestation` extends the chain of its account, no other kind does
    payload           at most 16 MiB, opaque to the log
    account           whose it is, if anybody's
    sequence, statement_digest, prev   the place in the account's chain, all three or none; sequences start at 1, and
                      prev is the statement digest of the attestation before (32 zero bytes for the first)
    books             (source, book id), strictly increasing as byte strings
    dependencies      SHA-256 digests of stored objects, strictly increasing

    DecodeError entry.* for anything else."""

    kind: str
    payload: bytes
    account: str | None = None
    sequence: int | None = None
    statement_digest: bytes | None = None
    prev: bytes | None = None
    books: tuple[Book, ...] = ()
    dependencies: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        fault = _fault(self)
        if fault is not None:
            raise DecodeError("entry." + fault[0], "log entry: " + fault[1])

    @property
    def chain(self) -> tuple[int, bytes, bytes] | None:
        """(sequence, statement digest, prev), or None."""
        if self.sequence is None or self.statement_digest is None or self.prev is None:
            return None
        return self.sequence, self.statement_digest, self.prev

    @cached_property
    def _books_bytes(self) -> bytes:
        w = Writer().int64(len(self.books))
        for source, book in self.books:
            w.text(source).text(book)
        return w.bytes()

    @cached_property
    def _dependencies_bytes(self) -> bytes:
        return Writer().int64(len(self.dependencies)).raw(b"".join(self.dependencies)).bytes()

    def encode(self) -> bytes:
        w = Writer().text("MARGINSEAL-LOG-ENTRY").int64(FORMAT).text(self.kind)
        _write_place(w, self.account, self.chain)
        w.raw(self._books_bytes).raw(self._dependencies_bytes).int64(len(self.payload)).raw(self.payload)
        return w.bytes()

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """Canonical bytes -> Entry.  DecodeError entry.*, wire.*."""
        if len(data) > MAX_ENTRY_BYTES:
            raise DecodeError("entry.too-large", "log entry: too large")
        r = Reader(data, what="log entry")
        if r.text() != "MARGINSEAL-LOG-ENTRY" or r.int64() != FORMAT:
            raise DecodeError("entry.version", "log entry: unknown format")
        kind = r.text()
        account, chain = _read_place(r)
        books = tuple((r.text(), r.text()) for _ in range(r.count(MAX_BOOKS)))
        dependencies = tuple(r.raw(HASH_BYTES) for _ in range(r.count(MAX_DEPENDENCIES)))
        payload = r.raw(r.count(MAX_PAYLOAD_BYTES))
        r.end()
        sequence, statement_digest, prev = chain or (None, None, None)
        return cls(kind, payload, account, sequence, statement_digest, prev, books, dependencies)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: by this a second append of the same entry is recognised."""
        return hashlib.sha256(self.encode()).digest()

    def leaf(self, time: int) -> Leaf:
        """What the tree binds when the log takes this entry at `time`."""
        return Leaf(
            time,
            self.kind,
            self.account,
            self.chain,
            hashlib.sha256(self._books_bytes).digest(),
            hashlib.sha256(self._dependencies_bytes).digest(),
            hashlib.sha256(self.payload).digest(),
        )


@dataclass(frozen=True)
class Leaf:
    """The bytes under a leaf hash: an entry by its digests, and when the log took it."""

    time: int
    kind: str
    account: str | None
    chain: tuple[int, bytes, bytes] | None
    books_digest: bytes
    dependencies_digest: bytes
    payload_digest: bytes

    def __post_init__(self) -> None:
        digests = (self.books_digest, self.dependencies_digest, self.payload_digest)
        if not 0 <= self.time < 2**62 or any(len(d) != HASH_BYTES for d in digests):
            raise DecodeError("leaf.malformed", "log leaf: a time or digest is out of range")
        fault = _place_fault(self.kind, self.account, self.chain)
        if fault is not None:
            raise DecodeError("leaf." + fault[0], "log leaf: " + fault[1])

    def encode(self) -> bytes:
        w = Writer().text("MARGINSEAL-LOG-LEAF").int64(FORMAT).int64(self.time).text(self.kind)
        _write_place(w, self.account, self.chain)
        return w.raw(self.books_digest).raw(self.dependencies_digest).raw(self.payload_digest).bytes()

    @classmethod
    def decode(cls, data: bytes) -> Leaf:
        """Canonical bytes -> Leaf.  DecodeError leaf.*, wire.*."""
        r = Reader(data, what="log leaf")
        if r.text() != "MARGINSEAL-LOG-LEAF" or r.int64() != FORMAT:
            raise DecodeError("leaf.version", "log leaf: unknown format")
        time, kind = r.int64(), r.text()
        account, chain = _read_place(r)
        leaf = cls(time, kind, account, chain, r.raw(HASH_BYTES), r.raw(HASH_BYTES), r.raw(HASH_BYTES))
        r.end()
        return leaf

    @property
    def hash(self) -> bytes:
        """The RFC 9162 leaf hash."""
        return leaf_hash(self.encode())


def _write_place(w: Writer, account: str | None, chain: tuple[int, bytes, bytes] | None) -> None:
    w.int64(account is not None)
    if account is not None:
        w.text(account)
    w.int64(chain is not None)
    if chain is not None:
        w.int64(chain[0]).raw(chain[1]).raw(chain[2])


def _read_place(r: Reader) -> tuple[str | None, tuple[int, bytes, bytes] | None]:
    account = r.text() if r.count(1) else None
    chain = (r.int64(), r.raw(HASH_BYTES), r.raw(HASH_BYTES)) if r.count(1) else None
    return account, chain


def _place_fault(kind: str, account: str | None, chain: tuple[int, bytes, bytes] | None) -> tuple[str, str] | None:
    if not is_identifier(kind) or not (account is None or is_identifier(account)):
        return "name", "a name is not 1 to 64 bytes of UTF-8 without control characters"
    if chain is None:
        return ("chain", "an attestation has a place in a chain") if kind == ATTESTATION else None
    sequence, statement_digest, prev = chain
    if account is None or len(statement_digest) != HASH_BYTES or len(prev) != HASH_BYTES:
        return "chain", "a place in a chain is that of an account, with two digests of 32 bytes"
    if not 1 <= sequence < 2**63 or (sequence == 1) != (prev == NO_PREDECESSOR):
        return "chain", "sequences start at 1, and only the first has no predecessor"
    return None


def _fault(e: Entry) -> tuple[str, str] | None:
    given = [x is not None for x in (e.sequence, e.statement_digest, e.prev)]
    if any(given) and not all(given):
        return "chain", "sequence, statement digest and prev come together"
    fault = _place_fault(e.kind, e.account, e.chain)
    if fault is not None:
        return fault
    if len(e.payload) > MAX_PAYLOAD_BYTES or len(e.books) > MAX_BOOKS or len(e.dependencies) > MAX_DEPENDENCIES:
        return "too-large", "too many bytes, books or dependencies"
    if not all(is_identifier(x) for book in e.books for x in book):
        return "name", "a source or book id is not 1 to 64 bytes of UTF-8 without control characters"
    if e.books and e.account is None:
        return "books", "books are those of an account"
    order = [(source.encode(), book.encode()) for source, book in e.books]
    if any(a >= b for a, b in pairwise(order)):
        return "books", "books are strictly increasing"
    if any(len(d) != HASH_BYTES for d in e.dependencies):
        return "dependencies", "a dependency is not a digest of 32 bytes"
    if any(a >= b for a, b in pairwise(e.dependencies)):
        return "dependencies", "dependencies are strictly increasing"
    return None
