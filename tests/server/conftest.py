"""One running HTTPS server, without workers, for all tests of what it accepts and refuses."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.world import Site, site


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    sections = {
        "server": {"receive_timeout_s": 2, "request_timeout_s": 8, "long_poll_s": 3, "max_body_bytes": 200_000},
        "rates": {"client_per_s": 5_000, "client_burst": 5_000, "account_submissions_per_s": 500},
        "queue": {"max_queued": 10_000, "max_queued_per_account": 50},
    }
    with site(tmp_path_factory.mktemp("served"), **sections) as s:
        s.serve()
        yield s
