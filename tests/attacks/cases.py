"""Small circuits with a statement, a witness and everything a liar may know: what the attacks are tried on.

`margin`  P_s q + requirement - slack_s = 0, q signed, one tile, any number of sources; a disclosure.
`full`    two tiles, long - short bound as a whole, haircuts, a pledge schedule, a cone K^2 = u_0^2 + 2 u_1^2 + s, a
          limit; an attestation.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Bound, Circuit, Dense, Entries, InputSpec, InputTerm, Role, Vector
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R
from marginseal.algebra.srs import SRS, ceremony
from marginseal.records.statement import Kind, SourceEntry, Statement
from tests.attacks.poly import Poly, column
from tests.oracles.literal import Cells
from tests.toy import statement_for

Int64 = NDArray[np.int64]
Rows = tuple[tuple[int, ...], ...]
REQUIREMENT_BOUND = 2**40


@dataclass(frozen=True)
class Case:
    """rows: for every vector, n integers.  p: for every bound vector, the polynomial behind its commitment."""

    circuit: Circuit
    statement: Statement
    rows: Rows
    p: tuple[Poly, ...]
    openings: tuple[int, ...]
    blinders: dict[str, int] = field(default_factory=dict)

    def limb_rows(self) -> list[list[int]]:
        """For every limb column, its n values, as honest as `rows`."""
        out = []
        bits = self.circuit.limb_bits
        for v, vector in enumerate(self.circuit.vectors):
            shifted = [x + self.circuit.offset(v) for x in self.rows[v]]
            assert all(0 <= x < 1 << (bits * vector.limbs) for x in shifted)
            out += [[(x >> (bits * j)) % (1 << bits) for x in shifted] for j in range(vector.limbs)]
        return out

    def columns(self) -> Int64:
        return np.array(self.limb_rows(), dtype=np.int64)

    def claiming(self, *inputs: int) -> Case:
        """The same with other public inputs in the (only) claim."""
        claim = replace(self.statement.claims[0], inputs=inputs)
        return replace(self, statement=replace(self.statement, claims=(claim,)))

    def with_row(self, vector: int, row: int, value: int) -> Case:
        """The same with one integer of the witness changed."""
        rows = [list(r) for r in self.rows]
        rows[vector][row] = value
        return replace(self, rows=tuple(tuple(r) for r in rows))


def entries(cells: Mapping[tuple[int, int, int], int]) -> Entries:
    keys = sorted(key for key, value in cells.items() if value)
    equation, target, row = (np.array([key[k] for key in keys], dtype=np.int64) for k in range(3))
    return Entries(equation, target, row, np.array([cells[key] for key in keys], dtype=np.int64))


def widths(n: int, *limbs_and_signs: tuple[int, bool]) -> tuple[Vector, ...]:
    """Vectors one after the other; limbs for 3 bits each are given, wider tables need fewer."""
    out, at = [], 0
    bits = n.bit_length() - 1
    for limbs, signed in limbs_and_signs:
        count = -(-3 * limbs // bits)
        out.append(Vector(count, signed, at))
        at += count
    return tuple(out)


def margin(
    n: int = 8,
    S: int = 5,
    *,
    lots: int = 3,
    slacks: int = 6,
    sources: int = 2,
    seed: int = 1,
    spare: int = 0,
    size: int = 100,
    srs: SRS | None = None,
) -> Case:
    """Lots, below `size`, and slacks of so many 3-bit limbs.  The requirement is `spare` more than the least."""
    srs = srs or ceremony()
    rng = np.random.default_rng(seed)
    P = rng.integers(-50, 50, size=(S, n), dtype=np.int64)
    books = [rng.integers(-size, size, size=n, dtype=np.int64) // sources for _ in range(sources)]
    q = np.sum(books, axis=0)
    requirement = int(max(0, -(P @ q).min())) + spare
    scenario, one = np.arange(S, dtype=np.int64), np.ones(S, dtype=np.int64)
    circuit = Circuit(
        kind=Kind.DISCLOSURE,
        rule="margin",
        parameters=b"{}",
        epoch=hashlib.sha256(P.tobytes()).digest(),
        n=n,
        tiles=1,
        vectors=widths(n, (lots, True), (slacks, False)),
        bound=(Bound(Role.HOLDINGS, 0, ((0, 1),)),),
        equations=S,
        dense=(Dense(0, 0, 0, P),),
        linear=Entries(scenario, one, scenario, -one),
        quadratic=Entries.none(),
        constants=(0,) * S,
        input_terms=tuple(InputTerm(s, 0, -1) for s in range(S)),
        inputs=(InputSpec("requirement", 0, REQUIREMENT_BOUND),),
    )
    key = commitment_key(n, srs)
    b_0 = [int(x) for x in rng.integers(1, 2**62, size=sources + 1)]
    commitments = [key.commit_small(book, [b]) for book, b in zip(books, b_0, strict=False)]
    pledge = key.commit_small(np.zeros(n, dtype=np.int64), [b_0[-1]])
    slack = [int(x) + requirement for x in P @ q] + [0] * (n - S)
    opening = sum(b_0[:-1])
    return Case(
        circuit,
        statement_for([(circuit, (requirement,))], commitments, pledge, srs),
        (tuple(int(x) for x in q), tuple(slack)),
        (column([int(x) for x in q], [opening]),),
        (opening,),
        {f"source-{i}": b for i, b in enumerate(b_0[:-1])},
    )


EQUITY = 5000
LONG, SHORT, TILE_1, PLEDGE, SLACK, U, K = range(7)
NET = 7  # the target long - short
CONE_ROW, LIMIT_ROW = 5, 6
FREE_ROW = 3  # of tile 1: in the scenarios, not in the norm


def full(
    n: int = 8,
    *,
    seed: int = 1,
    srs: SRS | None = None,
    lots: tuple[Sequence[int], Sequence[int]] | None = None,
    haircuts: tuple[int, int] = (2, 3),
    limit: int = 60,
    pledged: int | None = None,
) -> Case:
    """See the module.  Two sources hold both tiles; four scenarios; equity is a constant of the circuit.

    lots: what source-0 holds of either tile, and source-1 nothing.  limit: of K.  pledged: the pledge to venue 0.
    What the arguments make impossible shows in `rows` as numbers their limbs do not hold."""
    srs = srs or ceremony()
    rng = np.random.default_rng(seed)
    P = [rng.integers(-9, 10, size=(4, n), dtype=np.int64) for _ in range(2)]
    a = rng.integers(-3, 4, size=(2, n), dtype=np.int64)
    a[:, FREE_ROW] = 0
    shares = [rng.integers(-10, 11, size=(2, n), dtype=np.int64) for _ in range(2)]
    if lots is not None:
        shares = [np.array([wanted, [0] * n], dtype=np.int64) for wanted in lots]
    q_0, q_1 = (share.sum(axis=0) for share in shares)
    pledge = rng.integers(0, 30, size=n, dtype=np.int64)
    if pledged is not None:
        pledge[0] = pledged
    long, short = np.maximum(q_0, 0), np.maximum(-q_0, 0)
    u = a @ q_1
    K_value = int(np.ceil(np.sqrt(float(u[0] ** 2 + 2 * u[1] ** 2))))
    linear: Cells = {}
    for s in range(4):
        for i in range(n):
            linear[s, LONG, i], linear[s, SHORT, i], linear[s, PLEDGE, i] = -haircuts[0], -haircuts[1], -1
        linear[s, SLACK, s] = -1
    for k in range(2):
        linear |= {(4 + k, TILE_1, i): int(x) for i, x in enumerate(a[k])}
        linear[4 + k, U, k] = -1
    linear |= {(6, SLACK, CONE_ROW): -1, (7, K, 0): 1, (7, SLACK, LIMIT_ROW): 1}
    circuit = Circuit(
        kind=Kind.ATTESTATION,
        rule="full",
        parameters=b"{}",
        epoch=hashlib.sha256(P[0].tobytes() + P[1].tobytes()).digest(),
        n=n,
        tiles=2,
        vectors=widths(n, (2, False), (2, False), (2, True), (2, False), (5, False), (3, True), (3, False)),
        bound=(
            Bound(Role.HOLDINGS, 0, ((LONG, 1), (SHORT, -1))),
            Bound(Role.HOLDINGS, 1, ((TILE_1, 1),)),
            Bound(Role.PLEDGES, 0, ((PLEDGE, 1),)),
        ),
        equations=8,
        dense=(Dense(NET, 0, 0, P[0]), Dense(TILE_1, 0, 0, P[1])),
        linear=entries(linear),
        quadratic=entries({(6, K, 0): 1, (6, U, 0): -1, (6, U, 1): -2}),
        constants=(-EQUITY,) * 4 + (0, 0, 0, limit),
        input_terms=tuple(InputTerm(s, 0, 1) for s in range(4)),
        inputs=(InputSpec("requirement", 0, REQUIREMENT_BOUND),),
    )
    requirement = 100
    charge = haircuts[0] * int(long.sum()) + haircuts[1] * int(short.sum()) + int(pledge.sum()) + requirement
    slack = [int(x) + EQUITY - charge for x in P[0] @ q_0 + P[1] @ q_1] + [0] * (n - 4)
    slack[CONE_ROW] = K_value**2 - int(u[0] ** 2 + 2 * u[1] ** 2)
    slack[LIMIT_ROW] = limit - K_value
    key = commitment_key(n, srs)
    b_0 = {f"source-{s}-{t}": int(x) for s in range(2) for t in range(2) for x in rng.integers(1, 2**62, size=1)}
    b_0["pledge"] = int(rng.integers(1, 2**62))
    sources = tuple(
        SourceEntry(
            f"source-{s}",
            "book",
            t,
            hashlib.sha256(bytes([s, t])).digest(),
            key.commit_small(shares[t][s], [b_0[f"source-{s}-{t}"]]),
        )
        for s in range(2)
        for t in range(2)
    )
    openings = (*(sum(b_0[f"source-{s}-{t}"] for s in range(2)) for t in range(2)), b_0["pledge"])
    statement = statement_for(
        [(circuit, (requirement,))],
        [sources[0].C],
        key.commit_small(pledge, [b_0["pledge"]]),
        srs,
        sources=sources,
    )
    pad = [0] * n
    rows = (long, short, q_1, pledge, slack, [*u.tolist(), *pad][:n], [K_value, *pad][:n])
    held = [column([int(x) % R for x in r], [b]) for r, b in zip((q_0, q_1, pledge), openings, strict=True)]
    return Case(circuit, statement, tuple(tuple(int(x) for x in r) for r in rows), tuple(held), openings, b_0)
