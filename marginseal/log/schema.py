"""The tables of the log, in SQLAlchemy Core, for SQLite and PostgreSQL alike.

`metadata` is the one place that names them; migrations import it.  Every name begins with `log_`, so that they can live
beside the tables of a server.  Sizes: a digest is 32 bytes, a tile at most 512, an object part at most 1 MiB.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite makes a key the row id, and numbers it by itself, only if its type is spelled INTEGER (64 bits there as well).
_Key = BigInteger().with_variant(Integer(), "sqlite")

identity = Table(
    "log_identity",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=False),  # always 1; the table is also the writers' lock
    Column("schema_version", Integer, nullable=False),
    Column("origin", Text, nullable=False),
)

entries = Table(
    "log_entries",
    metadata,
    Column("idx", _Key, primary_key=True, autoincrement=False),
    Column("time", BigInteger, nullable=False),
    Column("digest", LargeBinary),  # of entries that are recognised by it; attestations are by their place
    Column("data", LargeBinary, nullable=False),
)
Index(
    "uq_log_entries_digest",
    entries.c.digest,
    unique=True,
    sqlite_where=entries.c.digest.is_not(None),
    postgresql_where=entries.c.digest.is_not(None),
)

tiles = Table(
    "log_tiles",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=False),  # level * 2**58 + index
    Column("hashes", LargeBinary, nullable=False),
)

attestations = Table(
    "log_attestations",
    metadata,
    Column("account", Text, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("statement_digest", LargeBinary, nullable=False),
    Column("idx", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

books = Table(
    "log_books",
    metadata,
    Column("source", Text, primary_key=True),
    Column("book", Text, primary_key=True),
    Column("account", Text, nullable=False),
    Column("idx", BigInteger, nullable=False),  # where it was first seen
    sqlite_with_rowid=False,
)

objects = Table(
    "log_objects",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("length", BigInteger, nullable=False),
)

object_parts = Table(
    "log_object_parts",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("part", Integer, primary_key=True, autoincrement=False),
    Column("data", LargeBinary, nullable=False),
)

checkpoints = Table(
    "log_checkpoints",
    metadata,
    Column("number", _Key, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("time", BigInteger, nullable=False),
    Column("note", LargeBinary, nullable=False),
)
