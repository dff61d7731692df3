"""A compiled circuit: what protocol.md section 3 says about a rule and an epoch, as plain data with a digest.

    sum_t <A_j, v_t> + sum_t <D_j, v_t * v_t> = rhs_j          j = 1..M

Everyone who verifies compiles for himself and gets the same digest.  A *target* is what an equation may address: the
vectors 0 .. len(vectors)-1, then each bound vector that is a true combination (long - short) as a whole.  A coefficient
stands in one form only: a dense block or a single entry, never both, never twice, never zero as an entry.
Magnitudes and exactness are checked in `circuits.bounds`; making circuits from rules is `circuits.compile`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from weakref import WeakValueDictionary

import numpy as np
from numpy.typing import NDArray

from marginseal.errors import RuleError
from marginseal.records.statement import Kind

Ints = NDArray[np.int64]

FORMAT = 1
GROUP = 3  # limb columns per lookup helper
MIN_ROWS, MAX_ROWS = 8, 2048
MAX_EQUATIONS = 2**14
_CHUNK = 2**18


class Role(IntEnum):
    """What the commitment behind a bound vector is: which entries of the statement it is the sum of."""

    HOLDINGS = 1
    PLEDGES = 2
    PREVIOUS_PLEDGES = 3


@dataclass(frozen=True)
class Vector:
    """v(X) = sum_j B^j c_j(X) - offset, from `limbs` columns starting at `first`; offset is 0 or B^limbs / 2."""

    limbs: int
    signed: bool
    first: int


@dataclass(frozen=True)
class Bound:
    """A combination of vectors, row by row, that equals what a commitment of the statement holds."""

    role: Role
    tile: int
    combination: tuple[tuple[int, int], ...]


class _Floats:
    """A matrix in float64.  It keeps the integers it was made from: as long as it lives, their address is theirs."""

    def __init__(self, exact: Ints) -> None:
        self.exact = exact
        self.values = exact.astype(np.float64, order="C")


_SHARED: WeakValueDictionary[tuple[int, tuple[int, ...], tuple[int, ...]], _Floats] = WeakValueDictionary()
"""By address, shape and strides of read-only integers."""


@dataclass(frozen=True)
class Dense:
    """Coefficients A_j[i] of equations `equation`.. and rows `row`.. of one target, int64 (m, k).

    Over an epoch's matrix `values` is a view of it: a tile is no copy."""

    target: int
    equation: int
    row: int
    values: Ints

    @cached_property
    def as_float(self) -> NDArray[np.float64]:
        """The same numbers in float64, exact because |A| < 2**52; what BLAS multiplies.  Made once for
        all circuits over the same numbers: an attestation may claim 64 rules on one epoch, a matrix of up to 256 MB."""
        return self._floats.values

    @cached_property
    def _floats(self) -> _Floats:
        if self.values.flags.writeable:  # of nobody else: it may change
            return _Floats(self.values)
        key = (self.values.ctypes.data, self.values.shape, self.values.strides)
        shared = _SHARED.get(key)
        if shared is None:
            shared = _SHARED[key] = _Floats(self.values)
        return shared

    @cached_property
    def column_sum(self) -> float:
        """max_i sum_j |A_j[i]|, to within 2^-38 of itself."""
        return float(np.abs(self.as_float).sum(axis=0).max(initial=0.0))


@dataclass(frozen=True)
class Entries:
    """Single coefficients, four int64 arrays of one length, strictly increasing by (equation, target, row)."""

    equation: Ints
    target: Ints
    row: Ints
    value: Ints

    @classmethod
    def none(cls) -> Entries:
        empty = np.zeros(0, dtype=np.int64)
        return cls(empty, empty, empty, empty)

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class InputTerm:
    """rhs_equation += factor * public input; at most one to an equation."""

    equation: int
    input: int
    factor: int


@dataclass(frozen=True)
class InputSpec:
    """A public input and the range the rule allows it, |.| < 2**62."""

    name: str
    low: int
    high: int


def wanted_inputs(ranges: Sequence[tuple[str, int, int]]) -> str:
    """What a rule takes, for whoever gave it something else: inputs are public, and so are their ranges."""
    if not ranges:
        return "the rule takes no public input"
    return "the rule takes the public inputs " + ", ".join(f"{name} in {low}..{high}" for name, low, high in ranges)


@dataclass(frozen=True)
class Line:
    """A rule line: `count` equations from `equation` on, under the rule's own label.  Not in the digest."""

    label: str
    equation: int
    count: int


@dataclass(frozen=True)
class Place:
    """Variables start .. start+count-1 of the block `name` on rows row .. of a target.  Not in the digest."""

    name: str
    target: int
    row: int
    start: int
    count: int


