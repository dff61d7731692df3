"""What a worker does with an attestation that its account proved itself: check all of it, and log it.

The account shows nobody its book; what it posts is what everybody will read.  So nothing here is secret: the reason of
a refusal stands in the job's public code.  The checks are those that a worker's own output has passed before it is
logged: owner and prover signed, the place in the chain is free, every source's statement is published and accepted
under manifest and registry, the pledges follow their predecessor's, the circuits are those of the epoch, every proof
holds.  Doing it again is harmless, as with a proof of our own (proving.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from circuits.model import rows_for
from marginseal.errors import DecodeError, InputError, PolicyError, ProofRejected, RuleError
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import PublicKey
from prover.attest import Circuits, check_continuity_of, check_sources_of
from server.jobs import Job, Outcome
from server.place import Place
from server.public import LoggedRecords
from server.wire import decode_proved
from server.worker import Progress
from verifier.claims import check_attests, check_epoch, verify_claims
from verifier.messages import Proof
from verifier.verify import Setting

_ACCOUNTS = (DecodeError, PolicyError, ProofRejected, RuleError, InputError)


def check_signatures(attestation: Attestation, provers: Sequence[PublicKey], ring: KeyRing, logged: int) -> None:
    """The owner signed the statement, and provers of the account, nobody else, all of it.

    provers: registered for the account; each, or its successor in the ring, has to be in force when the log takes it
    ProofRejected signature.invalid, signature.threshold; PolicyError proved.signatures, keys.not-in-force."""
    signers = ring.accept(attestation.verify_signatures, provers, logged)
    if len(signers) != len(attestation.envelope.signatures):
        # Signatures that nobody can check would stand in the log for ever.
        raise PolicyError("proved.signatures", "a signature that is not of a prover registered for the account")


class Proved:
    """The task for jobs of kind "proved".  provers: the registered prover keys of an account."""

    def __init__(
        self,
        provers: Callable[[str], Sequence[PublicKey]],
        public: LoggedRecords,
        place: Place,
        circuits: Circuits,
        setting: Setting,
    ) -> None:
        self._provers, self._public, self._place = provers, public, place
        self._circuits, self._setting = circuits, setting

    def __call__(self, job: Job, progress: Progress) -> Outcome:
        try:
            attestation, releases = decode_proved(job.sealed)
            statement = attestation.statement
            progress.stage("opened")
            index = self._place.find(statement)
            if index is None:
                progress.work(self._place.turns(statement))
                progress.stage("proving")
                self._check(job, attestation, releases)
                progress.at("after-proof")
                progress.stage("logging")
                index = self._place.append(attestation, releases)
                progress.at("after-log-append")
        except _ACCOUNTS as e:
            return Outcome("refused", None, code=e.code)
        return Outcome("attested", None, attestation=statement.digest, log_index=index)

    def _check(self, job: Job, attestation: Attestation, releases: Sequence[Envelope]) -> None:
        statement, rules = attestation.statement, attestation.body.rules
        if statement.account != job.account:
            raise PolicyError("submission.account", "the attestation of another account")
        check_signatures(attestation, self._provers(statement.account), *self._public.keys())
        check_attests(statement)
        # What costs little first: records of some hundred bytes, then the sources' points, then the epoch and its
        # circuits, one by one, for as long as each proof has at least the form of its circuit's.
        n = rows_for(len(self._public.universe(statement.universe)))
        venues = len(self._public.venue_registry(statement.venue_registry).venues)
        check_continuity_of(statement, releases, self._public, n)
        check_sources_of(statement, self._public, n, self._setting)
        epoch = self._public.epoch(statement.epoch)
        check_epoch(statement, epoch)
        compiled = []
        for rule, claim, proof in zip(rules, statement.claims, attestation.proofs, strict=True):
            one = self._circuits.get(epoch, rule, claim, statement, venues)
            Proof.decode(proof, one.circuit)
            compiled.append(one)
        verify_claims(statement, attestation.proofs, compiled, setting=self._setting)
