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
from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Entry
from marginseal.log.log import Log
from marginseal.records.attestation import Attestation
from marginseal.records.manifest import in_force
from marginseal.records.sealing import SealingKey
from marginseal.records.statement import Statement
from marginseal.records.submission import Submission, open_submission
from prover.attest import Attestor
from server.jobs import Clock, Job, Outcome
from server.public import LoggedRecords
from server.wire import Answer, decode_body, seal_answer
from server.worker import Progress

_OWNERS = (Unsatisfied, PolicyError, ProofRejected, DecodeError, RuleError, InputError)


class Proving:
    """The worker's task.  keys: the private key for a prover key id; public: what the log serves."""

    def __init__(
        self, attestor: Attestor, keys: Callable[[str], SealingKey], public: LoggedRecords, log: Log, clock: Clock
    ) -> None:
        self._attestor, self._keys, self._public, self._log, self._clock = attestor, keys, public, log, clock

    def __call__(self, job: Job, progress: Progress) -> Outcome:
        try:
            header, sealed = decode_body(job.sealed)
            key = self._key(header.prover_key)
            submission = open_submission(header, sealed, key)
        except (DecodeError, PolicyError):
            # Without the plaintext there is no response key: this much is said to all who may ask.
            return Outcome("refused", None, code="submission.unreadable")
        progress.stage("opened")
        try:
            index = self._place(submission.statement)
            if index is None:
                progress.stage("proving")
                attestation = self._attestor.attest(submission, self._public)
                progress.at("after-proof")
                progress.stage("logging")
                index = self._append(submission, attestation)
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

    def _logged(self, statement: Statement) -> int | None:
        """Where this very statement is logged already: by an earlier attempt that was killed before it could say so."""
        position = self._log.attestation(statement.account, statement.sequence)
        if position is None:
            return None
        if position.statement_digest != statement.digest:
            raise PolicyError("log.sequence-taken", "another attestation of the account stands at this sequence")
        return position.index

    def _place(self, statement: Statement) -> int | None:
        """Where this very statement is logged already, or None: it may be logged next.

        The rules of the log, before a proof is spent on what it would refuse."""
        head = self._log.head(statement.account)
        last, prev = (0, NO_PREDECESSOR) if head is None else (head.sequence, head.statement_digest)
        if statement.sequence <= last:
            return self._logged(statement)
        if statement.sequence != last + 1:
            raise PolicyError("log.sequence-gap", f"the account's next attestation is {last + 1}")
        if statement.prev != prev:
            raise PolicyError("log.prev-mismatch", "the statement does not name its predecessor")
        if statement.expiry <= self._clock() // 1000:
            raise PolicyError("submission.expired", "the statement has expired")
        manifests = self._public.manifests(statement.account)
        version = in_force([manifest for manifest, _ in manifests], statement.cut_time).version
        # Of two that claim one version, the one logged first holds.
        if next(name for manifest, name in manifests if manifest.version == version) != statement.manifest:
            raise PolicyError("submission.manifest", "not the account's manifest in force at the cut")
        return None

    def _append(self, submission: Submission, attestation: Attestation) -> int:
        s = attestation.statement
        needed = self._public.objects_of(s)
        needed |= {self._log.put_object(release.encode()) for release in submission.releases}
        entry = Entry(
            ATTESTATION,
            attestation.data,
            account=s.account,
            sequence=s.sequence,
            statement_digest=s.digest,
            prev=s.prev,
            books=tuple(sorted({(e.source, e.book) for e in s.sources}, key=lambda b: (b[0].encode(), b[1].encode()))),
            dependencies=tuple(sorted(needed)),
        )
        try:
            return self._log.append(entry, now=self._clock() // 1000)
        except PolicyError as e:
            index = self._logged(s) if e.code == "log.sequence-taken" else None
            if index is None:
                raise
            return index  # another worker was faster, with another proof of the same statement
