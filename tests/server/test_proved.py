"""An account proves for itself: its attestation is checked as a worker's own would be, and logged once, as posted."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import sqlalchemy as sa

from circuits.compile import compile_rule
from circuits.model import Link
from marginseal.errors import DecodeError, MarginSealError
from marginseal.log.client import verify_newest
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.records.attestation import Attestation, RuleRef, make_attestation, sign_statement
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keys import Role, SigningKey
from marginseal.records.statement import Claim, Continuity, Kind, Release, Statement, Tier
from marginseal.records.submission import Submission
from prover.attest import Attestor, Circuits
from prover.prove import Secrets
from server.accept import Header, Situation, accept, status
from server.catalogue import Catalogue
from server.jobs import LeaseQueue, now_ms
from server.main import close_log, limits, open_log
from server.public import LoggedRecords
from server.signatures import Caller
from server.store import Store
from server.tables import jobs
from server.wire import MAX_PROVED_BYTES, decode_proved, encode_proved
from server.worker import KILL_POINTS
from tests.server.test_kills import attested, drain
from tests.server.wire_level import post_octets, recorder
from tests.server.world import (
    RISK,
    RULE,
    UNIVERSE,
    VENUE_KEYS,
    VENUES,
    Account,
    Site,
    epoch,
    key,
    python_path,
    seed,
    site,
    work_once,
)
from verifier.verify import Setting

PATH = "/v1/attestations"


def prover_of(account: Account) -> SigningKey:
    return key(Role.PROVER, account.name)


def self_prover(s: Site, name: str) -> Account:
    """An account whose own prover is registered."""
    account = s.account(name)
    with s.office() as desk:
        desk.register_prover(name, prover_of(account).public)
    return account


def prove(s: Site, account: Account, *, prover: SigningKey | None = None, **changes: Any) -> Attestation:
    """The next attestation, proved on the account's side with what the service has published."""
    submission, published = account.submission(**changes)
    s.publish(published)
    return attest(s, account, submission, prover)


def attest(s: Site, account: Account, submission: Submission, prover: SigningKey | None = None) -> Attestation:
    with contextlib.closing(Store(s.config.store_url)) as store:
        log = open_log(s.config, None)
        public = LoggedRecords(store, log, Catalogue(store, log), now_ms, manifest_delay_s=0)
        signer = prover or prover_of(account)
        attestor = Attestor(signer, Secrets(seed("blinding")), Setting.default(), Circuits())
        attestation = attestor.attest(submission, public)
        close_log(log)
    return attestation


def unproved(
    s: Site,
    account: Account,
    *,
    proof: bytes = b"no proof",
    prover: SigningKey | None = None,
    rule: str = RULE,
    publish: bool = True,
    **changes: Any,
) -> Attestation:
    """Rightly signed by both, with bytes for a proof."""
    submission, published = account.submission(advance=False, **changes)
    if publish:
        s.publish(published)
    return signed(submission.statement, account, proof, prover=prover, rule=rule)


def signed(
    statement: Statement, account: Account, proof: bytes, *, prover: SigningKey | None = None, rule: str = RULE
) -> Attestation:
    owner = sign_statement(statement, account.key)
    return make_attestation(statement, owner, (RuleRef(rule),), (proof,), prover or prover_of(account))


def hand_in(s: Site, account: Account, attestation: Attestation, releases: Sequence[Envelope] = ()) -> str:
    """Accepted as the server would, without HTTP and without its checks; the submission's identifier."""
    statement = attestation.statement
    with contextlib.closing(Store(s.config.store_url)) as store:
        name, _ = accept(
            store,
            LeaseQueue(store, limits(s.config)),
            Caller("account", account.name, account.key.public.key_id),
            encode_proved(attestation.data, [release.encode() for release in releases]),
            Header(account.name, statement.sequence, statement.epoch, None),
            secrets.token_hex(8),
            lambda: Situation(frozenset(), lambda _epoch: True, statement.sequence - 1),
            now=now_ms(),
        )
    return name


def outcome(s: Site, account: Account, name: str) -> tuple[str, str | None]:
    with contextlib.closing(Store(s.config.store_url)) as store:
        found = status(store, account.name, name)
    assert found.result is None
    return found.state, found.code


# By HTTP, end to end


