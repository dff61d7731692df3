"""A venue's decision: statement, proofs, log and its own pledge against its policy -> accepted with facts, or refused
with every reason (system.md, object 11; protocol.md section 10).

    the log       logged, the account's newest, recent, under the checkpoint before          here, `case`
    keys          in force when they signed, by what the log has of changes and revocations  `case`, everywhere
    statement     times, account, unit, rules against the policy                              here
    epoch         whose, how old, newest                                                      `epoch`
    sources       relied on, signed, complete, held                                           `sources`
    pledge        the venue's own, opened                                                     here
    chain         no pledge fell unseen in the attestations before                            `chain`
    proofs        of this attestation and of those before it, in one batch                    here

A verdict is machine-readable and holds nothing of the book: what it says is what the attestation makes public, and the
one amount that was pledged to this venue.  Checks go on after a failure wherever they still make sense; facts are to be
relied on only if the verdict accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from circuits.compile import Compiled
from marginseal.log.checkpoint import check_append_only
from marginseal.log.policy import MAX_AHEAD_S, SignedCheckpoint
from marginseal.records.attestation import Attestation, RuleRef
from marginseal.records.keys import PublicKey
from marginseal.records.logged import LogKind
from marginseal.records.pledges import PledgeOpening, verify_pledge
from marginseal.records.registry import VenueRegistry
from marginseal.records.statement import Claim, Kind
from verifier.batch import Item, verify_batch
from verifier.claims import compile_claims
from verifier.decision.accepted import Accepted
from verifier.decision.case import Case
from verifier.decision.chain import judge_chain
from verifier.decision.dossier import Dossier
from verifier.decision.epoch import judge_epoch
from verifier.decision.sources import judge_sources
from verifier.decision.verdict import Findings, Verdict
from verifier.policy import Policy
from verifier.verify import Setting


def decide(
    dossier: Dossier,
    policy: Policy,
    *,
    now: int,
    setting: Setting | None = None,
    seen: SignedCheckpoint | None = None,
    accepted: Accepted | None = None,
) -> Verdict:
    """The verdict at `now` (unix seconds).  Never raises for anything the dossier holds.

    seen       the checkpoint this venue used last (`log.memory`): the new one has to extend it
    accepted   the attestation of the account that it accepted last (`accepted`): how far back it has to look"""
    setting, found = setting or Setting.default(), Findings()
    facts: dict[str, Any] = {"venue": policy.venue, "decided": now}
    attestation = found.attempt(lambda: Attestation.decode(dossier.attestation))
    if attestation is not None:
        _judge(Case(dossier, policy, now, setting, attestation, accepted, found, facts), seen)
    reasons = tuple(dict.fromkeys((e.code, e.message) for e in found.reasons))
    return Verdict(not reasons, facts, reasons)


def _judge(case: Case, seen: SignedCheckpoint | None) -> None:
    found, statement, trust = case.found, case.statement, case.policy.trust
    case.facts |= _said(case.attestation, case.policy, case.now)
    if case.newest is not None:
        _log(case, seen)
    found.attempt(lambda: case.ring.accept(case.attestation.verify_signatures, trust.provers, case.logged_at))
    found.require(
        statement.srs == trust.srs == case.setting.srs.digest, "decide.srs", "over powers the venue does not trust"
    )
    _times(case)
    _account(case)
    _rules(case)
    epoch = judge_epoch(case)
    venues = found.attempt(lambda: case.open(VenueRegistry, case.dossier.venue_registry, LogKind.VENUE_REGISTRY))
    if epoch is None or venues is None:
        return
    rules = case.attestation.body.rules
    compiled = found.attempt(lambda: compile_claims(statement, rules, epoch, venues=len(venues[0].venues)))
    if compiled is None:
        return
    circuit = compiled[0].circuit
    judge_sources(case, circuit.n, circuit.tiles)
    _pledge(case, compiled, venues)
    judge_chain(case)
    _proofs(case, compiled)


def _log(case: Case, seen: SignedCheckpoint | None) -> None:
    assert case.newest is not None
    logged = case.newest.logged
    checkpoint, time = logged.signed.checkpoint, logged.leaf.time
    case.facts["log"] = {
        "index": logged.index,
        "logged": time,
        "size": checkpoint.size,
        "root": checkpoint.root.hex(),
        "age_s": case.newest.age_s,
        "witnesses": [name for name, _ in logged.signed.cosigned],
    }
    case.found.require(
        case.statement.cut_time - MAX_AHEAD_S <= time,
        "decide.backdated",
        "the log dates the attestation before its own cut",
    )
    if seen is not None:
        path = case.dossier.consistency
        case.found.attempt(lambda: check_append_only(seen.checkpoint, checkpoint, path))


# What needs the statement alone -----------------------------------------------------------------------------------


def _times(case: Case) -> None:
    statement, now, found = case.statement, case.now, case.found
    left = statement.expiry - now
    found.require(left > 0, "decide.expired", "the attestation has expired: a margin call")
    if left > 0:
        found.require(left >= case.policy.min_life_s, "decide.short-life", f"only {left} s are left to its expiry")
    found.require(statement.cut_time <= now, "decide.future", "its cut lies in the future")


def _account(case: Case) -> None:
    """The account is one the venue knows, under the key it knows or that key's successor."""
    if case.policy.accounts:
        pinned: PublicKey | None = case.policy.accounts.get(case.statement.account)
        known = () if pinned is None else case.ring.in_force([pinned], case.logged_at)
        case.found.require(
            case.statement.account_key in {key.raw for key in known},
            "decide.account",
            "an account the venue does not know, or under another key",
        )


