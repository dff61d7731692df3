"""What the log says about one account: a signed head statement.

    marginseal account head v1
    <origin>
    account <account>
    sequence <sequence of its newest attestation>
    statement <base64(statement digest)>
    index <index of its entry>
    size <tree size>
    root <base64(root)>
    time <unix seconds>

A signed note of the log's key.  It says that among the first `size` entries, which were all there were at `time`, this
attestation is the account's newest.  Inclusion alone proves nothing of the kind; a log that signs a false head has
signed the evidence against itself, since anyone with the entries under (size, root) can show a newer one.
"""

from __future__ import annotations

from dataclasses import dataclass

from marginseal.errors import DecodeError
from marginseal.log.checkpoint import MAX_TIME, is_line, parse_number
from marginseal.log.merkle import HASH_BYTES, MAX_SIZE
from marginseal.log.note import Signer, decode_base64, encode_base64
from marginseal.records.wire import is_identifier

_FIRST_LINE = "marginseal account head v1"  # holds spaces, so that no origin of ours can be it
_FIELDS = ("account", "sequence", "statement", "index", "size", "root", "time")
_WHAT = "head"


@dataclass(frozen=True)
class HeadStatement:
    """At `time`, attestation `sequence` (entry `index`) was the newest of `account` in the tree (size, root)."""

    origin: str
    account: str
    sequence: int
    statement_digest: bytes
    index: int
    size: int
    root: bytes
    time: int

    def __post_init__(self) -> None:
        names = is_line(self.origin) and is_identifier(self.account)
        digests = len(self.statement_digest) == HASH_BYTES and len(self.root) == HASH_BYTES
        numbers = 1 <= self.sequence < 2**63 and 0 <= self.index < self.size <= MAX_SIZE and 0 <= self.time <= MAX_TIME
        if not (names and digests and numbers):
            raise DecodeError("head.malformed", "a head statement's field is out of range")

    @property
    def text(self) -> str:
        statement, root = encode_base64(self.statement_digest), encode_base64(self.root)
        values = (self.account, self.sequence, statement, self.index, self.size, root, self.time)
        lines = [f"{field} {value}\n" for field, value in zip(_FIELDS, values, strict=True)]
        return f"{_FIRST_LINE}\n{self.origin}\n" + "".join(lines)

    def sign(self, signer: Signer) -> bytes:
        return signer.sign(self.text).encode()

    @classmethod
    def parse(cls, text: str) -> HeadStatement:
        """The text of a note -> HeadStatement, and `parse(t).text == t`.  DecodeError head.malformed."""
        lines = text.split("\n")
        if len(lines) != len(_FIELDS) + 3 or lines[0] != _FIRST_LINE or lines[-1] != "":
            raise DecodeError("head.malformed", "not a head statement")
        values = []
        for field, line in zip(_FIELDS, lines[2:-1], strict=True):
            name, space, value = line.partition(" ")
            if name != field or not space:
                raise DecodeError("head.malformed", f"a head statement lacks its {field}")
            values.append(value)
        account, sequence, statement, index, size, root, time = values
        return cls(
            lines[1],
            account,
            parse_number(sequence, 2**63 - 1, _WHAT),
            decode_base64(statement, code="head.malformed", what="head statement digest"),
            parse_number(index, MAX_SIZE, _WHAT),
            parse_number(size, MAX_SIZE, _WHAT),
            decode_base64(root, code="head.malformed", what="head root"),
            parse_number(time, MAX_TIME, _WHAT),
        )
