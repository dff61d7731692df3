"""The submission: what an institution hands to its prover, in the clear inside one sealed message (system.md, 8).

It carries the signed source messages with their openings, the pledge schedule, the rule of every claim, and
the owner's signed statement: all that a proof needs and no key that could sign.  The statement already names the epoch,
the account and the place in its chain; sealing binds to these, to the prover's key and to a nonce, so a sealed
submission opens nowhere else.  Padding leaves only a size class to see.  How it travels is the server's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marginseal.algebra.commit import CommitmentKey
from marginseal.errors import DecodeError, PolicyError, ProofRejected
from marginseal.records import document, envelope
from marginseal.records.attestation import MAX_STATEMENT_BYTES, RuleRef, verify_owner
from marginseal.records.document import canonical, encode_base64, is_name
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SIGNATURE_BYTES
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeSchedule
from marginseal.records.sealing import PUBLIC_BYTES, SealingKey, SealingPublicKey, seal_info
from marginseal.records.source import SourceStatement, check_opening
from marginseal.records.statement import MAX_CLAIMS, MAX_RELEASES, Continuity, Statement
from marginseal.records.tiles import Tile

FORMAT = "marginseal/submission"
VERSION = 1
NONCE_BYTES = 32
MIN_CLASS, MAX_CLASS = 2**15, 2**26
"""Size classes are the powers of two between these: 32 KiB to 64 MiB."""

MAX_SOURCES = 2**12
_MAX_OPENING_BYTES = 2**15
_KEYS = (
    "format", "owner", "pledges", "previous_pledges", "releases", "response_key", "rules", "sources", "statement",
    "version",
)  # fmt: skip


@dataclass(frozen=True)
class SourceOpening:
    """A signed source message and the opening message behind it."""

    message: Envelope
    opening: Opening = field(repr=False)


@dataclass(frozen=True)
class Submission:
    """Everything a prover needs.

    statement, owner    the statement, and the owner's signature over its digest
    rules               one for each claim, in order; the prover compiles it and compares circuit digests
    sources             one for each entry of the statement, in order
    pledges             the schedule that the statement commits to
    previous_pledges    the predecessor's, if the statement is linked
    releases            the venues' signed releases
    response_key        to which the prover seals what only the owner may read"""

    statement: Statement
    owner: bytes
    rules: tuple[RuleRef, ...]
    sources: tuple[SourceOpening, ...] = field(repr=False)
    pledges: PledgeSchedule = field(repr=False)
    response_key: SealingPublicKey = field(repr=False)
    previous_pledges: PledgeSchedule | None = field(default=None, repr=False)
    releases: tuple[Envelope, ...] = ()

    def __post_init__(self) -> None:
        if len(self.rules) != len(self.statement.claims) or len(self.sources) != len(self.statement.sources):
            raise DecodeError("submission.count", "submission: a rule for each claim, an opening for each source entry")
        if (self.previous_pledges is None) == (self.statement.continuity == Continuity.LINKED):
            raise DecodeError(
                "submission.link", "submission: the previous schedule comes with a linked statement alone"
            )
        if len(self.owner) != SIGNATURE_BYTES:
            raise DecodeError("submission.owner", "submission: the owner's signature is 64 bytes")

    def encode(self) -> bytes:
        """The canonical document, unpadded and in the clear."""
        previous = self.previous_pledges
        return canonical(
            {
                "format": FORMAT,
                "owner": encode_base64(self.owner),
                "pledges": encode_base64(self.pledges.encode()),
                "previous_pledges": None if previous is None else encode_base64(previous.encode()),
                "releases": [release.members for release in self.releases],
                "response_key": encode_base64(self.response_key.raw),
                "rules": [rule.members for rule in self.rules],
                "sources": [
                    {"message": s.message.members, "opening": encode_base64(s.opening.encode())} for s in self.sources
                ],
                "statement": encode_base64(self.statement.encode()),
                "version": VERSION,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Submission:
        """DecodeError record.*, json.*, envelope.*, opening.*, statement.*, submission.*."""
        top = document.decode(data, what="submission", keys=_KEYS, limit=MAX_CLASS)
        top.constant("format", FORMAT)
        top.constant("version", VERSION)
        rules = top.objects("rules", ("name", "parameters"), limit=MAX_CLAIMS)
        sources = top.objects("sources", ("message", "opening"), limit=MAX_SOURCES)
        previous = None
        if not top.is_null("previous_pledges"):
            previous = PledgeSchedule.decode(top.base64("previous_pledges", limit=_MAX_OPENING_BYTES))
        return cls(
            statement=Statement.decode(top.base64("statement", limit=MAX_STATEMENT_BYTES)),
            owner=top.base64("owner", limit=SIGNATURE_BYTES),
            rules=tuple(RuleRef.read(rule) for rule in rules),
            sources=tuple(
                SourceOpening(
                    Envelope.from_members(s.mapping("message", limit=3)),
                    Opening.decode(s.base64("opening", limit=_MAX_OPENING_BYTES)),
                )
                for s in sources
            ),
            pledges=PledgeSchedule.decode(top.base64("pledges", limit=_MAX_OPENING_BYTES)),
            response_key=SealingPublicKey(top.base64("response_key", limit=PUBLIC_BYTES)),
            previous_pledges=previous,
            releases=tuple(Envelope.from_members(item) for item in top.items("releases", limit=MAX_RELEASES)),
        )

    def check(self, tiles: Mapping[int, Tile], commitment: CommitmentKey) -> None:
        """All that holds between the parts: signatures of sources and owner's registry apart, which acceptance checks.

        The owner signed; each opening is that of the message listed, and of its commitment; the schedules are those
        the statement commits to.  PolicyError submission.*; ProofRejected source.*, signature.invalid."""
        verify_owner(self.statement, self.owner)
        if self.statement.srs != commitment.srs.digest:
            raise PolicyError("submission.srs", "the statement is over another structured reference string")
        for entry, source in zip(self.statement.sources, self.sources, strict=True):
            message = envelope.peek(SourceStatement, source.message)
            if source.message.digest != entry.message_digest or message.C != entry.C or message.tile != entry.tile:
                raise PolicyError("submission.source", f"{entry.source}: not the message of the statement's entry")
            tile = tiles.get(message.tile)
            if tile is None or (tile.universe, tile.n) != (message.universe, message.n):
                raise PolicyError("submission.tile", f"{entry.source}: a message of another universe or tile")
            check_opening(message, source.opening.encode(), tile, commitment)
        if self.pledges.opening.n != commitment.n or self.pledges.commit(commitment) != self.statement.pledge:
            raise ProofRejected("submission.pledges", "the schedule is not the one the statement commits to")
        previous = self.previous_pledges
        if previous is not None and (
            previous.opening.n != commitment.n or previous.commit(commitment) != self.statement.previous_pledge
        ):
            raise ProofRejected("submission.pledges", "the previous schedule is not the one the statement names")


def pad(data: bytes) -> bytes:
    """length (8 bytes) | data | zeros, up to the next size class.  DecodeError submission.size."""
    size = MIN_CLASS
    while size < len(data) + 8:
        size *= 2
    if size > MAX_CLASS:
        raise DecodeError("submission.size", f"a submission has at most {MAX_CLASS - 8} bytes")
    return len(data).to_bytes(8, "big") + data + bytes(size - 8 - len(data))


def unpad(padded: bytes) -> bytes:
    """The inverse of `pad`.  DecodeError submission.padding for anything it would not have made."""
    if MIN_CLASS <= len(padded) <= MAX_CLASS:
        data = padded[8 : 8 + int.from_bytes(padded[:8], "big")]
        if len(data) + 8 <= len(padded) and pad(data) == padded:
            return data
    raise DecodeError("submission.padding", "a submission that is not padded to its size class")


@dataclass(frozen=True)
class SubmissionHeader:
    """What travels beside the sealed submission and is bound to it.  nonce: 32 random bytes, never used twice."""

    account: str
    epoch: bytes
    sequence: int
    nonce: bytes
    prover_key: str

    def __post_init__(self) -> None:
        names = is_name(self.account) and is_name(self.prover_key)
        if not names or len(self.epoch) != 32 or len(self.nonce) != NONCE_BYTES or self.sequence < 1:
            raise DecodeError("submission.header", "submission header: a field that cannot be")

    @property
    def members(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "epoch": self.epoch.hex(),
            "nonce": self.nonce.hex(),
            "prover_key": self.prover_key,
            "sequence": self.sequence,
        }


def seal_submission(submission: Submission, prover: SealingPublicKey, nonce: bytes) -> tuple[SubmissionHeader, bytes]:
    """The header, and the padded submission sealed to the prover under it."""
    statement = submission.statement
    header = SubmissionHeader(statement.account, statement.epoch, statement.sequence, nonce, prover.key_id)
    return header, prover.seal(pad(submission.encode()), seal_info("submission", header.members))


def open_submission(header: SubmissionHeader, sealed: bytes, prover: SealingKey) -> Submission:
    """The submission, if it was sealed under this very header and says the same.

    DecodeError sealing.open, submission.*, record.*, ...; PolicyError submission.header."""
    submission = Submission.decode(unpad(prover.open(sealed, seal_info("submission", header.members))))
    statement = submission.statement
    if (statement.account, statement.epoch, statement.sequence) != (header.account, header.epoch, header.sequence):
        raise PolicyError("submission.header", "the submission is not that of its header")
    return submission
