"""Attacks on the checks of protocol.md section 3: magnitudes, exactness, places; each bound from both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from circuits import bounds
from circuits.bounds import check_bounds
from circuits.circuit import Bound, Circuit, Dense, Entries, InputSpec, InputTerm, Role, Vector
from circuits.compile import compile_rule
from marginseal.algebra.field import R
from marginseal.errors import RuleError
from marginseal.market.epoch import epoch_from_arrays
from marginseal.records.statement import Kind, Tier

INT64_MIN = -(2**63)
N = 8


def entries(*rows: tuple[int, int, int, int]) -> Entries:
    """(equation, target, row, value) each."""
    return Entries(*(np.array([row[part] for row in rows], dtype=np.int64) for part in range(4)))


def circuit(**changes: Any) -> Circuit:
    """Two equations over signed holdings (vector 0) and unsigned slacks (vector 1), n = 8."""
    base = Circuit(
        kind=Kind.DISCLOSURE,
        rule="test",
        parameters=b"{}",
        epoch=bytes(32),
        n=N,
        tiles=1,
        vectors=(Vector(4, True, 0), Vector(5, False, 4)),
        bound=(Bound(Role.HOLDINGS, 0, ((0, 1),)),),
        equations=2,
        dense=(Dense(0, 0, 0, np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int64)),),
        linear=entries((0, 1, 0, -1), (1, 1, 1, -1)),
        quadratic=Entries.none(),
        constants=(0, 0),
        input_terms=(InputTerm(0, 0, -1),),
        inputs=(InputSpec("x", -5, 5),),
    )
    return replace(base, **changes)


def refused(code: str, **changes: Any) -> None:
    with pytest.raises(RuleError) as caught:
        check_bounds(circuit(**changes))
    assert caught.value.code == code


def dense(values: Any, target: int = 0, equation: int = 0, row: int = 0) -> tuple[Dense, ...]:
    return (Dense(target, equation, row, np.array(values, dtype=np.int64)),)


def test_the_plain_circuit_is_within_bounds() -> None:
    check_bounds(circuit())


# Exactness -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [2**52, -(2**52), 2**62, INT64_MIN, INT64_MIN + 1, 2**63 - 1])
def test_12_5_an_entry_past_the_bound(value: int) -> None:
    refused("circuit.exactness", dense=dense([[value]]))
    refused("circuit.exactness", linear=entries((0, 1, 0, value)))
    refused("circuit.exactness", quadratic=entries((0, 1, 0, value)))


@pytest.mark.parametrize("value", [2**52 - 1, 1 - 2**52])
def test_an_entry_at_the_bound(value: int) -> None:
    check_bounds(circuit(dense=dense([[value]])))
    check_bounds(circuit(linear=entries((0, 1, 0, value))))
    check_bounds(circuit(quadratic=entries((0, 1, 0, value))))


@pytest.mark.parametrize(("equations", "value"), [(2**12, 2**51), (2**13, 2**51), (2**12 + 1, -(2**51)), (2, -(2**51))])
def test_12_5_int64_that_wraps_in_the_sums(equations: int, value: int) -> None:
    """2**12 entries of 2**51 add up to the negative end of int64, 2**13 of them to zero."""
    column = np.full((equations, 1), value, dtype=np.int64)
    shape = {"equations": equations, "constants": (0,) * equations, "input_terms": (), "linear": Entries.none()}
    refused("circuit.exactness", dense=dense(column), **shape)
    one_each = entries(*((j, 0, 0, value) for j in range(equations)))
    refused("circuit.exactness", dense=(), linear=one_each, **{k: v for k, v in shape.items() if k != "linear"})


def test_12_5_int64_that_wraps_between_blocks() -> None:
    """Four blocks whose column sums of nearly 2**62 would together wrap to -8192."""
    block = np.full((2**11, 1), 2**51 - 1, dtype=np.int64)
    blocks = tuple(Dense(0, 2**11 * at, 0, block) for at in range(4))
    shape = {"equations": 2**13, "constants": (0,) * 2**13, "input_terms": (), "linear": Entries.none()}
    refused("circuit.exactness", dense=blocks, **shape)


def test_the_sum_over_equations_counts_every_form_of_a_coefficient() -> None:
    """A dense block and single entries of one row add up; other rows and other targets do not."""
    half = 2**51
    check_bounds(circuit(dense=dense([[half - 1]]), linear=entries((1, 0, 0, -half))))
    refused("circuit.exactness", dense=dense([[half]]), linear=entries((1, 0, 0, -half)))
    check_bounds(circuit(dense=dense([[half]]), linear=entries((1, 0, 1, half))))
    check_bounds(circuit(dense=dense([[half]]), linear=entries((1, 1, 0, half))))
    refused("circuit.exactness", dense=(*dense([[half]]), *dense([[half]], equation=1)))
    refused("circuit.exactness", quadratic=entries((0, 1, 0, half), (1, 1, 0, half)))
    check_bounds(circuit(quadratic=entries((0, 1, 0, half), (1, 1, 0, half - 1))))
    check_bounds(circuit(linear=entries((0, 1, 0, 2**52 - 1)), quadratic=entries((0, 1, 0, 2**52 - 1))))


def test_many_rows_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The chunks of the sums are invisible: the last row of many still counts."""
    monkeypatch.setattr(bounds, "_CELLS", 4)
    column = np.full((9, 2), 2**52 // 9 + 1, dtype=np.int64)
    shape = {"equations": 9, "constants": (0,) * 9, "input_terms": (), "linear": Entries.none()}
    refused("circuit.exactness", dense=dense(column), **shape)
    column[8] = 2**52 - 1 - 8 * (2**52 // 9 + 1)
    check_bounds(circuit(dense=dense(column), **shape))


# Capacity ------------------------------------------------------------------------------------------------------------


def test_magnitudes_are_those_of_the_limbs() -> None:
    """Equation 0: sum |A| mag + max |rhs| < r/2, from both sides and with every kind of term."""
    top = (R - 1) // 2  # 2 x < r holds up to here
    signed, unsigned = 8**4 // 2, 8**5 - 1
    used = 6 * signed + unsigned + 2**62
    check_bounds(circuit(constants=(top - used, 0)))
    check_bounds(circuit(constants=(used - top, 0)))
    refused("circuit.capacity", constants=(top - used + 1, 0))
    refused("circuit.capacity", constants=(used - top - 1, 0))
    refused("circuit.capacity", constants=(0, 2**254))
    refused("circuit.capacity", constants=(top - used, 0), dense=dense([[1, 2, -4], [4, 5, 6]]))
    refused("circuit.capacity", constants=(top - used, 0), input_terms=(InputTerm(0, 0, -2),))
    refused("circuit.capacity", constants=(top - used, 0), quadratic=entries((0, 1, 0, 1)))
    squared = entries((0, 1, 0, 3))
    check_bounds(circuit(constants=(top - used - 3 * unsigned**2, 0), quadratic=squared))
    refused("circuit.capacity", constants=(top - used - 3 * unsigned**2 + 1, 0), quadratic=squared)


def test_the_refusal_names_the_rule_line() -> None:
    epoch = epoch_from_arrays([[0], [2**39]], value=1, max_lots=2**42)
    compiled = compile_rule("worst_case", epoch, Tier.INITIAL, venues=0)
    wide = tuple(replace(v, limbs=v.limbs + 60) for v in compiled.circuit.vectors)
    firsts = np.cumsum([0, *(v.limbs for v in wide)]).tolist()
    vectors = tuple(replace(v, first=first) for v, first in zip(wide, firsts, strict=False))
    with pytest.raises(RuleError, match=r"scenario \[1\]|requirement|health|bound vector") as caught:
        check_bounds(replace(compiled.circuit, vectors=vectors))
    assert caught.value.code == "circuit.capacity"


def test_a_bound_combination_stays_below_a_quarter_of_the_group_order() -> None:
    """84 signed limbs of 3 bits are 2**251 < r/4, 85 are not, nor is a difference of two."""
    unused = {"dense": (), "linear": entries((0, 1, 0, 1), (1, 1, 1, 1))}
    fits = (Vector(84, True, 0), Vector(5, False, 84))
    check_bounds(circuit(vectors=fits, **unused))
    refused("circuit.capacity", vectors=(Vector(85, True, 0), Vector(5, False, 85)), **unused)
    difference = (Bound(Role.HOLDINGS, 0, ((0, 1), (1, -1))),)
    pair = (Vector(84, False, 0), Vector(84, False, 84), Vector(5, False, 168))
    third = {"dense": (), "linear": entries((0, 2, 0, 1), (1, 2, 1, 1))}
    refused("circuit.capacity", vectors=pair, bound=difference, **third)
    check_bounds(
        circuit(vectors=(Vector(83, False, 0), Vector(83, False, 83), Vector(5, False, 166)), bound=difference, **third)
    )


# Form ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 4, 12, 24, 4096, -8])
def test_12_4_rows(n: int) -> None:
    refused("circuit.form", n=n)


def test_12_4_an_empty_circuit() -> None:
    refused("circuit.form", bound=())
    refused("circuit.form", equations=0, constants=(), dense=(), linear=Entries.none(), input_terms=())
    refused("circuit.form", vectors=())
    refused("circuit.form", vectors=(Vector(0, True, 0), Vector(5, False, 0)))


@pytest.mark.parametrize(
    "changes",
    [
        {"equations": 2**14 + 1},
        {"constants": (0,)},
        {"constants": (0, 0, 0)},
        {"epoch": bytes(31)},
        {"vectors": (Vector(4, True, 0), Vector(5, False, 3))},
        {"vectors": (Vector(4, True, 1), Vector(5, False, 5))},
        {"vectors": (Vector(4, True, 0), Vector(2**12 - 3, False, 4))},
        {"tiles": 2},
        {"tiles": 0},
        {"bound": (Bound(Role.HOLDINGS, 1, ((0, 1),)),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ()),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((2, 1),)),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((-1, 1),)),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 0),)),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 1), (0, 1))),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 1),)), Bound(Role.PLEDGES, 0, ((0, 1),)))},
        {"bound": (Bound(Role.PLEDGES, 0, ((0, 1),)),)},
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 1),)), Bound(Role.PREVIOUS_PLEDGES, 0, ((1, 1),)))},
        {"kind": Kind.ATTESTATION},
        {"bound": (Bound(Role.HOLDINGS, 0, ((1, 1),)), Bound(Role.PLEDGES, 0, ((0, 1),)))},  # signed
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 1),)), Bound(Role.PLEDGES, 0, ((1, -1),)))},
        {"bound": (Bound(Role.HOLDINGS, 0, ((0, 1),)), Bound(Role.PLEDGES, 0, ((1, 2),)))},
    ],
)
def test_a_form_that_is_none(changes: dict[str, Any]) -> None:
    refused("circuit.form", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"dense": dense([[1]], target=2)},
        {"dense": dense([[1]], target=-1)},
        {"dense": dense([[1]], equation=2)},
        {"dense": dense([[1], [1]], equation=1)},
        {"dense": dense([[1]], equation=-1)},
        {"dense": dense([[1]], row=8)},
        {"dense": dense([[1, 1]], row=7)},
        {"dense": dense([[1]], row=-1)},
        {"dense": (Dense(0, 0, 0, np.zeros((0, 3), dtype=np.int64)),)},
        {"dense": (Dense(0, 0, 0, np.ones(3, dtype=np.int64)),)},
        {"dense": (Dense(0, 0, 0, np.ones((1, 3), dtype=np.int32)),)},
        {"linear": entries((2, 1, 0, 1))},
        {"linear": entries((-1, 1, 0, 1))},
        {"linear": entries((0, 2, 0, 1))},
        {"linear": entries((0, 1, 8, 1))},
        {"linear": entries((0, 1, -1, 1))},
        {"linear": entries((0, 1, 0, 0))},
        {"quadratic": entries((0, 1, 8, 1))},
        {"linear": Entries(*(np.zeros(k, dtype=np.int64) for k in (1, 1, 1, 2)))},
    ],
)
def test_a_coefficient_without_a_place(changes: dict[str, Any]) -> None:
    refused("circuit.coefficient", **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"dense": dense([[1, 2]]) + dense([[3]], row=1)},
        {"dense": dense([[1], [2]]) + dense([[3]], equation=1)},
        {"linear": entries((0, 0, 2, 1))},
        {"linear": entries((1, 0, 0, 1))},
        {"linear": entries((0, 1, 0, 1), (0, 1, 0, 1))},
        {"linear": entries((1, 1, 0, 1), (0, 1, 0, 1))},
        {"linear": entries((0, 1, 1, 1), (0, 1, 0, 1))},
        {"quadratic": entries((0, 1, 0, 1), (0, 1, 0, 1))},
    ],
)
def test_a_coefficient_given_twice(changes: dict[str, Any]) -> None:
    refused("circuit.duplicate", **changes)


