"""Rotation and revocation of keys as signed records, and the ring that follows from them.

A change names the holder, the new key and the moment; the new key signs it (its holder has it), and with it either
the key it replaces or the registry operator.  A revocation ends a key at a stated moment.  `KeyRing` takes these
records in the order in which the log has them and answers which key of a holder was good at a moment.  A signature
carries no proof of when it was made: those who rely on a moment take it from the log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from marginseal.errors import DecodeError, PolicyError
from marginseal.records import document
from marginseal.records.document import MAX_TIME, is_name
from marginseal.records.envelope import Envelope, open_signed, peek
from marginseal.records.keys import PublicKey, Purpose, Role

_MAX_BYTES = 4096


@dataclass(frozen=True)
class KeyChange:
    """From `effective` (unix seconds) on, the holder's key in its role is `new`, and `old` is no longer."""

    PURPOSE: ClassVar[Purpose] = Purpose.KEY_CHANGE

    holder: str
    old: PublicKey
    new: PublicKey
    effective: int

    def __post_init__(self) -> None:
        if not is_name(self.holder) or not 0 <= self.effective <= MAX_TIME:
            raise DecodeError("key-change.fields", "key change: a holder or time out of range")
        if self.old.role != self.new.role or self.old == self.new:
            raise DecodeError("key-change.keys", "key change: two different keys of one role")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "effective": self.effective,
                "holder": self.holder,
                "new": self.new.raw.hex(),
                "old": self.old.raw.hex(),
                "role": self.new.role.value,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        keys = ("effective", "holder", "new", "old", "role")
        top = document.decode(payload, what="key change", keys=keys, limit=_MAX_BYTES)
        role = top.choice("role", Role)
        old, new = PublicKey(role, top.hex("old", 32)), PublicKey(role, top.hex("new", 32))
        return cls(top.name("holder"), old, new, top.time("effective"))


@dataclass(frozen=True)
class KeyRevocation:
    """The holder's key counts for nothing from `revoked` (unix seconds) on."""

    PURPOSE: ClassVar[Purpose] = Purpose.KEY_REVOCATION

    holder: str
    key: PublicKey
    revoked: int

    def __post_init__(self) -> None:
        if not is_name(self.holder) or not 0 <= self.revoked <= MAX_TIME:
            raise DecodeError("key-revocation.fields", "key revocation: a holder or time out of range")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "holder": self.holder,
                "key": self.key.raw.hex(),
                "revoked": self.revoked,
                "role": self.key.role.value,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        keys = ("holder", "key", "revoked", "role")
        top = document.decode(payload, what="key revocation", keys=keys, limit=_MAX_BYTES)
        key = PublicKey(top.choice("role", Role), top.hex("key", 32))
        return cls(top.name("holder"), key, top.time("revoked"))


@dataclass(frozen=True)
class Tenure:
    """A holder's key from `start` until before `end`; None: still."""

    holder: str
    key: PublicKey
    start: int
    end: int | None = None

    def covers(self, moment: int) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)


@dataclass(frozen=True)
class KeyRing:
    """Who held which key when.  Begin with `KeyRing.of` keys that are trusted; `apply` gives the next ring."""

    tenures: tuple[Tenure, ...] = ()

    @classmethod
    def of(cls, keys: Iterable[tuple[str, PublicKey]], *, start: int = 0) -> KeyRing:
        """Holders and their first keys.  PolicyError keys.reused if a key has two holders."""
        ring = cls()
        for holder, key in keys:
            ring = ring._with(Tenure(holder, key, start))
        return ring

    def key_at(self, holder: str, role: Role, moment: int) -> PublicKey:
        """The holder's key in that role at that moment.  PolicyError keys.none."""
        for tenure in self.tenures:
            if (tenure.holder, tenure.key.role) == (holder, role) and tenure.covers(moment):
                return tenure.key
        raise PolicyError("keys.none", f"{holder} has no {role} key at that time")

    def apply(self, envelope: Envelope, *, logged: int, operators: Iterable[PublicKey]) -> KeyRing:
        """The ring after a signed change or revocation that the log took at `logged` (unix seconds).

        A change takes effect no earlier than it was logged.  A holder revokes from the logging on; only an operator
        may date a revocation back, or a holder could disown what it signed.
        DecodeError; ProofRejected signature.threshold; PolicyError keys.none, .reused, .overlap, .backdated."""
        operators = tuple(key for key in operators if key.role == Role.OPERATOR)
        if envelope.payload_type == Purpose.KEY_CHANGE:
            return self._change(envelope, logged, operators)
        return self._revoke(envelope, logged, operators)

    def _change(self, envelope: Envelope, logged: int, operators: tuple[PublicKey, ...]) -> KeyRing:
        change = peek(KeyChange, envelope)
        open_signed(KeyChange, envelope, [change.new])
        open_signed(KeyChange, envelope, [change.old, *operators])
        if change.effective < logged:
            raise PolicyError("keys.backdated", "a key change takes effect no earlier than it is logged")
        current = self._current(change.holder, change.old)
        if current.end is not None:
            # A key that was revoked or replaced cannot name a successor: only an operator may.
            open_signed(KeyChange, envelope, operators)
        end = change.effective if current.end is None else min(current.end, change.effective)
        ring = self._replace(current, replace(current, end=end))
        return ring._with(Tenure(change.holder, change.new, change.effective))

    def _revoke(self, envelope: Envelope, logged: int, operators: tuple[PublicKey, ...]) -> KeyRing:
        revocation = peek(KeyRevocation, envelope)
        signers = envelope.verify(Purpose.KEY_REVOCATION, [revocation.key, *operators])
        if revocation.revoked < logged and all(key == revocation.key for key in signers):
            raise PolicyError("keys.backdated", "only an operator dates a revocation back")
        current = self._current(revocation.holder, revocation.key)
        end = revocation.revoked if current.end is None else min(current.end, revocation.revoked)
        return self._replace(current, replace(current, end=max(end, current.start)))

    def _current(self, holder: str, key: PublicKey) -> Tenure:
        for tenure in self.tenures:
            if tenure.holder == holder and tenure.key == key:
                return tenure
        raise PolicyError("keys.none", f"{holder} never had this key")

    def _replace(self, old: Tenure, new: Tenure) -> KeyRing:
        return KeyRing(tuple(new if tenure is old else tenure for tenure in self.tenures))

    def _with(self, tenure: Tenure) -> KeyRing:
        if any(tenure.key.raw == other.key.raw for other in self.tenures):
            raise PolicyError("keys.reused", "a key has one holder and one role, once")
        for other in self.tenures:
            same = (other.holder, other.key.role) == (tenure.holder, tenure.key.role)
            if same and (other.end is None or (other.start < other.end and other.end > tenure.start)):
                raise PolicyError("keys.overlap", f"{tenure.holder} would have two {tenure.key.role} keys at once")
        return KeyRing((*self.tenures, tenure))
