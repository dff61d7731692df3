"""Which database the tests of the service run on: SQLite in the test's directory, or, to try the same on PostgreSQL,

    MARGINSEAL_TEST_DATABASE=postgresql+psycopg://user@host/empty python -m pytest tests/server

whose schema `public` is emptied for every test."""

from __future__ import annotations

import os
from pathlib import Path

import sqlalchemy as sa

from server.store import Store, migrate

SERVER = os.environ.get("MARGINSEAL_TEST_DATABASE")


def fresh(directory: Path) -> str | None:
    """An emptied database server, if one is to be used; else None."""
    if SERVER is not None:
        engine = sa.create_engine(SERVER)
        with engine.begin() as c:
            c.execute(sa.text("DROP SCHEMA public CASCADE"))
            c.execute(sa.text("CREATE SCHEMA public"))
        engine.dispose()
    return SERVER


def fresh_store(directory: Path) -> Store:
    store = Store(fresh(directory) or f"sqlite:///{directory}/service.db")
    migrate(store)
    return store
