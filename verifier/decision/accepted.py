"""What a venue accepted last of each account, in one small file of its own: how far back it has to look next time.

    {"format": "marginseal-accepted-1", "accounts": {account: {"expires", "sequence", "statement"}}}

Written after an acceptance alone.  Who can change the file can make this venue overlook a pledge that fell (it lies
beside the checkpoint the venue remembers, and deserves the same care); who loses it only has to look further back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from marginseal.errors import DecodeError, InputError
from marginseal.files import read_json, write_atomic
from marginseal.records.document import MAX_INTEGER, Members
from marginseal.records.statement import Statement

FORMAT = "marginseal-accepted-1"
_MEMBERS = ("expires", "sequence", "statement")
_MAX_BYTES = 2**24
_MAX_ACCOUNTS = 2**16


@dataclass(frozen=True)
class Accepted:
    """An attestation that the venue accepted: its place in the account's chain, statement digest, expiry."""

    sequence: int
    statement: bytes
    expires: int

    @classmethod
    def of(cls, statement: Statement) -> Accepted:
        return cls(statement.sequence, statement.digest, statement.expiry)


class AcceptedMemory:
    """The newest attestation accepted of each account, kept at `path`.  One process at a time writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def last(self, account: str) -> Accepted | None:
        """InputError accepted.*: a file that is there and says something else is never a fresh start."""
        return self._read().get(account)

    def store(self, account: str, accepted: Accepted) -> None:
        known = self._read() | {account: accepted}
        accounts = {
            name: {"expires": a.expires, "sequence": a.sequence, "statement": a.statement.hex()}
            for name, a in sorted(known.items())
        }
        write_atomic(self.path, json.dumps({"format": FORMAT, "accounts": accounts}, indent=1).encode() + b"\n")

    def _read(self) -> dict[str, Accepted]:
        if not self.path.exists():
            return {}
        try:
            body = read_json(self.path, what="accepted attestations", limit=_MAX_BYTES)
            top = Members(body, "accepted attestations", ("accounts", "format"))
            top.constant("format", FORMAT)
            out = {}
            for name, value in top.mapping("accounts", limit=_MAX_ACCOUNTS).items():
                one = Members(value, "accepted attestations", _MEMBERS)
                out[name] = Accepted(
                    one.integer("sequence", 1, MAX_INTEGER), one.hex("statement", 32), one.time("expires")
                )
            return out
        except DecodeError as e:
            raise InputError("accepted." + e.code, e.message) from None
