"""Backup and restore of an embedded service: both databases, consistent with each other, while it runs.

The service's database is copied first and the log after it.  So the copy of the log holds everything that the copy of
the service says is logged; what it holds beyond that, a worker finds there and does not do again.  Each copy is made by
SQLite itself, page by page under its locks, and checked before it counts.

A log that was put back behind a checkpoint it had already released must not sign another one: it refuses
(`log.rollback`), because the file of the newest released checkpoint lies elsewhere (`log.released`) and is not part
of a backup.  docs/operations.md says what to do then.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

from marginseal.errors import InputError, StorageError
from server.config import Config

SERVICE, LOG = "service.db", "log.db"


def back_up(config: Config, directory: Path) -> None:
    """Both databases into a new directory.  InputError backup.exists, backup.database; StorageError backup.failed."""
    if config.database_url is not None:
        raise InputError("backup.database", "a database server is backed up by its own tools")
    if directory.exists():
        raise InputError("backup.exists", f"{directory} exists: a backup never overwrites")
    directory.mkdir(parents=True, mode=0o700)
    for name in (SERVICE, LOG):
        _copy(config.data_dir / name, directory / name)


def restore(directory: Path, config: Config) -> None:
    """The databases of a backup into an empty place.  InputError backup.exists, backup.missing; StorageError."""
    if config.database_url is not None:
        raise InputError("backup.database", "a database server is restored by its own tools")
    for name in (SERVICE, LOG):
        if not (directory / name).is_file():
            raise InputError("backup.missing", f"the backup lacks {name}")
        if (config.data_dir / name).exists():
            raise InputError("backup.exists", f"{config.data_dir / name} exists: move it away first")
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name in (SERVICE, LOG):
        _copy(directory / name, config.data_dir / name)


def _copy(source: Path, target: Path) -> None:
    """One database, whole and checked and on disk."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    try:
        with (
            contextlib.closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=30)) as old,
            contextlib.closing(sqlite3.connect(target)) as new,
        ):
            old.backup(new)
            checked = new.execute("PRAGMA integrity_check").fetchone()[0]
    except sqlite3.Error:
        raise StorageError("backup.failed", f"{source.name} could not be copied") from None
    if checked != "ok":
        raise StorageError("backup.failed", f"the copy of {source.name} is damaged")
    for path in (target, target.parent):
        fd = os.open(path, os.O_RDONLY)
        os.fsync(fd)
        os.close(fd)
