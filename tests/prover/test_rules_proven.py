"""Every registered rule from portfolio to verified proof, and the linked form; an unhealthy portfolio gets none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from circuits.circuit import Role
from circuits.compile import Compiled, compile_rule
from circuits.model import Link
from circuits.rules.example import example_epoch
from circuits.rules.registry import RULES
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.srs import ceremony
from marginseal.algebra.vectors import PythonVectors
from marginseal.errors import MarginSealError
from marginseal.records.statement import Continuity, Kind, Release, Statement, Tier
from prover.prove import Secrets, prove
from prover.witness import make_witness
from tests.toy import make_toy, statement_for
from verifier.verify import Setting, verify

LOTS = np.array([2000, 1, -2, -1, 3])
PLEDGES, BEFORE = np.array([5, 7]), np.array([5, 9])
INPUTS = {"scenario_loss": (260,), "net_band": (-20, 20)}
SECRETS = Secrets(bytes(range(32)))
REFERENCE = Setting(ceremony(), backend("reference"), PythonVectors())
BLINDERS = {Role.HOLDINGS: 11, Role.PLEDGES: 12, Role.PREVIOUS_PLEDGES: 13}


def commit(values: list[int] | np.ndarray, blinder: int) -> bytes:
    padded = np.zeros(8, dtype=np.int64)
    padded[: len(values)] = values
    return commitment_key(8, ceremony()).commit_small(padded, [blinder])


def statement_of(compiled: Compiled, inputs: tuple[int, ...], tier: Tier, rows: tuple[int, ...] | None) -> Statement:
    """Two sources that hold 1,500 and 500 of the dollars, the second everything else."""
    first = np.array([1500, 0, 0, 0, 0])
    books = [commit(first, 4), commit(LOTS - first, BLINDERS[Role.HOLDINGS] - 4)]
    statement = statement_for([(compiled.circuit, inputs)], books, commit(PLEDGES, BLINDERS[Role.PLEDGES]), ceremony())
    statement = replace(statement, claims=(replace(statement.claims[0], tier=tier),))
    if rows is None:
        return statement
    return replace(
        statement,
        sequence=2,
        prev=bytes([9]) * 32,
        continuity=Continuity.LINKED,
        previous_pledge=commit(BEFORE, BLINDERS[Role.PREVIOUS_PLEDGES]),
        releases=tuple(Release(row, 1, bytes([8]) * 32) for row in rows),
    )


@pytest.mark.parametrize(
    ("name", "tier", "rows"),
    [(name, Tier.INITIAL, None) for name in sorted(RULES)]
    + [("worst_case", Tier.MAINTENANCE, None), ("worst_case_limits", Tier.INITIAL, (1,))],
)
def test_proven_and_verified(name: str, tier: Tier, rows: tuple[int, ...] | None) -> None:
    attests = RULES[name].kind == Kind.ATTESTATION
    link = None if rows is None else Link(rows)
    compiled = compile_rule(name, example_epoch(), tier, venues=2 if attests else 0, link=link)
    circuit, inputs = compiled.circuit, INPUTS.get(name, ())
    statement = statement_of(compiled, inputs, tier, rows)
    witness = make_witness(compiled, LOTS, PLEDGES if attests else None, inputs, None if rows is None else BEFORE)
    openings = [BLINDERS[bound.role] for bound in circuit.bound]
    proof = prove(circuit, statement, witness.columns, openings, SECRETS)
    verify(circuit, statement, proof)
    verify(circuit, statement, proof, setting=REFERENCE)  # py-ecc, plain Python: nothing compiled in common
    another = compile_rule(name, replace(example_epoch(), name="other"), tier, venues=2 if attests else 0, link=link)
    with pytest.raises(MarginSealError):
        verify(another.circuit, statement, proof)
    with pytest.raises(MarginSealError):
        verify(circuit, replace(statement, expiry=statement.expiry + 1), proof)


@pytest.mark.parametrize("n", [8, 16, 32, 64, 128, 256, 512, 1024, 2048])
def test_every_number_of_rows_by_the_reference_library(n: int) -> None:
    toy = make_toy(n, 5, size=100)
    proof = prove(toy.circuit, toy.statement, toy.columns, toy.openings, SECRETS)
    verify(toy.circuit, toy.statement, proof, setting=REFERENCE)
    with pytest.raises(MarginSealError):
        verify(toy.circuit, toy.statement, proof[:-48] + proof[:48], setting=REFERENCE)
