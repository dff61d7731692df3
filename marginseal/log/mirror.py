"""A copy of somebody else's log in a store of one's own: what a venue or an auditor of a service decides by.

`sync` reads what is new, up to a checkpoint that the policy's keys signed, and keeps it only if the entries lead to the
signed root: all in one write, so that a service that lies leaves nothing behind, and only once all is read, so that a
service that is slow keeps nobody else from the file.  What is kept is continued at the next visit, and a log that forks
or goes back between two visits is found by it.  Objects are fetched when they are wanted,
under their SHA-256, and kept too.

The store is the log's own (`storage`), and `Mirror.log` a reader over it: entries, receipts, consistency proofs and
exports are made here as the log makes them, and memory does not grow with the log.  Whoever can write the file can
mislead its owner; it is thrown away without loss, but for the time that reading it again takes.
"""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol

from marginseal.errors import InputError, ProofRejected, StorageError
from marginseal.log import tiles
from marginseal.log.checkpoint import Checkpoint, check_append_only
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.log import Log
from marginseal.log.memory import CheckpointMemory
from marginseal.log.policy import LogPolicy, SignedCheckpoint
from marginseal.log.storage import Position, Snapshot, Storage, StoredEntry, Transaction
from marginseal.records.document import MAX_INTEGER

_TRIES = 8
_IN_MEMORY = 2**24  # bytes of a visit that are no file; a first visit reads a whole log
_AT_ONCE = 256  # entries whose tiles are written together
_FRAME = struct.Struct(">QI")  # time, length


class Service(Protocol):
    """Where the log is; nothing of what it says is believed."""

    def checkpoint(self) -> bytes:
        """Its newest signed checkpoint."""

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        """(index, time, canonical bytes) from `start` on, a page; empty at the end."""

    def object(self, digest: bytes) -> bytes: ...


class Mirror:
    """One log of a service.  memory: a file that remembers the newest checkpoint seen, apart from the store.

    StorageError log.origin (the store is of another log), log.damaged, storage.*"""

    def __init__(self, storage: Storage, service: Service, policy: LogPolicy, memory: Path | None = None) -> None:
        with storage.write() as tx:
            if tx.origin() is None:
                tx.set_origin(policy.origin)
        self.log = Log(storage, origin=policy.origin)
        self.policy, self.service, self.memory = policy, service, memory

    def sync(self) -> int:
        """Read on to the service's newest checkpoint; how many entries were new.

        If another process has kept something meanwhile, what it kept is gone on from, with a checkpoint of after that.

        ProofRejected log.root (the entries do not lead to the checkpoint), log.sequence-taken (two attestations at one
        place), log.rollback, log.fork, log.backdated, note.*; DecodeError entry.*; StorageError mirror.overtaken,
        mirror.room"""
        for _ in range(_TRIES):
            with self.log.storage.read() as snapshot:
                before = _standing(snapshot)
            signed = self.policy.verify(self.service.checkpoint())
            with SpooledTemporaryFile(_IN_MEMORY) as spool:
                self._read(spool, before[0], signed.checkpoint)
                with self.log.storage.write() as tx:
                    if _standing(tx) == before:
                        self._write(tx, spool, before[0], signed)
                        return max(0, signed.checkpoint.size - before[0])
        raise StorageError("mirror.overtaken", "other processes go on with this mirror faster than this one reads")

    def object(self, digest: bytes) -> bytes:
        """An object by its SHA-256.  ProofRejected log.object if the service serves another."""
        try:
            return self.log.get_object(digest)
        except InputError:
            data = self.service.object(digest)
            if hashlib.sha256(data).digest() != digest:
                raise ProofRejected("log.object", "the service served another object than was asked for") from None
            self.log.put_object(data)
            return data

    def fetch_objects(self) -> None:
        """Everything that any entry depends on: what `export_bundle` needs."""
        for stored in self.log.entries():
            for digest in Entry.decode(stored.data).dependencies:
                self.object(digest)

    def close(self) -> None:
        self.log.storage.close()

    def _read(self, spool: IO[bytes], size: int, to: Checkpoint) -> None:
        """Entries `size` up to the checkpoint, as the service has them, into the spool."""
        while size < to.size:
            page = self.service.entries(size)[: to.size - size]
            if not page:
                raise ProofRejected("log.root", "the log does not serve all entries of its checkpoint")
            for index, time, data in page:
                if index != size or not 0 <= time <= MAX_INTEGER:
                    raise ProofRejected("log.root", "the log serves its entries out of order")
                try:
                    spool.write(_FRAME.pack(time, len(data)) + data)
                except OSError:
                    raise StorageError("mirror.room", "no room to put down what the log serves") from None
                size += 1
        spool.seek(0)

    def _write(self, tx: Transaction, spool: IO[bytes], size: int, signed: SignedCheckpoint) -> None:
        while size < signed.checkpoint.size:
            tree = tiles.TreeWriter(size, tx.tiles)
            while tree.size < min(size + _AT_ONCE, signed.checkpoint.size):
                time, length = _FRAME.unpack(spool.read(_FRAME.size))
                tree.append(_add(tx, tree.size, time, spool.read(length)))
            tx.put_tiles(tree.changed, tree.fresh)
            size = tree.size
        self._keep(tx, signed)
        if self.memory is not None:
            # Before the commit, so that a fork which the memory alone can tell is not kept in the store either.
            remembered = CheckpointMemory(self.memory, self.policy)
            last = remembered.last()
            path = [] if last is None else _path(tx, last.checkpoint, signed.checkpoint)
            remembered.advance(signed, path)

    def _keep(self, tx: Transaction, signed: SignedCheckpoint) -> None:
        """The checkpoint, if it is over these entries and follows the last one."""
        new, last = signed.checkpoint, tx.last_checkpoint()
        old = None if last is None else Checkpoint.of(last.note)
        grown = old is None or new.size > old.size
        if grown and tiles.root(new.size, tx.tiles) != new.root:
            message = "the entries do not lead to the signed checkpoint: the log was rewritten"
            raise ProofRejected("log.root", message)
        if old is not None:
            check_append_only(old, new, _path(tx, old, new))
        if grown:
            tx.add_checkpoint(new.size, new.time or 0, signed.note)


def _standing(snapshot: Snapshot) -> tuple[int, bytes | None]:
    """How far a mirror is: its entries, and the checkpoint it has of them."""
    last = snapshot.last_checkpoint()
    return snapshot.tail()[0], None if last is None else last.note


def _path(tx: Transaction, old: Checkpoint, new: Checkpoint) -> list[bytes]:
    return tiles.consistency_path(old.size, new.size, tx.tiles) if 0 < old.size < new.size else []


def _add(tx: Transaction, index: int, time: int, data: bytes) -> bytes:
    """Keep an entry, found again as the log finds it; its leaf hash."""
    entry = Entry.decode(data)
    if entry.kind == ATTESTATION and entry.account is not None and entry.chain is not None:
        sequence, statement, _ = entry.chain
        if tx.attestation(entry.account, sequence) is not None:
            raise ProofRejected("log.sequence-taken", f"entry {index}: a second attestation at one place of its chain")
        tx.add_entry(StoredEntry(index, time, data), None)
        tx.add_attestation(entry.account, Position(sequence, statement, index))
    else:
        digest = hashlib.sha256(data).digest()
        tx.add_entry(StoredEntry(index, time, data), None if tx.index_of(digest) is not None else digest)
    return entry.leaf(time).hash
