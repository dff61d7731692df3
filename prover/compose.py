"""The institution's side: opened books, pledges and wishes in, a signed statement and its submission out.

Everything a statement says is known before any proof is made, so the owner signs here, with a key that no prover holds.
The same code serves a fund that proves for itself and one that seals the submission to a hosted prover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from circuits.model import Link
from marginseal.algebra.commit import CommitmentKey
from marginseal.errors import PolicyError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import RuleRef, sign_statement
from marginseal.records.continuity import listed_releases
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SigningKey
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeSchedule
from marginseal.records.sealing import SealingPublicKey
from marginseal.records.source import SourceStatement
from marginseal.records.statement import NO_PREDECESSOR, Claim, Continuity, SourceEntry, Statement, Tier
from marginseal.records.submission import SourceOpening, Submission
from verifier.claims import compile_claim


@dataclass(frozen=True)
class OpenedBook:
    """One tile of one book: the signed message, what it says, and the opening that was checked against it."""

    message: Envelope
    statement: SourceStatement
    opening: Opening = field(repr=False)


@dataclass(frozen=True)
class ClaimRequest:
    """What the attestation is to claim: a rule, a tier, and the public inputs the rule takes."""

    rule: RuleRef
    tier: Tier
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Registries:
    """What the statement names by digest, and how many rows the venue registry has."""

    manifest: bytes
    sources: bytes
    venues: bytes
    venue_rows: int


@dataclass(frozen=True)
class Predecessor:
    """The attestation before: its statement, its schedule, and the releases its venues signed since."""

    statement: Statement
    schedule: PledgeSchedule = field(repr=False)
    releases: tuple[Envelope, ...] = ()


def compose(
    epoch: RiskEpoch,
    books: Sequence[OpenedBook],
    schedule: PledgeSchedule,
    claims: Sequence[ClaimRequest],
    *,
    account: str,
    key: SigningKey,
    registries: Registries,
    expiry: int,
    response_key: SealingPublicKey,
    commitment: CommitmentKey,
    previous: Predecessor | None = None,
) -> Submission:
    """The submission of one account for one cut; the books decide the cut, the predecessor the continuity.

    PolicyError compose.*: books of different cuts or another universe; RuleError as the rules compile."""
    if not books or not claims:
        raise PolicyError("compose.empty", "an attestation has at least one book and one claim")
    cuts = {(b.statement.terms.cut_id, b.statement.terms.cut_time) for b in books}
    if len(cuts) > 1:
        raise PolicyError("compose.cut", "the sources' statements are of different cuts")
    if {b.statement.universe for b in books} != {epoch.universe_digest}:
        raise PolicyError("compose.universe", "a source's statement is over another universe than the epoch")
    if any(b.statement.n != commitment.n for b in books):
        raise PolicyError("compose.rows", "a source's statement is for another number of rows")
    ((cut_id, cut_time),) = cuts
    books = sorted(books, key=lambda b: _entry(b).order)
    continuity, linked = _continuity(schedule, previous, cut_time, commitment)
    releases = previous.releases if previous is not None and linked else ()
    listed = listed_releases({e.digest: e for e in releases})
    link = Link(tuple(release.row for release in listed)) if linked else None
    statement = Statement(
        srs=commitment.srs.digest,
        epoch=epoch.digest,
        universe=epoch.universe_digest,
        manifest=registries.manifest,
        source_registry=registries.sources,
        venue_registry=registries.venues,
        account=account,
        account_key=key.public.raw,
        sequence=1 if previous is None else previous.statement.sequence + 1,
        prev=NO_PREDECESSOR if previous is None else previous.statement.digest,
        cut_id=cut_id,
        cut_time=cut_time,
        expiry=expiry,
        currency=epoch.currency,
        tick=epoch.tick,
        pledge=schedule.commit(commitment),
        continuity=continuity,
        previous_pledge=previous.statement.pledge if previous is not None and linked else None,
        releases=listed,
        sources=tuple(_entry(b) for b in books),
        claims=tuple(_claim(request, epoch, registries.venue_rows, link) for request in claims),
    )
    return Submission(
        statement=statement,
        owner=sign_statement(statement, key),
        rules=tuple(c.rule for c in claims),
        sources=tuple(SourceOpening(b.message, b.opening) for b in books),
        pledges=schedule,
        response_key=response_key,
        previous_pledges=previous.schedule if previous is not None and linked else None,
        releases=releases,
    )


def _entry(book: OpenedBook) -> SourceEntry:
    terms = book.statement.terms
    return SourceEntry(terms.source, terms.book, book.statement.tile, book.message.digest, book.statement.C)


def _claim(request: ClaimRequest, epoch: RiskEpoch, venues: int, link: Link | None) -> Claim:
    circuit = compile_claim(request.rule, request.tier, epoch, venues=venues, link=link).circuit
    circuit.right_hand_sides(request.inputs)
    return Claim(circuit.kind, circuit.digest, request.tier, request.inputs)


def _continuity(
    schedule: PledgeSchedule, previous: Predecessor | None, cut_time: int, commitment: CommitmentKey
) -> tuple[Continuity, bool]:
    """How the schedule follows its predecessor's (protocol.md section 8), and whether the circuits are linked."""
    if previous is None:
        return Continuity.FIRST, False
    if schedule.commit(commitment) == previous.statement.pledge:
        return Continuity.SAME, False
    if cut_time >= previous.statement.expiry:
        return Continuity.EXPIRED, False
    return Continuity.LINKED, True