def test_neighbours_are_no_duplicates() -> None:
    check_bounds(circuit(dense=dense([[1, 2]]) + dense([[3]], row=2) + dense([[1, 2]], equation=1)))
    check_bounds(circuit(linear=entries((0, 0, 3, 1), (1, 0, 3, 1))))
    check_bounds(circuit(quadratic=entries((0, 0, 0, 1))))


@pytest.mark.parametrize(
    "changes",
    [
        {"input_terms": (InputTerm(0, 0, 1), InputTerm(0, 0, 1))},
        {"input_terms": (InputTerm(1, 0, 1), InputTerm(0, 0, 1))},
        {"input_terms": (InputTerm(2, 0, 1),)},
        {"input_terms": (InputTerm(0, 1, 1),)},
        {"input_terms": (InputTerm(0, -1, 1),)},
        {"input_terms": (InputTerm(0, 0, 0),)},
        {"input_terms": (InputTerm(0, 0, 2**52),)},
        {"inputs": (InputSpec("x", 0, 2**62),)},
        {"inputs": (InputSpec("x", -(2**62), 0),)},
        {"inputs": (InputSpec("x", 1, 0),)},
    ],
)
def test_public_inputs(changes: dict[str, Any]) -> None:
    refused("circuit.inputs", **changes)
