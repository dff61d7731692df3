"""Step 3: the quotient by Z_H of the identities, batched by powers of y.

    Q = (sum_i y^{I-i} id_i) / Z_H,   degree at most 3n + 3, from its values on four cosets of H.

The bindings need no evaluation at all: v_b - p_b vanishes on H because both have the same rows there, so their quotient
is just the difference of what multiplies Z_H, a polynomial of degree one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from circuits.circuit import GROUP, Circuit
from marginseal.algebra.field import R, inverse
from marginseal.algebra.vectors import FieldVectors, Vector
from prover.columns import Column, Coset, cosets, from_remainders
from verifier.collapse import Collapsed
from verifier.sizes import Sizes

A = TypeVar("A")
B = TypeVar("B")
Map = Callable[[Callable[[A], B], Iterable[A]], Iterable[B]]


def target_column(circuit: Circuit, target: int, columns: Sequence[Vector], vectors: FieldVectors) -> Vector:
    """v_t from limb columns given anywhere (values on H, on a coset): sum_v factor (sum_j B^j c_j - o)."""
    factors: list[int] = []
    chosen: list[Vector] = []
    offset = 0
    for v, factor in circuit.targets[target]:
        spec = circuit.vectors[v]
        factors += [factor << (j * circuit.limb_bits) for j in range(spec.limbs)]
        chosen += columns[spec.first : spec.first + spec.limbs]
        offset += factor * circuit.offset(v)
    return vectors.shift(vectors.combine([x % R for x in factors], chosen), -offset % R)


def leave_one_out(factors: Sequence[Vector], vectors: FieldVectors) -> tuple[Vector, Vector]:
    """(prod f, sum_i prod_{j != i} f_j), entry by entry."""
    product, derivative = factors[0], vectors.full(vectors.length(factors[0]), 1)
    for f in factors[1:]:
        derivative = vectors.add(vectors.mul(derivative, f), product)
        product = vectors.mul(product, f)
    return product, derivative


def row_sums(
    circuit: Circuit,
    columns: Sequence[Vector],
    W: dict[int, Vector],
    U: dict[int, Vector],
    c: int,
    vectors: FieldVectors,
) -> Vector:
    """S = sum_t (W_t v_t + U_t v_t^2) - c/n, entry by entry, wherever the columns and matrices are given."""
    S = vectors.full(circuit.n, -c * inverse(circuit.n) % R)
    values = {t: target_column(circuit, t, columns, vectors) for t in sorted(W.keys() | U.keys())}
    for t, w in W.items():
        S = vectors.add(S, vectors.mul(w, values[t]))
    for t, u in U.items():
        S = vectors.add(S, vectors.mul(u, vectors.mul(values[t], values[t])))
    return S


def binding_quotient(circuit: Circuit, columns: Sequence[Column], openings: Sequence[int], y: int) -> list[int]:
    """Coefficients of sum_b y^{I-b} (v_b - p_b) / Z_H; openings[b] is the coefficient of Z_H in p_b."""
    sizes = Sizes.of(circuit)
    out = [0, 0]
    for b, bound in enumerate(circuit.bound):
        power = pow(y, sizes.identities - 1 - b, R)
        out[0] -= power * openings[b]
        for v, factor in bound.combination:
            spec = circuit.vectors[v]
            for j in range(spec.limbs):
                weight = power * (factor << (j * circuit.limb_bits))
                for k, blinder in enumerate(columns[spec.first + j].blinders):
                    out[k] += weight * blinder
    return [x % R for x in out]


def quotient(
    circuit: Circuit,
    collapsed: Collapsed,
    limbs: Sequence[Column],
    m: Column,
    h: Sequence[Column],
    phi: Column,
    openings: Sequence[int],
    *,
    beta: int,
    y: int,
    vectors: FieldVectors,
    run: Map[Coset, Vector],
) -> Vector:
    """Coefficients of Q, 4n of them, zero from 3n + 4 on for a witness that satisfies the identities."""
    sizes, n = Sizes.of(circuit), circuit.n
    W = {t: Column.of(v, (), vectors) for t, v in collapsed.W.items()}
    U = {t: Column.of(v, (), vectors) for t, v in collapsed.U.items()}

    def on(coset: Coset) -> Vector:
        """The remainder of Q modulo X^n - shift^n."""
        c = [coset.evaluate(column, vectors) for column in limbs]
        helpers = [coset.evaluate(column, vectors) for column in h]
        w = {t: coset.evaluate(column, vectors) for t, column in W.items()}
        u = {t: coset.evaluate(column, vectors) for t, column in U.items()}
        running = coset.evaluate(phi, vectors)
        step = vectors.sub(vectors.roll(running, 1), running)
        for helper in helpers:
            step = vectors.sub(step, helper)
        step = vectors.sub(step, row_sums(circuit, c, w, u, collapsed.c, vectors))
        total = vectors.mul(step, vectors.shift(coset.table, beta))
        total = vectors.add(total, coset.evaluate(m, vectors))
        for g, helper in enumerate(helpers):
            shifted = [vectors.shift(x, beta) for x in c[GROUP * g : GROUP * (g + 1)]]
            product, derivative = leave_one_out(shifted, vectors)
            identity = vectors.sub(vectors.mul(helper, product), derivative)
            total = vectors.add(total, vectors.scale(identity, pow(y, sizes.G - g, R)))
        return coset.remainder(vectors.scale(total, inverse(coset.vanishing)), vectors)

    remainders = list(run(on, cosets(n, vectors)))
    Q = from_remainders(remainders, n, vectors)
    bindings = vectors.pad(vectors.from_ints(binding_quotient(circuit, limbs, openings, y)), vectors.length(Q))
    return vectors.add(Q, bindings)
