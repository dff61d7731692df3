"""The prover's side of the protocol box: messages, challenges, then verify what is about to be released (section 4).

What it needs of a portfolio is the witness (limb columns) and, for each bound vector, the coefficient of Z_H in the
commitment the statement carries.  Both live in this process alone; nothing here prints, stores or raises them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import GROUP, Circuit
from marginseal.algebra.commit import Coefficients, CommitmentKey, Job, Small, Values, commitment_key
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.vectors import FieldVectors, Vector
from marginseal.errors import ProofRejected, Unsatisfied
from marginseal.records.statement import Statement
from prover.blinding import Blinders, draw
from prover.columns import Column
from prover.quotient import leave_one_out, quotient, row_sums
from verifier.collapse import Collapsed, collapse
from verifier.identities import Linear, linearise
from verifier.messages import Proof
from verifier.rounds import Rounds, claim_of
from verifier.sizes import Sizes
from verifier.verify import Setting, verify

Observer = Callable[[str], None]
A = TypeVar("A")
B = TypeVar("B")

MAX_ATTEMPTS = 4  # an exceptional challenge has probability 2^-240; four in a row mean a broken transcript


@dataclass(frozen=True)
class Secrets:
    """The prover's long-lived secret (32 bytes) and a source of 32 fresh bytes; together they seed every blinder."""

    key: bytes
    fresh: Callable[[], bytes] = lambda: os.urandom(32)

    def __repr__(self) -> str:
        return "Secrets(...)"


def prove(
    circuit: Circuit,
    statement: Statement,
    columns: NDArray[np.int64],
    openings: Sequence[int],
    secrets: Secrets,
    *,
    index: int = 0,
    setting: Setting | None = None,
    workers: int = 1,
    observe: Observer = lambda step: None,
) -> bytes:
    """The proof of claim `index`, verified before it is returned.

    columns   int64 (L, n), limbs in 0 .. n-1, layout order (prover.witness)
    openings  for each bound vector, b_0 of [p + b_0 Z_H], for holdings the sum over the tile's sources
    observe   called with the name of each step as it begins: progress and shares of time
    Unsatisfied prove.equations if the columns do not satisfy the circuit; ProofRejected if self-verification fails."""
    setting = setting or Setting.default()
    claim = claim_of(circuit, statement, index)
    rhs = circuit.right_hand_sides(claim.inputs)
    key = commitment_key(circuit.n, setting.srs, setting.vectors, workers, setting.curve)
    digest = statement.digest
    for attempt in range(MAX_ATTEMPTS):
        observe("limbs")
        sizes = Sizes.of(circuit)
        blinders = draw(
            sizes, columns, secret=secrets.key, fresh=secrets.fresh(), statement_digest=digest, index=index,
            attempt=attempt,
        )  # fmt: skip
        rounds = Rounds.start(circuit, statement, index)
        try:
            proof = _messages(circuit, rounds, columns, rhs, openings, blinders, key, observe)
        except ProofRejected as e:
            if e.code != "challenge.exceptional":
                raise
            continue
        data = proof.encode()
        observe("self-verify")
        verify(circuit, statement, data, index, setting=setting)
        return data
    raise ProofRejected("challenge.exceptional", "every attempt met an exceptional challenge")


def _messages(
    circuit: Circuit,
    rounds: Rounds,
    columns: NDArray[np.int64],
    rhs: Sequence[int],
    openings: Sequence[int],
    blinders: Blinders,
    key: CommitmentKey,
    observe: Observer,
) -> Proof:
    """Steps 1 to 5."""
    sizes, n, V = Sizes.of(circuit), circuit.n, key.vectors
    assert columns.shape == (sizes.L, n)
    assert columns.min() >= 0
    assert columns.max() < n
    multiplicity = np.bincount(columns.reshape(-1), minlength=n).astype(np.int64)
    jobs: list[Job] = [Small(columns[j], blinders.limbs[j]) for j in range(sizes.L)]
    *limbs_1, m_1 = key.commit_many([*jobs, Small(multiplicity, blinders.m)])
    beta, rho = rounds.round_1(limbs_1, m_1)

    observe("collapse")
    collapsed = collapse(circuit, rhs, rho, V)

    observe("helpers")
    limbs = [Column.of(V.from_int64(columns[j]), blinders.limbs[j], V) for j in range(sizes.L)]
    m = Column.of(V.from_int64(multiplicity), blinders.m, V)
    h_values, phi_values = _lookup(circuit, collapsed, [c.values for c in limbs], m.values, beta, V)
    jobs = [Values(values, blinders.h[g]) for g, values in enumerate(h_values)]
    *h_1, phi_1 = key.commit_many([*jobs, Values(phi_values, blinders.phi)])
    y = rounds.round_2(h_1, phi_1)

    observe("quotient")
    h = [Column.of(values, blinders.h[g], V) for g, values in enumerate(h_values)]
    phi = Column.of(phi_values, blinders.phi, V)
    with _runner(key.workers) as run:
        Q = quotient(circuit, collapsed, limbs, m, h, phi, openings, beta=beta, y=y, vectors=V, run=run)
    pieces = _pieces(Q, sizes, blinders, V)
    observe("commit quotient")
    Q_1 = key.commit_many([Coefficients(piece) for piece in pieces])
    z = rounds.round_3(Q_1)

    observe("open")
    c_z = [column.evaluate(z, n, V) for column in limbs]
    wz = root_of_unity(n) * z % R
    phi_wz = phi.evaluate(wz, n, V)
    nu = rounds.round_4(c_z, phi_wz)
    lin = linearise(circuit, collapsed, c_z, phi_wz, beta=beta, y=y, z=z, vectors=V)
    F = _batched(circuit, lin, limbs, m, h, phi, pieces, openings, c_z, nu, V)
    W = V.add(V.divide_linear(F, z), V.divide_linear(_full(phi, sizes, V), wz))
    W_1 = key.commit_coefficients(W)
    return Proof(tuple(limbs_1), m_1, tuple(h_1), phi_1, tuple(Q_1), tuple(c_z), phi_wz, W_1)


