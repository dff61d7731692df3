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
from tests.databases import fresh_store

ROUNDS, WRITERS = 5, 4
_LAST = sa.select(sa.func.max(catalogue.c.idx))


@pytest.fixture
def stores(tmp_path: Path, database_url: str | None) -> Iterator[tuple[Store, Store]]:
    """One database as two machines see it."""
    with as_two_see_it(fresh_store(tmp_path, database_url)) as both:
        yield both


@pytest.fixture
def machines(tmp_path: Path, schema: str) -> Iterator[tuple[Store, Store]]:
    """One PostgreSQL."""
    with as_two_see_it(fresh_store(tmp_path, schema)) as both:
        yield both


@contextlib.contextmanager
def as_two_see_it(store: Store) -> Iterator[tuple[Store, Store]]:
    with contextlib.closing(store) as one, contextlib.closing(Store(_url(one), busy_ms=60_000)) as other:
        yield one, other


def _url(store: Store) -> str:
    return store.url.render_as_string(hide_password=False)


def add(c: sa.Connection, index: int) -> None:
    row = {"idx": index, "time": 0, "kind": "k", "payload_digest": bytes(32), "name": bytes(32)}
    c.execute(sa.insert(catalogue).values(**row))


def test_what_a_writer_has_read_is_true_until_it_commits(stores: tuple[Store, Store]) -> None:
    """As in accepting, charging a rate or reading the log on: look, then write what is not there."""
    count_on(stores)


def count_on(stores: tuple[Store, Store]) -> None:
    def one_by_one(store: Store) -> None:
        for _ in range(ROUNDS):
            with store.write() as c:
                last = c.scalar(_LAST)
                time.sleep(0.002)
                add(c, 0 if last is None else last + 1)

    threads = [threading.Thread(target=one_by_one, args=(stores[n % 2],)) for n in range(WRITERS)]
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


def test_a_machine_that_freezes_loses_its_turn(machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server.store, "STUCK_MS", 200)

    def freeze(store: Store) -> None:
        with store.write() as c:
            add(c, 7)
            started = time.monotonic()
            with machines[1].write() as w:
                add(w, 0)
            assert time.monotonic() - started < server.store.BUSY_MS / 1000

    with contextlib.closing(Store(_url(machines[0]))) as frozen:
        with pytest.raises(StorageError, match=r"store\.unavailable"):
            freeze(frozen)
        with machines[1].read() as c:
            assert c.scalar(_LAST) == 0
        with frozen.write() as c:
            add(c, 1)


def test_a_reader_that_is_slow_is_not_cut_off(machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """As a worker at its niceness on a busy machine: it keeps nobody waiting."""
    monkeypatch.setattr(server.store, "STUCK_MS", 200)
    with contextlib.closing(Store(_url(machines[0]))) as slow, slow.read() as c:
        assert c.scalar(_LAST) is None
        time.sleep(0.5)
        assert c.scalar(_LAST) is None


def test_a_server_of_other_habits_changes_nothing(schema: str, tmp_path: Path) -> None:
    """Under REPEATABLE READ a writer would see the moment before he had his turn."""
    url = sa.make_url(schema)
    habits = r"-cdefault_transaction_isolation=repeatable\ read -csynchronous_commit=off"
    url = url.update_query_dict({"options": f"{url.query['options']} {habits}"})
    with as_two_see_it(fresh_store(tmp_path, url.render_as_string(hide_password=False))) as both:
        with both[0].write() as c:
            assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"
        with both[0].brief() as c:
            assert c.exec_driver_sql("SHOW synchronous_commit").scalar() == "off"
        count_on(both)


def test_who_waits_too_long_for_his_turn_is_told_so(
    machines: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server.store, "BUSY_MS", 50)
    with (
        contextlib.closing(Store(_url(machines[0]))) as hasty,
        machines[1].write(),
        pytest.raises(StorageError, match=r"store\.unavailable") as e,
        hasty.write(),
    ):
        pass
    assert "advisory" not in str(e.value)
