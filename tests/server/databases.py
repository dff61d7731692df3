"""Which database the tests of the service run on: SQLite in the test's directory, or, to try the same on PostgreSQL,

    MARGINSEAL_TEST_DATABASE=postgresql+psycopg://user@host/database python -m pytest tests/server

Every service of a test has a schema of its own there, which goes when the tests are over."""

from __future__ import annotations

import atexit
import os
import secrets
from pathlib import Path

import pytest
import sqlalchemy as sa

from server.store import Store, migrate

SERVER = os.environ.get("MARGINSEAL_TEST_DATABASE")
embedded = pytest.mark.skipif(SERVER is not None, reason="about the embedded database")
shared = pytest.mark.skipif(SERVER is None, reason="needs a database server: MARGINSEAL_TEST_DATABASE")


def fresh(directory: Path) -> str | None:
    """An empty schema on the database server, if one is to be used; else None."""
    if SERVER is None:
        return None
    name = f"test_{secrets.token_hex(8)}"
    _run(f"CREATE SCHEMA {name}")
    atexit.register(_run, f"DROP SCHEMA {name} CASCADE")
    url = sa.make_url(SERVER).update_query_dict({"options": f"-csearch_path={name}"})
    return url.render_as_string(hide_password=False)


def _run(statement: str) -> None:
    assert SERVER is not None
    engine = sa.create_engine(SERVER)
    with engine.begin() as c:
        c.execute(sa.text(statement))
    engine.dispose()


def fresh_store(directory: Path) -> Store:
    """Its writers wait for one another as long as a slow disk may take; SQLite's own waiting is not fair."""
    store = Store(fresh(directory) or f"sqlite:///{directory}/service.db", busy_ms=60_000)
    migrate(store)
    return store
