"""Writing a bundle (`bundle`) from a log, a page at a time: memory stays flat however long the log is."""

from __future__ import annotations

import hashlib
import heapq
import shutil
import tempfile
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path

from marginseal import __version__
from marginseal.errors import InputError, StorageError
from marginseal.log.bundle import Description, Progress, object_path
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.merkle import CompactTree


def export_bundle(log: Log, path: Path, *, seen: Sequence[bytes] = (), progress: Progress | None = None) -> Description:
    """Write the log up to its newest checkpoint as a bundle at `path`, which appears whole or not at all.

    seen: signed checkpoints from elsewhere, which go in with the log's own: whether they fit is for the reader to find.
    InputError bundle.exists, log.no-checkpoint, file.unwritable."""
    last = log.last_checkpoint()
    if last is None:
        raise InputError("log.no-checkpoint", "a log is exported up to a checkpoint, and has none yet")
    if path.exists():
        raise InputError("bundle.exists", f"there is something at {path} already")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            description = _write(log, last.number, Checkpoint.of(last.note), partial, seen, progress)
            partial.chmod(0o755)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as e:
        raise InputError("file.unwritable", f"cannot write {path}: {e.strerror}") from None
    return description


def _write(
    log: Log, number: int, last: Checkpoint, folder: Path, seen: Sequence[bytes], progress: Progress | None
) -> Description:
    (folder / "objects").mkdir()
    written = offset = 0
    tree = CompactTree()
    with open(folder / "entries.bin", "wb") as data, open(folder / "entries.idx", "wb") as offsets:
        for stored in log.entries(0, last.size):
            entry = Entry.decode(stored.data)
            for digest in entry.dependencies:
                written += _write_object(log, folder, digest)
            tree.append(entry.leaf(stored.time).hash)
            frame = stored.time.to_bytes(8, "big") + len(stored.data).to_bytes(4, "big") + stored.data
            data.write(frame)
            offsets.write(offset.to_bytes(8, "big"))
            offset += len(frame)
            if progress is not None:
                progress(tree.size, last.size)
    if (tree.size, tree.root()) != (last.size, last.root):
        raise StorageError("log.damaged", "the entries in the store do not lead to its newest checkpoint")
    checkpoints = 0
    own = takewhile(lambda c: c.number <= number, log.checkpoints())
    with open(folder / "checkpoints.bin", "wb") as notes:
        for note in heapq.merge((c.note for c in own), sorted(set(seen), key=_age), key=_age):
            notes.write(len(note).to_bytes(4, "big") + note)
            checkpoints += 1
    found = Description("marginseal", __version__, log.origin, last.size, checkpoints, written, last.root)
    (folder / "bundle.json").write_bytes(found.encode())
    return found


def _age(note: bytes) -> tuple[int, int]:
    checkpoint = Checkpoint.of(note)
    return checkpoint.size, checkpoint.time or 0


def _write_object(log: Log, folder: Path, digest: bytes) -> int:
    """Write an object on its first mention; how many were written."""
    path = object_path(folder, digest)
    if path.exists():
        return 0
    path.parent.mkdir(exist_ok=True)
    hasher = hashlib.sha256()
    with open(path, "wb") as f:
        for part in log.object_parts(digest):
            hasher.update(part)
            f.write(part)
    if hasher.digest() != digest:
        raise StorageError("log.damaged", f"object {digest.hex()} in the store is damaged")
    return 1
