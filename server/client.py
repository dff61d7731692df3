"""The HTTP client: an institution, a source, a venue or an auditor at one service.

Requests of an account are signed as `server.signatures` asks.  A request that could not be answered (a broken
connection, 429, 503) is tried again until `patience_s` is over: reads as they are, a submission with the same bytes and
the same idempotency key under a fresh signature, so that it is accepted once.  What comes back is data; whether to
believe it is for `marginseal.log.client` and the verifier.
"""

from __future__ import annotations

import base64
import contextlib
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver
from http_message_signatures.algorithms import ED25519
from urllib3.exceptions import HTTPError

from marginseal.errors import DecodeError, MarginSealError, ServiceError
from marginseal.files import parse_json
from marginseal.log.storage import MAX_OBJECT_BYTES
from marginseal.records.document import MAX_INTEGER, parse_hex
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SigningKey
from marginseal.records.sealing import SealingKey, SealingPublicKey
from marginseal.records.source import PublishedStatement
from marginseal.records.submission import NONCE_BYTES, Submission, SubmissionHeader, seal_submission
from server.session import open_session
from server.wire import Answer, encode_body, encode_proved, open_answer

TAG = "marginseal"
PAUSE_S = 1.0
MAX_RESPONSE_BYTES = MAX_OBJECT_BYTES + 2**20
SLOWEST_BYTES_PER_S = 2**14
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


@dataclass(frozen=True)
class Logged:
    """An attestation as the service serves it; nothing in it is verified yet."""

    account: str
    sequence: int
    statement_digest: bytes
    log_index: int
    attestation: bytes
    receipt: bytes
    head: bytes | None


class Client:
    """One service, over HTTPS.  ca: the certificate authority to trust (None: the system's).  key: who signs.

    ServiceError service.unreachable, service.malformed, or the code of the service's problem."""

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
        keys = _items(self._json("/v1/prover/keys"), "keys")
        if not keys:
            raise ServiceError("service.no-prover-key", "the service offers no key to seal to")
        return SealingPublicKey(_bytes(_text(keys[0], "public")))

    def attestation_key(self) -> str:
        """The prover's signing key, hex: to be compared with the one known from elsewhere."""
        return _text(self._json("/v1/prover/keys"), "attestation_key")

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
        return _text(_object(self._request("POST", path, signed=True, body=body, headers=headers)), "id")

    def status(self, submission: str, *, wait_s: float = 0) -> dict[str, Any]:
        return self._json(f"/v1/submissions/{quote(submission, safe='')}", {"wait": wait_s}, signed=True)

    def wait(self, submitted: Submitted | str, *, timeout_s: float = 300.0) -> dict[str, Any]:
        """The final status of a submission.  ServiceError service.timeout."""
        name = submitted if isinstance(submitted, str) else submitted.id
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            asked = time.monotonic()
            status = self.status(name, wait_s=min(20.0, max(0.0, deadline - asked)))
            if _text(status, "state") not in ("ready", "running"):
                return status
            if time.monotonic() - asked < PAUSE_S:
                self._sleep(PAUSE_S)
        raise ServiceError("service.timeout", "the submission is still being worked on")

    @staticmethod
    def answer(status: Mapping[str, Any], submitted: Submitted, key: SealingKey) -> Answer | None:
        """What the prover says to the owner alone.  DecodeError sealing.open, answer.*."""
        sealed = status.get("result")
        return None if sealed is None else open_answer(_bytes(sealed), key, submitted.header)

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
        answer = _object(self._request("POST", path, signed=True, body=body, headers=headers))
        return _digest(answer)

    # Attestations and records

    def latest(self, account: str, *, after: int = 0, wait_s: float = 0) -> Logged | None:
        """The account's newest attestation with its head statement; None when none is newer than `after`."""
        path = f"/v1/accounts/{quote(account, safe='')}/attestations/latest"
        response = self._request("GET", path, query={"after": after, "wait": wait_s}, missing_is_none=True)
        return None if response is None else _logged(_object(response))

    def attestation(self, account: str, sequence: int) -> Logged | None:
        path = f"/v1/accounts/{quote(account, safe='')}/attestations/{sequence}"
        response = self._request("GET", path, missing_is_none=True)
        return None if response is None else _logged(_object(response))

    def newest_record(self, kind: str, *, after: bytes | None = None, wait_s: float = 0) -> bytes | None:
        """The digest of the newest record of a kind ("epochs", "venue-registries", ...), if it is not `after`."""
        query = {"wait": wait_s} | ({} if after is None else {"after": after.hex()})
        response = self._request("GET", f"/v1/records/{kind}/latest", query=query, missing_is_none=True)
        return None if response is None else _digest(_object(response))

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
        return [_digest(record) for record in _items(records, "records")]

    def object(self, digest: bytes) -> bytes:
        return self._bytes(f"/v1/objects/{digest.hex()}")

    # The log

    def log_key(self) -> str:
        """The log's verifier key: to be compared with the one known from elsewhere."""
        return _text(self._json("/v1/log"), "key")

    def checkpoint(self) -> bytes:
        return self._bytes("/v1/log/checkpoint")

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        """(index, time, canonical bytes) from `start` on, a page; empty at the end."""
        entries = _items(self._json("/v1/log/entries", {"start": start}), "entries")
        return [(_integer(e, "index"), _integer(e, "time"), _bytes(_text(e, "entry"))) for e in entries]

    def receipt(self, index: int) -> bytes:
        return self._bytes(f"/v1/log/receipts/{index}")

    def consistency(self, first: int, second: int) -> list[bytes]:
        path = _items(self._json("/v1/log/consistency", {"first": first, "second": second}), "path")
        return [_bytes(h) for h in path]

    # How

    def _json(self, path: str, query: Mapping[str, Any] | None = None, *, signed: bool = False) -> dict[str, Any]:
        return _object(self._request("GET", path, query=query, signed=signed))

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
                status, again, error = 0, pause, _unreachable(e, self._url)
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
                error = _problem(response)
                again = _retry_after(response, pause)
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
        response = self._session.send(prepared, timeout=(self._timeout_s, patience), allow_redirects=False, stream=True)
        with contextlib.closing(response):
            response._content = _whole(response, patience)  # what `content` gives from here on
            response._content_consumed = True  # type: ignore[attr-defined]  # its connection serves the next request
        return response


