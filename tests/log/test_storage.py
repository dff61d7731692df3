"""The store: its settings, its errors, and that PostgreSQL would take every statement."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import ClauseElement, Select, event
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql.compiler import SQLCompiler

from marginseal.errors import PolicyError, StorageError
from marginseal.log import schema, sql
from marginseal.log.bundle import Bundle
from marginseal.log.bundle_check import bundle_faults
from marginseal.log.client import verify_newest
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from marginseal.log.sql import SqlStorage, open_sqlite
from marginseal.log.storage import READ_BYTES, Position, StoredEntry, paged
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, open_log, sha


def test_sqlite_is_set_up_to_be_durable(tmp_path: Path) -> None:
    connection = open_sqlite(tmp_path / "log.db", busy_timeout_s=3).engine.raw_connection()
    settings = [connection.cursor().execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]
    assert settings == ["wal", 2]  # 2 is FULL
    assert connection.cursor().execute("PRAGMA busy_timeout").fetchone()[0] == 3000
    connection.close()


def test_a_write_is_seen_whole_or_not_at_all(tmp_path: Path) -> None:
    storage = open_sqlite(tmp_path / "log.db")

    def half_done() -> None:
        with storage.write() as tx:
            tx.set_origin("half done")
            assert tx.origin() == "half done"
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        half_done()
    with storage.read() as snapshot:
        assert snapshot.origin() is None


def test_one_read_gives_no_more_than_it_may_hold(tmp_path: Path) -> None:
    """Entries may have 16 MiB each; pages of hundreds of them would be gigabytes."""
    log = open_log(tmp_path)
    large = [Entry("note", bytes([i]) * (READ_BYTES // 2 - 1000)) for i in range(4)]
    huge, small = Entry("note", bytes(3 * READ_BYTES)), [attestation("fund", i) for i in (1, 2, 3)]
    log.append_many([*large, huge, *small], now=100)
    with log.storage.read() as snapshot:
        lengths = [len(snapshot.entries(start, 100)) for start in range(9)]
    assert lengths == [2, 2, 2, 1, 1, 3, 2, 1, 0]
    assert [e.index for e in log.entries()] == list(range(8))
    assert [e.index for e in log.entries(1, 7)] == list(range(1, 7))


def test_a_reader_sees_one_moment(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append(attestation("fund", 1), now=100)
    with log.storage.read() as snapshot:
        assert snapshot.tail()[0] == 1
        log.append(attestation("fund", 2), now=100)
        assert snapshot.tail()[0] == 1
        assert snapshot.entry(1) is None
    assert log.size() == 2


def test_a_second_writer_waits_and_then_gives_up(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    impatient = open_sqlite(tmp_path / "log.db", busy_timeout_s=0.05)
    with log.storage.write(), pytest.raises(StorageError) as refused, impatient.write():
        pytest.fail("two writers at once")
    assert refused.value.code == "storage.busy"
    entered = threading.Event()

    def hold() -> None:
        with log.storage.write():
            entered.set()
            time.sleep(0.2)

    holder = threading.Thread(target=hold)
    holder.start()
    entered.wait()
    assert log.append(attestation("fund", 1), now=100) == 0
    holder.join()


def test_the_store_itself_refuses_a_second_of_anything(tmp_path: Path) -> None:
    """The second line: what the log's rules would have refused before."""
    log = open_log(tmp_path)
    log.append(attestation("fund", 1), now=100)
    storage = log.storage
    position = Position(1, sha("other"), 1)

    def index(tx: sql._Session) -> None:
        tx.add_entry(StoredEntry(0, 100, b"other"), sha("other"))

    def digest(tx: sql._Session) -> None:
        tx.add_entry(StoredEntry(1, 100, b"other"), sha("one"))
        tx.add_entry(StoredEntry(2, 100, b"other"), sha("one"))

    def place(tx: sql._Session) -> None:
        tx.add_attestation("fund", position)

    def book(tx: sql._Session) -> None:
        tx.add_books("thief", attestation("fund", 1).books, 1)

    def origin(tx: sql._Session) -> None:
        tx.set_origin("another")

    for act in (index, digest, place, book, origin):
        with pytest.raises(StorageError) as refused, storage.write() as tx:
            act(tx)  # type: ignore[arg-type]
        assert refused.value.code == "storage.conflict"
    assert log.size() == 1


