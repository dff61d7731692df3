"""Hidden columns: n values on H, and blinders that multiply Z_H = X^n - 1.

    p(X) = interpolant(X) + (b_0 + b_1 X + ...) Z_H(X)

The four cosets g eta^k H (eta a 4n-th root of unity, g = 7, k = 0..3) are where the quotient is computed: Z_H is the
constant (g eta^k)^n - 1 on each, and never zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from marginseal.algebra.field import GENERATOR, R, inverse, root_of_unity
from marginseal.algebra.vectors import FieldVectors, Vector

COSETS = 4


@dataclass(frozen=True)
class Column:
    """Values on H, coefficients of the interpolant (n each), and the blinders."""

    values: Vector = field(repr=False)
    coefficients: Vector = field(repr=False)
    blinders: tuple[int, ...] = field(repr=False)

    @classmethod
    def of(cls, values: Vector, blinders: tuple[int, ...], vectors: FieldVectors) -> Column:
        return cls(values, vectors.intt(values), blinders)

    def evaluate(self, x: int, n: int, vectors: FieldVectors) -> int:
        blinder = sum(b * pow(x, k, R) for k, b in enumerate(self.blinders))
        return (vectors.evaluate(self.coefficients, x) + blinder * (pow(x, n, R) - 1)) % R


@dataclass(frozen=True)
class Coset:
    """shift * H: its n points, the twist shift^i of coefficients, Z_H there, and the lookup table's values."""

    shift: int
    points: Vector
    twist: Vector
    vanishing: int
    table: Vector

    def evaluate(self, column: Column, vectors: FieldVectors) -> Vector:
        """The column's values on the coset, blinders included."""
        out = vectors.ntt(vectors.mul(column.coefficients, self.twist))
        power = None
        for b in column.blinders:
            factor = b * self.vanishing % R
            if power is None:
                out, power = vectors.shift(out, factor), self.points
            else:
                out, power = vectors.add(out, vectors.scale(power, factor)), vectors.mul(power, self.points)
        return out

    def remainder(self, values: Vector, vectors: FieldVectors) -> Vector:
        """Coefficients of the polynomial of degree below n with these values on the coset."""
        untwist = vectors.powers(inverse(self.shift), vectors.length(values))
        return vectors.mul(vectors.intt(values), untwist)


_made: dict[tuple[int, str], tuple[Coset, ...]] = {}


def cosets(n: int, vectors: FieldVectors) -> tuple[Coset, ...]:
    """The four cosets for n rows, made once for each backend."""
    if (n, vectors.name) not in _made:
        _made[n, vectors.name] = tuple(_coset(n, k, vectors) for k in range(COSETS))
    return _made[n, vectors.name]


def _coset(n: int, k: int, vectors: FieldVectors) -> Coset:
    shift = GENERATOR * pow(root_of_unity(COSETS * n), k, R) % R
    twist = vectors.powers(shift, n)
    points = vectors.scale(vectors.powers(root_of_unity(n), n), shift)
    t = vectors.intt(vectors.from_ints(range(n)))
    return Coset(shift, points, twist, (pow(shift, n, R) - 1) % R, vectors.ntt(vectors.mul(t, twist)))


def from_remainders(remainders: list[Vector], n: int, vectors: FieldVectors) -> Vector:
    """The polynomial of degree below 4n from its remainders r_k modulo X^n - a_k, a_k = g^n i^k, i = eta^n.

    With q = sum_j X^(jn) q_j:  r_k = sum_j a_k^j q_j, so that q_j = g^(-jn) / 4 * sum_k i^(-jk) r_k."""
    i_inverse = inverse(pow(root_of_unity(COSETS * n), n, R))
    g_inverse = inverse(pow(GENERATOR, n, R))
    quarter = inverse(COSETS)
    parts = []
    for j in range(COSETS):
        factors = [quarter * pow(g_inverse, j, R) * pow(i_inverse, j * k, R) % R for k in range(COSETS)]
        parts.append(vectors.combine(factors, remainders))
    return vectors.concat(parts)
