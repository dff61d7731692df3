"""What is accepted, once; what is refused at the door; and what only the worker can refuse, to the owner alone."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
import sqlalchemy as sa

from marginseal.errors import ServiceError
from marginseal.records.document import canonical
from marginseal.records.sealing import OVERHEAD, SealingKey, seal_info
from marginseal.records.submission import MIN_CLASS, NONCE_BYTES, Submission, SubmissionHeader, pad, seal_submission
from server.accept import Header, Situation, _check
from server.jobs import LeaseQueue, now_ms
from server.main import limits
from server.problem import Refusal
from server.store import Store
from server.tables import jobs, submissions
from server.wire import Answer, encode_body
from tests.server.patience import PATIENCE_S, until
from tests.server.wire_level import post_octets, recorder
from tests.server.world import Account, Site, epoch, site, submit_directly, work_once

PATH = "/v1/submissions"


def post(s: Site, account: Account, body: bytes, name: str | None = None) -> requests.Response:
    return post_octets(s, PATH, account, body, name)


def code(response: requests.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def sealed(s: Site, submission: Submission) -> tuple[SubmissionHeader, bytes]:
    return seal_submission(submission, s.client().prover_key(), secrets.token_bytes(NONCE_BYTES))


def body_of(s: Site, submission: Submission) -> bytes:
    return encode_body(*sealed(s, submission))


@pytest.fixture
def account(served: Site) -> Account:
    return served.account(f"fund-{secrets.token_hex(4)}")


def test_a_submission_is_accepted_durably_and_shown(served: Site, account: Account) -> None:
    submission, _ = account.submission()
    response = post(served, account, body_of(served, submission))
    shown = response.json()
    assert response.status_code == 202
    assert response.headers["Location"] == f"{PATH}/{shown['id']}"
    assert (shown["state"], shown["stage"], shown["sequence"]) == ("ready", "queued", 1)
    assert shown["epoch"] == submission.statement.epoch.hex()
    store = Store(served.config.store_url)
    with store.read() as c:
        assert c.scalar(sa.select(jobs.c.state).where(jobs.c.submission == shown["id"])) == "ready"
    store.close()


def test_the_same_request_again_is_the_same_submission(served: Site, account: Account) -> None:
    submission, _ = account.submission()
    body, name = body_of(served, submission), secrets.token_urlsafe(16)
    first, second = post(served, account, body, name), post(served, account, body, name)
    assert (first.status_code, second.status_code) == (202, 200)
    assert first.json()["id"] == second.json()["id"]


def test_a_lost_answer_and_a_killed_server_accept_once(tmp_path: Path) -> None:
    """The server is killed between the commit and its answer; the client tries again and finds one submission."""
    with site(tmp_path) as s:
        account = s.account("fund")
        submission, _ = account.submission()
        kill = s.start(
            "import os, signal\n"
            "from dataclasses import replace\n"
            "import server.assemble as a\n"
            "make = a.make_services\n"
            "a.make_services = lambda *x: replace(make(*x), accepted=lambda: os.killpg(0, signal.SIGKILL))\n"
            "os.setpgid(0, 0)\n"
            "from server.main import serve\n"
            "serve(config)"
        )
        header, body = sealed(s, submission) if s.listens() else (None, None)
        assert header is not None
        assert body is not None
        with pytest.raises(ServiceError, match=r"service\.unreachable"):
            s.client(account, patience_s=0).submit_sealed(header, body, idempotency_key="the-one-name")
        assert kill.wait(PATIENCE_S) == -9
        s.serve()
        submitted = s.client(account).submit_sealed(header, body, idempotency_key="the-one-name")
        store = Store(s.config.store_url)
        with store.read() as c:
            assert c.scalars(sa.select(jobs.c.submission)).all() == [submitted.id]
        store.close()


def test_a_name_used_for_other_bytes_is_refused(served: Site, account: Account) -> None:
    submission, _ = account.submission()
    name = secrets.token_urlsafe(16)
    post(served, account, body_of(served, submission), name)
    response = post(served, account, body_of(served, submission), name)
    assert code(response) == (422, "idempotency.mismatch")


@pytest.mark.parametrize("name", ["", "short", "a" * 65, "with space", "ümlaut", "new\tline"])
def test_a_name_must_be_plain(served: Site, account: Account, name: str) -> None:
    response = recorder(served, account.key).send(
        "POST", PATH, body=b"x", signed=False, Content_Type="application/octet-stream", Idempotency_Key=name
    )
    assert code(response) == (422, "request.invalid")


def test_two_of_one_sequence_are_refused_and_a_refused_one_may_be_tried_anew(served: Site, account: Account) -> None:
    submission, _ = account.submission()
    first = post(served, account, body_of(served, submission))
    assert code(post(served, account, body_of(served, submission))) == (409, "submission.sequence-pending")
    store = Store(served.config.store_url)
    with store.write() as c:
        c.execute(sa.update(jobs).where(jobs.c.submission == first.json()["id"]).values(state="refused"))
    store.close()
    assert post(served, account, body_of(served, submission)).status_code == 202


def header(s: Site, owner: Account, **changes: Any) -> SubmissionHeader:
    base = SubmissionHeader(owner.name, epoch().digest, 1, bytes(NONCE_BYTES), s.client().prover_key().key_id)
    return replace(base, **changes)


def test_what_the_door_refuses(served: Site, account: Account) -> None:
    seal = bytes(MIN_CLASS + OVERHEAD)
    cases = [
        ({"account": "another"}, 403, "submission.account"),
        ({"prover_key": "0" * 32}, 409, "submission.prover-key"),
        ({"epoch": bytes(32)}, 409, "submission.epoch"),
    ]
    for changes, status, expected in cases:
        body = encode_body(header(served, account, **changes), seal)
        assert code(post(served, account, body)) == (status, expected)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda h, s: b"", "submission.body"),
        (lambda h, s: b"\x00\x00\x00", "submission.body"),
        (lambda h, s: b"\xff" * 40, "submission.body"),
        (lambda h, s: b"\x00\x00\x00\x02{}" + s, "record.members"),
        (lambda h, s: b"\x00\x00\x00\x02[]" + s, "record.not-canonical"),
        (lambda h, s: encode_body(h, s)[:-1], "submission.size"),
        (lambda h, s: encode_body(h, s) + b"\x00", "submission.size"),
        (lambda h, s: encode_body(h, b""), "submission.size"),
        (lambda h, s: _with(h, {"sequence": 0}, s), "record.integer"),
        (lambda h, s: _with(h, {"sequence": 2**53}, s), "record.not-canonical"),
        (lambda h, s: _with(h, {"epoch": "zz" * 32}, s), "record.hex"),
        (lambda h, s: _with(h, {"extra": 1}, s), "record.members"),
        (lambda h, s: _with(h, {"account": "new\nline"}, s), "record.name"),
    ],
)
def test_bodies_that_are_no_submission(
    served: Site, account: Account, make: Callable[[SubmissionHeader, bytes], bytes], expected: str
) -> None:
    body = make(header(served, account), bytes(MIN_CLASS + OVERHEAD))
    assert code(post(served, account, body)) == (400, expected)


def _with(h: SubmissionHeader, changes: dict[str, Any], seal: bytes) -> bytes:
    try:
        head = canonical({**h.members, **changes})
    except ValueError:
        import json

        head = json.dumps({**h.members, **changes}, separators=(",", ":"), sort_keys=True).encode()
    return len(head).to_bytes(4, "big") + head + seal


def test_a_full_queue_says_when_to_come_back(tmp_path: Path) -> None:
    with site(tmp_path, queue={"max_queued": 2, "max_queued_per_account": 1}) as s:
        s.serve()
        accounts = s.accounts(3)
        (one, first), (two, second), (three, third) = s.submissions(accounts)
        assert post(s, one, body_of(s, first)).status_code == 202
        more, _ = one.submission()
        response = post(s, one, body_of(s, more))
        assert code(response) == (429, "queue.account-full")
        assert int(response.headers["Retry-After"]) >= 1
        assert post(s, two, body_of(s, second)).status_code == 202
        response = post(s, three, body_of(s, third))
        assert code(response) == (503, "queue.full")
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        slept: list[float] = []

        def sleep(seconds: float) -> None:
            slept.append(seconds)
            finish_everything(s)

        assert s.client(three, sleep=sleep).submit(third).id
        assert slept == [float(response.headers["Retry-After"])]


def finish_everything(s: Site) -> None:
    store = Store(s.config.store_url)
    with store.write() as c:
        c.execute(sa.update(jobs).values(state="refused"))
    store.close()


def test_rates_are_limited_by_account_and_by_client(tmp_path: Path) -> None:
    rates = {
        "client_per_s": 0.001,
        "client_burst": 40,
        "account_reads_per_s": 0.001,
        "account_reads_burst": 3,
        "account_submissions_per_s": 0.001,
        "account_submissions_burst": 1,
    }
    with site(tmp_path, rates=rates) as s:
        s.serve()
        account, other = s.accounts(2)
        client = recorder(s, account.key)
        found = [client.send("GET", f"{PATH}/{'0' * 32}") for _ in range(4)]
        assert [r.status_code for r in found] == [404, 404, 404, 429]
        assert int(found[-1].headers["Retry-After"]) >= 60
        assert recorder(s, other.key).send("GET", f"{PATH}/{'0' * 32}").status_code == 404
        submission, _ = account.submission()
        assert post(s, account, body_of(s, submission)).status_code == 202
        assert code(post(s, account, body_of(s, submission))) == (429, "rate.limited")
        answers = [client.send("GET", "/healthz", signed=False).status_code for _ in range(60)]
        assert answers[-1] == 429


# What only the worker sees.


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with site(tmp_path_factory.mktemp("idle")) as s:
        yield s


def worked(
    s: Site, account: Account, submission: Submission, *, body: bytes | None = None
) -> tuple[str, Answer | None]:
    """(public code, answer to the owner) of one submission after one attempt."""
    store = Store(s.config.store_url)
    name = submit_directly(s, account, submission)
    with store.write() as c:
        if body is not None:
            c.execute(sa.update(submissions).where(submissions.c.id == name).values(sealed=body))
        stored = c.scalar(sa.select(submissions.c.sealed).where(submissions.c.id == name))
    work_once(s, secrets.token_hex(4))
    from server.accept import status
    from server.wire import decode_body, open_answer

    found = status(store, account.name, name)
    store.close()
    assert found.state == "refused"
    assert found.stage == "finished"
    answer = None
    if found.result is not None:
        answer = open_answer(found.result, account.response, decode_body(stored)[0])
    return str(found.code), answer


def test_what_cannot_be_opened_is_refused_for_all_to_see(idle: Site) -> None:
    account = idle.account("unreadable")
    submission, _ = account.submission()
    prover = SealingKey(secrets.token_bytes(32)).public
    own = header_for(idle, submission)
    wrong_key = encode_body(own, prover.seal(pad(submission.encode()), seal_info("submission", own.members)))
    right = current_prover(idle)
    other_header = replace(own, sequence=7)
    wrong_place = encode_body(own, right.seal(pad(submission.encode()), seal_info("submission", other_header.members)))
    unpadded = encode_body(own, right.seal(bytes(MIN_CLASS), seal_info("submission", own.members)))
    no_submission = encode_body(own, right.seal(pad(b"{}"), seal_info("submission", own.members)))
    for body in (wrong_key, wrong_place, unpadded, no_submission):
        assert worked(idle, account, submission, body=body) == ("submission.unreadable", None)


def current_prover(s: Site) -> Any:
    from marginseal.records.sealing import SealingPublicKey
    from server.prover_keys import ProverKeys

    store = Store(s.config.store_url)
    public = SealingPublicKey(ProverKeys(store).accepted(now_ms())[0].public)
    store.close()
    return public


def header_for(s: Site, submission: Submission) -> SubmissionHeader:
    t = submission.statement
    return SubmissionHeader(t.account, t.epoch, t.sequence, bytes(NONCE_BYTES), current_prover(s).key_id)


def test_what_the_owner_got_wrong_is_told_to_the_owner(idle: Site) -> None:
    def made(name: str, **changes: Any) -> tuple[Account, Submission]:
        account = idle.account(name)
        submission, published = account.submission(**changes)
        idle.publish(published)
        return account, submission

    cases: list[tuple[tuple[Account, Submission], str]] = [
        (made("expired", cut_time=10, expiry=20), "submission.expired"),
        (made("gap", sequence=5, prev=bytes(31) + b"\x01", continuity=1), "log.sequence-gap"),
        (made("universe", universe=bytes(32)), "claim.universe"),
        (made("manifest", manifest=bytes(32)), "submission.manifest"),
        (made("currency", currency="EUR"), "claim.unit"),
        (made("cut", cut_id="another"), "accept.cut"),
        (made("claim", claims=other_claim()), "claim.circuit"),
    ]
    for (account, submission), expected in cases:
        public, answer = worked(idle, account, submission)
        assert public == "submission.refused"
        assert answer is not None
        assert (answer.outcome, answer.code) == ("refused", expected)


def other_claim() -> Any:
    from marginseal.records.statement import Claim, Kind, Tier

    return (Claim(Kind.ATTESTATION, bytes(32), Tier.INITIAL, ()),)


def test_a_source_that_did_not_publish_counts_as_unsigned(idle: Site) -> None:
    account = idle.account("unpublished")
    submission, _ = account.submission()
    public, answer = worked(idle, account, submission)
    assert public == "submission.refused"
    assert answer is not None
    assert answer.code == "public.unpublished"


def test_a_fault_of_ours_refuses_nobody(idle: Site) -> None:
    """The prover's key file is missing for a while: the job waits and is done later."""
    account = idle.account("waiting")
    [(_, submission)] = idle.submissions([account])
    name = submit_directly(idle, account, submission)
    keys = idle.config.path(idle.config.keys_dir)
    [key] = keys.glob("sealing-*.key")
    hidden = key.rename(key.with_suffix(".away"))
    work_once(idle, "w")
    hidden.rename(key)
    store = Store(idle.config.store_url)
    with store.read() as c:
        row = c.execute(sa.select(jobs.c.state, jobs.c.code).where(jobs.c.submission == name)).one()
    assert tuple(row) == ("ready", "worker.key")
    assert until(lambda: work_once(idle, "w"), "its next turn")
    with store.read() as c:
        assert c.scalar(sa.select(jobs.c.state).where(jobs.c.submission == name)) == "attested"
    assert LeaseQueue(store, limits(idle.config)).claim("w") is None
    store.close()


def test_a_sequence_that_the_log_holds_costs_no_place_in_the_queue() -> None:
    situation = Situation(frozenset({"k"}), lambda _epoch: True, head=4)
    for sequence in (1, 4):
        with pytest.raises(Refusal) as e:
            _check(Header("fund", sequence, bytes(32), "k"), situation)
        assert e.value.code == "submission.sequence-taken"
    _check(Header("fund", 5, bytes(32), "k"), situation)
