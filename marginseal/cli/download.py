"""A log served over HTTPS, written as an export bundle (`marginseal.log.bundle`), for replay without the service.

A service serves its newest checkpoint alone, so the bundle holds that one, those that the mirror kept from earlier
visits, and those that the auditor has from elsewhere: a log that was rewritten in between is found by replay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from marginseal.errors import InputError

if TYPE_CHECKING:
    from marginseal.log.bundle import Description
    from marginseal.log.mirror import Mirror


def download_bundle(
    mirror: Mirror, path: Path, *, seen: Sequence[bytes] = (), progress: Callable[[int, int], None] | None = None
) -> Description:
    """The log up to its newest checkpoint, at `path`, which appears whole or not at all.

    seen: signed notes from elsewhere.  InputError bundle.exists, file.unwritable; errors of `Mirror.sync`."""
    from marginseal.log.export import export_bundle

    if path.exists():
        raise InputError("bundle.exists", f"there is something at {path} already")
    mirror.sync()
    mirror.fetch_objects()
    return export_bundle(mirror.log, path, seen=seen, progress=progress)
