"""From an opened submission to an attestation: every check, the witnesses, the proofs, the prover's signature.

The checks are those a venue will make (records.acceptance, records.continuity) and those only who holds the openings
can make (records.submission).  What the statement names by digest comes from `Public`, which is the log in the
service and a directory for an institution that proves for itself.  Everything here is in memory and leaves it as an
attestation or as an error; an `Unsatisfied` carries the shortfall for its owner and for nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Role
from circuits.compile import Compiled, compile_rule
from circuits.model import Link
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R
from marginseal.errors import PolicyError
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe
from marginseal.records.acceptance import SourceEvidence, check_sources
from marginseal.records.attestation import Attestation, RuleRef, make_attestation
from marginseal.records.continuity import check_continuity
from marginseal.records.keys import SigningKey
from marginseal.records.manifest import Manifest
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Claim, Continuity, Kind, Statement
from marginseal.records.submission import Submission
from marginseal.records.tiles import tiles_of
from prover.prove import Secrets, prove
from prover.witness import make_witness
from verifier.verify import Setting


class Public(Protocol):
    """What statements name by digest.  PolicyError public.* when it is not there."""

    def epoch(self, digest: bytes) -> RiskEpoch: ...

    def universe(self, digest: bytes) -> Universe: ...

    def manifest(self, digest: bytes) -> Manifest: ...

    def source_registry(self, digest: bytes) -> SourceRegistry: ...

    def venue_registry(self, digest: bytes) -> VenueRegistry: ...

    def source_statement(self, message: bytes) -> PublishedStatement: ...

    def predecessor(self, account: str, sequence: int) -> Attestation | None:
        """The attestation of that sequence, if the log has it."""


class Circuits:
    """Circuits by epoch, rule and tier, the last few: compiling is deterministic, so a kept one is the same one."""

    def __init__(self, keep: int = 16) -> None:
        self._keep = keep
        self._kept: dict[object, Compiled] = {}

    def get(self, epoch: RiskEpoch, rule: RuleRef, claim: Claim, venues: int, link: Link | None) -> Compiled:
        """RuleError rule.*, circuit.*; PolicyError submission.circuit if it is not the one the claim names."""
        key = (epoch.digest, rule.name, rule.parameters, claim.tier, venues, link)
        compiled = self._kept.pop(key, None)
        if compiled is None:
            compiled = compile_rule(rule.name, epoch, claim.tier, venues=venues, link=link, parameters=rule.values)
        self._kept[key] = compiled
        while len(self._kept) > self._keep:
            del self._kept[next(iter(self._kept))]
        if compiled.circuit.digest != claim.circuit or compiled.circuit.kind != claim.kind:
            raise PolicyError("submission.circuit", "the claim names another circuit than its rule compiles to")
        return compiled


@dataclass(frozen=True)
class Attestor:
    """signer: the prover's attestation key; secrets: its blinding secret; workers: threads for one proof."""

    signer: SigningKey
    secrets: Secrets
    setting: Setting
    circuits: Circuits
    workers: int = 1

    def attest(
        self, submission: Submission, public: Public, *, observe: Callable[[str], None] = lambda step: None
    ) -> Attestation:
        """PolicyError, ProofRejected, DecodeError, RuleError, InputError: what is wrong.  Unsatisfied: the book is."""
        statement = submission.statement
        epoch = public.epoch(statement.epoch)
        venues = public.venue_registry(statement.venue_registry)
        universe = public.universe(statement.universe)
        if (epoch.universe_digest, epoch.currency, epoch.tick) != (
            statement.universe,
            statement.currency,
            statement.tick,
        ):
            raise PolicyError("submission.epoch", "the epoch is of another universe, currency or tick")
        link = _link(statement)
        compiled = [
            self.circuits.get(epoch, rule, claim, len(venues.venues), link if claim.kind == Kind.ATTESTATION else None)
            for rule, claim in zip(submission.rules, statement.claims, strict=True)
        ]
        n = compiled[0].circuit.n
        if any(one.circuit.n != n for one in compiled):
            raise PolicyError("submission.rows", "the claims' circuits differ in their number of rows")
        key = commitment_key(n, self.setting.srs, self.setting.vectors, self.workers, self.setting.curve)
        tiles = tiles_of(universe, n)
        submission.check({tile.index: tile for tile in tiles}, key)
        self._check_sources(submission, public, n, len(tiles))
        self._check_continuity(submission, public, n)
        observe("checked")
        proofs = [
            self._prove(submission, one, index, epoch, len(venues.venues), observe)
            for index, one in enumerate(compiled)
        ]
        return make_attestation(statement, submission.owner, submission.rules, proofs, self.signer)

    def _check_sources(self, submission: Submission, public: Public, n: int, tiles: int) -> None:
        statement = submission.statement
        published = {e.message_digest: public.source_statement(e.message_digest) for e in statement.sources}
        evidence = SourceEvidence(
            registry=public.source_registry(statement.source_registry),
            registry_digest=statement.source_registry,
            manifest=public.manifest(statement.manifest),
            manifest_digest=statement.manifest,
            messages={digest: p.message for digest, p in published.items()},
            n=n,
            tiles=tiles,
            row_proofs={digest: p.row_proof for digest, p in published.items() if p.row_proof is not None},
        )
        check_sources(statement, evidence, srs=self.setting.srs, curve=self.setting.curve)

    def _check_continuity(self, submission: Submission, public: Public, n: int) -> None:
        statement = submission.statement
        previous = public.predecessor(statement.account, statement.sequence - 1)
        registries = {statement.venue_registry: public.venue_registry(statement.venue_registry)}
        previous_n = n
        if previous is not None:
            before = previous.statement
            registries[before.venue_registry] = public.venue_registry(before.venue_registry)
            if statement.continuity != Continuity.EXPIRED:  # after an expiry the number of rows may change
                previous_n = self._rows_of(previous, public, registries[before.venue_registry])
        check_continuity(
            statement,
            None if previous is None else previous.statement,
            n=n,
            previous_n=previous_n,
            registries=registries,
            releases={release.digest: release for release in submission.releases},
        )

    def _rows_of(self, attestation: Attestation, public: Public, venues: VenueRegistry) -> int:
        statement, rule = attestation.statement, attestation.body.rules[0]
        epoch = public.epoch(statement.epoch)
        link = _link(statement) if statement.claims[0].kind == Kind.ATTESTATION else None
        return self.circuits.get(epoch, rule, statement.claims[0], len(venues.venues), link).circuit.n

    def _prove(
        self,
        submission: Submission,
        compiled: Compiled,
        index: int,
        epoch: RiskEpoch,
        venues: int,
        observe: Callable[[str], None],
    ) -> bytes:
        circuit = compiled.circuit
        pledges, previous = submission.pledges.opening, submission.previous_pledges
        lots, blinders = _holdings(submission, circuit.n, epoch.instruments)
        attests = circuit.kind == Kind.ATTESTATION
        witness = make_witness(
            compiled,
            lots,
            pledges.q[:venues] if attests else None,
            submission.statement.claims[index].inputs,
            previous.opening.q[:venues] if attests and previous is not None else None,
        )
        openings = []
        for bound in circuit.bound:
            if bound.role == Role.HOLDINGS:
                openings.append(blinders[bound.tile])
            elif bound.role == Role.PLEDGES:
                openings.append(pledges.b_0)
            else:
                assert previous is not None
                openings.append(previous.opening.b_0)
        return prove(
            circuit,
            submission.statement,
            witness.columns,
            openings,
            self.secrets,
            index=index,
            setting=self.setting,
            workers=self.workers,
            observe=observe,
        )


def _link(statement: Statement) -> Link | None:
    if statement.continuity != Continuity.LINKED:
        return None
    return Link(tuple(release.row for release in statement.releases))


def _holdings(submission: Submission, n: int, rows: int) -> tuple[NDArray[np.int64], Mapping[int, int]]:
    """Lots of all rows, netted over the sources, and for each tile the sum of the blinders mod r."""
    tiles = -(-rows // n)
    total = np.zeros(tiles * n, dtype=np.int64)
    blinders = dict.fromkeys(range(tiles), 0)
    for entry, source in zip(submission.statement.sources, submission.sources, strict=True):
        total[entry.tile * n : (entry.tile + 1) * n] += source.opening.q
        blinders[entry.tile] = (blinders[entry.tile] + source.opening.b_0) % R
    return total[:rows], blinders
