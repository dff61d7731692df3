"""Rotation and revocation of keys as signed records, and the ring that follows from them.

A change names the holder, the new key and the moment; the new key signs it (its holder has it), and with it either
the key it replaces or a risk operator.  A revocation ends a key at a stated moment.  `KeyRing` takes these records in
the order in which the log has them.  One rule follows, for every list of keys there is (a policy's, a registry's, a
manifest's, an oracle's):

    a listed key counts until its tenure ends, and within theirs its successors count in its place

so the list stays the authority: a source's successor speaks for the rows of its predecessor and no others, an account's
signs where the manifest names its predecessor.  When its tenure began is of no matter to a key that is listed itself:
anyone can make up a key for it to follow, and would disown all that it signed before.  Keys decide; the holder's name
is there for who reads the record.  A signature carries no proof of when it was made: those who rely on a moment take it
from the log.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self, TypeVar

from marginseal.errors import DecodeError, MarginSealError, PolicyError, ProofRejected
from marginseal.records import document
from marginseal.records.document import MAX_TIME, is_name
from marginseal.records.envelope import Envelope, Record, open_signed, peek
from marginseal.records.keys import PublicKey, Purpose, Role

_MAX_BYTES = 4096
R = TypeVar("R", bound=Record)
T = TypeVar("T")


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
    """A key from `start` until before `end` (None: still), unix seconds.

    old      the key it followed, None for one that was there first
    logged   when the log took the change; by: who signed it and might, beside the new key"""

    key: PublicKey
    start: int = 0
    end: int | None = None
    old: PublicKey | None = None
    logged: int = 0
    by: frozenset[PublicKey] = frozenset()

    def covers(self, moment: int) -> bool:
        return self.start <= moment and (self.end is None or moment < self.end)

    def meets(self, start: int) -> bool:
        """Whether it goes on at `start` or later."""
        return self.end is None or (self.start < self.end and self.end > start)


@dataclass(frozen=True)
class KeyRing:
    """Which key counts in whose place, and when.  Begin with `KeyRing(operators)`; `apply` gives the next ring.

    operators   risk operators' keys that whoever judges trusts: they, or their successors, may change and revoke any
    tenures     of the keys that some record concerns; every other key stands for itself, always"""

    operators: tuple[PublicKey, ...] = ()
    tenures: dict[PublicKey, Tenure] = field(default_factory=dict)

    def in_force(self, keys: Iterable[PublicKey], moment: int) -> tuple[PublicKey, ...]:
        """Those of the keys, and of their successors, that count at the moment."""
        keys = tuple(keys)

        def counts(key: PublicKey) -> bool:
            tenure = self.tenures.get(key, Tenure(key))
            return (replace(tenure, start=0) if key in keys else tenure).covers(moment)

        return tuple(key for key in self._line(keys) if counts(key))

    def accept(self, check: Callable[[Iterable[PublicKey]], T], keys: Iterable[PublicKey], moment: int) -> T:
        """What `check` makes of the keys in force for `keys`; what it raises where none of their line signed.

        PolicyError keys.not-in-force if one did whose time had ended, or not begun."""
        keys = tuple(keys)
        try:
            return check(self.in_force(keys, moment))
        except ProofRejected:
            check(tuple(self._line(keys)))
            raise PolicyError("keys.not-in-force", "signed with a key that was not in force at that time") from None

    def open(self, kind: type[R], envelope: Envelope, keys: Iterable[PublicKey], moment: int) -> R:
        """As `envelope.open_signed`, under the keys in force.  DecodeError, ProofRejected, PolicyError."""
        return self.accept(lambda given: open_signed(kind, envelope, given), keys, moment)

    def _line(self, keys: Iterable[PublicKey]) -> Iterator[PublicKey]:
        """The keys, each followed by its successors."""
        waiting, seen = list(keys), set[PublicKey]()
        while waiting:
            key = waiting.pop(0)
            if key not in seen:
                seen.add(key)
                yield key
                waiting += [t.key for t in self.tenures.values() if t.old == key]

    def apply(self, envelope: Envelope, *, logged: int) -> KeyRing:
        """The ring after a signed change or revocation that the log took at `logged` (unix seconds).

        A change takes effect once the second in which it was logged is over, and a key revokes itself from then on: of
        what the log took in that second nobody can tell by its time whether it came before, and a holder could disown
        what it signed.  Only another operator dates a revocation back.  What the key signed for since that
        date falls with it: the successors that it alone had named.
        DecodeError; ProofRejected signature.threshold; PolicyError keys.backdated, .reused, .overlap."""
        operators = self.in_force(self.operators, logged)
        if envelope.payload_type == Purpose.KEY_CHANGE:
            return self._change(envelope, logged, operators)
        return self._revoke(envelope, logged, operators)

    def after(self, records: Iterable[tuple[int, bytes]]) -> KeyRing:
        """The ring after records as a log has them, (when logged, bytes) in its order.

        One that its signers were not entitled to changes nothing: that it was logged is for the auditor to tell."""
        ring = self
        for logged, data in records:
            with contextlib.suppress(MarginSealError):
                ring = ring.apply(Envelope.decode(data), logged=logged)
        return ring

    def _change(self, envelope: Envelope, logged: int, operators: tuple[PublicKey, ...]) -> KeyRing:
        change = peek(KeyChange, envelope)
        old = self.tenures.get(change.old, Tenure(change.old))
        # A key that was revoked or replaced cannot name a successor: only an operator may.
        entitled = operators if old.end is not None else (change.old, *operators)
        envelope.verify(Purpose.KEY_CHANGE, [change.new])
        by = frozenset(envelope.verify(Purpose.KEY_CHANGE, [key for key in entitled if key != change.new]))
        if change.effective < logged:
            raise PolicyError("keys.backdated", "a key change takes effect no earlier than it is logged")
        if any(key.raw == change.new.raw for key in self.tenures):
            raise PolicyError("keys.reused", "a key has one holder and one role, once")
        effective = max(change.effective, logged + 1)
        if any(t.key != change.old and t.meets(effective) for t in self._kin(change.old)):
            raise PolicyError("keys.overlap", f"{change.holder} would have two {change.new.role} keys at once")
        old = replace(old, end=effective if old.end is None else min(old.end, effective))
        new = Tenure(change.new, effective, None, change.old, logged, by)
        return replace(self, tenures=self.tenures | {old.key: old, new.key: new})

    def _kin(self, key: PublicKey) -> list[Tenure]:
        """The tenures of one line: from the first key on, whatever it was followed by."""
        while key in self.tenures and (before := self.tenures[key].old) is not None:
            key = before
        return [self.tenures[k] for k in self._line([key]) if k in self.tenures]

    def _revoke(self, envelope: Envelope, logged: int, operators: tuple[PublicKey, ...]) -> KeyRing:
        revocation = peek(KeyRevocation, envelope)
        signers = envelope.verify(Purpose.KEY_REVOCATION, [revocation.key, *operators])
        moment = revocation.revoked
        if all(key == revocation.key for key in signers):
            moment = max(moment, logged + 1)
        tenures = dict(self.tenures)
        old = tenures.get(revocation.key, Tenure(revocation.key))
        end = moment if old.end is None else min(old.end, moment)
        tenures[old.key] = replace(old, end=end)
        if moment < logged:
            _strike(tenures, old.key, moment)
        return replace(self, tenures=tenures)


def _strike(tenures: dict[PublicKey, Tenure], key: PublicKey, moment: int) -> None:
    """Take the key's word from every change that was logged at the moment or later."""
    for tenure in list(tenures.values()):
        if key in tenure.by and tenure.logged >= moment:
            left = tenure.by - {key}
            tenures[tenure.key] = replace(tenure, by=left, end=tenure.end if left else tenure.start)
            if not left:
                _strike(tenures, tenure.key, 0)


def ring_of(operators: Iterable[PublicKey], records: Iterable[tuple[int, bytes]]) -> KeyRing:
    """The ring of who trusts these operators, after all that a log has of keys (`KeyRing.after`)."""
    return KeyRing(tuple(operators)).after(records)


NO_CHANGES = KeyRing()
"""The ring of who knows of no change: every key stands for itself, always."""
