"""A backup taken while the service works is whole, and a log put back behind its own word refuses to sign."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from marginseal.errors import InputError, ProofRejected, ServiceError, StorageError
from marginseal.log.cosignature import Cosigner
from marginseal.log.policy import LogPolicy
from marginseal.records.keyfile import MIN_LOG_COST, write_key
from marginseal.records.keys import Role, SigningKey
from server.backup import back_up, restore
from server.config import Config, load
from server.jobs import LeaseQueue
from server.main import (
    LOG_KEY,
    _signing_key,
    close_log,
    limits,
    log_signer,
    make_worker,
    office,
    open_log,
    passphrase,
    unlock_worker_keys,
)
from server.store import Store, check_version
from server.tables import jobs
from tests.databases import new_schema
from tests.postgres import Cluster, execute
from tests.server.test_kills import attested
from tests.server.world import Site, site, submit_directly


def moved(config: Config, directory: Path) -> Config:
    """The same service in another place, with its keys."""
    shutil.copytree(config.path(config.keys_dir), directory / "keys")
    return config.model_copy(update={"data_dir": directory})


@pytest.fixture
def own_schema(postgresql: Cluster) -> Iterator[str]:
    """On the tests' own server: its tools are of its version."""
    with new_schema(postgresql.url()) as url:
        yield url


def work_off(s: Site) -> None:
    with contextlib.closing(make_worker(s.config, unlock_worker_keys(s.config), "w")) as worker:
        while worker.run_once():
            pass


def test_what_was_in_the_backup_is_finished_after_a_restore(tmp_path: Path) -> None:
    with site(tmp_path / "old") as s:
        done, waiting = s.accounts(2)
        for account, submission in s.submissions([done]):
            submit_directly(s, account, submission)
        work_off(s)
        for account, submission in s.submissions([waiting]):
            submit_directly(s, account, submission)
        back_up(s.config, tmp_path / "backup")
        # Between the two copies a worker may have logged what the service's copy still calls ready.
        work_off(s)
        copy = tmp_path / "backup" / "log.db"
        copy.unlink()
        with (
            contextlib.closing(sqlite3.connect(s.config.data_dir / "log.db")) as old,
            contextlib.closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new)

        again = Site(moved(s.config, tmp_path / "new"))
        restore(tmp_path / "backup", again.config)
        store = Store(again.config.store_url)
        check_version(store)
        LeaseQueue(store, limits(again.config)).forfeit("w")
        work_off(again)
        with store.read() as c:
            assert set(c.scalars(sa.select(jobs.c.state))) == {"attested"}
        store.close()
        assert attested(again) == [("fund-0", 1), ("fund-1", 1)]
        assert {p.stat().st_mode & 0o777 for p in (tmp_path / "backup").iterdir()} == {0o600, 0o644}


def test_a_server_s_own_tools_back_up_both_sets_of_tables(tmp_path: Path, postgresql: Cluster, own_schema: str) -> None:
    """pg_dump while a worker logs, into another database: what was accepted is finished there, once."""
    with site(tmp_path / "old", database_url=own_schema) as s:
        accounts = s.accounts(3)
        for account, submission in s.submissions(accounts):
            submit_directly(s, account, submission)
        worker = threading.Thread(target=work_off, args=(s,))
        worker.start()
        postgresql.tool("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", "postgres")
        worker.join()
        other = postgresql.new_database(f"restored_{secrets.token_hex(8)}")
        postgresql.tool("pg_restore", "--exit-on-error", f"--dbname={other.database}", str(tmp_path / "dump"))

        moved_to = moved(s.config, tmp_path / "new")
        options = sa.make_url(own_schema).query["options"]
        url = other.update_query_dict({"options": options}).render_as_string(hide_password=False)
        again = Site(moved_to.model_copy(update={"database_url": url}))
        store = Store(again.config.store_url)
        check_version(store)
        LeaseQueue(store, limits(again.config)).forfeit("w")
        work_off(again)
        with store.read() as c:
            assert c.scalars(sa.select(jobs.c.state)).all() == ["attested"] * 3
        store.close()
        assert sorted(attested(again)) == [("fund-0", 1), ("fund-1", 1), ("fund-2", 1)]
        for old_tool in (back_up, restore):
            arguments = (again.config, tmp_path / "no") if old_tool is back_up else (tmp_path / "no", again.config)
            with pytest.raises(InputError, match=r"backup\.database"):
                old_tool(*arguments)  # type: ignore[arg-type]


