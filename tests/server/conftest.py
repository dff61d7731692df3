"""One running HTTPS server, without workers, for all tests of what it accepts and refuses.

It gives everybody time: what is cut off after a while is tested on a server of its own (test_bodies.py).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.world import Site, site


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    sections = {
        "server": {"receive_timeout_s": 60, "request_timeout_s": 120, "long_poll_s": 50, "max_body_bytes": 200_000},
        "rates": {"client_per_s": 5_000, "client_burst": 5_000, "account_submissions_per_s": 500},
        "queue": {"max_queued": 10_000, "max_queued_per_account": 50},
    }
    with site(tmp_path_factory.mktemp("served"), **sections) as s:
        s.serve()
        yield s
