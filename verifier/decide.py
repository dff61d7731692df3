"""A venue's decision: statement, proofs, log and its own pledge against its policy -> accepted with facts, or refused
with every reason (system.md, object 11; protocol.md section 10).

A verdict is machine-readable and holds nothing of the book: what it says is what the attestation makes public, and the
one amount that was pledged to this venue.  Checks go on after a failure wherever they still make sense; facts are to be
relied on only if the verdict accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.log.checkpoint import check_append_only
from marginseal.log.client import Logged, Newest, verify_newest, verify_receipt
from marginseal.log.policy import MAX_AHEAD_S, SignedCheckpoint
from marginseal.market.epoch import RiskEpoch
from marginseal.market.epoch import decode as decode_epoch
from marginseal.market.snapshot import parse_snapshot
from marginseal.market.universe import parse_universe
from marginseal.records.acceptance import SourceEvidence, SourceFacts, check_sources, source_faults
from marginseal.records.attestation import Attestation, RuleRef
from marginseal.records.continuity import continuity_faults
from marginseal.records.envelope import Envelope, Record, open_signed
from marginseal.records.epoch import EpochRecord
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, open_manifest
from marginseal.records.oracle import OraclePolicy, check_snapshot
from marginseal.records.pledges import PledgeOpening, verify_pledge
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.rows import RowAuthority
from marginseal.records.statement import Claim, Continuity, Kind, Statement
from verifier.claims import compile_claims, verify_claims
from verifier.dossier import Dossier, LoggedRecord
from verifier.policy import Policy
from verifier.replay_epoch import by_oracle
from verifier.verdict import Findings, Verdict
from verifier.verify import Setting

R = TypeVar("R", bound=Record)


def decide(
    dossier: Dossier,
    policy: Policy,
    *,
    now: int,
    setting: Setting | None = None,
    seen: SignedCheckpoint | None = None,
) -> Verdict:
    """The verdict at `now` (unix seconds).  Never raises for anything the dossier holds.

    seen   the checkpoint this venue used last (`log.memory`): the new one has to extend it"""
    setting, found = setting or Setting.default(), Findings()
    facts: dict[str, Any] = {"venue": policy.venue, "decided": now}
    attestation = found.attempt(lambda: Attestation.decode(dossier.attestation))
    if attestation is not None:
        _Judge(dossier, policy, now, setting, found, facts, attestation).judge(seen)
    reasons = tuple(dict.fromkeys((e.code, e.message) for e in found.reasons))
    return Verdict(not reasons, facts, reasons)


@dataclass
class _Judge:
    """One decision: what is given, what is found."""

    dossier: Dossier
    policy: Policy
    now: int
    setting: Setting
    found: Findings
    facts: dict[str, Any]
    attestation: Attestation

    @property
    def statement(self) -> Statement:
        return self.attestation.statement

    def judge(self, seen: SignedCheckpoint | None) -> None:
        found, statement, trust = self.found, self.statement, self.policy.trust
        self.facts |= _said(self.attestation, self.policy, self.now)
        found.attempt(lambda: self.attestation.verify_signatures(trust.provers))
        found.require(
            statement.srs == trust.srs == self.setting.srs.digest, "decide.srs", "over powers the venue does not trust"
        )
        self._times()
        self._account()
        self._rules()
        newest = found.attempt(self._newest)
        if newest is not None:
            self._log(newest, seen)
        epoch = found.attempt(self._epoch)
        if epoch is not None:
            self._epoch_age(epoch, newest)
        venues = found.attempt(lambda: self._registry(VenueRegistry, self.dossier.venue_registry))
        if epoch is None or venues is None:
            return
        compiled = found.attempt(
            lambda: compile_claims(statement, self.attestation.body.rules, epoch, venues=len(venues[0].venues))
        )
        if compiled is None:
            return
        found.attempt(lambda: verify_claims(statement, self.attestation.proofs, compiled, setting=self.setting))
        held = self._sources(compiled, newest)
        self.facts["hold_until"] = None if held is None else held.hold_until
        self.facts["snapshot_only"] = held is None or held.hold_until is None
        self._pledge(compiled, venues)
        self._continuity(compiled, venues)

    # What needs the statement alone ---------------------------------------------------------------------------------

    def _times(self) -> None:
        statement, now = self.statement, self.now
        self.found.require(now < statement.expiry, "decide.expired", "the attestation has expired: a margin call")
        if now < statement.expiry:
            left = statement.expiry - now
            self.found.require(
                left >= self.policy.min_life_s, "decide.short-life", f"only {left} s are left to its expiry"
            )
        self.found.require(statement.cut_time <= now, "decide.future", "its cut lies in the future")

    def _account(self) -> None:
        known = self.policy.accounts.get(self.statement.account)
        if self.policy.accounts:
            self.found.require(
                known is not None and known.raw == self.statement.account_key,
                "decide.account",
                "an account the venue does not know, or under another key",
            )

    def _rules(self) -> None:
        unit = (self.statement.currency, self.statement.tick)
        self.found.require(
            unit == (self.policy.currency, self.policy.tick),
            "decide.unit",
            "in another currency or tick than the venue's",
        )
        claims = zip(self.attestation.body.rules, self.statement.claims, strict=True)
        accepted = any(_asked_for(self.policy, rule, claim) for rule, claim in claims)
        self.found.require(
            accepted, "decide.rule", "no claim is of a rule, with its parameters and tier, that the venue accepts"
        )

    # The log --------------------------------------------------------------------------------------------------------

    def _newest(self) -> Newest:
        dossier, statement = self.dossier, self.statement
        if not dossier.receipt or not dossier.head:
            raise DecodeError("decide.log", "no receipt and head of the log: the attestation may not be logged")
        return verify_newest(
            dossier.receipt,
            dossier.head,
            dossier.attestation,
            self.policy.trust.log,
            account=statement.account,
            sequence=statement.sequence,
            statement_digest=statement.digest,
            now=self.now,
            max_age_s=self.policy.log_max_age_s,
        )

    def _log(self, newest: Newest, seen: SignedCheckpoint | None) -> None:
        logged, statement = newest.logged, self.statement
        checkpoint, time = logged.signed.checkpoint, logged.leaf.time
        self.facts["log"] = {
            "index": logged.index,
            "logged": time,
            "size": checkpoint.size,
            "root": checkpoint.root.hex(),
            "age_s": newest.age_s,
            "witnesses": [name for name, _ in logged.signed.cosigned],
        }
        self.found.require(
            statement.cut_time - MAX_AHEAD_S <= time,
            "decide.backdated",
            "the log dates the attestation before its own cut",
        )
        if seen is not None:
            path = self.dossier.consistency
            self.found.attempt(lambda: check_append_only(seen.checkpoint, checkpoint, path))

    def _logged(self, record: LoggedRecord, kind: LogKind, newest: Newest | None) -> Logged:
        """When the log took a record, in the very tree that has the attestation."""
        logged = verify_receipt(record.receipt, record.envelope, self.policy.trust.log)
        tree = logged.signed.checkpoint
        same = newest is None or (tree.size, tree.root) == _tree(newest)
        self.found.require(same, "decide.checkpoint", f"{kind}: under another checkpoint than the attestation")
        self.found.require(logged.leaf.kind == kind, "decide.leaf", f"{kind}: logged as another kind")
        return logged

    # The epoch ------------------------------------------------------------------------------------------------------

    def _registry(self, kind: type[R], data: bytes) -> tuple[R, bytes]:
        envelope = Envelope.decode(data)
        return open_signed(kind, envelope, self.policy.trust.operators), envelope.digest

    def _epoch(self) -> RiskEpoch:
        epoch = decode_epoch(self.dossier.epoch)
        record, _ = self._registry(EpochRecord, self.dossier.epoch_record)
        record.check(epoch)
        oracles = self.policy.trust.oracles
        if oracles is not None:
            self.found.attempt(lambda: self._snapshot(record, oracles))
        return epoch

    def _snapshot(self, record: EpochRecord, oracles: OraclePolicy) -> None:
        """The epoch's prices are those of the oracles that the venue trusts."""
        dossier = self.dossier
        if dossier.universe is None or dossier.snapshot is None:
            raise PolicyError("decide.snapshot", "the universe and the snapshot behind the epoch are not at hand")
        universe = parse_universe(dossier.universe)
        snapshot = parse_snapshot(dossier.snapshot, universe)
        if (record.universe, record.snapshot) != (universe.digest, snapshot.digest):
            raise PolicyError("decide.snapshot", "the epoch is of another universe or snapshot")
        check_snapshot(snapshot, [Envelope.decode(data) for data in by_oracle(dossier.reports)], oracles, universe)

    def _epoch_age(self, epoch: RiskEpoch, newest: Newest | None) -> None:
        found, now = self.found, self.now
        age, distance = now - epoch.time, abs(self.statement.cut_time - epoch.time)
        self.facts["epoch"] = {"digest": epoch.digest.hex(), "time": epoch.time, "age_s": age}
        found.require(age >= -MAX_AHEAD_S, "decide.epoch-ahead", "its epoch is of a time that lies ahead")
        found.require(age <= self.policy.epoch_max_age_s, "decide.epoch-age", f"its epoch is {age} s old")
        found.require(
            distance <= self.policy.coherence_window_s, "decide.coherence", f"cut and epoch lie {distance} s apart"
        )
        if newest is None:
            return
        time = newest.logged.leaf.time
        found.require(time < epoch.expires, "decide.epoch-expired", "logged after its epoch had expired")
        for record in self.dossier.newer_epochs:
            superseded = found.attempt(lambda record=record: self._supersedes(record, epoch, newest))  # type: ignore[misc]
            found.require(not superseded, "decide.epoch-newer", "a newer epoch was logged before it")

    def _supersedes(self, record: LoggedRecord, epoch: RiskEpoch, newest: Newest) -> bool:
        """Whether this epoch of the same operator is newer, and was in the log long enough before the attestation."""
        newer, _ = self._registry(EpochRecord, record.envelope)
        since = newest.logged.leaf.time - self._logged(record, LogKind.EPOCH, newest).leaf.time
        same = (newer.operator, newer.universe) == (epoch.operator, epoch.universe_digest)
        return same and newer.time > epoch.time and since > self.policy.trust.epoch_lag_s

    # Sources --------------------------------------------------------------------------------------------------------

    def _sources(self, compiled: Sequence[Compiled], newest: Newest | None) -> SourceFacts | None:
        policy, statement, found, setting = self.policy, self.statement, self.found, self.setting
        named = {e.source for e in statement.sources}
        if policy.listed_as is not None:
            listed = policy.listed_as in named
            found.require(listed, "decide.not-listed", "the venue's own books of the account are not included")
        for source in sorted(named - policy.sources.keys()):
            found.require(False, "decide.source", f"the venue does not rely on source {source}")
        evidence = found.attempt(lambda: self._evidence(compiled, newest))
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

    def _evidence(self, compiled: Sequence[Compiled], newest: Newest | None) -> SourceEvidence:
        dossier, circuit = self.dossier, compiled[0].circuit
        registry, registry_digest = self._registry(SourceRegistry, dossier.source_registry)
        self._version("source", registry.version, self.policy.source_registry_version)
        manifest, manifest_digest = self._manifest(registry, newest)
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

    def _version(self, which: str, version: int, least: int) -> None:
        message = f"the {which} registry is version {version}; the venue takes {least} and later"
        self.found.require(version >= least, "decide.registry-version", message)

    def _manifest(self, registry: SourceRegistry, newest: Newest | None) -> tuple[Manifest, bytes]:
        """The manifest in force at the cut, every link of the chain checked."""
        chain: list[tuple[Manifest, bytes]] = []
        for record in self.dossier.manifests:
            envelope = Envelope.decode(record.envelope)
            manifest = open_manifest(
                envelope,
                logged=self._logged(record, LogKind.MANIFEST, newest).leaf.time,
                delay_s=self.policy.trust.manifest_delay_s,
                previous=chain[-1] if chain else None,
                releases=[Envelope.decode(r) for r in record.releases],
                registry=registry,
            )
            chain.append((manifest, envelope.digest))
        if not chain:
            raise PolicyError("decide.manifest", "the account's manifest is not at hand")
        in_force = [link for link in chain if link[0].effective <= self.statement.cut_time]
        return in_force[-1] if in_force else chain[0]

    # Pledges --------------------------------------------------------------------------------------------------------

    def _pledge(self, compiled: Sequence[Compiled], venues: tuple[VenueRegistry, bytes]) -> None:
        statement, policy, data = self.statement, self.policy, self.dossier.pledge
        self._version("venue", venues[0].version, policy.venue_registry_version)
        if data is None:
            opened = policy.minimum_pledge_ticks == 0
            self.found.require(opened, "decide.pledge", "no pledge was opened to the venue")
            return
        n, setting = compiled[0].circuit.n, self.setting

        def opening() -> int:
            shown = PledgeOpening.decode(data)
            return verify_pledge(
                shown, statement, *venues, policy.venue, n, srs=setting.srs, curve=setting.curve
            )  # fmt: skip

        ticks = self.found.attempt(opening)
        if ticks is None:
            return
        caps = [cap for e in statement.sources if (cap := policy.sources.get(e.source)) is not None]
        counted = min([ticks, *caps])
        self.facts |= {"pledge_ticks": ticks, "counted_ticks": counted}
        self.facts |= {"tick": statement.tick, "currency": statement.currency}
        self.found.require(
            counted >= policy.minimum_pledge_ticks,
            "decide.pledge",
            "the pledge it can count on is below the venue's least",
        )

    def _continuity(self, compiled: Sequence[Compiled], venues: tuple[VenueRegistry, bytes]) -> None:
        statement, dossier, n = self.statement, self.dossier, compiled[0].circuit.n
        if statement.continuity == Continuity.FIRST:
            return
        if dossier.previous is None:
            self.found.require(False, "decide.previous", "the predecessor attestation is not at hand")
            return
        data = dossier.previous

        def faults() -> list[MarginSealError]:
            before = Attestation.decode(data)
            before.verify_signatures(self.policy.trust.provers)  # its proofs are the log's auditors' to replay
            previous = before.statement
            same = previous.universe == statement.universe
            previous_n = n if same else _rows(dossier.previous_epoch, previous.epoch)
            registries = {venues[1]: venues[0]}
            if dossier.previous_venue_registry is not None:
                older, digest = self._registry(VenueRegistry, dossier.previous_venue_registry)
                registries[digest] = older
            releases = {e.digest: e for e in map(Envelope.decode, dossier.releases)}
            return list(
                continuity_faults(
                    statement, previous, n=n, previous_n=previous_n, registries=registries, releases=releases
                )
            )

        self.found.all(self.found.attempt(faults) or [])


