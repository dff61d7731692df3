"""Section 10, keys: what a key that was revoked or replaced can still do, and who can replace one.

Every story is told to a venue and to an auditor; revocations and changes come out of the log, never from the account.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.log.publish import publish_manifest, publish_record
from marginseal.records.attestation import make_attestation
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keychange import KeyChange, KeyRevocation, KeyRing
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import SourceRelease
from tests.records.world import key
from tests.simulator import world as simulator
from tests.simulator.parties import auditor_says, both_say, venue_says
from tests.simulator.world import (
    HOUR,
    OPERATOR,
    ORACLES,
    PROVER,
    SOURCE_KEYS,
    SOURCES,
    VENUE_KEYS,
    Fund,
    World,
    policy,
    setting,
)
from verifier.decision.case import Case
from verifier.decision.decide import decide

GONE = ["keys.not-in-force"]
OTHER = key(Role.OPERATOR, "risk-2")
BOTH_OPERATORS = [k.public.raw.hex() for k in (OPERATOR, OTHER)]


@pytest.fixture
def fund(world: World) -> Fund:
    made = world.fund()
    on(world, 10)
    return made


def log(world: World, record: Envelope) -> None:
    kind = LogKind.KEY_CHANGE if "key-change" in record.payload_type else LogKind.KEY_REVOCATION
    publish_record(world.log, kind, record, now=world.now)


def revoke(world: World, what: SigningKey, *signers: SigningKey, at: int | None = None) -> None:
    record = KeyRevocation("whoever", what.public, world.now if at is None else at)
    log(world, sign(record, list(signers or (OPERATOR,))))


def change(world: World, old: SigningKey, new: SigningKey, *signers: SigningKey, at: int | None = None) -> None:
    record = KeyChange("whoever", old.public, new.public, world.now if at is None else at)
    log(world, sign(record, list(signers or (old, new))))


def successor(old: SigningKey) -> SigningKey:
    return key(old.role, f"successor of {old.public.key_id}")


def on(world: World, seconds: int = 60) -> None:
    world.now += seconds


# Revoked ------------------------------------------------------------------------------------------------------------


def prover_revoked(world: World, fund: Fund) -> None:
    revoke(world, PROVER)
    on(world)
    fund.attest()


def account_revoked(world: World, fund: Fund) -> None:
    revoke(world, fund.key, fund.key)
    on(world)
    fund.attest()


def source_revoked(world: World, fund: Fund) -> None:
    """Before the cut; the registry still names it."""
    revoke(world, SOURCE_KEYS["custodian"])
    on(world)
    fund.attest()


def oracles_revoked(world: World, fund: Fund) -> None:
    """Three of five: the two that are left make no snapshot."""
    for name in ("o1", "o2", "o3"):
        revoke(world, ORACLES[name])
    on(world)
    world.epoch("two")
    fund.attest()


def operator_revoked(world: World, fund: Fund) -> None:
    """By another, before it published the epoch."""
    revoke(world, OPERATOR, OTHER)
    on(world)
    world.epoch("two")
    fund.attest()


def operator_found_stolen(world: World, fund: Fund) -> None:
    """The record stands in the log after the epoch, and dates the theft before it."""
    on(world)
    world.epoch("two")
    on(world)
    revoke(world, OPERATOR, OTHER, at=world.now - 90)
    fund.attest()


def account_revoked_before_its_manifest(world: World, fund: Fund) -> None:
    """A thief has the account's key, and names its own in a manifest; the owner had revoked it."""
    thief = key(Role.ACCOUNT, "thief")
    revoke(world, fund.key, fund.key)
    on(world)
    changed = fund.manifest_of(
        SOURCES, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR, keys=(thief.public,)
    )
    manifest = sign(changed, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    on(world, 2 * HOUR)
    world.epoch("two")
    fund.key = thief
    fund.attest(manifest=manifest)


def venue_revoked(world: World, fund: Fund) -> None:
    """A thief has the key of venue-b, and releases its pledge after the venue revoked it."""
    fund.attest()
    revoke(world, VENUE_KEYS["venue-b"], VENUE_KEYS["venue-b"])
    on(world)
    fund.attest(pledges={"venue-a": 3_000}, releases=[fund.release("venue-b")])


def source_revoked_and_lets_a_book_go(world: World, fund: Fund) -> None:
    """It is the thief who lets the book go."""
    fewer = [s for s in SOURCES if s != "venue-b"]
    revoke(world, SOURCE_KEYS["venue-b"])
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now)
    gone = sign(flat, [SOURCE_KEYS["venue-b"]])
    publish_record(world.log, LogKind.SOURCE_RELEASE, gone, now=world.now, account=fund.name)
    later = fund.manifest_of(fewer, version=2, previous=fund.manifest.digest, effective=world.now + 2 * HOUR)
    manifest = sign(later, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    on(world, 2 * HOUR)
    world.epoch("two")
    fund.attest(published=[p for s in fewer for p in fund.publish(s)], manifest=manifest)


REVOKED: list[tuple[Callable[[World, Fund], None], list[str], list[str]]] = [
    (prover_revoked, GONE, GONE),
    (account_revoked, ["accept.account-key"], ["accept.account-key"]),
    (source_revoked, GONE, GONE),
    (oracles_revoked, GONE, GONE),
    (operator_revoked, GONE, [*GONE, "replay.epoch"]),
    (operator_found_stolen, GONE, [*GONE, "replay.epoch"]),
    (account_revoked_before_its_manifest, GONE, [*GONE, "accept.manifest"]),
    (venue_revoked, GONE, GONE),
    (source_revoked_and_lets_a_book_go, ["manifest.book-gone"], ["manifest.book-gone", "accept.manifest"]),
]


@pytest.mark.parametrize(("story", "venue", "auditor"), REVOKED, ids=[s.__name__ for s, _, _ in REVOKED])
def test_10_a_revoked_key(
    world: World, fund: Fund, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: Any, venue: Any, auditor: Any
) -> None:
    """What it signed from then on counts for nothing; without the log's revocations the venue takes all of it."""
    story(world, fund)
    asked = {"operators": BOTH_OPERATORS, "epoch_lag_s": HOUR, "accounts": {}}
    assert both_say(world, fund, tmp_path, **asked) == (venue, auditor)
    dossier = replace(world.dossier(fund), keys=())
    assert decide(dossier, policy(**asked), now=world.now + 1, setting=setting()).accepted


def test_10_what_a_key_signed_before_it_was_revoked_stands(world: World, fund: Fund, tmp_path: Path) -> None:
    """Logged before the moment, and also when the record stands before it in the log."""
    revoke(world, PROVER, at=world.now + 30)
    fund.attest()
    revoke(world, OPERATOR, OTHER, at=world.now + 1)
    revoke(world, SOURCE_KEYS["custodian"], SOURCE_KEYS["custodian"], at=world.now + 1)
    on(world)
    assert both_say(world, fund, tmp_path, operators=BOTH_OPERATORS) == ([], [])


def test_10_a_holder_does_not_disown_what_it_signed(world: World, fund: Fund, tmp_path: Path) -> None:
    """Dated back by the key itself it counts from its logging; by an operator from the date."""
    fund.attest()
    on(world)
    revoke(world, PROVER, PROVER, at=world.now - 120)
    assert both_say(world, fund, tmp_path) == ([], [])
    revoke(world, PROVER, OPERATOR, at=world.now - 120)
    assert both_say(world, fund, tmp_path) == (GONE, GONE)


def test_10_a_venue_does_not_disown_its_release_by_a_predecessor_it_made_up(
    world: World, fund: Fund, tmp_path: Path
) -> None:
    """Else it could shut out every account that it once let go, with two signatures of its own."""
    fund.attest()
    on(world)
    fund.attest(pledges={"venue-a": 3_000}, releases=[fund.release("venue-b")])
    on(world)
    change(world, key(Role.VENUE, "made up"), VENUE_KEYS["venue-b"])
    assert both_say(world, fund, tmp_path) == ([], [])


def test_10_a_revocation_that_a_stranger_signed_ends_nothing(world: World, fund: Fund, tmp_path: Path) -> None:
    """Nor a record of noise under that kind: what is logged by others does not stop a venue."""
    revoke(world, PROVER, key(Role.OPERATOR, "stranger"))
    publish_record(world.log, LogKind.KEY_REVOCATION, fund.manifest, now=world.now)
    on(world)
    fund.attest()
    assert venue_says(world, fund) == []
    assert auditor_says(world, tmp_path) == ["signature.threshold", "envelope.type"]


def test_10_a_revocation_of_another_tree_is_noticed(world: World, fund: Fund) -> None:
    """Key records are shown under the attestation's own checkpoint, as every record is."""
    revoke(world, key(Role.PROVER, "another"))
    old = world.log.checkpoint(now=world.now)
    fund.attest()
    dossier = world.dossier(fund)
    (record,) = dossier.keys
    at = next(e.index for e in world.log.entries() if b"key-revocation" in e.data)
    changed = replace(dossier, keys=(replace(record, receipt=world.log.receipt(at, old)),))
    found = decide(changed, policy(), now=world.now + 1, setting=setting())
    assert [code for code, _ in found.reasons] == ["decide.checkpoint"]


def test_10_an_attestation_before_under_a_revoked_account_key(tmp_path: Path) -> None:
    """The newest is signed with the other key that the manifest names; the one before by a thief."""
    world = World.new(tmp_path / "log")
    world.epoch("one")
    fund = Fund("fund-1", world)
    stolen, other = fund.key, key(Role.ACCOUNT, "the other key")
    fund.manifest = sign(fund.manifest_of(SOURCES, keys=(stolen.public, other.public)), [stolen])
    publish_manifest(world.log, fund.manifest, now=world.now)
    on(world, 10)
    fund.attest()
    on(world)
    revoke(world, stolen, stolen)
    on(world)
    fund.attest()
    fund.key = other
    on(world)
    fund.attest()
    assert both_say(world, fund, tmp_path, accounts={}) == (GONE, ["accept.account-key"])


def test_10_an_attestation_before_under_a_replaced_account_key(world: World, fund: Fund, tmp_path: Path) -> None:
    """The key's successor was in force when the thief signed; the key was not."""
    old, new = fund.key, successor(fund.key)
    fund.attest()
    on(world)
    change(world, old, new)
    on(world)
    fund.attest()
    fund.key = new
    on(world)
    fund.attest()
    assert both_say(world, fund, tmp_path, accounts={}) == (GONE, ["accept.account-key"])


# What a thief had logged --------------------------------------------------------------------------------------------


def thief_logs_an_epoch(world: World, fund: Fund) -> None:
    on(world)
    world.epoch("two")
    revoke(world, OPERATOR, OTHER, at=world.now - 30)
    on(world, 1)
    fund.attest(epoch=world.epochs[0])


def thief_logs_a_source_registry(world: World, fund: Fund) -> None:
    """In which venue-b has another key; and venue-b lets its book go."""
    on(world)
    named = simulator.source_registry(2)
    theirs = replace(named.sources[-1], key=key(Role.SOURCE, "thief").public)
    stolen = sign(replace(named, sources=(*named.sources[:-1], theirs)), [OPERATOR])
    publish_record(world.log, LogKind.SOURCE_REGISTRY, stolen, now=world.now)
    revoke(world, OPERATOR, OTHER, at=world.now - 30)
    fewer = [s for s in SOURCES if s != "venue-b"]
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], fund.manifest.digest, world.now)
    gone = sign(flat, [SOURCE_KEYS["venue-b"]])
    publish_record(world.log, LogKind.SOURCE_RELEASE, gone, now=world.now, account=fund.name)
    later = fund.manifest_of(fewer, version=2, previous=fund.manifest.digest, effective=world.now + 600)
    manifest = sign(later, [fund.key])
    publish_manifest(world.log, manifest, now=world.now)
    on(world, 600)
    fund.attest(epoch=world.epochs[0], published=[p for s in fewer for p in fund.publish(s)], manifest=manifest)


