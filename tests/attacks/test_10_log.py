"""Section 10, the rows about the log, the pledges, the epochs and the prover: each attack tried in the simulator."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import MarginSealError, PolicyError, ProofRejected
from marginseal.log.bundle import Bundle
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.export import export_bundle
from marginseal.log.log import Log
from marginseal.log.memory import CheckpointMemory
from marginseal.log.policy import LogPolicy
from marginseal.log.publish import attestation_entry, publish_record
from marginseal.log.sql import open_sqlite
from marginseal.log.witness import Witness
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import RuleRef, sign_statement
from marginseal.records.envelope import sign
from marginseal.records.keychange import KeyRevocation
from marginseal.records.keys import Role
from marginseal.records.logged import LogKind
from marginseal.records.pledges import PledgeOpening, open_pledge, verify_pledge
from marginseal.records.statement import Continuity, Tier
from tests.log.support import ORIGIN, SIGNER, cosigner
from tests.log.support import POLICY as LOG_POLICY
from tests.records.world import key
from tests.simulator.parties import auditor_says, both_say, restated, signed_anyway, venue_says
from tests.simulator.world import (
    HOUR,
    LOTS,
    OPERATOR,
    PROVER,
    SOURCES,
    Attested,
    Fund,
    N,
    World,
    commitment,
    policy,
    policy_document,
    proofs_of,
    setting,
)
from verifier.decision.decide import decide
from verifier.replay.run import replay


def twice(world: World, fund: Fund) -> None:
    fund.attest()
    world.now += 60


def seen_by(world: World, fund: Fund) -> Any:
    """The checkpoint that a venue remembers after it decided."""
    note = world.log.checkpoint(now=world.now)
    return LOG_POLICY.verify(note)


# The chain of an account ------------------------------------------------------------------------------------------


def test_10_two_attestations_of_one_surplus_shown_to_two_venues(world: World, fund: Fund) -> None:
    """Another attestation of the same sequence, with all of the surplus pledged to somebody else."""
    fund.attest(pledges={"venue-a": 3_000})
    first = fund.history.pop()
    second = fund.attest(pledges={"venue-b": 3_000}, log=False)
    assert second.statement.sequence == first.statement.sequence == 1
    with pytest.raises(PolicyError) as e:
        world.append(second)
    assert e.value.code == "log.sequence-taken"


def forked(world: World, folder: Path) -> World:
    """The log shows another tree, signed with the same key, to somebody else."""
    world.log.checkpoint(now=world.now)
    shutil.copytree(folder / "log", folder / "fork")
    log = Log(open_sqlite(folder / "fork" / "log.db"), origin=ORIGIN, signer=SIGNER)
    return replace(world, log=log, epochs=list(world.epochs))


def two_faced(world: World, fund: Fund, folder: Path) -> tuple[World, Fund]:
    """One surplus in two trees of one log."""
    other = forked(world, folder)
    mine = fund.attest(pledges={"venue-a": 3_000})
    twin = replace(fund, world=other, history=[])
    twin.attest(pledges={"venue-b": 3_000})
    assert mine.statement.sequence == twin.history[-1].statement.sequence
    return other, twin


def test_10_log_equivocation_passes_unnoticed_without_witnesses_and_memory(
    world: World, fund: Fund, tmp_path: Path
) -> None:
    """What the next two tests take away: each venue alone is content with its own tree."""
    other, twin = two_faced(world, fund, tmp_path)
    assert venue_says(world, fund, "venue-a") == []
    assert venue_says(other, twin, "venue-b", listed_as="venue-b") == []


def test_10_log_equivocation_is_seen_by_who_remembers(world: World, fund: Fund, tmp_path: Path) -> None:
    """A venue that compared checkpoints with the other, or was on the other branch before, finds no proof between."""
    other, twin = two_faced(world, fund, tmp_path)
    seen = seen_by(world, fund)
    dossier = other.dossier(twin, "venue-b", seen=seen.checkpoint)
    found = decide(dossier, policy("venue-b"), now=world.now + 1, setting=setting(), seen=seen)
    assert [code for code, _ in found.reasons] == ["log.fork"]


def test_10_log_equivocation_needs_the_witnesses(world: World, fund: Fund, tmp_path: Path) -> None:
    """A witness cosigns one tree; the other lacks its signature."""
    cosigning = cosigner(1)
    watched = LogPolicy(ORIGIN, (SIGNER.key,))
    witness = Witness(cosigning, CheckpointMemory(tmp_path / "witness", watched))
    before = world.log.checkpoint(now=world.now)
    witness.cosign(before, [], now=world.now)
    size = witness.size()
    other, twin = two_faced(world, fund, tmp_path)
    mine, theirs = world.log.checkpoint(now=world.now), other.log.checkpoint(now=world.now)
    witness.cosign(mine, world.log.consistency(size, world.log.size()), now=world.now)
    with pytest.raises(ProofRejected) as e:
        witness.cosign(theirs, other.log.consistency(size, other.log.size()), now=world.now)
    assert e.value.code == "log.fork"
    asked = policy_document()["log"] | {"witnesses": [str(cosigning.key)], "threshold": 1}
    assert venue_says(other, twin, "venue-b", log=asked)[0] == "log.witnesses"


def test_10_the_log_rolls_back(world: World, fund: Fund, tmp_path: Path) -> None:
    """A newer attestation vanishes with the end of the log."""
    other = forked(world, tmp_path)
    fund.attest()
    seen = seen_by(world, fund)
    twin = replace(fund, world=other, history=[])
    other.append(fund.history[0])
    other.log.checkpoint(now=world.now)
    world.now += 60
    fund.attest()
    newer = seen_by(world, fund)
    twin.accept(fund.history[0])
    found = decide(other.dossier(twin), policy(), now=world.now + 1, setting=setting(), seen=newer)
    assert [code for code, _ in found.reasons] == ["log.rollback"]
    assert seen.checkpoint.size < newer.checkpoint.size
    # The auditor holds a checkpoint that the bundle does not reach.
    bundle = tmp_path / "short"
    export_bundle(other.log, bundle)
    data = (bundle / "checkpoints.bin").read_bytes() + len(newer.note).to_bytes(4, "big") + newer.note
    (bundle / "checkpoints.bin").write_bytes(data)
    text = (bundle / "bundle.json").read_text()
    count = Bundle(bundle).description.checkpoints
    (bundle / "bundle.json").write_text(text.replace(f'"checkpoints": {count}', f'"checkpoints": {count + 1}'))
    assert "log.truncated" in [f.code for f in replay(Bundle(bundle), policy().trust, workers=1).findings]


def test_10_the_log_backdates(world: World, fund: Fund, tmp_path: Path) -> None:
    """It takes an attestation as of a time before the cut, so that an epoch since superseded still counts."""
    world.now += 300
    attested = fund.attest(log=False)
    world.now -= 300
    world.append(attested)
    fund.accept(attested)
    assert "decide.backdated" in venue_says(world, fund, epoch_max_age_s=HOUR)
    assert "replay.backdated" in auditor_says(world, tmp_path)


def test_10_an_attestation_shown_after_its_successor_is_logged(world: World, fund: Fund) -> None:
    """The owner shows the one before, which pledged more; the log's head names the newer."""
    fund.attest(pledges={"venue-a": 3_000})
    old = world.dossier(fund)
    index = world.log.attestation(fund.name, 1)
    assert index is not None
    world.now += 60
    fund.attest(pledges={"venue-a": 1_500}, releases=[fund.release("venue-a")])
    fresh = world.dossier(fund)
    note = world.log.checkpoint(now=world.now, max_age_s=60)
    shown = replace(fresh, attestation=old.attestation, receipt=world.log.receipt(index.index, note), pledge=old.pledge)
    found = decide(shown, policy(), now=world.now + 1, setting=setting())
    assert "log.superseded" in [code for code, _ in found.reasons]
    # Inclusion alone, with the head of its own time, is good for as long as the venue lets a checkpoint be old.
    late = decide(old, policy(), now=world.now + 600, setting=setting())
    assert "log.stale" in [code for code, _ in late.reasons]


