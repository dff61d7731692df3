"""A submission in, an attestation out: what a prover does with what an institution entrusts to it.

    check the parts against each other  ->  compile each claim  ->  witness  ->  prove  ->  self-verify  ->  sign

The plaintext lives in this call alone.  Errors name what is wrong and never an amount; `Unsatisfied` keeps the
shortfall apart, for the owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit, Role
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R
from marginseal.errors import PolicyError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import Attestation, make_attestation
from marginseal.records.keys import SigningKey
from marginseal.records.opening import Opening
from marginseal.records.submission import Submission
from marginseal.records.tiles import Tile
from prover.prove import Observer, Secrets, prove
from prover.witness import make_witness
from verifier.claims import compile_claims
from verifier.verify import Setting


def attest(
    submission: Submission,
    epoch: RiskEpoch,
    *,
    venues: int,
    key: SigningKey,
    secrets: Secrets,
    setting: Setting | None = None,
    workers: int = 1,
    observe: Observer = lambda step: None,
) -> Attestation:
    """The attestation of a submission; venues: rows of the venue registry that the statement names.

    PolicyError, ProofRejected, DecodeError submission.*, source.*, claim.*; Unsatisfied with the rule line."""
    setting = setting or Setting.default()
    statement = submission.statement
    observe("compile")
    compiled = compile_claims(statement, submission.rules, epoch, venues=venues)
    commitment = commitment_key(compiled[0].circuit.n, setting.srs, setting.vectors, workers, setting.curve)
    observe("check")
    submission.check(epoch_tiles(epoch, compiled[0].circuit), commitment)
    books = [(entry.tile, source.opening) for entry, source in zip(statement.sources, submission.sources, strict=True)]
    lots = net_lots(books, epoch.instruments, compiled[0].circuit.n)
    proofs = []
    for index, one in enumerate(compiled):
        observe("witness")
        circuit = one.circuit
        witness = make_witness(
            one,
            lots,
            _pledges(submission.pledges.opening, circuit, Role.PLEDGES, venues),
            statement.claims[index].inputs,
            _pledges(submission.previous_pledges.opening, circuit, Role.PREVIOUS_PLEDGES, venues)
            if submission.previous_pledges is not None
            else None,
        )
        proofs.append(
            prove(
                circuit,
                statement,
                witness.columns,
                blinder_sums(circuit, books, submission),
                secrets,
                index=index,
                setting=setting,
                workers=workers,
                observe=observe,
            )
        )
    observe("sign")
    return make_attestation(statement, submission.owner, submission.rules, proofs, key)


def epoch_tiles(epoch: RiskEpoch, circuit: Circuit) -> Mapping[int, Tile]:
    """The tiles of the epoch's universe at the circuit's n, with its bounds on lots."""
    n = circuit.n
    return {t: Tile(epoch.universe_digest, n, t, epoch.max_lots[t * n : (t + 1) * n]) for t in range(circuit.tiles)}


def net_lots(books: Sequence[tuple[int, Opening]], instruments: int, n: int) -> NDArray[np.int64]:
    """q = sum over sources, row by row, exact: int64 (N,).  PolicyError submission.lots past 2**62."""
    rows = -(-instruments // n) * n
    total = np.zeros(rows, dtype=object)
    for tile, opening in books:
        total[tile * n : (tile + 1) * n] += opening.q.astype(object)
    if max(abs(x) for x in total) >= 2**62:
        raise PolicyError("submission.lots", "a netted quantity reaches 2^62 lots")
    return total[:instruments].astype(np.int64)


def _pledges(opening: Opening, circuit: Circuit, role: Role, venues: int) -> NDArray[np.int64] | None:
    """The first `venues` rows of a schedule, if the circuit binds it; rows beyond the registry are never pledged."""
    if all(b.role != role for b in circuit.bound):
        return None
    if opening.q[venues:].any():
        raise PolicyError("submission.pledges", "the schedule pledges to a row beyond the venue registry")
    return opening.q[:venues]


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