def thief_logs_a_manifest(world: World, fund: Fund) -> None:
    """The account's key was stolen; its successor, named by the operator, signs under the manifest there was."""
    on(world)
    thief = key(Role.ACCOUNT, "thief")
    stolen = fund.manifest_of(
        SOURCES, version=2, previous=fund.manifest.digest, effective=world.now + 600, keys=(thief.public,)
    )
    publish_manifest(world.log, sign(stolen, [fund.key]), now=world.now)
    revoke(world, fund.key, OPERATOR, at=world.now - 30)
    change(world, fund.key, successor(fund.key), OPERATOR, successor(fund.key))
    fund.key = successor(fund.key)
    on(world, 900)
    fund.attest(epoch=world.epochs[0])


@pytest.mark.parametrize("story", [thief_logs_an_epoch, thief_logs_a_source_registry, thief_logs_a_manifest])
def test_10_what_a_thief_had_logged_shuts_nobody_out(
    world: World, fund: Fund, tmp_path: Path, story: Callable[[World, Fund], None]
) -> None:
    """Once its key is revoked back to before the theft; the auditor names the thief's entry and nothing else."""
    story(world, fund)
    asked = {"operators": BOTH_OPERATORS, "manifest_delay_s": 600, "coherence_window_s": HOUR, "accounts": {}}
    assert both_say(world, fund, tmp_path, **asked) == ([], GONE)


