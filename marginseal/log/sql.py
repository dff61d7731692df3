"""The store of `storage` on SQLAlchemy Core: SQLite on one machine, PostgreSQL beyond it.

SQLite: write-ahead log with synchronous=FULL (a commit returns after its pages are on disk), BEGIN IMMEDIATE for the
one writer, a busy timeout for the others.  PostgreSQL: the writer locks the table `log_identity`, and loses it when it
says nothing for STUCK_MS; a reader runs at REPEATABLE READ.  All other statements are the same Core expressions,
compiled once for the dialect: to build and compile one anew costs several times what running it does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    ClauseElement,
    Dialect,
    Engine,
    Select,
    and_,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    inspect,
    or_,
    select,
    update,
)
from sqlalchemy.engine.interfaces import DBAPICursor
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql.compiler import SQLCompiler

from marginseal.errors import StorageError
from marginseal.log import schema
from marginseal.log.entry import Book
from marginseal.log.schema import attestations, books, checkpoints, entries, identity, object_parts, objects, tiles
from marginseal.log.storage import READ_BYTES, Position, StoredCheckpoint, StoredEntry
from marginseal.log.tiles import TileKey

T = TypeVar("T")
Values = dict[str, Any]

SCHEMA_VERSION = 1
STUCK_MS = 15_000
_LEVEL_BITS = 58  # a tile's number is level << 58 | index, below 2**62
_INDEX_MASK = (1 << _LEVEL_BITS) - 1
_MANY = 256  # values in one IN list at most, so that few such statements are ever compiled

_ORIGIN = select(identity.c.schema_version, identity.c.origin).where(identity.c.number == 1)
_LAST_ENTRY = select(entries.c.idx, entries.c.time).order_by(entries.c.idx.desc()).limit(1).subquery()
_TAIL = select(
    select(_LAST_ENTRY.c.idx).scalar_subquery(),
    select(_LAST_ENTRY.c.time).scalar_subquery(),
    select(checkpoints.c.time).order_by(checkpoints.c.number.desc()).limit(1).scalar_subquery(),
)
_ENTRIES = (
    select(entries.c.idx, entries.c.time, entries.c.data)
    .where(entries.c.idx >= bindparam("start"), entries.c.idx < bindparam("stop"))
    .order_by(entries.c.idx)
)
_LENGTHS = (
    select(entries.c.idx, func.length(entries.c.data))
    .where(entries.c.idx >= bindparam("start"), entries.c.idx < bindparam("stop"))
    .order_by(entries.c.idx)
)
_INDEX_OF = select(entries.c.idx).where(entries.c.digest == bindparam("digest"), entries.c.digest.is_not(None))
_POSITION = select(attestations.c.sequence, attestations.c.statement_digest, attestations.c.idx).where(
    attestations.c.account == bindparam("account")
)
_HEAD = _POSITION.where(attestations.c.idx < bindparam("size")).order_by(attestations.c.sequence.desc()).limit(1)
_ATTESTATION = _POSITION.where(attestations.c.sequence == bindparam("sequence"))
_OBJECT_LENGTH = select(objects.c.length).where(objects.c.digest == bindparam("digest"))
_OBJECT_PART = select(object_parts.c.data).where(
    object_parts.c.digest == bindparam("digest"), object_parts.c.part == bindparam("part")
)
_CHECKPOINT = select(checkpoints.c.number, checkpoints.c.size, checkpoints.c.time, checkpoints.c.note)
_LAST_CHECKPOINT = _CHECKPOINT.order_by(checkpoints.c.number.desc()).limit(1)
_CHECKPOINTS = (
    _CHECKPOINT.where(checkpoints.c.number > bindparam("after"))
    .order_by(checkpoints.c.number)
    .limit(bindparam("limit"))
)
_ADD_IDENTITY, _ADD_ENTRY, _ADD_ATTESTATION, _ADD_BOOK = map(insert, (identity, entries, attestations, books))
_ADD_TILE, _ADD_OBJECT, _ADD_PART, _ADD_CHECKPOINT = map(insert, (tiles, objects, object_parts, checkpoints))
_PUT_TILE = update(tiles).where(tiles.c.number == bindparam("key")).values(hashes=bindparam("content"))
_PUT_NOTE = update(checkpoints).where(checkpoints.c.number == bindparam("key")).values(note=bindparam("content"))


@cache
def _tiles_in(count: int) -> Select[Any]:
    return select(tiles.c.number, tiles.c.hashes).where(tiles.c.number.in_(_slots(count)))


@cache
def _books_in(count: int) -> Select[Any]:
    # Not as (source, book) IN (...), for which SQLite reads the whole table.
    pairs = [
        and_(books.c.source == bindparam(f"source{i}"), books.c.book == bindparam(f"book{i}")) for i in range(count)
    ]
    return select(books.c.source, books.c.book, books.c.account).where(or_(*pairs))


@cache
def _objects_in(count: int) -> Select[Any]:
    return select(objects.c.digest).where(objects.c.digest.in_(_slots(count)))


def _slots(count: int) -> list[Any]:
    return [bindparam(f"value{i}") for i in range(count)]


class _Prepared:
    """A statement compiled for one dialect: its text, its parameters in order (or by name), and their defaults."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        self.text = str(compiled)
        self._order = compiled.positiontup
        self._defaults = {name: value for name, value in compiled.params.items() if value is not None}

    def bind(self, values: Values) -> Any:
        if self._defaults:
            values = {**self._defaults, **values}
        return values if self._order is None else tuple([values[name] for name in self._order])


