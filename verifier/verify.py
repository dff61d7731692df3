"""The protocol box: one proof against one circuit and one statement (sections 4 and 5).

Raises, so that no result can be forgotten: DecodeError (not canonical), ProofRejected (not valid), PolicyError (another
circuit than the one at hand).  Whether the statement is one to rely on (signatures, manifest, log, age) is
`verifier.acceptance` and `verifier.decision.decide`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

from circuits.circuit import Circuit, Role
from marginseal.algebra.curve import Curve, backend
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.srs import SRS, ceremony
from marginseal.algebra.vectors import FieldVectors, default_vectors
from marginseal.errors import PolicyError, ProofRejected
from marginseal.records.statement import Kind, Statement
from verifier.collapse import Collapsed, collapse
from verifier.identities import linearise
from verifier.messages import Points, Proof
from verifier.rounds import Rounds, claim_of


@dataclass(frozen=True)
class Setting:
    """What a verifier brings along: the powers it trusts, its curve library, its vector arithmetic."""

    srs: SRS
    curve: Curve
    vectors: FieldVectors

    @classmethod
    def default(cls) -> Setting:
        return cls(ceremony(), backend(), default_vectors())


@dataclass(frozen=True)
class PairingEquation:
    """e(W, [tau^2]) e(A, [tau]) e(B, [1]) = 1."""

    W: Any
    A: Any
    B: Any


def verify(
    circuit: Circuit, statement: Statement, proof_bytes: bytes, index: int = 0, *, setting: Setting | None = None
) -> None:
    """Accept silently or raise.  `circuit` must be compiled by the caller from a rule and an epoch it accepts."""
    setting = setting or Setting.default()
    replayed = replay(circuit, statement, proof_bytes, index, setting, {})
    collapsed = collapse(circuit, replayed.rhs, replayed.rho, setting.vectors)  # V4  the public matrices
    if not holds(assemble(replayed, collapsed, setting), setting):  # V5, V6  section 5
        raise ProofRejected("verify.pairing", "the proof's openings do not hold")


def holds(equation: PairingEquation, setting: Setting) -> bool:
    one_2, tau_2, tau_squared_2 = setting.srs.g2(setting.curve)
    return setting.curve.pairing_check([(equation.W, tau_squared_2), (equation.A, tau_2), (equation.B, one_2)])


@dataclass(frozen=True)
class Replayed:
    """A decoded proof and its challenges: all that precedes the matrices."""

    circuit: Circuit
    proof: Proof
    points: Points
    p: list[Any]
    rhs: list[int]
    beta: int
    rho: int
    y: int
    z: int
    nu: int


Decoded = dict[bytes, Any]
"""Commitments of statements that were decoded already, by their bytes."""


def replay(
    circuit: Circuit, statement: Statement, proof_bytes: bytes, index: int, setting: Setting, known: Decoded
) -> Replayed:
    """V1 to V3: decode, and draw the challenges the statement and the messages determine.

    known: one for all proofs that are verified together; each claim of a statement has the same commitments, of which
    there may be 2^16, and a decoded point costs a quarter of a millisecond."""
    if statement.srs != setting.srs.digest:
        raise PolicyError("verify.srs", "the statement is over another structured reference string")
    claim = claim_of(circuit, statement, index)
    rhs = circuit.right_hand_sides(claim.inputs)
    proof = Proof.decode(proof_bytes, circuit)  # V1  canonical bytes, subgroup points, exact counts
    points = proof.points(setting.curve)
    p = bound_points(circuit, statement, setting.curve, known)
    rounds = Rounds.start(circuit, statement, index)  # V2  the statement before everything
    beta, rho = rounds.round_1(proof.limbs, proof.m)  # V3  limb columns and multiplicities
    y = rounds.round_2(proof.h, proof.phi)  #     lookup helpers and running sum
    z = rounds.round_3(proof.Q)  #     quotient pieces
    nu = rounds.round_4(proof.c_z, proof.phi_wz)  #     limbs at z, phi at wz
    return Replayed(circuit, proof, points, p, rhs, beta, rho, y, z, nu)


def bound_points(circuit: Circuit, statement: Statement, curve: Curve, known: Decoded) -> list[Any]:
    """For each bound vector, the commitment that the statement gives it; a sum of sources may be the identity.

    Every point of the statement is decoded, whether this circuit binds it or not."""
    check_tiles(circuit, statement)
    check_link(circuit, statement)

    def decoded(data: bytes) -> Any:
        if data not in known:
            known[data] = curve.decode_g1(data)
        return known[data]

    C = [decoded(e.C) for e in statement.sources]
    pledge = decoded(statement.pledge)
    previous = None if statement.previous_pledge is None else decoded(statement.previous_pledge)
    out = []
    for b in circuit.bound:
        match b.role:
            case Role.HOLDINGS:
                tile = [point for e, point in zip(statement.sources, C, strict=True) if e.tile == b.tile]
                out.append(reduce(curve.add, tile, curve.identity()))
            case Role.PLEDGES:
                out.append(pledge)
            case Role.PREVIOUS_PLEDGES:
                out.append(previous)
    return out


def check_link(circuit: Circuit, statement: Statement) -> None:
    """Section 8: an attestation binds its predecessor's pledges exactly if the statement links to them.

    A disclosure need not, and cannot without.  PolicyError verify.link."""
    binds = any(b.role == Role.PREVIOUS_PLEDGES for b in circuit.bound)
    linked = statement.previous_pledge is not None
    if binds != linked and (binds or circuit.kind == Kind.ATTESTATION):
        raise PolicyError("verify.link", "the circuit and the statement disagree about a predecessor's pledges")


def check_tiles(circuit: Circuit, statement: Statement) -> None:
    """Every (source, book) commits to every tile of the circuit and to no other."""
    tiles: dict[tuple[str, str], list[int]] = {}
    for entry in statement.sources:
        tiles.setdefault((entry.source, entry.book), []).append(entry.tile)
    if any(found != list(range(circuit.tiles)) for found in tiles.values()):
        raise PolicyError("verify.tiles", "a source's book is not committed for exactly the tiles of the universe")


def linear_combination(r: Replayed, collapsed: Collapsed, setting: Setting) -> tuple[list[Any], list[int]]:
    """F = lin + sum_j nu^j (c_j - c_j(z)) as (points, scalars), in the order [1], m, phi, p, h, Q, limbs."""
    proof, points, z = r.proof, r.points, r.z
    lin = linearise(r.circuit, collapsed, proof.c_z, proof.phi_wz, beta=r.beta, y=r.y, z=z, vectors=setting.vectors)
    nu_power = [pow(r.nu, j, R) for j in range(1, len(proof.c_z) + 1)]
    one = lin.one - sum(x * c for x, c in zip(nu_power, proof.c_z, strict=True))
    bases = [setting.curve.generator, points.m, points.phi, *r.p, *points.h, *points.Q, *points.limbs]
    return bases, [one % R, lin.m, lin.phi, *lin.p, *lin.h, *lin.Q, *nu_power]


def assemble(r: Replayed, collapsed: Collapsed, setting: Setting) -> PairingEquation:
    """V5: F, phi' = phi - phi(wz), and the three arguments of the pairing."""
    curve, proof, points, z = setting.curve, r.proof, r.points, r.z
    F = curve.msm(*linear_combination(r, collapsed, setting))
    phi = curve.add(points.phi, curve.mul(curve.generator, -proof.phi_wz % R))
    wz = root_of_unity(r.circuit.n) * z % R
    A = curve.neg(curve.add(curve.add(curve.mul(points.W, (z + wz) % R), F), phi))
    B = curve.msm([points.W, F, phi], [wz * z % R, wz, z])
    return PairingEquation(points.W, A, B)