# Replaced -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[SigningKey, SigningKey], None]:
    """Someone signs with another key from here on."""

    def take(old: SigningKey, new: SigningKey) -> None:
        for name in ("PROVER", "OPERATOR"):
            if getattr(simulator, name) is old:
                monkeypatch.setattr(simulator, name, new)
        for table in (SOURCE_KEYS, VENUE_KEYS, ORACLES):
            for name, known in table.items():
                if known is old:
                    monkeypatch.setitem(table, name, new)

    return take


def everybody() -> list[SigningKey]:
    return [PROVER, SOURCE_KEYS["custodian"], VENUE_KEYS["venue-b"], ORACLES["o1"], OPERATOR]


def test_10_everybody_changes_keys(
    world: World, fund: Fund, tmp_path: Path, keys: Callable[[SigningKey, SigningKey], None]
) -> None:
    """Policies, registries and manifest name the old keys throughout; before and after, each in its time."""
    asked = {name: simulator.policy_document()[name] for name in ("operators", "provers", "oracles")}
    fund.attest()
    on(world, 10)
    later = world.now + 50
    olds = [*everybody(), fund.key]
    for old in olds:
        change(world, old, successor(old), at=later)
        if old.role == Role.ORACLE:
            record = KeyChange("whoever", old.public, successor(old).public, later)
            world.oracle_ring = KeyRing().apply(sign(record, [old, successor(old)]), logged=world.now)
    on(world, 40)
    world.epoch("two")
    fund.attest()  # logged before the change takes effect, under the old keys
    assert both_say(world, fund, tmp_path / "before", **asked) == ([], [])
    on(world, 10)
    for old in olds[:-1]:
        keys(old, successor(old))
    fund.key = successor(fund.key)
    on(world, 10)
    world.epoch("three")
    # The sources that open what they signed are known to the account by their new keys.
    fund.attest(pledges={"venue-a": 2_500}, releases=[fund.release("venue-b")])
    assert both_say(world, fund, tmp_path / "after", **asked) == ([], [])