@dataclass(frozen=True)
class Circuit:
    """See the module.  `n` rows; equations are numbered from 0 here and from 1 in the exponent of rho."""

    kind: Kind
    rule: str
    parameters: bytes
    epoch: bytes
    n: int
    tiles: int
    vectors: tuple[Vector, ...]
    bound: tuple[Bound, ...]
    equations: int
    dense: tuple[Dense, ...]
    linear: Entries
    quadratic: Entries
    constants: tuple[int, ...]
    input_terms: tuple[InputTerm, ...]
    inputs: tuple[InputSpec, ...]
    lines: tuple[Line, ...] = field(default=(), compare=False)
    places: tuple[Place, ...] = field(default=(), compare=False)

    @property
    def limb_bits(self) -> int:
        return self.n.bit_length() - 1

    @cached_property
    def columns(self) -> int:
        """L, the number of limb columns."""
        return sum(v.limbs for v in self.vectors)

    @cached_property
    def groups(self) -> int:
        """G = ceil(L / 3)."""
        return -(-self.columns // GROUP)

    @cached_property
    def targets(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For every target, the combination of vectors it stands for; the plain vectors come first."""
        plain = tuple(((v, 1),) for v in range(len(self.vectors)))
        return plain + tuple(b.combination for b in self.bound if b.combination[1:] or b.combination[0][1] != 1)

    def offset(self, vector: int) -> int:
        v = self.vectors[vector]
        return 1 << (v.limbs * self.limb_bits - 1) if v.signed else 0

    def capacity(self, vector: int) -> int:
        """The magnitude of a vector, whatever width was declared: B^k - 1, or B^k / 2."""
        v = self.vectors[vector]
        bits = v.limbs * self.limb_bits
        return 1 << (bits - 1) if v.signed else (1 << bits) - 1

    def magnitude(self, target: int) -> int:
        return sum(abs(factor) * self.capacity(vector) for vector, factor in self.targets[target])

    def right_hand_sides(self, inputs: tuple[int, ...]) -> list[int]:
        """rhs_j for the public inputs of a claim.  RuleError circuit.inputs if they are not this circuit's."""
        if len(inputs) != len(self.inputs) or any(
            not spec.low <= x <= spec.high for spec, x in zip(self.inputs, inputs, strict=True)
        ):
            raise RuleError("circuit.inputs", wanted_inputs([(x.name, x.low, x.high) for x in self.inputs]))
        rhs = list(self.constants)
        for term in self.input_terms:
            rhs[term.equation] += term.factor * inputs[term.input]
        return rhs

    def line_of(self, equation: int) -> str:
        """The rule line an equation belongs to, with its place in the line."""
        for line in self.lines:
            if line.equation <= equation < line.equation + line.count:
                return line.label if line.count == 1 else f"{line.label} [{equation - line.equation}]"
        return f"equation {equation}"

    def block_at(self, target: int, row: int) -> str:
        """The variable on a row of a target, under the rule's own name; "no block" where nothing lies."""
        for place in self.places:
            if place.target == target and place.row <= row < place.row + place.count:
                return f"{place.name} [{place.start + row - place.row}]"
        return "no block"

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 over an injective encoding: counts first, fixed widths, one normal form (protocol.md section 3)."""
        h = hashlib.sha256(b"MARGINSEAL-V1-CIRCUIT\x00")

        def ints(*values: int) -> None:
            for value in values:
                h.update(value.to_bytes(8, "big", signed=True))

        def text(data: bytes) -> None:
            ints(len(data))
            h.update(data)

        def array(values: Ints) -> None:
            flat = values.reshape(-1)
            for at in range(0, len(flat), _CHUNK):
                h.update(flat[at : at + _CHUNK].astype(">i8").data)

        ints(FORMAT, self.kind)
        text(self.rule.encode())
        text(self.parameters)
        h.update(self.epoch)
        ints(self.n, GROUP, self.tiles, len(self.vectors))
        for v in self.vectors:
            ints(v.limbs, int(v.signed), v.first)
        ints(len(self.bound))
        for b in self.bound:
            ints(b.role, b.tile, len(b.combination))
            for vector, factor in b.combination:
                ints(vector, factor)
        ints(self.equations, len(self.dense))
        for d in self.dense:
            ints(d.target, d.equation, d.row, *d.values.shape)
            step = max(1, _CHUNK // max(1, d.values.shape[1]))
            for at in range(0, len(d.values), step):
                array(d.values[at : at + step])
        for entries in (self.linear, self.quadratic):
            ints(len(entries))
            for part in (entries.equation, entries.target, entries.row, entries.value):
                array(part)
        ints(len(self.constants))
        for constant in self.constants:
            h.update(constant.to_bytes(32, "big", signed=True))
        ints(len(self.input_terms))
        for term in self.input_terms:
            ints(term.equation, term.input, term.factor)
        ints(len(self.inputs))
        for spec in self.inputs:
            text(spec.name.encode())
            ints(spec.low, spec.high)
        return h.digest()
