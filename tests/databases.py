"""Which database a test runs on.

Most tests take SQLite, in the test's directory.  Those that ask for `database_url` run twice, on SQLite (None) and on
PostgreSQL; those that ask for `schema` on PostgreSQL alone.  The server is one that the tests start (postgres.py), or

    MARGINSEAL_TEST_DATABASE=postgresql+psycopg://user@host/database python -m pytest tests/server tests/log

Each test has a schema of its own there, which goes when the test is over."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from server.store import Store, migrate
from tests.postgres import execute


@contextmanager
def new_schema(server: sa.URL) -> Iterator[str]:
    """The address of an empty schema."""
    name = f"test_{secrets.token_hex(8)}"
    execute(server, f"CREATE SCHEMA {name}")
    try:
        yield within(server, name)
    finally:
        execute(server, f"DROP SCHEMA {name} CASCADE")


def within(server: sa.URL, schema: str) -> str:
    url = server.update_query_dict({"options": f"-csearch_path={schema}"})
    return url.render_as_string(hide_password=False)


def fresh_store(directory: Path, database_url: str | None) -> Store:
    store = Store(database_url or f"sqlite:///{directory}/service.db")
    migrate(store)
    return store
