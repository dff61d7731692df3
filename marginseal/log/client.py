"""What a relying party checks: that a payload is logged, that it is its account's newest, and that this is recent.

Everything here is offline and needs no store.  A venue that has seen an earlier checkpoint also checks that the new one
extends it (`memory.CheckpointMemory`), and tells others which one it used.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from marginseal.errors import PolicyError, ProofRejected
from marginseal.log.entry import ATTESTATION, Leaf
from marginseal.log.head import HeadStatement
from marginseal.log.merkle import verify_inclusion
from marginseal.log.policy import MAX_AHEAD_S, LogPolicy, SignedCheckpoint
from marginseal.log.receipt import Receipt


@dataclass(frozen=True)
class Logged:
    """An entry shown to be in the tree of a believed checkpoint."""

    index: int
    leaf: Leaf
    signed: SignedCheckpoint


@dataclass(frozen=True)
class Newest:
    """An attestation shown to be its account's newest in the tree of `logged.signed`, which is `age_s` seconds old.

    The head statement may be older than the checkpoint: it is about the same tree."""

    logged: Logged
    head: HeadStatement
    age_s: int


def verify_receipt(receipt: bytes, payload: bytes, policy: LogPolicy) -> Logged:
    """`payload` is that of the entry the receipt shows.

    DecodeError receipt.*, note.*, ...; ProofRejected log.inclusion, log.payload, log.origin, note.*; PolicyError
    log.witnesses."""
    r = Receipt.decode(receipt)
    signed = policy.verify(r.note)
    verify_inclusion(r.index, signed.checkpoint.size, r.leaf.hash, r.path, signed.checkpoint.root)
    if r.leaf.payload_digest != hashlib.sha256(payload).digest():
        raise ProofRejected("log.payload", "the receipt is that of another payload")
    return Logged(r.index, r.leaf, signed)


def verify_head(note: bytes, policy: LogPolicy, signed: SignedCheckpoint) -> HeadStatement:
    """A head statement of the log about the tree of a believed checkpoint.

    DecodeError note.*, head.malformed; ProofRejected note.*, log.origin, log.head (of another tree)."""
    head = HeadStatement.parse(policy.verify_text(note))
    if head.origin != policy.origin:
        raise ProofRejected("log.origin", "a head statement of another log")
    if (head.size, head.root) != (signed.checkpoint.size, signed.checkpoint.root):
        raise ProofRejected("log.head", "the head statement and the checkpoint are of different trees")
    return head


def verify_newest(
    receipt: bytes,
    head: bytes,
    payload: bytes,
    policy: LogPolicy,
    *,
    account: str,
    sequence: int,
    statement_digest: bytes,
    now: int,
    max_age_s: int,
    max_ahead_s: int = MAX_AHEAD_S,
) -> Newest:
    """The attestation (account, sequence, statement digest) in `payload` is logged, and the newest of its account.

    Further: PolicyError log.superseded, log.stale, log.ahead, log.no-time; ProofRejected log.leaf (logged as something
    else), log.head."""
    logged = verify_receipt(receipt, payload, policy)
    leaf = logged.leaf
    if leaf.kind != ATTESTATION or leaf.account != account or leaf.chain is None:
        raise ProofRejected("log.leaf", "the entry is not an attestation of this account")
    if leaf.chain[:2] != (sequence, statement_digest):
        raise ProofRejected("log.leaf", "the entry is that of another statement")
    said = verify_head(head, policy, logged.signed)
    if said.account != account:
        raise ProofRejected("log.head", "the head statement is that of another account")
    if said.sequence > sequence:
        raise PolicyError("log.superseded", f"the account's newest attestation is {said.sequence}, not {sequence}")
    if (said.sequence, said.statement_digest, said.index) != (sequence, statement_digest, logged.index):
        raise ProofRejected("log.head", "the head statement contradicts the entry")
    if said.time > now + max_ahead_s:
        raise PolicyError("log.ahead", "the head statement claims a time that lies ahead")
    age = policy.check_fresh(logged.signed, now=now, max_age_s=max_age_s, max_ahead_s=max_ahead_s)
    return Newest(logged, said, age)
