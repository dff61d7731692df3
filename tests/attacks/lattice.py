"""Short integer relations: how a prover who knows rho in advance makes wrong equations cancel."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

Matrix = list[list[int]]


def _dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _nearest(a: int, b: int) -> int:
    """a / b to the nearest integer, b > 0."""
    return (2 * a + b) // (2 * b)


def reduced(basis: Matrix) -> Matrix:
    """An LLL-reduced basis (3/4), in integers alone: d_i and lambda_ij of Cohen, algorithm 2.6.7."""
    b = [list(v) for v in basis]
    n = len(b)
    d = [1] + [0] * n
    lam = [[0] * n for _ in range(n)]

    def size_reduce(k: int, j: int) -> None:
        if 2 * abs(lam[k][j]) <= d[j + 1]:
            return
        q = _nearest(lam[k][j], d[j + 1])
        b[k] = [x - q * y for x, y in zip(b[k], b[j], strict=True)]
        lam[k][j] -= q * d[j + 1]
        for i in range(j):
            lam[k][i] -= q * lam[j][i]

    def orthogonalise(k: int) -> None:
        for j in range(k + 1):
            u = _dot(b[k], b[j])
            for i in range(j):
                u = (d[i + 1] * u - lam[k][i] * lam[j][i]) // d[i]
            if j < k:
                lam[k][j] = u
            else:
                d[k + 1] = u

    orthogonalise(0)
    k, known = 1, 0
    while k < n:
        if k > known:
            known = k
            orthogonalise(k)
        size_reduce(k, k - 1)
        if 4 * (d[k + 1] * d[k - 1] + lam[k][k - 1] ** 2) < 3 * d[k] ** 2:
            b[k], b[k - 1] = b[k - 1], b[k]
            for j in range(k - 1):
                lam[k][j], lam[k - 1][j] = lam[k - 1][j], lam[k][j]
            mu, old = lam[k][k - 1], d[k]
            new = (d[k - 1] * d[k + 1] + mu * mu) // old
            for i in range(k + 1, known + 1):
                t = lam[i][k]
                lam[i][k] = (d[k + 1] * lam[i][k - 1] - mu * t) // old
                lam[i][k - 1] = (new * t + mu * lam[i][k]) // d[k + 1]
            d[k] = new
            k = max(k - 1, 1)
        else:
            for j in range(k - 2, -1, -1):
                size_reduce(k, j)
            k += 1
    return b


def relation_near(weights: Sequence[int], modulus: int, target: Sequence[int]) -> list[int]:
    """Integers e near the target with sum weights_j e_j = 0 mod the (prime) modulus; weights_0 is not 0.

    Off by about modulus^(1/len): what a coordinate of that many bits can be made to hide."""
    n = len(weights)
    first = pow(weights[0], -1, modulus)
    basis = [[modulus] + [0] * (n - 1)]
    for j in range(1, n):
        basis.append([-weights[j] * first % modulus] + [int(i == j) for i in range(1, n)])
    short = reduced(basis)
    # Babai's nearest plane, by reducing the target against the basis from the last vector down.
    rest = list(target)
    for vector, (star, norm) in reversed(list(zip(short, _gram_schmidt(short), strict=True))):
        q = _nearest(_dot(rest, star), norm)
        rest = [x - q * y for x, y in zip(rest, vector, strict=True)]
    e = [t - x for t, x in zip(target, rest, strict=True)]
    assert sum(w * x for w, x in zip(weights, e, strict=True)) % modulus == 0
    return e


def _gram_schmidt(basis: Matrix) -> list[tuple[list[int], int]]:
    """For each b_i, an integer s_i along b_i*, and s_i b_i: the coordinate of x along b_i* is (x s_i)/(s_i b_i)."""
    stars: list[list[Fraction]] = []
    out = []
    for b in basis:
        star = [Fraction(x) for x in b]
        for s in stars:
            length = sum((y * y for y in s), Fraction(0))
            mu = sum((x * y for x, y in zip(b, s, strict=True)), Fraction(0)) / length
            star = [x - mu * y for x, y in zip(star, s, strict=True)]
        stars.append(star)
        common = lcm(*[x.denominator for x in star])
        whole = [int(x * common) for x in star]
        out.append((whole, _dot(whole, b)))
    return out
