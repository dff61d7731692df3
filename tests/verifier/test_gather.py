"""What a venue gathers from a log is bounded by what it needs, whatever the log puts beside it."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from marginseal.errors import InputError
from marginseal.log.entry import Entry
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.source import PublishedStatement
from tests.simulator.world import HOUR, SOURCE_KEYS, SOURCES, Fund, World
from verifier.decision import gather as module
from verifier.decision.dossier import Dossier

MIB = 2**20
STAY = SOURCES[:-1]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World.new(tmp_path / "log")
    world.epoch("one")
    return world


@pytest.fixture
def fund(world: World) -> Fund:
    return world.fund()


def release(world: World, fund: Fund, moment: int = 0) -> Envelope:
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now + moment)
    return sign(flat, [SOURCE_KEYS["venue-b"]])


def second_manifest(world: World, fund: Fund, sources: tuple[str, ...], beside: list[bytes]) -> None:
    changed = fund.manifest_of(sources, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    record = sign(changed, [fund.key])
    books = peek(Manifest, record).books
    named = tuple(sorted(world.log.put_object(data) for data in beside))
    entry = Entry(LogKind.MANIFEST, record.encode(), account=fund.name, books=books, dependencies=named)
    world.log.append(entry, now=world.now)


def gathered(world: World, fund: Fund) -> tuple[Dossier, int]:
    """The dossier, and the most memory that gathering it took."""
    world.dossier(fund)
    tracemalloc.start()
    dossier = world.dossier(fund)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return dossier, peak


@pytest.mark.parametrize("sources", [SOURCES, STAY], ids=["no book leaves", "a book leaves"])
def test_a_manifest_beside_much_of_nothing_costs_no_memory(world: World, fund: Fund, sources: tuple[str, ...]) -> None:
    """Releases are kept, if a book is gone; what else the entry names is read one by one or not at all."""
    freed = release(world, fund)
    second_manifest(world, fund, sources, [freed.encode(), *(bytes(MIB + i) for i in range(16))])
    fund.attest()
    dossier, peak = gathered(world, fund)
    assert [m.releases for m in dossier.manifests] == [(), (freed.encode(),) if sources == STAY else ()]
    assert peak < 8 * MIB


def test_releases_of_other_books_are_not_kept(world: World, fund: Fund) -> None:
    """Nor one of another account, nor the same twice: beside the manifest and in an entry of its own."""
    freed = release(world, fund)
    said = peek(SourceRelease, freed)
    others = [{"book": fund.books["venue-a"]}, {"account": "fund-2"}, {"source": "venue-a"}]
    logged = Entry(LogKind.SOURCE_RELEASE, freed.encode(), account=fund.name)
    world.log.append(logged, now=world.now)
    beside = [sign(replace(said, **other), [SOURCE_KEYS["venue-b"]]).encode() for other in others]
    second_manifest(world, fund, STAY, [freed.encode(), *beside])
    fund.attest()
    assert world.dossier(fund).manifests[1].releases == (freed.encode(),)


def test_more_releases_than_anybody_needs_are_refused(
    world: World, fund: Fund, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = [release(world, fund, i).encode() for i in range(5)]
    second_manifest(world, fund, STAY, freed)
    fund.attest()
    monkeypatch.setattr(module, "_MAX_RELEASES", sum(map(len, freed)))
    assert len(world.dossier(fund).manifests[1].releases) == 5
    monkeypatch.setattr(module, "_MAX_RELEASES", sum(map(len, freed)) - 1)
    with pytest.raises(InputError) as caught:
        world.dossier(fund)
    assert caught.value.code == "gather.releases"


def test_a_message_published_a_hundred_times_is_gathered_once(world: World, fund: Fund) -> None:
    published = [p for source in SOURCES for p in fund.publish(source)]
    again = [PublishedStatement(published[0].message, bytes([i]) * 60_000).encode() for i in range(100)]
    attested = fund.attest(published=published, log=False)
    attested = replace(attested, objects=(*attested.objects, *again))
    world.append(attested)
    fund.accept(attested)
    dossier, peak = gathered(world, fund)
    assert sorted(dossier.messages) == sorted(p.encode() for p in published)
    assert peak < 4 * MIB
