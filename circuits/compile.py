"""Reading 2: a rule on an epoch -> the circuit, deterministic; everyone who verifies does this for himself.

    rule + epoch + tier + parameters (+ link)  ->  Compiled(circuit, model, plan)

Blocks get their rows from `circuits.layout`; every term becomes a dense block or single entries, each coefficient in
one form only; `circuits.bounds` checks magnitudes and exactness of what came out.  Where a rule's matrix is the epoch's
the circuit shares the array, tile by tile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from circuits import circuit as c
from circuits.bounds import check_bounds
from circuits.expr import Dense, Expr, Ints, Matrix, Sparse, Variables, each, scaled
from circuits.layout import Plan, Segment, floor_plan
from circuits.model import Line, Link, Model
from circuits.products import Integers, add, integers, magnitude, product, scale
from circuits.rules.registry import build
from circuits.rules.rule import BuiltRule, Rule
from marginseal.errors import RuleError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Tier

_ENTRY_BOUND = 2**52


@dataclass(frozen=True, eq=False)
class Compiled:
    """A circuit with what a witness needs to know of its making: the rule's model and where its blocks lie."""

    circuit: c.Circuit
    model: Model
    plan: Plan
    pieces: Mapping[Matrix, tuple[tuple[Segment, c.Dense], ...]]

    def multiply(self, matrix: Matrix, x: Integers) -> Integers:
        """A x with the float64 copies that the circuit keeps; exact (circuits.products)."""
        parts = [
            product(dense.values, x[segment.start : segment.start + segment.count], dense.as_float)
            for segment, dense in self.pieces.get(matrix, ())
        ]
        if not parts:
            return product(matrix.values, x)
        out = parts[0]
        for part in parts[1:]:
            out = add(out, part)
        return out


def compile_rule(
    name: str | Rule,
    epoch: RiskEpoch,
    tier: Tier,
    *,
    venues: int = 0,
    link: Link | None = None,
    parameters: Mapping[str, object] | None = None,
) -> Compiled:
    """The circuit of a registered rule.  venues: rows of the signed venue registry; a disclosure has no use for it.

    RuleError rule.* where a condition of the rule fails, circuit.* where the bounds of protocol.md section 3 do."""
    return compile_model(build(name, epoch, tier, venues=venues, link=link, parameters=parameters))


def compile_model(built: BuiltRule) -> Compiled:
    """RuleError circuit.*."""
    model = built.model
    plan = floor_plan(model)
    writer = _Writer(plan)
    lines, at = [], 0
    for line in model.lines:
        writer.line(line, at)
        lines.append(c.Line(line.label, at, line.expr.count))
        at += line.expr.count
    circuit = c.Circuit(
        kind=built.rule.kind,
        rule=built.rule.name,
        parameters=built.parameters,
        epoch=built.epoch.digest,
        n=model.n,
        tiles=plan.tiles,
        vectors=plan.vectors,
        bound=plan.bound,
        equations=at,
        dense=tuple(writer.dense),
        linear=_entries(writer.linear),
        quadratic=_entries(writer.quadratic),
        constants=tuple(writer.constants),
        input_terms=tuple(writer.input_terms),
        inputs=tuple(c.InputSpec(given.symbol.plain, given.low, given.high) for given in model.inputs),
        lines=tuple(lines),
        places=tuple(
            c.Place(block.symbol.plain, segment.target, segment.row, segment.start, segment.count)
            for block, segments in plan.places.items()
            for segment in segments
        ),
    )
    check_bounds(circuit)
    return Compiled(circuit, model, plan, {matrix: tuple(found) for matrix, found in writer.pieces.items()})


class _Writer:
    """Coefficients of all lines, in circuit coordinates."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.dense: list[c.Dense] = []
        self.linear: list[tuple[Ints, Ints, Ints, Integers]] = []
        self.quadratic: list[tuple[Ints, Ints, Ints, Integers]] = []
        self.constants: list[int] = []
        self.input_terms: list[c.InputTerm] = []
        self.pieces: dict[Matrix, list[tuple[Segment, c.Dense]]] = {}

    def line(self, line: Line, at: int) -> None:
        """e - slack = 0, the constants and the public input on the right."""
        expr: Expr = line.expr if line.slack is None else line.expr - each(line.slack)
        for factor, term in expr.terms:
            if isinstance(term, Dense):
                self._dense(term, factor, at)
            else:
                self._sparse(term, factor, at)
        shift = integers([expr.constant] * expr.count)
        for factor, row in expr.vectors:
            shift = add(shift, scale(factor, row.values))
        self.constants += [-int(x) for x in shift]
        if len(expr.inputs) > 1:
            raise RuleError("circuit.inputs", f"the line {line.label} takes more than one public input")
        for factor, given in expr.inputs:
            self.input_terms += [c.InputTerm(at + j, given.position, -factor) for j in range(expr.count)]

    def _dense(self, term: Dense, factor: int, at: int) -> None:
        matrix = term.matrix.values
        if factor != 1:
            # An int64 product that could wrap must not reach the check of magnitudes.
            if magnitude(matrix) * abs(factor) >= _ENTRY_BOUND:
                raise RuleError("circuit.exactness", "a matrix entry is beyond the exact range")
            matrix = matrix * factor
        for segment in self._plan.places[term.block]:
            columns = matrix[:, segment.start : segment.start + segment.count]
            dense = c.Dense(segment.target, at, segment.row, columns)
            self.dense.append(dense)
            if factor == 1 and not any(known.start == segment.start for known, _ in self.pieces.get(term.matrix, ())):
                self.pieces.setdefault(term.matrix, []).append((segment, dense))

    def _sparse(self, term: Sparse, factor: int, at: int) -> None:
        target, row = self._coordinates(term.block, term.variable)
        found = (term.equation + at, target, row, scaled(term, factor))
        (self.quadratic if term.square else self.linear).append(found)

    def _coordinates(self, block: Variables, variable: Ints) -> tuple[Ints, Ints]:
        segments = self._plan.places[block]
        starts = np.array([segment.start for segment in segments], dtype=np.int64)
        which = np.searchsorted(starts, variable, side="right") - 1
        targets = np.array([segment.target for segment in segments], dtype=np.int64)
        rows = np.array([segment.row - segment.start for segment in segments], dtype=np.int64)
        return targets[which], rows[which] + variable


def _entries(found: list[tuple[Ints, Ints, Ints, Integers]]) -> c.Entries:
    """All single coefficients in the one normal form: sorted, those of one place added up, zeros dropped."""
    if not found:
        return c.Entries.none()
    equation, target, row = (np.concatenate([f[part] for f in found]) for part in range(3))
    if any(magnitude(f[3]) >= _ENTRY_BOUND for f in found):
        raise RuleError("circuit.exactness", "a coefficient is beyond the exact range")
    value = np.concatenate([f[3].astype(np.int64) for f in found])
    order = np.lexsort((row, target, equation))
    equation, target, row, value = equation[order], target[order], row[order], value[order]
    first = np.ones(len(value), dtype=bool)
    first[1:] = (np.diff(equation) != 0) | (np.diff(target) != 0) | (np.diff(row) != 0)
    starts = np.flatnonzero(first)
    # At most a few terms meet in one place, each below 2**52: the sums cannot wrap, and bounds.py judges them.
    sums = np.add.reduceat(value, starts) if len(starts) else value
    keep = sums != 0
    at = starts[keep]
    return c.Entries(equation[at], target[at], row[at], sums[keep])
