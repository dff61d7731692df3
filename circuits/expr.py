"""What a rule line is made of: named coefficients, blocks of variables, and expressions over them.

An `Expr` is a family of `count` expressions, one for each index s:

    e_s = sum of terms  factor * (coefficients over one block)  +  constant  +  factor * a_s  +  factor * public input

A term is dense (matrix @ block), a sum (row @ block, total(block)), element by element (each(block)) or a diagonal
quadratic (squares); a_s is the entry of a public vector (entries).  Every expression carries its mathematics in plain
text and TeX, built as it is built, so that what is printed is what is compiled.  Values come from `circuits.evaluate`,
ranges from `circuits.ranges`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from circuits.products import Integers, scale

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Text:
    """One piece of mathematics, in Unicode and in TeX."""

    plain: str
    tex: str

    def at(self, index: str) -> Text:
        """With a subscript; without an index unchanged."""
        return Text(f"{self.plain}_{index}", f"{self.tex}_{{{index}}}") if index else self

    def __add__(self, other: Text) -> Text:
        return Text(self.plain + other.plain, self.tex + other.tex)


def text(plain: str, tex: str | None = None) -> Text:
    return Text(plain, plain if tex is None else tex)


_DOT = Text("·", r" \cdot ")


@dataclass(frozen=True, eq=False)
class Coef:
    """A named public integer: a factor, a scale, a count."""

    name: Text
    value: int
    meaning: str


@dataclass(frozen=True, eq=False)
class Row:
    """A named public vector, int64 (k,): one coefficient for each element of a block."""

    name: Text
    values: Ints
    meaning: str

    def __matmul__(self, block: Variables) -> Expr:
        """sum_i a_i x_i, one expression."""
        keep = np.flatnonzero(self.values)
        zero = np.zeros(len(keep), dtype=np.int64)
        return _single(Sparse(block, 1, zero, keep, self.values[keep]), self.name + _DOT + block.symbol)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A named public matrix, int64 (m, k); `index` is the letter of its rows."""

    name: Text
    index: str
    values: Ints
    meaning: str

    def __matmul__(self, block: Variables) -> Expr:
        """sum_i A_s,i x_i for every s."""
        return _single(Dense(block, self), self.name.at(self.index) + _DOT + block.symbol)


class Choice(Protocol):
    """How the prover picks a variable that nobody gives him."""

    def values(self, known: Known) -> Integers: ...

    @property
    def shown(self) -> Text: ...


class Known(Protocol):
    """Values of the variables so far; what a `Choice` may look at."""

    def of(self, expr: Expr) -> Integers: ...


@dataclass(frozen=True, eq=False)
class Variables:
    """`count` integers x_i, low <= x_i <= high; `limits` is a tighter bound |x_i| <= limits_i where one is known."""

    symbol: Text
    index: str
    count: int
    low: int
    high: int
    meaning: str
    limits: Ints | None = None


@dataclass(frozen=True, eq=False)
class Block(Variables):
    """Variables of their own, on limbs; `choice` is None for what is given: holdings and pledges."""

    choice: Choice | None = None

    @property
    def signed(self) -> bool:
        return self.low < 0


@dataclass(frozen=True, eq=False)
class Net(Variables):
    """A bound combination, long - short, addressed as a whole."""

    long: Block = field(kw_only=True)
    short: Block = field(kw_only=True)


@dataclass(frozen=True, eq=False)
class Sparse:
    """Coefficients value[t] of variable variable[t] in expression equation[t] of `count`."""

    block: Variables
    count: int
    equation: Ints
    variable: Ints
    value: Ints
    square: bool = False


@dataclass(frozen=True, eq=False)
class Dense:
    block: Variables
    matrix: Matrix

    @property
    def count(self) -> int:
        return len(self.matrix.values)


@dataclass(frozen=True, eq=False)
class Input:
    """A public input of the claim, low <= value <= high."""

    symbol: Text
    position: int
    low: int
    high: int
    meaning: str


@dataclass(frozen=True)
class _Piece:
    negative: bool
    text: Text


