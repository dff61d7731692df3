"""Whether a circuit has a solution at all, by search: some variables are tried, the rest follow from the equations.

Works on the compiled circuit alone and knows nothing of how the prover chooses: a variable that is the only unknown of
an equation, with coefficient 1 or -1, is solved for; a value outside its limbs' capacity ends the branch.  For circuits
of a few dozen variables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit
from circuits.compile import Compiled
from circuits.expr import Variables

Key = tuple[int, int]  # vector, row
Values = dict[Key, int]


@dataclass
class Equation:
    linear: dict[Key, int]
    quadratic: dict[Key, int]
    rhs: int


def equations_of(circuit: Circuit, inputs: tuple[int, ...] = ()) -> list[Equation]:
    out = [Equation({}, {}, rhs) for rhs in circuit.right_hand_sides(inputs)]

    def put(equation: int, target: int, row: int, value: int, square: bool) -> None:
        for vector, factor in circuit.targets[target]:
            into = out[equation].quadratic if square else out[equation].linear
            assert not square or len(circuit.targets[target]) == 1
            into[vector, row] = into.get((vector, row), 0) + value * factor

    for dense in circuit.dense:
        for (j, i), value in np.ndenumerate(dense.values):
            put(dense.equation + j, dense.target, dense.row + i, int(value), False)
    for entries, square in ((circuit.linear, False), (circuit.quadratic, True)):
        columns = (entries.equation, entries.target, entries.row, entries.value)
        for equation, target, row, value in zip(*(c.tolist() for c in columns), strict=True):
            put(equation, target, row, value, square)
    for equation in out:
        equation.linear = {key: value for key, value in equation.linear.items() if value}
    return out


def in_capacity(circuit: Circuit, vector: int, value: int) -> bool:
    if circuit.vectors[vector].signed:
        return -circuit.capacity(vector) <= value < circuit.capacity(vector)
    return 0 <= value <= circuit.capacity(vector)


@dataclass
class System:
    """Equations with, for every variable, those it occurs in."""

    circuit: Circuit
    equations: list[Equation]
    otherwise: int | None = None  # value of what is neither tried nor determined; None: there must be nothing such

    def __post_init__(self) -> None:
        self.using: dict[Key, list[Equation]] = {}
        for equation in self.equations:
            for key in {*equation.linear, *equation.quadratic}:
                self.using.setdefault(key, []).append(equation)

    def propagate(self, values: Values, new: Key | None) -> bool:
        """Solve for what follows from a new value (None: from all); False if an equation or a capacity is violated."""
        waiting = list(self.equations if new is None else self.using.get(new, ()))
        while waiting:
            equation = waiting.pop()
            unknown = {key for key in (*equation.linear, *equation.quadratic) if key not in values}
            if len(unknown) > 1:
                continue
            known = sum(a * values[key] for key, a in equation.linear.items() if key in values)
            known += sum(a * values[key] ** 2 for key, a in equation.quadratic.items() if key in values)
            if not unknown:
                if known != equation.rhs:
                    return False
                continue
            (key,) = unknown
            a = equation.linear.get(key, 0)
            if abs(a) != 1 or key in equation.quadratic:
                continue
            values[key] = (equation.rhs - known) * a
            if not in_capacity(self.circuit, key[0], values[key]):
                return False
            waiting += self.using[key]
        return True

    def solve(self, values: Values, tried: Sequence[tuple[Key, Iterable[int]]]) -> Values | None:
        """All variables for some values of the tried ones, or None if there are none."""
        values = dict(values)
        return self._search(values, tried) if self.propagate(values, None) else None

    def _search(self, values: Values, tried: Sequence[tuple[Key, Iterable[int]]]) -> Values | None:
        rest = [(key, window) for key, window in tried if key not in values]
        if not rest:
            unknown = self.using.keys() - values.keys()
            if not unknown:
                return values
            assert self.otherwise is not None, f"neither tried nor determined: {sorted(unknown)}"
            rest = [(min(unknown), [self.otherwise])]
        (key, window), *others = rest
        for value in window:
            trial = {**values, key: value}
            if self.propagate(trial, key):
                found = self._search(trial, others)
                if found is not None:
                    return found
        return None


def keys(compiled: Compiled, block: Variables) -> list[Key]:
    return [(s.target, s.row + i) for s in compiled.plan.places[block] for i in range(s.count)]


def block_named(compiled: Compiled, symbol: str) -> Variables:
    (block,) = [b for b in compiled.model.blocks if b.symbol.plain == symbol]
    return block


def given(compiled: Compiled, **values: Sequence[int]) -> Values:
    """Values of whole blocks by their printed symbols: q⁺, q⁻, q, g, g'."""
    out: Values = {}
    for symbol, numbers in values.items():
        places = keys(compiled, block_named(compiled, symbol))
        out |= dict(zip(places, [*numbers, *([0] * (len(places) - len(numbers)))], strict=True))
    return out


def satisfiable(
    compiled: Compiled,
    q: Sequence[int],
    pledges: Sequence[int],
    windows: Mapping[str, Iterable[int]],
    inputs: tuple[int, ...] = (),
    doubled: int = 1,
    otherwise: int | None = None,
) -> bool:
    """Whether signed lots q and pledges have a witness with the named variables in the given windows.

    doubled: up to this many lots are also tried long and short at once, in each instrument.  otherwise: see System."""
    system = System(compiled.circuit, equations_of(compiled.circuit, inputs), otherwise)
    fixed = given(compiled, g=pledges) if compiled.model.pledge is not None else {}
    tried: list[tuple[Key, Iterable[int]]] = []
    for symbol, window in windows.items():
        tried += [(key, window) for key in keys(compiled, block_named(compiled, symbol))]
    if compiled.model.lots in compiled.model.blocks:
        fixed |= given(compiled, q=q)
        return system.solve(fixed, tried) is not None
    for extra in range((doubled + 1) ** len(q)):
        both = [extra // (doubled + 1) ** i % (doubled + 1) for i in range(len(q))]
        long = [max(0, x) + e for x, e in zip(q, both, strict=True)]
        short = [max(0, -x) + e for x, e in zip(q, both, strict=True)]
        values = fixed | given(compiled, **{"q⁺": long, "q⁻": short})
        if system.solve(values, tried) is not None:
            return True
    return False


def columns(circuit: Circuit, values: Values) -> NDArray[np.int64]:
    """Limb columns of given values, other rows at zero: the long way."""
    out = np.zeros((circuit.columns, circuit.n), dtype=np.int64)
    for index, vector in enumerate(circuit.vectors):
        for row in range(circuit.n):
            rest = values.get((index, row), 0) + circuit.offset(index)
            assert in_capacity(circuit, index, values.get((index, row), 0))
            for j in range(vector.limbs):
                out[vector.first + j, row] = rest % circuit.n
                rest //= circuit.n
    return out
