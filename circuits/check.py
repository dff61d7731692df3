"""A witness against the equations of a circuit, directly: slow, obvious, and nothing borrowed from the compiler.

    limbs -> v = sum_j B**j c_j - offset -> sum <A_j, v> + sum <D_j, v * v> - rhs_j,  one equation after another

A failure names the rule line, the variable of a block, the vector (or bound combination), the row and the residual.
For tests, and for whoever wants to know why a circuit refuses; the residual is private, so it is for the owner alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit


@dataclass(frozen=True)
class Failure:
    """What does not hold.  `block`, `target` and `row` are the place of a fault, or of an equation's largest term."""

    line: str
    block: str
    target: str
    row: int
    residual: int = field(repr=False)

    def __str__(self) -> str:
        return f"{self.line}: {self.block} ({self.target}, row {self.row}): off by {self.residual}"


def check_witness(
    circuit: Circuit,
    columns: NDArray[np.int64],
    bound_values: tuple[NDArray[np.int64], ...],
    inputs: tuple[int, ...] = (),
) -> list[Failure]:
    """Everything that fails, in the order limbs, bound vectors, equations; an empty list is a right witness.

    columns (L, n): limbs, lowest first, vectors in order.  bound_values: for each bound vector what its commitment
    holds, (n,).  ValueError for other shapes."""
    if columns.shape != (circuit.columns, circuit.n) or len(bound_values) != len(circuit.bound):
        raise ValueError("not the shape of this circuit's witness")
    failures = []
    for column, row in np.argwhere((columns < 0) | (columns >= circuit.n)).tolist():
        vector = next(v for v, at in enumerate(circuit.vectors) if at.first <= column < at.first + at.limbs)
        block = circuit.block_at(vector, row)
        failures.append(Failure("limb in table", block, f"column {column}", row, int(columns[column, row])))
    vectors = [_vector(circuit, columns, v) for v in range(len(circuit.vectors))]
    for b, (bound, expected) in enumerate(zip(circuit.bound, bound_values, strict=True)):
        for row in range(circuit.n):
            held = sum(factor * vectors[v][row] for v, factor in bound.combination)
            if held != int(expected[row]):
                name = f"bound vector {b} ({bound.role.name.lower()}, tile {bound.tile})"
                block = circuit.block_at(bound.combination[0][0], row)
                failures.append(Failure("binding", block, name, row, held - int(expected[row])))
    targets = [
        [sum(factor * vectors[v][row] for v, factor in combination) for row in range(circuit.n)]
        for combination in circuit.targets
    ]
    terms: list[list[tuple[int, int, int]]] = [[] for _ in range(circuit.equations)]
    for dense in circuit.dense:
        for j, coefficients in enumerate(dense.values.tolist()):
            for i, a in enumerate(coefficients):
                value = a * targets[dense.target][dense.row + i]
                terms[dense.equation + j].append((value, dense.target, dense.row + i))
    for entries, power in ((circuit.linear, 1), (circuit.quadratic, 2)):
        parts = (entries.equation, entries.target, entries.row, entries.value)
        for equation, target, row, a in zip(*(part.tolist() for part in parts), strict=True):
            terms[equation].append((a * targets[target][row] ** power, target, row))
    for equation, rhs in enumerate(circuit.right_hand_sides(inputs)):
        residual = sum(value for value, _, _ in terms[equation]) - rhs
        if residual:
            _, target, row = max(terms[equation], key=lambda term: abs(term[0]), default=(0, 0, 0))
            block = circuit.block_at(target, row)
            failures.append(Failure(circuit.line_of(equation), block, _target_name(circuit, target), row, residual))
    return failures


def _vector(circuit: Circuit, columns: NDArray[np.int64], vector: int) -> list[int]:
    v = circuit.vectors[vector]
    limbs = columns[v.first : v.first + v.limbs].tolist()
    offset = circuit.offset(vector)
    return [sum(limb[row] * circuit.n**j for j, limb in enumerate(limbs)) - offset for row in range(circuit.n)]


def _target_name(circuit: Circuit, target: int) -> str:
    return f"vector {target}" if target < len(circuit.vectors) else f"bound combination {target - len(circuit.vectors)}"
