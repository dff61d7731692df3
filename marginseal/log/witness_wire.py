"""What a log says to a witness and hears from it, as in C2SP tlog-witness: the bytes of `add-checkpoint`.

    old <size the witness is thought to have cosigned last>
    <base64 hash of the consistency proof from there>      0 to 63 lines
    ...
    <blank line>
    <checkpoint, a signed note>

The answer is one signature line or several.  A witness that knows another size answers it, alone on a line.  Which
status goes with what is `witness`; how the bytes travel is the server's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from marginseal.errors import DecodeError, ProofRejected
from marginseal.log.checkpoint import parse_number
from marginseal.log.merkle import HASH_BYTES, MAX_SIZE
from marginseal.log.note import Note, NoteSignature, VerifierKey, decode_base64, encode_base64

MAX_PROOF_LINES = 63
MAX_REQUEST_BYTES = 2**16
MAX_ANSWER_BYTES = 2**16
SIZE_TYPE = "text/x.tlog.size"
_OLD = "old "


@dataclass(frozen=True)
class AddCheckpoint:
    """old: the size from which `path`, the consistency proof, starts; note: the signed checkpoint."""

    old: int
    path: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        lines = [f"{_OLD}{self.old}", *(encode_base64(h) for h in self.path), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def decode(cls, data: bytes) -> AddCheckpoint:
        """Bytes -> request, and `decode(b).encode() == b`; the note is not looked into.

        DecodeError add-checkpoint.malformed, .too-large."""
        if len(data) > MAX_REQUEST_BYTES:
            raise DecodeError("add-checkpoint.too-large", f"a request has more than {MAX_REQUEST_BYTES} bytes")
        head, blank, note = data.partition(b"\n\n")
        try:
            first, *rest = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise _malformed("not ASCII before the checkpoint") from None
        if not blank or not first.startswith(_OLD):
            raise _malformed("no old size, or no blank line before the checkpoint")
        if len(rest) > MAX_PROOF_LINES:
            raise _malformed(f"more than {MAX_PROOF_LINES} proof lines")
        old = parse_number(first.removeprefix(_OLD), MAX_SIZE, "add-checkpoint")
        path = tuple(decode_base64(line, code="add-checkpoint.malformed", what="add-checkpoint") for line in rest)
        if any(len(h) != HASH_BYTES for h in path):
            raise _malformed("a proof line is not a hash")
        return cls(old, path, note)


def encode_size(size: int) -> bytes:
    return f"{size}\n".encode()


def decode_size(data: bytes) -> int:
    """The one line that a witness of another size answers.  DecodeError witness-size.malformed."""
    text = data.decode("ascii", "replace")
    if not text.endswith("\n"):
        raise DecodeError("witness-size.malformed", "a size is a line")
    return parse_number(text[:-1], MAX_SIZE, "witness-size")


def encode_cosignatures(signatures: Iterable[NoteSignature]) -> bytes:
    return "".join(s.line() for s in signatures).encode()


def add_answer(note: bytes, answer: bytes, key: VerifierKey) -> bytes:
    """The checkpoint with the answer's signatures by `key`, none of them verified; what others signed is ignored.

    DecodeError note.*; ProofRejected witness.answer when there is none."""
    if len(answer) > MAX_ANSWER_BYTES:
        raise DecodeError("note.too-large", f"an answer has more than {MAX_ANSWER_BYTES} bytes")
    asked = Note.parse(note)
    answered = Note.parse(note + answer)
    if answered.text != asked.text:
        raise DecodeError("note.malformed", "the answer of a witness is not signature lines")
    told = answered.signatures[len(asked.signatures) :]
    mine = tuple(s for s in told if (s.name, s.key_id) == (key.name, key.key_id))
    if not mine:
        raise ProofRejected("witness.answer", "the witness answered without a cosignature of its key")
    return Note(asked.text, (*asked.signatures, *mine)).encode()


def _malformed(why: str) -> DecodeError:
    return DecodeError("add-checkpoint.malformed", f"not an add-checkpoint request: {why}")
