"""Key changes and revocations in the log, before the service: it judges by the ring of keys that venues and auditors
make of the same log, so that a thief's key opens nothing longer than there, and its owner is kept out no longer."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.algebra.srs import ceremony
from marginseal.errors import MarginSealError, StorageError
from marginseal.log import publish as log_publish
from marginseal.log.entry import ATTESTATION
from marginseal.log.note import KeyKind, VerifierKey
from marginseal.log.policy import LogPolicy
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keychange import KeyChange, KeyRevocation, KeyRing
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.registry import RegisteredSource, SourceRegistry
from server import publish
from server.accept import status
from server.catalogue import Catalogue
from server.held import Held
from server.jobs import now_ms
from server.main import close_log, open_log
from server.place import Place
from server.public import LoggedRecords
from server.store import Store
from tests.server.test_acceptance import worked
from tests.server.test_proved import hand_in, prover_of, self_prover, unproved
from tests.server.world import (
    LOTS,
    RISK,
    SOURCE_KEYS,
    SOURCE_REGISTRY,
    SOURCES,
    Account,
    Site,
    epoch,
    key,
    site,
    submit_directly,
    work_once,
)
from verifier.log_index import LogRecords
from verifier.policy import Trust
from verifier.replay.records import RecordPass

NEW = key(Role.SOURCE, "custodian next")
OTHER = key(Role.OPERATOR, "other")
REGISTRY = peek(SourceRegistry, SOURCE_REGISTRY)
THIEF = key(Role.ACCOUNT, "thief")


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path, log={"manifest_delay_s": 0, "epoch_lag_s": 0}) as made:
        yield made


@contextlib.contextmanager
def shelf(s: Site) -> Iterator[LoggedRecords]:
    """What a process of the service goes by."""
    store, log = Store(s.config.store_url), open_log(s.config, None)
    yield LoggedRecords(store, log, Catalogue(store, log), now_ms, manifest_delay_s=0)
    close_log(log)
    store.close()


def tick() -> int:
    """The log tells no two moments within a second apart."""
    time.sleep(1.01)
    return int(time.time())


def revoke(s: Site, whose: SigningKey, by: SigningKey = RISK, *, at: int) -> None:
    with s.office() as desk:
        desk.publish_key_record(sign(KeyRevocation("holder", whose.public, at), [by]))


def change(s: Site, old: SigningKey, new: SigningKey, by: SigningKey) -> None:
    """In effect when it returns."""
    at = int(time.time()) + 1
    with s.office() as desk:
        desk.publish_key_record(sign(KeyChange("holder", old.public, new.public, at), [new, by]))
    at = max(at, int(time.time()) + 1)  # the second in which it was logged has to be over
    while int(time.time()) < at:
        time.sleep(0.05)


def manifest(account: Account, owner: SigningKey, *without: str, **fields: Any) -> Envelope:
    """The next after the account's first."""
    books = tuple((source, account.books[source]) for source in SOURCES if source not in without)
    first = Manifest(account.name, 2, account.manifest.digest, int(time.time()) + 1, (account.key.public,), books)
    return sign(replace(first, **fields), [owner])


def log_manifest(s: Site, record: Envelope) -> None:
    with s.office() as desk:
        desk.publish_manifest(record)


def robbed(s: Site, name: str) -> Account:
    """A thief with the account's key has a manifest logged that names his own; the key is revoked back to before."""
    account = s.account(name)
    before = tick()
    log_manifest(s, manifest(account, account.key, keys=(THIEF.public,)))
    tick()
    revoke(s, account.key, at=before)
    return account


def recovered(s: Site, account: Account) -> None:
    """The risk operator names a successor."""
    successor = key(Role.ACCOUNT, f"{account.name} next")
    change(s, account.key, successor, RISK)
    account.key = successor


def refused(*codes: str) -> pytest.RaisesExc[MarginSealError]:
    return pytest.raises(MarginSealError, match="|".join(rf"\[{code}\]" for code in codes))


# An account's key


def test_what_a_thief_had_logged_does_not_stop_the_account(s: Site) -> None:
    """It attests under the manifest there was, and its next manifest follows that one."""
    account = robbed(s, "fund")
    recovered(s, account)
    submission, published = account.submission(cut=int(time.time()))
    s.publish(published)
    assert ended(s, account, submit_directly(s, account, submission)) == ("attested", None)
    rightful = manifest(account, account.key)
    log_manifest(s, rightful)
    with shelf(s) as public:
        assert [name for _, name in public.manifests("fund")] == [account.manifest.digest, rightful.digest]
        assert_audited(public, account, ["keys.not-in-force"])


