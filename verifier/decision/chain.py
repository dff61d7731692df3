"""How an attestation follows those before it, judged by a venue (protocol section 8, continuity).

A proof says nothing of the attestation before.  One without a valid proof could drop a pledge, or end it early, and a
valid one carry on from there; so the venue goes back along the chain, verifies every attestation it meets (signatures,
proofs, how each follows the one before), and stops

    accepted   at the one it accepted last, while that has not expired: what came before was verified then
    first      at the account's first
    limit      after as many as its policy says (`chain_limit`): the verdict says from which on it verified

It does not stop where one says that its predecessor expired: that predecessor may be the one without a proof, and have
been made to expire early.  What sources signed for earlier ones is not judged again, for pledges do not depend on it;
what they signed for the newest has to follow what they signed for the one before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from circuits.model import rows_for
from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.entry import ATTESTATION
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import Attestation
from marginseal.records.continuity import continuity_faults
from marginseal.records.envelope import Envelope
from marginseal.records.evidence import Told, sequence_faults
from marginseal.records.keys import PublicKey, Role
from marginseal.records.logged import LogKind
from marginseal.records.registry import VenueRegistry
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Statement
from verifier import log_attached
from verifier.batch import Item
from verifier.claims import compile_claims
from verifier.decision.accepted import Accepted
from verifier.decision.case import Case, OpenedEpoch
from verifier.decision.dossier import LoggedRecord
from verifier.log_entry import says_attestation


@dataclass(frozen=True)
class _Link:
    """An attestation of the chain, where the log has it and since when, and the venues' releases that came with it."""

    attestation: Attestation
    index: int | None
    logged_at: int
    releases: tuple[bytes, ...]

    @property
    def statement(self) -> Statement:
        return self.attestation.statement


def judge_chain(case: Case) -> None:
    """Adds the proofs of the chain to the case's items, and says how far back it goes."""
    accepted, statement = _standing(case), case.statement
    if accepted is not None and accepted.sequence >= statement.sequence:
        same = (accepted.sequence, accepted.statement) == (statement.sequence, statement.digest)
        case.found.require(same, "decide.accepted", "the venue accepted another attestation at this place, or a later")
        _say(case, statement.sequence, "accepted")
        return
    links = case.found.attempt(lambda: [_link(case, record) for record in case.dossier.chain])
    if links is None or not _reaches(case, links, accepted):
        return
    stop = _stop(case, links, accepted)
    if stop is None:
        return
    newest = _Link(case.attestation, case.index, case.logged_at, case.dossier.releases)
    named = _Named(case)
    for before, after in pairwise([*links, newest]):
        case.found.all(case.found.attempt(lambda b=before, a=after: _faults(case, named, b, a)) or [])  # type: ignore[misc]
    if links:
        case.found.all(_sequence_faults(case, links[-1]))
    for link in links[1:] if stop == "accepted" else links:
        case.found.attempt(lambda it=link: _verify(case, named, it))  # type: ignore[misc]
    _say(case, (links[0] if links else newest).statement.sequence, stop)


def _standing(case: Case) -> Accepted | None:
    """What the venue accepted, if it still counted on it at the cut: an expired pledge protects nobody."""
    accepted = case.accepted
    return None if accepted is None or accepted.expires <= case.statement.cut_time else accepted


def _say(case: Case, sequence: int, why: str) -> None:
    case.facts["chain"] = {"verified_from": sequence, "because": why}


def _link(case: Case, record: LoggedRecord) -> _Link:
    """PolicyError decide.previous for an entry that is not that of its attestation."""
    attestation, logged = Attestation.decode(record.envelope), case.logged(record, ATTESTATION)
    if not says_attestation(logged.leaf, attestation.statement):
        raise PolicyError("decide.previous", "a predecessor is logged as another attestation than it is")
    return _Link(attestation, logged.index, logged.leaf.time, record.releases)


def _reaches(case: Case, links: Sequence[_Link], accepted: Accepted | None) -> bool:
    """Whether the chain is whole up to the newest, and goes back as far as it has to."""
    statement = case.statement
    first = links[0].statement.sequence if links else statement.sequence
    whole = [link.statement.sequence for link in links] == list(range(first, statement.sequence))
    back = max(1, statement.sequence - case.policy.chain_limit, 0 if accepted is None else accepted.sequence)
    reaches = whole and first <= back
    case.found.require(reaches, "decide.previous", "the attestations before it are not at hand")
    return reaches


