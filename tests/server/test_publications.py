"""Sources and accounts publish for themselves, each its own records alone, and what is published cannot be bent."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from marginseal.errors import PolicyError, ServiceError
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.records.envelope import sign
from marginseal.records.keys import Role
from marginseal.records.manifest import FIRST, Manifest, SourceRelease, open_manifest
from marginseal.records.source import PublishedStatement
from server import publish
from server.catalogue import Catalogue
from server.client import Client
from server.jobs import now_ms
from server.main import LOG_KEY, _signing_key, close_log, open_log
from server.public import LoggedRecords
from server.store import Store
from tests.server.world import LOTS, SOURCE_KEYS, Account, Site, site

DELAY_S = 100


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("publish"), log={"manifest_delay_s": DELAY_S}) as s:
        s.serve()
        yield s


def source(s: Site, name: str) -> Client:
    return s.keep(Client(s.config.public_url, ca=s.ca, key=SOURCE_KEYS[name]))


def refused(code: str) -> pytest.RaisesExc[ServiceError]:
    return pytest.raises(ServiceError, match=rf"\[{code}\]")


def statements(account: Account) -> dict[str, PublishedStatement]:
    return dict(zip(account.books, account.published(LOTS, int(time.time()) - 30), strict=True))


def test_a_source_publishes_and_does_so_again(open_site: Site) -> None:
    made = statements(open_site.account("fund-1"))
    custodian = source(open_site, "custodian")
    assert custodian.publish_source_statement(made["custodian"]) == made["custodian"].message.digest
    assert custodian.publish_source_statement(made["custodian"]) == made["custodian"].message.digest


def test_a_source_publishes_nothing_of_anothers(open_site: Site) -> None:
    made = statements(open_site.account("fund-2"))
    with refused("publication.party"):
        source(open_site, "venue-a").publish_source_statement(made["custodian"])


def test_an_account_publishes_no_source_statement(open_site: Site) -> None:
    account = open_site.account("fund-3")
    with refused("signature.invalid"):
        open_site.client(account).publish_source_statement(statements(account)["custodian"])


def test_another_ciphertext_than_the_signed_one_is_refused(open_site: Site) -> None:
    made = statements(open_site.account("fund-4"))["custodian"]
    bent = replace(made, sealed=bytes(len(made.sealed)))
    with refused("source.ciphertext"):
        source(open_site, "custodian").publish_source_statement(bent)


def test_a_message_signed_by_another_key_is_refused(open_site: Site) -> None:
    from marginseal.records.envelope import Signature

    made = statements(open_site.account("fund-5"))["custodian"]
    forged = replace(made.message, signatures=(Signature(made.message.signatures[0].key_id, bytes(64)),))
    with refused("signature.threshold"):
        source(open_site, "custodian").publish_source_statement(replace(made, message=forged))


def manifest(account: Account, version: int, previous: bytes, effective: int, left_out: str = "") -> Manifest:
    books = tuple((s, account.books[s]) for s in sorted(account.books) if s != left_out)
    return Manifest(account.name, version, previous, effective, (account.key.public,), books)


def test_a_manifest_changes_after_a_delay_and_drops_no_book_by_itself(open_site: Site) -> None:
    account = open_site.account("fund-6")
    client, first = open_site.client(account), account.manifest.digest
    now = int(time.time())
    early = sign(manifest(account, 2, first, now + 1), [account.key])
    with refused("manifest.too-soon"):
        client.publish_manifest(early)
    gone = sign(manifest(account, 2, first, now + 2 * DELAY_S, "venue-b"), [account.key])
    with refused("manifest.book-gone"):
        client.publish_manifest(gone)
    release = SourceRelease("venue-b", account.name, account.books["venue-b"], first, now)
    with refused("publication.party"):
        source(open_site, "venue-a").publish_source_release(sign(release, [SOURCE_KEYS["venue-b"]]))
    source(open_site, "venue-b").publish_source_release(sign(release, [SOURCE_KEYS["venue-b"]]))
    assert client.publish_manifest(gone) == gone.digest
    with refused("manifest.succession"):
        client.publish_manifest(sign(manifest(account, 2, first, now + 3 * DELAY_S), [account.key]))


def test_a_first_manifest_needs_a_registered_key(open_site: Site) -> None:
    account = Account.new("fund-7")
    with open_site.office() as desk:
        desk.register_account(account.record)
        stranger = SOURCE_KEYS["custodian"]
        own_key = replace(manifest(account, 1, bytes(32), 0), keys=(Account.new("stranger").key.public,))
        assert stranger
        with pytest.raises(Exception, match=r"signature\.threshold"):
            desk.publish_manifest(sign(own_key, [Account.new("stranger").key]))
        with pytest.raises(PolicyError, match=r"party\.exists"):
            desk.register_account(account.record)


def test_an_account_publishes_no_manifest_of_anothers(open_site: Site) -> None:
    """The first would be signed by a registered key: the stranger's own, which it would make the account's."""
    victim, stranger = Account.new("fund-12"), open_site.account("stranger")
    with open_site.office() as desk:
        desk.register_account(victim.record)
    stolen = replace(manifest(victim, 1, FIRST, 0), keys=(stranger.key.public,))
    with refused("publication.party"):
        open_site.client(stranger).publish_manifest(sign(stolen, [stranger.key]))
    open_site.client(victim).publish_manifest(victim.manifest)


def test_a_statement_under_a_manifest_that_is_not_in_force_is_refused(open_site: Site) -> None:
    """The newer manifest holds from its date on: before it the old one, after it the new one, whatever is wished."""
    from tests.server.test_acceptance import worked

    account = open_site.account("fund-8")
    now = int(time.time())
    later = sign(manifest(account, 2, account.manifest.digest, now + 2 * DELAY_S), [account.key])
    open_site.client(account).publish_manifest(later)
    submission, published = account.submission(manifest=later.digest)
    open_site.publish(published)
    code, answer = worked(open_site, account, submission)
    assert code == "submission.refused"
    assert answer is not None
    assert answer.code == "submission.manifest"


@contextlib.contextmanager
def shelf(s: Site) -> Iterator[tuple[Log, LoggedRecords]]:
    """What a process of the service sees of the log."""
    store, log = Store(s.config.store_url), open_log(s.config, None)
    yield log, LoggedRecords(store, log, Catalogue(store, log), now_ms, manifest_delay_s=DELAY_S)
    close_log(log)
    store.close()


def chain(public: LoggedRecords, account: Account) -> list[int]:
    return [one.version for one, _ in public.manifests(account.name)]


def test_of_two_manifests_published_at_once_one_is_judged_after_the_other(
    open_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two first manifests in the log would be a fault in every replay of it, for ever."""
    account, owner = Account.new("fund-9"), [Account.new("fund-9").key]
    with open_site.office() as desk:
        desk.register_account(account.record)
    rival = sign(replace(manifest(account, 1, FIRST, 0), effective=1), owner)
    keys = [account.key.public]

    with shelf(open_site) as (log, public), shelf(open_site) as (other_log, other_public):

        def overtaken(*given: Any, **named: Any) -> Manifest:
            monkeypatch.undo()
            publish.publish_manifest(other_log, other_public, rival, keys, now=int(time.time()), delay_s=DELAY_S)
            return open_manifest(*given, **named)

        monkeypatch.setattr(publish, "open_manifest", overtaken)
        with pytest.raises(PolicyError, match=r"manifest\.succession"):
            publish.publish_manifest(log, public, account.manifest, keys, now=int(time.time()), delay_s=DELAY_S)
        assert chain(public, account) == [1]


