"""Single openings: ckzg's bytes, a known tau, and every way in which an opening can be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from marginseal.algebra import kzg
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.srs import ceremony
from marginseal.algebra.vectors import PythonVectors, default_vectors
from marginseal.errors import DecodeError
from tests.oracles import naive_field
from tests.unsafe_srs import unsafe_srs

CURVE = backend()
SRS = ceremony()
VECTORS = PythonVectors()
CASES = json.loads((Path(__file__).parents[1] / "vectors/records/openings.json").read_text())
INFINITY = bytes([0xC0]) + bytes(47)
TAU = 0xFEDCBA987654321 << 120 | 11


def column(case: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(case["values"], dtype=np.int64)


def opening(case: dict[str, Any]) -> kzg.Opening:
    return kzg.Opening(bytes.fromhex(case["C"]), int(case["z"]), int(case["y"]), bytes.fromhex(case["W"]))


@pytest.mark.parametrize("case", CASES, ids=[c["desc"] for c in CASES])
@pytest.mark.parametrize("vectors", {v.name: v for v in (VECTORS, default_vectors())}.values(), ids=lambda v: v.name)
def test_openings_are_those_of_ckzg(case: dict[str, Any], vectors: Any) -> None:
    key = commitment_key(case["n"], SRS, vectors)
    coeffs = kzg.coefficients(key, column(case), [int(case["b_0"])])
    assert key.commit_small(column(case), [int(case["b_0"])]).hex() == case["C"]
    value, W = kzg.open_at(key, coeffs, int(case["z"]))
    assert (str(value), W.hex()) == (case["y"], case["W"])
    assert kzg.verify_opening(opening(case), SRS, CURVE)


@pytest.mark.parametrize("row", range(8))
def test_every_row_opens_to_its_value(row: int) -> None:
    key = commitment_key(8, SRS, VECTORS)
    q = np.array([3, -1, 0, 2**61, 1 - 2**62, 7, 0, -9], dtype=np.int64)
    C = key.commit_small(q, [12345])
    W = kzg.open_row(key, q, [12345], row)
    assert kzg.verify_opening(kzg.row_opening(8, C, row, int(q[row]), W), SRS, CURVE)
    assert not kzg.verify_opening(kzg.row_opening(8, C, row, int(q[row]) + 1, W), SRS, CURVE)
    assert not kzg.verify_opening(kzg.row_opening(8, C, (row + 1) % 8, int(q[row]), W), SRS, CURVE)


def test_the_witness_is_the_quotient_at_a_known_tau() -> None:
    srs = unsafe_srs(TAU, 16)
    key = commitment_key(8, srs, VECTORS)
    values, b_0, row = [5, -6, 7, 0, 0, 1, 2, 3], 99, 4
    z = pow(naive_field.root(8), row, R)
    p_tau = naive_field.evaluate(naive_field.blinded(values, [b_0]), TAU)
    expected = (p_tau - values[row]) * pow(TAU - z, -1, R) % R
    W = kzg.open_row(key, np.array(values, dtype=np.int64), [b_0], row)
    assert CURVE.encode_g1(CURVE.mul(CURVE.generator, expected)) == W


@pytest.mark.parametrize("change", [{"value": 5001}, {"z": 1}, {"W": CASES[1]["W"]}, {"C": CASES[1]["C"]}])
def test_a_changed_opening_does_not_hold(change: dict[str, Any]) -> None:
    fields = {k: bytes.fromhex(v) if isinstance(v, str) else v for k, v in change.items()}
    assert not kzg.verify_opening(replace(opening(CASES[0]), **fields), SRS, CURVE)


@pytest.mark.parametrize("field", ["C", "W"])
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (INFINITY, "point.infinity"),
        (bytes([0xE0]) + bytes(47), "point.infinity"),
        (bytes([0x40]) + bytes(47), "point.infinity"),
        (bytes(48), "point.malformed"),
        (bytes([0x80]) + bytes(46), "point.length"),
        (bytes([0x9F]) + bytes([0xFF] * 47), "point.malformed"),
    ],
)
def test_12_4_points_of_an_opening_are_canonical_and_not_the_identity(field: str, data: bytes, code: str) -> None:
    changed = replace(opening(CASES[0]), **{field: data})
    with pytest.raises(DecodeError) as e:
        kzg.verify_opening(changed, SRS, CURVE)
    assert e.value.code == code


def test_a_batch_holds_with_any_weights_and_only_if_all_do() -> None:
    good = [kzg.equation(opening(case), CURVE) for case in CASES]
    bad = kzg.equation(replace(opening(CASES[0]), value=1), CURVE)
    assert kzg.holds([(3, good[0]), (7, good[1]), (2**127, good[2]), (1, good[3])], SRS, CURVE)
    assert not kzg.holds([(3, good[0]), (7, bad)], SRS, CURVE)


def test_12_3_weights_known_in_advance_let_two_wrong_openings_cancel() -> None:
    """Why the weights of a batch are drawn after its openings are fixed: y + 1 and y - 1 at one point cancel."""
    case = opening(CASES[0])
    high, low = (kzg.equation(replace(case, value=(case.value + d) % R), CURVE) for d in (1, -1))
    assert kzg.holds([(1, high), (1, low)], SRS, CURVE)
    assert not kzg.holds([(0x123456789, high), (0x987654321, low)], SRS, CURVE)


def test_rows_outside_the_domain_are_a_mistake_of_ours() -> None:
    key = commitment_key(8, SRS, VECTORS)
    for row in (-1, 8):
        with pytest.raises(ValueError, match="no row"):
            kzg.open_row(key, np.zeros(8, dtype=np.int64), [1], row)
        with pytest.raises(ValueError, match="no row"):
            kzg.row_opening(8, INFINITY, row, 0, INFINITY)
    assert root_of_unity(8) == naive_field.root(8)