def _stop(case: Case, links: Sequence[_Link], accepted: Accepted | None) -> str | None:
    """Why the chain ends where it does; None, and a reason, if the venue's own memory contradicts it."""
    if accepted is None:
        return "limit" if links and links[0].statement.sequence > 1 else "first"
    remembered = next((x.statement for x in links if x.statement.sequence == accepted.sequence), None)
    if remembered is None:
        message = f"the venue accepted {accepted.sequence} last: further back than its policy verifies"
        case.found.require(False, "decide.chain", message)
        return None
    same = remembered.digest == accepted.statement
    case.found.require(same, "decide.accepted", "the venue accepted another attestation at this place")
    return "accepted" if same else None


@dataclass
class _Named:
    """What the attestations of a chain name: epochs and venue registries by digest, opened once."""

    case: Case

    @cached_property
    def opened(self) -> dict[bytes, OpenedEpoch]:
        dossier = self.case.dossier
        pairs = [(dossier.epoch, dossier.epoch_records), *dossier.chain_epochs]
        opened = [self.case.open_epoch(data, records) for data, records in pairs]
        return {one.epoch.digest: one for one in opened}

    @cached_property
    def venues(self) -> dict[bytes, VenueRegistry]:
        opened = [self.case.open(VenueRegistry, record, LogKind.VENUE_REGISTRY) for record in self._venue_records]
        return {digest: registry for registry, digest in opened}

    @property
    def _venue_records(self) -> tuple[LoggedRecord, ...]:
        dossier = self.case.dossier
        return (dossier.venue_registry, *dossier.chain_venue_registries)

    def check_earlier(self, link: _Link) -> None:
        """The log had what an attestation names before it had that: else nobody could verify it when it came."""
        opened = self.opened.get(link.statement.epoch)
        if opened is not None:
            self.case.earlier(self.case.logged(opened.record, LogKind.EPOCH), link.index, LogKind.EPOCH)
        for record in self._venue_records:
            if hashlib.sha256(record.envelope).digest() == link.statement.venue_registry:
                self.case.earlier(self.case.logged(record, LogKind.VENUE_REGISTRY), link.index, LogKind.VENUE_REGISTRY)

    def epoch(self, digest: bytes) -> RiskEpoch:
        if digest not in self.opened:
            raise PolicyError("decide.previous", "a predecessor's epoch is not at hand")
        return self.opened[digest].epoch

    def rows(self, statement: Statement) -> int:
        """n of the circuits on its epoch."""
        return rows_for(self.epoch(statement.epoch).instruments)


def _faults(case: Case, named: _Named, before: _Link, after: _Link) -> list[MarginSealError]:
    return list(
        continuity_faults(
            after.statement,
            before.statement,
            n=named.rows(after.statement),
            previous_n=named.rows(before.statement),
            registries=named.venues,
            releases={e.digest: e for e in map(Envelope.decode, after.releases)},
            ring=case.ring,
            logged=after.logged_at,
        )
    )


def _sequence_faults(case: Case, before: _Link) -> Iterator[MarginSealError]:
    """How what sources signed for the newest follows what they signed for the one before it."""

    def told(messages: Iterable[bytes]) -> Callable[[bytes], Told | None]:
        return dict(log_attached.told(map(PublishedStatement.decode, messages))).get

    dossier = case.dossier
    yield from sequence_faults(case.statement, before.statement, told(dossier.messages), told(dossier.messages_before))


def _verify(case: Case, named: _Named, link: _Link) -> None:
    """Signatures of an earlier attestation; its proofs go to those of the newest."""
    statement = link.statement
    named.check_earlier(link)
    case.ring.accept(link.attestation.verify_signatures, case.policy.trust.provers, link.logged_at)
    owner = PublicKey(Role.ACCOUNT, statement.account_key)
    if owner not in case.ring.in_force([owner], link.logged_at):  # its successor may be, and did not sign
        raise PolicyError("keys.not-in-force", "a predecessor's account key was not in force when it was logged")
    venues = named.venues.get(statement.venue_registry)
    if venues is None:
        raise PolicyError("decide.previous", "a predecessor's venue registry is not at hand")
    epoch = named.epoch(statement.epoch)
    compiled = compile_claims(statement, link.attestation.body.rules, epoch, venues=len(venues.venues))
    for i, (one, proof) in enumerate(zip(compiled, link.attestation.proofs, strict=True)):
        case.items.append((f"attestation {statement.sequence}: ", Item(one.circuit, statement, proof, i)))
