"""A venue's decision: every reason it can give, each from a dossier with one fault, and what a verdict may hold.

For each check of `decide` itself `test_without_the_check` takes it out and shows that the faulty dossier is accepted
then: nothing else stands behind it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.log.checkpoint import Checkpoint
from marginseal.log.policy import SignedCheckpoint
from marginseal.log.publish import publish_manifest, publish_record
from marginseal.log.receipt import Receipt
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import peek, sign
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest
from tests.log.support import POLICY as LOG_POLICY
from tests.log.support import SIGNER, cosigner
from tests.records.world import key
from tests.simulator.world import (
    HOUR,
    SOURCES,
    Fund,
    World,
    policy,
    policy_document,
    setting,
)
from verifier.decision.decide import decide
from verifier.decision.dossier import Dossier
from verifier.decision.verdict import Findings, Verdict
from verifier.policy import Policy


@dataclass(frozen=True)
class Scene:
    """A world in which the fund has attested twice; the second is its newest."""

    world: World
    fund: Fund
    dossier: Dossier


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    world = World.new(tmp_path_factory.mktemp("world") / "log")
    world.epoch("one")
    fund = world.fund()
    world.log.checkpoint(now=world.now)
    fund.attest()
    world.now += 60
    fund.attest()
    return Scene(world, fund, world.dossier(fund))


def verdict(scene: Scene, dossier: Dossier | None = None, chosen: Policy | None = None, **options: Any) -> Verdict:
    now = options.pop("now", scene.world.now + 1)
    return decide(dossier or scene.dossier, chosen or policy(), now=now, setting=setting(), **options)


def codes(*args: Any, **options: Any) -> list[str]:
    return [code for code, _ in verdict(*args, **options).reasons]


def signed_by_a_stranger(scene: Scene) -> Dossier:
    """The predecessor in another envelope than the log has, by a prover that the policy does not name."""
    (link,) = scene.dossier.chain
    body = Attestation.decode(link.envelope).body
    data = sign(body, [SigningKey(Role.PROVER, bytes(range(32)))]).encode()
    return replace(scene.dossier, chain=(replace(link, envelope=data),))


def test_an_honest_attestation_is_accepted_with_facts(scene: Scene) -> None:
    found = verdict(scene)
    assert found.reasons == ()
    assert found.accepted
    facts = found.facts
    assert (facts["account"], facts["sequence"], facts["continuity"]) == ("fund-1", 2, "same")
    claim = {"rule": "worst_case", "parameters": {}, "kind": "attestation", "tier": "initial", "inputs": []}
    assert facts["claims"] == [claim | {"accepted": True}]
    assert facts["pledge_ticks"] == facts["counted_ticks"] == 2_000
    assert facts["snapshot_only"] is False
    assert facts["log"]["size"] == scene.world.log.size()
    assert json.loads(json.dumps(found.document()))["format"] == "marginseal-verdict-1"


def test_a_cap_on_the_least_trusted_source_bounds_what_counts(scene: Scene) -> None:
    capped = policy(sources={"custodian": None, "venue-a": "1500", "venue-b": "1200"})
    assert verdict(scene, None, capped).facts["counted_ticks"] == 1_200
    assert verdict(scene, None, capped).accepted
    assert codes(scene, None, policy(sources=dict.fromkeys(SOURCES, "999"))) == ["decide.pledge"]


def test_initial_serves_a_venue_that_asks_for_maintenance(scene: Scene) -> None:
    rule = {"name": "worst_case", "parameters": {}, "tiers": ["maintenance"]}
    assert verdict(scene, None, policy(rules=[rule])).accepted


def test_the_verdict_holds_nothing_private(scene: Scene) -> None:
    """Neither the other venue's pledge nor any quantity, blinder or opening, accepted or refused."""
    newest = scene.fund.history[-1]
    secret = [str(x) for x in newest.schedule.opening.q if x and x != 2_000] + [str(newest.schedule.opening.b_0)]
    secret += ["900000", "100000"]  # the books' cash
    for found in (verdict(scene), verdict(scene, replace(scene.dossier, messages=()))):
        told = json.dumps(found.document())
        assert not [x for x in secret if x in told.replace(found.facts["statement"], "")]


