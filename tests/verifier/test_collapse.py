"""The collapse is exact: against Python integers, up to the very bound of section 3, for any digits of rho."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.bounds import check_bounds
from circuits.circuit import Bound, Circuit, Dense, Entries, Role, Vector
from marginseal.algebra.field import R
from marginseal.algebra.vectors import FieldVectors, PythonVectors, default_vectors
from marginseal.algebra.vectors import Vector as FieldVector
from marginseal.errors import RuleError
from marginseal.records.statement import Kind
from tests.attacks.cases import entries
from tests.oracles.literal import batched, cells_of
from verifier import collapse as module
from verifier.collapse import DIGITS, balanced_digits, collapse, collapse_many, split

Int64 = NDArray[np.int64]
BACKENDS = [PythonVectors(), default_vectors()]
BOUND = 2**52


def circuit_of(
    equations: int,
    dense: Sequence[Dense] = (),
    linear: Entries | None = None,
    quadratic: Entries | None = None,
    constants: Sequence[int] | None = None,
    n: int = 8,
) -> Circuit:
    """A bare circuit of two vectors; only its matrices matter here."""
    return Circuit(
        kind=Kind.DISCLOSURE,
        rule="bare",
        parameters=b"",
        epoch=bytes(32),
        n=n,
        tiles=1,
        vectors=(Vector(2, True, 0), Vector(2, False, 2)),
        bound=(Bound(Role.HOLDINGS, 0, ((0, 1),)),),
        equations=equations,
        dense=tuple(dense),
        linear=linear or Entries.none(),
        quadratic=quadratic or Entries.none(),
        constants=tuple(constants or [0] * equations),
        input_terms=(),
        inputs=(),
    )


def assert_exact(circuit: Circuit, rho: int, V: FieldVectors) -> None:
    rhs = list(circuit.constants)
    got = collapse(circuit, rhs, rho, V)
    powers = [pow(rho, j + 1, R) for j in range(circuit.equations)]
    A, D = cells_of(circuit)
    assert {t: V.to_ints(w) for t, w in got.W.items()} == batched(A, powers, circuit.n)
    assert {t: V.to_ints(u) for t, u in got.U.items()} == batched(D, powers, circuit.n)
    assert got.c == sum(p * x for p, x in zip(powers, rhs, strict=True)) % R


def random_circuit(seed: int) -> Circuit:
    rng = np.random.default_rng(seed)
    M = 12
    dense = [
        Dense(0, 0, 2, rng.integers(-(2**40), 2**40, size=(5, 6), dtype=np.int64)),
        Dense(0, 5, 0, rng.integers(-1000, 1000, size=(3, 8), dtype=np.int64)),
        Dense(1, 0, 0, rng.integers(-(2**48), 2**48, size=(8, 3), dtype=np.int64)),
    ]

    def some(rows: range, size: int) -> Entries:
        cells = {
            (int(rng.integers(0, M)), t, int(rng.integers(rows.start, rows.stop))): int(rng.integers(1, size))
            for t in (0, 1)
            for _ in range(20)
        }
        return entries({key: value * (-1) ** key[0] for key, value in cells.items() if key[0] >= 8})

    constants = [int(x) * 2**150 for x in rng.integers(-(2**60), 2**60, size=M)]
    return circuit_of(M, dense, some(range(8), 2**48), some(range(8), 2**40), constants)


@pytest.mark.parametrize("V", BACKENDS, ids=lambda V: str(V.name))
@pytest.mark.parametrize("seed", range(4))
def test_collapse_is_what_python_integers_say(seed: int, V: FieldVectors) -> None:
    circuit = random_circuit(seed)
    check_bounds(circuit)
    rng = np.random.default_rng(seed + 100)
    for rho in (1, R - 1, int.from_bytes(rng.bytes(32), "big") % R):
        assert_exact(circuit, rho, V)


@pytest.mark.parametrize("V", BACKENDS, ids=lambda V: str(V.name))
def test_a_stack_of_challenges_is_each_of_them(V: FieldVectors) -> None:
    circuit = random_circuit(7)
    rhos = [3**200 % R, 5**150 % R, 7, R - 2]
    rhs = [[x + k for x in circuit.constants] for k in range(4)]
    together = collapse_many(circuit, rhs, rhos, V)
    for k, rho in enumerate(rhos):
        alone = collapse(circuit, rhs[k], rho, V)
        assert together[k].c == alone.c
        for a, b in ((together[k].W, alone.W), (together[k].U, alone.U)):
            assert {t: V.to_ints(v) for t, v in a.items()} == {t: V.to_ints(v) for t, v in b.items()}


def worst_digits(monkeypatch: pytest.MonkeyPatch, digit: int) -> int:
    """The same digit everywhere: what makes partial sums largest.  Gives the power of rho that they mean."""
    power: int = sum(digit << (module.DIGIT_BITS * k) for k in range(DIGITS)) % R

    def powers(circuit: Circuit, rho: int, vectors: FieldVectors) -> FieldVector:
        return vectors.full(circuit.equations, power)

    def digits(powers: Sequence[FieldVector], vectors: FieldVectors) -> Int64:
        return np.full((vectors.length(powers[0]), DIGITS * len(powers)), digit, dtype=np.int64)

    monkeypatch.setattr(module, "rho_powers", powers)
    monkeypatch.setattr(module, "balanced_digits", digits)
    return power


def odd_columns(total: int) -> Int64:
    """(3, 8): all odd, so that no factor of two saves a rounded sum; each column adds up to `total`."""
    return np.array([[total - 4] * 8, [3] * 8, [1] * 8], dtype=np.int64)


def at_the_bound() -> dict[str, Circuit]:
    """Circuits whose column sums are 2^52 - 1, the largest section 3 allows, and others beside each inner bound."""
    M = 2**14
    each = np.full((M, 8), (BOUND - 1) // M, dtype=np.int64)
    each[0] += (BOUND - 1) % M
    odd = np.full((M, 8), -((BOUND - 1) // M), dtype=np.int64)
    odd[5] -= (BOUND - 1) % M
    single = {(j, 1, i): int(each[j, i]) for j in range(512) for i in (0, 7)}
    short = sum(single[j, 1, 0] for j in range(512))
    for i in (0, 7):
        single[0, 1, i] += BOUND - 1 - short
    lone = entries({(0, 0, 0): BOUND - 1, (0, 0, 3): 1 - BOUND})
    blocks = [Dense(0, j, 0, np.full((1, 8), 2**38 - 2, dtype=np.int64)) for j in range(1500)]
    return {
        "one-coefficient": circuit_of(1, [Dense(0, 0, 0, np.full((1, 8), BOUND - 1, dtype=np.int64))]),
        "one-negative": circuit_of(1, [Dense(0, 0, 0, np.full((1, 8), 1 - BOUND, dtype=np.int64))]),
        "every-equation": circuit_of(M, [Dense(0, 0, 0, each)]),
        "every-equation-negative": circuit_of(M, [Dense(0, 0, 0, odd)]),
        "single": circuit_of(512, linear=entries(single)),
        "lone": circuit_of(1, linear=lone, quadratic=lone),
        "halves": circuit_of(1, [Dense(0, 0, 0, np.full((1, 4), 2**52 - 2**23, dtype=np.int64))]),
        "many-blocks": circuit_of(1500, blocks),
        "just-whole": circuit_of(3, [Dense(0, 0, 0, odd_columns(2**38 - 3))]),
        "just-split": circuit_of(3, [Dense(0, 0, 0, odd_columns(2**38 + 1))]),
        "odd-and-first-inexact": circuit_of(3, [Dense(0, 0, 0, odd_columns(2**38 + 2**24 + 1))]),
        "odd-and-split": circuit_of(3, [Dense(0, 0, 0, odd_columns(2**39 + 1))]),
        "odd-and-larger": circuit_of(3, [Dense(0, 0, 0, odd_columns(2**47 + 1))]),
        "single-just-whole": circuit_of(2, linear=entries({(0, 1, 2): 2**46 - 2, (1, 1, 2): 1})),
        "single-just-split": circuit_of(2, linear=entries({(0, 1, 2): 2**46 - 1, (1, 1, 2): 2})),
        "whole-and-single": circuit_of(
            2, [Dense(0, 0, 0, np.full((1, 8), 2**38 - 2, dtype=np.int64))], entries({(1, 0, 0): BOUND - 2**38 + 1})
        ),
    }


@pytest.mark.parametrize("digit", [2**15, -(2**15), 2**15 - 1, 1 - 2**15])
@pytest.mark.parametrize("name", list(at_the_bound()))
def test_collapse_is_exact_at_the_bound_whatever_the_digits(
    name: str, digit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = at_the_bound()[name]
    power = worst_digits(monkeypatch, digit)
    V = default_vectors()
    got = collapse(circuit, list(circuit.constants), 2, V)
    A, D = cells_of(circuit)
    powers = [power] * circuit.equations
    assert {t: V.to_ints(w) for t, w in got.W.items()} == batched(A, powers, circuit.n)
    assert {t: V.to_ints(u) for t, u in got.U.items()} == batched(D, powers, circuit.n)


@pytest.mark.parametrize("name", [name for name in at_the_bound() if name != "many-blocks"])
def test_the_bound_is_within_what_a_circuit_may_hold(name: str) -> None:
    circuit = at_the_bound()[name]
    check_bounds(circuit)
    assert_exact(circuit, 3**160 % R, PythonVectors())


def test_one_more_than_the_bound_is_refused() -> None:
    just = at_the_bound()["every-equation"].dense[0].values.copy()
    just[1, 4] += 1
    with pytest.raises(RuleError) as e:
        check_bounds(circuit_of(len(just), [Dense(0, 0, 0, just)]))
    assert e.value.code == "circuit.exactness"


@pytest.mark.parametrize("place", [0, 1, 7, 14, 15])
@pytest.mark.parametrize("others", [0, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_every_digit_of_rho_at_every_kind_of_neighbour(place: int, others: int) -> None:
    """All 2^16 values of one digit, its neighbours fixed: the balanced digits are small and mean the same number."""
    top = 0x73ED  # the leading digit of r
    values = range(2**16) if place < 15 else range(top)
    rest = sum(others << (16 * k) for k in range(15) if k != place)
    numbers = [rest + (x << (16 * place)) for x in values]
    V = PythonVectors()
    digits = balanced_digits([V.from_ints(numbers)], V)
    assert digits.shape == (len(numbers), DIGITS)
    assert int(digits.max()) <= 2**15
    assert int(digits.min()) >= -(2**15)
    again = np.zeros(len(numbers), dtype=object)
    for k in range(DIGITS):
        again += digits[:, k].astype(object) << (16 * k)
    assert again.tolist() == numbers


def test_the_digits_of_a_stack_stand_side_by_side() -> None:
    V = PythonVectors()
    stack = [V.powers(3**90, 5), V.powers(R - 7, 5)]
    alone = [balanced_digits([v], V) for v in stack]
    assert balanced_digits(stack, V).tolist() == np.concatenate(alone, axis=1).tolist()


def test_splitting_is_exact_within_int64_less_half_a_step() -> None:
    """The smallest int64 included; only the last 2^23 values at the top would wrap, far beyond section 3."""
    extremes = [-(2**63), 1 - 2**63, -BOUND, 1 - BOUND, -1, 0, 1, 2**23, 2**24, BOUND - 1, 2**63 - 1 - 2**23]
    hi, lo = split(np.array(extremes, dtype=np.int64))
    assert [int(h) * 2**24 + int(x) for h, x in zip(hi, lo, strict=True)] == extremes
    assert int(np.abs(lo).max()) <= 2**23
