"""Section 2, at a known tau and fixed challenges: the items sent determine the blinders, and the blinders alone them.

The real prover runs in the exponent, so its items are numbers; each is a polynomial of degree at most two in any one
blinder, and a central difference is its derivative.  Full rank means that uniform blinders make uniform items: the
proof shows nothing.  W, openings at points of H and row-authority elements are functions of the rest.  (Full rank for
these challenges and this tau is full rank for all but a negligible part of them: a determinant is a polynomial.)"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R, root_of_unity
from marginseal.records.statement import Kind
from prover.blinding import Blinders
from prover.prove import _messages
from tests.attacks.cases import Case, full, margin
from tests.attacks.poly import Poly, column, divide_by_linear, evaluate, inv
from tests.exponents import exponent_setting
from verifier.messages import Proof
from verifier.rounds import Rounds
from verifier.sizes import Sizes

TAU = 0x5EED_0F_7A0 * 2**200 + 12345
SETTING = exponent_setting(TAU)
Matrix = list[list[int]]


def rank(matrix: Matrix) -> int:
    """Over F."""
    rows = [[x % R for x in row] for row in matrix]
    found = 0
    for k in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(found, len(rows)) if rows[i][k]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        factor = inv(rows[found][k])
        for i in range(found + 1, len(rows)):
            if rows[i][k]:
                by = rows[i][k] * factor % R
                rows[i] = [(a - by * b) % R for a, b in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


class Fixed:
    """Rounds whose challenges depend on nothing."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.beta, self.rho, self.y, self.z, self.nu = (draw.randrange(R) for _ in range(5))

    def round_1(self, limbs: Sequence[bytes], m: bytes) -> tuple[int, int]:
        return self.beta, self.rho

    def round_2(self, h: Sequence[bytes], phi: bytes) -> int:
        return self.y

    def round_3(self, Q: Sequence[bytes]) -> int:
        return self.z

    def round_4(self, c_z: Sequence[int], phi_wz: int) -> int:
        return self.nu


def flat(b: Blinders) -> list[int]:
    return [*(x for limb in b.limbs for x in limb), *b.m, *(x for h in b.h for x in h), *b.phi, b.b, b.b_prime]


def blinders_of(sizes: Sizes, values: Sequence[int]) -> Blinders:
    it = iter(values)

    def take(count: int) -> tuple[int, ...]:
        return tuple(next(it) for _ in range(count))

    limbs = tuple(take(2) for _ in range(sizes.L))
    return Blinders(limbs, take(1), tuple(take(1) for _ in range(sizes.G)), take(3), *take(2))


class Run:
    """One proof of a case, as a function of its blinders and of the openings of what it binds."""

    def __init__(self, case: Case, seed: int) -> None:
        self.case, self.sizes, self.rounds = case, Sizes.of(case.circuit), Fixed(seed)
        self.key = commitment_key(case.circuit.n, SETTING.srs, SETTING.vectors, curve=SETTING.curve)
        draw = random.Random(seed + 1000)
        self.at = [draw.randrange(R) for _ in range(self.sizes.blinders)]
        self.rhs = case.circuit.right_hand_sides(case.statement.claims[0].inputs)

    def proof(self, blinders: Sequence[int], openings: Sequence[int]) -> Proof:
        return _messages(
            self.case.circuit,
            cast(Rounds, self.rounds),
            self.case.columns(),
            self.rhs,
            openings,
            blinders_of(self.sizes, blinders),
            self.key,
            lambda step: None,
        )

    def items(self, blinders: Sequence[int], openings: Sequence[int], with_W: bool = False) -> list[int]:
        p = self.proof(blinders, openings)
        points = [*p.limbs, p.m, *p.h, p.phi, *p.Q] + ([p.W] if with_W else [])
        return [SETTING.curve.decode_g1(x) for x in points] + [*p.c_z, p.phi_wz]

    def jacobian(self, with_W: bool = False) -> tuple[Matrix, Matrix]:
        """Columns of the derivatives in the blinders, and in the openings of the bound vectors."""
        openings = list(self.case.openings)
        own = _derivatives(lambda x: self.items(x, openings, with_W), self.at)
        shared = _derivatives(lambda x: self.items(self.at, x, with_W), openings)
        return own, shared


def _derivatives(f: Callable[[list[int]], list[int]], at: Sequence[int]) -> Matrix:
    half = inv(2)
    out = []
    for k in range(len(at)):
        up, down = list(at), list(at)
        up[k], down[k] = up[k] + 1, down[k] - 1
        out.append([(a - b) * half % R for a, b in zip(f(up), f(down), strict=True)])
    return out


def joint(runs: Sequence[Run], sources: Sequence[int], shown: Matrix | None = None) -> Matrix:
    """One row for each blinder, one column for each item.

    sources: for each bound vector how many signed commitments add up to it; each has a b_0 of its own and is an item.
    shown: for each b_0, the derivatives of whatever else its source shows."""
    signed = sum(sources)
    Z_tau = (pow(TAU, runs[0].case.circuit.n, R) - 1) % R
    shown = shown or [[] for _ in range(signed)]
    parts = [run.jacobian() for run in runs]
    rows: Matrix = []
    for bound in [b for b, count in enumerate(sources) for _ in range(count)]:
        own = [Z_tau if k == len(rows) else 0 for k in range(signed)]
        rows.append([*own, *(x for _, shared in parts for x in shared[bound]), *shown[len(rows)]])
    widths = [len(own[0]) for own, _ in parts]
    for k, (derivatives, _) in enumerate(parts):
        left, right = signed + sum(widths[:k]), sum(widths[k + 1 :]) + len(shown[0])
        rows += [[0] * left + line + [0] * right for line in derivatives]
    return rows