def receipt_of(scene: Scene, index: int, note: bytes | None = None) -> bytes:
    log = scene.world.log
    return log.receipt(index, Receipt.decode(scene.dossier.receipt).note if note is None else note)


def other_tree(scene: Scene) -> Dossier:
    """The manifest's receipt is under a checkpoint of the same log, of another size."""
    log, manifest = scene.world.log, scene.dossier.manifests[0]
    index = Receipt.decode(manifest.receipt).index
    note = next(c.note for c in log.checkpoints() if Checkpoint.of(c.note).size > index)
    small = Checkpoint.of(note)
    if small.size == Checkpoint.of(Receipt.decode(scene.dossier.receipt).note).size:
        raise AssertionError("one checkpoint alone")
    return replace(scene.dossier, manifests=(replace(manifest, receipt=log.receipt(index, note)),))


def recorded(scene: Scene, **changes: Any) -> Dossier:
    (record,) = scene.dossier.epoch_records
    return replace(scene.dossier, epoch_records=(replace(record, **changes),))


FILES: list[tuple[str, Callable[[Scene], Dossier], list[str]]] = [
    ("no attestation", lambda s: replace(s.dossier, attestation=b"{}"), ["record.members"]),
    ("no receipt", lambda s: replace(s.dossier, receipt=b""), ["decide.log"]),
    ("no head", lambda s: replace(s.dossier, head=b""), ["decide.log"]),
    ("no manifest", lambda s: replace(s.dossier, manifests=()), ["decide.manifest"]),
    ("no predecessor", lambda s: replace(s.dossier, chain=()), ["decide.previous"]),
    (
        "another predecessor than the log has",
        signed_by_a_stranger,
        ["log.payload"],
    ),
    ("no pledge", lambda s: replace(s.dossier, pledge=None), ["decide.pledge"]),
    ("no universe", lambda s: replace(s.dossier, universe=None), ["decide.universe"]),
    ("no snapshot", lambda s: recorded(s, snapshot=None), ["decide.snapshot"]),
    (
        "too few oracle reports",
        lambda s: recorded(s, reports=s.dossier.epoch_records[0].reports[:2]),
        ["oracle.quorum"],
    ),
    ("no record of the epoch", lambda s: replace(s.dossier, epoch_records=()), ["decide.epoch"]),
    ("a message missing", lambda s: replace(s.dossier, messages=s.dossier.messages[1:]), ["accept.message"]),
    ("an epoch cut short", lambda s: replace(s.dossier, epoch=s.dossier.epoch[:-8]), ["epoch.length"]),
    ("another venue's pledge", lambda s: s.world.dossier(s.fund, "venue-b"), ["pledge.venue"]),
    (
        "an inclusion of something else",
        lambda s: replace(s.dossier, receipt=receipt_of(s, 1)),
        ["log.payload"],
    ),
    (
        "a manifest's receipt of something else",
        lambda s: replace(s.dossier, manifests=(replace(s.dossier.manifests[0], receipt=receipt_of(s, 1)),)),
        ["log.payload"],
    ),
    ("the manifest under another checkpoint", other_tree, ["decide.checkpoint"]),
]


