"""Section 10, the pledges again: a pledge that falls in an attestation nobody looks at, and what a venue looks at.

The proofs of an attestation say nothing of those before it.  A prover that signs without a proof can lower a pledge in
one attestation and prove the next, which only carries on; so a venue verifies the chain back to what it accepted last.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import MarginSealError
from marginseal.log.publish import attestation_entry, publish_record
from marginseal.log.receipt import Receipt
from marginseal.records.attestation import make_attestation, sign_statement
from marginseal.records.envelope import sign
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from marginseal.records.statement import Continuity
from tests.records.world import key
from tests.simulator.parties import both_say, restated, signed_anyway
from tests.simulator.world import OPERATOR, PLEDGES, SOURCES, Fund, World, policy, proofs_of, setting, venue_registry
from verifier.decision.accepted import Accepted, AcceptedMemory
from verifier.decision.decide import decide
from verifier.decision.verdict import Verdict


def drops_unproven(fund: Fund, pledges: dict[str, int]) -> None:
    """The next of the chain, linked, with other pledges and nobody's release, under the proof that none fell."""
    published = [p for s in SOURCES for p in fund.publish(s)]
    submission, honest = fund.submission(published, pledges=pledges), fund.submission(published, pledges=PLEDGES)
    assert submission.statement.continuity == Continuity.LINKED
    signed_anyway(fund, submission, proofs_of(honest, fund.world.epochs[-1], 3), published)


def ends_early_unproven(fund: Fund) -> None:
    """One without a proof that expires at once, then a real one that says its predecessor expired."""
    world, first = fund.world, fund.history[-1]
    published = [p for s in SOURCES for p in fund.publish(s)]
    short = fund.submission(published, change=restated(expiry=world.now + 30))
    signed_anyway(fund, short, first.attestation.proofs, published)
    world.now += 60
    published = [p for s in SOURCES for p in fund.publish(s)]
    alone = replace(fund, history=[]).submission(published, pledges={"venue-a": 3_000})
    statement = restated(sequence=3, prev=short.statement.digest, continuity=Continuity.EXPIRED)(alone.statement)
    submission = replace(alone, statement=statement, owner=sign_statement(statement, fund.key))
    signed_anyway(fund, submission, proofs_of(submission, world.epochs[-1], 3), published)


def verdict(world: World, fund: Fund, accepted: Accepted | None = None, **changes: Any) -> Verdict:
    """What venue-a says of the newest, remembering what it accepted."""
    chosen = policy(**changes)
    dossier = world.dossier(fund, accepted=accepted, chain_limit=chosen.chain_limit)
    return decide(dossier, chosen, now=world.now + 1, setting=setting(), accepted=accepted)


def codes(found: Verdict) -> list[str]:
    return [code for code, _ in found.reasons]


def rounds(world: World, fund: Fund, count: int) -> None:
    for _ in range(count):
        fund.attest()
        world.now += 60


def test_10_a_pledge_dropped_in_the_attestation_before(world: World, fund: Fund, tmp_path: Path) -> None:
    """venue-b's surplus goes to venue-a in an attestation without a proof; the one after it is valid, and 'same'."""
    rounds(world, fund, 1)
    drops_unproven(fund, {"venue-a": 3_000})
    world.now += 60
    fund.attest()
    assert both_say(world, fund, tmp_path) == (["verify.pairing"], ["verify.pairing"])
    (_, message) = verdict(world, fund).reasons[0]
    assert message.startswith("attestation 2: ")
    # Who accepted the first sees the same; who looks no further back than one sees it still.
    assert codes(verdict(world, fund, Accepted.of(fund.history[0].statement))) == ["verify.pairing"]
    assert codes(verdict(world, fund, chain_limit=1)) == ["verify.pairing"]


def test_10_a_pledge_dropped_further_back_than_the_policy_looks(world: World, fund: Fund) -> None:
    """It is accepted, and the verdict says from where on it was verified; a venue that remembers is not taken in."""
    rounds(world, fund, 1)
    drops_unproven(fund, {"venue-a": 3_000})
    world.now += 60
    rounds(world, fund, 3)
    stranger = verdict(world, fund, chain_limit=2)
    assert stranger.accepted
    assert stranger.facts["chain"] == {"verified_from": 3, "because": "limit"}
    mine = Accepted.of(fund.history[0].statement)
    assert codes(verdict(world, fund, mine, chain_limit=2)) == ["decide.chain"]
    assert codes(verdict(world, fund, mine)) == ["verify.pairing"]


def test_10_a_pledge_ended_by_an_attestation_that_expires_early(world: World, fund: Fund, tmp_path: Path) -> None:
    """The chain does not begin anew where an attestation says that its predecessor has expired."""
    rounds(world, fund, 1)
    ends_early_unproven(fund)
    venue, auditor = both_say(world, fund, tmp_path)
    assert set(venue) == set(auditor) == {"continuity.shortened", "verify.pairing"}


def test_10_an_attestation_before_by_a_prover_nobody_knows(world: World, fund: Fund, tmp_path: Path) -> None:
    rounds(world, fund, 1)
    made = fund.attest(log=False)
    body = made.attestation.body
    stranger = key(Role.PROVER, "stranger")
    other = make_attestation(made.statement, body.owner, body.rules, body.proofs, stranger)
    world.append(replace(made, attestation=other))
    fund.accept(made)
    world.now += 60
    fund.attest()
    assert both_say(world, fund, tmp_path) == (["signature.threshold"], ["signature.threshold"])


