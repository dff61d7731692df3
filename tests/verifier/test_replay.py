"""Replay of bundles: what it finds, that it names the entry, that processes agree, and that memory stays flat."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from marginseal.log.bundle import Bundle
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.publish import publish_manifest, publish_record
from marginseal.records.envelope import peek, sign
from marginseal.records.epoch import EpochRecord
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from tests.memory import least_peak
from tests.records.world import key
from tests.simulator.parties import signed_anyway, venue_says
from tests.simulator.world import (
    OPERATOR,
    SOURCES,
    Fund,
    World,
    policy,
    policy_document,
    proofs_of,
    source_registry,
    venue_registry,
)
from verifier.replay import run as module
from verifier.replay.held import Kept
from verifier.replay.records import Finding
from verifier.replay.run import ranges, replay


def bundled(world: World, path: Path) -> Bundle:
    world.log.checkpoint(now=world.now)
    export_bundle(world.log, path)
    return Bundle(path)


def play(folder: Path, rounds: int = 2, funds: int = 2) -> tuple[World, list[Fund]]:
    world = World.new(folder / "log")
    world.epoch("epoch 0")
    made = [world.fund(f"fund-{i + 1}") for i in range(funds)]
    for number in range(rounds):
        if number:
            world.now += 60
            world.epoch(f"epoch {number}", str(1 + number / 1000))
        for fund in made:
            fund.attest()
    return world, made


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("replay")
    world, _ = play(folder, rounds=3)
    return bundled(world, folder / "bundle")


def codes(bundle: Bundle, **changes: Any) -> list[tuple[str, int | None]]:
    return [(f.code, f.index) for f in replay(bundle, policy(**changes).trust, workers=1).findings]


def test_an_honest_log_has_nothing_wrong(honest: Bundle) -> None:
    steps: list[tuple[str, int, int]] = []
    found = replay(honest, policy().trust, workers=1, progress=lambda *step: steps.append(step))
    assert found.findings == ()
    assert found.sound
    assert (found.attestations, found.proofs, found.records, found.accounts) == (6, 6, 10, 2)
    assert (len(found.epochs), found.rebuilt) == (3, 3)
    assert [n for _, _, n in found.epochs] == [2, 2, 2]
    assert found.continuity == {"first": 2, "same": 4}
    assert steps[-1] == ("attestations", 16, 16)


def test_all_processes_find_the_same(honest: Bundle) -> None:
    asked = policy(provers=[OPERATOR.public.raw.hex()]).trust
    alone, together = replay(honest, asked, workers=1), replay(honest, asked, workers=2)
    assert alone.findings == together.findings
    assert {f.code for f in together.findings} == {"signature.threshold"}
    a, b = alone.document(), together.document()
    for varies in ("seconds", "workers"):
        a.pop(varies), b.pop(varies)
    assert a == b


WORKER = """
from concurrent.futures import ProcessPoolExecutor
from verifier.replay import run

def found():
    import os, sys, verifier
    return verifier.__file__, "verifier.replay.preload" in sys.modules, os.environ["OPENBLAS_NUM_THREADS"]

if __name__ == "__main__":
    with ProcessPoolExecutor(1, mp_context=run._fork_server()) as pool:
        print(*pool.submit(found).result())
