"""What a source signed stays signed: an account whose book left goes on when that source changes its key or goes too.

The chain of manifests is judged anew at every decision.  A release is under the key that the source had when the log
took the manifest, which a later registry may no longer name: held against today's key it would shut the account out for
good.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from marginseal.log.publish import publish_manifest, publish_record
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from marginseal.records.manifest import SourceRelease
from marginseal.records.registry import RegisteredSource
from tests.records.world import key
from tests.simulator.parties import both_say
from tests.simulator.world import HOUR, OPERATOR, SOURCE_KEYS, SOURCES, Fund, World, source_registry

LEFT = "venue-b"
STAY = [source for source in SOURCES if source != LEFT]
NEW_KEY = key(Role.SOURCE, "venue-b, the next")


def registry(world: World, *, gone: bool) -> Envelope:
    """Version 2, without the source or with another key of it."""
    listed = [s for s in source_registry().sources if s.id != LEFT]
    if not gone:
        listed.append(RegisteredSource(LEFT, NEW_KEY.public))
    return sign(replace(source_registry(2), sources=tuple(listed), issued=world.now), [OPERATOR])


def release(world: World, fund: Fund) -> None:
    flat = SourceRelease(LEFT, fund.name, fund.books[LEFT], fund.manifest.digest, world.now)
    signed = sign(flat, [SOURCE_KEYS[LEFT]])
    publish_record(world.log, LogKind.SOURCE_RELEASE, signed, now=world.now, account=fund.name)


def leave(world: World, fund: Fund) -> Envelope:
    fewer = fund.manifest_of(STAY, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    manifest = sign(fewer, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    return manifest


def change(world: World, *, gone: bool) -> None:
    world.sources = registry(world, gone=gone)
    publish_record(world.log, LogKind.SOURCE_REGISTRY, world.sources, now=world.now)


def go_on(world: World, fund: Fund, manifest: Envelope) -> None:
    world.now += 2 * HOUR
    world.epoch("two")
    fund.attest(published=[p for source in STAY for p in fund.publish(source)], manifest=manifest)


@pytest.mark.parametrize("gone", [False, True], ids=["another key", "no longer listed"])
def test_a_release_outlives_the_key_it_was_signed_with(world: World, tmp_path: Path, gone: bool) -> None:
    fund = world.fund()
    release(world, fund)
    manifest = leave(world, fund)
    world.now += 60
    change(world, gone=gone)
    go_on(world, fund, manifest)
    assert both_say(world, fund, tmp_path) == ([], [])


def test_a_replaced_key_lets_no_book_go(world: World, tmp_path: Path) -> None:
    """A stolen key, replaced since: what it signs for a manifest that the log took later is nobody's release."""
    fund = world.fund()
    change(world, gone=False)
    world.now += 60
    release(world, fund)
    go_on(world, fund, leave(world, fund))
    venue, auditor = both_say(world, fund, tmp_path)
    assert venue == ["manifest.book-gone"]
    assert auditor[0] == "manifest.book-gone"
