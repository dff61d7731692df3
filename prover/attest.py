"""From an opened submission to an attestation: every check, the witnesses, the proofs, the prover's signature.

The checks are those a venue will make (records.acceptance, records.continuity) and those only who holds the openings
can make (records.submission).  What the statement names by digest comes from `Public`: the log in the service, a folder
for an institution that proves for itself.  The plaintext lives in this call alone and leaves it as an attestation or as
an error; an `Unsatisfied` carries the shortfall for its owner and for nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit, Role
from circuits.compile import Compiled
from circuits.model import rows_for
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R
from marginseal.errors import PolicyError
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe
from marginseal.records.acceptance import SourceEvidence, check_sources
from marginseal.records.attestation import Attestation, RuleRef, make_attestation
from marginseal.records.continuity import check_continuity
from marginseal.records.envelope import Envelope
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import SigningKey
from marginseal.records.manifest import Manifest
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeSchedule
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Claim, Statement
from marginseal.records.submission import Submission
from marginseal.records.tiles import tiles_of
from prover.prove import Observer, Secrets, prove
from prover.witness import make_witness
from verifier.claims import check_claim, check_epoch, compile_claim, link_of
from verifier.verify import Setting

Int64 = NDArray[np.int64]


class Public(Protocol):
    """What statements name by digest.  PolicyError public.* when it is not there."""

    def epoch(self, digest: bytes) -> RiskEpoch: ...

    def universe(self, digest: bytes) -> Universe: ...

    def manifest(self, digest: bytes) -> Manifest: ...

    def source_registry(self, digest: bytes) -> SourceRegistry: ...

    def venue_registry(self, digest: bytes) -> VenueRegistry: ...

    def source_statement(self, message: bytes) -> PublishedStatement: ...

    def keys(self) -> tuple[KeyRing, int | None]:
        """Which keys count in whose place, and when the log takes what is judged now; None: its cut stands for it."""

    def predecessor(self, account: str, sequence: int) -> Attestation | None:
        """The attestation of that sequence, if there is one."""


class Circuits:
    """Circuits by epoch, rule and tier, the last few: compiling is deterministic, so a kept one is the same one."""

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._kept: dict[object, Compiled] = {}

    def get(self, epoch: RiskEpoch, rule: RuleRef, claim: Claim, statement: Statement, venues: int) -> Compiled:
        """RuleError rule.*, circuit.*; PolicyError claim.circuit if it is not the one the claim names."""
        link = link_of(statement)
        key = (epoch.digest, rule, claim.tier, venues, link)
        compiled = self._kept.pop(key, None)
        if compiled is None:
            compiled = compile_claim(rule, claim.tier, epoch, venues=venues, link=link)
        self._kept[key] = compiled
        while len(self._kept) > self._keep:
            del self._kept[next(iter(self._kept))]
        check_claim(claim, rule, compiled.circuit)
        return compiled


@dataclass(frozen=True)
class Attestor:
    """signer: the prover's attestation key; secrets: its blinding secret; workers: threads for one proof."""

    signer: SigningKey
    secrets: Secrets
    setting: Setting
    circuits: Circuits
    workers: int = 1

    def attest(self, submission: Submission, public: Public, *, observe: Observer = lambda step: None) -> Attestation:
        """PolicyError, ProofRejected, DecodeError, RuleError, InputError: what is wrong.  Unsatisfied: the book is."""
        statement = submission.statement
        observe("compile")
        epoch = public.epoch(statement.epoch)
        check_epoch(statement, epoch)
        venues = len(public.venue_registry(statement.venue_registry).venues)
        universe = public.universe(statement.universe)
        pairs = zip(submission.rules, statement.claims, strict=True)
        compiled = [self.circuits.get(epoch, rule, claim, statement, venues) for rule, claim in pairs]
        n = compiled[0].circuit.n  # one for all circuits of a universe
        observe("check")
        key = commitment_key(n, self.setting.srs, self.setting.vectors, self.workers, self.setting.curve)
        tiles = tiles_of(universe, n)
        submission.check({tile.index: tile for tile in tiles}, key)
        check_sources_of(statement, public, n, self.setting)
        check_continuity_of(statement, submission.releases, public, n)
        observe("checked")
        books = [(e.tile, s.opening) for e, s in zip(statement.sources, submission.sources, strict=True)]
        lots = net_lots(books, epoch.instruments, n)
        proofs = []
        for index, one in enumerate(compiled):
            observe("witness")
            proofs.append(self._prove(submission, one, index, lots, books, venues, observe))
        observe("sign")
        return make_attestation(statement, submission.owner, submission.rules, proofs, self.signer)

    def _prove(
        self,
        submission: Submission,
        compiled: Compiled,
        index: int,
        lots: Int64,
        books: Sequence[tuple[int, Opening]],
        venues: int,
        observe: Observer,
    ) -> bytes:
        circuit, statement = compiled.circuit, submission.statement
        witness = make_witness(
            compiled,
            lots,
            _amounts(submission.pledges, circuit, Role.PLEDGES, venues),
            statement.claims[index].inputs,
            _amounts(submission.previous_pledges, circuit, Role.PREVIOUS_PLEDGES, venues),
        )
        return prove(
            circuit,
            statement,
            witness.columns,
            blinder_sums(circuit, books, submission),
            self.secrets,
            index=index,
            setting=self.setting,
            workers=self.workers,
            observe=observe,
        )