def test_a_restored_server_behind_its_released_checkpoint_signs_nothing(
    tmp_path: Path, postgresql: Cluster, own_schema: str
) -> None:
    with site(tmp_path, database_url=own_schema) as s:
        postgresql.tool("pg_dump", "--format=custom", f"--file={tmp_path / 'dump'}", "postgres")
        s.account("later")
        key = _signing_key(s.config, LOG_KEY, Role.LOG)
        log = open_log(s.config, key)
        log.checkpoint(now=2_000_000_000)
        close_log(log)
        name = sa.make_url(own_schema).query["options"]
        assert isinstance(name, str)
        execute(postgresql.url(), f"DROP SCHEMA {name.partition('=')[2]} CASCADE")
        postgresql.tool("pg_restore", "--exit-on-error", "--dbname=postgres", str(tmp_path / "dump"))
        with pytest.raises(StorageError, match=r"log\.rollback"):
            open_log(s.config, key)


def test_a_log_behind_its_released_checkpoint_signs_nothing(tmp_path: Path) -> None:
    released = tmp_path / "elsewhere" / "released"
    released.parent.mkdir()
    with site(tmp_path / "old", log={"released": str(released)}) as s:
        back_up(s.config, tmp_path / "backup")
        s.account("later")
        key = _signing_key(s.config, LOG_KEY, Role.LOG)
        log = open_log(s.config, key)
        log.checkpoint(now=2_000_000_000)
        close_log(log)
        config = moved(s.config, tmp_path / "new")
        restore(tmp_path / "backup", config)
        with pytest.raises(StorageError, match=r"log\.rollback"):
            open_log(config, key)
        # Nor is anything added to it: whose attestation a worker logged here would be told that it stands.
        with pytest.raises(StorageError, match=r"log\.rollback"):
            make_worker(config, unlock_worker_keys(config), "w")
        with pytest.raises(StorageError, match=r"log\.rollback"), office(config, s.operator):
            pass


def test_nothing_is_overwritten_and_nothing_is_missing(tmp_path: Path) -> None:
    with site(tmp_path / "old") as s:
        back_up(s.config, tmp_path / "backup")
        with pytest.raises(InputError, match=r"backup\.exists"):
            back_up(s.config, tmp_path / "backup")
        with pytest.raises(InputError, match=r"backup\.exists"):
            restore(tmp_path / "backup", s.config)
        (tmp_path / "backup" / "log.db").unlink()
        with pytest.raises(InputError, match=r"backup\.missing"):
            restore(tmp_path / "backup", s.config.model_copy(update={"data_dir": tmp_path / "new"}))
        (s.config.data_dir / "log.db").write_bytes(b"no database")
        with pytest.raises(StorageError, match=r"backup\.failed"):
            back_up(s.config, tmp_path / "second")


def test_a_memory_that_cannot_be_written_is_no_unknown_entry(tmp_path: Path) -> None:
    """A full disk under `log.released` must not tell a venue that an attestation does not exist."""
    with site(tmp_path, log={"checkpoint_age_s": 0}) as s:
        s.serve()
        client = s.client(patience_s=0)
        assert client.receipt(0)
        released = s.config.path(s.config.log.released)
        kept = released.read_bytes()
        released.unlink()
        released.mkdir()
        time.sleep(1.1)  # no checkpoint of this second is there to be shown again
        with pytest.raises(ServiceError, match=r"\[log\.memory\]"):
            client.receipt(0)
        released.rmdir()
        released.write_bytes(kept)
        assert client.receipt(0)


def test_the_log_goes_on_under_a_new_key(tmp_path: Path) -> None:
    """What was released carries the old key's signature: the configuration has to name that key."""
    with site(tmp_path) as s:
        signed = open_log(s.config, _signing_key(s.config, LOG_KEY, Role.LOG))
        signed.checkpoint(now=int(time.time()))
        close_log(signed)
        old = log_signer(s.config, _signing_key(s.config, LOG_KEY, Role.LOG)).key
        file = s.config.path(s.config.keys_dir) / LOG_KEY
        file.unlink()
        new = SigningKey(Role.LOG, secrets.token_bytes(32))
        write_key(file, new, passphrase(s.config), log_cost=MIN_LOG_COST)
        for key in (new, None):
            with pytest.raises(ProofRejected, match=r"note\."):
                open_log(s.config, key)
        rotated = s.config.model_copy(update={"log": s.config.log.model_copy(update={"former": (str(old),)})})
        for key in (None, new):
            log = open_log(rotated, key)
            assert log.size() > 0
            if key is not None:
                note = log.checkpoint(now=int(time.time()) + 1)
                LogPolicy(rotated.log.origin, (log_signer(rotated, new).key,)).verify(note)
            close_log(log)
    for bad in ("no key", str(Cosigner("w.example", new.note_key()).key)):
        with pytest.raises(InputError, match=r"log\.former"):
            load(data_dir=tmp_path, log={"former": [bad]})
