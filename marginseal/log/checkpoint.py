"""Checkpoints, as in C2SP tlog-checkpoint: what a log signs about the whole of itself.

    <origin>
    <tree size>
    <base64(root)>
    <extension lines>

The first line names the log.  Ours adds one extension line, `time <unix seconds>`, so that age can be judged without a
witness and backdating shows between any two checkpoints; witnesses' own timestamps come on top (`cosignature`).  Here
stand the text, the log's signature, and what two checkpoints of one log must have to do with each other; the policy of
one who relies on a log is `policy`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.log.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE, verify_consistency
from marginseal.log.note import Note, Signer, decode_base64, encode_base64, is_name

MAX_TIME = 2**62
_NUMBER = re.compile(r"0|[1-9][0-9]{0,19}", re.ASCII)
_TIME = "time "


@dataclass(frozen=True)
class Checkpoint:
    """One log at one size: `origin`, the number of entries, the RFC 9162 root over them, extension lines."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not is_line(self.origin) or not all(is_line(x) for x in self.extensions):
            raise DecodeError("checkpoint.malformed", "a checkpoint line is empty or holds a control character")
        if not 0 <= self.size <= MAX_SIZE or len(self.root) != HASH_BYTES:
            raise DecodeError("checkpoint.malformed", "a checkpoint's size or root is out of range")

    @classmethod
    def at(cls, origin: str, size: int, root: bytes, time: int) -> Checkpoint:
        """A checkpoint of a log of ours: with its time, in unix seconds."""
        return cls(origin, size, root, (f"{_TIME}{number(time, MAX_TIME)}",))

    @property
    def time(self) -> int | None:
        """When the log says it signed, or None if it does not say."""
        times = [x.removeprefix(_TIME) for x in self.extensions if x.startswith(_TIME)]
        return parse_number(times[0], MAX_TIME, "checkpoint") if times else None

    @property
    def text(self) -> str:
        return "\n".join((self.origin, str(self.size), encode_base64(self.root), *self.extensions, ""))

    def sign(self, signer: Signer) -> bytes:
        """The signed note.  InputError checkpoint.signer unless the signer's name is the origin."""
        if signer.name != self.origin or not is_name(self.origin):
            raise InputError("checkpoint.signer", "a log signs checkpoints under its own origin")
        return signer.sign(self.text).encode()

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The text of a note -> Checkpoint, and `parse(t).text == t`.  DecodeError checkpoint.malformed."""
        lines = text.split("\n")
        if len(lines) < 4 or lines[-1] != "":
            raise DecodeError("checkpoint.malformed", "a checkpoint has at least three lines")
        size = parse_number(lines[1], MAX_SIZE, "checkpoint")
        root = decode_base64(lines[2], code="checkpoint.malformed", what="checkpoint root")
        checkpoint = cls(lines[0], size, root, tuple(lines[3:-1]))
        if sum(x.startswith(_TIME) for x in checkpoint.extensions) > 1:
            raise DecodeError("checkpoint.malformed", "a checkpoint has more than one time")
        _ = checkpoint.time  # a time that is no number refuses the checkpoint here, once
        return checkpoint

    @classmethod
    def of(cls, note: bytes) -> Checkpoint:
        """What a signed note says, before any signature is checked.  DecodeError note.*, checkpoint.malformed."""
        return cls.parse(Note.parse(note).text)


def check_append_only(old: Checkpoint, new: Checkpoint, path: Sequence[bytes]) -> None:
    """`new` is a later or equal state of the same log as `old`, shown by the consistency proof `path`.

    ProofRejected log.origin (another log), log.rollback (fewer entries), log.fork (no proof that the one extends the
    other; at one size, another root), log.backdated (more entries at an earlier time).  Two signed checkpoints that
    fail with any of the last three, whatever path the log offers, are evidence against it."""
    if old.origin != new.origin:
        raise ProofRejected("log.origin", "two checkpoints of different logs")
    if new.size < old.size:
        raise ProofRejected("log.rollback", f"the log shrank from {old.size} to {new.size} entries")
    if new.size == old.size or old.size == 0:
        if (old.root != EMPTY_ROOT) if old.size == 0 else (old.root != new.root):
            raise ProofRejected("log.fork", f"another root at {old.size} entries")
    else:
        try:
            verify_consistency(old.size, old.root, new.size, new.root, path)
        except ProofRejected:
            message = f"no proof that the log of {new.size} entries extends that of {old.size}"
            raise ProofRejected("log.fork", message) from None
    if new.size > old.size and old.time is not None and new.time is not None and new.time < old.time:
        raise ProofRejected("log.backdated", "the log grew at an earlier time than it was seen before")


def is_line(text: str) -> bool:
    """Whether a text can stand as one line of a note: not empty, no control characters, encodable."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return text != "" and not any(c < " " or c == "\x7f" for c in text)


def number(value: int, limit: int) -> str:
    """A decimal of 0..limit.  InputError note.number."""
    if not 0 <= value <= limit:
        raise InputError("note.number", "a number in a note is out of range")
    return str(value)


def parse_number(text: str, limit: int, what: str) -> int:
    """An ASCII decimal of 0..limit without leading zeros.  DecodeError <what>.malformed."""
    if not _NUMBER.fullmatch(text) or int(text) > limit:
        raise DecodeError(f"{what}.malformed", f"{what}: not a decimal number in range")
    return int(text)
