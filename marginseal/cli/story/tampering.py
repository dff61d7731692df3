"""What a cheat would try on an attestation, each refused by name: the second half of the demo.

Every case changes one thing and hands the result to the very functions a venue runs.  A case that is *accepted* is an
error here: the demo fails, and so does the test that runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from marginseal.errors import MarginSealError

if TYPE_CHECKING:
    from circuits.compile import Compiled
    from marginseal.market.epoch import RiskEpoch
    from marginseal.records.acceptance import SourceEvidence
    from marginseal.records.attestation import Attestation, AttestationBody
    from marginseal.records.keys import SigningKey
    from marginseal.records.pledges import PledgeOpening
    from marginseal.records.registry import VenueRegistry
    from marginseal.records.statement import Statement, Tier
    from marginseal.records.submission import Submission
    from verifier.verify import Setting


@dataclass(frozen=True)
class Stage:
    """An honest attestation with all that a venue needs to judge it, and what a cheat would need to bend it."""

    attestation: Attestation
    epoch: RiskEpoch
    other_epoch: RiskEpoch
    evidence: SourceEvidence
    venues: VenueRegistry
    venues_digest: bytes
    pledge: PledgeOpening
    submission: Submission
    owner: SigningKey
    prover: SigningKey
    setting: Setting


def venue_checks(stage: Stage, attestation: Attestation, epoch: RiskEpoch) -> None:
    """What a venue runs on any attestation it is shown: signatures, claims, sources, proofs."""
    from marginseal.records.acceptance import check_sources
    from verifier.claims import compile_claims, verify_claims

    attestation.verify_signatures([stage.prover.public])
    rows = len(stage.venues.venues)
    compiled: list[Compiled] = compile_claims(attestation.statement, attestation.body.rules, epoch, venues=rows)
    check_sources(attestation.statement, stage.evidence, srs=stage.setting.srs, curve=stage.setting.curve)
    verify_claims(attestation.statement, attestation.proofs, compiled, setting=stage.setting)


def cases(stage: Stage) -> Iterator[tuple[str, Callable[[], object]]]:
    """(what is tried, the call that must refuse it)."""
    from marginseal.records.attestation import AttestationBody, sign_statement
    from marginseal.records.pledges import verify_pledge
    from marginseal.records.statement import Tier

    honest, statement = stage.attestation, stage.attestation.statement
    proof = honest.proofs[0]

    def with_proof(data: bytes) -> Callable[[], object]:
        body = replace(honest.body, proofs=(data, *honest.proofs[1:]))
        return lambda: _shown(stage, body)

    def restated(change: Callable[[Statement], Statement]) -> Callable[[], object]:
        """The owner and the prover sign another statement over the same proofs."""

        def run() -> None:
            other = change(statement)
            body = AttestationBody(other, sign_statement(other, stage.owner), honest.body.rules, honest.proofs)
            _shown(stage, body)

        return run

    def not_signed(change: Callable[[Statement], Statement]) -> Callable[[], object]:
        """The prover alone changes the statement; the owner's signature is kept."""
        return lambda: _shown(stage, replace(honest.body, statement=change(statement)))

    yield "one bit of a commitment flipped", with_proof(bytes([proof[0] ^ 1]) + proof[1:])
    yield "two commitments of the proof exchanged", with_proof(proof[48:96] + proof[:48] + proof[96:])
    yield "the proof cut short by one byte", with_proof(proof[:-1])
    yield "the opening replaced by another point", with_proof(proof[:-48] + proof[:48])
    yield "a losing source left out", restated(lambda s: replace(s, sources=s.sources[:-1]))
    yield "a source counted twice", restated(lambda s: replace(s, sources=(*s.sources, s.sources[-1])))
    yield "one source's commitment replaced by another's", restated(_swap_commitments)
    yield "a pledge lowered behind the owner's back", not_signed(lambda s: replace(s, pledge=s.sources[0].C))
    yield "another pledge schedule under the same proof", restated(lambda s: replace(s, pledge=s.sources[0].C))
    yield "a later expiry", restated(lambda s: replace(s, expiry=s.expiry + 1))
    yield "initial tier claimed as maintenance", restated(lambda s: _retier(s, Tier.MAINTENANCE))
    yield "shown with the epoch of another day", lambda: venue_checks(stage, honest, stage.other_epoch)
    yield "over a reference string of known secret", restated(lambda s: replace(s, srs=bytes(32)))
    yield "signed by a prover nobody knows", lambda: _by_stranger(stage)

    def pledge(opening: PledgeOpening, venue: str) -> object:
        n = stage.evidence.n
        return verify_pledge(
            opening, statement, stage.venues, stage.venues_digest, venue, n, srs=stage.setting.srs,
            curve=stage.setting.curve,
        )  # fmt: skip

    shown = stage.pledge
    other = next(v.id for v in stage.venues.venues if v.id != shown.venue)
    yield "a pledge opened one tick higher", lambda: pledge(replace(shown, amount=shown.amount + 1), shown.venue)
    yield "one venue's pledge shown to another", lambda: pledge(replace(shown, venue=other), other)
    yield "more lots proven than the sources signed", lambda: _more_lots(stage)


def refused(run: Callable[[], object]) -> MarginSealError | None:
    """The error that refused it, or None: then it was accepted."""
    try:
        run()
    except MarginSealError as e:
        return e
    return None


def _shown(stage: Stage, body: AttestationBody) -> None:
    """A body signed by the known prover, through its bytes, to a venue."""
    from marginseal.records.attestation import Attestation
    from marginseal.records.envelope import sign

    venue_checks(stage, Attestation.decode(sign(body, [stage.prover]).encode()), stage.epoch)


def _by_stranger(stage: Stage) -> None:
    from marginseal.records.attestation import Attestation
    from marginseal.records.envelope import sign
    from marginseal.records.keys import Role, SigningKey

    envelope = sign(stage.attestation.body, [SigningKey(Role.PROVER, bytes(range(32)))])
    venue_checks(stage, Attestation.decode(envelope.encode()), stage.epoch)


def _swap_commitments(s: Statement) -> Statement:
    first, second, *rest = s.sources
    return replace(s, sources=(replace(first, C=second.C), replace(second, C=first.C), *rest))


def _retier(s: Statement, tier: Tier) -> Statement:
    return replace(s, claims=(replace(s.claims[0], tier=tier), *s.claims[1:]))


def _more_lots(stage: Stage) -> None:
    """An honest-looking prover run on holdings with more lots than the sources committed to."""
    import numpy as np

    from marginseal.records.opening import Opening
    from prover.attest import blinder_sums, net_lots
    from prover.prove import Secrets, prove
    from prover.witness import make_witness
    from verifier.claims import compile_claims

    statement, submission = stage.attestation.statement, stage.submission
    rows = len(stage.venues.venues)
    compiled = compile_claims(statement, submission.rules, stage.epoch, venues=rows)[0]
    books = [(e.tile, s.opening) for e, s in zip(statement.sources, submission.sources, strict=True)]
    tile, opening = books[0]
    q = np.array(opening.q)
    q[np.flatnonzero(q)[0]] += 1
    books[0] = (tile, Opening(q, opening.b_0, opening.random))
    lots = net_lots(books, stage.epoch.instruments, compiled.circuit.n)
    witness = make_witness(compiled, lots, submission.pledges.opening.q[:rows])
    openings = blinder_sums(compiled.circuit, books, submission)
    prove(compiled.circuit, statement, witness.columns, openings, Secrets(bytes(32)), setting=stage.setting)
