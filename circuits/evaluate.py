"""Reading 1: a rule on a portfolio, plainly, in exact integers.  The reference for what a circuit accepts.

    portfolio -> the value of every variable, the slack of every line, and which line is worst

Variables take the values their choices give, in the order the rule declares them.  Nothing is refused here: an
unhealthy portfolio has a result like any other, with a negative slack in it.  It holds private numbers: it is for the
owner's terminal and for the witness, never for a log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from circuits.circuit import wanted_inputs
from circuits.expr import Block, Dense, Expr, Matrix, Net, Sparse, Variables
from circuits.model import Line, Model
from circuits.products import Integers, add, integers, magnitude, multiply, positive_part, product, scale, total
from circuits.rules.registry import build
from marginseal.errors import RangeError, RuleError
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Tier

Multiply = Callable[[Matrix, Integers], Integers]


@dataclass(frozen=True)
class LineResult:
    """One rule line: the least slack of its members (negative: violated), where, and whether it is an equation.

    For an equation the headroom is 0 if it holds and -|residual| at its worst member if it does not."""

    label: str
    headroom: int = field(repr=False)
    at: int = field(repr=False)
    count: int
    equation: bool


@dataclass(frozen=True, eq=False)
class Evaluation:
    """A portfolio under a rule.  `values` by variables, `quantities` by name (each (count,) exact integers)."""

    model: Model
    values: Mapping[Variables, Integers] = field(repr=False)
    lines: tuple[LineResult, ...]
    quantities: Mapping[str, Integers] = field(repr=False)

    @cached_property
    def holds(self) -> bool:
        return all(line.headroom >= 0 for line in self.lines)

    @property
    def worst(self) -> LineResult:
        """The line with the least headroom; of equals the first."""
        return min(self.lines, key=lambda line: line.headroom)

    def figure(self, name: str) -> int:
        """A quantity that is one number: value, equity, pledged, requirement, ..."""
        return int(self.quantities[name][0])

    @property
    def surplus(self) -> int:
        """Equity less pledges and requirement, ticks: what may still be pledged; negative is the shortfall."""
        return self.figure("equity") - self.figure("pledged") - self.figure("requirement")

    def scenario_resources(self) -> list[tuple[int, int]]:
        """(scenario, 1000 (equity - pledged) + f profit), 1/1000 tick, worst first; of equals the first scenario.

        In the worst case over scenarios the rule says that none of them is negative."""
        room = 1000 * (self.figure("equity") - self.figure("pledged"))
        profit, f = self.quantities["scenario_profit"].tolist(), self.figure("factor_permille")
        first = next(q.first for q in self.model.quantities if q.name == "scenario_profit")
        return sorted(((first + s, room + f * x) for s, x in enumerate(profit)), key=lambda found: found[1])


class Assignment:
    """Values of the variables declared so far, and of expressions over them; each matrix product is made once."""

    def __init__(self, inputs: Sequence[int], multiply_by: Multiply) -> None:
        self.values: dict[Variables, Integers] = {}
        self._inputs = inputs
        self._multiply = multiply_by
        self._products: dict[tuple[Matrix, Variables], Integers] = {}

    def of(self, expr: Expr) -> Integers:
        """e_s for every s, (count,)."""
        constant = expr.constant + sum(factor * self._inputs[given.position] for factor, given in expr.inputs)
        out = integers([constant])
        for factor, row in expr.vectors:
            out = add(out, scale(factor, row.values))
        for factor, term in expr.terms:
            out = add(out, scale(factor, self._dense(term) if isinstance(term, Dense) else self._sparse(term)))
        return out if len(out) == expr.count else np.repeat(out, expr.count)

    def _dense(self, term: Dense) -> Integers:
        key = (term.matrix, term.block)
        if key not in self._products:
            self._products[key] = self._multiply(term.matrix, self.values[term.block])
        return self._products[key]

    def _sparse(self, term: Sparse) -> Integers:
        x = self.values[term.block][term.variable]
        terms = multiply(term.value, multiply(x, x) if term.square else x)
        if term.count == 1:
            return integers([total(terms)])
        if len(terms) * magnitude(terms) >= 2**63:
            terms = terms.astype(object)
        out = np.zeros(term.count, dtype=terms.dtype)
        np.add.at(out, term.equation, terms)
        return out


def evaluate(
    model: Model,
    lots: Integers,
    pledges: Integers | None = None,
    inputs: Sequence[int] = (),
    previous_pledges: Integers | None = None,
    multiply_by: Multiply | None = None,
) -> Evaluation:
    """The rule on signed lots (N,), pledges (venues,), public inputs and, when linked, the predecessor's pledges.

    multiply_by  a faster way to the same matrix products.  RangeError portfolio.* for vectors that do not fit the
    model or lie outside the declared ranges; RuleError circuit.inputs."""
    if len(inputs) != len(model.inputs) or any(
        not spec.low <= x <= spec.high for spec, x in zip(model.inputs, inputs, strict=True)
    ):
        taken = [(spec.symbol.plain, spec.low, spec.high) for spec in model.inputs]
        raise RuleError("circuit.inputs", wanted_inputs(taken))
    known = Assignment(inputs, multiply_by or (lambda matrix, x: product(matrix.values, x)))
    _give_lots(known.values, model, integers(lots))
    _give_pledges(known.values, model, model.pledge, pledges, "pledges")
    _give_pledges(known.values, model, model.previous, previous_pledges, "previous pledges")
    for block in model.blocks:
        if block.choice is not None:
            known.values[block] = block.choice.values(known)
    return Evaluation(
        model,
        known.values,
        tuple(_line(known, line) for line in model.lines),
        {quantity.name: known.of(quantity.expr) for quantity in model.quantities},
    )


def _give_lots(values: dict[Variables, Integers], model: Model, lots: Integers) -> None:
    q = model.lots
    assert q is not None
    if lots.shape != (q.count,):
        raise RangeError("portfolio.lots", f"a portfolio is one number of lots for each of {q.count} instruments")
    if magnitude(lots) > q.high or (q.limits is not None and bool((np.abs(lots) > q.limits).any())):
        raise RangeError("portfolio.lots", "a number of lots is beyond the bound of its instrument")
    values[q] = lots
    if isinstance(q, Net):
        values[q.long], values[q.short] = positive_part(lots), positive_part(-lots)


def _give_pledges(
    values: dict[Variables, Integers], model: Model, block: Block | None, given: Integers | None, what: str
) -> None:
    if block is None:
        if given is not None and np.any(given):
            raise RangeError("portfolio.pledges", f"the rule takes no {what}")
        return
    amounts = integers([] if given is None else given)
    if given is None or amounts.shape != (model.venues,):
        raise RangeError("portfolio.pledges", f"{what} are one amount for each of {model.venues} venues")
    if len(amounts) and (int(amounts.min()) < 0 or int(amounts.max()) > block.high):
        raise RangeError("portfolio.pledges", f"{what}: an amount is negative or beyond the bound")
    values[block] = np.concatenate([amounts, np.zeros(model.n - model.venues, dtype=amounts.dtype)])


def _line(known: Assignment, line: Line) -> LineResult:
    if line.slack is not None:
        room = known.values[line.slack]
    else:
        room = -np.abs(known.of(line.expr))
    at = int(np.argmin(room))
    return LineResult(line.label, int(room[at]), at, len(room), line.slack is None)


def evaluate_rule(
    name: str,
    epoch: RiskEpoch,
    tier: Tier,
    lots: Integers,
    pledges: Integers | None = None,
    *,
    inputs: Sequence[int] = (),
    parameters: Mapping[str, object] | None = None,
) -> Evaluation:
    """The registered rule on a portfolio, without circuit or proof: what `marginseal margin` shows.

    Pledges are one amount a venue; none given means there are none.  RuleError rule.*, RangeError portfolio.*."""
    given = integers([] if pledges is None else pledges)
    rule = build(name, epoch, tier, venues=len(given), link=None, parameters=parameters)
    return evaluate(rule.model, lots, given if len(given) or rule.model.pledge is not None else None, inputs)
