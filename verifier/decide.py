"""A venue's decision: statement, proofs, log and its own pledge against its policy -> accepted with facts, or refused
with every reason (system.md, object 11; protocol.md section 10).

A verdict is machine-readable and holds nothing of the book: what it says is what the attestation makes public, and the
one amount that was pledged to this venue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.log.client import Newest, verify_newest
from marginseal.market.epoch import RiskEpoch
from marginseal.market.epoch import decode as decode_epoch
from marginseal.records.acceptance import SourceEvidence, SourceFacts, check_sources, source_faults
from marginseal.records.attestation import Attestation
from marginseal.records.continuity import continuity_faults
from marginseal.records.envelope import Envelope, open_signed
from marginseal.records.epoch import EpochRecord
from marginseal.records.manifest import Manifest, open_manifest
from marginseal.records.pledges import PledgeOpening, verify_pledge
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.rows import RowAuthority
from marginseal.records.statement import Continuity, Kind
from verifier.claims import compile_claims, verify_claims
from verifier.policy import Policy
from verifier.verify import Setting

T = TypeVar("T")


@dataclass(frozen=True)
class LoggedManifest:
    """A manifest envelope, when the log took it, and the source releases it needs."""

    envelope: bytes
    logged: int
    releases: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Dossier:
    """All that a decision rests on, as bytes: from files, from the service or from a bundle, it makes no difference.

    messages     published source messages (envelopes) by digest; row_proofs: row-authority proofs by message digest
    manifests    the account's chain, oldest first
    receipt, head   the log's: inclusion of the attestation, and the account's head
    pledge       the opening the owner gave this venue, or None
    previous     the predecessor attestation, with the epoch and the venue registry it names; None for a first one"""

    attestation: bytes
    epoch: bytes
    epoch_record: bytes
    source_registry: bytes
    venue_registry: bytes
    manifests: tuple[LoggedManifest, ...]
    messages: tuple[bytes, ...]
    receipt: bytes
    head: bytes
    row_proofs: tuple[tuple[bytes, bytes], ...] = ()
    pledge: bytes | None = None
    previous: bytes | None = None
    previous_epoch: bytes | None = None
    previous_venue_registry: bytes | None = None
    releases: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """accepted, the facts that hold, and every reason against (code, message)."""

    accepted: bool
    facts: dict[str, Any]
    reasons: tuple[tuple[str, str], ...]

    def document(self) -> dict[str, Any]:
        reasons = [{"code": code, "message": message} for code, message in self.reasons]
        return {"accepted": self.accepted, "facts": self.facts, "reasons": reasons}


@dataclass
class _Findings:
    """Collects what is wrong while the checks that still make sense go on."""

    reasons: list[MarginSealError] = field(default_factory=list)

    def attempt(self, run: Callable[[], T]) -> T | None:
        try:
            return run()
        except MarginSealError as e:
            self.reasons.append(e)
            return None

    def all(self, faults: Iterable[MarginSealError]) -> None:
        self.attempt(lambda: self.reasons.extend(faults))

    def require(self, holds: bool, code: str, message: str) -> None:
        if not holds:
            self.reasons.append(PolicyError(code, message))


def decide(dossier: Dossier, policy: Policy, *, now: int, setting: Setting | None = None) -> Verdict:
    """The verdict at `now` (unix seconds).  Never raises for anything the dossier holds."""
    setting, found = setting or Setting.default(), _Findings()
    facts: dict[str, Any] = {"venue": policy.venue, "decided": now}
    attestation = found.attempt(lambda: Attestation.decode(dossier.attestation))
    if attestation is not None:
        _judge(attestation, dossier, policy, now, setting, found, facts)
    reasons = tuple((e.code, e.message) for e in found.reasons)
    return Verdict(not reasons, facts, reasons)


def _judge(
    attestation: Attestation,
    dossier: Dossier,
    policy: Policy,
    now: int,
    setting: Setting,
    found: _Findings,
    facts: dict[str, Any],
) -> None:
    statement = attestation.statement
    facts |= {
        "account": statement.account,
        "sequence": statement.sequence,
        "statement": statement.digest.hex(),
        "attestation": attestation.digest.hex(),
        "expires": statement.expiry,
        "cut": statement.cut_id,
        "age_s": now - statement.cut_time,
        "continuity": statement.continuity.name.lower(),
        "sources": sorted({e.source for e in statement.sources}),
        "claims": [
            {"rule": rule.name, "tier": claim.tier.name.lower(), "inputs": list(claim.inputs)}
            for rule, claim in zip(attestation.body.rules, statement.claims, strict=True)
        ],
    }
    found.attempt(lambda: attestation.verify_signatures(policy.provers))
    found.require(
        statement.srs == policy.srs == setting.srs.digest, "decide.srs", "over powers the venue does not trust"
    )
    _judge_times(attestation, policy, now, found)
    known = policy.accounts.get(statement.account)
    if policy.accounts:
        found.require(
            known is not None and known.raw == statement.account_key,
            "decide.account",
            "an account the venue does not know, or under another key",
        )
    epoch = found.attempt(lambda: _epoch(dossier, policy))
    venues = found.attempt(lambda: _open(VenueRegistry, dossier.venue_registry, policy))
    compiled = None
    if epoch is not None and venues is not None:
        _judge_epoch(statement.cut_time, epoch, policy, now, found, facts)
        rows = len(venues[0].venues)
        compiled = found.attempt(lambda: compile_claims(statement, attestation.body.rules, epoch, venues=rows))
    _judge_rules(attestation, policy, found)
    if compiled is not None and venues is not None:
        found.attempt(lambda: verify_claims(statement, attestation.proofs, compiled, setting=setting))
        held = _judge_sources(attestation, dossier, policy, compiled, setting, found)
        facts["hold_until"] = None if held is None else held.hold_until
        facts["snapshot_only"] = held is None or held.hold_until is None
        _judge_pledge(attestation, dossier, policy, compiled, venues, setting, found, facts)
        _judge_continuity(attestation, dossier, policy, compiled, venues, found)
    newest = found.attempt(lambda: _newest(attestation, dossier, policy, now))
    if newest is not None:
        facts["log"] = {
            "index": newest.logged.index,
            "size": newest.logged.signed.checkpoint.size,
            "root": newest.logged.signed.checkpoint.root.hex(),
            "age_s": newest.age_s,
        }


def _judge_times(attestation: Attestation, policy: Policy, now: int, found: _Findings) -> None:
    statement = attestation.statement
    found.require(now < statement.expiry, "decide.expired", "the attestation has expired: a margin call")
    if now < statement.expiry:
        left = statement.expiry - now
        found.require(left >= policy.min_life_s, "decide.short-life", f"only {left} s are left to its expiry")
    found.require(statement.cut_time <= now, "decide.future", "its cut lies in the future")


def _open(kind: Any, data: bytes, policy: Policy) -> tuple[Any, bytes]:
    envelope = Envelope.decode(data)
    return open_signed(kind, envelope, policy.operators), envelope.digest


def _epoch(dossier: Dossier, policy: Policy) -> RiskEpoch:
    epoch = decode_epoch(dossier.epoch)
    record, _ = _open(EpochRecord, dossier.epoch_record, policy)
    record.check(epoch)
    return epoch


def _judge_epoch(
    cut_time: int, epoch: RiskEpoch, policy: Policy, now: int, found: _Findings, facts: dict[str, Any]
) -> None:
    facts["epoch"] = {"digest": epoch.digest.hex(), "time": epoch.time, "age_s": now - epoch.time}
    age = now - epoch.time
    found.require(age <= policy.epoch_max_age_s, "decide.epoch-age", f"its epoch is {age} s old")
    distance = abs(cut_time - epoch.time)
    found.require(distance <= policy.coherence_window_s, "decide.coherence", f"cut and epoch lie {distance} s apart")


def _judge_rules(attestation: Attestation, policy: Policy, found: _Findings) -> None:
    claims = zip(attestation.body.rules, attestation.statement.claims, strict=True)
    accepted = any(
        claim.kind == Kind.ATTESTATION and policy.accepts(rule.name, rule.parameters, claim.tier)
        for rule, claim in claims
    )
    found.require(
        accepted, "decide.rule", "no claim is of a rule, with its parameters and tier, that the venue accepts"
    )


def _judge_sources(
    attestation: Attestation,
    dossier: Dossier,
    policy: Policy,
    compiled: list[Compiled],
    setting: Setting,
    found: _Findings,
) -> SourceFacts | None:
    statement, circuit = attestation.statement, compiled[0].circuit
    named = {e.source for e in statement.sources}
    if policy.listed_as is not None:
        listed = policy.listed_as in named
        found.require(listed, "decide.not-listed", "the venue's own books of the account are not included")
    for source in sorted(named - policy.sources.keys()):
        found.reasons.append(PolicyError("decide.source", f"the venue does not rely on source {source}"))

    def evidence() -> SourceEvidence:
        registry, registry_digest = _open(SourceRegistry, dossier.source_registry, policy)
        manifest, manifest_digest = _manifest(dossier, policy, registry)
        messages = [Envelope.decode(data) for data in dossier.messages]
        return SourceEvidence(
            registry=registry,
            registry_digest=registry_digest,
            manifest=manifest,
            manifest_digest=manifest_digest,
            messages={m.digest: m for m in messages},
            n=circuit.n,
            tiles=circuit.tiles,
            row_proofs={digest: RowAuthority.decode(data) for digest, data in dossier.row_proofs},
        )

    at_hand = found.attempt(evidence)
    if at_hand is None:
        return None
    faults = list(source_faults(statement, at_hand, srs=setting.srs, curve=setting.curve))
    found.all(faults)
    if faults:
        return None
    facts = check_sources(statement, at_hand, srs=setting.srs, curve=setting.curve)
    if policy.hold:
        held = facts.hold_until is not None and facts.hold_until >= statement.expiry
        found.require(held, "decide.hold", "not every source holds until the attestation expires: a snapshot only")
    return facts


def _manifest(dossier: Dossier, policy: Policy, registry: SourceRegistry) -> tuple[Manifest, bytes]:
    """The newest manifest of the chain, every link checked."""
    previous: tuple[Manifest, bytes] | None = None
    for logged in dossier.manifests:
        envelope = Envelope.decode(logged.envelope)
        manifest = open_manifest(
            envelope,
            logged=logged.logged,
            delay_s=policy.manifest_delay_s,
            previous=previous,
            releases=[Envelope.decode(r) for r in logged.releases],
            registry=registry,
        )
        previous = manifest, envelope.digest
    if previous is None:
        raise PolicyError("decide.manifest", "the account's manifest is not at hand")
    return previous


def _judge_pledge(
    attestation: Attestation,
    dossier: Dossier,
    policy: Policy,
    compiled: list[Compiled],
    venues: tuple[VenueRegistry, bytes],
    setting: Setting,
    found: _Findings,
    facts: dict[str, Any],
) -> None:
    statement, data = attestation.statement, dossier.pledge
    if data is None:
        found.require(policy.minimum_pledge_ticks == 0, "decide.pledge", "no pledge was opened to the venue")
        return

    def opened() -> int:
        return verify_pledge(
            PledgeOpening.decode(data), statement, *venues, policy.venue, compiled[0].circuit.n, srs=setting.srs,
            curve=setting.curve,
        )  # fmt: skip

    ticks = found.attempt(opened)
    if ticks is None:
        return
    caps = [policy.sources[e.source] for e in statement.sources if policy.sources.get(e.source) is not None]
    counted = min([ticks, *(cap for cap in caps if cap is not None)])
    facts |= {"pledge_ticks": ticks, "counted_ticks": counted, "tick": statement.tick, "currency": statement.currency}
    found.require(
        counted >= policy.minimum_pledge_ticks, "decide.pledge", "the pledge it can count on is below the venue's least"
    )


def _judge_continuity(
    attestation: Attestation,
    dossier: Dossier,
    policy: Policy,
    compiled: list[Compiled],
    venues: tuple[VenueRegistry, bytes],
    found: _Findings,
) -> None:
    statement, n = attestation.statement, compiled[0].circuit.n
    if statement.continuity == Continuity.FIRST:
        return
    if dossier.previous is None:
        found.reasons.append(PolicyError("decide.previous", "the predecessor attestation is not at hand"))
        return

    def faults() -> list[MarginSealError]:
        assert dossier.previous is not None
        previous = Attestation.decode(dossier.previous).statement
        previous_n = n if previous.universe == statement.universe else _rows(dossier.previous_epoch, previous.epoch)
        registries = {venues[1]: venues[0]}
        if dossier.previous_venue_registry is not None:
            older, digest = _open(VenueRegistry, dossier.previous_venue_registry, policy)
            registries[digest] = older
        releases = {e.digest: e for e in map(Envelope.decode, dossier.releases)}
        return list(
            continuity_faults(statement, previous, n=n, previous_n=previous_n, registries=registries, releases=releases)
        )

    found.all(found.attempt(faults) or [])


def _rows(epoch: bytes | None, digest: bytes) -> int:
    """n of the circuits on the predecessor's epoch."""
    decoded = None if epoch is None else decode_epoch(epoch)
    if decoded is None or decoded.digest != digest:
        raise PolicyError("decide.previous", "the predecessor's epoch is not at hand")
    return rows_for(decoded.instruments)


def _newest(attestation: Attestation, dossier: Dossier, policy: Policy, now: int) -> Newest:
    statement = attestation.statement
    if not dossier.receipt or not dossier.head:
        raise DecodeError("decide.log", "no receipt and head of the log: the attestation may not be logged")
    return verify_newest(
        dossier.receipt,
        dossier.head,
        dossier.attestation,
        policy.log,
        account=statement.account,
        sequence=statement.sequence,
        statement_digest=statement.digest,
        now=now,
        max_age_s=policy.log_max_age_s,
    )
