"""The database: durable, of the right version, and nothing PostgreSQL would not take."""

from __future__ import annotations

import contextlib
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from marginseal.errors import StorageError
from server.jobs import LeaseQueue, Limits, Outcome, now_ms
from server.store import Store, _alembic, check_version, migrate
from server.tables import audit, buckets, jobs, metadata, party_keys, submissions
from server.tidy import tidy
from tests.databases import fresh_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with contextlib.closing(Store(f"sqlite:///{tmp_path}/service.db")) as store:
        migrate(store)
        yield store


def test_a_new_database_has_no_version_and_a_migrated_one_has_ours(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/service.db")
    with pytest.raises(StorageError, match=r"store\.version"):
        check_version(store)
    migrate(store)
    check_version(store)
    migrate(store)
    check_version(store)


def test_the_migrations_make_the_tables_on_postgresql_as_well(tmp_path: Path, schema: str) -> None:
    with contextlib.closing(fresh_store(tmp_path, schema)) as store, store.read() as c:
        ours = {
            "compare_type": False,
            "include_name": lambda name, kind, _: kind != "table" or name != "alembic_version",
        }
        assert compare_metadata(MigrationContext.configure(c, opts=ours), metadata) == []
        made = {name for table in metadata.tables for name in _constraints(c, table)}
    assert {c.name for t in metadata.sorted_tables for c in t.constraints if isinstance(c, sa.CheckConstraint)} <= made


def _constraints(c: sa.Connection, table: str) -> list[str | None]:
    return [found["name"] for found in sa.inspect(c).get_check_constraints(table)]


def test_the_migrations_make_the_tables_the_code_uses(store: Store) -> None:
    with store.read() as c:
        assert compare_metadata(MigrationContext.configure(c), metadata) == []
        made = dict(c.execute(sa.text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")).all())
    # Checks and partial indexes are invisible to alembic's comparison.
    for table in metadata.sorted_tables:
        for constraint in table.constraints:
            if isinstance(constraint, sa.CheckConstraint):
                assert str(constraint.sqltext) in made[table.name]
    assert "WHERE state IN ('ready', 'running', 'attested')" in made["one_live_job"]


def test_what_the_first_version_held_is_kept(tmp_path: Path, database_url: str | None) -> None:
    with contextlib.closing(Store(database_url or f"sqlite:///{tmp_path}/service.db")) as store:
        config = _alembic()
        with store.write() as c:
            config.attributes["connection"] = c
            command.upgrade(config, "0001")
            row = sa.text("INSERT INTO submissions VALUES ('s', 'fund', 1, :b, 'k', 'i', :b, :b, 0)")
            c.execute(row, {"b": b"\0"})
        with pytest.raises(StorageError, match=r"store\.version"):
            check_version(store)
        migrate(store)
        check_version(store)
        with store.read() as c:
            assert c.execute(sa.select(submissions.c.id, submissions.c.kind)).all() == [("s", "sealed")]


def test_every_table_and_index_is_sql_that_postgresql_has() -> None:
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            text = str(CreateIndex(index).compile(dialect=dialect))
            assert ("WHERE" in text) == (index.name == "one_live_job")
    assert "BIGSERIAL" in str(CreateTable(jobs).compile(dialect=dialect))
    assert "SERIAL" not in str(CreateTable(audit).compile(dialect=dialect))


def test_commits_are_synced_and_files_are_private(store: Store, tmp_path: Path) -> None:
    with store.write() as c:
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert c.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert c.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert c.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
        c.execute(sa.insert(buckets).values(key="k", empty_at=1))
    with store.brief() as c:
        assert c.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    row = sa.insert(buckets).values(key="k", empty_at=1)
    with pytest.raises(sa.exc.IntegrityError), store.write() as c:
        assert c.execute(row).rowcount == c.execute(row).rowcount
    with store.read() as c:
        assert c.scalar(sa.select(sa.func.count()).select_from(buckets)) == 0


def test_a_locked_database_is_an_error_of_ours_without_a_statement(store: Store) -> None:
    other = Store(str(store.url), busy_ms=10)
    with store.write(), pytest.raises(StorageError, match=r"store\.unavailable") as e, other.write():
        pass
    assert "BEGIN" not in str(e.value)


def test_bound_values_show_in_no_error(store: Store) -> None:
    row = {"key_id": "k", "kind": "account", "party": "MARKER-9f2c", "public": b"", "created": 0}
    with pytest.raises(sa.exc.IntegrityError) as e, store.write() as c:
        c.execute(sa.insert(party_keys).values(**row))
    assert "MARKER-9f2c" not in str(e.value)


def test_what_a_killed_process_committed_is_there(tmp_path: Path, database_url: str | None) -> None:
    """kill -9 right after a commit returned: the row is there; in the middle of a transaction: it is not."""
    code = """
import os, signal, sys
import sqlalchemy as sa
from server.store import Store, migrate
from server.tables import buckets
store = Store(sys.argv[1]); migrate(store)
with store.write() as c: c.execute(sa.insert(buckets).values(key="committed", empty_at=1))
with store.write() as c:
    c.execute(sa.insert(buckets).values(key="half", empty_at=1))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    url = database_url or f"sqlite:///{tmp_path}/service.db"
    run = subprocess.run([sys.executable, "-c", code, url], check=False)
    assert run.returncode == -9
    with contextlib.closing(Store(url)) as store, store.read() as c:
        assert c.scalars(sa.select(buckets.c.key)).all() == ["committed"]


def test_opening_the_database_twice_keeps_the_locks_of_the_first(store: Store, tmp_path: Path) -> None:
    """POSIX drops a process's locks on a file when it closes any descriptor of it.  Another process would then take
    itself for the last one, remove the write-ahead log under us, and the database would be corrupt."""
    code = """
import sys
import sqlalchemy as sa
from server.store import Store
from server.tables import buckets
store = Store(sys.argv[1])
with store.write() as c: c.execute(sa.insert(buckets).values(key="other", empty_at=1))
store.close()
"""
    with store.read() as c:
        assert c.scalar(sa.select(sa.func.count()).select_from(buckets)) == 0
        Store(str(store.url))
        subprocess.run([sys.executable, "-c", code, str(store.url)], check=True)
        assert (tmp_path / "service.db-wal").exists()


def test_what_was_overwritten_leaves_the_write_ahead_log_as_well(store: Store, tmp_path: Path) -> None:
    """Sealed bytes are overwritten when their job has ended; the log of the database had kept its copy."""
    sealed = bytes(range(1, 251)) * 100
    queue = LeaseQueue(store, Limits())
    with store.write() as c:
        c.execute(sa.insert(submissions).values(
            id="s", account="fund", sequence=1, epoch=bytes(32), prover_key="k", idempotency_key="key-of-it",
            body_digest=bytes(32), sealed=sealed, received=0,
        ))  # fmt: skip
        queue.enqueue(c, "s", "fund", 1)

    def copies() -> set[str]:
        return {p.name for p in tmp_path.rglob("*") if p.is_file() and sealed[:250] in p.read_bytes()}

    assert copies() == {"service.db-wal"}
    assert store.settle()
    assert copies() == {"service.db"}
    job = queue.claim("w")
    assert job is not None
    with store.write() as c:  # as when the log moves it about
        c.execute(sa.update(submissions).values(sealed=sealed[::-1]))
        c.execute(sa.update(submissions).values(sealed=sealed))
    assert queue.finish(job, Outcome("refused", None, code="submission.unreadable"))
    assert copies() == {"service.db", "service.db-wal"}
    with store.read() as c:  # a reader of an older moment keeps it, and keeps nobody waiting
        c.execute(sa.select(jobs.c.id)).all()
        assert not store.settle()
    tidy(store, now=now_ms(), keep_days=30)
    assert copies() == set()
    assert store.settle()
    with store.read() as c:
        assert c.exec_driver_sql("PRAGMA busy_timeout").scalar() == 5_000
