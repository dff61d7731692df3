"""A witness: cosigns each checkpoint of one log that extends the last one it cosigned.

With k of n independent witnesses, a log that shows different trees to different people needs k of them to help.  What
a cosignature asserts is `cosignature`; the file in which the witness remembers is written before it signs, so that a
witness killed at any instruction never signs two trees.
"""

from __future__ import annotations

from collections.abc import Sequence

from marginseal.log.cosignature import Cosigner
from marginseal.log.memory import CheckpointMemory
from marginseal.log.note import Note


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
        signed = self.memory.policy.verify(note)
        self.memory.advance(signed, path)
        parsed = Note.parse(note)
        return Note(parsed.text, (*parsed.signatures, self.cosigner.cosign(signed.checkpoint, now))).encode()
