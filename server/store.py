"""The database: one engine a process, durable transactions, migrations.

SQLite runs in WAL mode with synchronous=FULL: a commit that returned survives power loss.  Every writing transaction
starts with BEGIN IMMEDIATE, so that it waits for its turn at the start and never fails half-way for a lock.

On PostgreSQL (`postgresql+psycopg://`) the same code runs from several machines.  Writers take turns there as well, by
an advisory lock at the start: what is read inside a write is then true until it commits, on both databases alike.  That
needs READ COMMITTED, where each statement sees what was committed before it, and is set whatever the server's default.
A machine that freezes while it has its turn loses it after STUCK_MS; who only reads holds nobody up and has GONE_MS.
What the tables mean is in tables.py; who writes what is left to jobs.py, parties.py, signatures.py and audit.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from marginseal.errors import StorageError
from server.tables import BRIEF, metadata

BUSY_MS = 5_000
STUCK_MS = 15_000
GONE_MS = 600_000
DURABLE, BRIEF_TURN = 0x6D73_0001, 0x6D73_0002  # advisory locks of the two kinds of writers
SETTLE_MS = 100


class Store:
    """Transactions on one database.  Make it after a fork, never before: connections do not cross processes.

    StorageError store.unavailable when the database cannot be reached or stays locked."""

    def __init__(self, url: str, *, busy_ms: int = BUSY_MS) -> None:
        self.url = parsed = sa.make_url(url)
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self._durable = self._brief = database(parsed)
        self._busy_ms = busy_ms
        self._brief_ready = True
        if self.sqlite:
            path = Path(str(parsed.database))
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_name(f"{path.stem}-brief{path.suffix}")
            self._brief, self._brief_ready = database(parsed.set(database=str(beside))), False
            for file, engine, synchronous in ((path, self._durable, "FULL"), (beside, self._brief, "NORMAL")):
                _private_file(file)
                _prepare_sqlite(engine, synchronous, busy_ms)
        else:
            sa.event.listen(self._durable, "begin", _begin_on_server)

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """One transaction, committed when the block ends and rolled back when it raises."""
        with _reachable(), self._durable.connect().execution_options(writes=DURABLE) as c, c.begin():
            yield c

    @contextmanager
    def brief(self) -> Iterator[sa.Connection]:
        """One transaction on what matters for a minute only: nonces and rates (tables.BRIEF).

        Atomic and ordered as `write`, and safe from a crash; the last moments may be missing after a power loss, when
        whoever replays a read sees what he has seen before.  With SQLite a file of its own, so that who asks for a
        status never waits for the disk on which a submission is being made durable."""
        with _reachable(), self._brief.connect().execution_options(writes=BRIEF_TURN) as c, c.begin():
            if not self.sqlite:
                c.execute(sa.text("SET LOCAL synchronous_commit TO OFF"))
            elif not self._brief_ready:
                metadata.create_all(c, tables=BRIEF)
                self._brief_ready = True
            yield c

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """One snapshot."""
        with _reachable(), self._durable.connect() as c, c.begin():
            yield c

    def settle(self) -> bool:
        """Empty the write-ahead log, in which what was deleted or overwritten still stands; False while others read.

        SQLite reuses the log from its start when it has grown, and may not for days.  PostgreSQL archives its own."""
        if not self.sqlite:
            return True
        with _reachable(), contextlib.closing(self._durable.raw_connection()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout={SETTLE_MS}")  # writers wait meanwhile
            try:
                busy: int = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            finally:
                cursor.execute(f"PRAGMA busy_timeout={self._busy_ms}")
        return not busy

    def close(self) -> None:
        self._durable.dispose()
        self._brief.dispose()


def database(url: sa.URL) -> sa.Engine:
    """An engine for tables of ours or of the log.  On a server no session waits, or makes others wait, for ever."""
    # hide_parameters: no bound value ever shows in an error message or a log line.
    engine = sa.create_engine(url, hide_parameters=True, pool_size=8, max_overflow=32, pool_pre_ping=True)
    if url.get_backend_name() == "postgresql":
        sa.event.listen(engine, "connect", _settle_session)
    return engine


def _settle_session(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {BUSY_MS}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {GONE_MS}")
        cursor.execute("SET default_transaction_isolation = 'read committed'")
        # What was accepted is promised; a server may be set to promise less, or more, by default.
        weak = "current_setting('synchronous_commit') = 'off'"
        cursor.execute(f"SELECT set_config('synchronous_commit', 'on', false) WHERE {weak}")
    connection.commit()


def _begin_on_server(connection: sa.Connection) -> None:
    turn = connection.get_execution_options().get("writes")
    if turn is None:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        stuck = f"set_config('idle_in_transaction_session_timeout', '{STUCK_MS}', true)"
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({turn}), {stuck}")


def _private_file(path: Path) -> None:
    """Made here so that no other mode ever shows; SQLite gives -wal and -shm the mode of the main file.

    Never opened once it exists: closing a second descriptor drops this process's locks on the file."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except sa.exc.IntegrityError:
        raise  # a rule of the tables said no: the caller knows which
    except (sa.exc.DatabaseError, sa.exc.TimeoutError):
        # `from None`: the driver's message may quote a statement.
        raise StorageError("store.unavailable", "the database cannot be reached, stays locked, or is damaged") from None


def _prepare_sqlite(engine: sa.Engine, synchronous: str, busy_ms: int) -> None:
    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where `_begin` says, not where the driver guesses
        for pragma in (
            f"busy_timeout={busy_ms}",
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "foreign_keys=ON",
            "secure_delete=ON",  # sealed bytes that were deleted are overwritten, not merely unlinked
            "temp_store=MEMORY",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        writes = "writes" in connection.get_execution_options()
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _alembic() -> AlembicConfig:
    config = AlembicConfig()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def migrate(store: Store) -> None:
    """Bring the database to this program's version, in one transaction."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    config = _alembic()
    with store.write() as c:
        config.attributes["connection"] = c
        command.upgrade(config, "head")


def check_version(store: Store) -> None:
    """StorageError store.version unless the database is of exactly this program's version."""
    with store.read() as c:
        found = MigrationContext.configure(c).get_current_revision()
    wanted = ScriptDirectory.from_config(_alembic()).get_current_head()
    if found != wanted:
        raise StorageError("store.version", f"the database is of version {found}, this program needs {wanted}")
