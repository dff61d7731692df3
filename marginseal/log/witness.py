"""A witness: cosigns each checkpoint of a log that extends the last one it cosigned.

With k of n independent witnesses, a log that shows different trees to different people needs k of them to help.  What
a cosignature asserts is `cosignature`; the file in which the witness remembers is written before a cosignature leaves,
so that a witness killed at any instruction never contradicts what it has said.

`Witness` follows one log.  `WitnessOffice` follows several by their origins and answers `add-checkpoint`, statuses as
in C2SP tlog-witness; the bytes are `witness_wire`, the process around it `server.witness`.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from marginseal.errors import DecodeError, ProofRejected
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.cosignature import Cosigner
from marginseal.log.memory import CheckpointMemory
from marginseal.log.merkle import EMPTY_ROOT
from marginseal.log.note import Note, NoteSignature
from marginseal.log.policy import LogPolicy
from marginseal.log.witness_wire import SIZE_TYPE, AddCheckpoint, encode_cosignatures, encode_size


class Witness:
    """One witness of one log.  `memory` holds what it has seen, and the log's keys in its policy."""

    def __init__(self, cosigner: Cosigner, memory: CheckpointMemory) -> None:
        self.cosigner = cosigner
        self.memory = memory

    def size(self) -> int:
        """The size of the last checkpoint seen, from which a consistency proof must start; 0 before the first."""
        last = self.memory.last()
        return 0 if last is None else last.checkpoint.size

    def cosign(self, note: bytes, path: Sequence[bytes], *, now: int) -> bytes:
        """The checkpoint note with this witness's cosignature added.

        path   the consistency proof from `size()`, empty when that is 0 or nothing was appended since
        Errors of LogPolicy.verify and check_append_only."""
        parsed = Note.parse(note)
        return Note(parsed.text, (*parsed.signatures, self.cosignature(note, path, now=now))).encode()

    def cosignature(self, note: bytes, path: Sequence[bytes], *, now: int) -> NoteSignature:
        """The signature alone; the checkpoint is remembered with it before it is returned.  Errors as `cosign`."""
        signed = self.memory.policy.verify(note)
        if signed.checkpoint.size == 0 and signed.checkpoint.root != EMPTY_ROOT:
            raise ProofRejected("log.fork", "an empty log has one root")
        parsed = Note.parse(note)
        signature = self.cosigner.cosign(signed.checkpoint, now)
        # What strangers put on the note is not kept: it is bounded by the log's keys and ours.
        logs = {(key.name, key.key_id) for key in self.memory.policy.log_keys}
        kept = [s for s in parsed.signatures if (s.name, s.key_id) in logs]
        self.memory.advance(replace(signed, note=Note(parsed.text, (*kept, signature)).encode()), path)
        return signature


@dataclass(frozen=True)
class Answer:
    """An HTTP status and what goes with it.  `code` is for the witness's own journal."""

    status: int
    body: bytes
    media_type: str = "text/plain; charset=utf-8"
    code: str | None = None


class WitnessOffice:
    """A witness of several logs, each with a file in `folder`.  One office at a time uses a folder.

    persisted: called when a checkpoint is remembered and its cosignature has not left yet: a named point for tests."""

    def __init__(
        self,
        cosigner: Cosigner,
        logs: Iterable[LogPolicy],
        folder: Path,
        *,
        persisted: Callable[[], None] = lambda: None,
    ) -> None:
        self.cosigner = cosigner
        self._witnesses = {
            policy.origin: Witness(cosigner, CheckpointMemory(folder / f"{_name(policy.origin)}.checkpoint", policy))
            for policy in logs
        }
        self._by_name = {_name(origin): witness for origin, witness in self._witnesses.items()}
        self._persisted = persisted
        # Comparing with the last size and remembering the new one is one step, or two requests could cross.
        self._lock = threading.Lock()

    def add_checkpoint(self, body: bytes, *, now: int) -> Answer:
        """Status 200 with the cosignature, or why not.

        400 malformed, or older than its own old size; 404 an origin the witness does not follow; 403 not signed by a
        key of that log; 409 another size is known, which is told, or another root at this size; 422 no proof.
        StorageError and InputError, when what is remembered cannot be read or written, are the caller's to answer."""
        try:
            request = AddCheckpoint.decode(body)
            checkpoint = Checkpoint.of(request.note)
        except DecodeError as e:
            return _refused(400, e.code)
        witness = self._witnesses.get(checkpoint.origin)
        if witness is None:
            return _refused(404, "log.origin")
        try:
            witness.memory.policy.verify(request.note)
        except ProofRejected as e:
            return _refused(403, e.code)
        if request.old > checkpoint.size:
            return _refused(400, "add-checkpoint.old")
        with self._lock:
            known = witness.size()
            if request.old != known:
                return Answer(409, encode_size(known), SIZE_TYPE, "witness.size")
            if request.path and known in (0, checkpoint.size):
                return _refused(422, "log.consistency")  # there is nothing to prove
            try:
                signature = witness.cosignature(request.note, request.path, now=now)
            except ProofRejected as e:
                same = known == checkpoint.size and known > 0
                return _refused(409 if same else 422, e.code)
        self._persisted()
        return Answer(200, encode_cosignatures([signature]))

    def checkpoint(self, name: str) -> bytes | None:
        """The last checkpoint cosigned of the log whose origin's SHA-256 is `name`, hexadecimal, for monitors."""
        witness = self._by_name.get(name)
        last = None if witness is None else witness.memory.last()
        return None if last is None else last.note


def _name(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


def _refused(status: int, code: str) -> Answer:
    return Answer(status, f"{code}\n".encode(), code=code)
