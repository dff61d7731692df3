"""The identities of section 4 linearised at z: which scalar multiplies which commitment, used by both sides.

    lin = sum_b y^{I-b} (v_b(z) - p_b)  +  sum_g y^{I-V-g} (h_g prod A_c - sum_c prod_{c' != c} A_{c'})
          + (phi(wz) - phi - sum_g h_g - S(z)) T + m - (z^n - 1) (Q_0 + z^{n+2} Q_1 + z^{2n+4} Q_2),
    A_c = beta + c(z),  T = beta + t(z),  S(z) = sum_t (W_t(z) v_t(z) + U_t(z) v_t(z)^2) - c/n.

The verifier applies these scalars to points, the prover to polynomials; lin vanishes at z exactly when every identity
holds there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from circuits.circuit import GROUP, Circuit
from marginseal.algebra.field import R, inverse
from marginseal.algebra.vectors import FieldVectors, Vector
from verifier.collapse import Collapsed
from verifier.sizes import Sizes


@dataclass(frozen=True)
class Linear:
    """Scalars of lin, in F: the constant, then one for each commitment."""

    one: int
    p: tuple[int, ...]
    h: tuple[int, ...]
    phi: int
    m: int
    Q: tuple[int, ...]


def target_values(circuit: Circuit, c_z: Sequence[int]) -> list[int]:
    """v_t(z) of every target, from the limbs at z."""
    values = []
    for v, vector in enumerate(circuit.vectors):
        limbs = c_z[vector.first : vector.first + vector.limbs]
        values.append((sum(x << (j * circuit.limb_bits) for j, x in enumerate(limbs)) - circuit.offset(v)) % R)
    return [sum(factor * values[v] for v, factor in target) % R for target in circuit.targets]


def bound_values(circuit: Circuit, values: Sequence[int]) -> list[int]:
    """v_b(z) of every bound vector, from the values of the plain vectors."""
    return [sum(factor * values[v] for v, factor in b.combination) % R for b in circuit.bound]


def table(n: int, vectors: FieldVectors) -> Vector:
    """t(w^i) = i."""
    return vectors.from_int64(np.arange(n, dtype=np.int64))


def leave_one_out(factors: Sequence[int]) -> tuple[int, int]:
    """(prod f, sum_i prod_{j != i} f_j) mod r."""
    product, derivative = 1, 0
    for f in factors:
        derivative = (derivative * f + product) % R
        product = product * f % R
    return product, derivative


def linearise(
    circuit: Circuit,
    collapsed: Collapsed,
    c_z: Sequence[int],
    phi_wz: int,
    *,
    beta: int,
    y: int,
    z: int,
    vectors: FieldVectors,
) -> Linear:
    """The scalars of lin at z (z^n != 1)."""
    sizes, n = Sizes.of(circuit), circuit.n
    basis = vectors.barycentric(n, z)
    T = (beta + vectors.inner(basis, table(n, vectors))) % R
    values = target_values(circuit, c_z)
    S = -collapsed.c * inverse(n)
    for target, W in collapsed.W.items():
        S += vectors.inner(basis, W) * values[target]
    for target, U in collapsed.U.items():
        S += vectors.inner(basis, U) * values[target] ** 2
    one = (phi_wz - S) * T
    y_power = [pow(y, sizes.identities - i, R) for i in range(1, sizes.identities + 1)]
    for b, v_b in enumerate(bound_values(circuit, values)):
        one += y_power[b] * v_b
    h = []
    for g in range(sizes.G):
        product, derivative = leave_one_out([beta + x for x in c_z[GROUP * g : GROUP * (g + 1)]])
        one -= y_power[sizes.V + g] * derivative
        h.append((y_power[sizes.V + g] * product - T) % R)
    vanish = pow(z, n, R) - 1
    Q = tuple(-vanish * pow(z, k * sizes.piece, R) % R for k in range(3))
    return Linear(one % R, tuple(-y_power[b] % R for b in range(sizes.V)), tuple(h), -T % R, 1, Q)
