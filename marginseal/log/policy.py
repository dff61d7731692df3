"""Whom a relying party believes about a log: its origin, its keys, and k of n witnesses.

A checkpoint is believed when a log key signed it and enough distinct witnesses cosigned it.  Witnesses are counted by
name, and a policy in which one public key appears twice is refused: the Ed25519 cosignature does not bind the name, so
one witness could otherwise be counted as two.  With k = 0 the log's word stands alone, and a log may show different
trees to different people until they compare checkpoints.
"""

from __future__ import annotations

from dataclasses import dataclass

from marginseal.errors import InputError, PolicyError, ProofRejected
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.cosignature import cosignature_times
from marginseal.log.note import KeyKind, Note, VerifierKey, verify_note

MAX_AHEAD_S = 60  # how far another's clock may run ahead of ours


@dataclass(frozen=True)
class SignedCheckpoint:
    """A checkpoint whose signatures were verified under a policy.

    note       the signed note as received
    cosigned   (witness name, time of its latest cosignature), by name"""

    checkpoint: Checkpoint
    note: bytes
    cosigned: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class LogPolicy:
    """origin, log_keys (plain Ed25519; more than one while a key is rotated), and `threshold` of `witnesses`."""

    origin: str
    log_keys: tuple[VerifierKey, ...]
    witnesses: tuple[VerifierKey, ...] = ()
    threshold: int = 0

    def __post_init__(self) -> None:
        if not self.log_keys or any(k.kind is not KeyKind.ED25519 or k.name != self.origin for k in self.log_keys):
            raise InputError("log.policy", "a log policy needs plain Ed25519 keys named like the origin")
        if any(k.kind is KeyKind.ED25519 for k in self.witnesses):
            raise InputError("log.policy", "a witness is named by a cosignature key")
        public = [k.public for k in (*self.log_keys, *self.witnesses)]
        if len(set(public)) != len(public):
            raise InputError("log.policy", "one public key appears twice in a log policy")
        if not 0 <= self.threshold <= len({k.name for k in self.witnesses}):
            raise InputError("log.policy", "a log policy asks for more witnesses than it names")

    def verify(self, note: bytes) -> SignedCheckpoint:
        """DecodeError note.*, checkpoint.malformed; ProofRejected note.*, log.origin; PolicyError log.witnesses."""
        parsed = Note.parse(note)
        checkpoint = Checkpoint.parse(parsed.text)
        if checkpoint.origin != self.origin:
            raise ProofRejected("log.origin", "a checkpoint of another log")
        verify_note(parsed, self.log_keys)
        latest: dict[str, int] = {}
        for key in self.witnesses:
            for time in cosignature_times(parsed, checkpoint, key):
                latest[key.name] = max(time, latest.get(key.name, 0))
        if len(latest) < self.threshold:
            raise PolicyError("log.witnesses", f"{len(latest)} of {self.threshold} witnesses cosigned the checkpoint")
        return SignedCheckpoint(checkpoint, note, tuple(sorted(latest.items())))

    def verify_text(self, note: bytes) -> str:
        """The text of any note that a log key signed (a head statement).  DecodeError note.*, ProofRejected note.*."""
        parsed = Note.parse(note)
        verify_note(parsed, self.log_keys)
        return parsed.text

    def check_fresh(self, signed: SignedCheckpoint, *, now: int, max_age_s: int, max_ahead_s: int = MAX_AHEAD_S) -> int:
        """The age of a checkpoint in seconds, at most `max_age_s`: by its own time and by `threshold` witnesses.

        A witness speaks for the time it signed, so the k-th newest cosignature is what k witnesses agree on.
        PolicyError log.stale, log.ahead (a time further ahead than clocks may differ), log.no-time."""
        times = [] if signed.checkpoint.time is None else [signed.checkpoint.time]
        if self.threshold:
            newest_first = sorted((t for _, t in signed.cosigned), reverse=True)
            if len(newest_first) < self.threshold:
                raise PolicyError("log.witnesses", "the checkpoint was verified under a policy of fewer witnesses")
            times.append(newest_first[self.threshold - 1])
        if not times:
            raise PolicyError("log.no-time", "nobody says when the checkpoint was signed")
        if max(times) > now + max_ahead_s:
            raise PolicyError("log.ahead", "the checkpoint claims a time that lies ahead")
        age = max(0, now - min(times))
        if age > max_age_s:
            raise PolicyError("log.stale", f"the checkpoint is {age} s old, more than {max_age_s} s")
        return age
