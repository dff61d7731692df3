"""The sources of an attestation, judged by a venue: which it relies on, what they signed, under which manifest and
registry (protocol sections 7 and 10)."""

from __future__ import annotations

import contextlib
import hashlib

from marginseal.errors import MarginSealError, PolicyError
from marginseal.records.acceptance import SourceEvidence, SourceFacts, check_sources, source_faults
from marginseal.records.envelope import Envelope
from marginseal.records.logged import LogKind
from marginseal.records.registry import SourceRegistry
from marginseal.records.source import PublishedStatement, by_message
from verifier.decision.case import Case
from verifier.log_manifest import HeldManifest, SourceRegistries, in_force, take_manifest


def judge_sources(case: Case, n: int, tiles: int) -> None:
    """n, tiles: rows of the circuit, and how many tiles the universe has at n."""
    held = _judge(case, n, tiles)
    case.facts["hold_until"] = None if held is None else held.hold_until
    case.facts["snapshot_only"] = held is None or held.hold_until is None


def _judge(case: Case, n: int, tiles: int) -> SourceFacts | None:
    policy, statement, found, setting = case.policy, case.statement, case.found, case.setting
    named = {e.source for e in statement.sources}
    if policy.listed_as is not None:
        listed = policy.listed_as in named
        found.require(listed, "decide.not-listed", "the venue's own books of the account are not included")
    for source in sorted(named - policy.sources.keys()):
        found.require(False, "decide.source", f"the venue does not rely on source {source}")
    evidence = found.attempt(lambda: _evidence(case, n, tiles))
    if evidence is None:
        return None
    try:
        facts = check_sources(statement, evidence, srs=setting.srs, curve=setting.curve)
    except MarginSealError:  # the first; a verdict names them all
        found.all(source_faults(statement, evidence, srs=setting.srs, curve=setting.curve))
        return None
    if policy.hold:
        held = facts.hold_until is not None and facts.hold_until >= statement.expiry
        found.require(held, "decide.hold", "not every source holds until the attestation expires: a snapshot only")
    return facts


def _evidence(case: Case, n: int, tiles: int) -> SourceEvidence:
    dossier = case.dossier
    registry, registry_digest = case.open(SourceRegistry, dossier.source_registry, LogKind.SOURCE_REGISTRY)
    case.version("source", registry.version, case.policy.source_registry_version)
    held = _manifest(case)
    return SourceEvidence(
        registry=registry,
        registry_digest=registry_digest,
        manifest=held.manifest,
        manifest_digest=held.digest,
        published=by_message(map(PublishedStatement.decode, dossier.messages)),
        n=n,
        tiles=tiles,
        ring=case.ring,
        logged=case.logged_at,
    )


def _manifest(case: Case) -> HeldManifest:
    """The manifest in force at the cut, every link of the chain checked, each under the keys of its own time."""
    statement, held, faults = case.statement, list[HeldManifest](), dict[bytes, MarginSealError]()
    registries = _registries(case)
    for record in case.dossier.manifests:
        logged = case.logged(record, LogKind.MANIFEST)
        try:
            one = take_manifest(
                record.envelope,
                logged.index,
                logged.leaf,
                previous=held[-1] if held else None,
                releases=record.releases,
                registry=registries.before(logged.index),
                delay_s=case.policy.trust.manifest_delay_s,
                ring=case.ring,
            )
        except MarginSealError as e:
            faults.setdefault(hashlib.sha256(record.envelope).digest(), e)
            continue
        held.append(one)
    before = {one.digest for one in held if case.index is None or one.index < case.index}
    if statement.manifest in faults and statement.manifest not in before:
        raise faults[statement.manifest]
    found = in_force(held, statement.cut_time, case.index)
    if found is None:
        raise PolicyError("decide.manifest", "no manifest of the account is in force at the cut")
    return found


def _registries(case: Case) -> SourceRegistries:
    """The source registries of the log that hold, if a manifest may need them."""
    out = SourceRegistries()
    if not any(record.releases for record in case.dossier.manifests):
        return out
    places = [(case.logged(record, LogKind.SOURCE_REGISTRY), record) for record in case.dossier.source_registries]
    for logged, record in sorted(places, key=lambda place: place[0].index):
        with contextlib.suppress(MarginSealError):
            envelope = Envelope.decode(record.envelope)
            out.take(logged.index, envelope, case.ring, case.policy.trust.operators, logged.leaf.time)
    return out
