"""Everything that can be wrong with a bundle, found in one pass without understanding a payload.

Checked: objects against their names; entries (canonical, times in order, the rules of `log`, dependencies present);
every checkpoint ever signed (by the policy's log, over exactly these entries, sizes and times in order); that the
newest one covers the last entry and carries the policy's witnesses (earlier ones need not: it is consistent with them
all); that every checkpoint which the reader kept from elsewhere (`seen`) is over these entries too.  Not checked: what
a payload says, and whether it says what its entry does; that is replay's part.

Nothing is kept of what has been passed but the tree's O(log n) hashes, the head of every account and the account of
every book: memory grows with the parties, not with the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from marginseal.errors import InputError, MarginSealError, ProofRejected
from marginseal.files import read_bytes
from marginseal.log.bundle import (
    Bundle,
    BundleEntry,
    Description,
    Progress,
    nothing_left,
    object_path,
    read_exactly,
    read_frame,
)
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Book, Entry
from marginseal.log.merkle import CompactTree
from marginseal.log.policy import LogPolicy
from marginseal.log.storage import MAX_OBJECT_BYTES


@dataclass(frozen=True)
class Fault:
    """One thing wrong with a bundle: a stable code, words, and the entry it concerns if it is one."""

    code: str
    message: str
    index: int | None = None


def verify_bundle(bundle: Bundle, policy: LogPolicy, *, progress: Progress | None = None) -> Description:
    """The bundle is the whole log of `policy` that it says it is; else the first fault as ProofRejected."""
    for fault in bundle_faults(bundle, policy, progress=progress):
        where = "" if fault.index is None else f" (entry {fault.index})"
        raise ProofRejected(fault.code, fault.message + where)
    return bundle.description


def bundle_faults(
    bundle: Bundle, policy: LogPolicy, *, seen: Sequence[bytes] = (), progress: Progress | None = None
) -> Iterator[Fault]:
    """All faults, as they are met.  Unreadable bytes end the pass with a fault of their own; nothing is raised.

    seen   signed checkpoints of the log from other places and times: a bundle alone cannot show what it leaves out"""
    yield from _object_faults(bundle)
    try:
        yield from _Pass(bundle, policy, seen).run(progress)
    except MarginSealError as e:
        yield Fault(e.code, e.message)


def _object_faults(bundle: Bundle) -> Iterator[Fault]:
    count = 0
    folder = bundle.path / "objects"
    if folder.is_symlink():
        yield Fault("bundle.object", "objects is not a plain folder")
        return
    for shelf in sorted(folder.iterdir()) if folder.is_dir() else []:
        # A folder that is a link counts as a file that is one: what lies behind it is not the bundle's.
        for path in sorted(shelf.iterdir()) if shelf.is_dir() and not shelf.is_symlink() else [shelf]:
            count += 1
            name = path.name[:64]
            if path.is_symlink() or not path.is_file():  # a link may lead out of the bundle, a pipe nowhere
                yield Fault("bundle.object", f"objects/{name} is not a plain file")
                continue
            try:
                digest = hashlib.sha256(read_bytes(path, limit=MAX_OBJECT_BYTES, what="object")).digest()
            except InputError as e:
                yield Fault(e.code, e.message)
                continue
            if object_path(bundle.path, digest) != path:
                yield Fault("bundle.object", f"object {name} is not what its name says")
    if count != bundle.description.objects:
        yield Fault("bundle.object", f"{count} objects in the bundle, {bundle.description.objects} announced")


class _Pass:
    """One walk over entries and checkpoints together; a checkpoint is due when the tree has its size."""

    def __init__(self, bundle: Bundle, policy: LogPolicy, seen: Sequence[bytes] = ()) -> None:
        self._bundle = bundle
        self._given = seen
        self._seen: dict[int, set[bytes]] = {}  # size -> roots that somebody saw, of those that are still due
        self._policy = policy
        self._log_alone = LogPolicy(policy.origin, policy.log_keys)
        self._notes = bundle.checkpoints()
        self._due: tuple[Checkpoint, bytes] | None = None
        self._newest: tuple[Checkpoint, bytes] | None = None  # of those that were due
        self._tree = CompactTree()
        self._time = 0  # the latest of any entry or checkpoint so far
        self._heads: dict[str, tuple[int, bytes]] = {}
        self._books: dict[Book, str] = {}

    def run(self, progress: Progress | None) -> Iterator[Fault]:
        description = self._bundle.description
        if description.origin != self._policy.origin:
            yield Fault("log.origin", "the bundle is that of another log")
            return
        for note in self._given:
            try:
                kept = self._log_alone.verify(note).checkpoint
            except MarginSealError as e:
                yield Fault(e.code, f"a checkpoint seen elsewhere: {e.message}")
                continue
            self._seen.setdefault(kept.size, set()).add(kept.root)
        yield from self._advance()
        yield from self._due_now()
        for item in self._entries():
            yield from self._entry(item)
            yield from self._due_now()
            if progress is not None:
                progress(self._tree.size, description.entries)
        for size in sorted(self._seen):
            yield Fault("log.truncated", f"a checkpoint of {size} entries was seen elsewhere, the bundle ends before")
        if self._tree.root() != description.root:
            yield Fault("bundle.root", "the root over the entries is not the one announced")
        if self._due is not None:
            size = self._due[0].size
            yield Fault("log.truncated", f"a checkpoint was signed at {size} entries, the bundle ends before")
        elif self._newest is None or self._newest[0].size != self._tree.size:
            yield Fault("log.unsigned", "no checkpoint covers the last entry of the bundle")
        else:
            try:
                self._policy.verify(self._newest[1])
            except MarginSealError as e:
                yield Fault(e.code, e.message)

    def _entries(self) -> Iterator[BundleEntry]:
        """The entries, with entries.idx and the ends of both files checked on the way."""
        with self._bundle.open_file("entries.idx") as offsets, self._bundle.open_file("entries.bin") as data:
            for index in range(self._bundle.description.entries):
                if int.from_bytes(read_exactly(offsets, 8), "big") != data.tell():
                    raise ProofRejected("bundle.malformed", f"entries.idx is wrong about entry {index}")
                time, length = read_frame(data)
                yield BundleEntry(index, time, Entry.decode(read_exactly(data, length)))
            nothing_left(offsets)
            nothing_left(data)

    def _advance(self) -> Iterator[Fault]:
        """Make the next checkpoint due that the log signed and that is not smaller than the last."""
        last, self._due = self._due, None
        for note in self._notes:
            try:
                checkpoint = self._log_alone.verify(note).checkpoint
            except MarginSealError as e:
                yield Fault(e.code, e.message)
                continue
            if last is None or checkpoint.size >= last[0].size:
                self._due = checkpoint, note
                return
            yield Fault("log.rollback", f"a checkpoint of {last[0].size} entries, then one of {checkpoint.size}")

    def _due_now(self) -> Iterator[Fault]:
        size = self._tree.size
        roots = self._seen.pop(size, None)
        if roots is not None and roots != {self._tree.root()}:
            yield Fault("log.fork", f"a checkpoint of {size} entries was seen elsewhere, and not over these")
        while self._due is not None and self._due[0].size == self._tree.size:
            self._newest = self._due
            due = self._due[0]
            if due.root != self._tree.root():
                yield Fault("log.fork", f"the checkpoint signed at {due.size} entries is not over these entries")
            if due.time is None:
                yield Fault("log.no-time", f"the checkpoint signed at {due.size} entries has no time")
            elif due.time < self._time:
                yield Fault("log.backdated", f"the checkpoint at {due.size} entries is dated before what it covers")
            else:
                self._time = due.time
            yield from self._advance()

    def _entry(self, item: BundleEntry) -> Iterator[Fault]:
        index, entry = item.index, item.entry
        self._tree.append(entry.leaf(item.time).hash)
        if item.time < self._time:
            yield Fault("log.backdated", "the entry is dated before what the log signed or took earlier", index)
        self._time = max(self._time, item.time)
        for digest in entry.dependencies:
            if not self._bundle.has_object(digest):
                yield Fault("log.dependency-missing", f"object {digest.hex()} is not in the bundle", index)
        if entry.account is None:
            return
        for book in entry.books:
            if self._books.setdefault(book, entry.account) != entry.account:
                yield Fault("log.book-taken", "a (source, book id) stands under two accounts", index)
        if entry.kind == ATTESTATION and entry.chain is not None:
            yield from self._chain(entry.account, entry.chain, index)

    def _chain(self, account: str, chain: tuple[int, bytes, bytes], index: int) -> Iterator[Fault]:
        sequence, statement_digest, prev = chain
        last, last_digest = self._heads.get(account, (0, NO_PREDECESSOR))
        if sequence <= last:
            yield Fault("log.sequence-taken", f"a second attestation of its account at {sequence}", index)
        elif sequence > last + 1:
            yield Fault("log.sequence-gap", f"attestation {sequence} of its account follows {last}", index)
        elif prev != last_digest:
            yield Fault("log.prev-mismatch", "the attestation does not name its predecessor", index)
        self._heads[account] = (sequence, statement_digest)
