"""A log served over HTTPS, written as an export bundle (`marginseal.log.bundle`), for replay without the service.

A service serves its newest checkpoint alone, so the bundle holds that one, and those that the auditor kept from earlier
visits: a log that was rewritten in between is found by replay.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marginseal.errors import InputError

if TYPE_CHECKING:
    from marginseal.cli.remote import LogCopy
    from marginseal.log.bundle import Description


def download_bundle(
    copy: LogCopy, path: Path, *, seen: Sequence[bytes] = (), progress: Callable[[int, int], None] = lambda i, n: None
) -> Description:
    """The log up to its newest checkpoint, at `path`, which appears whole or not at all.

    seen: signed notes from earlier visits.  InputError bundle.exists, file.unwritable; errors of `LogCopy.sync`."""
    if path.exists():
        raise InputError("bundle.exists", f"there is something at {path} already")
    copy.sync()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            description = _write(copy, partial, seen, progress)
            partial.chmod(0o755)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
    except OSError as e:
        raise InputError("file.unwritable", f"cannot write {path}: {e.strerror}") from None
    return description


def _write(copy: LogCopy, folder: Path, seen: Sequence[bytes], progress: Callable[[int, int], None]) -> Description:
    from marginseal import __version__
    from marginseal.log.bundle import Description, object_path
    from marginseal.log.checkpoint import Checkpoint

    assert copy.signed is not None
    last = copy.signed.checkpoint
    (folder / "objects").mkdir()
    objects: set[bytes] = set()
    offset = 0
    with open(folder / "entries.bin", "wb") as data, open(folder / "entries.idx", "wb") as offsets:
        for position, entry in copy.items(0, last.size):
            for digest in entry.dependencies:
                if digest not in objects:
                    objects.add(digest)
                    place = object_path(folder, digest)
                    place.parent.mkdir(exist_ok=True)
                    place.write_bytes(copy.object(digest))
            encoded = entry.encode()
            frame = position.time.to_bytes(8, "big") + len(encoded).to_bytes(4, "big") + encoded
            data.write(frame)
            offsets.write(offset.to_bytes(8, "big"))
            offset += len(frame)
            progress(position.index + 1, last.size)
    sizes = {Checkpoint.of(note).size: note for note in seen}
    notes = [sizes[size] for size in sorted(sizes) if size < last.size] + [copy.signed.note]
    with open(folder / "checkpoints.bin", "wb") as out:
        for note in notes:
            out.write(len(note).to_bytes(4, "big") + note)
    found = Description("marginseal", __version__, last.origin, last.size, len(notes), len(objects), last.root)
    (folder / "bundle.json").write_bytes(found.encode())
    return found