# Pledges ------------------------------------------------------------------------------------------------------------


def test_10_proofs_of_one_sequence_with_different_pledges(world: World, fund: Fund, tmp_path: Path) -> None:
    """Two claims, each proven over a pledge commitment of its own: there is one statement, and one of them fails."""
    published = [p for s in SOURCES for p in fund.publish(s)]
    rules = [RuleRef("worst_case"), RuleRef("worst_case")]
    mine = fund.submission(published, rules=rules, pledges={"venue-a": 2_000})
    other = fund.submission(published, rules=rules, pledges={"venue-a": 9_000})
    proofs = [proofs_of(mine, world.epochs[-1], 3)[0], proofs_of(other, world.epochs[-1], 3)[1]]
    signed_anyway(fund, mine, proofs, published)
    assert both_say(world, fund, tmp_path) == (["verify.pairing"], ["verify.pairing"])


def test_10_telling_two_venues_they_are_the_same_row(world: World, fund: Fund) -> None:
    """venue-b is shown what row 0 holds, and told it is its own; it reads its row in the registry."""
    fund.attest(pledges={"venue-a": 3_000, "venue-b": 1})
    newest, registry = fund.history[-1], world.listed_venues
    opening = open_pledge(newest.schedule, newest.statement, registry, "venue-a", commitment())
    told = replace(opening, venue="venue-b")
    statement = newest.statement
    with pytest.raises(ProofRejected) as e:
        verify_pledge(
            told, statement, registry, statement.venue_registry, "venue-b", N, srs=setting().srs, curve=setting().curve
        )
    assert e.value.code == "pledge.opening"
    dossier = replace(world.dossier(fund, "venue-b"), pledge=told.encode())
    found = decide(dossier, policy("venue-b"), now=world.now + 1, setting=setting())
    assert [code for code, _ in found.reasons] == ["pledge.opening"]
    assert PledgeOpening.decode(told.encode()) == told


