"""Finding what the log holds: by digest, by account and sequence, the newest of a kind.

The log answers by index alone.  This table maps what clients ask for to that index; it is made by reading the log from
where the last reading stopped, and holds nothing that the log does not.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.storage import StoredEntry
from server.names import name_of
from server.store import Store
from server.tables import catalogue

_PAGE = 256
_COLUMNS = (catalogue.c.idx, catalogue.c.time, catalogue.c.kind, catalogue.c.account, catalogue.c.sequence)
_NAMES = (catalogue.c.payload_digest, catalogue.c.name, catalogue.c.statement_digest)
_FOUND = sa.select(*_COLUMNS, *_NAMES)
# Built once: making a statement costs more than running it.
_LAST = sa.select(sa.func.max(catalogue.c.idx))
_KIND = catalogue.c.kind == sa.bindparam("kind")
_NAMED = sa.or_(
    catalogue.c.name == sa.bindparam("digest"),
    catalogue.c.payload_digest == sa.bindparam("digest"),
    catalogue.c.statement_digest == sa.bindparam("digest"),
)
_BY_DIGEST = _FOUND.where(_NAMED, _KIND).order_by(catalogue.c.idx).limit(1)
_RECENT = _FOUND.where(_KIND).order_by(catalogue.c.idx.desc()).limit(sa.bindparam("limit"))
_OF_KIND = _FOUND.where(_KIND).order_by(catalogue.c.idx)
_SINCE = _FOUND.where(
    catalogue.c.kind.in_(sa.bindparam("kinds", expanding=True)),
    catalogue.c.idx >= sa.bindparam("start"),
    catalogue.c.idx < sa.bindparam("stop"),
).order_by(catalogue.c.idx)
_MINE = _FOUND.where(_KIND, catalogue.c.account == sa.bindparam("account"))
_OF_ACCOUNT = _MINE.order_by(catalogue.c.idx)
_RECENT_OF_ACCOUNT = _MINE.order_by(catalogue.c.idx.desc()).limit(sa.bindparam("limit"))


@dataclass(frozen=True)
class Found:
    """Where something is logged, and what it is.  `name` is the digest by which statements name it (names.py)."""

    index: int
    time: int
    kind: str
    account: str | None
    sequence: int | None
    payload_digest: bytes
    name: bytes
    statement_digest: bytes | None


class Catalogue:
    """One for a process; `sync` before asking when the log may have grown."""

    def __init__(self, store: Store, log: Log) -> None:
        self._store, self._log = store, log
        self._synced = -1

    def sync(self, size: int) -> None:
        """Read the log's entries up to `size` that are not in the table yet."""
        if size <= self._synced:
            return
        with self._store.read() as c:
            known = c.scalar(_LAST)
        start = 0 if known is None else known + 1
        while start < size:
            rows = [_row(e) for e in self._log.entries(start, min(size, start + _PAGE))]
            with self._store.write() as c:
                there = c.scalar(_LAST)  # another process may have been here
                fresh = [row for row in rows if there is None or row["idx"] > there]
                if fresh:
                    c.execute(sa.insert(catalogue), fresh)
            start += _PAGE
        self._synced = size

    def by_digest(self, digest: bytes, kind: str) -> Found | None:
        """The first entry of that kind with this name, or whose payload or statement has this digest."""
        found = self._all(_BY_DIGEST, {"digest": digest, "kind": kind})
        return found[0] if found else None

    def newest(self, kind: str) -> Found | None:
        found = self.recent(kind, 1)
        return found[0] if found else None

    def recent(self, kind: str, limit: int, account: str | None = None) -> list[Found]:
        """Newest first, of everybody or of one account."""
        if account is not None:
            return self._all(_RECENT_OF_ACCOUNT, {"kind": kind, "limit": limit, "account": account})
        return self._all(_RECENT, {"kind": kind, "limit": limit})

    def all(self, kind: str) -> list[Found]:
        """All of one kind, in the order of the log."""
        return self._all(_OF_KIND, {"kind": kind})

    def between(self, kinds: tuple[str, ...], start: int, stop: int) -> list[Found]:
        """Of entries start .. stop - 1 those of these kinds, in the order of the log."""
        return self._all(_SINCE, {"kinds": kinds, "start": start, "stop": stop})

    def of_account(self, kind: str, account: str) -> list[Found]:
        """All of one kind and account, in the order of the log."""
        return self._all(_OF_ACCOUNT, {"kind": kind, "account": account})

    def payload(self, found: Found) -> bytes:
        return self._log.entry(found.index)[1].payload

    def _all(self, query: sa.Select[Any], values: dict[str, object]) -> list[Found]:
        with self._store.read() as c:
            return [Found(*row) for row in c.execute(query, values)]


def _row(stored: StoredEntry) -> dict[str, object]:
    entry = Entry.decode(stored.data)
    return {
        "idx": stored.index,
        "time": stored.time,
        "kind": entry.kind,
        "account": entry.account,
        "sequence": entry.sequence,
        "payload_digest": hashlib.sha256(entry.payload).digest(),
        "name": name_of(entry.kind, entry.payload),
        "statement_digest": entry.statement_digest,
    }
