"""Random small rules in the modelling language: evaluated, compiled and checked directly, the three must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circuits.check import check_witness
from circuits.choices import Exactly, Largest, Marked, PositivePart
from circuits.compile import Compiled, compile_rule
from circuits.evaluate import evaluate
from circuits.expr import Block, Coef, Expr, Matrix, Net, Row, each, entries, placed, public, text, total
from circuits.model import Model
from circuits.ranges import value_range
from circuits.rules.rule import Context, Rule
from marginseal.errors import RuleError, Unsatisfied
from marginseal.market.epoch import epoch_from_arrays
from marginseal.records.statement import Kind, Tier
from prover.witness import make_witness

EPOCH = epoch_from_arrays(np.zeros((1, 3), dtype=np.int64), max_lots=[5, 9, 2])
LINES = (
    "dense", "row", "exact", "positive", "binary", "floor", "norm", "multiple", "within", "input", "placed", "vector"
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """One line of a random rule: its kind and the integers it is made of."""

    kind: str
    matrix: tuple[tuple[int, int, int], ...]
    constant: int
    factor: int


def rule_of(build: Callable[[Model, Context], None], kind: Kind = Kind.ATTESTATION) -> Rule:
    return Rule("test", "Test", kind, tuple(Tier), "", (), build)


def compiled_of(build: Callable[[Model, Context], None], kind: Kind = Kind.ATTESTATION) -> Compiled:
    return compile_rule(rule_of(build, kind), EPOCH, Tier.INITIAL, venues=2 if kind == Kind.ATTESTATION else 0)


def write(model: Model, q: Net, g: Block, number: int, spec: Spec) -> None:
    label = f"{number} {spec.kind}"
    matrix = Matrix(text("A"), "s", np.array(spec.matrix, dtype=np.int64), "random")
    first = Row(text("a"), matrix.values[0], "random")
    e, rows = matrix @ q + spec.constant, len(spec.matrix)
    if spec.kind == "dense":
        model.nonneg(label, spec.factor * e, "s")
    elif spec.kind == "row":
        model.nonneg(label, first @ q.long - 2 * (first @ q.short) - spec.factor * total(g) + spec.constant)
    elif spec.kind == "exact":
        low, high = value_range(e)
        x = model.variable("x", "s", rows, min(low, -1), high, "", Exactly(e))
        model.equal(label, each(x) - e, "s")
        model.nonneg(label + " use", spec.factor * total(x) + spec.constant)
    elif spec.kind == "positive":
        top = max(0, *value_range(e))
        u = model.variable("u", "s", rows, 0, top, "", PositivePart(e))
        worst = model.variable("w", "", 1, 0, top, "", Largest(e))
        model.nonneg(label, each(u) - e, "s")
        model.nonneg(label + " worst", each(worst) - e, "s")
        model.nonneg(label + " use", 40 - abs(spec.factor) * total(u) - each(worst))
    elif spec.kind == "binary":
        b = model.binary("b", "s", rows, "", Marked(e, 1))
        model.nonneg(label, 1 - total(b))
        model.nonneg(label + " use", 20 * each(b) - e, "s")
    elif spec.kind == "floor":
        divisor = Coef(text("c"), abs(spec.factor) + 1, "")
        u = model.floor("u", "s", e, divisor, "")
        model.nonneg(label, each(u) + 3, "s")
    elif spec.kind == "norm":
        low, high = value_range(e)
        x = model.variable("x", "s", rows, min(low, -1), high, "", Exactly(e))
        model.equal(label, each(x) - e, "s")
        K = model.norm("K", Row(text("w"), np.arange(rows, dtype=np.int64), ""), x, "")
        model.nonneg(label + " use", 30 - each(K))
    elif spec.kind == "multiple":
        b = model.binary("b", "s", rows, "", Marked(e, rows))
        model.nonneg(label, model.multiple(b, Coef(text("M"), 3**60, "")) - e, "s")
    elif spec.kind == "within":
        model.within(label, first @ q, Coef(text("L"), abs(spec.constant), ""))
    elif spec.kind == "input":
        x = model.public_input(f"x{number}", -50, 50, "")
        model.nonneg(label, e - public(x), "s")
    elif spec.kind == "placed":
        one = model.variable("p", "", 1, 0, 100, "", PositivePart(-e, (rows - 1,)))
        model.nonneg(label, e + placed(one, (rows - 1,), rows), "s")
    elif spec.kind == "vector":
        model.nonneg(label, e - spec.factor * entries(Row(text("t"), matrix.values[:, 1], ""), "s"), "s")


small = st.integers(-4, 4)
specs = st.builds(
    Spec,
    st.sampled_from(LINES),
    st.lists(st.tuples(small, small, small), min_size=1, max_size=4).map(tuple),
    st.integers(-3, 40),
    small,
)
portfolios = st.tuples(st.integers(-5, 5), st.integers(-9, 9), st.integers(-2, 2))


@settings(max_examples=300, deadline=None)
@given(st.lists(specs, min_size=1, max_size=4), portfolios, st.tuples(st.integers(0, 5), st.integers(0, 5)), st.data())
def test_compiled_evaluated_and_checked_agree(
    lines: list[Spec], lots: tuple[int, ...], pledges: tuple[int, ...], data: st.DataObject
) -> None:
    def build(model: Model, c: Context) -> None:
        q, g = model.holdings(c.epoch.max_lots), model.pledges()
        for number, spec in enumerate(lines):
            write(model, q, g, number, spec)

    compiled = compiled_of(build)
    inputs = tuple(data.draw(st.integers(-50, 50)) for _ in compiled.model.inputs)
    result = evaluate(compiled.model, np.array(lots), np.array(pledges), inputs)
    if not result.holds:
        with pytest.raises(Unsatisfied) as caught:
            make_witness(compiled, np.array(lots), np.array(pledges), inputs)
        assert caught.value.line == result.worst.label
        assert caught.value.shortfall == -result.worst.headroom > 0
        return
    witness = make_witness(compiled, np.array(lots), np.array(pledges), inputs)
    assert check_witness(compiled.circuit, witness.columns, witness.bound_values, inputs) == []
    for block in compiled.model.blocks:
        values = result.values[block]
        assert block.low <= int(values.min()), block.symbol
        assert int(values.max()) <= block.high, block.symbol


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(small, small, small), min_size=1, max_size=3),
    small,
    small,
    st.integers(-(2**70), 2**70),
    portfolios,
    st.integers(-7, 7),
)
def test_the_range_of_an_expression_is_exact(
    rows: list[tuple[int, ...]], a: int, b: int, constant: int, lots: tuple[int, ...], given_value: int
) -> None:
    """No portfolio leaves it, and some portfolio is at either end."""
    made: list[Expr] = []

    def build(model: Model, c: Context) -> None:
        q = model.holdings(c.epoch.max_lots)
        model.pledges()
        x = model.public_input("x", -7, 7, "")
        P = Matrix(text("P"), "s", np.array(rows, dtype=np.int64), "")
        shift = Row(text("t"), P.values[:, 0], "")
        wide = model.variable("w", "", 1, -(2**70), 2**70, "", Exactly(Expr(1, constant=constant)))
        made.append(a * (P @ q) + b * each(wide) + public(x) - 3 - 2 * entries(shift, "s"))
        model.nonneg("line", made[0], "s")

    compiled = compiled_of(build)
    low, high = value_range(made[0])
    assert (low, high) == (
        min(-abs(a) * (5 * abs(r[0]) + 9 * abs(r[1]) + 2 * abs(r[2])) - 2 * r[0] for r in rows) - abs(b) * 2**70 - 10,
        max(abs(a) * (5 * abs(r[0]) + 9 * abs(r[1]) + 2 * abs(r[2])) - 2 * r[0] for r in rows) + abs(b) * 2**70 + 4,
    )
    slack = evaluate(compiled.model, np.array(lots), np.array([0, 0]), (given_value,)).values[compiled.model.blocks[-1]]
    assert slack.tolist() == [
        a * sum(p * x for p, x in zip(r, lots, strict=True)) + b * constant + given_value - 3 - 2 * r[0] for r in rows
    ]


@pytest.mark.parametrize("values", [[[1, -2, 3]], [[0, 0, 0]], [[-1, -1, -1], [2, 0, 0]]])
@pytest.mark.parametrize("factor", [1, -1, 3])
def test_the_range_of_a_dense_block_over_unsigned_variables(values: list[list[int]], factor: int) -> None:
    u = Block(text("u"), "i", 3, 0, 2**66, "")
    P = Matrix(text("P"), "s", np.array(values, dtype=np.int64), "")
    ends = [sum(x for x in row if x * factor > 0) * factor * 2**66 for row in values]
    starts = [sum(x for x in row if x * factor < 0) * factor * 2**66 for row in values]
    assert value_range(factor * (P @ u)) == (min(starts), max(ends))


@pytest.mark.parametrize("lots", [[5, 9, 2], [-5, -9, -2], [0, 0, 0]])
@pytest.mark.parametrize("pledge", [0, 2**55 - 1])
def test_holdings_and_pledges_at_the_edges_of_their_bounds(lots: list[int], pledge: int) -> None:
    def build(model: Model, c: Context) -> None:
        q, g = model.holdings(c.epoch.max_lots), model.pledges()
        one = model.row("a", np.array([1, 2, 4]), "")
        model.nonneg("line", 2**60 + (one @ q) - total(g))

    compiled = compiled_of(build)
    witness = make_witness(compiled, np.array(lots), np.array([pledge, pledge]))
    assert check_witness(compiled.circuit, witness.columns, witness.bound_values) == []


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("limit", [31, 30])
def test_a_limit_at_both_edges_and_one_past_them(sign: int, limit: int) -> None:
    """Net 1, 2, 4 per lot: 5 + 18 + 8 is 31."""

    def build(model: Model, c: Context) -> None:
        q = model.holdings(c.epoch.max_lots)
        model.pledges()
        model.within("limit", model.row("a", np.array([1, 2, 4]), "") @ q, Coef(text("L"), limit, ""))

    compiled = compiled_of(build)
    lots = sign * np.array([5, 9, 2])
    if limit == 31:
        witness = make_witness(compiled, lots, np.array([0, 0]))
        assert check_witness(compiled.circuit, witness.columns, witness.bound_values) == []
    else:
        with pytest.raises(Unsatisfied, match=r"limit, upper" if sign > 0 else r"limit, lower"):
            make_witness(compiled, lots, np.array([0, 0]))


def test_what_the_language_refuses() -> None:
    a = Row(text("a"), np.array([1, 1, 1], dtype=np.int64), "")
    q = Block(text("q"), "i", 3, -5, 5, "")
    u = Block(text("u"), "s", 2, 0, 5, "")
    with pytest.raises(ValueError, match="repeated in every line"):
        each(u) + (a @ q)
    with pytest.raises(ValueError, match="family of 2"):
        each(u) + each(q)
    with pytest.raises(ValueError, match="family of 1"):
        each(u) + entries(Row(text("t"), np.ones(1, dtype=np.int64), ""), "s")

    def two_inputs(model: Model, c: Context) -> None:
        model.holdings(c.epoch.max_lots)
        model.pledges()
        x, y = model.public_input("x", 0, 1, ""), model.public_input("y", 0, 1, "")
        model.nonneg("both", public(x) - public(y))

    def no_line(model: Model, c: Context) -> None:
        model.holdings(c.epoch.max_lots)
        model.pledges()

    def negative_weight(model: Model, c: Context) -> None:
        held = model.signed_holdings(5)
        model.norm("K", Row(text("w"), np.array([1, -1, 1], dtype=np.int64), ""), held, "")

    def no_scale(model: Model, c: Context) -> None:
        model.floor("u", "i", each(model.signed_holdings(5)), Coef(text("c"), 0, ""), "")

    def past_the_bound(model: Model, c: Context) -> None:
        held = model.signed_holdings(5)
        model.nonneg("line", 2**52 * (a @ held))

    def far_past_the_bound(model: Model, c: Context) -> None:
        model.nonneg("line", 2**70 * (a @ model.signed_holdings(5)))

    def wrapping_to_zero(model: Model, c: Context) -> None:
        P = Matrix(text("P"), "s", np.full((2, 3), 2**40, dtype=np.int64), "")
        model.nonneg("line", 2**24 * (P @ model.signed_holdings(5)), "s")

    def past_the_bound_dense(model: Model, c: Context) -> None:
        held = model.signed_holdings(5)
        model.nonneg("line", 2**51 * (Matrix(text("P"), "s", np.full((2, 3), 2, dtype=np.int64), "") @ held), "s")

    def twice_in_one_place(model: Model, c: Context) -> None:
        held = model.signed_holdings(5)
        P = Matrix(text("P"), "s", np.ones((2, 3), dtype=np.int64), "")
        model.nonneg("line", P @ held + P @ held, "s")

    for build, kind, code in (
        (two_inputs, Kind.ATTESTATION, "circuit.inputs"),
        (no_line, Kind.ATTESTATION, "circuit.form"),
        (negative_weight, Kind.DISCLOSURE, "rule.weights"),
        (no_scale, Kind.DISCLOSURE, "rule.scale"),
        (past_the_bound, Kind.DISCLOSURE, "circuit.exactness"),
        (past_the_bound_dense, Kind.DISCLOSURE, "circuit.exactness"),
        (far_past_the_bound, Kind.DISCLOSURE, "circuit.exactness"),
        (wrapping_to_zero, Kind.DISCLOSURE, "circuit.exactness"),
        (twice_in_one_place, Kind.DISCLOSURE, "circuit.duplicate"),
    ):
        with pytest.raises(RuleError) as caught:
            compiled_of(build, kind)
        assert caught.value.code == code, build.__name__


def test_terms_of_one_place_become_one_coefficient() -> None:
    """a q + b q is (a + b) q, and what cancels leaves nothing."""

    def build(model: Model, c: Context) -> None:
        q = model.signed_holdings(5)
        a = model.row("a", np.array([1, 2, 3]), "")
        b = model.row("b", np.array([4, -2, 0]), "")
        model.nonneg("line", a @ q + b @ q)

    linear = compiled_of(build, Kind.DISCLOSURE).circuit.linear
    held = linear.target == 0
    assert list(zip(linear.row[held].tolist(), linear.value[held].tolist(), strict=True)) == [(0, 5), (2, 3)]
