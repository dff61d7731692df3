"""Settings that all tests share, and the databases (databases.py)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from tests.databases import new_schema
from tests.postgres import NONE_FOUND, Cluster, cluster, programs

# A shared machine is no clock: a slow example is not a fault, a wrong one is.  Nor is a run of all tests the place to
# look for new examples: they are the same each time, and others are looked for with `--hypothesis-profile fresh`.
settings.register_profile("fresh", derandomize=False, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("shared", settings.get_profile("fresh"), derandomize=True)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A server that a test may also crash."""
    found = programs()
    if found is None:
        pytest.skip(NONE_FOUND)
    with contextlib.ExitStack() as held:
        try:
            one = held.enter_context(cluster(found))
        except (RuntimeError, OSError, subprocess.SubprocessError) as e:  # a machine on which none can be had
            pytest.skip(f"PostgreSQL does not start here: {e}")
        yield one


@pytest.fixture(scope="session")
def database_server(request: pytest.FixtureRequest) -> sa.URL:
    given = os.environ.get("MARGINSEAL_TEST_DATABASE")
    if given is not None:
        return sa.make_url(given)
    own: Cluster = request.getfixturevalue("postgresql")
    return own.url()


@pytest.fixture
def schema(database_server: sa.URL) -> Iterator[str]:
    with new_schema(database_server) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str | None:
    return None if request.param == "sqlite" else str(request.getfixturevalue("schema"))
