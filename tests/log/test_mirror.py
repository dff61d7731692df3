"""A mirror of somebody else's log: what it keeps, where it goes on, and what a service that lies leaves behind."""

from __future__ import annotations

import hashlib
import shutil
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from marginseal.errors import MarginSealError, StorageError
from marginseal.log import tiles
from marginseal.log.bundle import Bundle
from marginseal.log.bundle_check import bundle_faults
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from marginseal.log.mirror import Mirror
from marginseal.log.note import Signer
from marginseal.log.policy import LogPolicy
from marginseal.log.sql import open_sqlite
from marginseal.log.storage import StoredEntry
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, key, open_log

NOW = 1_700_000_000
PAGE = 4


@dataclass
class Service:
    """A log as it is served, in small pages; `bend` is what a liar makes of an entry, `at` the moment it signs."""

    log: Log
    at: int = NOW
    bend: Callable[[int, int, bytes], tuple[int, int, bytes]] = lambda *entry: entry
    asked: list[int] = field(default_factory=list)
    objects: int = 0

    def checkpoint(self) -> bytes:
        return self.log.checkpoint(now=self.at)

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        self.asked.append(start)
        page = self.log.entries(start, min(start + PAGE, self.log.size()))
        return [self.bend(e.index, e.time, e.data) for e in page]

    def object(self, digest: bytes) -> bytes:
        self.objects += 1
        return self.log.get_object(digest)


def grown(log: Log, first: int, last: int) -> None:
    for sequence in range(first, last + 1):
        digest = log.put_object(f"object {sequence}".encode())
        log.append(attestation("fund", sequence, dependencies=(digest,)), now=NOW)
        log.append(Entry("note", f"note {sequence}".encode()), now=NOW)


@pytest.fixture
def service(tmp_path: Path) -> Service:
    log = open_log(tmp_path / "log")
    grown(log, 1, 6)
    return Service(log)


def mirror(service: Service, folder: Path, policy: LogPolicy = POLICY, **options: Path) -> Mirror:
    return Mirror(open_sqlite(folder / "mirror.db"), service, policy, **options)


