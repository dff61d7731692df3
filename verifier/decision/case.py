"""One decision of a venue: what is given, what is found, and what the log says under the one checkpoint it rests on.

`decide` opens a case and lets each part of the judgement work on it (`epoch`, `sources`, `chain`); reasons are
gathered, so the parts go on after a failure wherever that still makes sense.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.log.client import Logged, Newest, verify_newest, verify_receipt
from marginseal.market.epoch import RiskEpoch
from marginseal.market.epoch import decode as decode_epoch
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope, Record
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyRing, ring_of
from marginseal.records.logged import LogKind
from marginseal.records.statement import Statement
from verifier.batch import Item
from verifier.decision.accepted import Accepted
from verifier.decision.dossier import Dossier, LoggedEpoch, LoggedRecord
from verifier.decision.verdict import Findings
from verifier.log_entry import says_attestation
from verifier.policy import Policy
from verifier.verify import Setting

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class OpenedEpoch:
    """An epoch, what its operator signed about it, and the record that counts."""

    epoch: RiskEpoch
    said: EpochRecord
    record: LoggedEpoch


@dataclass
class Case:
    """accepted: what this venue accepted last of the account, if it remembers; items: the proofs to verify, with whose
    they are in words."""

    dossier: Dossier
    policy: Policy
    now: int
    setting: Setting
    attestation: Attestation
    accepted: Accepted | None = None
    found: Findings = field(default_factory=Findings)
    facts: dict[str, Any] = field(default_factory=dict)
    items: list[tuple[str, Item]] = field(default_factory=list)

    @property
    def statement(self) -> Statement:
        return self.attestation.statement

    @cached_property
    def newest(self) -> Newest | None:
        """Where the log has the attestation; None, and a reason, if it is not shown to be the account's newest."""
        return self.found.attempt(self._newest)

    @property
    def index(self) -> int | None:
        """The entry of the attestation, if the log is shown to have it."""
        return None if self.newest is None else self.newest.logged.index

    @property
    def logged_at(self) -> int:
        """When the log took the attestation; the present moment for one that it is not shown to have."""
        return self.now if self.newest is None else self.newest.logged.leaf.time

    @cached_property
    def ring(self) -> KeyRing:
        """Which keys count when, by all changes and revocations in the tree that has the attestation."""
        records = []
        for record in self.dossier.keys:
            logged = self.found.attempt(lambda r=record: self.logged(r, LogKind.KEY_CHANGE, LogKind.KEY_REVOCATION))  # type: ignore[misc]
            if logged is not None:
                records.append((logged.index, logged.leaf.time, record.envelope))
        return ring_of(self.policy.trust.operators, [(time, data) for _, time, data in sorted(records)])

    def logged(self, record: LoggedRecord, *kinds: str) -> Logged:
        """When the log took a record, in the very tree that has the attestation.  Errors of `verify_receipt`."""
        logged = verify_receipt(record.receipt, record.envelope, self.policy.trust.log)
        tree = logged.signed.checkpoint
        newest = None if self.newest is None else self.newest.logged.signed.checkpoint
        same = newest is None or (tree.size, tree.root) == (newest.size, newest.root)
        self.found.require(same, "decide.checkpoint", f"{kinds[0]}: under another checkpoint than the attestation")
        self.found.require(logged.leaf.kind in kinds, "decide.leaf", f"{kinds[0]}: logged as another kind")
        return logged

    def open(self, kind: type[R], record: LoggedRecord, leaf: LogKind, *, named: bool = True) -> tuple[R, bytes]:
        """An operator's record, under the keys in force when the log took it, and its digest.

        named: the newest attestation names it, so that the log has to have it before that."""
        envelope, logged = Envelope.decode(record.envelope), self.logged(record, leaf)
        opened = self.ring.open(kind, envelope, self.policy.trust.operators, logged.leaf.time)
        if named:
            self.earlier(logged, self.index, leaf)
        return opened, envelope.digest

    def open_epoch(self, data: bytes, records: Sequence[LoggedEpoch]) -> OpenedEpoch:
        """The epoch, by the first of its records that an operator signed: anybody can have others logged before it."""
        epoch, first = decode_epoch(data), None
        for record in records:
            try:
                said, _ = self.open(EpochRecord, record, LogKind.EPOCH, named=False)
            except MarginSealError as e:
                first = first or e
                continue
            said.check(epoch)
            self.earlier(self.logged(record, LogKind.EPOCH), self.index, LogKind.EPOCH)
            return OpenedEpoch(epoch, said, record)
        raise first or PolicyError("decide.epoch", "no record of the epoch is at hand")

    def earlier(self, logged: Logged, before: int | None, kind: LogKind) -> None:
        """The log took a record before entry `before`, in which it is named."""
        early = before is None or logged.index < before
        self.found.require(early, "decide.later", f"{kind}: logged after the attestation that names it")

    def version(self, which: str, version: int, least: int) -> None:
        message = f"the {which} registry is version {version}; the venue takes {least} and later"
        self.found.require(version >= least, "decide.registry-version", message)

    def _newest(self) -> Newest:
        dossier, statement = self.dossier, self.statement
        if not dossier.receipt or not dossier.head:
            raise DecodeError("decide.log", "no receipt and head of the log: the attestation may not be logged")
        newest = verify_newest(
            dossier.receipt,
            dossier.head,
            dossier.attestation,
            self.policy.trust.log,
            account=statement.account,
            sequence=statement.sequence,
            statement_digest=statement.digest,
            now=self.now,
            max_age_s=self.policy.log_max_age_s,
        )
        if not says_attestation(newest.logged.leaf, statement):
            raise PolicyError("decide.leaf", "the attestation is logged as another than it is")
        return newest
