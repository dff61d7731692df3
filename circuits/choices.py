"""How the prover picks the variables nobody gives him; evaluation and witness follow these, nothing depends on them.

Soundness never rests on a choice: whatever a cheating prover puts there, the equations hold or they do not.  These are
the best choices, so that every portfolio within the rule has a witness.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np

from circuits.expr import Coef, Expr, Known, Text, text
from circuits.products import Integers, integers, positive_part

_FLOOR, _FLOOR_END = text("⌊", r"\lfloor "), text("⌋", r" \rfloor")


@dataclass(frozen=True, eq=False)
class Exactly:
    """The value of an expression, which its range makes non-negative where the rule holds."""

    expr: Expr

    def values(self, known: Known) -> Integers:
        return known.of(self.expr)

    @property
    def shown(self) -> Text:
        return self.expr.shown


@dataclass(frozen=True, eq=False)
class PositivePart:
    """max(0, e), on some rows of the family alone if they are given."""

    expr: Expr
    rows: tuple[int, ...] | None = None

    def values(self, known: Known) -> Integers:
        family = positive_part(known.of(self.expr))
        return family if self.rows is None else family[list(self.rows)]

    @property
    def shown(self) -> Text:
        return text("max(0, ", r"\max(0,\ ") + self.expr.shown + text(")")


@dataclass(frozen=True, eq=False)
class Largest:
    """The rank-th largest of a family (1 is the maximum), and 0 if that is less and `floored`."""

    expr: Expr
    rank: int = 1
    floored: bool = True

    def values(self, known: Known) -> Integers:
        family = np.sort(known.of(self.expr))
        value = int(family[len(family) - self.rank])
        return integers([max(0, value) if self.floored else value])

    @property
    def shown(self) -> Text:
        rank = "largest" if self.rank == 1 else f"number {self.rank} from the top"
        body = text(f"{rank} of ", rf"\text{{{rank} of }}") + self.expr.shown
        return text("max(0, ", r"\max(0,\ ") + body + text(")") if self.floored else body


@dataclass(frozen=True, eq=False)
class Marked:
    """1 for the `count` largest members of a family that exceed zero, the first of equals first; 0 for the others."""

    expr: Expr
    count: int

    def values(self, known: Known) -> Integers:
        family = known.of(self.expr)
        out = np.zeros(len(family), dtype=np.int64)
        out[np.argsort(-family, kind="stable")[: self.count]] = 1
        return np.where(family > 0, out, 0)

    @property
    def shown(self) -> Text:
        among = f"1 for the largest {self.count} of those where "
        return text(among, rf"\text{{{among}}}") + self.expr.shown + text(" > 0")


@dataclass(frozen=True, eq=False)
class Quotient:
    """floor(e / divisor), or the ceiling."""

    expr: Expr
    divisor: Coef
    up: bool = False

    def values(self, known: Known) -> Integers:
        value, divisor = known.of(self.expr), self.divisor.value
        return np.asarray(-(-value // divisor) if self.up else value // divisor)

    @property
    def shown(self) -> Text:
        left, right = (text("⌈", r"\lceil "), text("⌉", r" \rceil")) if self.up else (_FLOOR, _FLOOR_END)
        body = self.expr.shown
        if len(self.expr.pieces) > 1:
            body = text("(") + body + text(")")
        return left + body + text(" / ") + self.divisor.name + right


@dataclass(frozen=True, eq=False)
class RootUp:
    """The least K >= 0 with K**2 >= e."""

    expr: Expr

    def values(self, known: Known) -> Integers:
        squares = known.of(self.expr)
        return integers([isqrt(int(x) - 1) + 1 if x > 0 else 0 for x in squares])

    @property
    def shown(self) -> Text:
        return text("⌈√(", r"\left\lceil \sqrt{") + self.expr.shown + text(")⌉", r"} \right\rceil")
