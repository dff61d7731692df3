"""The export bundle: deterministic, complete, and every way to falsify one found without the log."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marginseal import __version__
from marginseal.errors import DecodeError, InputError, MarginSealError, ProofRejected, StorageError
from marginseal.log.bundle import Bundle, Description
from marginseal.log.bundle_check import bundle_faults, verify_bundle
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from marginseal.log.merkle import CompactTree
from marginseal.log.note import Signer
from marginseal.log.policy import LogPolicy
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, cosigner, key, open_log, sha


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Twelve entries of three accounts over five objects, four checkpoints."""
    log = open_log(tmp_path_factory.mktemp("log"))
    log.checkpoint(now=90)
    objects = sorted(log.put_objects([f"object {i}".encode() * 1000 for i in range(5)]))
    log.put_object(b"stored, and nothing depends on it")
    for i in range(12):
        chosen = tuple(objects[i % 4 : i % 4 + 2])
        log.append(attestation(f"fund {i % 3}", i // 3 + 1, dependencies=chosen), now=100 + i)
        if i in (4, 8, 11):
            log.checkpoint(now=100 + i)
    return log


@pytest.fixture
def bundle(log: Log, tmp_path: Path) -> Path:
    export_bundle(log, tmp_path / "bundle")
    return tmp_path / "bundle"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def codes(path: Path, policy: LogPolicy = POLICY) -> list[str]:
    return [fault.code for fault in bundle_faults(Bundle(path), policy)]


def rewrite(path: Path, **changes: Any) -> None:
    """Change bundle.json and keep its form."""
    document = json.loads((path / "bundle.json").read_text()) | changes
    (path / "bundle.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def replace_entries(path: Path, entries: list[tuple[int, Entry]], *, sign: bool = True) -> None:
    """A log operator's forgery: other entries, with counts, root and (with `sign`) the one checkpoint to fit."""
    data, offsets, tree = b"", b"", CompactTree()
    for time, entry in entries:
        offsets += len(data).to_bytes(8, "big")
        encoded = entry.encode()
        data += time.to_bytes(8, "big") + len(encoded).to_bytes(4, "big") + encoded
        tree.append(entry.leaf(time).hash)
    (path / "entries.bin").write_bytes(data)
    (path / "entries.idx").write_bytes(offsets)
    rewrite(path, entries=tree.size, root=tree.root().hex())
    if sign:
        write_notes(path, [Checkpoint.at(ORIGIN, tree.size, tree.root(), 120).sign(SIGNER)])


def write_notes(path: Path, notes: list[bytes]) -> None:
    (path / "checkpoints.bin").write_bytes(b"".join(len(n).to_bytes(4, "big") + n for n in notes))
    rewrite(path, checkpoints=len(notes))


def test_a_bundle_holds_the_whole_log(log: Log, bundle: Path) -> None:
    opened = Bundle(bundle)
    last = log.last_checkpoint()
    assert last is not None
    assert opened.description == Description("marginseal", __version__, ORIGIN, 12, 4, 5, Checkpoint.of(last.note).root)
    assert verify_bundle(opened, POLICY) == opened.description
    assert codes(bundle) == []
    assert [(e.index, e.time, e.entry) for e in opened.entries()] == [
        (s.index, s.time, Entry.decode(s.data)) for s in log.entries()
    ]
    assert [e.index for e in opened.entries(7, 10)] == [7, 8, 9]
    assert list(opened.entries(5, 5)) == []
    assert list(opened.checkpoints()) == [c.note for c in log.checkpoints()]
    for entry in opened.entries():
        for digest in entry.entry.dependencies:
            assert opened.object(digest) == log.get_object(digest)
    unused = sha("stored, and nothing depends on it")
    assert not opened.has_object(unused)
    with pytest.raises(InputError):
        opened.object(unused)
    for start, stop in ((-1, 3), (3, 2), (0, 13)):
        with pytest.raises(InputError):
            list(opened.entries(start, stop))


def test_the_same_log_gives_the_same_bytes(log: Log, bundle: Path, tmp_path: Path) -> None:
    export_bundle(log, tmp_path / "again")
    assert files(tmp_path / "again") == files(bundle)


def test_the_bundle_names_the_software_that_decodes_it(bundle: Path) -> None:
    assert json.loads((bundle / "bundle.json").read_text())["decoder"] == {"name": "marginseal", "version": __version__}
    rewrite(bundle, version=2, decoder={"name": "marginseal", "version": "7.0"})
    with pytest.raises(DecodeError, match=r"marginseal 7\.0"):
        Bundle(bundle)


def test_a_bundle_ends_at_the_newest_checkpoint(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append(attestation("fund", 1), now=100)
    with pytest.raises(InputError) as refused:
        export_bundle(log, tmp_path / "bundle")
    assert refused.value.code == "log.no-checkpoint"
    log.checkpoint(now=100)
    log.append(attestation("fund", 2), now=101)
    assert export_bundle(log, tmp_path / "bundle").entries == 1
    assert codes(tmp_path / "bundle") == []
    with pytest.raises(InputError) as refused:
        export_bundle(log, tmp_path / "bundle")
    assert refused.value.code == "bundle.exists"


def test_an_empty_log_has_a_bundle(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.checkpoint(now=100)
    export_bundle(log, tmp_path / "bundle")
    assert codes(tmp_path / "bundle") == []
    assert list(Bundle(tmp_path / "bundle").entries()) == []


def test_progress_is_shown(log: Log, bundle: Path, tmp_path: Path) -> None:
    written: list[tuple[int, int]] = []
    checked: list[tuple[int, int]] = []
    export_bundle(log, tmp_path / "again", progress=lambda done, of: written.append((done, of)))
    verify_bundle(Bundle(bundle), POLICY, progress=lambda done, of: checked.append((done, of)))
    assert written == checked == [(i, 12) for i in range(1, 13)]


def test_nothing_is_left_when_an_export_fails(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append(attestation("fund", 1, dependencies=(log.put_object(b"epoch"),)), now=100)
    log.checkpoint(now=100)
    with sqlite3.connect(tmp_path / "log" / "log.db") as db:
        db.execute("UPDATE log_object_parts SET data = x'00'")
    with pytest.raises(StorageError) as refused:
        export_bundle(log, tmp_path / "out" / "bundle")
    assert refused.value.code == "log.damaged"
    assert list((tmp_path / "out").iterdir()) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError) as refused_too:
        export_bundle(log, tmp_path / "file" / "bundle")
    assert refused_too.value.code == "file.unwritable"


def entries_of(path: Path) -> list[tuple[int, Entry]]:
    return [(e.time, e.entry) for e in Bundle(path).entries()]


# Each fault that a log operator, or whoever copied the bundle, can put into it, and the code that names it.


def drop_last(path: Path) -> None:
    replace_entries(path, entries_of(path)[:-1], sign=False)


def swap(path: Path) -> None:
    entries = entries_of(path)
    entries[1], entries[2] = (entries[1][0], entries[2][1]), (entries[2][0], entries[1][1])
    replace_entries(path, entries, sign=False)


def second_attestation(path: Path) -> None:
    replace_entries(path, [*entries_of(path), (112, attestation("fund 0", 4, payload=b"another"))])


def gap(path: Path) -> None:
    replace_entries(path, [*entries_of(path), (112, attestation("fund 0", 6))])


def branch(path: Path) -> None:
    replace_entries(path, [*entries_of(path), (112, attestation("fund 0", 5, prev=sha("elsewhere")))])


def stolen_book(path: Path) -> None:
    books = attestation("fund 0", 1).books
    replace_entries(path, [*entries_of(path), (112, attestation("thief", 1, books=books))])


def missing_dependency(path: Path) -> None:
    replace_entries(path, [*entries_of(path), (112, attestation("fund 0", 5, dependencies=(sha("none"),)))])


def backdated_entry(path: Path) -> None:
    entries = entries_of(path)
    replace_entries(path, [*entries, (entries[-1][0] - 1, attestation("fund 0", 5))])


def backdated_checkpoint(path: Path) -> None:
    tree = CompactTree()
    for time, entry in entries_of(path):
        tree.append(entry.leaf(time).hash)
    write_notes(path, [Checkpoint.at(ORIGIN, 12, tree.root(), 110).sign(SIGNER)])


def entry_before_its_checkpoint(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    late = Checkpoint.of(notes[1])
    notes[1] = Checkpoint.at(ORIGIN, late.size, late.root, 106).sign(SIGNER)
    write_notes(path, notes)


def forked_checkpoint(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    write_notes(path, [*notes[:2], Checkpoint.at(ORIGIN, 7, sha("root"), 107).sign(SIGNER), *notes[2:]])


def checkpoint_ahead(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    write_notes(path, [*notes, Checkpoint.at(ORIGIN, 13, sha("root"), 120).sign(SIGNER)])


def shrinking_checkpoints(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    write_notes(path, [*notes, notes[1]])


def no_last_checkpoint(path: Path) -> None:
    write_notes(path, list(Bundle(path).checkpoints())[:-1])


def no_checkpoints(path: Path) -> None:
    write_notes(path, [])


def foreign_signature(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    stranger = Checkpoint.of(notes[1]).sign(Signer(ORIGIN, key("stranger")))
    write_notes(path, [notes[0], stranger, *notes[2:]])


def no_time(path: Path) -> None:
    notes = list(Bundle(path).checkpoints())
    c = Checkpoint.of(notes[-1])
    write_notes(path, [*notes[:-1], Checkpoint(ORIGIN, c.size, c.root).sign(SIGNER)])


def other_root(path: Path) -> None:
    rewrite(path, root=sha("root").hex())


def other_origin(path: Path) -> None:
    rewrite(path, origin="log.example/two")


def object_changed(path: Path) -> None:
    victim = next(p for p in sorted(path.rglob("objects/*/*")))
    victim.write_bytes(victim.read_bytes() + b" ")


def object_removed(path: Path) -> None:
    next(p for p in sorted(path.rglob("objects/*/*"))).unlink()


def object_misplaced(path: Path) -> None:
    victim = next(p for p in sorted(path.rglob("objects/*/*")))
    victim.rename(path / "objects" / victim.name)


def object_link(path: Path) -> None:
    victim = next(p for p in sorted(path.rglob("objects/*/*")))
    victim.unlink()
    victim.symlink_to("/dev/zero")


def object_pipe(path: Path) -> None:
    victim = next(p for p in sorted(path.rglob("objects/*/*")))
    victim.unlink()
    os.mkfifo(victim)


def shelf_link(path: Path) -> None:
    """The same objects, from outside: what else lies there would be read as well, and may never end."""
    shelf = next(p for p in sorted((path / "objects").iterdir()))
    shelf.rename(path.parent / "shelf")
    shelf.symlink_to(path.parent / "shelf")


def all_objects_link(path: Path) -> None:
    (path / "objects").rename(path.parent / "all objects")
    (path / "objects").symlink_to(path.parent / "all objects")


def trailing_entry_bytes(path: Path) -> None:
    with open(path / "entries.bin", "ab") as f:
        f.write(b"\x00")


def trailing_offsets(path: Path) -> None:
    with open(path / "entries.idx", "ab") as f:
        f.write(bytes(8))


def trailing_notes(path: Path) -> None:
    with open(path / "checkpoints.bin", "ab") as f:
        f.write(bytes(1))


def wrong_offset(path: Path) -> None:
    offsets = bytearray((path / "entries.idx").read_bytes())
    offsets[23] ^= 1
    (path / "entries.idx").write_bytes(offsets)


def truncated_entries(path: Path) -> None:
    (path / "entries.bin").write_bytes((path / "entries.bin").read_bytes()[:-5])


def huge_entry(path: Path) -> None:
    data = (path / "entries.bin").read_bytes()
    (path / "entries.bin").write_bytes(data[:8] + b"\xff\xff\xff\xff" + data[12:])


def huge_note(path: Path) -> None:
    (path / "checkpoints.bin").write_bytes(b"\xff\xff\xff\xff")


def more_entries_announced(path: Path) -> None:
    rewrite(path, entries=2**40)


def no_entries_file(path: Path) -> None:
    (path / "entries.bin").unlink()


@pytest.mark.parametrize(
    ("falsify", "expected"),
    [
        (drop_last, "log.truncated"),
        (swap, "log.fork"),
        (second_attestation, "log.sequence-taken"),
        (gap, "log.sequence-gap"),
        (branch, "log.prev-mismatch"),
        (stolen_book, "log.book-taken"),
        (missing_dependency, "log.dependency-missing"),
        (backdated_entry, "log.backdated"),
        (backdated_checkpoint, "log.backdated"),
        (entry_before_its_checkpoint, "log.backdated"),
        (forked_checkpoint, "log.fork"),
        (checkpoint_ahead, "log.truncated"),
        (shrinking_checkpoints, "log.rollback"),
        (no_last_checkpoint, "log.unsigned"),
        (no_checkpoints, "log.unsigned"),
        (foreign_signature, "note.unsigned"),
        (no_time, "log.no-time"),
        (other_root, "bundle.root"),
        (other_origin, "log.origin"),
        (object_changed, "bundle.object"),
        (object_removed, "bundle.object"),
        (object_misplaced, "bundle.object"),
        (object_link, "bundle.object"),
        (object_pipe, "bundle.object"),
        (shelf_link, "bundle.object"),
        (all_objects_link, "bundle.object"),
        (trailing_entry_bytes, "bundle.malformed"),
        (trailing_offsets, "bundle.malformed"),
        (trailing_notes, "bundle.malformed"),
        (wrong_offset, "bundle.malformed"),
        (truncated_entries, "bundle.truncated"),
        (huge_entry, "bundle.malformed"),
        (huge_note, "bundle.malformed"),
        (more_entries_announced, "bundle.truncated"),
        (no_entries_file, "file.missing"),
    ],
    ids=lambda x: x.__name__ if callable(x) else "",
)
def test_every_falsification_is_named(bundle: Path, falsify: Callable[[Path], None], expected: str) -> None:
    falsify(bundle)
    assert expected in codes(bundle)
    with pytest.raises(ProofRejected):
        verify_bundle(Bundle(bundle), POLICY)


def test_a_forger_without_a_fault_is_a_log(bundle: Path) -> None:
    """The helper that forges adds none of its own: with good entries its bundle is accepted."""
    replace_entries(bundle, [*entries_of(bundle), (112, attestation("fund 0", 5))])
    assert codes(bundle) == []


def test_the_fault_names_the_entry(bundle: Path) -> None:
    second_attestation(bundle)
    (fault,) = bundle_faults(Bundle(bundle), POLICY)
    assert fault.index == 12
    with pytest.raises(ProofRejected, match="entry 12"):
        verify_bundle(Bundle(bundle), POLICY)


def test_several_faults_are_all_found(bundle: Path) -> None:
    entries = [*entries_of(bundle), (112, attestation("fund 0", 4, payload=b"x")), (111, attestation("fund 1", 9))]
    replace_entries(bundle, entries)
    object_changed(bundle)
    assert codes(bundle) == ["bundle.object", "log.sequence-taken", "log.backdated", "log.sequence-gap"]


def test_a_bundle_cut_back_to_an_earlier_checkpoint_is_found_by_who_kept_a_later_one(log: Log, bundle: Path) -> None:
    """The end of a log may be cut off with the checkpoints over it: what is left is a log, of an earlier day."""
    kept = list(Bundle(bundle).checkpoints())
    last = Checkpoint.of(kept[-1])
    before = [(e.time, e.entry) for e in Bundle(bundle).entries()]
    size = Checkpoint.of(kept[-2]).size
    replace_entries(bundle, before[:size], sign=False)
    write_notes(bundle, kept[:-1])
    named = {d for _, e in before[:size] for d in e.dependencies}
    for path in [p for p in bundle.rglob("objects/*/*") if bytes.fromhex(p.name) not in named]:
        path.unlink()
    rewrite(bundle, objects=len(named))
    assert codes(bundle) == []
    other = Checkpoint.at(ORIGIN, 3, bytes(32), 110).sign(SIGNER)
    foreign = Checkpoint.at(ORIGIN, 3, bytes(32), 110).sign(Signer(ORIGIN, key("somebody")))
    for seen, expected in (
        (kept[:-1], []),
        ([kept[-1]], ["log.truncated"]),
        ([other], ["log.fork"]),
        ([*kept, other, foreign], ["note.unsigned", "log.fork", "log.truncated"]),
    ):
        assert [f.code for f in bundle_faults(Bundle(bundle), POLICY, seen=seen)] == expected
    assert last.size > size


def test_a_pipe_for_a_description_is_no_bundle(bundle: Path) -> None:
    (bundle / "bundle.json").unlink()
    os.mkfifo(bundle / "bundle.json")
    with pytest.raises(InputError, match=r"file\.missing"):
        Bundle(bundle)


def test_the_newest_checkpoint_carries_the_witnesses(log: Log, tmp_path: Path) -> None:
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (cosigner(0).key,), 1)
    shutil.copytree(Path(log.storage.engine.url.database).parent, tmp_path / "copy")  # type: ignore[attr-defined]
    copy = open_log(tmp_path / "copy")
    export_bundle(copy, tmp_path / "before")
    assert codes(tmp_path / "before", policy) == ["log.witnesses"]
    last = copy.last_checkpoint()
    assert last is not None
    line = cosigner(0).cosign(Checkpoint.of(last.note), 200).line().encode()
    copy.add_cosignatures(last.note + line, policy)
    export_bundle(copy, tmp_path / "after")
    assert codes(tmp_path / "after", policy) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "marginseal-log-bundle"}',
        '{"format": "marginseal-log-bundle", "version": 1, "decoder": []}',
        '{"a": 1, "a": 2}',
        "NaN",
    ],
)
def test_descriptions_that_are_none(bundle: Path, text: str) -> None:
    (bundle / "bundle.json").write_text(text)
    with pytest.raises(DecodeError):
        Bundle(bundle)


@pytest.mark.parametrize(
    "changes",
    [
        {"entries": -1},
        {"entries": True},
        {"entries": 12.0},
        {"entries": 2**70},
        {"version": True},
        {"root": "zz" * 32},
        {"root": "AB" * 32},
        {"root": ""},
        {"origin": 5},
        {"decoder": {"name": "x"}},
        {"decoder": {"name": "x", "version": "1", "more": ""}},
        {"more": 1},
    ],
)
def test_descriptions_with_a_fault(bundle: Path, changes: dict[str, Any]) -> None:
    rewrite(bundle, **changes)
    with pytest.raises(DecodeError):
        Bundle(bundle)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.data())
def test_any_changed_byte_is_a_fault(log: Log, bundle: Path, data: st.DataObject) -> None:
    original = files(bundle)
    name = data.draw(st.sampled_from(sorted(original)))
    at = data.draw(st.integers(0, len(original[name]) - 1))
    byte = data.draw(st.integers(0, 255))
    if original[name][at] == byte:
        return
    (bundle / name).write_bytes(original[name][:at] + bytes([byte]) + original[name][at + 1 :])
    try:
        found = codes(bundle)
    except MarginSealError as e:
        found = [e.code]
    if name == "bundle.json" and not found:
        # The decoder's name and version are words for people; everything else in there is checked.
        fresh = Bundle(bundle).description
        assert (fresh.decoder, fresh.decoder_version) != ("marginseal", __version__)
    else:
        assert found
    (bundle / name).write_bytes(original[name])


def test_reading_a_range_of_a_damaged_bundle(bundle: Path) -> None:
    offsets = (bundle / "entries.idx").read_bytes()
    for wrong in (b"\xff" * 8, (2**62).to_bytes(8, "big"), (10**9).to_bytes(8, "big"), (1).to_bytes(8, "big")):
        (bundle / "entries.idx").write_bytes(offsets[:24] + wrong + offsets[32:])
        with pytest.raises(DecodeError):
            list(Bundle(bundle).entries(3, 4))
    (bundle / "entries.idx").write_bytes(offsets[:10])
    rewrite(bundle, entries=2**62)
    for start in (3, 2**44, 2**61):
        with pytest.raises(DecodeError):
            list(Bundle(bundle).entries(start, start + 1))


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Ten times the entries, over the same accounts: the peaks of export and check stay within a quarter."""
    peaks = []
    for count in (600, 6000):
        log = open_log(tmp_path / f"log {count}")
        for start in range(0, count, 600):
            batch = [attestation(f"fund {i % 20}", i // 20 + 1) for i in range(start, start + 600)]
            log.append_many(batch, now=100)
            log.checkpoint(now=100)
        tracemalloc.start()
        export_bundle(log, tmp_path / f"bundle {count}")
        verify_bundle(Bundle(tmp_path / f"bundle {count}"), POLICY)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.25 * peaks[0]