"""


def test_workers_find_the_modules_of_this_process_and_none_in_the_current_folder(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for name in ("verifier", "numpy"):
        (here / name).mkdir(parents=True)
        (here / name / "__init__.py").write_text("raise SystemExit('not this one')")
    elsewhere.mkdir()
    (elsewhere / "script.py").write_text(WORKER)
    root = Path(module.__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    command = [sys.executable, str(elsewhere / "script.py")]
    done = subprocess.run(command, cwd=here, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout.split() == [str(root / "verifier" / "__init__.py"), "True", "1"], done.stderr


def test_small_ranges_change_nothing(honest: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """The predecessor of an attestation, and its epoch, may stand in another range."""
    monkeypatch.setattr(module, "ranges", lambda bundle, size: ranges(bundle, 1))
    assert codes(honest) == []
    covered = [i for part in ranges(honest, 5) for i in range(part.start, part.stop)]
    assert covered == list(range(honest.description.entries))


def test_only_the_wrong_proof_is_named(tmp_path: Path) -> None:
    world, (fund, other) = play(tmp_path, rounds=1)
    for each in (fund, other):
        world.now += 1
        each.attest()
    world.now += 1
    published = [p for s in SOURCES for p in fund.publish(s)]
    submission = fund.submission(published)
    proof = bytearray(proofs_of(submission, world.epochs[-1], 3)[0])
    proof[-48] ^= 0x20  # the last point negated: well formed, not valid
    signed_anyway(fund, submission, [bytes(proof)], published)
    world.now += 1
    other.attest()
    report = replay(bundled(world, tmp_path / "bundle"), policy().trust, workers=1)
    index = world.log.attestation("fund-1", 3)
    assert index is not None
    expected = Finding("verify.pairing", "the proof's openings do not hold", index.index, "fund-1", 3)
    assert report.findings == (expected,)


def test_an_epoch_without_its_snapshot_is_not_called_rebuilt(tmp_path: Path) -> None:
    world = World.new(tmp_path / "log")
    world.epoch("bare", objects=False)
    world.fund().attest()
    bundle = bundled(world, tmp_path / "bundle")
    found = replay(bundle, policy(oracles=None).trust, workers=1)
    assert (found.rebuilt, found.findings) == (0, ())
    assert [c for c, _ in codes(bundle)] == ["replay.reports"]


def test_an_epoch_of_another_universe_supersedes_nothing(tmp_path: Path) -> None:
    """As for a venue and for the service: an operator may price two of them at once."""
    world, (fund,) = play(tmp_path, rounds=1, funds=1)
    record = peek(EpochRecord, world.epoch_records[world.epochs[0].digest])
    other = replace(record, universe=bytes(32), epoch=bytes(32), time=record.time + 60, expires=record.expires + 60)
    world.now += 60
    at = publish_record(world.log, LogKind.EPOCH, sign(other, [OPERATOR]), now=world.now)
    world.now += 150
    fund.attest()
    assert venue_says(world, fund) == []
    assert {index for _, index in codes(bundled(world, tmp_path / "bundle"))} == {at}  # which has no universe at all


def test_records_that_do_not_follow(tmp_path: Path) -> None:
    """Registries that go back or move a venue, strangers' signatures, kinds nobody knows, accounts confused."""
    world, _ = play(tmp_path, rounds=1, funds=1)
    log, now = world.log, world.now
    moved = venue_registry(2, ("venue-b", "venue-a", "venue-c"))
    stranger = key(Role.OPERATOR, "stranger")
    at = log.size()
    publish_record(log, LogKind.SOURCE_REGISTRY, sign(source_registry(1, venue_a={}), [OPERATOR]), now=now)
    publish_record(log, LogKind.VENUE_REGISTRY, sign(moved, [OPERATOR]), now=now)
    publish_record(log, LogKind.SOURCE_REGISTRY, sign(source_registry(3), [stranger]), now=now)
    log.append(Entry("weather-report", b"fair"), now=now)
    log.append(Entry(LogKind.MANIFEST, b"not an envelope", account="fund-1"), now=now)
    found = codes(bundled(world, tmp_path / "bundle"))
    assert found == [
        ("replay.registry-version", at),
        ("continuity.rows", at + 1),
        ("signature.threshold", at + 2),
        ("replay.kind", at + 3),
        ("json.malformed", at + 4),
    ]


def test_an_attestation_whose_records_are_not_in_the_log(tmp_path: Path) -> None:
    world = World.new(tmp_path / "log")
    world.epoch("one")
    fund = world.fund()
    hidden = replace(world, venues=sign(venue_registry(7), [OPERATOR]))
    fund.world = hidden
    fund.attest()
    assert [c for c, _ in codes(bundled(world, tmp_path / "bundle"))] == ["replay.venue-registry"]


def test_an_attestation_that_the_log_has_before_what_it_names(tmp_path: Path) -> None:
    """Registry and manifest come after it: a venue says the same as the auditor."""
    world = World.new(tmp_path / "log")
    world.epoch("one")
    fund = world.fund()
    late = sign(venue_registry(7), [OPERATOR])
    fund.world = replace(world, venues=late)
    fund.attest()
    publish_record(world.log, LogKind.VENUE_REGISTRY, late, now=world.now)
    assert venue_says(world, fund) == ["decide.later"]
    assert [c for c, _ in codes(bundled(world, tmp_path / "bundle"))] == ["replay.venue-registry"]

    other = World.new(tmp_path / "other")
    other.epoch("one")
    fund = Fund("fund-1", other)
    fund.attest()
    publish_manifest(other.log, fund.manifest, now=other.now)
    assert venue_says(other, fund) == ["decide.manifest"]
    assert [c for c, _ in codes(bundled(other, tmp_path / "second"))] == ["replay.manifest"]


def test_damaged_bytes_are_findings_and_nothing_raises(honest: Bundle, tmp_path: Path) -> None:
    import shutil

    for name, at in (("entries.bin", 3), ("entries.bin", 40_000), ("entries.idx", 9), ("checkpoints.bin", 30)):
        copy = tmp_path / f"{name}-{at}"
        shutil.copytree(honest.path, copy)
        data = bytearray((copy / name).read_bytes())
        data[at] ^= 0xFF
        (copy / name).write_bytes(bytes(data))
        found = replay(Bundle(copy), policy().trust, workers=1)
        assert not found.sound, (name, at)
    (copy / "checkpoints.bin").unlink()
    assert not replay(Bundle(copy), policy().trust, workers=1).sound


