"""Protocol section 12, item 4: bytes that mean nothing, or mean something twice; circuits beyond their bounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, cached_property

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.bounds import check_bounds
from circuits.circuit import Circuit, Dense, Entries
from marginseal.algebra.curve import P
from marginseal.algebra.field import R
from marginseal.errors import DecodeError, PolicyError, ProofRejected, RuleError
from marginseal.records.statement import Statement
from prover.prove import Secrets, prove
from tests.attacks.bad_points import compressed, coordinates, low_x
from tests.attacks.cases import Case, entries, margin
from tests.attacks.forge import Forger, accepts
from tests.oracles.literal import Cells, cells_of
from verifier.messages import Proof
from verifier.sizes import Sizes
from verifier.verify import verify

CASE = margin()
SIZES = Sizes.of(CASE.circuit)
ITEMS = ["limb"] * SIZES.L + ["m"] + ["h"] * SIZES.G + ["phi"] + ["Q"] * 3
POINTS = [(name + str(i), 48 * i) for i, name in enumerate(ITEMS)] + [("W", SIZES.proof_bytes - 48)]
SCALARS = [(f"c{j}(z)" if j < SIZES.L else "phi(wz)", 48 * len(ITEMS) + 32 * j) for j in range(SIZES.L + 1)]


@cache
def honest() -> bytes:
    return prove(CASE.circuit, CASE.statement, CASE.columns(), CASE.openings, Secrets(b"k" * 32))


def refused(data: bytes) -> str:
    """The code of the refusal."""
    with pytest.raises((DecodeError, ProofRejected)) as e:
        verify(CASE.circuit, CASE.statement, data)
    return e.value.code


BAD_POINTS: dict[str, tuple[Callable[[], bytes], str]] = {
    "off the curve": (lambda: compressed(next(coordinates(None))), "point.not-on-curve"),
    "off the subgroup": (lambda: compressed(next(coordinates(False))), "point.subgroup"),
    "infinity": (lambda: compressed(0, 0xC0), "point.infinity"),
    "infinity with a sign": (lambda: compressed(0, 0xE0), "point.infinity"),
    "infinity and more": (lambda: compressed(1, 0xC0), "point.infinity"),
    "infinity, not compressed": (lambda: compressed(0, 0x40), "point.infinity"),
    "zeros": (lambda: bytes(48), "point.malformed"),
    "not compressed": (lambda: compressed(low_x(), 0x00), "point.malformed"),
    "x and p": (lambda: compressed(low_x() + P), "point.malformed"),
    "p": (lambda: compressed(P), "point.malformed"),
    "all ones": (lambda: b"\xff" * 48, "point.infinity"),
}


@pytest.mark.parametrize("at", [at for _, at in POINTS], ids=[name for name, _ in POINTS])
@pytest.mark.parametrize("bad", list(BAD_POINTS))
def test_12_4_point(at: int, bad: str) -> None:
    make, code = BAD_POINTS[bad]
    assert refused(honest()[:at] + make() + honest()[at + 48 :]) == code


@pytest.mark.parametrize("at", [at for _, at in POINTS], ids=[name for name, _ in POINTS])
def test_12_4_point_negated(at: int) -> None:
    """A good encoding of another point."""
    data = honest()
    assert refused(data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :]) == "verify.pairing"


@pytest.mark.parametrize("place", ["pledge", "C"])
@pytest.mark.parametrize("bad", list(BAD_POINTS))
def test_12_4_point_of_the_statement(place: str, bad: str) -> None:
    make, code = BAD_POINTS[bad]
    s = CASE.statement
    spoilt = (
        replace(s, pledge=make())
        if place == "pledge"
        else replace(s, sources=(*s.sources[:-1], replace(s.sources[-1], C=make())))
    )
    with pytest.raises(DecodeError) as e:
        verify(CASE.circuit, Statement.decode(spoilt.encode()), honest())
    assert e.value.code == code


@pytest.mark.parametrize("at", [at for _, at in SCALARS], ids=[name for name, _ in SCALARS])
def test_12_4_scalar_not_reduced(at: int) -> None:
    """The same number and r more, which the field would not tell apart."""
    data = honest()
    x = int.from_bytes(data[at : at + 32], "big")
    for bad in (x + R, R, 2**256 - 1):
        assert refused(data[:at] + bad.to_bytes(32, "big") + data[at + 32 :]) == "scalar.not-reduced"
    assert refused(data[:at] + ((x + 1) % R).to_bytes(32, "big") + data[at + 32 :]) == "verify.pairing"


@pytest.mark.parametrize("change", [-48, -32, -1, 1, 32, 48, 80])
def test_12_4_counts_and_trailing_bytes(change: int) -> None:
    data = honest()
    assert refused(data[:change] if change < 0 else data + bytes(change)) == "proof.length"


def test_12_4_no_bytes_and_far_too_many() -> None:
    assert refused(b"") == "proof.length"
    assert refused(bytes(10**7)) == "proof.length"


def test_12_4_a_limb_dropped_or_doubled() -> None:
    data = honest()
    assert refused(data[48:]) == "proof.length"
    assert refused(data[:48] + data) == "proof.length"


def test_12_4_what_is_decoded_encodes_to_the_same_bytes() -> None:
    assert Proof.decode(honest(), CASE.circuit).encode() == honest()


@pytest.mark.parametrize("end", ["truncated", "trailing"])
def test_12_4_statement_bytes(end: str) -> None:
    data = CASE.statement.encode()
    assert Statement.decode(data) == CASE.statement
    with pytest.raises(DecodeError) as e:
        Statement.decode(data[:-1] if end == "truncated" else data + b"\x00")
    assert e.value.code == f"wire.{end}"


# Circuits beyond their bounds: whoever compiles refuses them; what they would have proven.


def refused_circuit(circuit: Circuit) -> str:
    with pytest.raises(RuleError) as e:
        check_bounds(circuit)
    return e.value.code


@pytest.mark.parametrize("n", [0, 1, 2, 4, 7, 9, 12, 24, 4096])
def test_12_4_rows_not_a_power_of_two_or_out_of_range(n: int) -> None:
    assert refused_circuit(replace(CASE.circuit, n=n)) == "circuit.form"


def test_12_4_proof_at_twice_the_rows() -> None:
    twice = replace(CASE.circuit, n=16)
    with pytest.raises(PolicyError) as e:
        verify(twice, CASE.statement, honest())
    assert e.value.code == "verify.circuit"
    claim = replace(CASE.statement.claims[0], circuit=twice.digest)
    with pytest.raises(ProofRejected):
        verify(twice, replace(CASE.statement, claims=(claim,)), honest())


@pytest.mark.parametrize(
    "empty",
    [
        {"bound": ()},
        {"vectors": (), "bound": ()},
        {"equations": 0, "constants": (), "dense": (), "linear": Entries.none(), "input_terms": ()},
    ],
    ids=["no bound vector", "no column", "no equation"],
)
def test_12_4_empty_circuit(empty: dict[str, object]) -> None:
    changed: Circuit = replace(CASE.circuit, **empty)  # type: ignore[arg-type]
    assert refused_circuit(changed) == "circuit.form"


@pytest.mark.parametrize("value", [2**52, -(2**52), 2**62, 2**63 - 1, -(2**63)])
@pytest.mark.parametrize("form", ["dense", "single", "quadratic"])
def test_12_4_coefficient_past_the_bound(value: int, form: str) -> None:
    circuit = CASE.circuit
    if form == "dense":
        P_matrix = circuit.dense[0].values.copy()
        P_matrix[2, 3] = value
        circuit = replace(circuit, dense=(replace(circuit.dense[0], values=P_matrix),))
    elif form == "single":
        circuit = replace(circuit, linear=entries({(0, 1, 0): value}))
    else:
        circuit = replace(circuit, quadratic=entries({(0, 1, 0): value}))
    assert refused_circuit(circuit) == "circuit.exactness"


@pytest.mark.parametrize("count", [2, 4, 8, 1024])
def test_12_4_matrix_whose_sums_pass_the_bound(count: int) -> None:
    """Each coefficient is within the bound, and their sum one past it."""
    values = np.full((count, 8), 2**52 // count, dtype=np.int64)
    circuit = replace(
        CASE.circuit,
        equations=count,
        dense=(Dense(0, 0, 0, values),),
        linear=Entries.none(),
        constants=(0,) * count,
        input_terms=(),
    )
    assert refused_circuit(circuit) == "circuit.exactness"
    below = values.copy()
    below[0] -= 1
    check_bounds(replace(circuit, dense=(Dense(0, 0, 0, below),)))


def one_coefficient(value: int, lots: int, slack: int) -> Case:
    """One scenario, one position: value * lots + requirement = slack, whatever value is."""
    case = margin(S=1, sources=1, slacks=22, size=2)
    P_matrix = np.zeros((1, 8), dtype=np.int64)
    P_matrix[0, 0] = value
    circuit = replace(case.circuit, dense=(Dense(0, 0, 0, P_matrix),))
    claim = replace(case.statement.claims[0], circuit=circuit.digest, inputs=(0,))
    case = replace(case, circuit=circuit, statement=replace(case.statement, claims=(claim,)))
    q = list(case.rows[0])
    assert lots in q
    P_matrix[0] = 0
    P_matrix[0, q.index(lots)] = value
    circuit = replace(circuit, dense=(Dense(0, 0, 0, P_matrix),))
    claim = replace(claim, circuit=circuit.digest)
    rows = (case.rows[0], (slack, *[0] * 7))
    return replace(case, circuit=circuit, statement=replace(case.statement, claims=(claim,)), rows=rows)


class Reading(Forger):
    """A forger who knows how the verifier misreads one coefficient."""

    misread = 0

    def cells(self) -> tuple[Cells, Cells]:
        A, D = cells_of(self.circuit)
        return {key: self.misread if value and key[1] == 0 else value for key, value in A.items()}, D


def test_12_4_int64_that_wraps_would_prove_the_opposite() -> None:
    """2^63 - 1 a lot, read as -2^63 - 1: the worst loss there is becomes a gain.  check_bounds keeps it out."""
    case = one_coefficient(2**63 - 1, -1, 2**63 + 1)

    class Wrapped(Reading):
        misread = -(2**63) - 1

    assert accepts(case, Wrapped(case).forge())
    assert refused_circuit(case.circuit) == "circuit.exactness"


def test_12_4_inexact_collapse_forges_an_equation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier that multiplies in float32 reads 2^24 + 1 as 2^24 and is sold a slack that is one too large."""
    case = one_coefficient(-(2**24) - 1, -1, 2**24)  # the true slack is 2^24 + 1
    assert not accepts(case, Forger(case).forge())

    class Rounded(Reading):
        misread = -(2**24)

    forged = Rounded(case).forge()
    assert not accepts(case, forged)

    def as_float32(dense: Dense) -> NDArray[np.float64]:
        return dense.values.astype(np.float32).astype(np.float64)

    inexact = cached_property(as_float32)
    inexact.__set_name__(Dense, "as_float")
    monkeypatch.setattr(Dense, "as_float", inexact)
    fresh = replace(case, circuit=replace(case.circuit, dense=(replace(case.circuit.dense[0]),)))
    assert accepts(fresh, forged)
