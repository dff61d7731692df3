"""Operators: authorised, audited, and a trail that shows what was changed behind its back."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from marginseal.errors import InputError, PolicyError, StorageError
from marginseal.log.entry import Entry
from marginseal.records.account import AccountRecord
from marginseal.records.envelope import sign
from marginseal.records.keyfile import MIN_LOG_COST
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.sealing import SealingKey
from server import audit
from server.audit import Operator
from server.jobs import now_ms
from server.main import close_log, office, open_log, passphrase, public_half, read_operator
from server.prover_keys import ProverKeys, key_path, keys_in_use
from server.publish import publish_account
from server.store import Store
from server.tables import audit as rows
from server.tables import jobs
from tests.server.world import SOURCE_KEYS, Account, Site, site, submit_directly


@pytest.fixture
def s(tmp_path: Path) -> Iterator[Site]:
    with site(tmp_path) as one:
        yield one


def test_what_the_site_did_is_in_the_trail(s: Site) -> None:
    with s.office() as desk:
        desk.suspend("venue", "venue-a")
        actions = desk.trail()
    assert [a.number for a in actions] == list(range(1, len(actions) + 1))
    assert {a.operator for a in actions} == {"development"}
    assert actions[0].action == "rotate-prover-key"
    assert (actions[-1].action, actions[-1].params) == ("suspend", {"kind": "venue", "party": "venue-a"})


def test_who_is_not_named_in_the_configuration_may_nothing(s: Site) -> None:
    stranger = Operator("development", SigningKey(Role.OPERATOR, secrets.token_bytes(32)))
    with pytest.raises(PolicyError, match=r"operator\.unknown"), office(s.config, stranger):
        pass
    other_name = Operator("other", s.operator.key)
    with pytest.raises(PolicyError, match=r"operator\.unknown"), office(s.config, other_name):
        pass
    keys = s.config.path(s.config.keys_dir)
    with pytest.raises(InputError, match=r"key\.role"):
        read_operator(keys / "log.key", passphrase(s.config), s.config)


def test_an_action_that_is_refused_leaves_no_row(s: Site) -> None:
    with s.office() as desk:
        before = len(desk.trail())
        for act in (
            lambda: desk.register_source("custodian", SigningKey(Role.SOURCE, secrets.token_bytes(32)).public),
            lambda: desk.register_source("other", SOURCE_KEYS["custodian"].public),
            lambda: desk.register_source("a/b", SigningKey(Role.SOURCE, secrets.token_bytes(32)).public),
            lambda: desk.register_venue("v", SOURCE_KEYS["custodian"].public),
            lambda: desk.register_venue("v", SigningKey(Role.SOURCE, secrets.token_bytes(32)).public),
            lambda: desk.resume("venue", "venue-a"),
            lambda: desk.suspend("venue", "nobody"),
            lambda: desk.revoke_key("0" * 32),
            lambda: desk.requeue("0" * 32),
        ):
            with pytest.raises((PolicyError, InputError)):
                act()
        assert len(desk.trail()) == before


def test_a_removed_name_is_never_given_out_again(s: Site) -> None:
    with s.office() as desk:
        desk.remove("source", "custodian")
        with pytest.raises(PolicyError, match=r"party\.state"):
            desk.resume("source", "custodian")
        with pytest.raises(PolicyError, match=r"party\.exists"):
            desk.register_source("custodian", SigningKey(Role.SOURCE, secrets.token_bytes(32)).public)


@pytest.mark.parametrize(
    "change",
    [
        sa.update(rows).where(rows.c.id == 3).values(action="remove"),
        sa.update(rows).where(rows.c.id == 3).values(operator="other"),
        sa.update(rows).where(rows.c.id == 3).values(signature=bytes(64)),
        sa.update(rows).where(rows.c.id == 3).values(digest=bytes(32)),
        sa.delete(rows).where(rows.c.id == 3),
        sa.delete(rows).where(rows.c.id == 1),
    ],
)
def test_a_trail_that_was_changed_is_found_broken(s: Site, change: sa.Update | sa.Delete) -> None:
    store = Store(s.config.store_url)
    with store.write() as c:
        c.execute(change)
    store.close()
    with s.office() as desk, pytest.raises(StorageError, match=r"audit\.broken"):
        desk.trail()


def test_a_trail_cut_at_the_end_shows_against_the_digest_kept_elsewhere(s: Site) -> None:
    store = Store(s.config.store_url)
    with store.write() as c:
        kept = audit.last_digest(c)
        last = c.scalar(sa.select(sa.func.max(rows.c.id)))
        c.execute(sa.delete(rows).where(rows.c.id == last))
        assert audit.last_digest(c) != kept
    store.close()


def test_rotation_keeps_the_old_key_for_those_who_have_not_seen_the_new(s: Site) -> None:
    store = Store(s.config.store_url)
    directory, phrase = s.config.path(s.config.keys_dir), passphrase(s.config)
    [old] = ProverKeys(store).accepted(now_ms())
    new = SealingKey(secrets.token_bytes(32))
    account = s.account("fund")
    submit_directly(s, account)
    with s.office() as desk:
        desk.rotate_prover_key(directory, phrase, new, grace_s=60, log_cost=MIN_LOG_COST)
    assert [k.key_id for k in ProverKeys(store).accepted(now_ms())] == [new.public.key_id, old.key_id]
    assert [k.key_id for k in ProverKeys(store).accepted(now_ms() + 61_000)] == [new.public.key_id]
    assert key_path(directory, new.public.key_id).exists()
    with store.read() as c:
        assert keys_in_use(c) == {old.key_id}
    store.close()


def test_a_dead_job_is_given_another_round(s: Site) -> None:
    name = submit_directly(s, s.account("fund"))
    store = Store(s.config.store_url)
    with store.write() as c:
        c.execute(sa.update(jobs).values(state="dead"))
    with s.office() as desk:
        desk.requeue(name)
    with store.read() as c:
        assert c.scalar(sa.select(jobs.c.state)) == "ready"
    store.close()


def test_a_first_run_makes_private_files_once_and_says_so(tmp_path: Path) -> None:
    from server.config import load
    from server.main import first_run

    said: list[str] = []
    config = first_run(load(data_dir=tmp_path / "data"), said.append, log_cost=MIN_LOG_COST)
    assert len(said) == 7
    assert all("DEVELOPMENT" in line for line in said)
    secret = [*config.path(config.keys_dir).iterdir(), tmp_path / "data" / "tls" / "server.key"]
    assert {oct(p.stat().st_mode & 0o777) for p in secret} == {"0o600"}
    before = {p: p.read_bytes() for p in secret}
    again: list[str] = []
    first_run(config, again.append, log_cost=MIN_LOG_COST)
    assert again == []
    assert {p: p.read_bytes() for p in secret} == before
    assert len(public_half(config, "log.key")) == 32


def logged_accounts(s: Site) -> list[bytes]:
    log = open_log(s.config, None)
    entries = [Entry.decode(e.data) for e in log.entries()]
    close_log(log)
    return [e.payload for e in entries if e.kind == LogKind.ACCOUNT]


def test_a_refused_registration_logs_no_record(s: Site) -> None:
    """Sources seal openings to the key in the account's record: one under a name that is taken would redirect them."""
    owner, thief = s.account("fund-1"), Account.new("thief")
    foreign = AccountRecord(owner.name, thief.key.public, thief.sealing.public)
    for record, code in (
        (sign(foreign, [thief.key]), r"party\.exists"),
        (sign(AccountRecord("a/b", thief.key.public, thief.sealing.public), [thief.key]), r"party\.name"),
        (sign(AccountRecord("other", owner.key.public, thief.sealing.public), [owner.key]), r"key\.taken"),
    ):
        with s.office() as desk, pytest.raises((PolicyError, InputError), match=code):
            desk.register_account(record)
    assert logged_accounts(s) == [owner.record.encode()]


def test_a_logged_record_keeps_its_name_also_when_the_registration_was_lost(s: Site) -> None:
    """Killed between the log's commit and ours: the owner's record goes on, a stranger's does not take its place."""
    owner, thief = Account.new("fund-1"), Account.new("thief")
    log = open_log(s.config, None)
    publish_account(log, owner.record, now=int(time.time()))
    close_log(log)
    with s.office() as desk:
        with pytest.raises(PolicyError, match=r"party\.exists"):
            desk.register_account(sign(AccountRecord("fund-1", thief.key.public, thief.sealing.public), [thief.key]))
        desk.register_account(owner.record)
    assert logged_accounts(s) == [owner.record.encode()]