def net_lots(books: Sequence[tuple[int, Opening]], instruments: int, n: int) -> Int64:
    """q = sum over sources, row by row, exact: int64 (N,).  PolicyError submission.lots past 2**62."""
    total = np.zeros(-(-instruments // n) * n, dtype=object)
    for tile, opening in books:
        total[tile * n : (tile + 1) * n] += opening.q.astype(object)
    if max(abs(x) for x in total) >= 2**62:
        raise PolicyError("submission.lots", "a netted quantity reaches 2^62 lots")
    return total[:instruments].astype(np.int64)


def blinder_sums(circuit: Circuit, books: Sequence[tuple[int, Opening]], submission: Submission) -> list[int]:
    """For each bound vector the coefficient of Z_H in the commitment that the statement gives it."""
    out = []
    for b in circuit.bound:
        if b.role == Role.HOLDINGS:
            out.append(sum(opening.b_0 for tile, opening in books if tile == b.tile) % R)
        elif b.role == Role.PLEDGES:
            out.append(submission.pledges.opening.b_0)
        else:
            assert submission.previous_pledges is not None
            out.append(submission.previous_pledges.opening.b_0)
    return out


def _amounts(schedule: PledgeSchedule | None, circuit: Circuit, role: Role, venues: int) -> Int64 | None:
    """The first `venues` rows of a schedule, if the circuit binds it; rows beyond the registry are never pledged."""
    if schedule is None or all(b.role != role for b in circuit.bound):
        return None
    if schedule.opening.q[venues:].any():
        raise PolicyError("submission.pledges", "the schedule pledges to a row beyond the venue registry")
    return schedule.opening.q[:venues]


def check_sources_of(statement: Statement, public: Public, n: int, setting: Setting) -> None:
    """Every entry stands for a published message, accepted under the statement's own manifest and registry.

    PolicyError, ProofRejected, DecodeError accept.*, signature.*, rows.*, public.*."""
    ring, logged = public.keys()
    published = {e.message_digest: public.source_statement(e.message_digest) for e in statement.sources}
    evidence = SourceEvidence(
        registry=public.source_registry(statement.source_registry),
        registry_digest=statement.source_registry,
        manifest=public.manifest(statement.manifest),
        manifest_digest=statement.manifest,
        published=published,
        n=n,
        tiles=len(tiles_of(public.universe(statement.universe), n)),
        ring=ring,
        logged=logged,
    )
    check_sources(statement, evidence, srs=setting.srs, curve=setting.curve)


def check_continuity_of(statement: Statement, releases: Iterable[Envelope], public: Public, n: int) -> None:
    """It follows the account's attestation before.  PolicyError continuity.*, release.*, public.*."""
    previous = public.predecessor(statement.account, statement.sequence - 1)
    ring, logged = public.keys()
    registries: Mapping[bytes, VenueRegistry] = {
        digest: public.venue_registry(digest)
        for digest in {statement.venue_registry, *([] if previous is None else [previous.statement.venue_registry])}
    }
    check_continuity(
        statement,
        None if previous is None else previous.statement,
        n=n,
        previous_n=n if previous is None else rows_for(len(public.universe(previous.statement.universe))),
        registries=registries,
        releases={release.digest: release for release in releases},
        ring=ring,
        logged=statement.cut_time if logged is None else logged,
    )