@pytest.mark.parametrize(("fault", "expected"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_what_the_dossier_lacks(scene: Scene, fault: Callable[[Scene], Dossier], expected: list[str]) -> None:
    assert codes(scene, fault(scene)) == expected


STRANGER = key(Role.OPERATOR, "stranger").public.raw.hex()
RULES = policy_document()["rules"]
POLICIES: list[tuple[str, dict[str, Any], list[str]]] = [
    ("other powers", {"srs": "00" * 32}, ["decide.srs"]),
    ("another prover", {"provers": [STRANGER]}, ["signature.threshold"]),
    ("an unknown account", {"accounts": {"fund-2": STRANGER}}, ["decide.account"]),
    ("another key of the account", {"accounts": {"fund-1": STRANGER}}, ["decide.account"]),
    ("another rule", {"rules": [RULES[0] | {"name": "isolated"}]}, ["decide.rule"]),
    ("other parameters", {"rules": [RULES[0] | {"parameters": {"a": 1}}]}, ["decide.rule"]),
    ("a source not relied on", {"sources": {"custodian": None, "venue-a": None}}, ["decide.source"]),
    ("the venue is not listed", {"listed_as": "venue-c"}, ["decide.not-listed"]),
    ("another currency", {"currency": "EUR"}, ["decide.unit"]),
    ("another tick", {"tick": "0.0001"}, ["decide.unit"]),
    ("a larger pledge wanted", {"minimum_pledge_ticks": "2001"}, ["decide.pledge"]),
    ("a younger epoch wanted", {"epoch_max_age_s": 30}, ["decide.epoch-age"]),
    ("a closer cut wanted", {"coherence_window_s": 30}, ["decide.coherence"]),
    ("a longer life wanted", {"min_life_s": 25 * HOUR}, ["decide.short-life"]),
    ("a later source registry", {"registries": {"sources": 2, "venues": 1}}, ["decide.registry-version"]),
    ("a later venue registry", {"registries": {"sources": 1, "venues": 2}}, ["decide.registry-version"]),
    ("an unlisted venue", {"venue": "venue-x"}, ["pledge.venue"]),
]


@pytest.mark.parametrize(("changes", "expected"), [p[1:] for p in POLICIES], ids=[p[0] for p in POLICIES])
def test_what_the_policy_asks_for(scene: Scene, changes: dict[str, Any], expected: list[str]) -> None:
    assert codes(scene, None, policy(**changes)) == expected


def test_other_operators_leave_no_epoch(scene: Scene) -> None:
    assert codes(scene, None, policy(operators=[STRANGER]))[0] == "signature.threshold"


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (24 * HOUR - 30, ["decide.short-life"]),
        (24 * HOUR, ["decide.expired"]),
        (-1, ["decide.future"]),
        (601, ["log.stale"]),
        (-61, ["log.ahead", "decide.future"]),
    ],
)
def test_the_clock(scene: Scene, now: int, expected: list[str]) -> None:
    patient = {"epoch_max_age_s": 48 * HOUR}
    if "log.stale" not in expected:
        patient["log"] = policy_document()["log"] | {"max_age_s": 48 * HOUR}
    assert codes(scene, None, policy(**patient), now=scene.world.now + now) == expected


def test_every_reason_is_given(scene: Scene) -> None:
    """Checks go on after the first: a refused party learns all it has to mend."""
    chosen = policy(minimum_pledge_ticks="9000", listed_as="venue-c", epoch_max_age_s=1, accounts={"x": STRANGER})
    found = codes(scene, replace(scene.dossier, chain=()), chosen)
    assert found == ["decide.account", "decide.epoch-age", "decide.not-listed", "decide.pledge", "decide.previous"]


@dataclass(frozen=True)
class Told:
    """A story told in a world of its own: what the venue has before it, under which policy, when."""

    dossier: Dossier
    policy: Policy
    now: int


def fresh(tmp_path: Path) -> tuple[World, Fund]:
    world = World.new(tmp_path / "log")
    world.epoch("one")
    return world, world.fund()


def told(world: World, fund: Fund, **changes: Any) -> Told:
    return Told(world.dossier(fund), policy(**changes), world.now + 1)


def epoch_ahead(tmp_path: Path) -> Told:
    """The operator dates an epoch ahead of everybody's clock."""
    world = World.new(tmp_path / "log")
    world.epoch("ahead", time=world.now + 200)
    fund = world.fund()
    fund.attest()
    return told(world, fund)


def older_epoch(tmp_path: Path) -> Told:
    """A newer epoch was in the log for longer than the venue's tolerance."""
    world, fund = fresh(tmp_path)
    kind = world.epochs[-1]
    world.now += 10
    world.epoch("two", "0.99")
    world.now += 130
    fund.attest(epoch=kind)
    return told(world, fund)