def ended(s: Site, account: Account, name: str) -> tuple[str, str | None]:
    work_once(s, secrets.token_hex(4))
    with contextlib.closing(Store(s.config.store_url)) as store:
        found = status(store, account.name, name)
    return found.state, found.code


def assert_audited(public: LoggedRecords, account: Account, findings: list[str]) -> None:
    """What holds here is what holds in a replay of this log."""
    records, srs = LogRecords(public._log), ceremony().digest
    trusted = LogPolicy("log.example", (VerifierKey("log.example", KeyKind.ED25519, bytes(32)),))
    judge = RecordPass(records, Trust(srs, (RISK.public,), (), None, 0, 0, trusted))
    for position, entry in records.items(0, records.size()):
        if entry.kind != ATTESTATION:
            assert not list(judge.note(position, entry))
    assert [found.code for found in judge.judge()] == findings
    assert judge.known.ring == public.held.ring
    assert [m.digest for m in judge.known.manifests[account.name]] == [n for _, n in public.manifests(account.name)]


def test_a_thief_goes_on_under_no_manifest_of_his(s: Site) -> None:
    """Neither by the next one nor by an attestation, whatever keys it names."""
    account = robbed(s, "fund")
    stolen = manifest(account, account.key, keys=(THIEF.public,))
    with refused("keys.not-in-force"):
        log_manifest(s, stolen)
    following = manifest(account, THIEF, version=3, previous=stolen.digest, keys=(THIEF.public,))
    with refused("signature.threshold"):
        log_manifest(s, following)
    for changes in ({}, {"manifest": stolen.digest}):
        submission, published = account.submission(cut=int(time.time()), advance=False, **changes)
        s.publish(published)
        code, answer = worked(s, account, submission)
        assert code == "submission.refused"
        assert answer is not None
        assert answer.code == ("submission.manifest" if changes else "accept.account-key")


def test_a_key_that_is_revoked_while_the_proof_is_made_has_nothing_logged(s: Site) -> None:
    """What is logged stays in the chain of the account, and no venue takes what follows it."""
    account = self_prover(s, "fund")
    attestation = unproved(s, account)
    with shelf(s) as public:
        place = Place(public, public._log, 0)
        assert place.find(attestation.statement) is None
        tick()
        revoke(s, account.key, at=int(time.time()))
        with refused("accept.account-key"):
            place.append(attestation, ())


# A source's key, and a prover's


