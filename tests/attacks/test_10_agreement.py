"""Section 10, two readers of one log: what a venue accepts a replay finds sound, and what a replay does not, no venue
accepts.

First the disagreements that histories drawn at random came upon, each as the shortest story that shows it; then the
histories themselves (`simulator.agreement`), a few for every run of the tests, as many as one likes by hand.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import InputError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import ATTESTATION, Entry
from marginseal.log.export import export_bundle
from marginseal.log.publish import attestation_entry, publish_epoch, publish_manifest, publish_record
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keychange import KeyChange, KeyRevocation
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.source import PublishedStatement
from tests.records.world import key
from tests.simulator import world as simulator
from tests.simulator.parties import auditor_says, both_say, venue_says
from tests.simulator.world import (
    HOUR,
    OPERATOR,
    PLEDGES,
    SOURCE_KEYS,
    SOURCES,
    UNIVERSE,
    VENUE_KEYS,
    Fund,
    World,
    policy,
    setting,
    source_registry,
)
from verifier.log_index import BundleRecords
from verifier.replay.records import RecordPass
from verifier.replay.worker import Range, Worker

STAY = SOURCES[:-1]
STRANGER = key(Role.OPERATOR, "stranger")


def log_manifest(world: World, fund: Fund, manifest: Envelope, **changes: Any) -> None:
    entry = Entry(LogKind.MANIFEST, manifest.encode(), account=fund.name, books=peek(Manifest, manifest).books)
    world.log.append(replace(entry, **changes), now=world.now)


def second_manifest(world: World, fund: Fund, sources: tuple[str, ...] = SOURCES, after: int = 2 * HOUR) -> Envelope:
    changed = fund.manifest_of(sources, version=2, previous=fund.manifest.digest, effective=world.now + after)
    return sign(changed, [fund.key])


def release(world: World, fund: Fund) -> Envelope:
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now)
    return sign(flat, [SOURCE_KEYS["venue-b"]])


def on_to(world: World, fund: Fund, manifest: Envelope, sources: tuple[str, ...] = SOURCES) -> None:
    """The manifest is in force, and the account attests under it."""
    world.now += 2 * HOUR
    world.epoch("two")
    fund.attest(published=[p for s in sources for p in fund.publish(s)], manifest=manifest)


# Manifests: what the log has under an account's name -----------------------------------------------------------------


def test_10_noise_under_the_name_of_an_account_shuts_it_out_nowhere(world: World, fund: Fund, tmp_path: Path) -> None:
    world.log.append(Entry(LogKind.MANIFEST, b"no envelope", account=fund.name), now=world.now)
    fund.attest()
    assert both_say(world, fund, tmp_path) == ([], ["json.malformed"])


def test_10_a_manifest_that_is_logged_again(world: World, fund: Fund, tmp_path: Path) -> None:
    """In another entry: beside other objects, or under other books."""
    log_manifest(world, fund, fund.manifest, dependencies=(world.log.put_object(b"something"),))
    log_manifest(world, fund, fund.manifest, books=())
    fund.attest()
    assert both_say(world, fund, tmp_path) == ([], ["manifest.succession"] * 2)


def test_10_a_manifest_that_holds_when_it_is_logged_again(world: World, fund: Fund, tmp_path: Path) -> None:
    """Its source's release was missing the first time."""
    fewer = second_manifest(world, fund, STAY)
    publish_manifest(world.log, fewer, now=world.now)
    publish_manifest(world.log, fewer, now=world.now, releases=[release(world, fund)])
    on_to(world, fund, fewer, STAY)
    assert both_say(world, fund, tmp_path) == ([], ["manifest.book-gone"])


def test_10_the_manifest_of_another_under_the_name_of_an_account(world: World, tmp_path: Path) -> None:
    """Before its own first: whoever can append could have begun its chain."""
    fund = Fund("fund-1", world)
    log_manifest(world, fund, Fund("fund-2", world).manifest, books=())
    publish_manifest(world.log, fund.manifest, now=world.now)
    fund.attest()
    assert both_say(world, fund, tmp_path) == ([], ["manifest.entry"])