def epochs_out_of_order(tmp_path: Path) -> Told:
    """The operator logs the newer epoch first, and the older one, in which the account does better, behind it."""
    world, fund = fresh(tmp_path)
    world.now += 10
    world.epoch("newer")
    older = world.epoch("older", time=world.now - 5)
    world.now += 130
    fund.attest(epoch=older)
    return told(world, fund)


def expired_epoch(tmp_path: Path) -> Told:
    world, fund = fresh(tmp_path)
    world.now += HOUR
    fund.attest()
    return told(world, fund, epoch_max_age_s=2 * HOUR, coherence_window_s=2 * HOUR)


def backdated(tmp_path: Path) -> Told:
    """The log takes the attestation at a time before the cut that it is of."""
    world, fund = fresh(tmp_path)
    world.now += 120
    attested = fund.attest(log=False)
    world.now -= 120
    world.append(attested)
    fund.accept(attested)
    dossier = world.dossier(fund)
    return Told(dossier, policy(), world.now + 121)


def no_hold(tmp_path: Path) -> Told:
    world, fund = fresh(tmp_path)
    fund.attest(published=[p for s in SOURCES for p in fund.publish(s, hold_until=None)])
    return told(world, fund)


def logged_as_another(tmp_path: Path) -> Told:
    """The receipt is of an entry in which the same bytes stand as no manifest: no change of it was ever announced."""
    world, fund = fresh(tmp_path)
    books = peek(Manifest, fund.manifest).books
    index = publish_record(world.log, LogKind.KEY_CHANGE, fund.manifest, now=world.now, account=fund.name, books=books)
    fund.attest()
    dossier = world.dossier(fund)
    receipt = world.log.receipt(index, Receipt.decode(dossier.receipt).note)
    return Told(replace(dossier, manifests=(replace(dossier.manifests[0], receipt=receipt),)), policy(), world.now + 1)


STORIES: list[tuple[Callable[[Path], Told], str]] = [
    (epoch_ahead, "decide.epoch-ahead"),
    (older_epoch, "decide.epoch-newer"),
    (epochs_out_of_order, "decide.epoch-newer"),
    (expired_epoch, "decide.epoch-expired"),
    (backdated, "decide.backdated"),
    (no_hold, "decide.hold"),
    (logged_as_another, "decide.leaf"),
]


@pytest.mark.parametrize(("story", "code"), STORIES, ids=[story.__name__ for story, _ in STORIES])
def test_stories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: Callable[[Path], Told], code: str) -> None:
    it = story(tmp_path)
    found = decide(it.dossier, it.policy, now=it.now, setting=setting())
    assert [c for c, _ in found.reasons] == [code]
    without(monkeypatch, code)
    assert decide(it.dossier, it.policy, now=it.now, setting=setting()).accepted


