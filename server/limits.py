"""Rates: how often one may ask, and when to come back.

Both kinds are the generic cell rate algorithm: a bucket is one number, the time at which it will be empty.  A request
costs `1/rate`; it is refused when the bucket would be more than `burst` requests deep.

* `client_allows`: by network address, in the memory of one server process, before anything of a request is read.
* `charge`: by party, in the database, so that it holds over all processes; in the transaction that spends the nonce.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import sqlalchemy as sa

from server.problem import Refusal
from server.tables import buckets

MAX_CLIENTS = 10_000
_BUCKET = sa.select(buckets.c.empty_at).where(buckets.c.key == sa.bindparam("name")).with_for_update()
_FILL = sa.update(buckets).where(buckets.c.key == sa.bindparam("name")).values(empty_at=sa.bindparam("level"))
_NEW = sa.insert(buckets).values(key=sa.bindparam("name"), empty_at=sa.bindparam("level"))


@dataclass(frozen=True)
class Rate:
    """`per_s` requests a second over time, `burst` at once."""

    per_s: float
    burst: int

    def next(self, empty_at: int | None, now: int) -> tuple[int, int]:
        """(new empty_at, 0) if one more fits, else (the same, milliseconds until one does).

        `now` in unix milliseconds, `empty_at` in microseconds: rates go to a million a second."""
        now_us = 1000 * now
        start = max(now_us, empty_at or 0)
        cost = 1e6 / self.per_s
        wait = start + cost - (now_us + self.burst * cost)
        return (math.ceil(start + cost), 0) if wait <= 0 else (start, math.ceil(wait / 1000))


def _limited(wait_ms: int) -> Refusal:
    seconds = max(1, math.ceil(wait_ms / 1000))
    return Refusal(429, "rate.limited", "Too many requests; see Retry-After.", headers={"Retry-After": str(seconds)})


class ClientRates:
    """The newest MAX_CLIENTS addresses of one process; an address that drops out starts anew."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._buckets: OrderedDict[str, int] = OrderedDict()
        self._lock = threading.Lock()

    def charge(self, address: str, now: int) -> None:
        """Refusal 429 rate.limited."""
        with self._lock:
            empty_at, wait = self._rate.next(self._buckets.pop(address, None), now)
            self._buckets[address] = empty_at
            while len(self._buckets) > MAX_CLIENTS:
                self._buckets.popitem(last=False)
        if wait:
            raise _limited(wait)


def charge(c: sa.Connection, key: str, rate: Rate, now: int) -> None:
    """Refusal 429 rate.limited; the caller's transaction holds the bucket."""
    found = c.scalar(_BUCKET, {"name": key})
    empty_at, wait = rate.next(found, now)
    if wait:
        raise _limited(wait)
    c.execute(_NEW if found is None else _FILL, {"name": key, "level": empty_at})
