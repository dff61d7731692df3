"""Every check of protocol.md section 3 on a compiled circuit, in exact integers; whoever compiles runs them.

    capacity     sum |A| mag + sum |D| mag**2 + max |rhs| < r/2  for every equation;  a bound combination < r/4
    exactness    sum_j |A_j[i]| < 2**52,  sum_j |D_j[i]| < 2**52  for every target and row
    form         a bound vector, an equation and a column there are; places exist; each coefficient once, none zero

Magnitudes are those of the limbs, never a declared width.  Entries are judged by comparison before anything is summed
(int64 has a negative with no positive), and sums are made only where they cannot wrap.  Exactness is soundness: a
verifier's float64 products are the true ones only within it.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from circuits.circuit import MAX_EQUATIONS, MAX_ROWS, MIN_ROWS, Circuit, Dense, Entries, Ints, Role
from circuits.products import Integers, magnitude
from marginseal.algebra.field import R
from marginseal.errors import RuleError
from marginseal.records.statement import INPUT_BOUND, Kind

EXACT = 2**52
MAX_COLUMNS = 2**12
_CELLS = 2**18  # entries at a time: 2 MB, so that the two sums find them in the cache


def check_bounds(circuit: Circuit) -> None:
    """RuleError circuit.form, .coefficient, .duplicate, .exactness, .capacity, .inputs; see the module."""
    _check_form(circuit)
    _check_places(circuit)
    columns = [np.zeros(circuit.n, dtype=np.int64) for _ in circuit.targets]
    quadratic_columns = [np.zeros(circuit.n, dtype=np.int64) for _ in circuit.targets]
    sizes: Integers = np.zeros(circuit.equations, dtype=object)
    for dense in circuit.dense:
        _add_dense(circuit, dense, columns, sizes)
    magnitudes = np.array([circuit.magnitude(t) for t in range(len(circuit.targets))], dtype=object)
    _add_entries(circuit.linear, columns, sizes, magnitudes)
    _add_entries(circuit.quadratic, quadratic_columns, sizes, magnitudes**2)
    if any(bool((column >= EXACT).any()) for column in columns + quadratic_columns):
        raise RuleError("circuit.exactness", "the coefficients of one row add up to 2^52 or more")
    sizes += np.abs(np.array(circuit.constants, dtype=object))
    for term in circuit.input_terms:
        sizes[term.equation] += abs(term.factor) * INPUT_BOUND
    if 2 * int(sizes.max()) >= R:
        at = int(np.argmax(sizes))
        raise RuleError("circuit.capacity", f"{circuit.line_of(at)}: its value could reach half the group order")
    for bound in circuit.bound:
        if 4 * sum(abs(factor) * circuit.capacity(vector) for vector, factor in bound.combination) >= R:
            raise RuleError("circuit.capacity", "a bound vector could reach a quarter of the group order")


def _require(holds: bool, code: str, message: str) -> None:
    if not holds:
        raise RuleError(code, message)


def _check_form(circuit: Circuit) -> None:
    n = circuit.n
    _require(MIN_ROWS <= n <= MAX_ROWS and n & (n - 1) == 0, "circuit.form", f"{n} rows: not a power of two, 8..2048")
    _require(1 <= circuit.equations <= MAX_EQUATIONS, "circuit.form", f"not between 1 and {MAX_EQUATIONS} equations")
    _require(bool(circuit.vectors) and all(v.limbs >= 1 for v in circuit.vectors), "circuit.form", "no column")
    _require(circuit.columns <= MAX_COLUMNS, "circuit.form", f"more than {MAX_COLUMNS} columns")
    firsts = np.cumsum([0] + [v.limbs for v in circuit.vectors])[:-1].tolist()
    _require([v.first for v in circuit.vectors] == firsts, "circuit.form", "vectors do not follow one another")
    _require(len(circuit.epoch) == 32, "circuit.form", "an epoch digest is 32 bytes")
    roles = [b.role for b in circuit.bound]
    holdings = [b.tile for b in circuit.bound if b.role == Role.HOLDINGS]
    _require(
        circuit.tiles >= 1 and holdings == list(range(circuit.tiles)), "circuit.form", "a tile without a bound vector"
    )
    others = [role for role in roles if role != Role.HOLDINGS]
    allowed: list[list[Role]] = [[Role.PLEDGES], [Role.PLEDGES, Role.PREVIOUS_PLEDGES]]
    if circuit.kind == Kind.DISCLOSURE:
        allowed.append([])
    _require(others in allowed, "circuit.form", "an attestation binds pledges; a predecessor's only beside them")
    used = [vector for b in circuit.bound for vector, _ in b.combination]
    _require(
        all(b.combination for b in circuit.bound)
        and all(0 <= v < len(circuit.vectors) for v in used)
        and len(set(used)) == len(used)
        and all(factor for b in circuit.bound for _, factor in b.combination),
        "circuit.form",
        "a bound vector combines vectors that do not exist, or that another one has",
    )
    _require(
        all(
            [factor for _, factor in b.combination] == [1] and not circuit.vectors[b.combination[0][0]].signed
            for b in circuit.bound
            if b.role != Role.HOLDINGS
        ),
        "circuit.form",
        "a pledge that could be negative would lend to another",
    )
    _require(len(circuit.constants) == circuit.equations, "circuit.form", "not one constant an equation")
    _check_inputs(circuit)


def _check_inputs(circuit: Circuit) -> None:
    equations = [term.equation for term in circuit.input_terms]
    _require(
        all(0 <= e < circuit.equations for e in equations)
        and all(0 <= t.input < len(circuit.inputs) and t.factor for t in circuit.input_terms),
        "circuit.inputs",
        "an input enters an equation that does not exist",
    )
    _require(
        all(a < b for a, b in pairwise(equations)),
        "circuit.inputs",
        "more than one public input in an equation, or out of order",
    )
    _require(
        all(-INPUT_BOUND < spec.low <= spec.high < INPUT_BOUND for spec in circuit.inputs)
        and all(abs(t.factor) < EXACT for t in circuit.input_terms),
        "circuit.inputs",
        "a public input could reach 2^62",
    )


def _check_places(circuit: Circuit) -> None:
    """Every coefficient has an existing place, and one form."""
    boxes = []
    for d in circuit.dense:
        shape = d.values.shape
        _require(
            d.values.dtype == np.int64 and len(shape) == 2 and min(shape) >= 1,
            "circuit.coefficient",
            "a dense block is not an int64 matrix",
        )
        box = (d.target, d.equation, d.equation + shape[0], d.row, d.row + shape[1])
        _require(
            0 <= d.target < len(circuit.targets)
            and box[1] >= 0
            and box[2] <= circuit.equations
            and box[3] >= 0
            and box[4] <= circuit.n,
            "circuit.coefficient",
            "a dense block lies outside the circuit",
        )
        boxes.append(box)
    for i, a in enumerate(boxes):
        for b in boxes[:i]:
            if a[0] == b[0] and a[1] < b[2] and b[1] < a[2] and a[3] < b[4] and b[3] < a[4]:
                raise RuleError("circuit.duplicate", "two dense blocks overlap")
    for entries in (circuit.linear, circuit.quadratic):
        _check_entries(circuit, entries)
    for target, first, end, row, row_end in boxes:
        e = circuit.linear
        inside = (e.target == target) & (e.equation >= first) & (e.equation < end) & (e.row >= row) & (e.row < row_end)
        _require(not inside.any(), "circuit.duplicate", "a single coefficient lies in a dense block")


def _check_entries(circuit: Circuit, entries: Entries) -> None:
    parts = (entries.equation, entries.target, entries.row, entries.value)
    _require(
        all(p.dtype == np.int64 and p.shape == entries.value.shape and p.ndim == 1 for p in parts),
        "circuit.coefficient",
        "coefficients are four int64 arrays of one length",
    )
    if not len(entries):
        return
    for part, end in ((entries.equation, circuit.equations), (entries.target, len(circuit.targets))):
        _require(part.min() >= 0 and part.max() < end, "circuit.coefficient", "a coefficient has no place")
    _require(
        entries.row.min() >= 0 and entries.row.max() < circuit.n, "circuit.coefficient", "a coefficient has no row"
    )
    _require(bool((entries.value != 0).all()), "circuit.coefficient", "a coefficient is zero")
    _require_small(entries.value)
    # All three below 2**14 by now: one key orders them.
    key = (entries.equation * len(circuit.targets) + entries.target) * circuit.n + entries.row
    _require(bool((np.diff(key) > 0).all()), "circuit.duplicate", "coefficients out of order, or one given twice")


def _require_small(values: Ints) -> None:
    _require(
        int(values.min()) > -EXACT and int(values.max()) < EXACT, "circuit.exactness", "a coefficient reaches 2^52"
    )


def _add_dense(circuit: Circuit, dense: Dense, columns: list[Ints], sizes: Integers) -> None:
    """|A| added up along both axes, a few rows at a time."""
    values = dense.values
    _require_small(values)
    m, k = values.shape
    step = max(1, _CELLS // k)
    size = circuit.magnitude(dense.target)
    column = columns[dense.target][dense.row : dense.row + k]
    # Where the largest entry leaves room, sums of int64 cannot wrap; else Python adds.
    safe = max(m, k) * magnitude(values) < 2**62
    for at in range(0, m, step):
        part = np.abs(values[at : at + step])
        if safe:
            rows: Integers = part.sum(axis=1)
            column += part.sum(axis=0)
        else:
            rows = part.astype(object).sum(axis=1)
            for one in part:
                column += one
                _require(int(column.max()) < EXACT, "circuit.exactness", "the coefficients of one row reach 2^52")
        sizes[dense.equation + at : dense.equation + at + len(rows)] += rows.astype(object) * size
    _require(int(column.max()) < EXACT, "circuit.exactness", "the coefficients of one row reach 2^52")


def _add_entries(entries: Entries, columns: list[Ints], sizes: Integers, magnitudes: Integers) -> None:
    if not len(entries):
        return
    value = np.abs(entries.value)
    np.add.at(sizes, entries.equation, value.astype(object) * magnitudes[entries.target])
    for target in np.unique(entries.target).tolist():
        here = entries.target == target
        # Exact whatever the entries: halves of 26 bits of at most 2**25 of them stay below 2**52.
        for shift in (0, 26):
            half = np.zeros(len(columns[target]), dtype=np.int64)
            np.add.at(half, entries.row[here], (value[here] >> shift) & (2**26 - 1))
            _require(int(half.max()) < EXACT >> shift, "circuit.exactness", "the coefficients of one row reach 2^52")
            columns[target] += half << shift