@pytest.fixture(scope="module")
def working(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(
        tmp_path_factory.mktemp("proved"), worker={"processes": 1}, rates={"account_submissions_per_s": 500}
    ) as s:
        s.serve()
        s.work()
        yield s


def test_what_an_account_proved_is_logged_as_it_was_posted(working: Site) -> None:
    account = self_prover(working, "self-prover")
    client = working.client(account)
    for sequence in (1, 2):
        attestation = prove(working, account)
        done = client.wait(client.post_proved(attestation.data))
        assert (done["state"], done["code"], done["result"]) == ("attested", None, None), working.said()
        assert done["attestation"] == attestation.statement.digest.hex()
        logged = client.latest("self-prover", after=sequence - 1, wait_s=10)
        assert logged is not None
        assert logged.attestation == attestation.data
        assert logged.head is not None
        verify_newest(
            logged.receipt,
            logged.head,
            logged.attestation,
            working.log_policy,
            account=account.name,
            sequence=sequence,
            statement_digest=attestation.statement.digest,
            now=int(time.time()),
            max_age_s=60,
        )


def test_a_hosted_proof_may_follow_one_of_its_own(working: Site) -> None:
    account = self_prover(working, "both-ways")
    client = working.client(account)
    assert client.wait(client.post_proved(prove(working, account).data))["state"] == "attested"
    submission, published = account.submission()
    working.publish(published)
    assert client.wait(client.submit(submission))["state"] == "attested"


# What the server refuses at once


def post(s: Site, account: Account, body: bytes, name: str | None = None) -> requests.Response:
    return post_octets(s, PATH, account, body, name)


def refused(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


@pytest.fixture(scope="module")
def poster(served: Site) -> Account:
    return self_prover(served, f"poster-{secrets.token_hex(4)}")


def body_of(attestation: Attestation) -> bytes:
    return encode_proved(attestation.data)


def test_the_same_again_is_the_same_and_another_of_its_sequence_waits(served: Site) -> None:
    account = self_prover(served, f"again-{secrets.token_hex(4)}")
    body, name = body_of(unproved(served, account)), secrets.token_urlsafe(16)
    first, second = post(served, account, body, name), post(served, account, body, name)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]
    assert first.headers["Location"] == f"/v1/submissions/{first.json()['id']}"
    other = body_of(unproved(served, account, proof=b"another"))
    assert refused(post(served, account, other, name)) == (422, "idempotency.mismatch")
    assert refused(post(served, account, other)) == (409, "submission.sequence-pending")


def test_a_request_that_comes_twice_is_refused(served: Site, poster: Account) -> None:
    client = recorder(served, poster.key)
    request = client.prepare(
        "POST", PATH, b"x" * 8, Content_Type="application/octet-stream", Idempotency_Key="0123456789"
    )
    assert client.deliver(request).status_code == 400
    assert refused(client.deliver(request)) == (401, "signature.invalid")


@pytest.mark.parametrize(
    "body", [b"", b"\0\0\0", b"\0\0\0\1", b"\0\0\0\2{}", b"\xff\xff\xff\xff{}"], ids=["empty", "2", "3", "4", "5"]
)
def test_what_is_no_attestation_is_refused(served: Site, poster: Account, body: bytes) -> None:
    assert post(served, poster, body).status_code == 400


def test_too_much_is_refused(served: Site, poster: Account) -> None:
    limit = min(MAX_PROVED_BYTES, served.config.server.max_body_bytes)
    assert refused(post(served, poster, bytes(limit + 1))) == (413, "body.too-large")


def test_another_accounts_attestation_is_refused(served: Site, poster: Account) -> None:
    other = self_prover(served, f"other-{secrets.token_hex(4)}")
    assert refused(post(served, poster, body_of(unproved(served, other)))) == (403, "submission.account")


def test_a_prover_that_nobody_registered_is_refused(served: Site, poster: Account) -> None:
    """Nor does the service's own key, or another account's, make it the account's."""
    stranger = key(Role.PROVER, "stranger")
    other = self_prover(served, f"neighbour-{secrets.token_hex(4)}")
    for prover in (stranger, prover_of(other)):
        attestation = unproved(served, poster, prover=prover)
        assert refused(post(served, poster, body_of(attestation))) == (403, "proved.prover")


def test_a_signature_that_nobody_can_check_is_refused(served: Site, poster: Account) -> None:
    attestation = unproved(served, poster)
    more = attestation.envelope.countersign(key(Role.PROVER, "stranger"))
    assert refused(post(served, poster, encode_proved(more.encode()))) == (409, "proved.signatures")


def test_a_statement_that_the_owner_did_not_sign_is_refused(served: Site, poster: Account) -> None:
    attestation = unproved(served, poster)
    body = replace(attestation.body, owner=bytes(64))
    forged = sign(body, [prover_of(poster)]).encode()
    assert refused(post(served, poster, encode_proved(forged))) == (422, "signature.invalid")


def test_an_epoch_that_is_unknown_or_has_expired_is_refused(served: Site, poster: Account) -> None:
    unknown = unproved(served, poster, epoch=bytes(32))
    assert refused(post(served, poster, body_of(unknown))) == (409, "submission.epoch")
    short = brief_epoch(f"brief-{secrets.token_hex(4)}", expires=int(time.time()) - 1)
    publish_epoch(served, short)
    expired = unproved(served, poster, epoch=short.digest)
    assert refused(post(served, poster, body_of(expired))) == (409, "submission.epoch")


def brief_epoch(name: str, *, expires: int, later_s: int = 0) -> RiskEpoch:
    """An epoch of the world's market; later_s: after the world's own."""
    made = epoch("epoch-1")
    return epoch_from_arrays(
        np.zeros((1, len(UNIVERSE)), dtype=np.int64),
        value=np.array([1] + [0] * (len(UNIVERSE) - 1)),
        max_lots=np.array([i.max_lots for i in UNIVERSE.instruments]),
        universe_digest=UNIVERSE.digest,
        instrument_ids=UNIVERSE.ids,
        name=name,
        operator=made.operator,
        time=made.time + later_s,
        expires=expires,
        currency=made.currency,
        tick=made.tick,
    )


def publish_epoch(s: Site, one: RiskEpoch) -> None:
    with s.office() as desk:
        desk.publish_epoch(one, sign(epoch_record(one), [RISK]))


def test_releases_are_those_the_statement_lists(served: Site, poster: Account) -> None:
    attestation = unproved(served, poster)
    more = encode_proved(attestation.data, [attestation.data])
    with pytest.raises(DecodeError, match=r"proved\.releases"):
        decode_proved(more)
    assert refused(post(served, poster, more)) == (400, "proved.releases")


# What a worker refuses


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with site(tmp_path_factory.mktemp("idle-proved"), log={"epoch_lag_s": 600}) as s:
        yield s


@pytest.fixture(scope="module")
def beginner(idle: Site) -> Account:
    """Nothing of it is logged yet."""
    return self_prover(idle, "beginner")


@pytest.fixture(scope="module")
def honest(idle: Site, beginner: Account) -> Attestation:
    return prove(idle, beginner, advance=False)


def judged(s: Site, account: Account, attestation: Attestation, *releases: Envelope) -> tuple[str, str | None]:
    name = hand_in(s, account, attestation, releases)
    assert work_once(s, secrets.token_hex(4))
    return outcome(s, account, name)


def test_a_proof_that_does_not_hold_is_refused(idle: Site, beginner: Account, honest: Attestation) -> None:
    [proof] = honest.proofs
    negated = bytes([proof[0] ^ 0x20]) + proof[1:]  # another point: the sign of its y
    for broken, code in ((negated, "verify.pairing"), (proof[:-1], "proof.length"), (b"no proof", "proof.length")):
        state, found = judged(idle, beginner, signed(honest.statement, beginner, broken))
        assert (state, found) == ("refused", code)


def test_a_proof_for_another_statement_is_refused(idle: Site, beginner: Account, honest: Attestation) -> None:
    other = replace(honest.statement, expiry=honest.statement.expiry - 1)
    assert judged(idle, beginner, signed(other, beginner, honest.proofs[0])) == ("refused", "verify.pairing")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sequence": 2, "prev": b"\1" * 32, "continuity": Continuity.EXPIRED}, "log.sequence-gap"),
        ({"manifest": b"\1" * 32}, "submission.manifest"),
        ({"epoch": b"\1" * 32}, "public.unknown"),
        ({"universe": b"\1" * 32}, "public.unknown"),
        ({"currency": "EUR"}, "claim.unit"),
        ({"tick": "0.1"}, "claim.unit"),
        ({"venue_registry": b"\1" * 32}, "public.unknown"),
        ({"source_registry": b"\1" * 32}, "public.unknown"),
        ({"cut_id": "another"}, "accept.cut"),
        ({"srs": b"\1" * 32}, "accept.srs"),
        ({}, "proof.length"),
        ({"rule": "isolated"}, "claim.circuit"),
        ({"publish": False}, "public.unpublished"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value), "nothing"),
)
def test_a_statement_that_does_not_fit_is_refused(
    idle: Site, beginner: Account, changes: dict[str, Any], code: str
) -> None:
    assert judged(idle, beginner, unproved(idle, beginner, **changes)) == ("refused", code)


