"""Many proofs at once (section 5): one matrix product a circuit, one multi-scalar product, three pairings in all.

Each pairing equation is weighted by a fresh number in 1 .. 2^128 - 1, drawn from the system after all proofs are
decoded, so that wrong ones cannot cancel.  When the sum fails, halves are tried with new weights until the bad proofs
are named.  Malformed proofs are named at once and never reach the sum.  Bare openings (row authority, pledges) may join
as pairing equations of their own.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from circuits.circuit import Circuit
from marginseal.algebra.field import R, root_of_unity
from marginseal.errors import MarginSealError, ProofRejected
from marginseal.records.statement import Statement
from verifier.collapse import Collapsed, collapse_many
from verifier.verify import Decoded, PairingEquation, Replayed, Setting, holds, linear_combination, replay

WEIGHT_BITS = 128
STACK = 16  # proofs of one circuit collapsed together; bounds the memory of the digit matrix

Weights = Callable[[], int]


@dataclass(frozen=True)
class Item:
    """One proof to verify."""

    circuit: Circuit
    statement: Statement
    proof: bytes
    index: int = 0


def fresh_weight() -> int:
    return 1 + secrets.randbelow(2**WEIGHT_BITS - 1)


def verify_batch(
    items: Sequence[Item], *, setting: Setting | None = None, weight: Weights = fresh_weight
) -> list[MarginSealError | None]:
    """For each item None, or the error that `verify` would have raised.  Never stops at the first bad one."""
    setting = setting or Setting.default()
    errors: list[MarginSealError | None] = [None] * len(items)
    replayed: dict[int, Replayed] = {}
    known: Decoded = {}
    for i, item in enumerate(items):
        try:
            replayed[i] = replay(item.circuit, item.statement, item.proof, item.index, setting, known)
        except MarginSealError as e:
            errors[i] = e
    terms = {
        i: _terms(replayed[i], collapsed, setting) for i, collapsed in _collapse_stacked(replayed, setting).items()
    }
    for i in _bad([(i, terms[i]) for i in sorted(terms)], setting, weight):
        errors[i] = ProofRejected("verify.pairing", "the proof's openings do not hold")
    return errors


@dataclass(frozen=True)
class _Terms:
    """A pairing equation not yet added up: A = sum a_j P_j and B = sum b_j P_j, P_0 being the generator."""

    W: Any
    points: list[Any]
    a: list[int]
    b: list[int]


def _terms(r: Replayed, collapsed: Collapsed, setting: Setting) -> _Terms:
    """A = -((z + wz) W + F + phi'),  B = w z^2 W + w z F + z phi'  (V5), coefficient by coefficient."""
    points, f = linear_combination(r, collapsed, setting)
    z, wz = r.z, root_of_unity(r.circuit.n) * r.z % R
    a, b = [-x % R for x in f], [wz * x % R for x in f]
    a[0], b[0] = (a[0] + r.proof.phi_wz) % R, (b[0] - z * r.proof.phi_wz) % R  # phi' has -phi(wz) of the generator
    a[2], b[2] = (a[2] - 1) % R, (b[2] + z) % R  # and phi once
    return _Terms(r.points.W, [*points, r.points.W], [*a, -(z + wz) % R], [*b, wz * z % R])


def _bad(terms: Sequence[tuple[int, _Terms]], setting: Setting, weight: Weights) -> list[int]:
    """As `bad_equations`, every sum of a step in one multi-scalar product."""
    if not terms or holds(_added([t for _, t in terms], setting, weight), setting):
        return []
    if len(terms) == 1:
        return [terms[0][0]]
    half = len(terms) // 2
    return _bad(terms[:half], setting, weight) + _bad(terms[half:], setting, weight)


def _added(terms: Sequence[_Terms], setting: Setting, weight: Weights) -> PairingEquation:
    weights = [1] if len(terms) == 1 else [weight() for _ in terms]
    generator_a = generator_b = 0
    points, a, b = [], [], []
    for x, t in zip(weights, terms, strict=True):
        generator_a, generator_b = generator_a + x * t.a[0], generator_b + x * t.b[0]
        points += t.points[1:]
        a += [x * s % R for s in t.a[1:]]
        b += [x * s % R for s in t.b[1:]]
    points.append(setting.curve.generator)
    msm = setting.curve.msm
    A, B = msm(points, [*a, generator_a % R]), msm(points, [*b, generator_b % R])
    return PairingEquation(msm([t.W for t in terms], weights), A, B)


def _collapse_stacked(replayed: dict[int, Replayed], setting: Setting) -> dict[int, Collapsed]:
    by_circuit: dict[bytes, list[int]] = {}
    for i, r in replayed.items():
        by_circuit.setdefault(r.circuit.digest, []).append(i)
    out: dict[int, Collapsed] = {}
    for indices in by_circuit.values():
        for at in range(0, len(indices), STACK):
            stack = indices[at : at + STACK]
            first = replayed[stack[0]]
            collapsed = collapse_many(
                first.circuit, [replayed[i].rhs for i in stack], [replayed[i].rho for i in stack], setting.vectors
            )
            out.update(zip(stack, collapsed, strict=True))
    return out


def bad_equations(
    equations: Sequence[tuple[int, PairingEquation]], setting: Setting, weight: Weights = fresh_weight
) -> list[int]:
    """The labels of the pairing equations that do not hold, by bisection with new weights at every step."""
    if not equations or holds(_combined([e for _, e in equations], setting, weight), setting):
        return []
    if len(equations) == 1:
        return [equations[0][0]]
    half = len(equations) // 2
    return bad_equations(equations[:half], setting, weight) + bad_equations(equations[half:], setting, weight)


def _combined(equations: Sequence[PairingEquation], setting: Setting, weight: Weights) -> PairingEquation:
    if len(equations) == 1:
        return equations[0]
    weights = [weight() for _ in equations]
    msm = setting.curve.msm
    return PairingEquation(
        msm([e.W for e in equations], weights),
        msm([e.A for e in equations], weights),
        msm([e.B for e in equations], weights),
    )
