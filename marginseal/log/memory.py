"""The last checkpoint someone has seen of a log, in one small file of its own.

Who keeps it notices a log that forks or rolls back: a venue between two visits, a witness before it cosigns, and the
log's operator, whose store may have been restored from a backup behind a checkpoint that was already released.  To be
worth anything the file lives elsewhere than the store.  One process at a time writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from marginseal.files import read_bytes, write_atomic
from marginseal.log.checkpoint import Checkpoint, check_append_only
from marginseal.log.note import MAX_NOTE_BYTES
from marginseal.log.policy import LogPolicy, SignedCheckpoint


class CheckpointMemory:
    """The newest signed checkpoint seen, kept at `path`; `policy` says whose signatures it must carry."""

    def __init__(self, path: Path, policy: LogPolicy) -> None:
        self.path = path
        self.policy = policy

    def last(self) -> SignedCheckpoint | None:
        """What was remembered, verified again; None before the first.

        A file that is there and not a signed checkpoint is an error, never a fresh start."""
        if not self.path.exists():
            return None
        return self.policy.verify(read_bytes(self.path, limit=MAX_NOTE_BYTES, what="remembered checkpoint"))

    def advance(self, new: SignedCheckpoint, path: Sequence[bytes]) -> None:
        """Remember `new`, shown by the consistency proof `path` to extend what is remembered; durable on return.

        The first checkpoint is taken on trust.  ProofRejected log.fork, log.rollback, log.backdated, log.origin."""
        old = self.last()
        if old is not None:
            check_append_only(old.checkpoint, new.checkpoint, path)
        self.store(new.note)

    def store(self, note: bytes) -> None:
        """Remember a note that its caller has checked against `last`; durable on return."""
        Checkpoint.of(note)
        write_atomic(self.path, note)