@dataclass(frozen=True, eq=False)
class Expr:
    """See the module.  `count` expressions; those of count 1 may be added to any family."""

    count: int
    terms: tuple[tuple[int, Sparse | Dense], ...] = ()
    constant: int = 0
    vectors: tuple[tuple[int, Row], ...] = ()
    inputs: tuple[tuple[int, Input], ...] = ()
    pieces: tuple[_Piece, ...] = ()

    def __add__(self, other: Expr | Coef | int) -> Expr:
        right = _expr(other)
        count = max(self.count, right.count)
        a, b = _widen(self, count), _widen(right, count)
        return Expr(
            count,
            a.terms + b.terms,
            a.constant + b.constant,
            a.vectors + b.vectors,
            a.inputs + b.inputs,
            a.pieces + b.pieces,
        )

    def __radd__(self, other: Coef | int) -> Expr:
        return _expr(other) + self

    def __sub__(self, other: Expr | Coef | int) -> Expr:
        return self + -_expr(other)

    def __rsub__(self, other: Coef | int) -> Expr:
        return _expr(other) - self

    def __neg__(self) -> Expr:
        return replace(self._times(-1), pieces=tuple(_Piece(not piece.negative, piece.text) for piece in self.pieces))

    def __rmul__(self, factor: Coef | int) -> Expr:
        value, name = (factor.value, factor.name) if isinstance(factor, Coef) else (factor, text(str(abs(factor))))
        negative = not isinstance(factor, Coef) and factor < 0
        if len(self.pieces) == 1:
            negative ^= self.pieces[0].negative
            body = self.pieces[0].text
        else:
            body = text("(", r"\left(") + self.shown + text(")", r"\right)")
        return replace(self._times(value), pieces=(_Piece(negative, name + _DOT + body),))

    def named(self, name: Text) -> Expr:
        """The same numbers, printed as one symbol that the rule defines elsewhere."""
        return replace(self, pieces=(_Piece(False, name),))

    @property
    def shown(self) -> Text:
        if not self.pieces:
            return text("0")
        out = text("−" if self.pieces[0].negative else "", "-" if self.pieces[0].negative else "") + self.pieces[0].text
        for piece in self.pieces[1:]:
            out = out + (text(" − ", " - ") if piece.negative else text(" + ")) + piece.text
        return out

    def _times(self, value: int) -> Expr:
        return replace(
            self,
            terms=tuple((value * factor, term) for factor, term in self.terms),
            constant=value * self.constant,
            vectors=tuple((value * factor, row) for factor, row in self.vectors),
            inputs=tuple((value * factor, given) for factor, given in self.inputs),
        )


def each(block: Variables) -> Expr:
    """x_i for every i; a block of one is a scalar."""
    every = np.arange(block.count, dtype=np.int64)
    return _single(Sparse(block, block.count, every, every, np.ones_like(every)), block.symbol.at(block.index))


def total(block: Variables) -> Expr:
    """sum_i x_i."""
    every = np.arange(block.count, dtype=np.int64)
    shown = text(f"Σ_{block.index} ", rf"\sum_{{{block.index}}} ") + block.symbol.at(block.index)
    return _single(Sparse(block, 1, np.zeros_like(every), every, np.ones_like(every)), shown)


def placed(block: Variables, at: tuple[int, ...], count: int) -> Expr:
    """x_k in expression at[k], nothing in the others: a family of `count`."""
    every = np.arange(block.count, dtype=np.int64)
    return _single(Sparse(block, count, np.array(at, dtype=np.int64), every, np.ones_like(every)), block.symbol.at("i"))


def squares(row: Row, block: Variables) -> Expr:
    """sum_j a_j x_j**2: the one quadratic form there is."""
    keep = np.flatnonzero(row.values)
    term = Sparse(block, 1, np.zeros(len(keep), dtype=np.int64), keep, row.values[keep], square=True)
    j = block.index
    sum_ = text(f"Σ_{j} ", rf"\sum_{{{j}}} ") if j else text("")
    factor = text("") if block.count == 1 and (row.values == 1).all() else row.name.at(j) + _DOT
    return _single(term, sum_ + factor + block.symbol.at(j) + text("²", "^2"))


def entries(row: Row, index: str) -> Expr:
    """a_i for every i: a family without variables."""
    return Expr(len(row.values), vectors=((1, row),), pieces=(_Piece(False, row.name.at(index)),))


def constant(value: Coef) -> Expr:
    """A public integer as an expression."""
    return _expr(value)


def public(given: Input) -> Expr:
    """A public input."""
    return Expr(1, inputs=((1, given),), pieces=(_Piece(False, given.symbol),))


def scaled(term: Sparse, factor: int) -> Integers:
    """The coefficients of a term with its factor, in Python integers if they need them."""
    return scale(factor, term.value)


def _single(term: Sparse | Dense, shown: Text) -> Expr:
    return Expr(term.count, ((1, term),), pieces=(_Piece(False, shown),))


def _expr(value: Expr | Coef | int) -> Expr:
    if isinstance(value, Expr):
        return value
    number, name = (value.value, value.name) if isinstance(value, Coef) else (value, text(str(abs(value))))
    negative = not isinstance(value, Coef) and value < 0
    return Expr(1, constant=number, pieces=(_Piece(negative, name),))


def _widen(expr: Expr, count: int) -> Expr:
    """An expression of count 1 in every member of a family; only what stays one coefficient a member is allowed."""
    if expr.count == count:
        return expr
    if expr.count != 1 or expr.vectors:
        raise ValueError(f"a family of {expr.count} expressions in one of {count}")
    terms: list[tuple[int, Sparse | Dense]] = []
    for factor, term in expr.terms:
        if not isinstance(term, Sparse) or len(term.value) > 1:
            raise ValueError("a sum repeated in every line of a family: give it a variable of its own")
        every = np.arange(count, dtype=np.int64) if len(term.value) else np.zeros(0, dtype=np.int64)
        repeat = [np.full(len(every), a[0] if len(a) else 0, dtype=np.int64) for a in (term.variable, term.value)]
        terms.append((factor, replace(term, count=count, equation=every, variable=repeat[0], value=repeat[1])))
    return replace(expr, count=count, terms=tuple(terms))
