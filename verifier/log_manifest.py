"""Which manifests and source registries of a log hold, entry by entry: the same for a venue and for an auditor.

A registry holds that an operator signed and whose version is later than that of the one before.  A manifest holds that
follows the last one that holds, under the registry that held when the log took it.  What does not hold is as if it were
not there: that the log took it changes nothing, or whoever can have something logged could shut an account out.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.entry import Leaf
from marginseal.records.envelope import Envelope
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import PublicKey
from marginseal.records.manifest import Manifest, open_manifest
from marginseal.records.registry import SourceRegistry
from verifier.log_entry import says_manifest

_MAX_RELEASE_BYTES = 2**18


@dataclass
class SourceRegistries:
    """Those that hold, each with its entry, oldest first."""

    held: list[tuple[int, SourceRegistry]] = field(default_factory=list)

    def take(self, index: int, envelope: Envelope, ring: KeyRing, operators: Sequence[PublicKey], logged: int) -> None:
        """The one in entry `index`, later than all taken before.

        DecodeError; ProofRejected signature.threshold; PolicyError keys.not-in-force, replay.registry-version."""
        registry = ring.open(SourceRegistry, envelope, operators, logged)
        if self.held and registry.version <= self.held[-1][1].version:
            raise PolicyError("replay.registry-version", "a source registry that is no later than the one before")
        self.held.append((index, registry))

    def before(self, index: int) -> SourceRegistry | None:
        """The one in force when the log took entry `index`.

        A source that left since, or replaced its key, signed its releases under the one of that time; and a key that
        was replaced lets no book go from a manifest that the log took later."""
        return next((registry for at, registry in reversed(self.held) if at < index), None)


@dataclass(frozen=True)
class HeldManifest:
    """A manifest that holds, its digest, and where the log has it."""

    manifest: Manifest
    digest: bytes
    index: int


def take_manifest(
    data: bytes,
    index: int,
    leaf: Leaf,
    *,
    previous: HeldManifest | None,
    releases: Iterable[bytes],
    registry: SourceRegistry | None,
    delay_s: int,
    ring: KeyRing,
) -> HeldManifest:
    """The manifest in entry `index`, if it holds.

    releases: whatever came with it, or was logged for its account before
    Errors of `open_manifest`; PolicyError manifest.entry."""
    envelope = Envelope.decode(data)
    manifest = open_manifest(
        envelope,
        logged=leaf.time,
        delay_s=delay_s,
        previous=None if previous is None else (previous.manifest, previous.digest),
        releases=readable(releases),
        registry=registry,
        ring=ring,
    )
    if not says_manifest(leaf, manifest):
        raise PolicyError("manifest.entry", "the entry says something else than the manifest in it")
    return HeldManifest(manifest, envelope.digest, index)


def in_force(held: Iterable[HeldManifest], cut_time: int, index: int | None) -> HeldManifest | None:
    """The last in force at the cut, of those that the log had before entry `index` (None: of all)."""
    begun = [one for one in held if (index is None or one.index < index) and one.manifest.effective <= cut_time]
    return begun[-1] if begun else None


def readable(data: Iterable[bytes]) -> Iterator[Envelope]:
    """Noise is no release, and keeps none from being found; nor is what is far larger than one."""
    for one in data:
        if len(one) > _MAX_RELEASE_BYTES:
            continue
        with contextlib.suppress(MarginSealError):
            yield Envelope.decode(one)