def without(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    """Take one check out of `decide`."""
    real = Findings.require

    def require(self: Any, holds: bool, given: str, message: str) -> None:
        real(self, holds or given == code, given, message)

    monkeypatch.setattr(Findings, "require", require)


@pytest.mark.parametrize("name", [p[0] for p in POLICIES if p[2][0].startswith("decide.")])
def test_without_the_check(scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, changes, (code,) = next(p for p in POLICIES if p[0] == name)
    without(monkeypatch, code)
    assert verdict(scene, None, policy(**changes)).accepted


@pytest.mark.parametrize("name", ["no predecessor", "no pledge", "the manifest under another checkpoint"])
def test_without_the_check_of_the_dossier(scene: Scene, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    _, fault, (code,) = next(f for f in FILES if f[0] == name)
    without(monkeypatch, code)
    assert verdict(scene, fault(scene)).accepted


def test_no_hold_is_said_where_it_is_not_asked_for(tmp_path: Path) -> None:
    it = no_hold(tmp_path)
    found = decide(it.dossier, policy(hold=False), now=it.now, setting=setting())
    assert found.accepted
    assert found.facts["snapshot_only"] is True


def test_within_the_tolerance_the_epoch_before_still_serves(tmp_path: Path) -> None:
    world, fund = fresh(tmp_path)
    before = world.epochs[-1]
    world.now += 10
    world.epoch("two")
    world.now += 100
    fund.attest(epoch=before)
    it = told(world, fund)
    assert decide(it.dossier, it.policy, now=it.now, setting=setting()).accepted


def test_a_manifest_that_is_not_yet_in_force_changes_nothing(tmp_path: Path) -> None:
    world, fund = fresh(tmp_path)
    later = fund.manifest_of(SOURCES, version=2, previous=fund.manifest.digest, effective=world.now + 3 * HOUR)
    publish_manifest(world.log, sign(later, [fund.key]), now=world.now)
    fund.attest()
    it = told(world, fund)
    assert decide(it.dossier, it.policy, now=it.now, setting=setting()).accepted


def test_one_log_and_no_other(scene: Scene) -> None:
    """What the venue saw before has to be a prefix of what it sees now."""
    log, now = scene.world.log, scene.world.now
    shown = Checkpoint.of(Receipt.decode(scene.dossier.receipt).note)

    def seen(size: int, root: bytes, time: int = now - 30) -> SignedCheckpoint:
        return LOG_POLICY.verify(Checkpoint.at(shown.origin, size, root, time).sign(SIGNER))

    earlier = next(c.note for c in log.checkpoints())
    if Checkpoint.of(earlier).size == shown.size:
        raise AssertionError("no earlier checkpoint")
    dossier = scene.world.dossier(scene.fund, seen=Checkpoint.of(earlier))
    assert codes(scene, dossier, seen=LOG_POLICY.verify(earlier)) == []
    assert codes(scene, dossier, seen=seen(Checkpoint.of(earlier).size, bytes(32))) == ["log.fork"]
    assert codes(scene, seen=seen(shown.size, bytes(32))) == ["log.fork"]
    assert codes(scene, seen=seen(shown.size + 1, bytes(32))) == ["log.rollback"]


def test_witnesses_are_counted(scene: Scene) -> None:
    asked = policy_document()["log"] | {"witnesses": [str(cosigner(1).key)], "threshold": 1}
    assert codes(scene, None, policy(log=asked))[0] == "log.witnesses"


def test_an_older_attestation_under_the_newest_head(scene: Scene) -> None:
    first = scene.fund.history[0]
    old = replace(scene.dossier, attestation=first.attestation.data, receipt=receipt_of(scene, 6))
    assert "log.superseded" in codes(scene, old)


def test_a_dossier_of_noise_is_refused_and_nothing_raises(scene: Scene) -> None:
    """Each part in turn replaced by noise, by nothing, by another part."""
    dossier, noises = scene.dossier, (b"", b"\xff" * 40, b"{}", scene.dossier.attestation)
    (of_epoch,) = dossier.epoch_records
    for noise in (*noises, of_epoch.envelope):
        changed = [
            replace(dossier, **{name: noise})
            for name in ("attestation", "epoch", "receipt", "head", "pledge", "universe")
            if noise != getattr(dossier, name)
        ]
        for name in ("source_registry", "venue_registry"):
            record = getattr(dossier, name)
            changed += [replace(dossier, **{name: replace(record, envelope=noise)})] * (noise != record.envelope)
            changed.append(replace(dossier, **{name: replace(record, receipt=noise)}))
        changed += [recorded(scene, envelope=noise)] * (noise != of_epoch.envelope)
        changed += [recorded(scene, receipt=noise), recorded(scene, snapshot=noise), recorded(scene, reports=(noise,))]
        changed.append(replace(dossier, messages=(noise, *dossier.messages[1:])))
        changed += [replace(dossier, messages_before=(noise,))] * (noise != b"")
        changed.append(replace(dossier, chain=(replace(dossier.chain[0], envelope=noise),)))
        changed.append(replace(dossier, keys=(replace(of_epoch, envelope=noise),)))
        for one in changed:
            assert one == dossier or not verdict(scene, one).accepted, noise[:10]
