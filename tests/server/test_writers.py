"""Writers take turns and readers see one moment, on both databases; on a server nobody keeps his turn for ever."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

import server.store
from marginseal.errors import StorageError
from server.store import Store
from server.tables import catalogue
from tests.server.databases import fresh_store, shared

ROUNDS, WRITERS = 5, 4
_LAST = sa.select(sa.func.max(catalogue.c.idx))


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[Store, Store]]:
    """One database as two machines see it."""
    with (
        contextlib.closing(fresh_store(tmp_path)) as one,
        contextlib.closing(Store(_url(one), busy_ms=60_000)) as other,
    ):
        yield one, other


def _url(store: Store) -> str:
    return store.url.render_as_string(hide_password=False)


def add(c: sa.Connection, index: int) -> None:
    row = {"idx": index, "time": 0, "kind": "k", "payload_digest": bytes(32), "name": bytes(32)}
    c.execute(sa.insert(catalogue).values(**row))


def test_what_a_writer_has_read_is_true_until_it_commits(stores: tuple[Store, Store]) -> None:
    """As in accepting, charging a rate or reading the log on: look, then write what is not there."""

    def count_on(store: Store) -> None:
        for _ in range(ROUNDS):
            with store.write() as c:
                last = c.scalar(_LAST)
                time.sleep(0.002)
                add(c, 0 if last is None else last + 1)

    threads = [threading.Thread(target=count_on, args=(stores[n % 2],)) for n in range(WRITERS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    with stores[0].read() as c:
        assert c.scalar(_LAST) == ROUNDS * WRITERS - 1


def test_a_reader_sees_one_moment(stores: tuple[Store, Store]) -> None:
    with stores[0].write() as c:
        add(c, 0)
    with stores[0].read() as c:
        assert c.scalar(_LAST) == 0
        with stores[1].write() as w:
            add(w, 1)
        assert c.scalar(_LAST) == 0
    with stores[0].read() as c:
        assert c.scalar(_LAST) == 1


@shared
def test_a_machine_that_freezes_loses_its_turn(stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.store, "STUCK_MS", 200)

    def freeze(store: Store) -> None:
        with store.write() as c:
            add(c, 7)
            started = time.monotonic()
            with stores[1].write() as w:
                add(w, 0)
            assert time.monotonic() - started < server.store.BUSY_MS / 1000

    with contextlib.closing(Store(_url(stores[0]))) as frozen:
        with pytest.raises(StorageError, match=r"store\.unavailable"):
            freeze(frozen)
        with stores[1].read() as c:
            assert c.scalar(_LAST) == 0
        with frozen.write() as c:
            add(c, 1)


@shared
def test_who_waits_too_long_for_his_turn_is_told_so(
    stores: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.store, "BUSY_MS", 50)
    with (
        contextlib.closing(Store(_url(stores[0]))) as hasty,
        stores[1].write(),
        pytest.raises(StorageError, match=r"store\.unavailable") as e,
        hasty.write(),
    ):
        pass
    assert "advisory" not in str(e.value)
