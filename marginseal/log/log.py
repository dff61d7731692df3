"""The log: takes entries under its rules (rules.py), signs checkpoints and heads, makes proofs.

An entry is durable when `append` returns.  A checkpoint is signed inside a write, over entries that earlier writes made
durable, after comparing the tree with the last checkpoint and with the one remembered outside the store; it is
remembered and stored before anyone sees it.  So no two checkpoints contradict each other, wherever the process is
killed, and a store that was put back behind a released checkpoint refuses to sign.  A `Log` holds no state of the
tree: any number of threads and processes may use one store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from marginseal.errors import InputError, PolicyError, StorageError
from marginseal.log import tiles
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.head import HeadStatement
from marginseal.log.memory import CheckpointMemory
from marginseal.log.merkle import verify_inclusion
from marginseal.log.note import Note, Signer, VerifierKey
from marginseal.log.policy import LogPolicy, SignedCheckpoint
from marginseal.log.receipt import Receipt
from marginseal.log.rules import EVERY, add_entry, log_time, same_attestation
from marginseal.log.storage import (
    MAX_OBJECT_BYTES,
    PART_BYTES,
    Position,
    Snapshot,
    Storage,
    StoredCheckpoint,
    StoredEntry,
    Transaction,
    paged,
)


class Log:
    """One log over one store.

    origin     its name, in every checkpoint; a new store takes it on, another store's is refused
    signer     the log's key, named like the origin; None for a reader
    released   the file in which the newest released checkpoint is remembered, outside the store
    former     other keys of this log, one of which may have signed what is remembered; for a reader, all of them

    StorageError log.origin, log.empty (a reader of a new store), log.damaged (the tree does not lead to its own last
    checkpoint), log.rollback, log.fork (the store is behind, or beside, what was released)."""

    def __init__(
        self,
        storage: Storage,
        *,
        origin: str,
        signer: Signer | None = None,
        released: Path | None = None,
        former: tuple[VerifierKey, ...] = (),
    ) -> None:
        if signer is not None and signer.name != origin:
            raise InputError("log.signer", "the log's key must be named like its origin")
        keys = former if signer is None else (signer.key, *former)
        if released is not None and not keys:
            raise InputError("log.signer", "whose signature is on what was released has to be said")
        self.storage = storage
        self.origin = origin
        self._signer = signer
        self._memory = None if released is None else CheckpointMemory(released, LogPolicy(origin, keys))
        with storage.read() as snapshot:
            found = snapshot.origin()
        if found is None:
            if signer is None:
                raise StorageError("log.empty", "the store holds no log yet")
            with storage.write() as tx:
                found = tx.origin()
                if found is None:
                    tx.set_origin(origin)
                    found = origin
        if found != origin:
            raise StorageError("log.origin", "the store is that of another log")
        remembered = self._remembered()  # before the snapshot: another process may append and release in between
        with storage.read() as snapshot:
            self._check_past(snapshot, snapshot.tail()[0], remembered)

    # Objects

    def put_object(self, data: bytes) -> bytes:
        """Store bytes under their SHA-256, which is returned; durable on return, and idempotent.

        InputError log.object-too-large."""
        return self.put_objects([data])[0]

    def put_objects(self, objects: Sequence[bytes]) -> list[bytes]:
        """Store several in one durable write."""
        if any(len(data) > MAX_OBJECT_BYTES for data in objects):
            raise InputError("log.object-too-large", f"an object has more than {MAX_OBJECT_BYTES} bytes")
        digests = [hashlib.sha256(data).digest() for data in objects]
        with self.storage.read() as snapshot:
            missing = snapshot.missing_objects(digests)
        if missing:
            by_digest = dict(zip(digests, objects, strict=True))
            with self.storage.write() as tx:
                for digest in sorted(tx.missing_objects(sorted(missing))):
                    data = by_digest[digest]
                    parts = (data[at : at + PART_BYTES] for at in range(0, len(data), PART_BYTES))
                    tx.add_object(digest, len(data), parts)
        return digests

    def get_object(self, digest: bytes) -> bytes:
        """The bytes whose SHA-256 this is.  InputError log.no-object, StorageError log.damaged."""
        data = b"".join(self.object_parts(digest))
        if hashlib.sha256(data).digest() != digest:
            raise StorageError("log.damaged", f"object {digest.hex()} is damaged")
        return data

    def object_parts(self, digest: bytes) -> Iterator[bytes]:
        """The object in parts of at most 1 MiB, unchecked.  InputError log.no-object."""
        with self.storage.read() as snapshot:
            length = snapshot.object_length(digest)
        if length is None:
            raise InputError("log.no-object", "no object is stored under this digest")
        for part in range(-(-length // PART_BYTES)):
            with self.storage.read() as snapshot:
                data = snapshot.object_part(digest, part)
            if data is None:
                raise StorageError("log.damaged", f"object {digest.hex()} lacks a part")
            yield data

    # Entries

    def append(self, entry: Entry, *, now: int, after: tuple[int, int] | None = None) -> int:
        """Log one entry at unix time `now`; its index, durable on return.

        after   what `tail` was when the caller judged the entry by what the log holds: it is taken at that place and
                time or not at all
        PolicyError log.sequence-taken (another attestation stands there), log.sequence-gap, log.prev-mismatch,
        log.book-taken, log.dependency-missing, log.moved (not after `after`); StorageError log.clock, log.damaged,
        storage.*."""
        return self.append_many([entry], now=now, after=after)[0]

    def append_many(self, entries: Sequence[Entry], *, now: int, after: tuple[int, int] | None = None) -> list[int]:
        """Log entries in order, all of them or none, in one durable write.  Later ones may build on earlier ones."""
        encoded = [entry.encode() for entry in entries]
        with self.storage.write() as tx:
            size, last = tx.tail()
            if after is not None and after != (size, last):
                raise PolicyError("log.moved", "the log went on since the entry was judged")
            time = log_time(now, last)
            tree = tiles.TreeWriter(size, tx.tiles)
            indexes = [add_entry(tx, tree, entry, data, time) for entry, data in zip(entries, encoded, strict=True)]
            tx.put_tiles(tree.changed, tree.fresh)
        return indexes

    def size(self) -> int:
        """The number of entries."""
        return self.tail()[0]

    def tail(self) -> tuple[int, int]:
        """(number of entries, the log's own time: the latest it wrote with an entry or a checkpoint)."""
        with self.storage.read() as snapshot:
            return snapshot.tail()

    def entry(self, index: int) -> tuple[int, Entry]:
        """(time, entry) at an index.  InputError log.range."""
        with self.storage.read() as snapshot:
            return _entry(snapshot, index)

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[StoredEntry]:
        """Entries start .. stop - 1 as stored, a page at a time."""
        return paged(self.storage, start, self.size() if stop is None else stop)

    def index_of(self, entry: Entry) -> int | None:
        """Where an entry is logged, if it is."""
        with self.storage.read() as snapshot:
            if entry.kind == ATTESTATION and entry.account is not None and entry.sequence is not None:
                return same_attestation(snapshot, entry.account, entry.sequence, entry.encode())
            return snapshot.index_of(entry.digest)

    def head(self, account: str, size: int = EVERY) -> Position | None:
        """The newest attestation of an account, among the first `size` entries."""
        with self.storage.read() as snapshot:
            return snapshot.head(account, size)

    def attestation(self, account: str, sequence: int) -> Position | None:
        """One attestation of an account."""
        with self.storage.read() as snapshot:
            return snapshot.attestation(account, sequence)

    # Checkpoints

    def checkpoint(self, *, now: int, max_age_s: int = 0) -> bytes:
        """A signed checkpoint of all entries, durable before it is returned.

        One of the present size that is at most `max_age_s` old is returned again, with its cosignatures.
        StorageError log.read-only, log.clock, log.rollback, log.fork, log.damaged, log.memory."""
        with self.storage.read() as snapshot:
            current = _current(snapshot, now, max_age_s)
        if current is None:
            with self.storage.write() as tx:
                current = self._checkpoint(tx, now, max_age_s)
        return current.note

    def last_checkpoint(self) -> StoredCheckpoint | None:
        """The newest checkpoint, with the cosignatures it has so far."""
        with self.storage.read() as snapshot:
            return snapshot.last_checkpoint()

    def checkpoints(self) -> Iterator[StoredCheckpoint]:
        """Every checkpoint ever signed, in order."""
        number = 0
        while True:
            with self.storage.read() as snapshot:
                some = snapshot.checkpoints(number, 256)
            if not some:
                return
            yield from some
            number = some[-1].number

    def add_cosignatures(self, note: bytes, policy: LogPolicy) -> bytes:
        """Keep the cosignatures that `policy`'s witnesses made on the newest checkpoint; the note with all of them.

        PolicyError log.superseded when the log has signed another checkpoint since."""
        signed = LogPolicy(policy.origin, policy.log_keys, policy.witnesses, 0).verify(note)
        known = {(key.name, key.key_id) for key in policy.witnesses}
        with self.storage.write() as tx:
            last = tx.last_checkpoint()
            stored = None if last is None else Note.parse(last.note)
            if last is None or stored is None or Checkpoint.parse(stored.text) != signed.checkpoint:
                raise PolicyError("log.superseded", "the cosigned checkpoint is not the newest one")
            offered = [s for s in Note.parse(note).signatures if (s.name, s.key_id) in known]
            replaced = {(s.name, s.key_id) for s in offered}
            kept = [s for s in stored.signatures if (s.name, s.key_id) not in replaced]
            merged = Note(stored.text, (*kept, *offered)).encode()
            tx.put_note(last.number, merged)
        return merged

    # Proofs

    def consistency(self, size1: int, size2: int) -> list[bytes]:
        """The proof that the first size2 entries extend the first size1, 0 < size1 <= size2.  InputError log.range."""
        with self.storage.read() as snapshot:
            if size2 > snapshot.tail()[0]:
                raise InputError("log.range", "the log is not as large as that")
            return tiles.consistency_path(size1, size2, snapshot.tiles)

    def receipt(self, index: int, checkpoint: bytes) -> bytes:
        """The tlog-proof of entry `index` under one of this log's checkpoints, checked before it is returned.

        InputError log.range when the checkpoint does not reach the entry."""
        with self.storage.read() as snapshot:
            return self._receipt(snapshot, index, checkpoint)

    def newest(self, account: str, *, now: int, max_age_s: int = 0) -> tuple[bytes, bytes]:
        """(receipt, signed head statement) of an account's newest attestation, under one and the same checkpoint.

        What `client.verify_newest` takes.  InputError log.no-account; errors of `checkpoint`."""
        with self.storage.read() as snapshot:
            current = _current(snapshot, now, max_age_s)
            if current is not None:
                return self._newest(snapshot, account, current, now)
        with self.storage.write() as tx:
            current = self._checkpoint(tx, now, max_age_s)
        # The checkpoint is stored now.  What was appended since is not under it; the head below is that of its size.
        with self.storage.read() as snapshot:
            return self._newest(snapshot, account, current, current.time)

    def wide_tile(self, level: int, index: int, width: int) -> bytes:
        """A tile of the static read interface of C2SP tlog-tiles.  InputError log.range."""
        with self.storage.read() as snapshot:
            if not 0 <= level < 8 or ((256 * index + width) << (8 * level)) > snapshot.tail()[0]:
                raise InputError("log.range", "the log is not as large as that")
            return tiles.wide_tile(level, index, width, snapshot.tiles)

    # Inside a snapshot or a write

    def _checkpoint(self, tx: Transaction, now: int, max_age_s: int) -> StoredCheckpoint:
        current = _current(tx, now, max_age_s)  # another process may have been first
        if current is not None:
            return current
        if self._signer is None:
            raise StorageError("log.read-only", "a reader of the log has no key to sign with")
        size, last = tx.tail()
        time = log_time(now, last)
        self._check_past(tx, size, self._remembered())  # nobody else writes either while we do
        root = tiles.root(size, tx.tiles)
        note = Checkpoint.at(self.origin, size, root, time).sign(self._signer)
        stored = tx.add_checkpoint(size, time, note)
        # Remembered before the commit: what it covers is durable already, so if this write is lost the memory is still
        # true of the store.  The other way round a released checkpoint could be forgotten.
        if self._memory is not None:
            with _of_the_memory():
                self._memory.store(note)
        return stored

    def _remembered(self) -> SignedCheckpoint | None:
        if self._memory is None:
            return None
        with _of_the_memory():
            return self._memory.last()

    def _check_past(self, snapshot: Snapshot, size: int, remembered: SignedCheckpoint | None) -> None:
        """The tree leads to the last checkpoint in the store, and to the one remembered outside before the snapshot."""
        last = snapshot.last_checkpoint()
        if last is not None:
            self._check_one(snapshot, size, Checkpoint.of(last.note), ("log.damaged", "log.damaged"))
        if remembered is not None:
            self._check_one(snapshot, size, remembered.checkpoint, ("log.rollback", "log.fork"))

    def _check_one(self, snapshot: Snapshot, size: int, seen: Checkpoint, codes: tuple[str, str]) -> None:
        if size < seen.size:
            raise StorageError(codes[0], f"the store holds {size} entries, a checkpoint was signed at {seen.size}")
        if tiles.root(seen.size, snapshot.tiles) != seen.root:
            raise StorageError(codes[1], f"the store does not lead to the checkpoint signed at {seen.size}")

    def _receipt(self, snapshot: Snapshot, index: int, checkpoint: bytes) -> bytes:
        c = Checkpoint.of(checkpoint)
        if c.origin != self.origin or not 0 <= index < c.size <= snapshot.tail()[0]:
            raise InputError("log.range", "the checkpoint is not this log's, or does not reach the entry")
        time, entry = _entry(snapshot, index)
        leaf = entry.leaf(time)
        path = tiles.inclusion_path(index, c.size, snapshot.tiles)
        verify_inclusion(index, c.size, leaf.hash, path, c.root)
        return Receipt(index, leaf, tuple(path), checkpoint).encode()

    def _newest(self, snapshot: Snapshot, account: str, checkpoint: StoredCheckpoint, time: int) -> tuple[bytes, bytes]:
        if self._signer is None:
            raise StorageError("log.read-only", "a reader of the log has no key to sign with")
        head = snapshot.head(account, checkpoint.size)
        if head is None:
            raise InputError("log.no-account", "the log holds no attestation of this account")
        receipt = self._receipt(snapshot, head.index, checkpoint.note)
        c = Checkpoint.of(checkpoint.note)
        statement = HeadStatement(
            self.origin, account, head.sequence, head.statement_digest, head.index, c.size, c.root, time
        )
        return receipt, statement.sign(self._signer)


@contextmanager
def _of_the_memory() -> Iterator[None]:
    """A full disk is a fault of ours; as an InputError it would read as if what was asked for did not exist."""
    try:
        yield
    except InputError:
        raise StorageError("log.memory", "the newest released checkpoint cannot be read, or not remembered") from None


def _entry(snapshot: Snapshot, index: int) -> tuple[int, Entry]:
    stored = snapshot.entry(index)
    if stored is None:
        raise InputError("log.range", "there is no such entry")
    return stored.time, Entry.decode(stored.data)


def _current(snapshot: Snapshot, now: int, max_age_s: int) -> StoredCheckpoint | None:
    """The last checkpoint, if it covers every entry and is young enough."""
    last = snapshot.last_checkpoint()
    if last is not None and last.size == snapshot.tail()[0] and last.time <= now <= last.time + max_age_s:
        return last
    return None
