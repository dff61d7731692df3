"""Polynomials over F straight from their definitions, quadratic and shared with nothing: oracles for the fast code."""

from __future__ import annotations

R = 52435875175126190479447740508185965837690552500527637822603658699938581184513  # decimal on purpose


def root(n: int) -> int:
    """7^((r-1)/n), and a check that its order is n."""
    w = pow(7, (R - 1) // n, R)
    assert pow(w, n, R) == 1
    assert n == 1 or pow(w, n // 2, R) == R - 1
    return w


def evaluate(coeffs: list[int], x: int) -> int:
    """sum_j c_j x^j, power by power."""
    return sum(c * pow(x, j, R) for j, c in enumerate(coeffs)) % R


def values_on_roots(coeffs: list[int], n: int) -> list[int]:
    """p(w^i), i < n, for any number of coefficients."""
    w = root(n)
    return [evaluate(coeffs, pow(w, i, R)) for i in range(n)]


def product(a: list[int], b: list[int]) -> list[int]:
    """Schoolbook."""
    out = [0] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[i + j] = (out[i + j] + x * y) % R
    return out


def add(a: list[int], b: list[int]) -> list[int]:
    """The sum, as long as the longer."""
    size = max(len(a), len(b))
    return [(x + y) % R for x, y in zip(a + [0] * (size - len(a)), b + [0] * (size - len(b)), strict=True)]


def interpolate(values: list[int]) -> list[int]:
    """Coefficients of the polynomial with these values on the n-th roots: c_j = (1/n) sum_i v_i w^(-ij)."""
    n = len(values)
    w = root(n)
    return [sum(v * pow(w, -i * j, R) for i, v in enumerate(values)) * pow(n, -1, R) % R for j in range(n)]


def blinded(values: list[int], blinders: list[int]) -> list[int]:
    """Coefficients of p + (b_0 + b_1 X + ...) (X^n - 1), p of these values on the n-th roots."""
    n = len(values)
    if not blinders:
        return interpolate(values)
    return add(interpolate(values), product(blinders, [R - 1] + [0] * (n - 1) + [1]))