def test_a_sources_successor_speaks_where_the_registry_lists_its_predecessor(
    s: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    account, old = s.account("fund"), SOURCE_KEYS["custodian"]
    change(s, old, NEW, old)
    now = int(time.time())
    with refused("keys.not-in-force"):
        s.publish(account.published(LOTS, now))
    release = SourceRelease("custodian", "fund", account.books["custodian"], account.manifest.digest, now)
    with shelf(s) as public, refused("keys.not-in-force"):
        publish.publish_source_release(public._log, sign(release, [old]), [old.public], public.held.ring, now=now)
    monkeypatch.setitem(SOURCE_KEYS, "custodian", NEW)
    submission, published = account.submission(cut=int(time.time()))
    s.publish(published)
    assert ended(s, account, submit_directly(s, account, submission)) == ("attested", None)
    with shelf(s) as public:
        publish.publish_source_release(public._log, sign(release, [NEW]), [old.public], public.held.ring, now=now)
    log_manifest(s, manifest(account, account.key, "custodian"))


def test_what_a_source_signed_with_a_key_that_ended_is_in_no_attestation(s: Site) -> None:
    """Published before the revocation was logged, of a cut after its moment."""
    account = s.account("fund")
    submission, published = account.submission(cut=tick())
    s.publish(published)
    tick()
    revoke(s, SOURCE_KEYS["venue-a"], at=submission.statement.cut_time)
    _, answer = worked(s, account, submission)
    assert answer is not None
    assert answer.code == "keys.not-in-force"


def test_a_prover_of_an_account_is_followed_to_its_successor(s: Site) -> None:
    account, new = self_prover(s, "fund"), key(Role.PROVER, "next")
    change(s, prover_of(account), new, prover_of(account))
    before, after = unproved(s, account), unproved(s, account, prover=new)
    for attestation, code in ((before, "keys.not-in-force"), (after, "proof.length")):
        name = hand_in(s, account, attestation)
        assert ended(s, account, name) == ("refused", code)


# A risk operator's key


def test_what_a_thief_had_logged_as_an_operator_counts_for_nothing(s: Site) -> None:
    """A newer epoch, which keeps the others out; a registry, in which a source has another key."""
    with s.office() as desk:
        desk.register_operator("other", OTHER.public)
    before = tick()
    current = epoch("epoch-1")
    newer = replace(epoch_record(current), time=current.time + 1, epoch=bytes(32))
    theirs = replace(REGISTRY, version=2, sources=(*REGISTRY.sources[:-1], RegisteredSource("venue-b", NEW.public)))
    with shelf(s) as public:
        ring, now = public.keys()
        log_publish.publish_record(public._log, LogKind.EPOCH, sign(newer, [OTHER]), now=now)
        publish.publish_source_registry(public._log, sign(theirs, [OTHER]), ring, now=now)
        later = tick() + 1
        assert public.superseded(current.digest, before=later)
        assert public.newest_source_registry() == theirs
        revoke(s, OTHER, at=before)
        assert not public.superseded(current.digest, before=later)
        assert public.newest_source_registry() == REGISTRY
        with refused("keys.not-in-force"):
            public.epoch_record(newer.epoch)
        with refused("keys.not-in-force"):
            public.source_registry(sign(theirs, [OTHER]).digest)


def test_an_operators_successor_publishes_and_its_predecessor_does_not(s: Site) -> None:
    change(s, RISK, OTHER, RISK)
    registry = replace(REGISTRY, version=2)
    with s.office() as desk:
        with refused("keys.not-in-force"):
            desk.publish_source_registry(sign(registry, [RISK]))
        with refused("keys.not-in-force"):
            desk.publish_epoch(epoch("epoch-1"), sign(epoch_record(epoch("epoch-1")), [RISK]))
        with refused("signature.threshold"):
            desk.publish_key_record(sign(KeyRevocation("holder", NEW.public, 0), [RISK]))
        desk.publish_source_registry(sign(registry, [OTHER]))
        desk.publish_key_record(sign(KeyRevocation("holder", NEW.public, 0), [OTHER]))
    with shelf(s) as public:
        assert public.epoch_record(epoch("epoch-1").digest).epoch == epoch("epoch-1").digest  # logged in its time


def test_what_nobody_registered_signs_is_not_published_and_who_is_taken_out_never_was(s: Site) -> None:
    with s.office() as desk:
        with refused("signature.threshold"):
            desk.publish_source_registry(sign(replace(REGISTRY, version=2), [OTHER]))
        desk.suspend("operator", "risk")
        with shelf(s) as public, refused("signature.threshold"):
            public.epoch(epoch("epoch-1").digest)
        desk.resume("operator", "risk")
        with shelf(s) as public:
            public.epoch(epoch("epoch-1").digest)


# What it costs


def test_the_log_is_read_for_keys_once(s: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request looks at what was logged since the one before, in whichever process of the service it is."""
    revoke(s, NEW, at=0)
    applied, apply = list[int](), KeyRing.apply

    def counted(ring: KeyRing, envelope: Envelope, *, logged: int) -> KeyRing:
        applied.append(logged)
        return apply(ring, envelope, logged=logged)

    monkeypatch.setattr(KeyRing, "apply", counted)
    with shelf(s) as public:
        ring = public.held.ring
        assert len(applied) == 1
        s.account("fund")  # entries that are of no key; by the office, a process of its own, which reads the log too
        del applied[:]
        public.manifests("fund")
        assert public.held.ring is ring
        assert applied == []
        revoke(s, THIEF, at=0)
        del applied[:]
        assert set(public.held.ring.tenures) == {NEW.public, THIEF.public}
        assert len(applied) == 1


def test_a_fault_of_the_store_is_not_kept_as_a_record_that_does_not_hold(s: Site) -> None:
    """A registry that could not be read for a moment would be none until somebody logs another."""
    faults = [StorageError("storage.busy", "the database is busy")]

    with shelf(s) as public:

        def envelope(index: int) -> Envelope:
            if faults:
                raise faults.pop()
            return public._envelope(index)

        held = Held(public.held.ring, public._log, public._catalogue, envelope, 0)
        with pytest.raises(StorageError):
            held.source_registries()
        assert held.source_registries().held == public.held.source_registries().held != []
