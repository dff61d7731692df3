"""Counts, degrees, blinders and errors as functions of (L, G, V, M, n): one table, next to one another (section 11).

Whatever allocates, slices or bounds by a count of the protocol takes it from here; `tests/verifier/test_sizes.py`
measures each on real provers' polynomials.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log2

from circuits.circuit import GROUP, Circuit
from marginseal.algebra.field import R
from marginseal.algebra.srs import D

POINT_BYTES = 48
SCALAR_BYTES = 32

# Blinders: the number of linear functionals of the column that the transcript determines (section 2).
LIMB_BLINDERS = 2  # at tau, at z
M_BLINDERS = 1  # at tau
H_BLINDERS = 1  # at tau
PHI_BLINDERS = 3  # at tau, w tau, wz
SIGNED_BLINDERS = 1  # at tau
Q_PIECES = 3
Q_BLINDERS = Q_PIECES - 1  # b and b', between the pieces


@dataclass(frozen=True)
class Sizes:
    """L limb columns, V bound vectors, M equations, n rows."""

    L: int
    V: int
    M: int
    n: int

    @classmethod
    def of(cls, circuit: Circuit) -> Sizes:
        return cls(circuit.columns, len(circuit.bound), circuit.equations, circuit.n)

    @property
    def G(self) -> int:
        """Lookup helpers."""
        return -(-self.L // GROUP)

    @property
    def identities(self) -> int:
        """I: bindings, groups, the running sum."""
        return self.V + self.G + 1

    @property
    def points(self) -> int:
        """Limbs, m, helpers, phi, quotient pieces, W."""
        return self.L + 1 + self.G + 1 + Q_PIECES + 1

    @property
    def scalars(self) -> int:
        """The limbs at z, phi at wz."""
        return self.L + 1

    @property
    def proof_bytes(self) -> int:
        return POINT_BYTES * self.points + SCALAR_BYTES * self.scalars

    @property
    def blinders(self) -> int:
        """Fresh field elements drawn for one proof; with full rank every item sent is uniform (section 2)."""
        return LIMB_BLINDERS * self.L + M_BLINDERS + H_BLINDERS * self.G + PHI_BLINDERS + Q_BLINDERS

    @property
    def identity_degree(self) -> int:
        """h_g times three columns, n + 3 (n + 1); the running sum's U v^2 (beta + t) stays below, at 4n."""
        return 4 * self.n + 3

    @property
    def quotient_length(self) -> int:
        """Coefficients of Q: the identity's degree less n, and one."""
        return 3 * self.n + 4

    @property
    def piece(self) -> int:
        """Q = Q_0 + X^piece Q_1 + X^(2 piece) Q_2; pieces hold n+2, n+2 and n coefficients before their blinders."""
        return self.n + 2

    @property
    def opening_length(self) -> int:
        """Coefficients of W: F has degree at most n + 2 (phi, Q_0, Q_1 with blinders)."""
        return self.n + 2

    @property
    def error_bits(self) -> dict[str, float]:
        """-log2 of each term of the soundness error in the algebraic group model; docs/soundness.md derives them.

        beta   the degree of the lookup's rational identity, (L + 1) n; a limb equal to -beta, where two of a group
               would free their helper, L n; a table entry equal to -beta, n (refused, but counted)
        rho    the degree of sum_j rho^j residual_j     y  of the batch of identities     nu  of the batch of openings
        z      four factors of degree 4095: no degree is bounded, a committed polynomial has D coefficients"""
        bits = log2(R)
        return {
            "lookup, double roots, table hits (beta)": bits - log2((self.L + 1) * self.n + self.L * self.n + self.n),
            "equations (rho)": bits - log2(self.M),
            "identities (y)": bits - log2(max(self.identities - 1, 1)),
            "evaluation point (z)": bits - log2(4 * (D - 1)),
            "openings (nu)": bits - log2(self.L),
        }
