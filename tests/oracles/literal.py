"""What a circuit's matrices say, read coefficient by coefficient in Python integers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from circuits.circuit import Circuit
from marginseal.algebra.field import R

Cells: TypeAlias = dict[tuple[int, int, int], int]
"""{(equation, target, row): coefficient}."""


def cells_of(circuit: Circuit) -> tuple[Cells, Cells]:
    """All coefficients of A and of D."""
    A: Cells = {}
    for d in circuit.dense:
        for j, line in enumerate(d.values.tolist()):
            for i, value in enumerate(line):
                A[d.equation + j, d.target, d.row + i] = value
    D: Cells = {}
    for cells, e in ((A, circuit.linear), (D, circuit.quadratic)):
        for j, t, i, value in zip(e.equation, e.target, e.row, e.value, strict=True):
            cells[int(j), int(t), int(i)] = int(value)
    return A, D


def batched(cells: Cells, powers: Sequence[int], n: int) -> dict[int, list[int]]:
    """{target: sum_j powers_j A_j, row by row}."""
    out: dict[int, list[int]] = {}
    for (j, t, i), value in cells.items():
        row = out.setdefault(t, [0] * n)
        row[i] = (row[i] + powers[j] * value) % R
    return out
