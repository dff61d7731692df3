"""Who signed, freshly, once, and the whole request: everything else is 401 and says no more."""

from __future__ import annotations

import contextlib
import datetime
import secrets
import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
import sqlalchemy as sa
from flask import Request
from http_message_signatures import HTTPMessageSigner
from http_message_signatures.algorithms import ED25519
from werkzeug.test import EnvironBuilder

from marginseal.records.keys import Role, SigningKey
from server.client import _Key
from server.jobs import now_ms
from server.limits import Rate
from server.problem import Refusal
from server.signatures import MAX_AGE_S, MAX_AHEAD_S, Signatures
from server.store import Store
from server.tables import nonces
from tests.server.wire_level import Recorder, exchange, recorder
from tests.server.world import SOURCE_KEYS, Account, Site

PATH = "/v1/submissions"
BODY = b"a body that is no submission"
WRITE = {"Content_Type": "application/octet-stream", "Idempotency_Key": "0123456789"}
NOBODY = f"{PATH}/{'0' * 32}"


@pytest.fixture(scope="module")
def account(served: Site) -> Account:
    return served.account("signer")


@pytest.fixture
def client(served: Site, account: Account) -> Recorder:
    return recorder(served, account.key)


def refused(response: requests.Response, code: str = "signature.invalid", status: int = 401) -> None:
    assert (response.status_code, response.json()["code"]) == (status, code)


def passed(response: requests.Response) -> None:
    """The signature was good: what is refused is the body, or the submission is not there."""
    assert response.status_code in (400, 404), response.text


def sign(request: requests.PreparedRequest, key: SigningKey, **changes: Any) -> requests.PreparedRequest:
    """Signed by hand, so that one thing can be wrong."""
    for name in ("Signature", "Signature-Input"):
        request.headers.pop(name, None)
    options: dict[str, Any] = {
        "key_id": key.public.key_id,
        "nonce": secrets.token_urlsafe(24),
        "tag": "marginseal",
        "label": "sig",
        "covered_component_ids": ("@method", "@target-uri"),
        "use_existing_digest": "Content-Digest" in request.headers,
    }
    HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_Key(key)).sign(request, **{**options, **changes})
    return request


def test_a_signed_request_passes(client: Recorder) -> None:
    passed(client.send("GET", NOBODY))
    passed(client.send("POST", PATH, body=BODY, **WRITE))


def test_an_unsigned_request_is_refused(client: Recorder) -> None:
    refused(client.send("GET", NOBODY, signed=False))
    refused(client.send("POST", PATH, body=BODY, signed=False, **WRITE))


def test_a_key_nobody_registered_is_refused(served: Site) -> None:
    refused(recorder(served, SigningKey(Role.ACCOUNT, secrets.token_bytes(32))).send("GET", NOBODY))


def test_another_key_under_a_registered_identifier_is_refused(client: Recorder, account: Account) -> None:
    request = client.prepare("GET", NOBODY)
    forger = SigningKey(Role.ACCOUNT, secrets.token_bytes(32))
    refused(client.deliver(sign(request, forger, key_id=account.key.public.key_id)))


def test_a_sources_key_is_not_an_accounts(served: Site) -> None:
    refused(recorder(served, SOURCE_KEYS["custodian"]).send("GET", NOBODY))


def test_a_replayed_request_is_refused(client: Recorder) -> None:
    for request in (client.prepare("GET", NOBODY), client.prepare("POST", PATH, BODY, **WRITE)):
        passed(client.deliver(request))
        refused(client.deliver(request))


def test_a_nonce_is_kept_as_long_as_its_signature_could_be_fresh(served: Site, client: Recorder) -> None:
    before = now_ms()
    passed(client.send("GET", NOBODY))
    with contextlib.closing(Store(served.config.store_url)) as store, store.brief() as c:
        kept = c.scalar(sa.select(sa.func.max(nonces.c.expires)))
    assert kept is not None
    assert kept >= before + 1000 * (MAX_AGE_S + MAX_AHEAD_S)


def test_a_nonce_serves_one_request_even_under_a_new_signature(client: Recorder, account: Account) -> None:
    nonce = secrets.token_urlsafe(24)
    passed(client.deliver(sign(client.prepare("GET", NOBODY), account.key, nonce=nonce)))
    refused(client.deliver(sign(client.prepare("GET", f"{PATH}/{'1' * 32}"), account.key, nonce=nonce)))


def change_target(r: requests.PreparedRequest) -> None:
    r.url = str(r.url).replace("submissions", "submissions?wait=1")


def change_body(r: requests.PreparedRequest) -> None:
    r.body = BODY.replace(b"a", b"b")


def change_type(r: requests.PreparedRequest) -> None:
    r.headers["Content-Type"] = "text/plain"


def change_digest(r: requests.PreparedRequest) -> None:
    r.headers["Content-Digest"] = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:"


def change_name(r: requests.PreparedRequest) -> None:
    r.headers["Idempotency-Key"] = "9876543210"


@pytest.mark.parametrize("change", [change_target, change_body, change_type, change_digest, change_name])
def test_a_request_changed_after_signing_is_refused(
    client: Recorder, change: Callable[[requests.PreparedRequest], None]
) -> None:
    request = client.prepare("POST", PATH, BODY, **WRITE)
    change(request)
    refused(client.deliver(request))


