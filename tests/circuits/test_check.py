"""The direct check names what is wrong: one broken witness for every kind of equation, each caught by its line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.check import check_witness
from circuits.compile import Compiled, compile_rule
from circuits.model import Link
from circuits.rules.example import example_epoch
from marginseal.records.statement import Tier
from prover.witness import Witness, make_witness
from tests.oracles.brute import block_named, keys

LOTS = np.array([2000, 1, -2, -1, 3])


def made(name: str, inputs: tuple[int, ...] = (), link: Link | None = None) -> tuple[Compiled, Witness]:
    compiled = compile_rule(name, example_epoch(), Tier.INITIAL, venues=2, link=link)
    pledges = np.array([5, 7]) if compiled.model.pledge is not None else None
    before = np.array([5, 9]) if link is not None else None
    witness = make_witness(compiled, LOTS, pledges, inputs, before)
    assert check_witness(compiled.circuit, witness.columns, witness.bound_values, inputs) == []
    return compiled, witness


def moved(compiled: Compiled, witness: Witness, symbol: str, index: int, by: int) -> NDArray[np.int64]:
    """Columns with one variable changed, limbs kept in the table."""
    vector, row = keys(compiled, block_named(compiled, symbol))[index]
    circuit, columns = compiled.circuit, witness.columns.copy()
    limbs = circuit.vectors[vector]
    span = slice(limbs.first, limbs.first + limbs.limbs)
    value = sum(int(limb) * circuit.n**j for j, limb in enumerate(columns[span, row])) + by
    assert 0 <= value < circuit.n**limbs.limbs
    for j in range(limbs.limbs):
        columns[limbs.first + j, row] = value // circuit.n**j % circuit.n
    return columns


@pytest.mark.parametrize(
    ("name", "symbol", "index", "by", "lines"),
    [
        ("worst_case", "s[scenario]", 2, -1, {"scenario [2]"}),
        ("worst_case", "s[requirement]", 0, 1, {"requirement"}),
        ("worst_case", "s[health]", 0, 1, {"health"}),
        ("worst_case", "m", 0, -1, {f"scenario [{s}]" for s in range(6)} | {"requirement"}),
        ("worst_case", "R", 0, -1, {"requirement", "health"}),
        ("worst_case", "q⁺", 0, 1, {"binding", "health"}),
        ("worst_case", "g", 1, -1, {"binding", "health"}),
        ("worst_case", "g", 6, 1, {"binding", "health"}),
        (
            "worst_case_limits",
            "s[delta limit, BTC, lower]",
            0,
            1,
            {"delta limit, BTC, lower", "delta limit, BTC, upper"},
        ),
        ("worst_case_limits", "s[vega limit, all underlyings, upper]", 0, 1, {"vega limit, all underlyings, upper"}),
        ("portfolio_margin", "A", 0, 1, {"rounding", "scan"}),
        ("portfolio_margin", "R", 0, -1, {"scan", "short minimum", "health"}),
        ("portfolio_margin", "x", 0, 1, {"short minimum", "health"}),
        ("portfolio_margin", "e1", 4, -1, {"concentration 1 [4]", "health"}),
        ("product_offsets", "z(BTC)", 1, 1, {"BTC [1]", "scenario [1]"}),
        ("product_offsets", "l(ETH)", 3, 1, {"ETH [3]", "scenario [3]"}),
        ("isolated", "m", 0, 1, {"instruments", "requirement"}),
        ("expected_shortfall", "t", 0, 1, {f"scenario [{s}]" for s in range(5)} | {"tail"}),
        ("expected_shortfall", "u", 1, 1, {"scenario [1]", "tail"}),
        ("expected_shortfall", "T", 0, 1, {"tail", "requirement"}),
        ("value_at_risk", "b", 1, 1, {"b is 0 or 1 [1]", "scenario [1]", "marked"}),
        ("value_at_risk", "b'", 0, 1, {"b is 0 or 1 [0]"}),
        ("value_at_risk", "s[marked]", 0, 1, {"marked"}),
        ("parametric", "u", 0, 1, {"u is a floor [0]", "K bounds the norm"}),
        ("parametric", "ρ", 1, 1, {"u is a floor [1]", "remainder of u in range [1]"}),
        ("parametric", "ρ'", 0, 1, {"remainder of u in range [0]"}),
        ("parametric", "K", 0, -1, {"K bounds the norm", "requirement"}),
        ("parametric", "s[K bounds the norm]", 0, 1, {"K bounds the norm"}),
        ("scenario_loss", "s[scenario]", 0, 1, {"scenario [0]"}),
        ("net_band", "s[band, upper]", 0, 1, {"band, upper"}),
    ],
)
def test_12_1_a_broken_witness_is_named(name: str, symbol: str, index: int, by: int, lines: set[str]) -> None:
    inputs = {"scenario_loss": (1000,), "net_band": (-100, 100)}.get(name, ())
    compiled, witness = made(name, inputs)
    found = check_witness(compiled.circuit, moved(compiled, witness, symbol, index, by), witness.bound_values, inputs)
    assert {failure.line for failure in found} == lines


def test_12_1_continuity_is_named() -> None:
    compiled, witness = made("worst_case", link=Link((1,)))
    for symbol, lines in (("s[continuity]", "continuity [0]"), ("d", "continuity [1]")):
        found = check_witness(compiled.circuit, moved(compiled, witness, symbol, 0, 1), witness.bound_values)
        assert [failure.line for failure in found] == [lines]
    found = check_witness(compiled.circuit, moved(compiled, witness, "g'", 0, 1), witness.bound_values)
    assert {failure.line for failure in found} == {"continuity [0]", "binding"}


def test_12_1_limbs_out_of_the_table_and_on_another_row() -> None:
    compiled, witness = made("worst_case")
    circuit = compiled.circuit
    vector, row = keys(compiled, block_named(compiled, "s[scenario]"))[1]
    first = circuit.vectors[vector].first
    columns = witness.columns.copy()
    columns[first + 1, row] -= 1
    columns[first, row] += circuit.n  # the value is the same, the limb is not in the table
    (only,) = check_witness(circuit, columns, witness.bound_values)
    assert (only.line, only.target, only.row) == ("limb in table", f"column {first}", row)
    assert only.block == "s[scenario] [1]"
    columns = witness.columns.copy()
    columns[first, [row, row + 1]] = columns[first, [row + 1, row]]
    lines = {failure.line for failure in check_witness(circuit, columns, witness.bound_values)}
    assert lines == {"scenario [1]", "scenario [2]"}
    columns[first, row] = -1
    assert "limb in table" in {failure.line for failure in check_witness(circuit, columns, witness.bound_values)}


def test_12_1_another_right_hand_side_and_other_equations() -> None:
    compiled, witness = made("scenario_loss", (1000,))
    circuit = compiled.circuit
    assert len(check_witness(circuit, witness.columns, witness.bound_values, (1001,))) == circuit.equations
    wrong = replace(circuit, constants=(*circuit.constants[:-1], 1))
    (only,) = check_witness(wrong, witness.columns, witness.bound_values, (1000,))
    assert (only.line, only.residual) == ("scenario [5]", -1)
    assert "off by -1" in str(only)
    doubled = replace(circuit, dense=(replace(circuit.dense[0], values=circuit.dense[0].values * 2),))
    assert {f.line for f in check_witness(doubled, witness.columns, witness.bound_values, (1000,))} == {
        f"scenario [{s}]" for s in range(1, 6)
    }


def test_the_place_named_is_the_largest_term() -> None:
    compiled, witness = made("worst_case")
    columns = moved(compiled, witness, "q⁺", 0, 4000)
    found = {failure.line: failure for failure in check_witness(compiled.circuit, columns, witness.bound_values)}
    assert (found["health"].target, found["health"].row, found["health"].residual) == ("bound combination 0", 0, 4000)
    assert found["health"].block == "q [0]"
    assert (found["binding"].block, found["binding"].target) == ("q⁺ [0]", "bound vector 0 (holdings, tile 0)")
    assert str(found["health"]) == "health: q [0] (bound combination 0, row 0): off by 4000"


def test_the_shape_of_a_witness() -> None:
    compiled, witness = made("worst_case")
    with pytest.raises(ValueError, match="shape"):
        check_witness(compiled.circuit, witness.columns[1:], witness.bound_values)
    with pytest.raises(ValueError, match="shape"):
        check_witness(compiled.circuit, witness.columns, witness.bound_values[1:])
