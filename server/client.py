"""The HTTP client: an institution, a source, a venue or an auditor at one service.

Requests of an account are signed as `server.signatures` asks.  A request that could not be answered (a broken
connection, 429, 503) is tried again until `patience_s` is over: reads as they are, a submission with the same bytes and
the same idempotency key under a fresh signature, so that it is accepted once.  What comes back is data; whether to
believe it is for `marginseal.log.client` and the verifier.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519

from marginseal.errors import InputError, ServiceError
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SigningKey
from marginseal.records.sealing import SealingKey, SealingPublicKey
from marginseal.records.source import PublishedStatement
from marginseal.records.submission import NONCE_BYTES, Submission, SubmissionHeader, seal_submission
from server.answers import (
    SLOWEST_BYTES_PER_S,
    Logged,
    bytes_of,
    digest_of,
    integer_of,
    items_of,
    logged_of,
    object_of,
    problem,
    retry_after,
    text_of,
    unreachable,
    whole,
)
from server.session import ends_by, open_session
from server.wire import Answer, encode_body, encode_proved, open_answer

TAG = "marginseal"
PAUSE_S = 1.0
_SIGNED_READ = ("@method", "@target-uri")
_SIGNED_WRITE = ("@method", "@target-uri", "content-type", "content-digest")
_AGAIN = (429, 502, 503, 504)


class _Key(HTTPSignatureKeyResolver):
    def __init__(self, key: SigningKey) -> None:
        self._key = key

    def resolve_private_key(self, _key_id: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self._key.seed)


@dataclass(frozen=True)
class Submitted:
    """An accepted submission, and what its owner needs to open the answer."""

    id: str
    header: SubmissionHeader


class Client:
    """One service, over HTTPS.  ca: the certificate authority to trust (None: the system's).  key: who signs.

    InputError service.url, service.ca; ServiceError service.unreachable, .malformed, or the code that the service
    gives its problem."""

    def __init__(
        self,
        url: str,
        *,
        ca: Path | None = None,
        key: SigningKey | None = None,
        timeout_s: float = 30.0,
        patience_s: float = 60.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not url.startswith("https://"):
            raise InputError("service.url", f"the address of a service begins with https://, not {url[:64]!r}")
        self._url, self._key, self._timeout_s, self._patience_s, self._sleep = (
            url.rstrip("/"),
            key,
            timeout_s,
            patience_s,
            sleep,
        )
        self._session = open_session(ca)

    def close(self) -> None:
        self._session.close()

    # Prover and submissions

    def prover_key(self) -> SealingPublicKey:
        """The key to seal to now."""
        keys = items_of(self._json("/v1/prover/keys"), "keys")
        if not keys:
            raise ServiceError("service.no-prover-key", "the service offers no key to seal to")
        return SealingPublicKey(bytes_of(text_of(keys[0], "public")))

    def attestation_key(self) -> str:
        """The prover's signing key, hex: to be compared with the one known from elsewhere."""
        return text_of(self._json("/v1/prover/keys"), "attestation_key")

    def submit(self, submission: Submission, *, prover: SealingPublicKey | None = None) -> Submitted:
        """Seal and submit; on return it is durable there."""
        header, sealed = seal_submission(submission, prover or self.prover_key(), secrets.token_bytes(NONCE_BYTES))
        return self.submit_sealed(header, sealed)

    def submit_sealed(
        self, header: SubmissionHeader, sealed: bytes, *, idempotency_key: str | None = None
    ) -> Submitted:
        name = idempotency_key or secrets.token_urlsafe(24)
        return Submitted(self._submit("/v1/submissions", encode_body(header, sealed), name), header)

    def post_proved(
        self, attestation: bytes, releases: Sequence[bytes] = (), *, idempotency_key: str | None = None
    ) -> str:
        """Hand in an attestation that the account proved itself; the submission's id.  Durable there on return."""
        name = idempotency_key or secrets.token_urlsafe(24)
        return self._submit("/v1/attestations", encode_proved(attestation, releases), name)

    def _submit(self, path: str, body: bytes, name: str) -> str:
        headers = {"Content-Type": "application/octet-stream", "Idempotency-Key": name}
        return text_of(object_of(self._request("POST", path, signed=True, body=body, headers=headers)), "id")

    def status(self, submission: str, *, wait_s: float = 0) -> dict[str, Any]:
        return self._json(f"/v1/submissions/{quote(submission, safe='')}", {"wait": wait_s}, signed=True)

    def wait(self, submitted: Submitted | str, *, timeout_s: float = 300.0) -> dict[str, Any]:
        """The final status of a submission.  ServiceError service.timeout."""
        name = submitted if isinstance(submitted, str) else submitted.id
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            asked = time.monotonic()
            status = self.status(name, wait_s=min(20.0, max(0.0, deadline - asked)))
            if text_of(status, "state") not in ("ready", "running"):
                return status
            if time.monotonic() - asked < PAUSE_S:
                self._sleep(PAUSE_S)
        raise ServiceError("service.timeout", "the submission is still being worked on")

    @staticmethod
    def answer(status: Mapping[str, Any], submitted: Submitted, key: SealingKey) -> Answer | None:
        """What the prover says to the owner alone.  DecodeError sealing.open, answer.*."""
        sealed = status.get("result")
        return None if sealed is None else open_answer(bytes_of(sealed), key, submitted.header)

    # What a party publishes itself

    def publish_source_statement(self, statement: PublishedStatement) -> bytes:
        """By a source; the digest of the signed message."""
        return self._publish("/v1/source-statements", statement.encode())

    def publish_source_release(self, record: Envelope) -> bytes:
        """By a source: a book may leave the account's manifest."""
        return self._publish("/v1/source-releases", record.encode())

    def publish_pledge_release(self, record: Envelope) -> bytes:
        """By a venue: what was pledged to it in one statement may fall."""
        return self._publish("/v1/pledge-releases", record.encode())

    def publish_oracle_report(self, record: Envelope) -> bytes:
        """By an oracle; the digest of the signed report."""
        return self._publish("/v1/oracle-reports", record.encode())

    def publish_manifest(self, record: Envelope) -> bytes:
        """By an account."""
        return self._publish("/v1/manifests", record.encode())

    def _publish(self, path: str, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        answer = object_of(self._request("POST", path, signed=True, body=body, headers=headers))
        return digest_of(answer)

    # Attestations and records

    def latest(self, account: str, *, after: int = 0, wait_s: float = 0) -> Logged | None:
        """The account's newest attestation with its head statement; None when none is newer than `after`."""
        path = f"/v1/accounts/{quote(account, safe='')}/attestations/latest"
        response = self._request("GET", path, query={"after": after, "wait": wait_s}, missing_is_none=True)
        return None if response is None else logged_of(object_of(response))

    def attestation(self, account: str, sequence: int) -> Logged | None:
        path = f"/v1/accounts/{quote(account, safe='')}/attestations/{sequence}"
        response = self._request("GET", path, missing_is_none=True)
        return None if response is None else logged_of(object_of(response))

    def newest_record(self, kind: str, *, after: bytes | None = None, wait_s: float = 0) -> bytes | None:
        """The digest of the newest record of a kind ("epochs", "venue-registries", ...), if it is not `after`."""
        query = {"wait": wait_s} | ({} if after is None else {"after": after.hex()})
        response = self._request("GET", f"/v1/records/{kind}/latest", query=query, missing_is_none=True)
        return None if response is None else digest_of(object_of(response))

    def record(self, kind: str, digest: bytes) -> bytes:
        """The signed record, as an envelope's bytes (a universe: its document)."""
        return self._bytes(f"/v1/records/{kind}/{digest.hex()}")

    def signed_record(self, kind: str, digest: bytes) -> Envelope:
        """The envelope with this digest, no signature checked.  ServiceError service.record for another one."""
        envelope = Envelope.decode(self.record(kind, digest))
        if envelope.digest != digest:
            raise ServiceError("service.record", "the service served another record than was asked for")
        return envelope

    def records_of(self, kind: str, account: str) -> list[bytes]:
        """The digests of an account's newest records of a kind, at most a hundred, newest first."""
        records = self._json(f"/v1/records/{kind}", {"account": account, "limit": 100})
        return [digest_of(record) for record in items_of(records, "records")]

    def object(self, digest: bytes) -> bytes:
        return self._bytes(f"/v1/objects/{digest.hex()}")

    # The log

    def log_key(self) -> str:
        """The log's verifier key: to be compared with the one known from elsewhere."""
        return text_of(self._json("/v1/log"), "key")

    def checkpoint(self) -> bytes:
        return self._bytes("/v1/log/checkpoint")

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        """(index, time, canonical bytes) from `start` on, a page; empty at the end."""
        entries = items_of(self._json("/v1/log/entries", {"start": start}), "entries")
        return [(integer_of(e, "index"), integer_of(e, "time"), bytes_of(text_of(e, "entry"))) for e in entries]

    def receipt(self, index: int) -> bytes:
        return self._bytes(f"/v1/log/receipts/{index}")

    def consistency(self, first: int, second: int) -> list[bytes]:
        path = items_of(self._json("/v1/log/consistency", {"first": first, "second": second}), "path")
        return [bytes_of(h) for h in path]

    # How

    def _json(self, path: str, query: Mapping[str, Any] | None = None, *, signed: bool = False) -> dict[str, Any]:
        return object_of(self._request("GET", path, query=query, signed=signed))

    def _bytes(self, path: str) -> bytes:
        data = self._request("GET", path)
        assert data is not None
        return data

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        signed: bool = False,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        missing_is_none: bool = False,
    ) -> bytes | None:
        deadline = time.monotonic() + self._patience_s
        pause = 0.2
        while True:
            asked = time.monotonic()
            try:
                response = self._send(method, path, query, signed, body, headers or {})
            except requests.RequestException as e:
                status, again, error = 0, pause, unreachable(e, self._url)
                if error.code == "service.certificate":  # which no waiting mends
                    raise error from None
            else:
                status = response.status_code
                if status in (200, 202):
                    return response.content
                if missing_is_none and status in (204, 404):
                    # All places for waiting were taken: do not ask again at once.
                    if float((query or {}).get("wait", 0)) > PAUSE_S and time.monotonic() - asked < PAUSE_S:
                        self._sleep(PAUSE_S)
                    return None
                error = problem(response)
                again = retry_after(response, pause)
            if status not in (0, *_AGAIN) or time.monotonic() + again > deadline:
                raise error
            self._sleep(again)
            pause = min(5.0, 2 * pause)

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, Any] | None,
        signed: bool,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> requests.Response:
        request = requests.Request(method, self._url + path, params=query, data=body, headers=dict(headers))
        prepared = self._session.prepare_request(request)
        if signed:
            if self._key is None:
                raise ServiceError("service.no-key", "this request needs an account's key")
            HTTPMessageSigner(signature_algorithm=ED25519, key_resolver=_Key(self._key)).sign(
                prepared,
                key_id=self._key.public.key_id,
                nonce=secrets.token_urlsafe(24),
                tag=TAG,
                label="sig",
                covered_component_ids=_covered(prepared.headers, body),
                body=body,
            )
        patience = self._timeout_s + (0.0 if query is None else float(query.get("wait", 0)))
        end = time.monotonic() + patience + len(body or b"") / SLOWEST_BYTES_PER_S
        timeouts = (self._timeout_s, patience)
        with ends_by(end):
            response = self._session.send(prepared, timeout=timeouts, allow_redirects=False, stream=True)
        with contextlib.closing(response):
            response._content = whole(response, end)  # what `content` gives from here on
            response._content_consumed = True  # type: ignore[attr-defined]  # its connection serves the next request
        return response


def _covered(headers: Mapping[str, str | bytes], body: bytes | None) -> tuple[str, ...]:
    if body is None:
        return _SIGNED_READ
    return (*_SIGNED_WRITE, "idempotency-key") if "Idempotency-Key" in headers else _SIGNED_WRITE
