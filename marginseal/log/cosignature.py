"""Witness cosignatures of checkpoints, as in C2SP tlog-cosignature: Ed25519 (0x04) and ML-DSA-44 (0x06).

    signature   = u64 time | signature of the message below
    Ed25519     "cosignature/v1\\ntime <time>\\n" | checkpoint text
    ML-DSA-44   "subtree/v1\\n\\0" | len8 name | u64 time | len8 origin | u64 start | u64 end | hash

A cosignature says: at this time this was the largest consistent tree the witness had seen of the log.  The Ed25519 form
covers the extension lines and not the witness's name (so one key serves one name), the ML-DSA form the reverse.  What a
witness checks before it signs is `witness`; how many cosignatures are enough is `policy`.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from marginseal.errors import InputError, ProofRejected
from marginseal.log.checkpoint import MAX_TIME, Checkpoint, number
from marginseal.log.note import KeyKind, Note, NoteSignature, VerifierKey, verify_ed25519

_TIME_BYTES = 8


@dataclass(frozen=True)
class Cosigner:
    """A witness's name and key, Ed25519 or ML-DSA-44."""

    name: str
    private: Ed25519PrivateKey | MLDSA44PrivateKey

    @property
    def key(self) -> VerifierKey:
        ed25519 = isinstance(self.private, Ed25519PrivateKey)
        kind = KeyKind.COSIGNATURE if ed25519 else KeyKind.COSIGNATURE_MLDSA
        return VerifierKey(self.name, kind, self.private.public_key().public_bytes_raw())

    def cosign(self, checkpoint: Checkpoint, time: int) -> NoteSignature:
        """The signature line over a checkpoint.  It asserts consistency: `witness.Witness` is who may call it."""
        number(time, MAX_TIME)
        key = self.key
        signature = self.private.sign(_message(key, checkpoint, time))
        return NoteSignature(key.name, key.key_id, time.to_bytes(_TIME_BYTES, "big") + signature)


def cosignature_times(note: Note, checkpoint: Checkpoint, key: VerifierKey) -> list[int]:
    """The times of all cosignatures of `key` on the note of `checkpoint`; every one verifies, or none is believed.

    ProofRejected note.signature."""
    times = []
    for blob in note.by(key):
        time = int.from_bytes(blob[:_TIME_BYTES], "big")
        if len(blob) <= _TIME_BYTES or time > MAX_TIME:
            raise ProofRejected("note.signature", "a cosignature is too short, or its time out of range")
        message, signature = _message(key, checkpoint, time), blob[_TIME_BYTES:]
        if key.kind is KeyKind.COSIGNATURE:
            verify_ed25519(key.public, signature, message)
        else:
            verify_mldsa(key.public, signature, message)
        times.append(time)
    return times


def verify_mldsa(public: bytes, signature: bytes, message: bytes) -> None:
    """ML-DSA-44 with an empty context.  ProofRejected note.signature."""
    try:
        MLDSA44PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise ProofRejected("note.signature", "a signature of a known key does not verify") from None


def subtree_message(name: str, time: int, origin: str, start: int, end: int, root: bytes) -> bytes:
    """What an ML-DSA-44 cosignature signs; a checkpoint is the subtree from 0 to its size."""
    parts = [b"subtree/v1\n\x00", _short(name), time.to_bytes(8, "big"), _short(origin)]
    return b"".join([*parts, start.to_bytes(8, "big"), end.to_bytes(8, "big"), root])


def _message(key: VerifierKey, checkpoint: Checkpoint, time: int) -> bytes:
    if key.kind is KeyKind.COSIGNATURE:
        return f"cosignature/v1\ntime {time}\n{checkpoint.text}".encode()
    if key.kind is KeyKind.COSIGNATURE_MLDSA:
        return subtree_message(key.name, time, checkpoint.origin, 0, checkpoint.size, checkpoint.root)
    raise InputError("note.key", "this key does not cosign checkpoints")


def _short(text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise InputError("note.text", "a name or origin of more than 255 bytes cannot be cosigned")
    return bytes([len(data)]) + data