def two_bound() -> Case:
    """`full` as a disclosure that binds the two tiles and no pledges."""
    case = full()
    circuit = replace(case.circuit, kind=Kind.DISCLOSURE, bound=case.circuit.bound[:2])
    return replace(case, circuit=circuit, p=case.p[:2], openings=case.openings[:2])


CONFIGURATIONS: dict[str, tuple[list[Case], list[int]]] = {
    "L=0 mod 3": ([margin()], [2]),
    "L=1 mod 3": ([margin(slacks=7)], [1]),
    "L=2 mod 3": ([margin(slacks=5)], [3]),
    "n=16": ([margin(16)], [2]),
    "V=2": ([two_bound()], [2, 2]),
    "V=3, long - short, squares": ([full()], [2, 2, 1]),
    "two proofs, one C": ([margin(), margin()], [2]),
    "three circuits, one C": ([margin(), margin(slacks=7), margin(slacks=5)], [1]),
}


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_rank_is_items_is_blinders(name: str) -> None:
    cases, sources = CONFIGURATIONS[name]
    matrix = joint([Run(case, seed) for seed, case in enumerate(cases)], sources)
    assert len(matrix) == len(matrix[0]) == sum(sources) + sum(Sizes.of(c.circuit).blinders for c in cases)
    assert rank(matrix) == len(matrix)


@pytest.mark.parametrize("name", ["L=2 mod 3", "two proofs, one C"])
def test_rank_falls_with_every_single_blinder_removed(name: str) -> None:
    cases, sources = CONFIGURATIONS[name]
    matrix = joint([Run(case, seed) for seed, case in enumerate(cases)], sources)
    for k in range(len(matrix)):
        assert rank(matrix[:k] + matrix[k + 1 :]) == len(matrix) - 1


def test_W_is_a_function_of_the_rest() -> None:
    case = margin(slacks=5)
    own, _ = Run(case, 5).jacobian(with_W=True)
    without, _ = Run(case, 5).jacobian()
    assert len(own[0]) == len(without[0]) + 1
    assert rank(own) == rank(without) == len(without)


def test_openings_of_rows_and_row_authority_are_functions_of_C() -> None:
    """(C - q_i)/(X - w^i) and u = C / Z_off at tau: one b_0 determines them all, as C does."""
    case = margin(sources=1)
    n, w = 8, root_of_unity(8)
    kept = [0, 1, 2]  # the rows the source is confined to

    def shown(b_0: int) -> list[int]:
        held = [x if i in kept else 0 for i, x in enumerate(case.rows[0])]
        p: Poly = column([x % R for x in held], [b_0])
        rows = [divide_by_linear(p, pow(w, i, R)) for i in range(n)]
        u = p
        for i in range(n):
            if i not in kept:
                u = divide_by_linear(u, pow(w, i, R))
        return [evaluate(x, TAU) for x in (*rows, u)]

    derivative = [(a - b) * inv(2) % R for a, b in zip(shown(6), shown(4), strict=True)]
    run = [Run(case, 9)]
    plain, more = joint(run, [1]), joint(run, [1], [derivative])
    assert rank(plain) == rank(more) == len(plain)
    assert len(more[0]) == len(plain[0]) + n + 1


def _without(blinders: str) -> Callable[[Blinders], Blinders]:
    zero: dict[str, Callable[[Blinders], dict[str, Any]]] = {
        "limb, second": lambda b: {"limbs": tuple((x, 0) for x, _ in b.limbs)},
        "m": lambda b: {"m": (0,)},
        "h": lambda b: {"h": tuple((0,) for _ in b.h)},
        "phi, third": lambda b: {"phi": (*b.phi[:2], 0)},
        "b": lambda b: {"b": 0},
        "b'": lambda b: {"b_prime": 0},
    }
    return lambda b: replace(b, **zero[blinders](b))


@pytest.mark.parametrize("lost", ["limb, second", "m", "h", "phi, third", "b", "b'"])
def test_a_prover_that_ignores_a_blinder_is_noticed(lost: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test of the test: a prover that forgets to use what was drawn for it has a smaller rank."""
    run = Run(margin(slacks=5), 3)
    assert rank(run.jacobian()[0]) == run.sizes.blinders
    forget = _without(lost)
    own = Run.proof

    def forgetful(self: Run, blinders: Sequence[int], openings: Sequence[int]) -> Proof:
        return own(self, flat(forget(blinders_of(self.sizes, blinders))), openings)

    monkeypatch.setattr(Run, "proof", forgetful)
    assert rank(run.jacobian()[0]) < run.sizes.blinders


def test_in_the_exponent_a_commitment_is_the_value_at_tau() -> None:
    case = margin(slacks=5)
    run = Run(case, 4)
    b = blinders_of(run.sizes, run.at)
    proof = run.proof(run.at, case.openings)
    for rows, blinders, C in zip(case.limb_rows(), b.limbs, proof.limbs, strict=True):
        assert SETTING.curve.decode_g1(C) == evaluate(column(rows, blinders), TAU)


def test_items_are_what_the_table_counts() -> None:
    for case in (margin(), full()):
        sizes = Sizes.of(case.circuit)
        run = Run(case, 1)
        assert len(run.items(run.at, case.openings, with_W=True)) == sizes.points + sizes.scalars
        assert len(run.items(run.at, case.openings)) == sizes.blinders
