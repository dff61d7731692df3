"""From a claim to its circuit: whoever verifies compiles for himself, from a rule and an epoch that he accepts.

    statement + claim + rule name and parameters + epoch  ->  Compiled, with the very digest the claim names

The rule named in an attestation is a suggestion; the circuit digest in the statement decides.  What the epoch fixes of
the statement (universe, currency, tick) is compared here, so that a proof is never read in another unit; whether the
epoch was alive when the attestation was made is a matter of times, which `verifier.decision.decide` judges.
"""

from __future__ import annotations

from collections.abc import Sequence

from circuits.circuit import Circuit
from circuits.compile import Compiled, compile_rule
from circuits.model import Link
from circuits.rules.registry import rule_named
from marginseal.errors import PolicyError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import RuleRef
from marginseal.records.statement import Claim, Continuity, Kind, Statement, Tier
from verifier.batch import Item, verify_batch
from verifier.verify import Setting


def link_of(statement: Statement) -> Link | None:
    """The link a statement's attestation circuits are compiled with: the rows of its listed releases."""
    if statement.continuity != Continuity.LINKED:
        return None
    return Link(tuple(release.row for release in statement.releases))


def compile_claim(rule: RuleRef, tier: Tier, epoch: RiskEpoch, *, venues: int, link: Link | None = None) -> Compiled:
    """The rule on the epoch at a tier; venues: rows of the signed venue registry.  RuleError rule.*, circuit.*."""
    attests = rule_named(rule.name).kind == Kind.ATTESTATION
    return compile_rule(
        rule.name,
        epoch,
        tier,
        venues=venues if attests else 0,
        link=link if attests else None,
        parameters=rule.values,
    )


def check_attests(statement: Statement) -> None:
    """Some claim is an attestation's.  PolicyError claim.no-attestation.

    Only these circuits bind the pledges, and the predecessor's when linked: in a chain, a statement of disclosures
    alone would replace a pledge schedule by any other, and nothing would have been proven about it."""
    if all(claim.kind != Kind.ATTESTATION for claim in statement.claims):
        raise PolicyError("claim.no-attestation", "disclosures accompany an attestation; no claim of this one is one")


def check_epoch(statement: Statement, epoch: RiskEpoch) -> None:
    """The statement attests something about this epoch, in its unit.

    PolicyError claim.no-attestation, claim.epoch, .universe, .unit."""
    check_attests(statement)  # here, so that prover, venue and auditor all ask
    if statement.epoch != epoch.digest:
        raise PolicyError("claim.epoch", "the statement names another epoch")
    if statement.universe != epoch.universe_digest:
        raise PolicyError("claim.universe", "the statement names another universe than its epoch")
    if (statement.currency, statement.tick) != (epoch.currency, epoch.tick):
        raise PolicyError("claim.unit", "the statement names another currency or tick than its epoch")


def check_claim(claim: Claim, rule: RuleRef, circuit: Circuit) -> None:
    """The claim is about this very circuit.  PolicyError claim.circuit."""
    if (circuit.kind, circuit.digest) != (claim.kind, claim.circuit):
        raise PolicyError("claim.circuit", f"the claim is not rule {rule.name} at this tier on this epoch")


def compile_claims(statement: Statement, rules: Sequence[RuleRef], epoch: RiskEpoch, *, venues: int) -> list[Compiled]:
    """One compiled circuit for each claim.  PolicyError claim.* if a claim is about something else."""
    check_epoch(statement, epoch)
    if len(rules) != len(statement.claims):
        raise PolicyError("claim.count", "not one rule for each claim")
    known: dict[tuple[RuleRef, Tier], Compiled] = {}
    out = []
    for claim, rule in zip(statement.claims, rules, strict=True):
        if (rule, claim.tier) not in known:
            known[rule, claim.tier] = compile_claim(rule, claim.tier, epoch, venues=venues, link=link_of(statement))
        check_claim(claim, rule, known[rule, claim.tier].circuit)
        out.append(known[rule, claim.tier])
    return out


def claim_items(statement: Statement, proofs: Sequence[bytes], compiled: Sequence[Compiled]) -> list[Item]:
    """The proofs of an attestation as a batch takes them.  PolicyError claim.count."""
    if not len(proofs) == len(compiled) == len(statement.claims):
        raise PolicyError("claim.count", "not one proof for each claim")
    return [Item(c.circuit, statement, proof, i) for i, (c, proof) in enumerate(zip(compiled, proofs, strict=True))]


def verify_claims(
    statement: Statement,
    proofs: Sequence[bytes],
    compiled: Sequence[Compiled],
    *,
    setting: Setting | None = None,
) -> None:
    """Every proof of an attestation.  Raises the first error; all proofs are weighed together."""
    for error in verify_batch(claim_items(statement, proofs, compiled), setting=setting):
        if error is not None:
            raise error