@pytest.mark.parametrize("content", [b"not a database at all" * 100, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_file_that_is_no_store_is_an_error_of_ours(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(StorageError) as refused:
        open_sqlite(tmp_path / "log.db")
    assert refused.value.code == "storage.failed"
    assert "log.db" not in str(refused.value)
    with pytest.raises(StorageError):
        open_sqlite(tmp_path / "nowhere" / "log.db")


def test_a_store_of_another_schema_is_refused(tmp_path: Path) -> None:
    open_log(tmp_path).storage.close()
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE log_identity SET schema_version = 2")
    with pytest.raises(StorageError) as refused:
        open_log(tmp_path)
    assert refused.value.code == "storage.version"


def test_the_words_of_the_driver_stay_inside(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("DROP TABLE log_entries")
    with pytest.raises(StorageError) as refused:
        log.append(attestation("fund", 1), now=100)
    assert refused.value.code == "storage.failed"
    assert "log_entries" not in str(refused.value)


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """SQLite's page limit stands for the disk: the append fails, and the log goes on from where it was."""
    log = open_log(tmp_path)
    log.append(attestation("fund", 1), now=100)
    note = log.checkpoint(now=100)

    def limit(connection: sqlite3.Connection, _record: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    small = open_sqlite(tmp_path / "log.db")
    small.close()
    event.listen(small.engine, "connect", limit)
    full = Log(small, origin=ORIGIN, signer=SIGNER)
    for _ in range(2):
        with pytest.raises(StorageError) as refused:
            full.append(attestation("fund", 2, payload=bytes(200_000)), now=100)
        assert refused.value.code == "storage.failed"
    assert full.size() == 1
    assert full.checkpoint(now=100) == note
    assert log.append(attestation("fund", 2, payload=bytes(200_000)), now=100) == 1


def test_no_statement_reads_a_whole_table(tmp_path: Path) -> None:
    """The plan of every query a log makes: a search by key, or a walk along an index that a LIMIT ends."""
    log = open_log(tmp_path)
    digest = log.put_object(b"epoch")
    log.append(attestation("fund", 1, dependencies=(digest,)), now=100)
    log.append(attestation("fund", 2, kind="disclosure"), now=100)
    log.append(attestation("fund", 1, dependencies=(digest,)), now=100)
    log.newest("fund", now=100)
    assert log.get_object(digest) == b"epoch"
    assert len(list(log.entries())) + len(list(log.checkpoints())) == 3
    storage = log.storage
    assert isinstance(storage, SqlStorage)
    queries = [query for query in storage._prepared if isinstance(query, Select)]
    assert len(queries) > 12
    connection = storage.engine.raw_connection()
    cursor = connection.cursor()
    for query in queries:
        prepared = storage._prepared[query]
        values = dict.fromkeys(query.compile(dialect=storage.engine.dialect).params, 1)
        cursor.execute("EXPLAIN QUERY PLAN " + prepared.text, prepared.bind(values))
        for *_, step in cursor.fetchall():
            assert not step.startswith("SCAN log_") or "LIMIT" in prepared.text, (prepared.text, step)
            assert "TEMP B-TREE" not in step, (prepared.text, step)
    connection.close()


def test_pages_cover_every_entry_once(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.append_many([attestation("fund", i) for i in range(1, 12)], now=100)
    for page in (1, 3, 11, 12):
        assert [e.index for e in paged(log.storage, 0, 11, page)] == list(range(11))
        assert [e.index for e in paged(log.storage, 4, 9, page)] == list(range(4, 9))
    assert [e.index for e in paged(log.storage, 9, 20, 4)] == [9, 10]


def test_postgresql_would_take_every_table_and_statement() -> None:
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect)).strip().startswith("CREATE TABLE log_")
        assert all("UNIQUE" in str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)
        assert table.name.startswith("log_")
    statements = [value for value in vars(sql).values() if isinstance(value, ClauseElement)]
    statements += [sql._tiles_in(3), sql._books_in(3), sql._objects_in(3)]
    assert len(statements) > 20
    for statement in statements:
        compiled = statement.compile(dialect=dialect)
        if isinstance(compiled, SQLCompiler):  # tables and columns, also found among the values, are none
            assert "?" not in str(compiled)
            prepared = sql._Prepared(statement, dialect)
            assert set(prepared.bind({})) <= set(compiled.params)


def test_an_appender_that_freezes_loses_its_turn(tmp_path: Path, schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    other = open_log(tmp_path, schema)
    monkeypatch.setattr(sql, "STUCK_MS", 200)
    frozen = open_log(tmp_path, schema)

    def freeze() -> None:
        with frozen.storage.write() as tx:
            tx.add_entry(StoredEntry(0, 100, b"lost"), None)
            assert other.append(attestation("fund", 1), now=100) == 0
            tx.tail()

    with pytest.raises(StorageError, match=r"storage\.failed"):
        freeze()
    assert frozen.append(attestation("fund", 2), now=100) == 1
    for log in (frozen, other):
        log.storage.close()


def test_a_log_on_postgresql(tmp_path: Path, schema: str) -> None:
    """The same log on a real server: rules, four writers at once, proofs, a bundle; and a reader sees one moment."""
    logs = [open_log(tmp_path, schema) for _ in range(2)]
    log = logs[0]
    (digest,) = set(log.put_objects([bytes(3 * 2**20)] * 2))
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(1, 26):
                entry = attestation(f"fund {number}", i, dependencies=(digest,))
                index = logs[number % 2].append(entry, now=100)
                assert logs[number % 2].append(entry, now=100) == index
                if i % 5 == 0:
                    logs[number % 2].checkpoint(now=100)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    with log.storage.read() as snapshot:
        assert snapshot.tail()[0] == 100
        log.append(attestation("late", 1), now=100)
        assert snapshot.tail()[0] == 100
    for entry, expected in (
        (attestation("fund 1", 5, payload=b"other"), "log.sequence-taken"),
        (attestation("fund 1", 27), "log.sequence-gap"),
        (attestation("thief", 1, books=attestation("fund 1", 1).books), "log.book-taken"),
        (attestation("fund 1", 26, dependencies=(sha("none"),)), "log.dependency-missing"),
    ):
        with pytest.raises(PolicyError) as refused:
            log.append(entry, now=100)
        assert refused.value.code == expected
    with pytest.raises(StorageError) as conflict, log.storage.write() as tx:
        tx.add_entry(StoredEntry(0, 100, b"other"), sha("other"))
    assert conflict.value.code == "storage.conflict"
    assert log.get_object(digest) == bytes(3 * 2**20)
    receipt, head = log.newest("fund 2", now=101)
    newest = verify_newest(
        receipt,
        head,
        attestation("fund 2", 25).payload,
        POLICY,
        account="fund 2",
        sequence=25,
        statement_digest=attestation("fund 2", 25).statement_digest or b"",
        now=101,
        max_age_s=0,
    )
    assert newest.logged.signed.checkpoint.size == 101
    export_bundle(log, tmp_path / "bundle")
    assert list(bundle_faults(Bundle(tmp_path / "bundle"), POLICY)) == []
    for each in logs:
        each.storage.close()
