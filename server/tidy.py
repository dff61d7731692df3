"""Forgetting what is no longer needed: finished jobs with their answers, used nonces, empty buckets, and the sealed
bytes of jobs that have ended, of which the database's write-ahead log has a copy.

What the log holds stays for ever; what is forgotten here is only how it came there.  Dead jobs wait for an operator.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import sqlalchemy as sa

from server.jobs import Clock
from server.store import Store
from server.tables import buckets, jobs, nonces, results, submissions

DAY_MS = 86_400_000
AT_ONCE = 500


def tidy(store: Store, *, now: int, keep_days: int) -> int:
    """How many finished jobs were forgotten, at most AT_ONCE: a short transaction, called again."""
    old = sa.select(jobs.c.submission).where(
        jobs.c.state.in_(("attested", "refused")), jobs.c.finished < now - keep_days * DAY_MS
    )
    with store.write() as c:
        names = c.scalars(old.limit(AT_ONCE)).all()
        for table, column in (
            (results, results.c.submission),
            (jobs, jobs.c.submission),
            (submissions, submissions.c.id),
        ):
            c.execute(sa.delete(table).where(column.in_(names)))
    with store.brief() as c:
        c.execute(sa.delete(nonces).where(nonces.c.expires < now))
        c.execute(sa.delete(buckets).where(buckets.c.empty_at < 1000 * (now - DAY_MS)))
    store.settle()
    return len(names)


def every(seconds: float, store: Store, clock: Clock, keep_days: int) -> Callable[[], None]:
    """For the supervisor, which calls it about once a second."""
    last = 0.0

    def call() -> None:
        nonlocal last
        if time.monotonic() - last >= seconds:
            last = time.monotonic()
            tidy(store, now=clock(), keep_days=keep_days)

    return call