def test_10_a_manifest_in_an_entry_of_other_books(world: World, fund: Fund, tmp_path: Path) -> None:
    """The log kept no book of it for this account alone: it is not in force for anybody."""
    hidden = second_manifest(world, fund)
    log_manifest(world, fund, hidden, books=())
    on_to(world, fund, fund.manifest)
    assert both_say(world, fund, tmp_path / "old") == ([], ["manifest.entry"])
    world.now += 60
    fund.attest(manifest=hidden)
    assert both_say(world, fund, tmp_path / "new") == (["manifest.entry"], ["manifest.entry", "accept.manifest"])


@pytest.mark.parametrize("sources", [SOURCES, STAY], ids=["no book leaves", "a book leaves"])
def test_10_noise_among_the_releases(world: World, fund: Fund, tmp_path: Path, sources: tuple[str, ...]) -> None:
    """Logged for the account, or beside its manifest."""
    world.log.append(Entry(LogKind.SOURCE_RELEASE, b"no envelope", account=fund.name), now=world.now)
    manifest = second_manifest(world, fund, sources)
    beside = [world.log.put_object(data) for data in (b"noise", release(world, fund).encode())]
    log_manifest(world, fund, manifest, dependencies=tuple(sorted(beside)))
    on_to(world, fund, manifest, sources)
    assert both_say(world, fund, tmp_path) == ([], ["json.malformed"])