class SqlStorage:
    """`storage.Storage` on an engine; see `open_sqlite`.

    The engine lends pooled connections of its driver; transactions are begun and ended here.  After a fork the child
    disposes of the pool (`close`) before it uses the store."""

    def __init__(self, engine: Engine) -> None:
        sqlite = engine.dialect.name == "sqlite"
        self._begin_read = "BEGIN" if sqlite else "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
        lock = f"LOCK TABLE {identity.name} IN EXCLUSIVE MODE"
        stuck = f"SET LOCAL idle_in_transaction_session_timeout = {STUCK_MS}"
        self._begin_write = "BEGIN IMMEDIATE" if sqlite else f"{stuck}; {lock}"
        self._prepared: dict[ClauseElement, _Prepared] = {}
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self.engine = engine

    def create_tables(self) -> None:
        """Make the tables that are missing.  (Where migrations run, they make them.)"""
        with self._translated(), self.engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1835204611)")  # as below
            if inspect(connection).has_table(schema.checkpoints.name):
                return
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("BEGIN IMMEDIATE")  # two processes may start at once
            schema.metadata.create_all(connection)

    def read(self) -> AbstractContextManager[_Session]:
        return self._session(self._begin_read)

    def write(self) -> AbstractContextManager[_Session]:
        return self._session(self._begin_write)

    def close(self) -> None:
        self.engine.dispose()

    @contextmanager
    def _session(self, begin: str) -> Iterator[_Session]:
        with self._translated():
            connection = self.engine.raw_connection()
            try:
                cursor = connection.cursor()
                cursor.execute(begin)
                yield _Session(cursor, self.engine.dialect, self._prepared)
                connection.commit()
            finally:
                connection.close()  # back to the pool, which rolls back whatever was not committed

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Every error of the database as StorageError; the text of a driver may quote values, so it is left out."""
        try:
            yield
        except (SQLAlchemyError, self._driver_error) as e:
            kind, text = type(e).__name__, str(e)
            if kind.startswith(("IntegrityError", "UniqueViolation")):
                raise StorageError("storage.conflict", "the store already holds something else there") from None
            if "database is locked" in text or kind == "LockNotAvailable":
                raise StorageError("storage.busy", "another writer holds the store") from None
            raise StorageError("storage.failed", f"the store refused an operation ({kind})") from None


class _Session:
    """Snapshot and Transaction of the contract, on the cursor of a connection in a transaction."""

    def __init__(self, cursor: DBAPICursor, dialect: Dialect, prepared: dict[ClauseElement, _Prepared]) -> None:
        self._cursor = cursor
        self._dialect = dialect
        self._prepared = prepared

    def _statement(self, statement: ClauseElement) -> _Prepared:
        prepared = self._prepared.get(statement)
        if prepared is None:
            prepared = self._prepared[statement] = _Prepared(statement, self._dialect)
        return prepared

    def _do(self, statement: ClauseElement, values: Values) -> None:
        prepared = self._statement(statement)
        self._cursor.execute(prepared.text, prepared.bind(values))

    def _do_many(self, statement: ClauseElement, rows: list[Values]) -> None:
        if rows:
            prepared = self._statement(statement)
            self._cursor.executemany(prepared.text, [prepared.bind(values) for values in rows])

    def _rows(self, statement: ClauseElement, values: Values) -> Sequence[Sequence[Any]]:
        self._do(statement, values)
        return self._cursor.fetchall()

    def _row(self, statement: ClauseElement, values: Values) -> Sequence[Any] | None:
        rows = self._rows(statement, values)
        return rows[0] if rows else None

    def _value(self, statement: ClauseElement, values: Values) -> Any:
        row = self._row(statement, values)
        return None if row is None else row[0]

    def origin(self) -> str | None:
        row = self._row(_ORIGIN, {})
        if row is None:
            return None
        version, origin = row
        if version != SCHEMA_VERSION:
            raise StorageError("storage.version", f"the store has schema {version}, not {SCHEMA_VERSION}")
        return str(origin)

    def tail(self) -> tuple[int, int]:
        row = self._row(_TAIL, {})
        assert row is not None
        index, entry_time, checkpoint_time = row
        return 0 if index is None else index + 1, max(entry_time or 0, checkpoint_time or 0)

    def tiles(self, keys: list[TileKey]) -> Mapping[TileKey, bytes]:
        found: dict[TileKey, bytes] = {}
        for some in _chunks([_number(key) for key in keys]):
            values = {f"value{i}": number for i, number in enumerate(some)}
            for number, hashes in self._rows(_tiles_in(len(some)), values):
                found[number >> _LEVEL_BITS, number & _INDEX_MASK] = hashes
        return found

    def entry(self, index: int) -> StoredEntry | None:
        rows = self.entries(index, index + 1)
        return rows[0] if rows else None

    def entries(self, start: int, stop: int) -> list[StoredEntry]:
        if stop - start > 1:
            size = 0
            for index, length in self._rows(_LENGTHS, {"start": start, "stop": stop}):
                size += length
                if size > READ_BYTES and index > start:
                    stop = index
                    break
        return [StoredEntry(*row) for row in self._rows(_ENTRIES, {"start": start, "stop": stop})]

    def index_of(self, digest: bytes) -> int | None:
        index: int | None = self._value(_INDEX_OF, {"digest": digest})
        return index

    def head(self, account: str, size: int) -> Position | None:
        return _position(self._row(_HEAD, {"account": account, "size": size}))

    def attestation(self, account: str, sequence: int) -> Position | None:
        return _position(self._row(_ATTESTATION, {"account": account, "sequence": sequence}))

    def book_accounts(self, wanted: Sequence[Book]) -> Mapping[Book, str]:
        accounts: dict[Book, str] = {}
        for some in _chunks(wanted):
            values = {f"source{i}": source for i, (source, _) in enumerate(some)}
            values |= {f"book{i}": book for i, (_, book) in enumerate(some)}
            for source, book, account in self._rows(_books_in(len(some)), values):
                accounts[source, book] = account
        return accounts

    def missing_objects(self, digests: Sequence[bytes]) -> set[bytes]:
        missing = set(digests)
        for some in _chunks(digests):
            values = {f"value{i}": digest for i, digest in enumerate(some)}
            missing.difference_update(row[0] for row in self._rows(_objects_in(len(some)), values))
        return missing

    def object_length(self, digest: bytes) -> int | None:
        length: int | None = self._value(_OBJECT_LENGTH, {"digest": digest})
        return length

    def object_part(self, digest: bytes, part: int) -> bytes | None:
        data: bytes | None = self._value(_OBJECT_PART, {"digest": digest, "part": part})
        return data

    def last_checkpoint(self) -> StoredCheckpoint | None:
        row = self._row(_LAST_CHECKPOINT, {})
        return None if row is None else StoredCheckpoint(*row)

    def checkpoints(self, after: int, limit: int) -> list[StoredCheckpoint]:
        return [StoredCheckpoint(*row) for row in self._rows(_CHECKPOINTS, {"after": after, "limit": limit})]

    def set_origin(self, origin: str) -> None:
        self._do(_ADD_IDENTITY, {"number": 1, "schema_version": SCHEMA_VERSION, "origin": origin})

    def add_entry(self, entry: StoredEntry, digest: bytes | None) -> None:
        self._do(_ADD_ENTRY, {"idx": entry.index, "time": entry.time, "digest": digest, "data": entry.data})

    def add_attestation(self, account: str, position: Position) -> None:
        values = {"account": account, "sequence": position.sequence, "idx": position.index}
        self._do(_ADD_ATTESTATION, {**values, "statement_digest": position.statement_digest})

    def add_books(self, account: str, new: Iterable[Book], index: int) -> None:
        rows: list[Values] = [{"source": s, "book": b, "account": account, "idx": index} for s, b in new]
        self._do_many(_ADD_BOOK, rows)

    def put_tiles(self, content: Mapping[TileKey, bytes], fresh: set[TileKey]) -> None:
        self._do_many(_ADD_TILE, [{"number": _number(key), "hashes": content[key]} for key in fresh])
        old = content.keys() - fresh
        self._do_many(_PUT_TILE, [{"key": _number(key), "content": content[key]} for key in old])

    def add_object(self, digest: bytes, length: int, parts: Iterable[bytes]) -> None:
        self._do(_ADD_OBJECT, {"digest": digest, "length": length})
        for number, data in enumerate(parts):
            self._do(_ADD_PART, {"digest": digest, "part": number, "data": data})

    def add_checkpoint(self, size: int, time: int, note: bytes) -> StoredCheckpoint:
        last = self.last_checkpoint()
        stored = StoredCheckpoint(1 if last is None else last.number + 1, size, time, note)
        self._do(_ADD_CHECKPOINT, {"number": stored.number, "size": size, "time": time, "note": note})
        return stored

    def put_note(self, number: int, note: bytes) -> None:
        self._do(_PUT_NOTE, {"key": number, "content": note})


def open_sqlite(path: Path, *, busy_timeout_s: float = 5.0) -> SqlStorage:
    """The store in one SQLite file (and its -wal beside it), made if it is missing.

    StorageError storage.failed when the file is no such store, or the file system cannot keep a write-ahead log."""
    engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": busy_timeout_s})
    event.listen(engine, "connect", _prepare)
    storage = SqlStorage(engine)
    storage.create_tables()
    return storage


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # Without this the driver begins transactions by itself, late, and never for a read.
    connection.isolation_level = None
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    connection.execute("PRAGMA synchronous=FULL")
    if mode != "wal":
        raise StorageError("storage.failed", "the file system of the store cannot keep a write-ahead log")


def _number(key: TileKey) -> int:
    return key[0] << _LEVEL_BITS | key[1]


def _position(row: Sequence[Any] | None) -> Position | None:
    return None if row is None else Position(*row)


def _chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(values), _MANY):
        yield values[at : at + _MANY]
