"""The protocol box: what surrounds the pairing check.  The proof itself is attacked in tests/attacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from circuits.circuit import Bound, Circuit, Role, Vector
from marginseal.algebra.curve import backend
from marginseal.errors import DecodeError, PolicyError, RuleError
from marginseal.records.statement import Claim, Continuity, Kind, Release, Statement, Tier
from prover.prove import Secrets, prove
from tests.attacks.cases import Case, full, margin
from tests.unsafe_srs import unsafe_srs
from verifier.verify import Setting, bound_points, verify

SECRETS = Secrets(b"k" * 32)
OFF_CURVE = bytes([0x80]) + bytes(46) + b"\x01"
INFINITY = bytes([0xC0]) + bytes(47)


def proven(case: Case) -> bytes:
    return prove(case.circuit, case.statement, case.columns(), case.openings, SECRETS)


@pytest.mark.parametrize(
    "case", [margin(), margin(16), margin(32, S=20), full(), full(16)], ids=lambda c: f"{c.circuit.rule}"
)
def test_an_honest_proof_is_accepted(case: Case) -> None:
    verify(case.circuit, case.statement, proven(case))


@pytest.mark.parametrize("limbs", [(2, 7), (3, 6), (3, 7), (2, 6)])
def test_every_remainder_of_the_columns_by_three(limbs: tuple[int, int]) -> None:
    case = margin(lots=limbs[0], slacks=limbs[1], size=30)
    assert case.circuit.columns == sum(limbs)
    verify(case.circuit, case.statement, proven(case))


def linked(statement: Statement, previous: bytes) -> Statement:
    return replace(
        statement,
        sequence=2,
        prev=bytes([9]) * 32,
        continuity=Continuity.LINKED,
        previous_pledge=previous,
        releases=(Release(1, 0, bytes(32)),),
    )


@pytest.mark.parametrize("bad", [OFF_CURVE, INFINITY])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda s, point: replace(s, pledge=point),
        lambda s, point: replace(s, sources=(replace(s.sources[0], C=point), *s.sources[1:])),
        linked,
    ],
    ids=["pledge", "source", "previous"],
)
def test_every_point_of_the_statement_is_decoded_whether_bound_or_not(
    spoil: Callable[[Statement, bytes], Statement], bad: bytes
) -> None:
    """The disclosure binds no pledge; its statement still carries one that a venue will read."""
    case = margin()
    with pytest.raises(DecodeError):
        verify(case.circuit, spoil(case.statement, bad), proven(case))


def test_a_sum_of_sources_may_be_the_identity_and_is_bound_as_such() -> None:
    case = margin()
    curve = backend()
    C = curve.decode_g1(case.statement.sources[0].C)
    opposite = curve.encode_g1(curve.neg(C))
    sources = (case.statement.sources[0], replace(case.statement.sources[1], C=opposite))
    (p,) = bound_points(case.circuit, replace(case.statement, sources=sources), curve, {})
    assert curve.is_identity(p)


def with_previous(circuit: Circuit) -> Circuit:
    """The circuit with a predecessor's pledges bound to columns of their own."""
    previous = len(circuit.vectors)
    vectors = (*circuit.vectors, Vector(2, False, circuit.columns))
    return replace(circuit, vectors=vectors, bound=(*circuit.bound, Bound(Role.PREVIOUS_PLEDGES, 0, ((previous, 1),))))


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("binds", [False, True])
@pytest.mark.parametrize("links", [False, True])
def test_link_of_circuit_and_statement(kind: Kind, binds: bool, links: bool) -> None:
    case = full()
    circuit = replace(with_previous(case.circuit) if binds else case.circuit, kind=kind)
    statement = linked(case.statement, case.statement.pledge) if links else case.statement
    if binds == links or (links and kind == Kind.DISCLOSURE):
        assert len(bound_points(circuit, statement, backend(), {})) == 3 + binds
    else:
        with pytest.raises(PolicyError) as e:
            bound_points(circuit, statement, backend(), {})
        assert e.value.code == "verify.link"


def test_a_statement_over_other_powers_is_refused() -> None:
    """Development powers have their own digest: the statement's must be the verifier's."""
    case = margin()
    unsafe = unsafe_srs(5, 64)
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, replace(case.statement, srs=unsafe.digest), proven(case))
    assert e.value.code == "verify.srs"
    default = Setting.default()
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, case.statement, proven(case), setting=replace(default, srs=unsafe))
    assert e.value.code == "verify.srs"


@pytest.mark.parametrize("index", [-1, 1, 2**70])
def test_a_claim_that_is_not_there(index: int) -> None:
    case = margin()
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, case.statement, proven(case), index)
    assert e.value.code == "verify.claim"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: replace(s, claims=(replace(s.claims[0], circuit=bytes(32)),)), "verify.circuit"),
        (lambda s: replace(s, claims=(replace(s.claims[0], kind=Kind.ATTESTATION),)), "verify.circuit"),
        (lambda s: replace(s, epoch=bytes(32)), "verify.epoch"),
        (lambda s: replace(s, sources=(replace(s.sources[0], tile=1), s.sources[1])), "verify.tiles"),
        (lambda s: replace(s, sources=(s.sources[0], replace(s.sources[0], tile=1))), "verify.tiles"),
    ],
)
def test_a_statement_about_something_else(change: Callable[[Statement], Statement], code: str) -> None:
    case = margin()
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, change(case.statement), proven(case))
    assert e.value.code == code


@pytest.mark.parametrize("inputs", [(), (1, 2), (-1,), (2**40 + 1,)])
def test_public_inputs_that_the_circuit_does_not_take(inputs: tuple[int, ...]) -> None:
    case = margin()
    claim = Claim(case.circuit.kind, case.circuit.digest, Tier.INITIAL, inputs)
    with pytest.raises(RuleError) as e:
        verify(case.circuit, replace(case.statement, claims=(claim,)), proven(case))
    assert e.value.code == "circuit.inputs"


def test_each_claim_has_a_proof_of_its_own() -> None:
    """Two circuits over one statement, each proof at its index and at no other."""
    a, b = margin(seed=1), margin(seed=1, slacks=7)
    statement = replace(a.statement, claims=(a.statement.claims[0], b.statement.claims[0]))
    for index, case in enumerate((a, b)):
        proof = prove(case.circuit, statement, case.columns(), case.openings, SECRETS, index=index)
        verify(case.circuit, statement, proof, index)
        with pytest.raises(PolicyError):
            verify(case.circuit, statement, proof, 1 - index)
