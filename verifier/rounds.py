"""The proof's transcript: each prover message goes in through its round, which returns that round's challenges.

Prover and verifier call the same methods in the same order (protocol.md section 4, steps 0 to 4).  An exceptional
challenge (0, a lookup pole, a row of H) is `ProofRejected`; a prover restarts with fresh blinders.
"""

from __future__ import annotations

from collections.abc import Sequence

from circuits.circuit import Circuit
from marginseal.algebra.field import R, scalar_bytes
from marginseal.errors import PolicyError, ProofRejected
from marginseal.records.statement import Claim, Statement
from marginseal.transcript import Transcript


def claim_of(circuit: Circuit, statement: Statement, index: int) -> Claim:
    """The claim this proof is for.  PolicyError if it is not a claim about this very circuit."""
    if not 0 <= index < len(statement.claims):
        raise PolicyError("verify.claim", f"the statement has no claim {index}")
    claim = statement.claims[index]
    if claim.circuit != circuit.digest or claim.kind != circuit.kind:
        raise PolicyError("verify.circuit", "the claim is about another circuit: another rule, tier, epoch or kind")
    if statement.epoch != circuit.epoch:
        raise PolicyError("verify.epoch", "the statement names another epoch than the circuit")
    return claim


class Rounds:
    """Steps 0 to 4.  Made by `start`; `n` bounds the poles of the lookup."""

    def __init__(self, transcript: Transcript, n: int) -> None:
        self._t, self._n = transcript, n

    @classmethod
    def start(cls, circuit: Circuit, statement: Statement, index: int) -> Rounds:
        """Step 0: the whole statement, then which of its claims this proof is for."""
        t = statement.start()
        t.absorb_int("claim-index", index)
        return cls(t, circuit.n)

    def _challenge(self, label: str) -> int:
        x = self._t.challenge(label)
        if x == 0:
            raise ProofRejected("challenge.exceptional", f"the challenge {label} is exceptional")
        return x

    def round_1(self, limbs: Sequence[bytes], m: bytes) -> tuple[int, int]:
        """Limb columns and multiplicities -> beta, rho."""
        for point in limbs:
            self._t.absorb("limb", point)
        self._t.absorb("m", m)
        beta = self._challenge("beta")
        if R - beta < self._n:  # beta + t(w^i) = 0 for some i
            raise ProofRejected("challenge.exceptional", "the challenge beta is exceptional")
        return beta, self._challenge("rho")

    def round_2(self, h: Sequence[bytes], phi: bytes) -> int:
        """Lookup helpers and the running sum -> y."""
        for point in h:
            self._t.absorb("h", point)
        self._t.absorb("phi", phi)
        return self._challenge("y")

    def round_3(self, Q: Sequence[bytes]) -> int:
        """The quotient's pieces -> z, outside H."""
        for point in Q:
            self._t.absorb("Q", point)
        z = self._challenge("z")
        if pow(z, self._n, R) == 1:
            raise ProofRejected("challenge.exceptional", "the challenge z is exceptional")
        return z

    def round_4(self, c_z: Sequence[int], phi_wz: int) -> int:
        """The evaluations -> nu."""
        for value in c_z:
            self._t.absorb("c(z)", scalar_bytes(value))
        self._t.absorb("phi(wz)", scalar_bytes(phi_wz))
        return self._challenge("nu")