def _whole(response: requests.Response, patience_s: float) -> bytes:
    """The body.  Whoever answers may be hostile: without end, or a byte a minute, or packed a thousand times.

    ServiceError service.too-large, service.too-slow, service.malformed."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ServiceError("service.malformed", "the service's answer is packed, which was not asked for")
    started, data = time.monotonic(), bytearray()
    while piece := _some(response):
        data += piece
        if len(data) > MAX_RESPONSE_BYTES:
            raise ServiceError("service.too-large", "the service's answer is too large")
        if time.monotonic() - started > patience_s + len(data) / SLOWEST_BYTES_PER_S:
            raise ServiceError("service.too-slow", "the service's answer takes too long to arrive")
    return bytes(data)


def _some(response: requests.Response) -> bytes:
    """What has arrived, at most 64 KiB; nothing at the end.  requests.ConnectionError when it breaks off."""
    try:
        return bytes(response.raw.read1(2**16))
    except (HTTPError, OSError, HTTPException) as e:
        raise requests.ConnectionError(type(e).__name__) from None


def _covered(headers: Mapping[str, str | bytes], body: bytes | None) -> tuple[str, ...]:
    if body is None:
        return _SIGNED_READ
    return (*_SIGNED_WRITE, "idempotency-key") if "Idempotency-Key" in headers else _SIGNED_WRITE


def _unreachable(e: requests.RequestException, url: str) -> ServiceError:
    """Why there was no answer, in the words of whoever has to mend it."""
    if isinstance(e, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(e):
        return ServiceError("service.certificate", f"the certificate of {url} is not one that is trusted: name --ca")
    if isinstance(e, requests.Timeout):
        return ServiceError("service.unreachable", f"{url} does not answer in time")
    return ServiceError("service.unreachable", f"{url} cannot be reached")


def _problem(response: requests.Response) -> ServiceError:
    code = f"service.http-{response.status_code}"
    with contextlib.suppress(MarginSealError, KeyError, TypeError):
        code = str(parse_json(response.content, what="problem")["code"])[:64]
    return ServiceError(code, f"the service refused with status {response.status_code}")


def _retry_after(response: requests.Response, default: float) -> float:
    value = response.headers.get("Retry-After", "")
    return min(60.0, float(value)) if value.isascii() and value.isdecimal() and len(value) < 5 else default


def _object(data: bytes | None) -> dict[str, Any]:
    value = parse_json(data or b"", what="answer of the service")
    if not isinstance(value, dict):
        raise DecodeError("service.malformed", "the service's answer is not a JSON object")
    return value


def _text(value: object, name: str) -> str:
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return text


def _integer(value: object, name: str) -> int:
    """0 to 2^53 - 1, as everything that is counted or dated here."""
    number = value.get(name) if isinstance(value, dict) else None
    if type(number) is not int or not 0 <= number <= MAX_INTEGER:
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return number


def _items(value: Mapping[str, Any], name: str) -> list[Any]:
    items = value.get(name)
    if not isinstance(items, list):
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return items


def _digest(value: object) -> bytes:
    digest = parse_hex(_text(value, "digest"), 32)
    if digest is None:
        raise DecodeError("service.malformed", "the service's answer holds no digest where it should")
    return digest


def _bytes(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:  # of which binascii's is one; another is for what is not ASCII
        raise DecodeError("service.malformed", "the service's answer holds no base64 where it should") from None


def _logged(value: Mapping[str, Any]) -> Logged:
    head = value.get("head")
    try:
        return Logged(
            account=_text(value, "account"),
            sequence=_integer(value, "sequence"),
            statement_digest=bytes.fromhex(_text(value, "statement_digest")),
            log_index=_integer(value, "log_index"),
            attestation=_bytes(_text(value, "attestation")),
            receipt=_text(value, "receipt").encode(),
            head=None if head is None else str(head).encode(),
        )
    except (KeyError, TypeError, ValueError):
        raise DecodeError("service.malformed", "the service's answer is not an attestation") from None