@pytest.mark.parametrize("left_out", ["@method", "@target-uri", "content-type", "content-digest", "idempotency-key"])
def test_every_component_must_be_covered(client: Recorder, account: Account, left_out: str) -> None:
    covered = ("@method", "@target-uri", "content-type", "content-digest", "idempotency-key")
    request = client.prepare("POST", PATH, BODY, **WRITE)
    rest = tuple(one for one in covered if one != left_out)
    refused(client.deliver(sign(request, account.key, covered_component_ids=rest)))


@pytest.mark.parametrize("changes", [{"tag": "other"}, {"tag": None}, {"nonce": None}, {"nonce": "short"}])
def test_tag_and_nonce_are_required(client: Recorder, account: Account, changes: dict[str, Any]) -> None:
    refused(client.deliver(sign(client.prepare("GET", NOBODY), account.key, **changes)))


@pytest.mark.parametrize(
    ("age_s", "code"), [(70, "signature.stale"), (-3600, "signature.invalid"), (-4, None), (0, None)]
)
def test_a_signature_of_another_time_is_refused(
    client: Recorder, account: Account, age_s: int, code: str | None
) -> None:
    created = datetime.datetime.fromtimestamp(time.time() - age_s, datetime.UTC)
    response = client.deliver(sign(client.prepare("GET", NOBODY), account.key, created=created))
    if code is None:
        passed(response)
    else:
        refused(response, code)


@pytest.mark.parametrize(("age_s", "code"), [(61, "signature.stale"), (60, None), (-5, None), (-6, "signature.stale")])
def test_a_signature_is_good_for_a_minute(served: Site, age_s: int, code: str | None) -> None:
    """To the second, by a clock that stands still; of a party of its own, whose rate is charged by that clock."""
    party = served.account(f"minute-{age_s}")
    created = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    signed = sign(recorder(served, party.key).prepare("GET", NOBODY), party.key, created=created)
    at = EnvironBuilder(path=NOBODY, headers=dict(signed.headers), environ_overrides={"RAW_URI": NOBODY})
    with contextlib.closing(Store(served.config.store_url)) as store:
        clock = 1000 * (int(created.timestamp()) + age_s)
        judge = Signatures(store, served.config.public_url, lambda: clock)
        with contextlib.nullcontext() if code is None else pytest.raises(Refusal, match=code):
            assert judge.reader(Request(at.get_environ()), Rate(1, 1)).party == party.name


def test_another_authority_is_another_request(served: Site, client: Recorder, account: Account) -> None:
    """What is signed is the service's own address, whatever the Host header says."""
    request = client.prepare("GET", NOBODY)
    url = request.url
    request.url = str(url).replace("127.0.0.1", "other.example")
    sign(request, account.key)
    request.url = url
    request.headers["Host"] = f"other.example:{served.config.server.port}"
    refused(client.deliver(request))


@pytest.mark.parametrize("header", ["", "sig=", "sig=()", 'sig=("@method");keyid="x"', "\xff", "sig=" + "a" * 5000])
def test_malformed_signature_headers_are_refused(client: Recorder, header: str) -> None:
    request = client.prepare("GET", NOBODY)
    request.headers["Signature-Input"] = header
    response = client.deliver(request)
    refused(response)


def test_two_signatures_are_one_too_many(client: Recorder, account: Account) -> None:
    request = client.prepare("GET", NOBODY)
    signer = HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_Key(account.key))
    signer.sign(
        request, key_id=account.key.public.key_id, nonce=secrets.token_urlsafe(24), tag="marginseal", label="two",
        append_if_signature_exists=True,
    )  # fmt: skip
    refused(client.deliver(request))
    # Written so that one key identifier alone is found by whoever only looks for it.
    first, second = str(request.headers["Signature-Input"]).split(", two=")
    request.headers["Signature-Input"] = f"{first}, two={second.replace(';keyid', '; keyid')}"
    refused(client.deliver(request))


def test_a_target_is_a_path_of_this_service(served: Site) -> None:
    """What was signed is the service's address and the target behind it: another address before it is none."""
    for target in (f"https://other.example{NOBODY}", f"{served.config.public_url}{NOBODY}"):
        reply = exchange(served, f"GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert (reply.status, reply.code) == (400, "request.target")


def test_the_states_of_an_account_and_its_keys(served: Site) -> None:
    account = served.account("states")
    client = recorder(served, account.key)
    second = SigningKey(Role.ACCOUNT, secrets.token_bytes(32))
    with served.office() as desk:
        passed(client.send("GET", NOBODY))
        desk.suspend("account", "states")
        refused(client.send("GET", NOBODY), "account.suspended", 403)
        desk.resume("account", "states")
        passed(client.send("GET", NOBODY))
        desk.add_key("account", "states", second.public)
        desk.revoke_key(account.key.public.key_id)
        refused(client.send("GET", NOBODY))
        passed(recorder(served, second).send("GET", NOBODY))
        desk.remove("account", "states")
        refused(recorder(served, second).send("GET", NOBODY), "account.removed", 403)


def test_status_is_for_its_own_account_alone(served: Site, account: Account) -> None:
    submission, published = account.submission(advance=False)
    served.publish(published)
    client = served.client(account)
    submitted = client.submit(submission)
    assert client.status(submitted.id)["account"] == "signer"
    other = recorder(served, served.account("curious").key)
    refused(other.send("GET", f"{PATH}/{submitted.id}"), "submission.unknown", 404)
    refused(other.send("GET", f"{PATH}/{submitted.id}", signed=False))
