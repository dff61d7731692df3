"""A hedged book proven through a crash: real chains of February 2026 where they are at hand, a generated one always.

The book: coin and cash against short out-of-the-money puts and calls, hedged by puts further out and a short perpetual,
split over two sources that each commit to their part.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from circuits.compile import compile_rule
from marginseal.algebra.commit import commitment_key
from marginseal.errors import Unsatisfied
from marginseal.market import fields
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch
from marginseal.market.importer import ChainRow, import_chain, parse_chain, read_chain
from marginseal.market.parameters import RiskParameters, UnderlyingRisk
from marginseal.market.universe import Universe
from marginseal.records.statement import Claim, Tier
from prover.prove import Secrets, prove
from prover.witness import make_witness
from tests.market.markets import small_chain
from tests.toy import statement_for
from verifier.verify import Setting, verify

FOLDER = os.environ.get("MARGINSEAL_MARKET_DATA")
CRASH = (
    "2026-02-05T04:29:52Z",
    "2026-02-05T09:36:47Z",
    "2026-02-05T15:51:32Z",
    "2026-02-05T21:29:37Z",
    "2026-02-06T04:30:12Z",
)
PARAMETERS = RiskParameters("crash", "tests", {"BTC": UnderlyingRisk(0.16), "ETH": UnderlyingRisk(0.18, vol_up=0.4)})
VENUES = 3


def options(universe: Universe, rows: Sequence[ChainRow], kind: str, low: float, high: float) -> list[int]:
    """Rows of BTC options of a kind whose strike lies between two multiples of the index, the nearest 12."""
    found = [r for r in rows if r.currency == "BTC" and r.option_type == kind]
    chosen = [r for r in found if low <= float(r.strike) / r.index <= high]
    chosen.sort(key=lambda r: (r.expiry, r.strike))
    return [universe.row(r.name) for r in chosen[-12:]]


def hedged_book(universe: Universe, rows: Sequence[ChainRow]) -> list[NDArray[np.int64]]:
    """Two sources: coin, cash and long puts at one; short puts, short calls and the perpetual at the other."""
    custodian, venue = (np.zeros(len(universe), dtype=np.int64) for _ in range(2))
    custodian[universe.row("USD")] = 200_000_000 // 100
    custodian[universe.row("BTC")] = 1_500
    custodian[options(universe, rows, "put", 0.55, 0.75)] = 20
    venue[options(universe, rows, "put", 0.75, 0.95)] = -10
    venue[options(universe, rows, "call", 1.2, 1.6)] = -10
    venue[universe.row("BTC-PERP-LINEAR")] = -400
    return [custodian, venue]


def prove_and_verify(epoch: RiskEpoch, books: list[NDArray[np.int64]], tier: Tier) -> None:
    """A proof that the netted book is healthy after pledges, verified; raises if there is none."""
    setting = Setting.default()
    compiled = compile_rule("worst_case", epoch, tier, venues=VENUES)
    circuit = compiled.circuit
    key = commitment_key(circuit.n)
    pledges = np.array([1_000_000, 500_000, 0], dtype=np.int64)
    columns = []
    for values in (*books, pledges):
        column = np.zeros(circuit.n, dtype=np.int64)
        column[: len(values)] = values
        columns.append(column)
    blinders = [11, 12, 13]
    commitments = [key.commit_small(column, [b]) for column, b in zip(columns, blinders, strict=True)]
    statement = statement_for(
        [(circuit, ())],
        commitments[:2],
        commitments[2],
        setting.srs,
        claims=(Claim(circuit.kind, circuit.digest, tier, ()),),
    )
    witness = make_witness(compiled, books[0] + books[1], pledges)
    proof = prove(circuit, statement, witness.columns, [11 + 12, 13], Secrets(bytes(32)))
    verify(circuit, statement, proof)


@pytest.mark.skipif(FOLDER is None, reason="MARGINSEAL_MARKET_DATA names no folder with market data")
def test_a_hedged_book_is_proven_through_the_crash_of_february_2026() -> None:
    rows = read_chain(Path(str(FOLDER)) / "deribit_option_chains.csv.gz")
    for moment in CRASH:
        time = fields.time(moment, "moment")
        now = [row for row in rows if row.time == time]
        universe, snapshot = import_chain(now, time=time, name="crash")
        epoch = build_epoch(universe, snapshot, PARAMETERS)
        books = hedged_book(universe, now)
        assert sum(int(np.count_nonzero(book)) for book in books) > 30
        prove_and_verify(epoch, books, Tier.INITIAL)


def test_a_hedged_book_is_proven_on_a_generated_chain() -> None:
    rows = parse_chain(small_chain())
    universe, snapshot = import_chain(rows, name="generated")
    epoch = build_epoch(universe, snapshot, PARAMETERS)
    for tier in Tier:
        prove_and_verify(epoch, hedged_book(universe, rows), tier)


def test_a_larger_short_has_no_proof() -> None:
    """The same book with a hundred times the short options finds no witness: the tests above could have failed."""
    rows = parse_chain(small_chain())
    universe, snapshot = import_chain(rows, name="generated")
    custodian, venue = hedged_book(universe, rows)
    with pytest.raises(Unsatisfied) as refused:
        prove_and_verify(build_epoch(universe, snapshot, PARAMETERS), [custodian, venue * 100], Tier.MAINTENANCE)
    assert refused.value.line == "health"
