"""What the log asks of a store.  The contract, and nothing of any database.

*Atomicity.*  Everything done in one `write()` becomes visible together, or not at all, also when the process is killed
or the machine loses power at any instruction of it.
*Order.*  At most one `write()` runs at a time, over all threads, processes and machines that share the store; it sees
everything earlier ones did, and later readers see what it did.  A `read()` sees one moment throughout.
*Durability.*  When the `write()` block has ended without an error, what it did survives loss of power.
*Permanence.*  Entries, attestations, books and objects are added and never changed or removed.  Tiles only grow,
checkpoint notes only gain signatures.
*Errors.*  StorageError storage.busy when another writer holds the store too long, storage.failed when it refuses or is
damaged; never an exception of a driver.

A store keeps facts apart and enforces their uniqueness (one entry an index, one attestation an (account, sequence), one
account a (source, book id)) as a second line behind the rules of `log.Log`, which decides what may be added.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from marginseal.log.entry import Book
from marginseal.log.tiles import TileKey

MAX_OBJECT_BYTES = 256 * 2**20
PART_BYTES = 2**20
READ_BYTES = 4 * 2**20
"""Entries that one read gives come to this much, or are one: most have kilobytes, a manifest may have megabytes."""


@dataclass(frozen=True)
class StoredEntry:
    """Entry `index`, taken at `time`; `data` is the canonical encoding of the entry."""

    index: int
    time: int
    data: bytes


@dataclass(frozen=True)
class Position:
    """One attestation in its account's chain, and the index of its entry."""

    sequence: int
    statement_digest: bytes
    index: int


@dataclass(frozen=True)
class StoredCheckpoint:
    """A signed checkpoint; `number` counts them in the order of signing."""

    number: int
    size: int
    time: int
    note: bytes


class Snapshot(Protocol):
    """One moment of the store."""

    def origin(self) -> str | None:
        """The log this store is of, or None in an empty store."""

    def tail(self) -> tuple[int, int]:
        """(number of entries, the latest time written with an entry or a checkpoint; 0 before the first)."""

    def tiles(self, keys: list[TileKey]) -> Mapping[TileKey, bytes]:
        """Those of the tiles that exist."""

    def entry(self, index: int) -> StoredEntry | None: ...

    def entries(self, start: int, stop: int) -> list[StoredEntry]:
        """Entries start .. stop - 1 that exist, in order: the first at least, and others while they fit READ_BYTES."""

    def index_of(self, digest: bytes) -> int | None:
        """The index of the entry that was added with this digest."""

    def head(self, account: str, size: int) -> Position | None:
        """The newest attestation of an account among the first `size` entries."""

    def attestation(self, account: str, sequence: int) -> Position | None: ...

    def book_accounts(self, books: Sequence[Book]) -> Mapping[Book, str]:
        """The account of each of these books that has one."""

    def missing_objects(self, digests: Sequence[bytes]) -> set[bytes]:
        """Those of the digests under which nothing is stored."""

    def object_length(self, digest: bytes) -> int | None: ...

    def object_part(self, digest: bytes, part: int) -> bytes | None:
        """Part 0, 1, ... of an object, None after the last."""

    def last_checkpoint(self) -> StoredCheckpoint | None: ...

    def checkpoints(self, after: int, limit: int) -> list[StoredCheckpoint]:
        """At most `limit` checkpoints with numbers above `after`, in order."""


class Transaction(Snapshot, Protocol):
    """The one writer.  Reads see its own writes."""

    def set_origin(self, origin: str) -> None: ...

    def add_entry(self, entry: StoredEntry, digest: bytes | None) -> None:
        """`digest` is SHA-256 of the data where `index_of` is to find the entry, None where its place in a chain does
        (a random key costs a page of its own in every write)."""

    def add_attestation(self, account: str, position: Position) -> None: ...

    def add_books(self, account: str, books: Iterable[Book], index: int) -> None: ...

    def put_tiles(self, tiles: Mapping[TileKey, bytes], fresh: set[TileKey]) -> None:
        """Replace tiles; those in `fresh` did not exist."""

    def add_object(self, digest: bytes, length: int, parts: Iterable[bytes]) -> None: ...

    def add_checkpoint(self, size: int, time: int, note: bytes) -> StoredCheckpoint: ...

    def put_note(self, number: int, note: bytes) -> None:
        """Replace the note of a checkpoint by the same text with more signatures."""


class Storage(Protocol):
    """A store as a whole."""

    def read(self) -> AbstractContextManager[Snapshot]: ...

    def write(self) -> AbstractContextManager[Transaction]: ...

    def close(self) -> None:
        """Let go of files and connections."""


def paged(storage: Storage, start: int, stop: int, page: int = 256) -> Iterator[StoredEntry]:
    """Entries start .. stop - 1 in pages of their own short reads: entries never change, so no long read is needed."""
    while start < stop:
        with storage.read() as snapshot:
            rows = snapshot.entries(start, min(stop, start + page))
        if not rows:
            return
        yield from rows
        start = rows[-1].index + 1