def test_a_statement_that_has_expired_is_refused(idle: Site, beginner: Account) -> None:
    late = unproved(idle, beginner, expiry=int(time.time()) - 5)
    assert judged(idle, beginner, late) == ("refused", "submission.expired")


def test_a_source_left_out_is_refused(idle: Site, beginner: Account, honest: Attestation) -> None:
    statement = replace(honest.statement, sources=honest.statement.sources[:-1])
    assert judged(idle, beginner, signed(statement, beginner, honest.proofs[0])) == ("refused", "accept.left-out")


CHEAP: list[tuple[dict[str, Any], str]] = [
    ({"prover": key(Role.PROVER, "stranger")}, "signature.threshold"),
    ({"publish": False}, "public.unpublished"),
    ({"cut_id": "another"}, "accept.cut"),
]


def forbid_the_expensive(monkeypatch: pytest.MonkeyPatch) -> None:
    def expensive(*_given: object) -> None:
        raise AssertionError("compiled, or decoded an epoch")

    monkeypatch.setattr(Circuits, "get", expensive)
    monkeypatch.setattr(LoggedRecords, "epoch", expensive)


@pytest.mark.parametrize(("changes", "code"), CHEAP, ids=[code for _, code in CHEAP])
def test_nothing_is_compiled_for_what_is_cheap_to_refuse(
    idle: Site, beginner: Account, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], code: str
) -> None:
    """An epoch may have 32 MB, and an attestation sixty-four circuits."""
    forbid_the_expensive(monkeypatch)
    assert judged(idle, beginner, unproved(idle, beginner, **changes)) == ("refused", code)


