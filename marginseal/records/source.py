"""Source statements: what a custodian, venue or chain adapter signs about one book at one cut (protocol section 7).

    C = [q + b_0 Z_H]      one statement for every tile of the universe, at every cut, whether or not anything changed

The opening is sealed to the account's key and published with the signed message; without it the message counts as
unsigned.  The institution opens it and recomputes C before it uses either (`open_statement`).  Rows that a source is
confined to are `rows`; what a verifier asks of a message is `acceptance`; two messages that cannot both be honest are
`evidence`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.commit import CommitmentKey
from marginseal.errors import DecodeError, InputError, MarginSealError, ProofRejected, RangeError
from marginseal.records import document, envelope, rows
from marginseal.records.document import MAX_TIME, canonical, is_name
from marginseal.records.envelope import Envelope
from marginseal.records.keys import PublicKey, Purpose, SigningKey
from marginseal.records.opening import Opening, draw_opening
from marginseal.records.sealing import SealingKey, SealingPublicKey, seal_info
from marginseal.records.statement import MAX_TILES, POINT_BYTES
from marginseal.records.tiles import Tile, split
from marginseal.transcript import PROTOCOL, VERSION

PROTOCOL_NAME = f"{PROTOCOL}/{VERSION}"
MAX_BYTES = 8192
MAX_SEALED_BYTES = 64 * 1024

_KEYS = (
    "account", "book", "ciphertext", "commitment", "complete", "cut_id", "cut_time", "expiry", "hold_until", "n",
    "opening", "protocol", "sequence", "source", "srs", "tile", "universe",
)  # fmt: skip


@dataclass(frozen=True)
class BookTerms:
    """What all tiles of a book at one cut have in common.  Times are unix seconds.

    source, account, book   who signs, for whom, and the salted id of the book (`book_id`)
    cut_id, cut_time        the one moment that all sources of the account report
    sequence                counts the source's cuts of this book, from 1
    complete                these are all positions and liabilities of the book
    hold_until              until then nothing leaves without the release of every venue with a pledge; None: no hold
    expiry                  after it the statement says nothing"""

    source: str
    account: str
    book: str
    cut_id: str
    cut_time: int
    sequence: int
    complete: bool
    hold_until: int | None
    expiry: int

    def __post_init__(self) -> None:
        if not all(is_name(x) for x in (self.source, self.account, self.book, self.cut_id)):
            raise DecodeError("source.name", "source statement: a name is not printable text of 1 to 64 bytes")
        if not 0 <= self.cut_time < self.expiry <= MAX_TIME or not 1 <= self.sequence <= document.MAX_INTEGER:
            raise DecodeError("source.times", "source statement: the cut lies before the expiry, sequences start at 1")
        if self.hold_until is not None and not self.cut_time <= self.hold_until <= MAX_TIME:
            raise DecodeError("source.hold", "source statement: a hold does not end before the cut")

    @property
    def members(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "book": self.book,
            "complete": self.complete,
            "cut_id": self.cut_id,
            "cut_time": self.cut_time,
            "expiry": self.expiry,
            "hold_until": self.hold_until,
            "sequence": self.sequence,
            "source": self.source,
        }


@dataclass(frozen=True)
class SourceStatement:
    """One tile of one book at one cut.  Digests 32 bytes; C 48 bytes, decoded as a point by whoever uses it."""

    PURPOSE: ClassVar[Purpose] = Purpose.SOURCE_STATEMENT

    terms: BookTerms
    srs: bytes
    n: int
    universe: bytes
    tile: int
    opening_digest: bytes
    ciphertext_digest: bytes
    C: bytes

    def __post_init__(self) -> None:
        digests = (self.srs, self.universe, self.opening_digest, self.ciphertext_digest)
        if any(len(d) != 32 for d in digests) or len(self.C) != POINT_BYTES:
            raise DecodeError("source.digest", "source statement: a digest is 32 bytes, a commitment 48")
        if self.n & (self.n - 1) or not 8 <= self.n <= 2048 or not 0 <= self.tile < MAX_TILES:
            raise DecodeError("source.rows", "source statement: no such tile or number of rows")

    @property
    def place(self) -> dict[str, Any]:
        """All that is known before the commitment is made: where a sealed opening belongs."""
        return self.terms.members | _place(self.srs, self.n, self.universe, self.tile)

    def payload(self) -> bytes:
        return canonical(
            self.place
            | {
                "ciphertext": self.ciphertext_digest.hex(),
                "commitment": self.C.hex(),
                "opening": self.opening_digest.hex(),
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, source.*."""
        top = document.decode(payload, what="source statement", keys=_KEYS, limit=MAX_BYTES)
        top.constant("protocol", PROTOCOL_NAME)
        terms = BookTerms(
            source=top.name("source"),
            account=top.name("account"),
            book=top.name("book"),
            cut_id=top.name("cut_id"),
            cut_time=top.time("cut_time"),
            sequence=top.integer("sequence", 1),
            complete=top.flag("complete"),
            hold_until=None if top.is_null("hold_until") else top.time("hold_until"),
            expiry=top.time("expiry"),
        )
        return cls(
            terms=terms,
            srs=top.hex("srs", 32),
            n=top.integer("n"),
            universe=top.hex("universe", 32),
            tile=top.integer("tile"),
            opening_digest=top.hex("opening", 32),
            ciphertext_digest=top.hex("ciphertext", 32),
            C=top.hex("commitment", POINT_BYTES),
        )