def test_10_silently_dropping_a_pledge(world: World, fund: Fund, tmp_path: Path) -> None:
    """The successor says that the commitment is the same, or that the one before expired; neither is so."""
    fund.attest()
    first = fund.history[-1]
    world.now += 60
    published = [p for s in SOURCES for p in fund.publish(s)]
    for continuity, code in ((Continuity.SAME, "continuity.pledge"), (Continuity.EXPIRED, "continuity.expired")):
        folder = tmp_path / code
        other = forked(world, tmp_path) if continuity == Continuity.SAME else world
        liar = replace(fund, world=other, history=[first])
        # The claim is compiled without a link, as a first attestation of these pledges would be.
        alone = replace(fund, history=[]).submission(published, pledges={"venue-a": 2_000})
        said = restated(
            sequence=2, prev=first.statement.digest, continuity=continuity, previous_pledge=None, releases=()
        )(alone.statement)
        submission = replace(alone, statement=said, owner=sign_statement(said, liar.key))
        signed_anyway(liar, submission, proofs_of(submission, world.epochs[-1], 3), published)
        assert both_say(other, liar, folder) == ([code], [code])


def test_10_dropping_a_pledge_on_a_row_without_a_release(world: World, fund: Fund, tmp_path: Path) -> None:
    """Linked, with venue-a's release, and venue-b's pledge falls: there is no proof."""
    fund.attest()
    world.now += 60
    with pytest.raises(MarginSealError) as e:
        fund.attest(pledges={"venue-a": 500}, releases=[fund.release("venue-a")])
    assert e.value.code.startswith(("witness", "prove", "rule"))
    # With both releases it has one, and the venues that signed know.
    fund.attest(pledges={"venue-a": 1_500}, releases=[fund.release("venue-a"), fund.release("venue-b")])
    assert both_say(world, fund, tmp_path) == ([], [])