def test_10_a_registry_that_held_only_when_it_was_logged_again(world: World, fund: Fund, tmp_path: Path) -> None:
    """Its signer was no operator yet.  Under it another key lets the book go."""
    new, theirs = key(Role.OPERATOR, "risk, the next"), key(Role.SOURCE, "venue-b, the next")
    listed = source_registry(2).sources
    record = sign(
        replace(source_registry(2), sources=(*listed[:-1], replace(listed[-1], key=theirs.public))), [new]
    )  # fmt: skip
    publish_record(world.log, LogKind.SOURCE_REGISTRY, record, now=world.now)
    change = sign(KeyChange("risk", OPERATOR.public, new.public, world.now + 10), [OPERATOR, new])
    publish_record(world.log, LogKind.KEY_CHANGE, change, now=world.now)
    world.now += 20
    publish_record(world.log, LogKind.SOURCE_REGISTRY, record, now=world.now, objects=[b"again"])
    fewer = second_manifest(world, fund, STAY)
    flat = sign(peek(SourceRelease, release(world, fund)), [theirs])
    publish_manifest(world.log, fewer, now=world.now, releases=[flat])
    fund.attest(published=[p for s in SOURCES for p in fund.publish(s)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(simulator, "OPERATOR", new)
        on_to(world, fund, fewer, STAY)
    assert both_say(world, fund, tmp_path) == ([], ["keys.not-in-force"])


# Epochs: who says what about them ------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> World:
    """Another log, in which an operator's epoch can be made before it is published."""
    return World.new(tmp_path / "elsewhere")


def claimed_first(world: World, elsewhere: World, **lies: Any) -> None:
    """The operator's next epoch, about which a stranger had a record logged before."""
    world.now += 10
    elsewhere.now = world.now
    epoch = elsewhere.epoch("claimed")
    publish_epoch(world.log, epoch, sign(replace(epoch_record(epoch), **lies), [STRANGER]), now=world.now)
    world.epoch("claimed")


def test_10_an_epoch_that_a_stranger_recorded_first(world: World, fund: Fund, elsewhere: World, tmp_path: Path) -> None:
    """The operator's record counts, and what it was made from."""
    claimed_first(world, elsewhere)
    fund.attest()
    world.now += 60
    world.epoch("three")
    fund.attest()
    assert both_say(world, fund, tmp_path) == ([], ["signature.threshold"])


def test_10_a_stranger_hides_that_an_epoch_is_newer(world: World, fund: Fund, elsewhere: World, tmp_path: Path) -> None:
    """By a record that dates it far back, logged before the operator's."""
    kind = world.epochs[-1]
    claimed_first(world, elsewhere, time=1)
    world.now += 130
    fund.attest(epoch=kind)
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["decide.epoch-newer"]
    assert auditor == ["signature.threshold", "replay.epoch-newer"]


def test_10_a_stranger_makes_an_epoch_look_newer(world: World, fund: Fund, elsewhere: World, tmp_path: Path) -> None:
    """By a record that dates the epoch in use ahead, so that none that follows were newer."""
    claimed_first(world, elsewhere, time=world.now + HOUR, expires=world.now + 2 * HOUR)
    kind = world.epochs[-1]
    world.now += 10
    world.epoch("three")
    world.now += 130
    fund.attest(epoch=kind)
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["decide.epoch-newer"]
    assert auditor == ["signature.threshold", "replay.epoch-newer"]


def test_10_an_epoch_logged_after_the_attestation_before(world: World, fund: Fund, tmp_path: Path) -> None:
    """Nobody could verify that one when it came: what carries on from it is not accepted either."""
    late = World.new(tmp_path / "late")
    late.now += 10
    epoch = late.epoch("late")
    world.now += 10
    world.epochs.append(epoch)
    world.epoch_records[epoch.digest] = late.epoch_records[epoch.digest]
    fund.attest()
    world.epochs.pop()
    world.epoch("late")
    world.now += 60
    fund.attest()
    assert both_say(world, fund, tmp_path) == (["decide.later"], ["replay.epoch"])


def test_10_an_epoch_that_is_not_in_the_log(world: World, fund: Fund, tmp_path: Path) -> None:
    """Refused by its code, as everything else that a log lacks."""
    other = replace(world.epochs[-1], name="never logged")
    world.epochs.append(other)
    world.epoch_records[other.digest] = sign(epoch_record(other), [OPERATOR])
    fund.attest()
    with pytest.raises(InputError) as e:
        venue_says(world, fund)
    assert e.value.code == "gather.unknown"
    assert auditor_says(world, tmp_path) == ["replay.epoch"]


def test_10_a_universe_that_is_not_in_the_log(tmp_path: Path) -> None:
    """Whether anybody asks for oracles or not: the attestation could never be replayed."""
    world = World(simulator.open_log(tmp_path / "log"))
    publish_record(world.log, LogKind.SOURCE_REGISTRY, world.sources, now=world.now)
    publish_record(world.log, LogKind.VENUE_REGISTRY, world.venues, now=world.now)
    world.epoch("one", objects=False)
    fund = world.fund()
    fund.attest()
    assert both_say(world, fund, tmp_path, oracles=None) == (["decide.universe"], ["replay.universe"])


# Attestations: what the log has of them ------------------------------------------------------------------------------


def test_10_an_attestation_in_an_entry_of_no_books(world: World, fund: Fund, tmp_path: Path) -> None:
    """The log kept none of its books for this account alone: another could have them as well."""
    attested = fund.attest(log=False)
    objects = [world.log.put_object(data) for data in attested.objects]
    world.log.append(replace(attestation_entry(attested.attestation, objects), books=()), now=world.now)
    fund.accept(attested)
    assert both_say(world, fund, tmp_path / "one") == (["decide.leaf"], ["replay.entry"])
    world.now += 60
    fund.attest()
    assert both_say(world, fund, tmp_path / "two") == (["decide.previous"], ["replay.entry"])


@pytest.mark.parametrize("first", [True, False], ids=["before it", "behind it"])
@pytest.mark.parametrize("lack", ["sealed", "row_proof"])
def test_10_a_message_that_is_published_twice(tmp_path: Path, first: bool, lack: str) -> None:
    """Once as its source did, once with another ciphertext or without the proof of its rows: the whole one counts."""
    confined = sign(source_registry(venue_b={UNIVERSE.digest: ((0, 1), (4, 5))}), [OPERATOR])
    world = World.new(tmp_path / "log", sources=confined)
    world.epoch("one")
    fund = world.fund()
    few = [100_000, *[0] * (len(UNIVERSE) - 1)]
    published = [p for s in SOURCES for p in fund.publish(s, few if s == "venue-b" else None)]
    whole = published[-1]
    while True:  # objects lie in the order of their digests
        other = replace(whole, sealed=b"noise") if lack == "sealed" else replace(whole, row_proof=None)
        digests = [hashlib.sha256(p.encode()).digest() for p in (other, whole)]
        if (digests[0] < digests[1]) == first:
            break
        whole = fund.publish("venue-b", few)[0]
    attested = fund.attest(published=[*published[:-1], whole], log=False)
    attested = replace(attested, objects=(*attested.objects, other.encode()))
    world.append(attested)
    fund.accept(attested)
    assert both_say(world, fund, tmp_path) == ([], [])


@pytest.mark.parametrize("kind", [LogKind.SOURCE_REGISTRY, LogKind.VENUE_REGISTRY])
def test_10_a_release_that_is_logged_as_a_registry(world: World, fund: Fund, tmp_path: Path, kind: LogKind) -> None:
    """An auditor passes over registries among what an attestation depends on: this is none."""
    fund.attest()
    world.now += 60
    freed = fund.release("venue-b")
    publish_record(world.log, kind, freed, now=world.now)
    fund.attest(pledges={**PLEDGES, "venue-b": 0}, releases=[freed])
    assert both_say(world, fund, tmp_path) == ([], ["envelope.type"])


@pytest.mark.parametrize("change", [False, True], ids=["revoked", "replaced"])
def test_10_a_venue_that_ends_its_key_as_soon_as_it_sees_its_release_used(
    world: World, fund: Fund, tmp_path: Path, change: bool
) -> None:
    """In the same second: the account it let go would be refused for good."""
    fund.attest()
    world.now += 60
    freed = fund.release("venue-b")
    fund.attest(pledges={**PLEDGES, "venue-b": 0}, releases=[freed])
    mine, new = VENUE_KEYS["venue-b"], key(Role.VENUE, "the next")
    if change:
        record = sign(KeyChange("venue-b", mine.public, new.public, world.now), [mine, new])
        publish_record(world.log, LogKind.KEY_CHANGE, record, now=world.now)
    else:
        record = sign(KeyRevocation("venue-b", mine.public, world.now), [mine])
        publish_record(world.log, LogKind.KEY_REVOCATION, record, now=world.now)
    assert both_say(world, fund, tmp_path) == ([], [])


def test_10_what_is_no_message_beside_the_attestation_before(world: World, fund: Fund, tmp_path: Path) -> None:
    """An auditor's process that did not judge that one reads again what its sources said, and passes over the rest."""
    attested = fund.attest(log=False)
    noise = [PublishedStatement(fund.manifest, b"%d" % i).encode() for i in range(8)]
    attested = replace(attested, objects=(*attested.objects, *noise))
    before = world.append(attested)
    fund.accept(attested)
    world.now += 60
    fund.attest()
    assert venue_says(world, fund) == []
    assert judged_alone(world, tmp_path, world.log.size() - 1, before) == []


def judged_alone(world: World, folder: Path, index: int, before: int) -> list[str]:
    """What a process of the auditor says that has seen no other attestation."""
    world.log.checkpoint(now=world.now)
    export_bundle(world.log, folder / "alone")
    bundle, trust = Bundle(folder / "alone"), policy().trust
    records = BundleRecords(bundle)
    reads = RecordPass(records, trust)
    for position, entry in records.items(0, records.size()):
        if entry.kind != ATTESTATION:
            assert list(reads.note(position, entry)) == []
    assert list(reads.judge()) == []
    part = Range(index, index + 1, ((index, before),))
    return [f.code for f in Worker(bundle, trust, reads.known, setting()).judge(part).findings]
