"""Every count, degree and length of the table, measured on the polynomials of a prover (section 11).

The literal prover makes the same bytes as the real one (tests/prover/test_prove.py), so its polynomials are the real
ones; random blinders fill every one of them up to its last coefficient."""

from __future__ import annotations

from math import log2

import numpy as np
import pytest

from circuits.bounds import MAX_COLUMNS
from circuits.compile import compile_rule
from marginseal.algebra.field import R
from marginseal.market.epoch import epoch_from_arrays
from marginseal.records.attestation import MAX_PROOF_BYTES, AttestationBody, RuleRef
from marginseal.records.statement import Tier
from prover.blinding import draw
from tests.attacks.cases import Case, full, margin
from tests.attacks.forge import Forger, random_blinders
from tests.attacks.poly import add, divide_by_linear, divide_by_vanishing, scale, sub
from tests.records.world import honest
from verifier.sizes import H_BLINDERS, LIMB_BLINDERS, M_BLINDERS, PHI_BLINDERS, Q_BLINDERS, Q_PIECES, Sizes

CASES = [margin(), margin(slacks=7), margin(slacks=5), margin(16), full(), full(16)]
EACH = pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.circuit.rule}-{c.circuit.n}-{c.circuit.columns}")


def measured(case: Case) -> tuple[Forger, Sizes]:
    forger = Forger(case)
    forger.forge()
    return forger, Sizes.of(case.circuit)


@EACH
def test_counts(case: Case) -> None:
    run, sizes = measured(case)
    proof = run.proof()
    assert (len(proof.limbs), len(proof.h), len(proof.Q)) == (sizes.L, sizes.G, Q_PIECES)
    assert len(run.identities()) == sizes.identities == len(case.circuit.bound) + sizes.G + 1
    points = [*proof.limbs, proof.m, *proof.h, proof.phi, *proof.Q, proof.W]
    assert len(points) == sizes.points == sizes.L + sizes.G + 6
    assert len(proof.c_z) + 1 == sizes.scalars == sizes.L + 1
    data = proof.encode()
    assert len(data) == sizes.proof_bytes == 48 * (sizes.L + sizes.G + 6) + 32 * (sizes.L + 1)
    assert case.circuit.equations == sizes.M


def test_an_attestation_carries_the_proof_of_every_circuit_that_compiles() -> None:
    """Few instruments and many scenarios make wide circuits; theirs is no proof to make and then throw away."""
    assert Sizes(L=MAX_COLUMNS, V=3, M=1, n=8).proof_bytes == MAX_PROOF_BYTES
    pnl = np.full((1000, 5), 10**6, dtype=np.int64)
    pnl[0] = 0
    circuit = compile_rule("worst_case", epoch_from_arrays(pnl), Tier.INITIAL, venues=3).circuit
    proof = bytes(Sizes.of(circuit).proof_bytes)
    assert len(proof) > 2**16
    assert AttestationBody(honest().statement, bytes(64), (RuleRef("worst_case"),), (proof,)).proofs == (proof,)


@EACH
def test_degrees_and_lengths(case: Case) -> None:
    run, sizes = measured(case)
    n = sizes.n
    assert {len(c) for c in run.limbs} == {n + LIMB_BLINDERS}
    assert len(run.m) == n + M_BLINDERS
    assert {len(h) for h in run.h} == {n + H_BLINDERS}
    assert len(run.phi) == n + PHI_BLINDERS
    batch = run.batch()
    assert len(batch) - 1 == sizes.identity_degree == 4 * n + 3
    Q, rest = divide_by_vanishing(batch, n)
    assert rest == []
    assert len(Q) == sizes.quotient_length == 3 * n + 4
    assert sizes.piece == n + 2
    assert [len(q) for q in run.Q] == [n + 3, n + 3, n]
    joined = add(*[[0] * (k * sizes.piece) + q for k, q in enumerate(run.Q)])
    assert joined == Q
    F = add(run.lin(run.c_z, run.phi_wz), *[scale(c, pow(run.nu, j, R)) for j, c in enumerate(run.limbs, 1)])
    W = add(divide_by_linear(F, run.z), divide_by_linear(sub(run.phi, [run.phi_wz]), run.w * run.z % R))
    assert len(W) == sizes.opening_length == n + 2


@EACH
def test_blinders(case: Case) -> None:
    sizes = Sizes.of(case.circuit)
    b = draw(sizes, case.columns(), secret=bytes(32), fresh=bytes(32), statement_digest=bytes(32), index=0, attempt=0)
    counts = (sum(map(len, b.limbs)), len(b.m), sum(map(len, b.h)), len(b.phi), len([b.b, b.b_prime]))
    assert counts == (LIMB_BLINDERS * sizes.L, M_BLINDERS, H_BLINDERS * sizes.G, PHI_BLINDERS, Q_BLINDERS)
    assert sum(counts) == sizes.blinders
    # As many as the transcript determines: every point but W, every scalar.
    assert sizes.blinders == sizes.points - 1 + sizes.scalars
    assert len(random_blinders(case.circuit).limbs) == sizes.L


def test_error_bits_of_the_largest_circuit_the_protocol_speaks_of() -> None:
    """Section 6: L <= 30, M <= 2^14, n = 2048."""
    bits = Sizes(L=30, V=3, M=2**14, n=2048).error_bits
    assert {name: round(x, 1) for name, x in bits.items()} == {
        "lookup, double roots, table hits (beta)": 237.9,
        "equations (rho)": 240.9,
        "identities (y)": 251.2,
        "evaluation point (z)": 240.9,
        "openings (nu)": 250.0,
    }
    assert bits["lookup, double roots, table hits (beta)"] == pytest.approx(log2(R) - log2(62 * 2048))
    total = -log2(sum(2.0**-x for x in bits.values()))
    assert 237.5 < total < 237.6


def test_the_evaluation_point_bound_is_a_real_degree() -> None:
    """h and the three columns of a group may all have degree 4095: four factors, and no more in any identity."""
    n, top = 8, 4095
    group = 4 * top
    running = (n - 1) + 2 * top + (n - 1)  # U v^2 (beta + t)
    shifted = top + (n - 1)  # phi (beta + t)
    quotient = n + 2 * (n + 2) + top
    assert max(group, running, shifted, quotient) == 16380
    largest = 2048
    assert max((largest - 1) * 2 + 2 * top, largest + 2 * (largest + 2) + top) < 16380