def test_10_a_release_used_for_another_pledge(world: World, fund: Fund, tmp_path: Path) -> None:
    """A release of the first attestation's pledge does not free that of the second."""
    fund.attest()
    old = fund.release("venue-b")
    world.now += 60
    fund.attest()
    world.now += 60
    fund.attest(pledges={"venue-a": 2_000}, releases=[old])
    assert both_say(world, fund, tmp_path) == (["release.statement"], ["release.statement"])


def test_10_a_nonce_used_twice(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest()
    world.now += 60
    fund.attest(pledges={"venue-a": 2_000, "venue-b": 500}, releases=[fund.release("venue-b", nonce=9)])
    world.now += 60
    fund.attest(pledges={"venue-a": 2_000}, releases=[fund.release("venue-b", nonce=9)])
    assert auditor_says(world, tmp_path) == ["release.nonce"]


# Epochs -------------------------------------------------------------------------------------------------------------


def test_10_choosing_the_kindest_or_an_old_epoch(world: World, fund: Fund, tmp_path: Path) -> None:
    kind = world.epochs[-1]
    world.now += 30
    world.epoch("two", "0.98")
    world.now += 200
    fund.attest(epoch=kind)
    assert both_say(world, fund, tmp_path) == (["decide.epoch-newer"], ["replay.epoch-newer"])
    world.now += HOUR
    fund.attest(epoch=kind, pledges=None)
    venue, auditor = both_say(world, fund, tmp_path, epoch_max_age_s=HOUR)
    assert {"decide.epoch-age", "decide.epoch-expired", "decide.epoch-newer"} <= set(venue)
    assert "replay.epoch-expired" in auditor


def test_10_another_rule_or_a_disclosure_passed_off_as_attestation(world: World, fund: Fund) -> None:
    fund.attest(rules=[RuleRef("isolated")])
    assert venue_says(world, fund) == ["decide.rule"]
    # A disclosure of a band has no attestation to accompany, or is none whatever it discloses.
    world.now += 60
    with pytest.raises(PolicyError) as e:
        fund.attest(rules=[RuleRef("net_band")], inputs=(-100_000, 100_000))
    assert e.value.code == "claim.no-attestation"
    fund.attest(rules=[RuleRef("isolated"), RuleRef("net_band")], inputs=(-100_000, 100_000))
    band = {"name": "net_band", "parameters": {}, "tiers": ["initial"]}
    assert venue_says(world, fund, rules=[band]) == ["decide.rule"]


def test_10_a_lower_tier_passed_off(world: World, fund: Fund) -> None:
    fund.attest(tier=Tier.MAINTENANCE)
    assert venue_says(world, fund) == ["decide.rule"]


def test_10_another_rule_under_the_accepted_name(world: World, fund: Fund, tmp_path: Path) -> None:
    """The claim's circuit is that of `isolated`, the attestation says worst_case: everyone compiles for himself."""
    published = [p for s in SOURCES for p in fund.publish(s)]
    submission = fund.submission(published, rules=[RuleRef("isolated")])
    proofs = proofs_of(submission, world.epochs[-1], 3)
    signed_anyway(fund, replace(submission, rules=(RuleRef("worst_case"),)), proofs, published)
    assert both_say(world, fund, tmp_path) == (["claim.circuit"], ["claim.circuit"])


def favoured(epoch: RiskEpoch) -> RiskEpoch:
    """The operator halves every loss of one instrument."""
    pnl = epoch.pnl.copy()
    pnl[:, 4] //= 2
    return replace(epoch, pnl=pnl)


def test_10_a_matrix_that_favours_a_friend(tmp_path: Path) -> None:
    """Rightly signed and in bounds; it does not follow from its snapshot, and replay says so of the epoch's entry."""
    world = World.new(tmp_path / "log")
    world.epoch("one", change=favoured)
    fund = world.fund()
    fund.attest()
    assert venue_says(world, fund) == []
    assert auditor_says(world, tmp_path) == ["epoch-record.rebuild"]


def test_10_an_oracle_that_lies(tmp_path: Path) -> None:
    """Two of five move nothing; a third trips the breaker; what other oracles reported makes no snapshot of ours."""
    world = World.new(tmp_path / "log")
    honest = world.epoch("one")
    world.now += 1
    swayed = world.epoch("two", reports=world.reports(liars=("o1", "o2"), lie="1.015"))
    assert abs(int(swayed.value[2]) - int(honest.value[2])) * 1000 <= int(honest.value[2]) * 2
    high, low = world.reports(liars=("o1", "o2"), lie="1.5"), world.reports(liars=("o3",), lie="0.5")
    with pytest.raises(PolicyError) as e:
        world.epoch("three", reports=[*high[:2], *low[2:]])
    assert e.value.code == "oracle.breaker"
    # The operator takes reports of strangers: the venue's and the auditor's own oracles did not sign them.
    fund = world.fund()
    fund.attest()
    keys = {name: key(Role.ORACLE, f"another {name}").public.raw.hex() for name in ("o1", "o2", "o3", "o4", "o5")}
    oracles = policy_document()["oracles"] | {"keys": keys}
    venue, auditor = both_say(world, fund, tmp_path, oracles=oracles)
    assert venue == ["signature.threshold"]
    assert auditor == ["signature.threshold"] * 2


def test_10_development_srs_with_known_tau(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest()
    venue, auditor = both_say(world, fund, tmp_path, srs="11" * 32)
    assert (venue, auditor) == (["decide.srs"], ["replay.srs"])


# The prover ---------------------------------------------------------------------------------------------------------


def test_10_a_prover_that_signs_anything(world: World, fund: Fund, tmp_path: Path) -> None:
    """An unhealthy book under the proof of a healthy one, signed by all who sign."""
    fund.attest()
    good = fund.history[-1].attestation.proofs
    world.now += 60
    broke = LOTS | {"venue-b": [-1_800_000, 0, 0, 0, -15, 0, 0, 0, 0, -2]}
    published = [p for s in SOURCES for p in fund.publish(s, broke[s])]
    submission = fund.submission(published)
    signed_anyway(fund, submission, good, published)
    assert both_say(world, fund, tmp_path) == (["verify.pairing"], ["verify.pairing"])


def test_10_a_prover_whose_key_was_revoked(world: World, fund: Fund, tmp_path: Path) -> None:
    fund.attest()
    revocation = sign(KeyRevocation("prover-1", PROVER.public, world.now + 30), [OPERATOR])
    publish_record(world.log, LogKind.KEY_REVOCATION, revocation, now=world.now)
    world.now += 60
    fund.attest()
    assert auditor_says(world, tmp_path) == ["keys.not-in-force"]


def test_10_an_entry_that_says_something_else(world: World, fund: Fund, tmp_path: Path) -> None:
    """Who may append puts fund-1's attestation under another account: its chain would be taken."""
    attested: Attested = fund.attest(log=False)
    objects = [world.log.put_object(data) for data in attested.objects]
    entry = replace(attestation_entry(attested.attestation, objects), account="fund-9", books=())
    world.log.append(entry, now=world.now)
    assert "replay.entry" in auditor_says(world, tmp_path)
    assert Checkpoint.of(world.log.checkpoint(now=world.now)).size == world.log.size()


def test_10_an_attestation_logged_after_it_had_expired(world: World, fund: Fund, tmp_path: Path) -> None:
    """Kept back until it is worth nothing, it would still end continuity and the margin call."""
    attested = fund.attest(log=False)
    world.now += 25 * HOUR
    world.append(attested)
    fund.accept(attested)
    assert "replay.expired" in auditor_says(world, tmp_path)
    assert "decide.expired" in venue_says(world, fund)
