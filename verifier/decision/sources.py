"""The sources of an attestation, judged by a venue: which it relies on, what they signed, under which manifest and
registry (protocol sections 7 and 10)."""

from __future__ import annotations

import contextlib

from marginseal.errors import MarginSealError, PolicyError
from marginseal.records.acceptance import SourceEvidence, SourceFacts, check_sources, source_faults
from marginseal.records.envelope import Envelope
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, open_manifest
from marginseal.records.registry import SourceRegistry
from marginseal.records.rows import RowAuthority
from verifier.decision.case import Case


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
    manifest, manifest_digest = _manifest(case)
    messages = [Envelope.decode(data) for data in dossier.messages]
    return SourceEvidence(
        registry=registry,
        registry_digest=registry_digest,
        manifest=manifest,
        manifest_digest=manifest_digest,
        messages={m.digest: m for m in messages},
        n=n,
        tiles=tiles,
        row_proofs={digest: RowAuthority.decode(data) for digest, data in dossier.row_proofs},
        ring=case.ring,
        logged=case.logged_at,
    )


def _manifest(case: Case) -> tuple[Manifest, bytes]:
    """The manifest in force at the cut, every link of the chain checked, each under the keys of its own time.

    One that does not follow those before it counts for nothing, as in replay."""
    chain: list[tuple[Manifest, bytes]] = []
    registries = _registries(case)
    for record in case.dossier.manifests:
        envelope, logged = Envelope.decode(record.envelope), case.logged(record, LogKind.MANIFEST)
        if case.newest is not None and logged.index > case.newest.logged.index:
            break
        try:
            manifest = open_manifest(
                envelope,
                logged=logged.leaf.time,
                delay_s=case.policy.trust.manifest_delay_s,
                previous=chain[-1] if chain else None,
                releases=[Envelope.decode(r) for r in record.releases],
                registry=next((registry for index, registry in registries if index < logged.index), None),
                ring=case.ring,
            )
        except MarginSealError:
            # That the log took it changes nothing, or a thief could shut the account out for good.
            if envelope.digest == case.statement.manifest:
                raise
            continue
        chain.append((manifest, envelope.digest))
    if not chain:
        raise PolicyError("decide.manifest", "the account's manifest is not at hand")
    in_force = [link for link in chain if link[0].effective <= case.statement.cut_time]
    return in_force[-1] if in_force else chain[0]


def _registries(case: Case) -> list[tuple[int, SourceRegistry]]:
    """The source registries of the log that hold, as in replay, each with its entry; the newest first.

    A source that left since, or replaced its key, signed its releases under the one of that time; and a key that was
    replaced lets no book go from a manifest that the log took later."""
    out: list[tuple[int, SourceRegistry]] = []
    if not any(record.releases for record in case.dossier.manifests):
        return out
    places = [(case.logged(record, LogKind.SOURCE_REGISTRY).index, record) for record in case.dossier.source_registries]
    for index, record in sorted(places, key=lambda place: place[0]):
        with contextlib.suppress(MarginSealError):
            registry, _ = case.open(SourceRegistry, record, LogKind.SOURCE_REGISTRY, named=False)
            if not out or registry.version > out[0][1].version:
                out.insert(0, (index, registry))
    return out