def _lookup(
    circuit: Circuit, collapsed: Collapsed, limbs: list[Vector], m: Vector, beta: int, V: FieldVectors
) -> tuple[list[Vector], Vector]:
    """On H: h_g = sum_{c in g} 1/(beta + c), and phi with phi(wX) - phi(X) = sum_g h_g - m/(beta + t) + S."""
    n = circuit.n
    h = []
    for at in range(0, len(limbs), GROUP):
        product, derivative = leave_one_out([V.shift(c, beta) for c in limbs[at : at + GROUP]], V)
        h.append(V.mul(derivative, V.inverse(product)))
    poles = V.inverse(V.shift(V.from_int64(np.arange(n, dtype=np.int64)), beta))
    step = V.sub(row_sums(circuit, limbs, collapsed.W, collapsed.U, collapsed.c, V), V.mul(m, poles))
    for helper in h:
        step = V.add(step, helper)
    phi, total = V.running_sum(step)
    if total != 0:
        raise Unsatisfied(
            "prove.equations", "the witness does not satisfy the circuit's equations", line="", shortfall=0
        )
    return h, phi


def _pieces(Q: Vector, sizes: Sizes, blinders: Blinders, V: FieldVectors) -> list[Vector]:
    """Q_0 + b X^{n+2}, Q_1 - b + b' X^{n+2}, Q_2 - b', each padded to n + 3 coefficients."""
    n, k = sizes.n, sizes.piece
    assert not any(V.to_ints(V.take(Q, sizes.quotient_length, 4 * n)))
    b, b_prime = blinders.b, blinders.b_prime
    corners = [(0, b), (-b, b_prime), (-b_prime, 0)]
    out = []
    for i, (low, high) in enumerate(corners):
        piece = V.pad(V.take(Q, i * k, min((i + 1) * k, sizes.quotient_length)), k + 1)
        out.append(V.add(piece, _sparse({0: low, k: high}, k + 1, V)))
    return out


def _sparse(coefficients: dict[int, int], length: int, V: FieldVectors) -> Vector:
    dense = [0] * length
    for i, x in coefficients.items():
        dense[i] += x
    return V.from_ints(dense)


def _blinder_terms(n: int, terms: Iterable[tuple[int, tuple[int, ...]]]) -> dict[int, int]:
    """Coefficients of sum_i scalar_i (b_0 + b_1 X + ...) (X^n - 1)."""
    out: dict[int, int] = {}
    for scalar, blinders in terms:
        for k, b in enumerate(blinders):
            out[k] = out.get(k, 0) - scalar * b
            out[n + k] = out.get(n + k, 0) + scalar * b
    return out


def _full(column: Column, sizes: Sizes, V: FieldVectors) -> Vector:
    """All n + 3 coefficients of a column, blinders included."""
    length = sizes.n + 3
    blinder = _sparse(_blinder_terms(sizes.n, [(1, column.blinders)]), length, V)
    return V.add(V.pad(column.coefficients, length), blinder)


def _batched(
    circuit: Circuit,
    lin: Linear,
    limbs: Sequence[Column],
    m: Column,
    h: Sequence[Column],
    phi: Column,
    pieces: Sequence[Vector],
    openings: Sequence[int],
    c_z: Sequence[int],
    nu: int,
    V: FieldVectors,
) -> Vector:
    """F = lin + sum_j nu^j (c_j - c_j(z)), n + 3 coefficients.

    p_b has the rows of v_b, so its interpolant is the same combination of limb interpolants, and b_0 Z_H beside it."""
    n = circuit.n
    scalar = [pow(nu, j + 1, R) for j in range(len(limbs))]
    blinding = [(x, column.blinders) for x, column in zip(scalar, limbs, strict=True)]
    constant = lin.one - sum(x * c for x, c in zip(scalar, c_z, strict=True))
    for b, bound in enumerate(circuit.bound):
        for v, factor in bound.combination:
            spec = circuit.vectors[v]
            for j in range(spec.limbs):
                scalar[spec.first + j] += lin.p[b] * (factor << (j * circuit.limb_bits))
            constant -= lin.p[b] * factor * circuit.offset(v)
        blinding.append((lin.p[b], (openings[b],)))
    scalars = [*scalar, *lin.h, lin.phi, lin.m]
    columns = [*limbs, *h, phi, m]
    blinding += [(x, c.blinders) for x, c in zip([*lin.h, lin.phi, lin.m], [*h, phi, m], strict=True)]
    F = V.pad(V.combine([x % R for x in scalars], [c.coefficients for c in columns]), n + 3)
    F = V.add(F, V.combine(list(lin.Q), list(pieces)))
    terms = _blinder_terms(n, blinding)
    terms[0] = terms.get(0, 0) + constant
    return V.add(F, _sparse(terms, n + 3, V))


class _runner:
    """`map` on a few threads: the numba kernels release the interpreter's lock.  One worker means plain `map`."""

    def __init__(self, workers: int) -> None:
        self._pool = ThreadPoolExecutor(workers) if workers > 1 else None

    def __enter__(self) -> Callable[[Callable[[A], B], Iterable[A]], Iterable[B]]:
        return self._pool.map if self._pool else map

    def __exit__(self, *exc: object) -> None:
        if self._pool:
            self._pool.shutdown()
