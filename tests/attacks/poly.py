"""Polynomials over F as lists of integers, lowest coefficient first: slow, plain, shared with nothing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

from marginseal.algebra.field import R

Poly: TypeAlias = list[int]


def root(n: int) -> int:
    """w = 7^((r-1)/n)."""
    return pow(7, (R - 1) // n, R)


def inv(x: int) -> int:
    return pow(x, R - 2, R)


def trim(p: Sequence[int]) -> Poly:
    out = [x % R for x in p]
    while out and out[-1] == 0:
        out.pop()
    return out


def add(*ps: Sequence[int]) -> Poly:
    return trim([sum(xs) for xs in zip_longest(*ps, fillvalue=0)])


def scale(p: Sequence[int], x: int) -> Poly:
    return trim([x * c for c in p])


def sub(p: Sequence[int], q: Sequence[int]) -> Poly:
    return add(p, scale(q, -1))


def mul(*ps: Sequence[int]) -> Poly:
    out: Poly = [1]
    for p in ps:
        product = [0] * (len(out) + len(p) - 1) if out and p else []
        for i, a in enumerate(out):
            for j, b in enumerate(p):
                product[i + j] += a * b
        out = trim(product)
    return out


def shift(p: Sequence[int], k: int) -> Poly:
    """X^k p."""
    return [0] * k + list(p)


def evaluate(p: Sequence[int], x: int) -> int:
    out = 0
    for c in reversed(p):
        out = (out * x + c) % R
    return out


def turn(p: Sequence[int], w: int) -> Poly:
    """p(w X)."""
    return trim([c * pow(w, i, R) for i, c in enumerate(p)])


def interpolate(values: Sequence[int]) -> Poly:
    """The polynomial of degree below n that takes these values on H."""
    n = len(values)
    w_inverse, n_inverse = inv(root(n)), inv(n)
    return trim([n_inverse * sum(v * pow(w_inverse, i * j, R) for i, v in enumerate(values)) for j in range(n)])


def on_rows(p: Sequence[int], n: int) -> list[int]:
    """p(w^i) for every row."""
    w = root(n)
    return [evaluate(p, pow(w, i, R)) for i in range(n)]


def vanishing(n: int) -> Poly:
    return [R - 1] + [0] * (n - 1) + [1]


def column(values: Sequence[int], blinders: Sequence[int] = ()) -> Poly:
    """The interpolant, and (b_0 + b_1 X + ...) Z_H."""
    return add(interpolate(values), mul(list(blinders), vanishing(len(values))))


def divide_by_vanishing(p: Sequence[int], n: int) -> tuple[Poly, Poly]:
    """(quotient, remainder) by X^n - 1."""
    rest, quotient = list(p), [0] * max(len(p) - n, 0)
    for i in range(len(p) - 1, n - 1, -1):
        quotient[i - n] = rest[i]
        rest[i - n] += rest[i]
        rest[i] = 0
    return trim(quotient), trim(rest)


def divide_by_linear(p: Sequence[int], z: int) -> Poly:
    """(p - p(z)) / (X - z)."""
    out, carry = [0] * max(len(p) - 1, 0), 0
    for i in range(len(p) - 1, 0, -1):
        carry = (p[i] + carry * z) % R
        out[i - 1] = carry
    return trim(out)
