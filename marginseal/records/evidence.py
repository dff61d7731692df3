"""What shows a source to be dishonest, to anybody, from what it signed itself (protocol sections 7 and 10).

Two messages for one (account, book, tile, cut); one book under two accounts; an opening that the source signed and that
is not the one behind its commitment.  Evidence is the signed messages themselves; nothing of the institution is needed
but, for an opening, the opening.  An old message for a new cut proves nothing to others; who has both refuses it
(`sequence_faults`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from marginseal.algebra.commit import CommitmentKey
from marginseal.errors import PolicyError, ProofRejected
from marginseal.records.envelope import Envelope, open_signed
from marginseal.records.keys import PublicKey
from marginseal.records.source import SourceStatement, check_opening
from marginseal.records.statement import Statement
from marginseal.records.tiles import Tile


class Conflict(StrEnum):
    """Why two messages of one source cannot both be honest."""

    TWO_MESSAGES = "two messages for one account, book, tile and cut"
    TWO_ACCOUNTS = "one book under two accounts"


def conflict(a: Envelope, b: Envelope, source_key: PublicKey) -> Conflict | None:
    """How two messages of the source contradict each other, or None.

    A cut is the same if its id or its time is: a source cannot report one moment twice under two names.
    DecodeError, ProofRejected signature.threshold unless the source signed both."""
    first = open_signed(SourceStatement, a, [source_key])
    second = open_signed(SourceStatement, b, [source_key])
    if a.payload == b.payload or first.terms.book != second.terms.book:
        return None
    if first.terms.account != second.terms.account:
        return Conflict.TWO_ACCOUNTS
    same_cut = first.terms.cut_id == second.terms.cut_id or first.terms.cut_time == second.terms.cut_time
    return Conflict.TWO_MESSAGES if same_cut and first.tile == second.tile else None


@dataclass(frozen=True)
class Told:
    """What a message says of itself, as far as its successor is held against it."""

    cut: tuple[str, int]
    sequence: int

    @classmethod
    def of(cls, said: SourceStatement) -> Told:
        return cls((said.terms.cut_id, said.terms.cut_time), said.terms.sequence)


def sequence_faults(
    statement: Statement,
    previous: Statement,
    told: Callable[[bytes], Told | None],
    told_before: Callable[[bytes], Told | None],
) -> Iterator[PolicyError]:
    """Each source counts its cuts: in the next attestation of an account the same message, or one of another cut under
    a later number.  told, told_before: messages of the two by digest, None for one that is not at hand."""
    older = {entry.order: entry.message_digest for entry in previous.sources}
    for entry in statement.sources:
        digest = older.get(entry.order)
        if digest is None or digest == entry.message_digest:
            continue
        old, new = told_before(digest), told(entry.message_digest)
        if old is None or new is None:
            continue
        if old.cut[0] == new.cut[0] or old.cut[1] == new.cut[1]:
            yield PolicyError("accept.conflict", f"{entry.source}: two messages for one cut")
        elif new.sequence <= old.sequence:
            yield PolicyError("accept.order", f"{entry.source}: its sequence does not grow")


def is_false_opening(
    message: Envelope, opening: bytes, tile: Tile, source_key: PublicKey, commitment: CommitmentKey
) -> bool:
    """Whether the source signed the hash of an opening that is not behind the commitment beside it.

    False for an honest opening, and for one whose hash the source did not sign, which says nothing about the source.
    DecodeError, ProofRejected signature.threshold unless the source signed the message."""
    statement = open_signed(SourceStatement, message, [source_key])
    try:
        check_opening(statement, opening, tile, commitment)
    except ProofRejected as e:
        return e.code != "source.opening-digest"
    return False