def test_ten_thousand_trifles_hide_nothing(honest: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Faults of one code fill no list: the tree is looked at all the same, and what is wrong with it is named."""
    import shutil

    monkeypatch.setattr(module, "MAX_OF_CODE", 20)
    monkeypatch.setattr(module, "MAX_FINDINGS", 30)
    copy = tmp_path / "bundle"
    shutil.copytree(honest.path, copy)
    for number in range(50):
        (copy / "objects" / f"trifle {number}").write_bytes(b"")
    data = bytearray((copy / "checkpoints.bin").read_bytes())
    data[-60] ^= 1  # the newest checkpoint is not the log's
    (copy / "checkpoints.bin").write_bytes(bytes(data))
    found = replay(Bundle(copy), policy().trust, workers=1)
    listed = [f.code for f in found.findings]
    assert "log.unsigned" in listed
    assert found.by_code["bundle.object"] == 51
    assert found.by_code["log.unsigned"] == 1
    assert len(listed) + found.unlisted == sum(found.by_code.values())
    assert found.document()["findings_by_code"]["bundle.object"] == 51


def test_an_entry_that_names_much_of_nothing_costs_no_memory(tmp_path: Path) -> None:
    """A file without content may be as long as an object may be, and an entry may name thousands of them."""
    import shutil

    world, (fund,) = play(tmp_path, rounds=1, funds=1)
    digests = tuple(sorted(world.log.put_object(bytes(2**20 + i)) for i in range(12)))
    entries = list(world.log.entries())
    manifest = next(e for e in (Entry.decode(s.data) for s in entries) if e.kind == LogKind.MANIFEST)
    world.log.append(replace(manifest, dependencies=digests), now=world.now)
    bundle = bundled(world, tmp_path / "bundle")
    found = replay(bundle, policy().trust, workers=1)
    peak = least_peak(lambda _: replay(bundle, policy().trust, workers=1))
    assert [f.code for f in found.findings] == ["manifest.succession"]
    assert peak < 9 * 2**20
    shutil.rmtree(bundle.path)
    assert fund


class Outside(HTMLParser):
    """Anything that a page would fetch or run."""

    found: list[str]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "link", "img", "iframe") or any(
            k in ("src", "href") or k.startswith("on") for k, _ in attrs
        ):
            self.found.append(tag)


def test_the_page_stands_alone_and_escapes_what_the_log_says(honest: Bundle) -> None:
    report = replay(honest, policy(provers=[OPERATOR.public.raw.hex()]).trust, workers=1)
    evil = Finding("x.y", "<script>alert(1)</script>", 1, "<b>", 2)
    page = replace(report, findings=(*report.findings, evil)).html()
    parser = Outside()
    parser.found = []
    parser.feed(page)
    assert parser.found == []
    assert "&lt;script&gt;" in page
    assert "signature.threshold" in page
    assert "<svg" in page
    assert f"{len(report.findings) + 1} findings" in page


def test_the_document_names_the_software_and_is_json(honest: Bundle) -> None:
    from marginseal import __version__

    document = json.loads(json.dumps(replay(honest, policy().trust, workers=1).document()))
    assert document["format"] == "marginseal-replay-1"
    assert document["software"] == {"name": "marginseal", "version": __version__}
    assert document["bundle"]["decoder"] == {"name": "marginseal", "version": __version__}
    assert document["sound"] is True


def test_kept_things_are_bounded() -> None:
    kept, made = Kept(2), []

    def make(name: str) -> str:
        return kept.get(name, lambda: made.append(name) or name)

    for name in ("a", "b", "a", "c", "a", "b"):
        assert make(name) == name
    assert made == ["a", "b", "c", "b"]


def test_memory_does_not_grow_with_the_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Well over twice the attestations, in ranges of one size, and the same peak."""
    monkeypatch.setattr(module, "RANGE", 6)
    world, funds = play(tmp_path, rounds=1)
    peaks = []
    for stage, rounds in enumerate((6, 10)):
        for _ in range(rounds):
            world.now += 1
            for fund in funds:
                fund.attest()
        bundle = bundled(world, tmp_path / f"bundle-{stage}")
        assert replay(bundle, policy().trust, workers=1).sound
        peaks.append(least_peak(lambda _, bundle=bundle: replay(bundle, policy().trust, workers=1)))
    assert peaks[1] < 1.25 * peaks[0], peaks


def test_the_policy_of_a_venue_says_whom_an_auditor_believes() -> None:
    assert policy().trust.log.origin == policy_document()["log"]["origin"]
