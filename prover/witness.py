"""From a portfolio to the limb columns that the prover commits to (protocol.md sections 3 and 4, step 1).

    lots, pledges -> values of all variables (circuits.evaluate) -> limbs of l = log2 n bits, lowest first

Refuses a portfolio that the rule does not hold for: the error names the rule line and keeps the amount apart, for its
owner.  The columns are as secret as the holdings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Circuit, Role
from circuits.compile import Compiled
from circuits.evaluate import Evaluation, evaluate
from circuits.expr import Block
from circuits.products import Integers, magnitude
from marginseal.errors import RangeError, Unsatisfied

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Witness:
    """columns       int64 (L, n), limbs 0..n-1, columns in layout order, lowest limb first
    bound_values  for every bound vector of the circuit, in order, what its commitment holds: int64 (n,)"""

    columns: Ints = field(repr=False)
    bound_values: tuple[Ints, ...] = field(repr=False)


def make_witness(
    compiled: Compiled,
    lots: Ints,
    pledges: Ints | None = None,
    inputs: Sequence[int] = (),
    previous_pledges: Ints | None = None,
) -> Witness:
    """The best witness for signed lots (N,), pledges (venues,), public inputs and, when linked, pledges before.

    Unsatisfied rule.unsatisfied, with the line and shortfall, if the rule does not hold; RangeError portfolio.* if a
    number is beyond what the circuit takes; RuleError circuit.inputs."""
    result = evaluate(compiled.model, lots, pledges, inputs, previous_pledges, compiled.multiply)
    if not result.holds:
        worst = result.worst
        said = f"the portfolio does not satisfy the line {worst.label!r} of the rule"
        if worst.label == "continuity":  # no fault of the portfolio: name what mends it
            said += ": a pledge falls only with a release by its venue"
        raise Unsatisfied(
            "rule.unsatisfied",
            said,
            line=worst.label,
            shortfall=-worst.headroom,
        )
    circuit = compiled.circuit
    columns = np.zeros((circuit.columns, circuit.n), dtype=np.int64)
    for vector in range(len(circuit.vectors)):
        if circuit.vectors[vector].signed:
            # Zero on rows of no block: the offset there, whose highest limb alone is not zero.
            columns[circuit.vectors[vector].first + circuit.vectors[vector].limbs - 1] = circuit.n // 2
    for block in compiled.model.blocks:
        for segment in compiled.plan.places[block]:
            values = result.values[block][segment.start : segment.start + segment.count]
            _write_limbs(circuit, columns, segment.target, segment.row, values, block)
    return Witness(columns, tuple(_bound_value(compiled, result, b) for b in range(len(circuit.bound))))


def _write_limbs(circuit: Circuit, columns: Ints, vector: int, row: int, values: Integers, block: Block) -> None:
    """v + offset = sum_j B**j c_j on rows row .. of one vector."""
    v, offset = circuit.vectors[vector], circuit.offset(vector)
    bits, end = circuit.limb_bits, row + len(values)
    low, high = (-offset, offset - 1) if v.signed else (0, circuit.capacity(vector))
    if int(values.min()) < low or int(values.max()) > high:
        raise RangeError("portfolio.range", f"a value of {block.meaning} is beyond what the circuit takes")
    if magnitude(values) + offset >= 2**63:
        values = values.astype(object)
    rest = values + offset
    for j in range(v.limbs):
        columns[v.first + j, row:end] = (rest & (circuit.n - 1)).astype(np.int64)
        rest = rest >> bits


def _bound_value(compiled: Compiled, result: Evaluation, index: int) -> Ints:
    """What the commitment behind a bound vector holds: int64, zero on rows of no instrument or venue."""
    circuit, model = compiled.circuit, compiled.model
    bound = circuit.bound[index]
    variables = {
        Role.HOLDINGS: model.lots,
        Role.PLEDGES: model.pledge,
        Role.PREVIOUS_PLEDGES: model.previous,
    }[bound.role]
    assert variables is not None
    values = result.values[variables][bound.tile * circuit.n : (bound.tile + 1) * circuit.n]
    out = np.zeros(circuit.n, dtype=np.int64)
    out[: len(values)] = values.astype(np.int64)
    return out
