"""What a worker does with one job: open, attest, log, answer.

The plaintext exists from `open_submission` until this function returns, in this process, for this job.  It leaves only
as an attestation, or as an answer sealed to its owner.  What is known to be the owner's doing (an unhealthy book, a
statement that does not fit the log) ends the job as refused; what is not (a database that is busy, a fault of ours)
raises, and the job is tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from marginseal.errors import (
    DecodeError,
    InputError,
    MarginSealError,
    PolicyError,
    ProofRejected,
    RuleError,
    ServiceError,
    Unsatisfied,
)
from marginseal.records.sealing import SealingKey
from marginseal.records.submission import open_submission
from prover.attest import Attestor
from server.jobs import Job, Outcome
from server.place import Place
from server.public import LoggedRecords
from server.wire import Answer, decode_body, seal_answer
from server.worker import Progress, Task

_OWNERS = (Unsatisfied, PolicyError, ProofRejected, DecodeError, RuleError, InputError)


class Proving:
    """The worker's task.  keys: the private key for a prover key id; public: what the log serves; proved: the task for
    jobs that bring a finished attestation."""

    def __init__(
        self, attestor: Attestor, keys: Callable[[str], SealingKey], public: LoggedRecords, place: Place, proved: Task
    ) -> None:
        self._attestor, self._keys, self._public, self._place = attestor, keys, public, place
        self._proved = proved

    def __call__(self, job: Job, progress: Progress) -> Outcome:
        if job.kind == "proved":
            return self._proved(job, progress)
        try:
            header, sealed = decode_body(job.sealed)
            key = self._key(header.prover_key)
            submission = open_submission(header, sealed, key)
        except (DecodeError, PolicyError):
            # Without the plaintext there is no response key: this much is said to all who may ask.
            return Outcome("refused", None, code="submission.unreadable")
        progress.stage("opened")
        try:
            index = self._place.find(submission.statement)
            if index is None:
                progress.work(self._place.turns(submission.statement))
                progress.stage("proving")
                attestation = self._attestor.attest(submission, self._public)
                progress.at("after-proof")
                progress.stage("logging")
                index = self._place.append(attestation, submission.releases)
                progress.at("after-log-append")
        except _OWNERS as e:
            answer = Answer(
                "refused",
                code=e.code,
                message=e.message,
                line=e.line if isinstance(e, Unsatisfied) else None,
                shortfall=e.shortfall if isinstance(e, Unsatisfied) else None,
            )
            return Outcome("refused", seal_answer(answer, submission.response_key, header), code="submission.refused")
        digest = submission.statement.digest
        answer = Answer("attested", statement=digest, log_index=index)
        sealed_answer = seal_answer(answer, submission.response_key, header)
        return Outcome("attested", sealed_answer, attestation=digest, log_index=index)

    def _key(self, key_id: str) -> SealingKey:
        try:
            return self._keys(key_id)
        except MarginSealError:
            # A key file that is missing or locked is ours to mend, and no reason to refuse anybody.
            raise ServiceError("worker.key", "the private key of this submission cannot be read") from None