def test_the_delay_of_a_manifest_counts_from_the_time_of_the_log(open_site: Site) -> None:
    """The log's time may be ahead of a clock; a replay has no other."""
    account = open_site.account("fund-10")
    log_key = _signing_key(open_site.config, LOG_KEY, Role.LOG)
    signing = open_log(open_site.config, log_key)
    now = int(time.time())
    signing.checkpoint(now=now + 5)
    close_log(signing)
    with shelf(open_site) as (log, public):
        for effective, refused_with in ((now + DELAY_S, r"manifest\.too-soon"), (now + 5 + DELAY_S, None)):
            record = sign(manifest(account, 2, account.manifest.digest, effective), [account.key])
            expected = pytest.raises(PolicyError, match=refused_with) if refused_with else contextlib.nullcontext()
            with expected:
                publish.publish_manifest(log, public, record, [account.key.public], now=now, delay_s=DELAY_S)


def test_an_account_cannot_fill_the_log_with_manifests(open_site: Site) -> None:
    account = open_site.account("fund-11")
    client, last, posted = open_site.client(account), account.manifest.digest, []
    for version in range(2, 2 + publish.MAX_WAITING):
        effective = int(time.time()) + DELAY_S + 60 + version
        posted.append(sign(manifest(account, version, last, effective), [account.key]))
        last = client.publish_manifest(posted[-1])
    with refused("manifest.waiting"):
        client.publish_manifest(sign(manifest(account, version + 1, last, effective + 60), [account.key]))
    assert client.publish_manifest(posted[0]) == posted[0].digest  # an answer that was lost may be asked for again


def test_a_page_of_large_entries_is_a_short_page(open_site: Site) -> None:
    """Sixty-four manifests of megabytes would be a gigabyte in the server, for whoever asks."""
    size = 3 * 2**20
    log = open_log(open_site.config, None)
    first = log.append_many([Entry("note", bytes([i]) * size) for i in range(6)], now=int(time.time()))[0]
    close_log(log)
    client = open_site.client()
    page = client.entries(first)
    assert 0 < sum(len(data) for _, _, data in page) < 2 * size
    read, at = list[int](), first
    while page := client.entries(at):
        read += [index for index, _, _ in page]
        at = page[-1][0] + 1
    assert read == list(range(first, first + 6))
