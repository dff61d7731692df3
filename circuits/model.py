"""The modelling language: what a rule says about holdings and pledges, as labelled lines over blocks of variables.

    m = Model(...)                                   n rows, venues, pledge link (protocol.md sections 2, 3 and 8)
    q = m.holdings(limits)                           signed lots, as long - short or as one signed vector
    g = m.pledges()                                  one row a venue, all n rows exist
    loss = m.variable(..., choice=Largest(-(P @ q))) a free variable and how it is chosen
    m.nonneg("scenario", P @ q + each(loss))         an inequality: an equation with an unsigned slack
    m.equal("split", ...)                            an equation
    m.quantity("equity", ...)                        a figure for the owner's report, no part of the proof

A rule is written once in it and read three ways: `circuits.evaluate`, `circuits.compile`, `circuits.render`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt
from typing import TypeVar

import numpy as np

from circuits.choices import Exactly, PositivePart, Quotient, RootUp
from circuits.circuit import MAX_EQUATIONS, MAX_ROWS, MIN_ROWS
from circuits.expr import (
    Block,
    Choice,
    Coef,
    Expr,
    Input,
    Ints,
    Matrix,
    Net,
    Row,
    Text,
    each,
    placed,
    squares,
    text,
)
from circuits.ranges import value_range
from marginseal.errors import RuleError
from marginseal.records.statement import INPUT_BOUND

C = TypeVar("C", Coef, Row, Matrix)

_LEQ = text(" ≤ ", r" \le ")
_STEP = 40  # bits of one step of `Model.multiple`

PLEDGE_BITS = 55
"""Of one pledge, in ticks; the same in every epoch, so that pledges survive a change of prices."""


@dataclass(frozen=True)
class Link:
    """Continuity "linked": the venue rows whose pledge may fall, strictly increasing (protocol.md section 8)."""

    released_rows: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Line:
    """`expr = 0`, or `expr >= 0` with the slack that makes it an equation `expr - slack = 0`, for every member.

    `shown` replaces the printed mathematics where the encoding would hide it; None prints the expression."""

    label: str
    expr: Expr
    slack: Block | None
    index: str
    why: str
    shown: Text | None = None


@dataclass(frozen=True, eq=False)
class Quantity:
    """A figure in the report of the owner: name, expression, meaning with unit, index of its first entry."""

    name: str
    expr: Expr
    meaning: str
    first: int


def rows_for(instruments: int) -> int:
    """n: the smallest power of two that holds the instruments, 8..2048; more than 2,048 take tiles of 2,048."""
    return max(MIN_ROWS, min(MAX_ROWS, 1 << (instruments - 1).bit_length()))


class Model:
    """A rule on one epoch and tier while it is being written; read-only afterwards."""

    def __init__(self, instruments: int, venues: int, link: Link | None = None) -> None:
        self.instruments = instruments
        self.n = rows_for(instruments)
        self.venues = venues
        self.link = link
        self.blocks: list[Block] = []
        self.lines: list[Line] = []
        self._equations = 0
        self.inputs: list[Input] = []
        self.quantities: list[Quantity] = []
        self.coefficients: list[Coef | Row | Matrix] = []
        self.lots: Block | Net | None = None
        self.pledge: Block | None = None
        self.previous: Block | None = None
        if not 0 <= venues <= self.n:
            raise RuleError("rule.venues", f"{venues} venues do not fit on the {self.n} rows of a commitment")

    # Coefficients -------------------------------------------------------------------------------------------------

    def coef(self, name: str, value: int, meaning: str, tex: str | None = None) -> Coef:
        return self._note(Coef(text(name, tex), value, meaning))

    def row(self, name: str, values: Ints, meaning: str, tex: str | None = None) -> Row:
        return self._note(Row(text(name, tex), values, meaning))

    def matrix(self, name: str, index: str, values: Ints, meaning: str, tex: str | None = None) -> Matrix:
        return self._note(Matrix(text(name, tex), index, values, meaning))

    def _note(self, coefficient: C) -> C:
        self.coefficients.append(coefficient)
        return coefficient

    # Variables ----------------------------------------------------------------------------------------------------

    def holdings(self, limits: Ints) -> Net:
        """Signed lots q = long - short with |q_i| <= limits_i, both unsigned: bound to what the sources committed."""
        high, count = int(limits.max()), self.instruments
        long = Block(text("q⁺", "q^{+}"), "i", count, 0, high, "lots of instrument i held long", limits)
        short = Block(text("q⁻", "q^{-}"), "i", count, 0, high, "lots of instrument i held short", limits)
        q = Net(text("q"), "i", count, -high, high, "signed lots of instrument i", limits, long=long, short=short)
        self.lots = q
        self.blocks += [long, short]
        return q

    def signed_holdings(self, high: int, limits: Ints | None = None) -> Block:
        """Signed lots q, |q_i| <= high and limits_i, on one signed vector bound to what the sources committed."""
        self.lots = Block(text("q"), "i", self.instruments, -high, high, "signed lots of instrument i", limits)
        self.blocks.append(self.lots)
        return self.lots

    def pledges(self) -> Block:
        """What is pledged to each venue, ticks, unsigned: bound to what the owner committed; all n rows exist.

        With a link, the predecessor's pledges too, and  g = previous - released + increased  row by row, where
        released exists on the rows of the listed releases alone and both are unsigned (protocol.md section 8)."""
        high = 2**PLEDGE_BITS - 1
        self.pledge = Block(text("g"), "r", self.n, 0, high, "pledge to the venue of row r, ticks")
        self.blocks.append(self.pledge)
        if self.link is not None:
            self._continue(self.pledge, self.link.released_rows)
        return self.pledge

    def _continue(self, pledge: Block, rows: tuple[int, ...]) -> None:
        if any(a >= b for a, b in pairwise(rows)) or any(not 0 <= row < self.venues for row in rows):
            raise RuleError("rule.link", "released rows are strictly increasing rows of the venue registry")
        name = text("g'", "g'")
        self.previous = Block(name, "r", self.n, 0, pledge.high, "pledge to the venue of row r before, ticks")
        self.blocks.append(self.previous)
        change = each(pledge) - each(self.previous)
        if rows:
            fall = PositivePart(-change, rows)
            meaning = "fall of a pledge that its venue has released, ticks"
            released = self.variable("d", "r", len(rows), 0, pledge.high, meaning, fall)
            change = change + placed(released, rows, self.n)
        self.nonneg("continuity", change, "r", "a pledge falls only on a row with a listed release", pledge.high)

    def variable(
        self, symbol: str, index: str, count: int, low: int, high: int, meaning: str, choice: Choice, tex: str = ""
    ) -> Block:
        """Free variables low <= x <= high (signed if low < 0), chosen as said."""
        block = Block(text(symbol, tex or None), index, count, low, high, meaning, choice=choice)
        self.blocks.append(block)
        return block

    def binary(self, symbol: str, index: str, count: int, meaning: str, choice: Choice, tex: str = "") -> Block:
        """Variables that are 0 or 1: b + b' = 1 with both unsigned leaves nothing else."""
        b = self.variable(symbol, index, count, 0, 1, meaning, choice, tex)
        other = Exactly(1 - each(b))
        rest = self.variable(symbol + "'", index, count, 0, 1, f"1 - {symbol}", other, (tex or symbol) + "'")
        self.equal(f"{symbol} is 0 or 1", each(b) + each(rest) - 1, index, "two unsigned numbers that add up to one")
        return b

    def multiple(self, block: Block, factor: Coef) -> Expr:
        """factor * x_s, or less than twice that (unsigned x), for factors beyond the matrix bound: steps of 2**40."""
        out, rest, symbol = block, factor.value, block.symbol.plain
        while rest >> _STEP:
            grown = (2**_STEP) * each(out)
            symbol += "*"
            out = self.variable(
                symbol, block.index, block.count, 0, out.high << _STEP, "2^40 times the one before", Exactly(grown)
            )
            self.equal(f"{symbol} is a multiple", each(out) - grown, block.index, "exact multiples")
            rest = -(-rest >> _STEP)
        return (rest * each(out)).named(factor.name + text("·", r" \cdot ") + block.symbol.at(block.index))

    def floor(self, symbol: str, index: str, expr: Expr, divisor: Coef, meaning: str) -> Block:
        """u = floor(e / c):  e = c u + rem,  rem + rem' = c - 1, both unsigned."""
        c = divisor.value
        if c < 1:
            raise RuleError("rule.scale", "a scale below one")
        low, high = value_range(expr)
        u = self.variable(symbol, index, expr.count, low // c, high // c, meaning, Quotient(expr, divisor))
        rest = expr - divisor * each(u)
        what = f"remainder of {symbol}"
        rem = self.variable("ρ", index, expr.count, 0, c - 1, what, Exactly(rest), r"\rho")
        room = Exactly(-each(rem) + divisor - 1)
        other = self.variable("ρ'", index, expr.count, 0, c - 1, f"room above the {what}", room, r"\rho'")
        self.equal(f"{symbol} is a floor", rest - each(rem), index, "division with remainder")
        self.equal(f"{what} in range", each(rem) + each(other) + 1 - divisor, index, "so 0 ≤ ρ < c")
        return u

    def norm(self, symbol: str, weights: Row, u: Block, meaning: str) -> Block:
        """The cone gadget: K >= sqrt(sum_j lambda_j u_j**2) as K**2 = sum_j lambda_j u_j**2 + slack, K unsigned."""
        if int(weights.values.min()) < 0:
            raise RuleError("rule.weights", "a weight under the root is negative")
        form = squares(weights, u)
        top = isqrt(max(0, value_range(form)[1])) + 1
        K = self.variable(symbol, "", 1, 0, top, meaning, RootUp(form))
        one = Row(text("1"), np.ones(1, dtype=np.int64), "one")
        # The least K has K**2 - form <= 2 K; a larger one only hurts, so its slack needs no more room.
        self.nonneg(f"{symbol} bounds the norm", squares(one, K) - form, "", "second-order cone", 2 * top)
        return K

    def public_input(self, symbol: str, low: int, high: int, meaning: str) -> Input:
        """A public input of the claim; its name on the wire is the symbol."""
        given = Input(text(symbol), len(self.inputs), max(low, 1 - INPUT_BOUND), min(high, INPUT_BOUND - 1), meaning)
        self.inputs.append(given)
        return given

    # Lines --------------------------------------------------------------------------------------------------------

    def equal(self, label: str, expr: Expr, index: str = "", why: str = "") -> None:
        """e_s = 0 for every s."""
        self._line(Line(label, expr, None, index, why))

    def nonneg(
        self,
        label: str,
        expr: Expr,
        index: str = "",
        why: str = "",
        high: int | None = None,
        shown: Text | None = None,
    ) -> Block:
        """e_s >= 0 for every s, by an unsigned slack as wide as the range of e, or up to `high` where the rule knows
        that no portfolio within it needs more."""
        top = max(0, value_range(expr)[1]) if high is None else high
        slack = self.variable(f"s[{label}]", index, expr.count, 0, top, f"slack of {label}", Exactly(expr))
        self._line(Line(label, expr, slack, index, why, shown))
        return slack

    def _line(self, line: Line) -> None:
        # Counted here, and not when all is compiled: an epoch may ask for a thousand charges on 65,536 instruments.
        self._equations += line.expr.count
        if self._equations > MAX_EQUATIONS:
            raise RuleError("circuit.form", f"more than {MAX_EQUATIONS} equations")
        self.lines.append(line)

    def within(self, label: str, expr: Expr, limit: Coef, why: str = "") -> None:
        """-limit <= e <= limit in two lines, the second over the slack of the first: e is written once."""
        lower = self.nonneg(
            f"{label}, lower", expr + limit, "", why, 2 * limit.value, text("−", "-") + limit.name + _LEQ + expr.shown
        )
        self.nonneg(
            f"{label}, upper", 2 * limit.value - each(lower), "", why, 2 * limit.value, expr.shown + _LEQ + limit.name
        )

    def quantity(self, name: str, expr: Expr, meaning: str, first: int = 0) -> None:
        self.quantities.append(Quantity(name, expr, meaning, first))