def test_circuits_are_compiled_as_long_as_proofs_have_their_form(
    idle: Site, beginner: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the account's turns are counted by its claims, compiled or not."""
    compiled, get = list[Claim](), Circuits.get

    def counted(self: Circuits, *given: Any) -> Any:
        compiled.append(given[2])
        return get(self, *given)

    monkeypatch.setattr(Circuits, "get", counted)
    one = unproved(idle, beginner)
    statement = replace(one.statement, claims=one.statement.claims * 3)
    three = make_attestation(
        statement,
        sign_statement(statement, beginner.key),
        (RuleRef(RULE),) * 3,
        (b"no proof",) * 3,
        prover_of(beginner),
    )
    name = hand_in(idle, beginner, three)
    assert work_once(idle, "w")
    assert outcome(idle, beginner, name) == ("refused", "proof.length")
    assert len(compiled) == 1
    with contextlib.closing(Store(idle.config.store_url)) as store, store.read() as c:
        assert c.scalar(sa.select(jobs.c.cost).where(jobs.c.submission == name)) == 3


def test_pledges_that_fall_unseen_are_refused(idle: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    account = self_prover(idle, "forgetful")
    first = prove(idle, account)
    assert judged(idle, account, first) == ("attested", None)
    lower = unproved(idle, account, pledges={"venue-a": 1})
    forbid_the_expensive(monkeypatch)
    assert judged(idle, account, lower) == ("refused", "continuity.pledge")
    elsewhere = unproved(idle, account, prev=b"\1" * 32)
    assert judged(idle, account, elsewhere) == ("refused", "log.prev-mismatch")


def test_a_pledge_falls_with_its_venues_release_and_with_no_other(idle: Site) -> None:
    account = self_prover(idle, "releasing")
    first = prove(idle, account)
    assert judged(idle, account, first) == ("attested", None)
    record = PledgeRelease("venue-a", 0, account.name, first.statement.digest, 1, int(time.time()))
    forged, release = (sign(record, [VENUE_KEYS[venue]]) for venue in ("venue-b", "venue-a"))
    before = account.schedule
    submission, published = account.submission(advance=False, pledges={"venue-b": 10})
    idle.publish(published)
    link = Link((0,))
    circuit = compile_rule(RULE, epoch("epoch-1"), Tier.INITIAL, venues=len(VENUES), link=link).circuit

    def linked(signed: Envelope) -> Submission:
        statement = replace(
            submission.statement,
            continuity=Continuity.LINKED,
            previous_pledge=first.statement.pledge,
            releases=(Release(0, 1, signed.digest),),
            claims=(Claim(Kind.ATTESTATION, circuit.digest, Tier.INITIAL, ()),),
        )
        owner = sign_statement(statement, account.key)
        return replace(submission, statement=statement, owner=owner, previous_pledges=before, releases=(signed,))

    false = signed(linked(forged).statement, account, b"no proof")
    assert judged(idle, account, false, forged) == ("refused", "signature.threshold")
    true = attest(idle, account, linked(release))
    assert judged(idle, account, true, release) == ("attested", None)
    log = open_log(idle.config, None)
    position = log.attestation(account.name, 2)
    assert position is not None
    assert release.digest in log.entry(position.index)[1].dependencies
    close_log(log)


def test_a_key_that_was_revoked_meanwhile_is_refused(idle: Site) -> None:
    account = self_prover(idle, "compromised")
    name = hand_in(idle, account, prove(idle, account))
    with idle.office() as desk:
        desk.revoke_key(prover_of(account).public.key_id)
    assert work_once(idle, "w")
    assert outcome(idle, account, name) == ("refused", "signature.threshold")


def test_what_stands_in_the_log_already_is_taken_for_done_and_another_is_not(idle: Site) -> None:
    """As after a worker that died between the log and its acknowledgement."""
    account = self_prover(idle, "twice")
    one = prove(idle, account)
    assert judged(idle, account, one) == ("attested", None)
    with contextlib.closing(Store(idle.config.store_url)) as store, store.write() as c:
        c.execute(sa.update(jobs).where(jobs.c.account == "twice").values(state="refused"))
    assert judged(idle, account, one) == ("attested", None)
    with contextlib.closing(Store(idle.config.store_url)) as store, store.write() as c:
        c.execute(sa.update(jobs).where(jobs.c.account == "twice").values(state="refused"))
    other = signed(replace(one.statement, expiry=one.statement.expiry - 1), account, one.proofs[0])
    assert judged(idle, account, other) == ("refused", "log.sequence-taken")
    assert attested(idle).count(("twice", 1)) == 1


def test_an_epoch_long_superseded_is_refused(tmp_path: Path) -> None:
    with site(tmp_path, log={"epoch_lag_s": 1}) as s:
        account = self_prover(s, "slow")
        publish_epoch(s, brief_epoch("newer", expires=epoch("epoch-1").expires, later_s=10))
        late = unproved(s, account)
        time.sleep(2.1)
        assert judged(s, account, late) == ("refused", "submission.epoch-newer")


# An operator's part


def test_who_may_be_registered(idle: Site) -> None:
    account = idle.account("registered")
    with idle.office() as desk:
        with pytest.raises(MarginSealError, match=r"key\.role"):
            desk.register_prover("registered", account.key.public)
        with pytest.raises(MarginSealError, match=r"party\.unknown"):
            desk.register_prover("nobody", prover_of(account).public)
        desk.register_prover("registered", prover_of(account).public)
        with pytest.raises(MarginSealError, match=r"key\.taken"):
            desk.register_prover("registered", prover_of(account).public)
        desk.revoke_key(prover_of(account).public.key_id)
        with pytest.raises(MarginSealError, match=r"key\.unknown"):
            desk.revoke_key(prover_of(account).public.key_id)
        assert [action.action for action in desk.trail()][-2:] == ["add-key", "revoke-key"]


# Crash-safe, exactly once


def test_killed_at_every_named_point_it_is_logged_once_as_posted(tmp_path: Path) -> None:
    with site(tmp_path, queue={"lease_s": 600}) as s:
        account = self_prover(s, "fund")
        attestation = prove(s, account)
        name = hand_in(s, account, attestation)
        with contextlib.closing(Store(s.config.store_url)) as store:
            queue = LeaseQueue(store, limits(s.config))
            program = Path(__file__).with_name("kill_worker.py")
            with subprocess.Popen(
                [sys.executable, str(program), str(s.write_config()), "1", *KILL_POINTS],
                env={**os.environ, "PYTHONPATH": python_path()},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            ) as killer:
                assert killer.stdin is not None
                assert killer.stdout is not None
                for point in KILL_POINTS:
                    killer.stdin.write("go\n")
                    killer.stdin.flush()
                    assert killer.stdout.readline() == f"1 killed {point}\n"
                    assert queue.forfeit(f"{point}-0") == 1
            assert killer.returncode == 0
        drain(s)
        assert outcome(s, account, name) == ("attested", None)
        assert Counter(attested(s)) == {("fund", 1): 1}
        log = open_log(s.config, None)
        position = log.attestation("fund", 1)
        assert position is not None
        assert log.entry(position.index)[1] == replace(log.entry(position.index)[1], payload=attestation.data)
        close_log(log)