def used_after(which: int) -> Callable[[World, Fund], None]:
    def story(world: World, fund: Fund) -> None:
        old = [*everybody(), fund.key][which]
        if which == 2:
            fund.attest()
            on(world)
        change(world, old, successor(old))
        on(world)
        world.epoch("two")
        if which == 2:
            fund.attest(pledges={"venue-a": 2_500}, releases=[fund.release("venue-b")])
        else:
            fund.attest()

    return story


AFTER: list[tuple[str, int, list[str], list[str]]] = [
    ("prover", 0, GONE, GONE),
    ("source", 1, GONE, GONE),
    ("venue", 2, GONE, GONE),
    ("oracle", 3, GONE, GONE),
    ("operator", 4, GONE, [*GONE, "replay.epoch"]),
    ("account", 5, ["decide.account", "accept.account-key"], ["accept.account-key"]),
]


@pytest.mark.parametrize(("which", "venue", "auditor"), [a[1:] for a in AFTER], ids=[a[0] for a in AFTER])
def test_10_an_old_key_used_after_its_change(
    world: World, fund: Fund, tmp_path: Path, which: int, venue: list[str], auditor: list[str]
) -> None:
    used_after(which)(world, fund)
    assert both_say(world, fund, tmp_path, epoch_lag_s=HOUR) == (venue, auditor)
    dossier = replace(world.dossier(fund), keys=())
    assert decide(dossier, policy(epoch_lag_s=HOUR), now=world.now + 1, setting=setting()).accepted


def by_another_prover(fund: Fund, prover: SigningKey) -> None:
    """The next attestation, real in everything, signed by this prover."""
    made = fund.attest(log=False)
    body = made.attestation.body
    signed = make_attestation(made.statement, body.owner, body.rules, body.proofs, prover)
    attested = replace(made, attestation=signed)
    fund.world.append(attested)
    fund.accept(attested)


def test_10_a_new_key_used_before_its_time(world: World, fund: Fund, tmp_path: Path) -> None:
    change(world, PROVER, successor(PROVER), at=world.now + 100)
    by_another_prover(fund, successor(PROVER))
    assert both_say(world, fund, tmp_path) == (GONE, GONE)


def thief_after_revocation(world: World) -> None:
    """A stolen key that was revoked names a successor."""
    revoke(world, PROVER)
    on(world, 10)
    change(world, PROVER, successor(PROVER))


