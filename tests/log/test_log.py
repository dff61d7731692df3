"""The log's rules, its durability between openings, checkpoints, and what it refuses to sign."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from marginseal.errors import DecodeError, InputError, MarginSealError, PolicyError, ProofRejected, StorageError
from marginseal.log.checkpoint import Checkpoint, check_append_only
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.log.merkle import EMPTY_ROOT
from marginseal.log.note import Signer
from marginseal.log.policy import LogPolicy
from marginseal.log.receipt import Receipt
from marginseal.log.sql import SqlStorage, open_sqlite
from marginseal.log.storage import Snapshot
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, cosigner, key, open_log, sha, statement
from tests.oracles import naive_merkle


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = open_log(tmp_path)
    yield log
    log.storage.close()


def refusal(log: Log, entry: Entry, now: int = 100) -> str:
    size, root = log.size(), Checkpoint.of(log.checkpoint(now=now)).root
    with pytest.raises(MarginSealError) as refused:
        log.append(entry, now=now)
    assert (log.size(), Checkpoint.of(log.checkpoint(now=now)).root) == (size, root)
    return refused.value.code


def test_what_is_appended_is_there(log: Log) -> None:
    fund = [attestation("fund", i) for i in (1, 2, 3)]
    other = Entry("source-registry", b"keys")
    assert [log.append(e, now=100 + i) for i, e in enumerate([fund[0], other, fund[1], fund[2]])] == [0, 1, 2, 3]
    assert log.size() == 4
    assert log.entry(2) == (102, fund[1])
    assert [(s.index, s.time, Entry.decode(s.data)) for s in log.entries(1, 3)] == [(1, 101, other), (2, 102, fund[1])]
    head = log.head("fund")
    assert head is not None
    assert (head.sequence, head.index, head.statement_digest) == (3, 3, statement("fund", 3))
    assert log.attestation("fund", 1) == replace(head, sequence=1, index=0, statement_digest=statement("fund", 1))
    assert log.head("nobody") is None
    assert log.index_of(other) == 1
    assert log.index_of(fund[2]) == 3
    assert log.index_of(replace(fund[2], payload=b"other")) is None
    assert log.index_of(attestation("fund", 4)) is None
    assert log.index_of(Entry("source-registry", b"other keys")) is None
    for index in (-1, 4, 2**62):
        with pytest.raises(InputError):
            log.entry(index)


def test_appending_again_returns_the_same_index(log: Log) -> None:
    entries = [attestation("fund", 1), Entry("manifest", b"m", "fund"), attestation("fund", 2)]
    indexes = [log.append(e, now=100) for e in entries]
    root = Checkpoint.of(log.checkpoint(now=100)).root
    assert [log.append(e, now=105) for e in entries] == indexes
    assert log.append_many(entries[::-1], now=105) == indexes[::-1]
    assert Checkpoint.of(log.checkpoint(now=105)).root == root


def test_one_attestation_for_each_account_and_sequence(log: Log) -> None:
    first, second = attestation("fund", 1), attestation("fund", 2)
    log.append_many([first, second], now=100)
    for changed in (
        replace(first, payload=b"another proof of the same statement"),
        replace(first, statement_digest=sha("other pledges")),
        replace(second, statement_digest=sha("other pledges")),
        replace(first, books=()),
    ):
        assert refusal(log, changed) == "log.sequence-taken"
    log.append(attestation("other", 1), now=100)


def test_an_account_has_one_unbroken_chain(log: Log) -> None:
    assert refusal(log, attestation("fund", 2)) == "log.sequence-gap"
    log.append(attestation("fund", 1), now=100)
    assert refusal(log, attestation("fund", 3)) == "log.sequence-gap"
    assert refusal(log, attestation("fund", 2, prev=sha("a branch"))) == "log.prev-mismatch"
    assert refusal(log, attestation("fund", 2, prev=statement("other", 1))) == "log.prev-mismatch"
    log.append(attestation("fund", 2), now=100)


def test_a_disclosure_does_not_extend_the_chain(log: Log) -> None:
    log.append(attestation("fund", 1), now=100)
    log.append(attestation("fund", 1, kind="disclosure", payload=b"delta is 3"), now=100)
    head = log.head("fund")
    assert head is not None
    assert (head.sequence, head.index) == (1, 0)
    log.append(attestation("fund", 2), now=100)


def test_a_book_belongs_to_one_account(log: Log) -> None:
    mine = attestation("fund", 1)
    log.append(mine, now=100)
    assert refusal(log, attestation("thief", 1, books=mine.books[:1])) == "log.book-taken"
    assert refusal(log, Entry("manifest", b"", "thief", books=mine.books[1:])) == "log.book-taken"
    same_book_elsewhere = (("custodian", "book of thief"), ("venue", "another book"))
    log.append(attestation("thief", 1, books=same_book_elsewhere), now=100)
    log.append(attestation("fund", 2, books=(*mine.books, ("zeta", "b"))), now=100)
    assert refusal(log, attestation("thief", 2, books=(("zeta", "b"),))) == "log.book-taken"


def test_a_book_in_one_batch_belongs_to_the_first(log: Log) -> None:
    with pytest.raises(PolicyError) as refused:
        log.append_many([attestation("fund", 1), attestation("thief", 1, books=attestation("fund", 1).books)], now=100)
    assert refused.value.code == "log.book-taken"
    assert log.size() == 0


def test_more_books_and_dependencies_than_one_question_holds(log: Log) -> None:
    books = tuple((f"source {i:04}", "b") for i in range(700))
    objects = tuple(sorted(log.put_objects([i.to_bytes(2, "big") for i in range(600)])))
    entry = attestation("fund", 1, books=books, dependencies=objects)
    log.append(entry, now=100)
    assert log.entry(0)[1] == entry
    for i in (0, 255, 256, 699):
        assert refusal(log, attestation("thief", 1, books=books[i : i + 1])) == "log.book-taken"
    missing = tuple(sorted([*objects, sha("nowhere")]))
    assert refusal(log, attestation("fund", 2, books=(), dependencies=missing)) == "log.dependency-missing"


def test_dependencies_are_stored_first(log: Log) -> None:
    stored = log.put_object(b"epoch")
    unstored = sha("manifest")
    assert refusal(log, attestation("fund", 1, dependencies=(unstored,))) == "log.dependency-missing"
    both = tuple(sorted([stored, unstored]))
    assert refusal(log, attestation("fund", 1, dependencies=both)) == "log.dependency-missing"
    log.append(attestation("fund", 1, dependencies=(stored,)), now=100)
    assert log.put_object(b"manifest") == unstored
    log.append(attestation("fund", 2, dependencies=both), now=100)


@pytest.mark.parametrize("length", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20 + 5])
def test_objects_come_back(log: Log, length: int) -> None:
    data = bytes(i * i % 251 for i in range(1000)) * (length // 1000 + 1)
    data = data[:length]
    digest = log.put_object(data)
    assert log.put_object(data) == digest
    assert log.get_object(digest) == data
    assert all(len(part) <= 2**20 for part in log.object_parts(digest))


def test_many_objects_at_once(log: Log) -> None:
    first = log.put_object(b"one")
    digests = log.put_objects([b"two", b"one", b"two"])
    assert digests == [sha("two"), first, sha("two")]
    assert [log.get_object(d) for d in digests] == [b"two", b"one", b"two"]
    assert log.put_objects([]) == []


def test_objects_that_are_not_there_or_damaged(log: Log, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        log.get_object(sha("nothing"))
    digest = log.put_object(b"epoch")
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("UPDATE log_object_parts SET data = x'00'")
    with pytest.raises(StorageError):
        log.get_object(digest)
    with sqlite3.connect(tmp_path / "log.db") as db:
        db.execute("DELETE FROM log_object_parts")
    with pytest.raises(StorageError):
        log.get_object(digest)


def test_a_batch_is_all_or_nothing(log: Log) -> None:
    log.append(attestation("fund", 1), now=100)
    batch = [attestation("fund", 2), attestation("other", 1), attestation("fund", 4)]
    with pytest.raises(PolicyError):
        log.append_many(batch, now=100)
    assert log.size() == 1
    assert log.index_of(batch[0]) is None
    assert log.append_many([], now=100) == []
    batch[2] = attestation("fund", 3)
    assert log.append_many([*batch, batch[1]], now=100) == [1, 2, 3, 2]


def test_the_tree_is_over_the_leaves(log: Log) -> None:
    entries = [attestation(f"fund {i % 3}", i // 3 + 1) for i in range(50)]
    log.append_many(entries[:20], now=100)
    for e in entries[20:]:
        log.append(e, now=101)
    leaves = [e.leaf(100 if i < 20 else 101).encode() for i, e in enumerate(entries)]
    assert Checkpoint.of(log.checkpoint(now=102)).root == naive_merkle.mth(leaves)
    assert log.consistency(17, 50) == naive_merkle.proof(17, leaves)
    with pytest.raises(InputError):
        log.consistency(17, 51)
    assert log.wide_tile(0, 0, 50)[:32] == entries[0].leaf(100).hash
    for level, index, width in ((0, 0, 51), (1, 0, 1), (-1, 0, 1)):
        with pytest.raises(InputError):
            log.wide_tile(level, index, width)


def test_a_log_is_found_again(tmp_path: Path) -> None:
    first = open_log(tmp_path)
    first.append(attestation("fund", 1), now=100)
    note = first.checkpoint(now=100)
    again = open_log(tmp_path)
    stored = again.last_checkpoint()
    assert stored is not None
    assert stored.note == note
    assert again.append(attestation("fund", 2), now=100) == 1
    with pytest.raises(StorageError) as refused:
        Log(open_sqlite(tmp_path / "log.db"), origin="log.example/two")
    assert refused.value.code == "log.origin"
    with pytest.raises(InputError):
        Log(open_sqlite(tmp_path / "log.db"), origin="log.example/two", signer=SIGNER)


def test_a_reader_reads_and_does_not_sign(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as refused:
        Log(open_sqlite(tmp_path / "log.db"), origin=ORIGIN)
    assert refused.value.code == "log.empty"
    writer = open_log(tmp_path, released=False)
    writer.append(attestation("fund", 1), now=100)
    note = writer.checkpoint(now=100)
    reader = Log(open_sqlite(tmp_path / "log.db"), origin=ORIGIN)
    assert reader.checkpoint(now=100) == note
    with pytest.raises(StorageError) as refused:
        reader.checkpoint(now=101)
    assert refused.value.code == "log.read-only"
    with pytest.raises(StorageError):
        reader.newest("fund", now=100)
    with pytest.raises(InputError):
        Log(open_sqlite(tmp_path / "log.db"), origin=ORIGIN, released=tmp_path / "released")


def test_a_checkpoint_is_reused_while_it_is_young_and_current(log: Log) -> None:
    empty = log.checkpoint(now=100)
    assert Checkpoint.of(empty) == Checkpoint.at(ORIGIN, 0, EMPTY_ROOT, 100)
    log.append(attestation("fund", 1), now=101)
    one = log.checkpoint(now=101, max_age_s=60)
    assert log.checkpoint(now=161, max_age_s=60) == one
    later = log.checkpoint(now=162, max_age_s=60)
    assert (Checkpoint.of(later).time, Checkpoint.of(later).root) == (162, Checkpoint.of(one).root)
    log.append(attestation("fund", 2), now=163)
    assert Checkpoint.of(log.checkpoint(now=163, max_age_s=60)).size == 2
    assert [Checkpoint.of(c.note).size for c in log.checkpoints()] == [0, 1, 1, 2]
    assert [c.number for c in log.checkpoints()] == [1, 2, 3, 4]


def test_the_logs_time_never_goes_back(log: Log) -> None:
    log.append(attestation("fund", 1), now=100)
    log.append(attestation("fund", 2), now=95)
    assert log.entry(1)[0] == 100
    log.checkpoint(now=120)
    assert Checkpoint.of(log.checkpoint(now=110)).time == 120
    log.append(attestation("fund", 3), now=112)
    assert log.entry(2)[0] == 120
    for act in (lambda: log.append(attestation("fund", 4), now=109), lambda: log.checkpoint(now=109)):
        with pytest.raises(StorageError) as refused:
            act()
        assert refused.value.code == "log.clock"


def test_any_two_checkpoints_of_a_log_go_together(log: Log) -> None:
    notes = []
    for i in range(40):
        log.append(attestation("fund", i + 1), now=100 + i)
        notes.append(log.checkpoint(now=100 + i))
    signed = [POLICY.verify(note).checkpoint for note in notes]
    for i, old in enumerate(signed):
        for new in signed[i:]:
            check_append_only(old, new, log.consistency(old.size, new.size))


def grown(tmp_path: Path, name: str, *, extra: str = "") -> Log:
    """A log of five entries; with `extra`, its third entry is another one."""
    log = open_log(tmp_path / name)
    for i in range(1, 6):
        account = f"fund{extra}" if i == 3 else f"fund {i}"
        log.append(attestation(account, 1), now=100)
    log.checkpoint(now=100)
    return log


def test_a_store_put_back_behind_a_released_checkpoint_refuses_to_sign(tmp_path: Path) -> None:
    log = grown(tmp_path, "log")
    backup = tmp_path / "backup.db"
    with sqlite3.connect(tmp_path / "log" / "log.db") as db, sqlite3.connect(backup) as to:
        db.backup(to)
    log.append(attestation("lost", 1), now=101)
    log.checkpoint(now=101)
    log.storage.close()
    for suffix in ("", "-wal", "-shm"):
        (tmp_path / "log" / f"log.db{suffix}").unlink(missing_ok=True)
    shutil.copy(backup, tmp_path / "log" / "log.db")
    with pytest.raises(StorageError) as refused:
        open_log(tmp_path / "log")
    assert refused.value.code == "log.rollback"
    # Without the memory outside the store nothing shows, and two checkpoints of six entries come to differ.
    forgetful = open_log(tmp_path / "log", released=False)
    forgetful.append(attestation("found", 1), now=102)
    forgetful.checkpoint(now=102)
    with pytest.raises(StorageError) as refused:
        open_log(tmp_path / "log")
    assert refused.value.code == "log.fork"


def test_a_store_replaced_under_a_running_log_refuses_to_sign(tmp_path: Path) -> None:
    log, other = grown(tmp_path, "log"), grown(tmp_path, "other", extra=" forged")
    other.append(attestation("more", 1), now=101)
    swapped = Log.__new__(Log)
    swapped.__dict__.update(log.__dict__, storage=other.storage)
    with pytest.raises(StorageError) as refused:
        swapped.checkpoint(now=102)
    assert refused.value.code == "log.fork"
    last = other.last_checkpoint()
    assert last is not None
    assert last.size == 5


def test_an_emptied_store_refuses_to_start_again(tmp_path: Path) -> None:
    grown(tmp_path, "log").storage.close()
    for path in (tmp_path / "log").glob("log.db*"):
        path.unlink()
    with pytest.raises(StorageError) as refused:
        open_log(tmp_path / "log")
    assert refused.value.code == "log.rollback"


def test_a_damaged_memory_is_not_a_fresh_start(tmp_path: Path) -> None:
    grown(tmp_path, "log")
    released = tmp_path / "log" / "released"
    note = released.read_bytes()
    for damaged in (b"", note[:-10], note.replace(b"time 100", b"time 101")):
        released.write_bytes(damaged)
        with pytest.raises((DecodeError, ProofRejected)):
            open_log(tmp_path / "log")


def test_a_memory_signed_with_a_former_key_needs_that_key(tmp_path: Path) -> None:
    grown(tmp_path, "log")
    store, released = open_sqlite(tmp_path / "log" / "log.db"), tmp_path / "log" / "released"
    new = Signer(ORIGIN, key("the next one"))
    with pytest.raises(ProofRejected):
        Log(store, origin=ORIGIN, signer=new, released=released)
    log = Log(store, origin=ORIGIN, signer=new, released=released, former=(SIGNER.key,))
    LogPolicy(ORIGIN, (new.key,)).verify(log.checkpoint(now=103))


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM log_tiles",
        "UPDATE log_tiles SET hashes = zeroblob(160)",
        "DELETE FROM log_entries WHERE idx = 4",
    ],
)
def test_a_damaged_tree_refuses_to_sign(tmp_path: Path, damage: str) -> None:
    log = grown(tmp_path, "log")
    with sqlite3.connect(tmp_path / "log" / "log.db") as db:
        db.execute(damage)
    for act in (lambda: log.checkpoint(now=102), lambda: open_log(tmp_path / "log")):
        with pytest.raises(StorageError) as refused:
            act()
        assert refused.value.code == "log.damaged"


def test_a_damaged_entry_gets_no_receipt(tmp_path: Path) -> None:
    log = grown(tmp_path, "log")
    note = log.checkpoint(now=100)
    other = attestation("forged", 1).encode()
    with sqlite3.connect(tmp_path / "log" / "log.db") as db:
        db.execute("UPDATE log_entries SET data = ? WHERE idx = 1", (other,))
    with pytest.raises(ProofRejected):
        log.receipt(1, note)
    assert Receipt.decode(log.receipt(2, note)).index == 2


def test_receipts_are_under_the_logs_own_checkpoints(log: Log) -> None:
    log.append(attestation("fund", 1), now=100)
    note = log.checkpoint(now=100)
    log.append(attestation("fund", 2), now=100)
    for index in (-1, 1, 2):
        with pytest.raises(InputError):
            log.receipt(index, note)
    foreign = Signer("log.example/two", key("two"))
    with pytest.raises(InputError):
        log.receipt(0, Checkpoint.at(foreign.name, 1, Checkpoint.of(note).root, 100).sign(foreign))
    with pytest.raises(InputError):
        log.receipt(0, Checkpoint.at(ORIGIN, 9, Checkpoint.of(note).root, 100).sign(SIGNER))
    with pytest.raises(ProofRejected):
        log.receipt(0, Checkpoint.at(ORIGIN, 2, sha("another root"), 100).sign(SIGNER))


def test_cosignatures_are_kept_with_the_checkpoint(log: Log) -> None:
    log.append(attestation("fund", 1), now=100)
    note = log.checkpoint(now=100)
    checkpoint = Checkpoint.of(note)
    w = [cosigner(i) for i in range(3)]
    policy = LogPolicy(ORIGIN, (SIGNER.key,), tuple(x.key for x in w), 2)

    def with_line(i: int, time: int) -> bytes:
        return note + w[i].cosign(checkpoint, time).line().encode()

    log.add_cosignatures(with_line(0, 200), policy)
    log.add_cosignatures(with_line(1, 201) + cosigner(9).cosign(checkpoint, 5).line().encode(), policy)
    merged = log.add_cosignatures(with_line(0, 300), policy)
    assert policy.verify(merged).cosigned == (("witness-0.example", 300), ("witness-1.example", 201))
    assert merged.count("—".encode()) == 3  # the stranger's line was not kept, the older one of witness 0 replaced
    assert log.checkpoint(now=130, max_age_s=60) == merged
    policy.verify(Receipt.decode(log.receipt(0, merged)).note)
    with pytest.raises(ProofRejected):
        log.add_cosignatures(with_line(2, 200).replace(b"time 100", b"time 101"), policy)
    log.append(attestation("fund", 2), now=131)
    log.checkpoint(now=131)
    with pytest.raises(PolicyError) as refused:
        log.add_cosignatures(with_line(2, 200), policy)
    assert refused.value.code == "log.superseded"


def test_writers_in_many_threads_take_turns(tmp_path: Path) -> None:
    logs = [open_log(tmp_path), open_log(tmp_path)]
    failures: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for i in range(1, 26):
                logs[number % 2].append(attestation(f"fund {number}", i), now=100)
                if i % 5 == 0:
                    logs[number % 2].checkpoint(now=100)
        except BaseException as e:
            failures.append(e)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    assert logs[0].size() == 100
    leaves = [Entry.decode(s.data).leaf(s.time).encode() for s in logs[0].entries()]
    assert Checkpoint.of(logs[0].checkpoint(now=100)).root == naive_merkle.mth(leaves)
    for c in logs[0].checkpoints():
        assert Checkpoint.of(c.note).root == naive_merkle.mth(leaves[: c.size])


class LogMachine(RuleBasedStateMachine):
    """Any order of appends, good and bad, against lists and dicts."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.log = open_log(Path(self.folder.name))
        self.entries: list[Entry] = []
        self.now = 100
        self.heads = {"a": 0, "b": 0}
        self.seen: list[Checkpoint] = []

    def teardown(self) -> None:
        self.log.storage.close()
        self.folder.cleanup()

    @rule(account=st.sampled_from("ab"), step=st.integers(-1, 2), payload=st.sampled_from([b"x", b"y"]))
    def attest(self, account: str, step: int, payload: bytes) -> None:
        sequence = self.heads[account] + step
        if sequence < 1:
            return
        entry = attestation(account, sequence, payload=payload)
        if entry in self.entries:
            assert self.log.append(entry, now=self.now) == self.entries.index(entry)
        elif step == 1:
            assert self.log.append(entry, now=self.now) == len(self.entries)
            self.entries.append(entry)
            self.heads[account] = sequence
        else:
            with pytest.raises(PolicyError) as refused:
                self.log.append(entry, now=self.now)
            assert refused.value.code == ("log.sequence-gap" if step == 2 else "log.sequence-taken")

    @rule(payload=st.binary(max_size=2))
    def register(self, payload: bytes) -> None:
        entry = Entry("source-registry", payload)
        if entry not in self.entries:
            self.entries.append(entry)
        assert self.log.append(entry, now=self.now) == self.entries.index(entry)

    @rule(passed=st.integers(0, 30))
    def wait(self, passed: int) -> None:
        self.now += passed

    @rule()
    def reopen(self) -> None:
        self.log.storage.close()
        self.log = open_log(Path(self.folder.name))

    @rule(max_age_s=st.integers(0, 20))
    def sign(self, max_age_s: int) -> None:
        new = POLICY.verify(self.log.checkpoint(now=self.now, max_age_s=max_age_s)).checkpoint
        assert new.size == len(self.entries)
        for old in self.seen:
            check_append_only(old, new, self.log.consistency(old.size, new.size) if old.size else [])
        self.seen.append(new)

    @precondition(lambda self: self.entries)
    @invariant()
    def it_is_the_list(self) -> None:
        stored = list(self.log.entries())
        assert [Entry.decode(s.data) for s in stored] == self.entries
        times = [s.time for s in stored]
        assert times == sorted(times)


LogMachine.TestCase.settings = settings(max_examples=15, stateful_step_count=25, deadline=None)
test_any_order_of_calls = LogMachine.TestCase


def test_opening_while_another_process_appends_and_releases_is_no_rollback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory is read before the snapshot; after it, the other's newer checkpoint would look like a rollback."""
    other = open_log(tmp_path)
    other.append(attestation("fund", 1), now=100)
    other.checkpoint(now=100)
    plain = SqlStorage.read

    @contextmanager
    def raced(self: SqlStorage) -> Iterator[Snapshot]:
        with plain(self) as snapshot:
            snapshot.tail()  # pins what this reader sees
            monkeypatch.setattr(SqlStorage, "read", plain)
            sequence = other.size() + 1
            other.append(attestation("fund", sequence), now=101)
            other.checkpoint(now=101)
            monkeypatch.setattr(SqlStorage, "read", raced)
            yield snapshot

    monkeypatch.setattr(SqlStorage, "read", raced)
    late = open_log(tmp_path)
    monkeypatch.setattr(SqlStorage, "read", plain)
    late.storage.close()
    other.storage.close()
