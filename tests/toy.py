"""Small circuits and statements made by hand, independent of the modelling language: what attacks are tried on.

P_s . q + requirement - slack_s = 0,   q signed and bound to the sources' commitments, slack_s unsigned.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from circuits.circuit import Bound, Circuit, Dense, Entries, InputSpec, InputTerm, Line, Role, Vector
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.srs import SRS, ceremony
from marginseal.records.statement import NO_PREDECESSOR, Claim, Continuity, Kind, SourceEntry, Statement, Tier

Int64 = NDArray[np.int64]


def limbs(values: list[int], count: int, bits: int, offset: int = 0) -> Int64:
    """int64 (count, n) limb columns of values + offset."""
    out = np.zeros((count, len(values)), dtype=np.int64)
    for i, value in enumerate(values):
        x = value + offset
        assert 0 <= x < 1 << (count * bits)
        for j in range(count):
            out[j, i] = (x >> (j * bits)) & ((1 << bits) - 1)
    return out


def limb_counts(n: int) -> tuple[int, int]:
    """Lots of at least 44 bits signed, slacks of at least 55: the widths of the plain benchmark."""
    bits = n.bit_length() - 1
    return -(-44 // bits), -(-55 // bits)


def toy_circuit(P: Int64, n: int, *, requirement: int = 2**40) -> Circuit:
    S = P.shape[0]
    lot_limbs, slack_limbs = limb_counts(n)
    slack = np.arange(S, dtype=np.int64)
    one = np.ones(S, dtype=np.int64)
    return Circuit(
        kind=Kind.DISCLOSURE,
        rule="toy",
        parameters=b"{}",
        epoch=hashlib.sha256(P.tobytes()).digest(),
        n=n,
        tiles=1,
        vectors=(Vector(lot_limbs, True, 0), Vector(slack_limbs, False, lot_limbs)),
        bound=(Bound(Role.HOLDINGS, 0, ((0, 1),)),),
        equations=S,
        dense=(Dense(0, 0, 0, np.ascontiguousarray(P)),),
        linear=Entries(slack, one, slack, -one),
        quadratic=Entries.none(),
        constants=(0,) * S,
        input_terms=tuple(InputTerm(s, 0, -1) for s in range(S)),
        inputs=(InputSpec("requirement", 0, requirement),),
        lines=(Line("scenario", 0, S),),
    )


@dataclass(frozen=True)
class Toy:
    """A circuit with a statement and a witness that satisfies it."""

    circuit: Circuit
    statement: Statement
    columns: Int64
    openings: tuple[int, ...]
    lots: tuple[list[int], ...]
    blinders: tuple[int, ...]


def statement_for(
    circuits: list[tuple[Circuit, tuple[int, ...]]], commitments: list[bytes], pledge: bytes, srs: SRS, **fields: object
) -> Statement:
    base = Statement(
        srs=srs.digest,
        epoch=circuits[0][0].epoch,
        universe=bytes([1]) * 32,
        manifest=bytes([2]) * 32,
        source_registry=bytes([3]) * 32,
        venue_registry=bytes([4]) * 32,
        account="fund-1",
        account_key=bytes([5]) * 32,
        sequence=1,
        prev=NO_PREDECESSOR,
        cut_id="2026-11-01T00:00Z",
        cut_time=1_793_000_000,
        expiry=1_793_086_400,
        currency="USD",
        tick="0.01",
        pledge=pledge,
        continuity=Continuity.FIRST,
        previous_pledge=None,
        releases=(),
        sources=tuple(
            SourceEntry(f"source-{i}", "book", 0, hashlib.sha256(bytes([i])).digest(), C)
            for i, C in enumerate(commitments)
        ),
        claims=tuple(Claim(c.kind, c.digest, Tier.INITIAL, inputs) for c, inputs in circuits),
    )
    return replace(base, **fields)  # type: ignore[arg-type]


def make_toy(
    n: int = 8, S: int = 5, *, seed: int = 1, sources: int = 2, srs: SRS | None = None, size: int = 1000
) -> Toy:
    """A toy with `sources` commitments, random lots below `size` and the least requirement that holds."""
    srs = srs or ceremony()
    rng = np.random.default_rng(seed)
    P = rng.integers(-500, 500, size=(S, n), dtype=np.int64)
    books = [rng.integers(-size, size, size=n, dtype=np.int64) for _ in range(sources)]
    q = np.sum(books, axis=0)
    requirement = int(max(0, -(P @ q).min()))
    circuit = toy_circuit(P, n)
    key = commitment_key(n, srs)
    blinders = tuple(int(x) for x in rng.integers(1, 2**62, size=sources + 1))
    commitments = [key.commit_small(book, [b]) for book, b in zip(books, blinders, strict=False)]
    pledge = key.commit_small(np.zeros(n, dtype=np.int64), [blinders[-1]])
    statement = statement_for([(circuit, (requirement,))], commitments, pledge, srs)
    bits = circuit.limb_bits
    slack = [int(x) + requirement for x in P @ q] + [0] * (n - S)
    k, slack_limbs = limb_counts(n)
    columns = np.concatenate(
        [limbs([int(x) for x in q], k, bits, 1 << (k * bits - 1)), limbs(slack, slack_limbs, bits)]
    )
    lots = tuple([int(x) for x in book] for book in books)
    return Toy(circuit, statement, columns, (sum(blinders[:-1]),), lots, blinders)