def thief_after_change(world: World) -> None:
    """The old key names a second successor, after it was replaced."""
    change(world, PROVER, key(Role.PROVER, "the honest one"))
    on(world, 10)
    change(world, PROVER, successor(PROVER))


def thief_before_a_revocation_dated_back(world: World) -> None:
    """It names one before anybody knows; the operator dates the theft before it."""
    change(world, PROVER, successor(PROVER))
    on(world, 10)
    revoke(world, PROVER, OPERATOR, at=world.now - 20)


def nobody_trusted(world: World) -> None:
    change(world, PROVER, successor(PROVER), successor(PROVER), key(Role.OPERATOR, "stranger"))


def not_by_the_new_key(world: World) -> None:
    change(world, PROVER, successor(PROVER), PROVER, OPERATOR)


def dated_back(world: World) -> None:
    change(world, PROVER, successor(PROVER), at=world.now - 1)


def by_an_operator_that_was_one(world: World) -> None:
    revoke(world, OPERATOR, OTHER)
    on(world, 10)
    change(world, PROVER, successor(PROVER), OPERATOR, successor(PROVER))


def by_an_operator_found_stolen(world: World) -> None:
    change(world, PROVER, successor(PROVER), OPERATOR, successor(PROVER))
    on(world, 10)
    revoke(world, OPERATOR, OTHER, at=world.now - 10)


STOLEN: list[tuple[Callable[[World], None], str]] = [
    (thief_after_revocation, "signature.threshold"),
    (thief_after_change, "signature.threshold"),
    (thief_before_a_revocation_dated_back, "keys.not-in-force"),
    (nobody_trusted, "signature.threshold"),
    (not_by_the_new_key, "signature.threshold"),
    (dated_back, "signature.threshold"),
    (by_an_operator_that_was_one, "signature.threshold"),
    (by_an_operator_found_stolen, "keys.not-in-force"),
]


@pytest.mark.parametrize(("story", "code"), STOLEN, ids=[s.__name__ for s, _ in STOLEN])
def test_10_a_successor_that_is_none(tmp_path: Path, story: Callable[[World], None], code: str) -> None:
    """All else in the attestation is real; the prover's key is one that a thief, or nobody, named."""
    world = World.new(tmp_path / "log")
    world.epoch("one")
    fund = world.fund()
    on(world, 10)
    story(world)
    on(world, 10)
    by_another_prover(fund, successor(PROVER))
    venue, auditor = both_say(world, fund, tmp_path, operators=BOTH_OPERATORS)
    assert venue[0] == code
    assert code in auditor


def test_10_the_owner_who_lost_a_key_gets_another_by_the_operator(world: World, fund: Fund, tmp_path: Path) -> None:
    revoke(world, PROVER)
    on(world, 10)
    change(world, PROVER, successor(PROVER), OPERATOR, successor(PROVER))
    on(world, 10)
    by_another_prover(fund, successor(PROVER))
    assert both_say(world, fund, tmp_path) == ([], [])


def test_10_a_successor_has_the_rows_of_its_predecessor_alone(
    world: World, tmp_path: Path, keys: Callable[[SigningKey, SigningKey], None]
) -> None:
    """The registry confines venue-b; its new key speaks for the same rows, with the same proof of them."""
    confined = {simulator.UNIVERSE.digest: ((0, 1), (4, 5))}
    tight = World.new(tmp_path / "tight", sources=sign(simulator.source_registry(venue_b=confined), [OPERATOR]))
    tight.epoch("one")
    fund, old = tight.fund(), SOURCE_KEYS["venue-b"]
    change(tight, old, successor(old))
    keys(old, successor(old))
    on(tight, 10)
    honest = [100_000, *[0] * (len(simulator.UNIVERSE) - 1)]
    published = [p for s in SOURCES for p in fund.publish(s, honest if s == "venue-b" else None)]
    fund.attest(published=published)
    assert both_say(tight, fund, tmp_path / "one") == ([], [])
    on(tight)
    published = [p for s in SOURCES for p in fund.publish(s, honest if s == "venue-b" else None)]
    bare = [replace(p, row_proof=None) for p in published]
    fund.attest(published=bare)
    assert both_say(tight, fund, tmp_path / "two") == (["accept.rows"], ["accept.rows"])


def test_10_the_venue_reads_keys_from_the_log(world: World, fund: Fund, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `gather` puts there is what decides: with the ring left empty, a revoked prover passes."""
    prover_revoked(world, fund)
    assert venue_says(world, fund) == GONE
    monkeypatch.setattr(Case, "ring", KeyRing())
    assert venue_says(world, fund) == []
