"""How a submission and its answer travel.

    body   = length of the header (4 bytes, big-endian) | header | sealed
    header = RFC 8785 JSON of `SubmissionHeader.members`: account, epoch, nonce, prover_key, sequence
    sealed = the padded submission, sealed to the prover under this header (records.submission): a size class + 1136

    proved = a finished attestation, then the signed releases that its statement lists, in its order, each behind its
             length (4 bytes, big-endian)

    answer = the padded document, sealed to the response key under the same header: always ANSWER_BYTES + 1136 bytes

The answer says how it ended: attested, with the place in the log; or refused, with the check that refused and, for
an unhealthy portfolio, the rule line and the shortfall.  All answers have one size, so that who stores them learns
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marginseal.errors import DecodeError
from marginseal.records import document
from marginseal.records.attestation import Attestation
from marginseal.records.document import canonical
from marginseal.records.envelope import Envelope
from marginseal.records.sealing import OVERHEAD, SealingKey, SealingPublicKey, seal_info
from marginseal.records.statement import MAX_RELEASES
from marginseal.records.submission import MAX_CLASS, MIN_CLASS, NONCE_BYTES, SubmissionHeader

MAX_HEADER_BYTES = 1024
MAX_PROVED_BYTES = 2**20
ANSWER_BYTES = 1024
_KEYS = ("account", "epoch", "nonce", "prover_key", "sequence")
_ANSWER_KEYS = ("code", "format", "line", "log_index", "message", "outcome", "shortfall", "statement")
_FORMAT = "marginseal/answer/1"
_MAX_MESSAGE = 300


def size_classes(limit: int) -> tuple[int, ...]:
    """The padded sizes whose body fits `limit` bytes."""
    sizes, size = [], MIN_CLASS
    while size <= MAX_CLASS and size + OVERHEAD + MAX_HEADER_BYTES + 4 <= limit:
        sizes.append(size)
        size *= 2
    return tuple(sizes)


def encode_body(header: SubmissionHeader, sealed: bytes) -> bytes:
    head = canonical(header.members)
    return len(head).to_bytes(4, "big") + head + sealed


def decode_body(body: bytes) -> tuple[SubmissionHeader, bytes]:
    """DecodeError submission.body, submission.size, submission.header, record.*, json.*."""
    length = int.from_bytes(body[:4], "big")
    if len(body) < 4 or length > MAX_HEADER_BYTES or len(body) < 4 + length:
        raise DecodeError("submission.body", "submission: not a header and a sealed message")
    top = document.decode(body[4 : 4 + length], what="submission header", keys=_KEYS, limit=MAX_HEADER_BYTES)
    header = SubmissionHeader(
        top.name("account"),
        top.hex("epoch", 32),
        top.integer("sequence", 1),
        top.hex("nonce", NONCE_BYTES),
        top.name("prover_key"),
    )
    sealed = body[4 + length :]
    padded = len(sealed) - OVERHEAD
    if padded & (padded - 1) or not MIN_CLASS <= padded <= MAX_CLASS:
        raise DecodeError("submission.size", "submission: not of a size class")
    return header, sealed


def encode_proved(attestation: bytes, releases: Sequence[bytes] = ()) -> bytes:
    return b"".join(len(part).to_bytes(4, "big") + part for part in (attestation, *releases))


def decode_proved(body: bytes) -> tuple[Attestation, tuple[Envelope, ...]]:
    """Nothing is verified.  DecodeError proved.body, proved.releases, and those of `Attestation.decode`."""
    parts: list[bytes] = []
    at = 0
    while at < len(body):
        start = at + 4
        at = start + int.from_bytes(body[at:start], "big")
        if not start <= at <= len(body) or len(parts) > MAX_RELEASES:
            raise DecodeError("proved.body", "not an attestation and the releases it lists")
        parts.append(body[start:at])
    if not parts:
        raise DecodeError("proved.body", "not an attestation and the releases it lists")
    attestation = Attestation.decode(parts[0])
    releases = tuple(Envelope.decode(part) for part in parts[1:])
    if [release.digest for release in releases] != [listed.digest for listed in attestation.statement.releases]:
        raise DecodeError("proved.releases", "not the releases that the statement lists, in its order")
    return attestation, releases


@dataclass(frozen=True)
class Answer:
    """How a submission ended, for its owner.  Refused: `code` and `message`; an unhealthy book also `line`, `shortfall`
    (in the line's unit).  Attested: the statement digest and the place in the log."""

    outcome: str
    statement: bytes | None = None
    log_index: int | None = None
    code: str | None = None
    message: str | None = None
    line: str | None = None
    shortfall: int | None = None

    def __repr__(self) -> str:
        return f"Answer({self.outcome})"


def seal_answer(answer: Answer, key: SealingPublicKey, header: SubmissionHeader) -> bytes:
    """ANSWER_BYTES + 1136 bytes, whatever it says; what does not fit is cut."""
    data = canonical(
        {
            "code": _cut(answer.code, 64),
            "format": _FORMAT,
            "line": _cut(answer.line, 100),
            "log_index": answer.log_index,
            "message": _cut(answer.message, _MAX_MESSAGE),
            "outcome": answer.outcome,
            "shortfall": None if answer.shortfall is None else str(min(answer.shortfall, 2**63 - 1)),
            "statement": None if answer.statement is None else answer.statement.hex(),
        }
    )
    assert len(data) <= ANSWER_BYTES
    return key.seal(data.ljust(ANSWER_BYTES), seal_info("answer", header.members))


def open_answer(sealed: bytes, key: SealingKey, header: SubmissionHeader) -> Answer:
    """DecodeError sealing.open, answer.size, record.*, json.*."""
    padded = key.open(sealed, seal_info("answer", header.members))
    if len(padded) != ANSWER_BYTES:
        raise DecodeError("answer.size", "an answer of another size")
    top = document.decode(padded.rstrip(b" "), what="answer", keys=_ANSWER_KEYS, limit=ANSWER_BYTES)
    top.constant("format", _FORMAT)

    def text(name: str) -> str | None:
        return None if top.is_null(name) else top.text(name, limit=_MAX_MESSAGE)

    return Answer(
        outcome=top.text("outcome", limit=16),
        statement=None if top.is_null("statement") else top.hex("statement", 32),
        log_index=None if top.is_null("log_index") else top.integer("log_index"),
        code=text("code"),
        message=text("message"),
        line=text("line"),
        shortfall=None if top.is_null("shortfall") else top.decimal("shortfall", -(2**63), 2**63 - 1),
    )


def _cut(text: str | None, limit: int) -> str | None:
    """Printable text of at most `limit` bytes, also once JSON has escaped it."""
    if text is None:
        return None
    kept = "".join(c for c in text if c.isprintable()).replace('"', "'").replace("\\", "/")
    return kept.encode("utf-8", "ignore")[:limit].decode("utf-8", "ignore")