def _rules(case: Case) -> None:
    statement, policy = case.statement, case.policy
    unit = (statement.currency, statement.tick)
    case.found.require(
        unit == (policy.currency, policy.tick), "decide.unit", "in another currency or tick than the venue's"
    )
    claims = zip(case.attestation.body.rules, statement.claims, strict=True)
    accepted = any(_asked_for(policy, rule, claim) for rule, claim in claims)
    case.found.require(
        accepted, "decide.rule", "no claim is of a rule, with its parameters and tier, that the venue accepts"
    )


# Pledge and proofs ------------------------------------------------------------------------------------------------


def _pledge(case: Case, compiled: Sequence[Compiled], venues: tuple[VenueRegistry, bytes]) -> None:
    statement, policy, data, found = case.statement, case.policy, case.dossier.pledge, case.found
    case.version("venue", venues[0].version, policy.venue_registry_version)
    if data is None:
        opened = policy.minimum_pledge_ticks == 0
        found.require(opened, "decide.pledge", "no pledge was opened to the venue")
        return
    n, setting = compiled[0].circuit.n, case.setting

    def opening() -> int:
        shown = PledgeOpening.decode(data)
        return verify_pledge(shown, statement, *venues, policy.venue, n, srs=setting.srs, curve=setting.curve)

    ticks = found.attempt(opening)
    if ticks is None:
        return
    caps = [cap for e in statement.sources if (cap := policy.sources.get(e.source)) is not None]
    counted = min([ticks, *caps])
    case.facts |= {"pledge_ticks": ticks, "counted_ticks": counted}
    case.facts |= {"tick": statement.tick, "currency": statement.currency}
    found.require(
        counted >= policy.minimum_pledge_ticks,
        "decide.pledge",
        "the pledge it can count on is below the venue's least",
    )


def _proofs(case: Case, compiled: Sequence[Compiled]) -> None:
    """The proofs of this attestation and of the chain, weighed together."""
    pairs = zip(compiled, case.attestation.proofs, strict=True)
    items = [("", Item(c.circuit, case.statement, proof, i)) for i, (c, proof) in enumerate(pairs)]
    items += case.items
    errors = verify_batch([item for _, item in items], setting=case.setting)
    for (whose, _), error in zip(items, errors, strict=True):
        if error is not None:
            case.found.reasons.append(type(error)(error.code, whose + error.message))


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
