"""The stored proof vectors: known answers, one fault each, by every backend and by the slow verifier."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from circuits.bounds import check_bounds
from marginseal.algebra.curve import backend
from marginseal.algebra.srs import ceremony
from marginseal.algebra.vectors import PythonVectors
from marginseal.errors import MarginSealError
from marginseal.records.statement import Statement
from prover.prove import Secrets, prove
from tests.attacks.cases import Case, full, margin
from tests.oracles.slow_verifier import Challenges, Refused, slow_verify
from tests.vectors.proofs.form import HERE, circuit_form, circuit_of, stored, text_of
from tests.vectors.proofs.generate import vectors
from verifier.verify import Setting, replay, verify

VECTORS = stored()
ACCEPTED = [name for name, v in VECTORS.items() if v["expect"] == "accept"]
PAIRING = [name for name, v in VECTORS.items() if v["expect"] == "verify.pairing"]
PLAIN = Setting.default()
REFERENCE = Setting(ceremony(), backend("reference"), PythonVectors())


def answer(v: dict[str, Any], setting: Setting) -> str:
    """`accept`, or the code of the refusal."""
    try:
        statement = Statement.decode(bytes.fromhex(v["statement"]))
        verify(circuit_of(v["circuit"]), statement, bytes.fromhex(v["proof"]), v["index"], setting=setting)
    except MarginSealError as e:
        return e.code
    return "accept"


def test_there_are_vectors() -> None:
    assert len(ACCEPTED) == 3
    assert len(PAIRING) >= 10
    assert all({"desc", "expect", "source"} <= set(v) for v in VECTORS.values())


@pytest.mark.parametrize("name", list(VECTORS))
def test_known_answer(name: str) -> None:
    v = VECTORS[name]
    assert circuit_of(v["circuit"]).digest.hex() == v["circuit_digest"]
    assert answer(v, PLAIN) == v["expect"]


@pytest.mark.parametrize("name", list(VECTORS))
def test_known_answer_by_the_reference_backend(name: str) -> None:
    assert answer(VECTORS[name], REFERENCE) == VECTORS[name]["expect"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_known_challenges_and_bytes(name: str) -> None:
    v = VECTORS[name]
    circuit, statement = circuit_of(v["circuit"]), Statement.decode(bytes.fromhex(v["statement"]))
    check_bounds(circuit)
    assert statement.encode().hex() == v["statement"]
    assert statement.digest.hex() == v["statement_digest"]
    r = replay(circuit, statement, bytes.fromhex(v["proof"]), 0, PLAIN, {})
    got = {"beta": r.beta, "rho": r.rho, "y": r.y, "z": r.z, "nu": r.nu}
    assert {k: f"{x:064x}" for k, x in got.items()} == v["challenges"]
    columns = []
    for spec, offset, rows in zip(circuit.vectors, map(circuit.offset, range(99)), v["witness"], strict=False):
        shifted = np.array(rows, dtype=np.int64) + offset
        columns += [(shifted >> (circuit.limb_bits * j)) % circuit.n for j in range(spec.limbs)]
    secrets = Secrets(bytes.fromhex(v["secret"]), lambda: bytes.fromhex(v["fresh"]))
    openings = [int(x, 16) for x in v["openings"]]
    for setting in (PLAIN, replace(PLAIN, vectors=PythonVectors())):
        assert prove(circuit, statement, np.array(columns), openings, secrets, setting=setting).hex() == v["proof"]


def slow(v: dict[str, Any]) -> Challenges:
    statement = Statement.decode(bytes.fromhex(v["statement"]))
    g2 = ceremony().g2(backend("reference"))
    return slow_verify(circuit_of(v["circuit"]), statement, bytes.fromhex(v["proof"]), v["index"], g2)


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_slow_verifier_accepts(name: str) -> None:
    got = slow(VECTORS[name])
    expected = VECTORS[name]["challenges"]
    assert {k: f"{getattr(got, k):064x}" for k in expected} == expected


@pytest.mark.parametrize("name", ["forged-limb", "forged-lot", "pairing-phi"])
def test_the_slow_verifier_refuses(name: str) -> None:
    with pytest.raises(Refused) as e:
        slow(VECTORS[name])
    assert str(e.value) == "pairing"


def test_generated_vectors_are_the_stored_ones() -> None:
    made = vectors()
    assert set(made) == set(VECTORS)
    for name, content in made.items():
        assert text_of(content) == (HERE / f"{name}.json").read_text(), name


@pytest.mark.parametrize("case", [margin(slacks=5), full()], ids=lambda c: str(c.circuit.rule))
def test_circuit_form_round_trips(case: Case) -> None:
    again = circuit_of(circuit_form(case.circuit))
    assert again.digest == case.circuit.digest
