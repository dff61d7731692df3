"""The account record: who an account is, which key signs for it, and which key openings are sealed to.

Signed by the key it names.  A later version is signed by the key of the version before (`check_succession`); what
statements a key may sign is the manifest's to say, the record is where sources find the sealing key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from marginseal.errors import DecodeError, PolicyError
from marginseal.records import document
from marginseal.records.document import MAX_INTEGER, is_name
from marginseal.records.envelope import Envelope, open_signed, peek
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import PublicKey, Purpose, Role
from marginseal.records.sealing import PUBLIC_BYTES, SealingPublicKey

_KEYS = ("account", "key", "sealing_key", "version")


@dataclass(frozen=True)
class AccountRecord:
    """account: its id; key: its Ed25519 key; sealing_key: X-Wing; version: from 1."""

    PURPOSE: ClassVar[Purpose] = Purpose.ACCOUNT

    account: str
    key: PublicKey
    sealing_key: SealingPublicKey
    version: int = 1

    def __post_init__(self) -> None:
        if not is_name(self.account) or self.key.role != Role.ACCOUNT or not 1 <= self.version <= MAX_INTEGER:
            raise DecodeError("account.fields", "account record: a name, key or version that cannot be")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "account": self.account,
                "key": self.key.raw.hex(),
                "sealing_key": document.encode_base64(self.sealing_key.raw),
                "version": self.version,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, account.*, key.*, sealing.*."""
        top = document.decode(payload, what="account record", keys=_KEYS, limit=4096)
        return cls(
            top.name("account"),
            PublicKey(Role.ACCOUNT, top.hex("key", 32)),
            SealingPublicKey(top.base64("sealing_key", limit=PUBLIC_BYTES)),
            top.integer("version", 1),
        )


def open_account(
    envelope: Envelope, *, previous: AccountRecord | None = None, ring: KeyRing = NO_CHANGES, logged: int = 0
) -> AccountRecord:
    """A record signed by the key it names and, after the first, by the key before it as `ring` has it when logged.

    Whether the first record is the right one is what the relying party knows: it is pinned, or read from the log.
    DecodeError; ProofRejected signature.threshold; PolicyError account.succession, keys.not-in-force."""
    record = peek(AccountRecord, envelope)
    open_signed(AccountRecord, envelope, [record.key])
    if previous is None:
        if record.version != 1:
            raise PolicyError("account.succession", "account record: not the first, and its predecessor is not given")
        return record
    if (record.account, record.version) != (previous.account, previous.version + 1):
        raise PolicyError("account.succession", "account record: of another account, or not the next version")
    return ring.open(AccountRecord, envelope, [previous.key], logged)