def test_a_venue_looks_back_to_what_it_accepted(world: World, fund: Fund) -> None:
    """Or to the first, or as far as its policy goes; and says which."""
    rounds(world, fund, 4)
    first, last = fund.history[0].statement, fund.history[-1].statement
    assert verdict(world, fund).facts["chain"] == {"verified_from": 1, "because": "first"}
    assert verdict(world, fund, chain_limit=3).facts["chain"] == {"verified_from": 1, "because": "first"}
    assert verdict(world, fund, chain_limit=2).facts["chain"] == {"verified_from": 2, "because": "limit"}
    assert verdict(world, fund, Accepted.of(first)).facts["chain"] == {"verified_from": 1, "because": "accepted"}
    again = verdict(world, fund, Accepted.of(last))
    assert again.accepted
    assert again.facts["chain"] == {"verified_from": 4, "because": "accepted"}
    assert len(world.dossier(fund, accepted=Accepted.of(fund.history[2].statement)).chain) == 1


def test_what_expired_is_no_anchor(world: World, fund: Fund) -> None:
    """A venue that counts on nothing any more is a stranger to the account."""
    rounds(world, fund, 2)
    past = Accepted(1, bytes(32), fund.history[-1].statement.cut_time)
    assert verdict(world, fund, past, chain_limit=1).accepted
    now = replace(past, expires=past.expires + 1)
    assert codes(verdict(world, fund, now)) == ["decide.accepted"]


def test_what_contradicts_the_venues_memory_is_refused(world: World, fund: Fund) -> None:
    """Another statement at a place where it accepted one, or a chain that ends before it: the log forked."""
    rounds(world, fund, 3)
    for sequence in (2, 3):
        mine = replace(Accepted.of(fund.history[sequence - 1].statement), statement=bytes(32))
        assert codes(verdict(world, fund, mine)) == ["decide.accepted"]
    ahead = replace(Accepted.of(fund.history[-1].statement), sequence=4)
    assert codes(verdict(world, fund, ahead)) == ["decide.accepted"]


def test_a_chain_with_a_gap_is_none(world: World, fund: Fund) -> None:
    rounds(world, fund, 4)
    dossier = world.dossier(fund)
    for chain in ((), dossier.chain[1:], dossier.chain[:-1], dossier.chain[:1] + dossier.chain[2:],
                  tuple(reversed(dossier.chain)), (*dossier.chain, dossier.chain[-1])):  # fmt: skip
        found = decide(replace(dossier, chain=chain), policy(), now=world.now + 1, setting=setting())
        assert codes(found) == ["decide.previous"]


def test_a_predecessor_that_is_logged_as_something_else(world: World, fund: Fund) -> None:
    """The same bytes stand in the log under another account: when those were taken says nothing of this chain."""
    rounds(world, fund, 2)
    first = fund.history[0].attestation
    entry = replace(attestation_entry(first, [world.log.put_object(x) for x in fund.history[0].objects]), books=())
    at = world.log.append(replace(entry, account="fund-9"), now=world.now)
    fund.attest()
    dossier = world.dossier(fund)
    receipt = world.log.receipt(at, Receipt.decode(dossier.receipt).note)
    changed = replace(dossier, chain=(replace(dossier.chain[0], receipt=receipt), dossier.chain[1]))
    assert codes(decide(changed, policy(), now=world.now + 1, setting=setting())) == ["decide.previous"]


def test_what_the_attestations_before_name_is_needed(world: World, fund: Fund) -> None:
    """Their epochs and venue registries, from the log, signed."""
    rounds(world, fund, 1)
    world.epoch("two", "1.001")
    world.venues = sign(venue_registry(2), [OPERATOR])
    publish_record(world.log, LogKind.VENUE_REGISTRY, world.venues, now=world.now)
    rounds(world, fund, 1)
    assert verdict(world, fund).accepted
    dossier = world.dossier(fund)
    ((epoch, (record,)),), (venues,) = dossier.chain_epochs, dossier.chain_venue_registries
    for changed, code in (
        (replace(dossier, chain_epochs=()), "decide.previous"),
        (replace(dossier, chain_epochs=((epoch[:-8], (record,)),)), "epoch.length"),
        (replace(dossier, chain_epochs=((dossier.epoch, (record,)),)), "epoch-record.other"),
        (replace(dossier, chain_venue_registries=()), "continuity.registry"),
        (replace(dossier, chain_venue_registries=(replace(venues, receipt=record.receipt),)), "log.payload"),
    ):
        assert code in codes(decide(changed, policy(), now=world.now + 1, setting=setting()))


def test_what_was_accepted_is_remembered_in_a_file(tmp_path: Path) -> None:
    memory, one, two = AcceptedMemory(tmp_path / "accepted"), Accepted(3, bytes(32), 99), Accepted(1, b"\1" * 32, 5)
    assert memory.last("fund-1") is None
    memory.store("fund-1", one)
    memory.store("fund-2", two)
    again = AcceptedMemory(tmp_path / "accepted")
    assert (again.last("fund-1"), again.last("fund-2"), again.last("fund-3")) == (one, two, None)
    for noise in (b"", b"[]", b"{}", b'{"format": "marginseal-accepted-1", "accounts": {"a": {}}}'):
        (tmp_path / "accepted").write_bytes(noise)
        with pytest.raises(MarginSealError):
            again.last("fund-1")
