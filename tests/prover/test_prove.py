"""The prover: the same bytes by every road, a restart where a challenge is exceptional, nothing released unverified."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

import verifier.verify
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.vectors import FieldVectors, PythonVectors, default_vectors
from marginseal.errors import PolicyError, ProofRejected, RuleError, Unsatisfied
from marginseal.transcript import Transcript
from prover.blinding import draw
from prover.prove import MAX_ATTEMPTS, Secrets, prove
from tests.attacks.cases import LONG, SHORT, SLACK, Case, full, margin
from tests.attacks.forge import Forger
from tests.exponents import exponent_setting
from tests.toy import make_toy
from verifier.rounds import Rounds
from verifier.sizes import Sizes
from verifier.verify import Setting, verify

FRESH = b"f" * 32
SECRETS = Secrets(b"k" * 32, lambda: FRESH)
CASES = [margin(), margin(16), margin(slacks=7), margin(slacks=5), full(), full(16)]


def proven(case: Case, setting: Setting | None = None, workers: int = 1, index: int = 0) -> bytes:
    return prove(
        case.circuit,
        case.statement,
        case.columns(),
        case.openings,
        SECRETS,
        setting=setting,
        workers=workers,
        index=index,
    )


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.circuit.rule}-{c.circuit.n}-{c.circuit.columns}")
def test_the_literal_prover_makes_the_same_bytes(case: Case) -> None:
    """Section 4 over plain polynomials, multiplied out and divided, from the same blinders."""
    blinders = draw(
        Sizes.of(case.circuit),
        case.columns(),
        secret=b"k" * 32,
        fresh=FRESH,
        statement_digest=case.statement.digest,
        index=0,
        attempt=0,
    )
    assert Forger(case, blinders=blinders).forge() == proven(case)


@pytest.mark.parametrize("n", [32, 64, 512, 2048])
def test_more_rows(n: int) -> None:
    """Up to the largest, and as many scenarios as fit one vector."""
    toy = make_toy(n, n)
    proof = prove(toy.circuit, toy.statement, toy.columns, toy.openings, SECRETS)
    verify(toy.circuit, toy.statement, proof)


@pytest.mark.parametrize("case", [margin(), full(16)], ids=lambda c: str(c.circuit.rule))
def test_every_backend_and_any_number_of_workers_makes_the_same_bytes(case: Case) -> None:
    default = Setting.default()
    backends: list[FieldVectors] = [PythonVectors(), default_vectors()]
    proofs = {proven(case, replace(default, vectors=V), workers) for V in backends for workers in (1, 2)}
    assert len(proofs) == 1


def test_the_exponent_is_the_same_protocol() -> None:
    """At a known tau the whole protocol, self-check included, runs on numbers."""
    setting = exponent_setting(424242)
    case = margin()
    key = commitment_key(8, setting.srs, setting.vectors, curve=setting.curve)
    statement = replace(
        case.statement,
        srs=setting.srs.digest,
        pledge=key.commit_values([1] * 8),
        sources=(replace(case.statement.sources[0], C=key.commit_coefficients(case.p[0])),),
    )
    here = replace(case, statement=statement)
    verify(case.circuit, statement, proven(here, setting), setting=setting)


# Exceptional challenges, through a transcript of the test's own.


def scripted(script: dict[str, list[int]]) -> type[Transcript]:
    """The real transcript, with the next challenges of a label given, for as long as the script lasts."""

    class Scripted(Transcript):
        def challenge(self, label: str) -> int:
            real = super().challenge(label)
            return script[label].pop(0) if script.get(label) else real

    return Scripted


W8 = root_of_unity(8)
EXCEPTIONAL = [
    ("beta", 0),
    ("beta", R - 1),
    ("beta", R - 7),
    ("rho", 0),
    ("y", 0),
    ("z", 0),
    ("z", 1),
    ("z", W8),
    ("z", pow(W8, 7, R)),
    ("nu", 0),
]
ORDINARY = [("beta", R - 8), ("beta", 1), ("rho", 1), ("y", 1), ("z", 2), ("z", root_of_unity(16)), ("nu", 1)]


@pytest.fixture
def transcript(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, list[int]]], None]:
    def use(script: dict[str, list[int]]) -> None:
        own = Rounds.start.__func__  # type: ignore[attr-defined]
        kind = scripted(script)

        def start(cls: type[Rounds], circuit: object, statement: object, index: int) -> Rounds:
            rounds: Rounds = own(cls, circuit, statement, index)
            rounds._t.__class__ = kind
            return rounds

        monkeypatch.setattr(Rounds, "start", classmethod(start))

    return use


@pytest.mark.parametrize(("label", "value"), EXCEPTIONAL)
def test_an_exceptional_challenge_makes_the_prover_start_again(
    label: str, value: int, transcript: Callable[[dict[str, list[int]]], None]
) -> None:
    case = margin()
    plain = proven(case)
    transcript({label: [value]})
    again = proven(case)
    assert again != plain, "a restart is a new attempt, with new blinders"
    verify(case.circuit, case.statement, again)


@pytest.mark.parametrize(("label", "value"), EXCEPTIONAL)
def test_an_exceptional_challenge_is_refused_by_the_verifier(
    label: str, value: int, transcript: Callable[[dict[str, list[int]]], None]
) -> None:
    case = margin()
    proof = proven(case)
    transcript({label: [value]})
    with pytest.raises(ProofRejected) as e:
        verify(case.circuit, case.statement, proof)
    assert e.value.code == "challenge.exceptional"


@pytest.mark.parametrize(("label", "value"), ORDINARY)
def test_a_neighbour_of_an_exceptional_challenge_is_not(
    label: str, value: int, transcript: Callable[[dict[str, list[int]]], None]
) -> None:
    case = margin()
    transcript({label: [value, value]})  # once for the prover, once for its self-check
    proven(case)


def test_attempts_come_to_an_end(transcript: Callable[[dict[str, list[int]]], None]) -> None:
    transcript({"nu": [0] * MAX_ATTEMPTS})
    with pytest.raises(ProofRejected) as e:
        proven(margin())
    assert e.value.code == "challenge.exceptional"


def test_every_attempt_takes_fresh_bytes(transcript: Callable[[dict[str, list[int]]], None]) -> None:
    asked: list[bytes] = []

    def fresh() -> bytes:
        asked.append(bytes([len(asked)]) * 32)
        return asked[-1]

    transcript({"y": [0, 0]})
    case = margin()
    prove(case.circuit, case.statement, case.columns(), case.openings, Secrets(b"k" * 32, fresh))
    assert len(asked) == 3


# What is not released.


def test_a_witness_that_does_not_satisfy_the_circuit() -> None:
    case = margin()
    wrong = case.with_row(1, 0, case.rows[1][0] + 1)
    with pytest.raises(Unsatisfied) as e:
        proven(wrong)
    assert e.value.code == "prove.equations"
    assert str(case.rows[1][0] + 1) not in str(e.value)


def test_lots_that_are_not_what_was_signed() -> None:
    """The bindings are divided without being looked at; the self-check is what stops a wrong one."""
    case = full()
    other = case.with_row(SHORT, 0, case.rows[SHORT][0] + 1).with_row(LONG, 0, case.rows[LONG][0] + 2)
    for s in range(4):
        P = int(case.circuit.dense[0].values[s, 0])
        other = other.with_row(SLACK, s, case.rows[SLACK][s] + P - 2 * 2 - 3)  # one lot more, two haircuts and one
    with pytest.raises(ProofRejected) as e:
        proven(other)
    assert e.value.code == "verify.pairing"


def test_an_opening_that_is_not_the_commitments() -> None:
    case = margin()
    with pytest.raises(ProofRejected):
        prove(case.circuit, case.statement, case.columns(), [case.openings[0] + 1], SECRETS)


def test_a_claim_about_something_else() -> None:
    case = margin()
    with pytest.raises(PolicyError):
        prove(replace(case.circuit, rule="other"), case.statement, case.columns(), case.openings, SECRETS)
    with pytest.raises(PolicyError):
        proven(case, index=1)
    with pytest.raises(RuleError):
        proven(case.claiming())


def test_nothing_is_released_that_the_verifier_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object, **fields: object) -> bool:
        return False

    monkeypatch.setattr(verifier.verify, "holds", never)
    with pytest.raises(ProofRejected):
        proven(margin())


def test_steps_are_observed_in_order() -> None:
    steps: list[str] = []
    case = margin()
    prove(case.circuit, case.statement, case.columns(), case.openings, SECRETS, observe=steps.append)
    assert steps[0] == "limbs"
    assert steps[-1] == "self-verify"
    assert len(set(steps)) == len(steps)
