"""Single rows of a signed book, shown to an auditor (protocol section 8): an ordinary opening at a point of H.

The account opens a row of a source's commitment to whom it likes; it costs no blinder and reveals nothing else.  Rows
beyond the universe are refused by both sides.  Nobody opens a signed commitment outside H at another's request.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from marginseal.algebra import kzg
from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.curve import Curve
from marginseal.algebra.srs import SRS
from marginseal.errors import DecodeError, InputError, PolicyError, ProofRejected
from marginseal.records import document
from marginseal.records.document import canonical
from marginseal.records.opening import MAX_LOTS, Opening
from marginseal.records.source import SourceStatement
from marginseal.records.statement import POINT_BYTES

_KEYS = ("lots", "message", "row", "witness")


@dataclass(frozen=True)
class RowOpening:
    """message: digest of the signed source message; row: of the universe; lots: signed; witness: 48 bytes."""

    message: bytes
    row: int
    lots: int = field(repr=False)
    witness: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.message) != 32 or len(self.witness) != POINT_BYTES or not -MAX_LOTS < self.lots < MAX_LOTS:
            raise DecodeError("row-opening.fields", "row opening: a digest, witness or quantity that cannot be")

    def encode(self) -> bytes:
        return canonical(
            {
                "lots": str(self.lots),
                "message": self.message.hex(),
                "row": self.row,
                "witness": self.witness.hex(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> RowOpening:
        """DecodeError record.*, json.*, row-opening.*."""
        top = document.decode(data, what="row opening", keys=_KEYS, limit=4096)
        lots = top.decimal("lots", 1 - MAX_LOTS, MAX_LOTS - 1)
        return cls(top.hex("message", 32), top.integer("row"), lots, top.hex("witness", POINT_BYTES))


def open_row(
    opening: Opening, statement: SourceStatement, message_digest: bytes, row: int, rows: int, key: CommitmentKey
) -> RowOpening:
    """Row `row` of a universe of `rows` rows, from the opening of the tile that has it.

    InputError row-opening.row, row-opening.opening."""
    inner = _inner(statement, row, rows)
    if inner is None:
        raise InputError("row-opening.row", "the statement's tile does not have this row of the universe")
    if opening.commit(key) != statement.C:
        raise InputError("row-opening.opening", "not the opening of this statement")
    witness = kzg.open_row(key, opening.q, [opening.b_0], inner)
    return RowOpening(message_digest, row, int(opening.q[inner]), witness)


def verify_row(
    shown: RowOpening, statement: SourceStatement, message_digest: bytes, rows: int, *, srs: SRS, curve: Curve
) -> int:
    """The lots that the source signed on this row.  PolicyError row-opening.*, ProofRejected row-opening.opening."""
    if shown.message != message_digest:
        raise PolicyError("row-opening.message", "a row of another message")
    inner = _inner(statement, shown.row, rows)
    if inner is None:
        raise PolicyError("row-opening.row", "the statement's tile does not have this row of the universe")
    claim = kzg.row_opening(statement.n, statement.C, inner, shown.lots, shown.witness)
    if not kzg.verify_opening(claim, srs, curve):
        raise ProofRejected("row-opening.opening", "the commitment does not hold this quantity on this row")
    return shown.lots


def _inner(statement: SourceStatement, row: int, rows: int) -> int | None:
    """The row within the tile, or None."""
    inside = 0 <= row < rows and row // statement.n == statement.tile
    return row % statement.n if inside else None
