"""The thin path, over real HTTPS on loopback: a sealed submission in, a worker proves, a venue verifies."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marginseal.algebra.curve import backend
from marginseal.algebra.srs import ceremony
from marginseal.log.client import verify_newest
from marginseal.records.attestation import Attestation
from marginseal.records.keys import PublicKey, Role
from marginseal.records.pledges import open_pledge, verify_pledge
from server.main import ATTESTATION_KEY, public_half
from tests.server.patience import until
from tests.server.world import (
    UNHEALTHY,
    VENUE_REGISTRY,
    VENUES_RECORD,
    Site,
    commitment,
    compiled,
    site,
)
from verifier.verify import verify


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("path"), worker={"processes": 1}) as s:
        s.serve()
        s.work()
        yield s


def test_a_sealed_submission_becomes_an_attestation_that_a_venue_verifies(running: Site) -> None:
    fund = running.account("fund-1")
    client, venue = running.client(fund), running.client()
    submission, published = fund.submission()
    running.publish(published)

    submitted = client.submit(submission)
    status = client.wait(submitted)
    assert status["state"] == "attested", running.said()
    answer = client.answer(status, submitted, fund.response)
    assert answer is not None
    assert (answer.outcome, answer.statement) == ("attested", submission.statement.digest)

    logged = venue.latest("fund-1")
    assert logged is not None
    assert logged.head is not None
    assert (logged.sequence, logged.log_index) == (1, answer.log_index)
    newest = verify_newest(
        logged.receipt,
        logged.head,
        logged.attestation,
        running.log_policy,
        account="fund-1",
        sequence=1,
        statement_digest=submission.statement.digest,
        now=int(time.time()),
        max_age_s=60,
    )
    assert newest.logged.index == logged.log_index

    attestation = Attestation.decode(logged.attestation)
    prover = PublicKey(Role.PROVER, public_half(running.config, ATTESTATION_KEY))
    attestation.verify_signatures([prover])
    verify(compiled().circuit, attestation.statement, attestation.proofs[0])

    opening = open_pledge(submission.pledges, submission.statement, VENUES_RECORD, "venue-b", commitment())
    n = compiled().circuit.n
    amount = verify_pledge(
        opening, attestation.statement, VENUES_RECORD, VENUE_REGISTRY.digest, "venue-b", n,
        srs=ceremony(), curve=backend(),
    )  # fmt: skip
    assert amount == 10


def test_the_second_in_the_chain_follows_the_first(running: Site) -> None:
    fund = running.account("fund-2")
    client = running.client(fund)
    for sequence in (1, 2):
        submission, published = fund.submission()
        running.publish(published)
        status = client.wait(client.submit(submission))
        assert (status["state"], status["sequence"]) == ("attested", sequence)
    logged = running.client().latest("fund-2", after=1)
    assert logged is not None
    assert logged.sequence == 2


def test_an_unhealthy_book_is_refused_and_only_its_owner_learns_why(running: Site) -> None:
    fund = running.account("fund-3")
    client = running.client(fund)
    submission, published = fund.submission(UNHEALTHY)
    running.publish(published)
    submitted = client.submit(submission)
    status = client.wait(submitted)
    assert (status["state"], status["code"]) == ("refused", "submission.refused")
    assert "shortfall" not in str(status)
    answer = client.answer(status, submitted, fund.response)
    assert answer is not None
    assert answer.code == "rule.unsatisfied"
    assert answer.line
    assert answer.shortfall
    assert running.client().latest("fund-3") is None


def test_every_answer_has_the_same_size(running: Site) -> None:
    fund, other = running.account("fund-4"), running.account("fund-5")
    sizes = set()
    for account, lots in ((fund, None), (other, UNHEALTHY)):
        client = running.client(account)
        submission, published = account.submission(lots)
        running.publish(published)
        status = client.wait(client.submit(submission))
        sizes.add(len(str(status["result"])))
    assert len(sizes) == 1


def test_a_venue_waiting_for_the_next_attestation_gets_it(running: Site) -> None:
    fund = running.account("fund-6")
    client = running.client(fund)
    submission, published = fund.submission()
    running.publish(published)
    client.submit(submission)
    venue = running.client()
    logged = until(lambda: venue.latest("fund-6", wait_s=20), "the attestation")
    assert logged is not None
    assert logged.sequence == 1


def test_the_log_serves_all_that_replay_needs(running: Site, tmp_path: Path) -> None:
    from marginseal.log.entry import Entry

    client = running.client()
    entries, at = [], 0
    while page := client.entries(at):
        entries += page
        at = page[-1][0] + 1
    assert [index for index, _, _ in entries] == list(range(len(entries)))
    attested = [Entry.decode(data) for _, _, data in entries if Entry.decode(data).kind == "attestation"]
    assert attested
    import hashlib

    for entry in attested:
        assert len(entry.dependencies) == 9  # epoch and its record, universe, manifest, two registries, three sources
        for digest in entry.dependencies:
            assert hashlib.sha256(client.object(digest)).digest() == digest