@dataclass(frozen=True)
class PublishedStatement:
    """What a source publishes: the signed message, the sealed opening, and the proof of its rows if it is confined."""

    message: Envelope
    sealed: bytes = field(repr=False)
    row_proof: rows.RowAuthority | None = None

    def encode(self) -> bytes:
        return canonical(
            {
                "message": self.message.members,
                "rows": None if self.row_proof is None else document.encode_base64(self.row_proof.encode()),
                "sealed": document.encode_base64(self.sealed),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> PublishedStatement:
        """DecodeError record.*, json.*, envelope.*, rows.*."""
        keys = ("message", "rows", "sealed")
        top = document.decode(data, what="published statement", keys=keys, limit=4 * MAX_SEALED_BYTES)
        row_proof = None
        if not top.is_null("rows"):
            row_proof = rows.RowAuthority.decode(top.base64("rows", limit=2 * POINT_BYTES))
        message = Envelope.from_members(top.mapping("message", limit=3))
        return cls(message, top.base64("sealed", limit=MAX_SEALED_BYTES), row_proof)


def by_message(published: Iterable[PublishedStatement]) -> dict[bytes, PublishedStatement]:
    """By the digest of the signed message: of several publications of one message the first that has the ciphertext
    which the source signed, and of those the first with a proof of its rows.

    Anyone can put a message that he has beside another ciphertext; whether the one left is whole, acceptance asks."""
    out: dict[bytes, PublishedStatement] = {}
    for one in published:
        known = out.setdefault(one.message.digest, one)
        if _worth(one) > _worth(known):
            out[one.message.digest] = one
    return out


def _worth(one: PublishedStatement) -> tuple[bool, bool]:
    with contextlib.suppress(MarginSealError):
        signed = envelope.peek(SourceStatement, one.message).ciphertext_digest
        return signed == hashlib.sha256(one.sealed).digest(), one.row_proof is not None
    return False, False


def book_id(salt: bytes, reference: str) -> str:
    """The salted id of a client's book: 32 hexadecimal digits of SHA-256("MARGINSEAL-V1-BOOK" | salt | reference).

    It depends on the book alone and not on the account it is reported for, so that one book under two accounts shows.
    InputError source.salt for a salt of fewer than 32 bytes."""
    if len(salt) < 32:
        raise InputError("source.salt", "a book's salt has at least 32 bytes")
    return hashlib.sha256(b"MARGINSEAL-V1-BOOK" + salt + reference.encode()).hexdigest()[:32]


def make_statement(
    terms: BookTerms,
    tile: Tile,
    q: NDArray[np.int64],
    *,
    key: SigningKey,
    recipient: SealingPublicKey,
    commitment: CommitmentKey,
    allowed: bytes | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> PublishedStatement:
    """Commit to one tile, seal the opening to the account, sign, and prove the rows if `allowed` confines the source.

    q: int64 (n,), within the tile's bounds (RangeError tile.*); `allowed`: R as n/8 bytes from the source registry;
    `key.seed` is the secret half of the blinder's entropy.  InputError rows.outside for a position outside R."""
    tile.check(q)
    place = terms.members | _place(commitment.srs.digest, tile.n, tile.universe, tile.index)
    opening = draw_opening(q, header=canonical(place), index=tile.index, secret=key.seed, random=random)
    sealed = recipient.seal(opening.encode(), seal_info("opening", place))
    statement = SourceStatement(
        terms=terms,
        srs=commitment.srs.digest,
        n=tile.n,
        universe=tile.universe,
        tile=tile.index,
        opening_digest=opening.digest,
        ciphertext_digest=hashlib.sha256(sealed).digest(),
        C=opening.commit(commitment),
    )
    message = envelope.sign(statement, [key])
    row_proof = None if allowed is None else rows.prove(opening, allowed, message.digest, commitment)
    return PublishedStatement(message, sealed, row_proof)


def make_statements(
    terms: BookTerms,
    tiles: Sequence[Tile],
    lots: Sequence[int] | NDArray[np.int64],
    *,
    key: SigningKey,
    recipient: SealingPublicKey,
    commitment: CommitmentKey,
    allowed: Sequence[bytes | None] | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> list[PublishedStatement]:
    """One statement for every tile of the universe, from signed lots of every row."""
    masks = [None] * len(tiles) if allowed is None else allowed
    return [
        make_statement(terms, tile, q, key=key, recipient=recipient, commitment=commitment, allowed=mask, random=random)
        for tile, q, mask in zip(tiles, split(lots, tiles), masks, strict=True)
    ]


def check_opening(statement: SourceStatement, message: bytes, tile: Tile, commitment: CommitmentKey) -> Opening:
    """The opening behind a signed statement, or why it is none: each of these is evidence against the source.

    ProofRejected source.opening-digest (not what was signed; says nothing about the source), source.opening-malformed,
    source.opening-lots, source.opening-commitment.  PolicyError never: `tile` must be the statement's."""
    if hashlib.sha256(message).digest() != statement.opening_digest:
        raise ProofRejected("source.opening-digest", "not the opening message that the source signed")
    try:
        opening = Opening.decode(message)
    except DecodeError as e:
        raise ProofRejected("source.opening-malformed", f"the signed opening is malformed: {e.code}") from None
    if (tile.universe, tile.n, tile.index) != (statement.universe, statement.n, statement.tile):
        raise InputError("source.tile", "a tile of another universe, number of rows or index than the statement's")
    try:
        tile.check(opening.q)
    except RangeError as e:
        raise ProofRejected("source.opening-lots", f"the signed opening breaks the universe's bounds: {e.code}") from e
    if opening.commit(commitment) != statement.C:
        raise ProofRejected("source.opening-commitment", "the signed opening is not that of the signed commitment")
    return opening


def open_statement(
    published: PublishedStatement,
    tile: Tile,
    *,
    source_key: PublicKey,
    sealing_key: SealingKey,
    commitment: CommitmentKey,
) -> tuple[SourceStatement, Opening]:
    """What the institution does with a published statement before it uses it.

    ProofRejected signature.threshold, source.*; DecodeError sealing.open if the ciphertext is not for this account."""
    statement = envelope.open_signed(SourceStatement, published.message, [source_key])
    if statement.srs != commitment.srs.digest:
        raise ProofRejected("source.srs", "a statement over another structured reference string")
    if hashlib.sha256(published.sealed).digest() != statement.ciphertext_digest:
        raise ProofRejected("source.ciphertext", "not the sealed opening that the source signed")
    message = sealing_key.open(published.sealed, seal_info("opening", statement.place))
    return statement, check_opening(statement, message, tile, commitment)


def _place(srs: bytes, n: int, universe: bytes, tile: int) -> dict[str, Any]:
    return {"n": n, "protocol": PROTOCOL_NAME, "srs": srs.hex(), "tile": tile, "universe": universe.hex()}