def _asked_for(policy: Policy, rule: RuleRef, claim: Claim) -> bool:
    """Whether this claim is one the venue's policy accepts; a disclosure never is."""
    return claim.kind == Kind.ATTESTATION and policy.accepts(rule.name, rule.parameters, claim.tier)


def _said(attestation: Attestation, policy: Policy, now: int) -> dict[str, Any]:
    """What the attestation says of itself."""
    statement = attestation.statement
    return {
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
            {
                "rule": rule.name,
                "parameters": rule.values,
                "kind": claim.kind.name.lower(),
                "tier": claim.tier.name.lower(),
                "inputs": list(claim.inputs),
                "accepted": _asked_for(policy, rule, claim),
            }
            for rule, claim in zip(attestation.body.rules, statement.claims, strict=True)
        ],
    }


def _tree(newest: Newest) -> tuple[int, bytes]:
    return newest.logged.signed.checkpoint.size, newest.logged.signed.checkpoint.root


def _rows(epoch: bytes | None, digest: bytes) -> int:
    """n of the circuits on the predecessor's epoch."""
    decoded = None if epoch is None else decode_epoch(epoch)
    if decoded is None or decoded.digest != digest:
        raise PolicyError("decide.previous", "the predecessor's epoch is not at hand")
    return rows_for(decoded.instruments)