def code(run: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        run()
    return e.value.code


def test_it_says_what_the_log_says(service: Service, tmp_path: Path) -> None:
    made, log = mirror(service, tmp_path), service.log
    assert made.sync() == log.size() == 12
    note = service.checkpoint()
    for index in range(12):
        assert made.log.entry(index) == log.entry(index)
        assert made.log.receipt(index, note) == log.receipt(index, note)
    assert made.log.consistency(5, 12) == log.consistency(5, 12)
    assert (made.log.head("fund"), made.log.head("fund", 5)) == (log.head("fund"), log.head("fund", 5))
    assert made.log.attestation("fund", 4) == log.attestation("fund", 4)


def test_it_goes_on_where_it_stopped(service: Service, tmp_path: Path) -> None:
    mirror(service, tmp_path).sync()
    service.asked.clear()
    assert mirror(service, tmp_path).sync() == 0
    assert service.asked == []
    grown(service.log, 7, 7)
    assert mirror(service, tmp_path).sync() == 2
    assert service.asked == [12]


def test_objects_are_fetched_when_wanted_and_once(service: Service, tmp_path: Path) -> None:
    made, digest = mirror(service, tmp_path), hashlib.sha256(b"object 3").digest()
    made.sync()
    assert service.objects == 0
    assert made.object(digest) == mirror(service, tmp_path).object(digest) == b"object 3"
    assert service.objects == 1


def test_its_export_is_that_of_the_log(service: Service, tmp_path: Path) -> None:
    """With the checkpoints of all visits, and those that somebody else saw."""
    made = mirror(service, tmp_path)
    made.sync()
    grown(service.log, 7, 8)
    other = service.checkpoint()
    grown(service.log, 9, 9)
    made.sync()
    made.fetch_objects()
    found = export_bundle(made.log, tmp_path / "bundle", seen=[other])
    assert (found.entries, found.objects, found.checkpoints) == (18, 9, 3)
    assert list(bundle_faults(Bundle(tmp_path / "bundle"), POLICY)) == []


def test_a_checkpoint_seen_elsewhere_that_does_not_fit_is_found_in_the_export(service: Service, tmp_path: Path) -> None:
    shutil.copytree(tmp_path / "log", tmp_path / "fork")
    fork = open_log(tmp_path / "fork")
    grown(fork, 7, 7)
    grown(service.log, 7, 9)
    fork.append(Entry("note", b"only here"), now=NOW)
    made = mirror(service, tmp_path)
    made.sync()
    made.fetch_objects()
    export_bundle(made.log, tmp_path / "bundle", seen=[fork.checkpoint(now=NOW)])
    assert {f.code for f in bundle_faults(Bundle(tmp_path / "bundle"), POLICY)} == {"log.fork"}
    # And one of a larger log than is shown today.
    grown(fork, 8, 20)
    export_bundle(made.log, tmp_path / "short", seen=[fork.checkpoint(now=NOW)])
    assert {f.code for f in bundle_faults(Bundle(tmp_path / "short"), POLICY)} == {"log.truncated"}


LIES: list[tuple[str, Callable[[int, int, bytes], tuple[int, int, bytes]], str]] = [
    ("another time", lambda i, t, d: (i, t + (i == 9), d), "log.root"),
    ("another entry", lambda i, t, d: (i, t, Entry("note", b"x").encode() if i == 9 else d), "log.root"),
    ("another order", lambda i, t, d: (i + (i == 9), t, d), "log.root"),
    ("bytes that are none", lambda i, t, d: (i, t, d + b"x" * (i == 9)), "wire.trailing"),
    ("one attestation twice", lambda i, t, d: (i, t, attestation("fund", 1).encode() if i == 9 else d),
     "log.sequence-taken"),
]  # fmt: skip


@pytest.mark.parametrize(("bend", "expected"), [lie[1:] for lie in LIES], ids=[lie[0] for lie in LIES])
def test_a_service_that_lies_leaves_nothing_behind(
    service: Service, tmp_path: Path, bend: Callable[[int, int, bytes], tuple[int, int, bytes]], expected: str
) -> None:
    made, honest = mirror(service, tmp_path), service.bend
    service.bend = bend
    assert code(made.sync) == expected
    assert (made.log.size(), made.log.last_checkpoint()) == (0, None)
    service.bend = honest
    assert made.sync() == 12


def test_a_service_that_serves_less_than_it_signed(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "entries", lambda start: [])
    assert code(mirror(service, tmp_path).sync) == "log.root"


def test_another_object_than_was_asked_for(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made, digest = mirror(service, tmp_path), hashlib.sha256(b"object 3").digest()
    made.sync()
    monkeypatch.setattr(service, "object", lambda digest: b"object 4")
    assert code(lambda: made.object(digest)) == "log.object"
    monkeypatch.undo()
    assert made.object(digest) == b"object 3"


def test_a_log_that_goes_back_or_forks_between_two_visits(service: Service, tmp_path: Path) -> None:
    """By the mirror alone, and by the memory alone when the mirror is gone."""
    shutil.copytree(tmp_path / "log", tmp_path / "back")
    grown(service.log, 7, 8)
    memory = tmp_path / "seen"
    made = mirror(service, tmp_path, memory=memory)
    made.sync()
    back = Service(Log(open_sqlite(tmp_path / "back" / "log.db"), origin=ORIGIN, signer=SIGNER))
    (tmp_path / "new").mkdir()
    assert code(mirror(back, tmp_path).sync) == "log.rollback"
    assert code(mirror(back, tmp_path / "new", memory=memory).sync) == "log.rollback"
    for number in range(5):
        back.log.append(Entry("note", f"other {number}".encode()), now=NOW)
    (tmp_path / "newer").mkdir()
    assert code(mirror(back, tmp_path).sync) == "log.root"
    assert code(mirror(back, tmp_path / "newer", memory=memory).sync) == "log.fork"
    assert made.log.size() == 16


def test_a_fork_that_the_memory_alone_can_tell_is_not_kept(service: Service, tmp_path: Path) -> None:
    """The mirror was thrown away; once the service is honest again the new one is read as if it had never lied."""
    shutil.copytree(tmp_path / "log", tmp_path / "fork")
    grown(service.log, 7, 8)
    memory = tmp_path / "seen"
    mirror(service, tmp_path, memory=memory).sync()
    fork = open_log(tmp_path / "fork")
    for number in range(5):
        fork.append(Entry("note", f"other {number}".encode()), now=NOW)
    (tmp_path / "new").mkdir()
    made = mirror(Service(fork), tmp_path / "new", memory=memory)
    assert code(made.sync) == "log.fork"
    assert (made.log.size(), made.log.last_checkpoint()) == (0, None)
    assert mirror(service, tmp_path / "new", memory=memory).sync() == 16


@dataclass
class Slow(Service):
    """Each page waits until it is let go; `reading` is set while one does."""

    reading: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        self.reading.set()
        assert self.go.wait(60)
        return super().entries(start)


@pytest.mark.parametrize("remembers", [False, True])
def test_who_shares_the_file_of_a_slow_visit_waits_for_nothing(
    service: Service, tmp_path: Path, remembers: bool
) -> None:
    """He reads on to where the log has come meanwhile, and the slow one takes what he wrote."""
    options = {"memory": tmp_path / "seen"} if remembers else {}
    slow = Slow(service.log)
    with ThreadPoolExecutor(1) as pool:
        visit = pool.submit(mirror(slow, tmp_path, **options).sync)
        try:
            assert slow.reading.wait(60)
            grown(service.log, 7, 8)
            other = mirror(service, tmp_path, **options)
            assert other.sync() == 16
            assert not visit.done()
        finally:
            slow.go.set()
        assert visit.result(60) == 0
    assert other.log.size() == 16
    assert slow.asked == [0, 4, 8]
    assert service.log.receipt(15, service.checkpoint()) == other.log.receipt(15, service.checkpoint())


def test_a_slow_visit_that_is_overtaken_again_and_again_ends(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = service.entries

    def overtaken(start: int) -> list[tuple[int, int, bytes]]:
        page = served(start)
        monkeypatch.setattr(service, "entries", served)
        mirror(service, tmp_path).sync()
        grown(service.log, service.log.size() // 2 + 1, service.log.size() // 2 + 1)
        monkeypatch.setattr(service, "entries", overtaken)
        return page

    monkeypatch.setattr(service, "entries", overtaken)
    assert code(mirror(service, tmp_path).sync) == "mirror.overtaken"
    monkeypatch.setattr(service, "entries", served)
    mirror(service, tmp_path).sync()


def test_the_store_of_another_log_is_refused(service: Service, tmp_path: Path) -> None:
    mirror(service, tmp_path).sync()
    other = Signer("log.example/two", key("log"))
    with pytest.raises(StorageError) as e:
        mirror(service, tmp_path, LogPolicy(other.name, (other.key,)))
    assert e.value.code == "log.origin"


def test_a_record_logged_twice_does_no_harm(service: Service, tmp_path: Path) -> None:
    """An honest log takes it once; a mirror of another one is a copy all the same, if the root is that."""
    twice = Entry("note", b"note 1").encode()
    known = next(e.index for e in service.log.entries() if e.data == twice)
    with service.log.storage.write() as tx:
        tree = tiles.TreeWriter(12, tx.tiles)
        tree.append(Entry.decode(twice).leaf(NOW).hash)
        tx.add_entry(StoredEntry(12, NOW, twice), None)
        tx.put_tiles(tree.changed, tree.fresh)
    made = mirror(service, tmp_path)
    assert made.sync() == 13
    assert made.log.index_of(Entry.decode(twice)) == known
