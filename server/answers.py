"""What comes back from a service, read as from somebody who means it ill: bounded, and every member by its type.

Whether to believe it is for `marginseal.log.client` and the verifier; here an answer of another form is refused as
`service.malformed`, one without end as `service.too-large` or `service.too-slow`.
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

import requests
from urllib3.exceptions import HTTPError

from marginseal.errors import DecodeError, MarginSealError, ServiceError
from marginseal.files import parse_json
from marginseal.log.storage import MAX_OBJECT_BYTES
from marginseal.records.document import MAX_INTEGER, parse_hex
from server.session import ends_by

MAX_RESPONSE_BYTES = MAX_OBJECT_BYTES + 2**20
SLOWEST_BYTES_PER_S = 2**14


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


def whole(response: requests.Response, end: float) -> bytes:
    """The body.  Whoever answers may be hostile: without end, or a byte a minute, or packed a thousand times.

    end: of the exchange (`time.monotonic`), for an answer of no length; each byte of it brings a little more time.

    ServiceError service.too-large, service.too-slow, service.malformed."""
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ServiceError("service.malformed", "the service's answer is packed, which was not asked for")
    data = bytearray()
    while piece := _some(response, end + len(data) / SLOWEST_BYTES_PER_S):
        data += piece
        if len(data) > MAX_RESPONSE_BYTES:
            raise ServiceError("service.too-large", "the service's answer is too large")
        if time.monotonic() > end + len(data) / SLOWEST_BYTES_PER_S:
            raise ServiceError("service.too-slow", "the service's answer takes too long to arrive")
    return bytes(data)


def _some(response: requests.Response, end: float) -> bytes:
    """What has arrived, at most 64 KiB; nothing at the end.  requests.ConnectionError when it breaks off."""
    try:
        with ends_by(end):
            return bytes(response.raw.read1(2**16))
    except (HTTPError, OSError, HTTPException) as e:
        raise requests.ConnectionError(type(e).__name__) from None


def unreachable(e: requests.RequestException, url: str) -> ServiceError:
    """Why there was no answer, in the words of whoever has to mend it."""
    if isinstance(e, requests.exceptions.SSLError) and "CERTIFICATE_VERIFY_FAILED" in str(e):
        return ServiceError("service.certificate", f"the certificate of {url} is not one that is trusted: name --ca")
    if isinstance(e, requests.Timeout):
        return ServiceError("service.unreachable", f"{url} does not answer in time")
    return ServiceError("service.unreachable", f"{url} cannot be reached")


def problem(response: requests.Response) -> ServiceError:
    code = f"service.http-{response.status_code}"
    with contextlib.suppress(MarginSealError, KeyError, TypeError):
        code = str(parse_json(response.content, what="problem")["code"])[:64]
    said = f"the service refused with status {response.status_code}"
    return ServiceError(code, f"{said}: {_MEANING[code]}" if code in _MEANING else said)


# Ours and not the service's words: it tells nobody which of these it was.
_MEANING = {
    "signature.invalid": "it takes no request under this key; its operator admits parties (`marginseal office`)",
    "signature.stale": "the clock here or there is wrong",
}


def retry_after(response: requests.Response, default: float) -> float:
    value = response.headers.get("Retry-After", "")
    return min(60.0, float(value)) if value.isascii() and value.isdecimal() and len(value) < 5 else default


def object_of(data: bytes | None) -> dict[str, Any]:
    value = parse_json(data or b"", what="answer of the service")
    if not isinstance(value, dict):
        raise DecodeError("service.malformed", "the service's answer is not a JSON object")
    return value


def text_of(value: object, name: str) -> str:
    text = value.get(name) if isinstance(value, dict) else None
    if not isinstance(text, str):
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return text


def integer_of(value: object, name: str) -> int:
    """0 to 2^53 - 1, as everything that is counted or dated here."""
    number = value.get(name) if isinstance(value, dict) else None
    if type(number) is not int or not 0 <= number <= MAX_INTEGER:
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return number


def items_of(value: Mapping[str, Any], name: str) -> list[Any]:
    items = value.get(name)
    if not isinstance(items, list):
        raise DecodeError("service.malformed", f"the service's answer lacks {name}")
    return items


def digest_of(value: object) -> bytes:
    digest = parse_hex(text_of(value, "digest"), 32)
    if digest is None:
        raise DecodeError("service.malformed", "the service's answer holds no digest where it should")
    return digest


def bytes_of(text: object) -> bytes:
    try:
        return base64.b64decode(str(text), validate=True)
    except ValueError:  # of which binascii's is one; another is for what is not ASCII
        raise DecodeError("service.malformed", "the service's answer holds no base64 where it should") from None


def logged_of(value: Mapping[str, Any]) -> Logged:
    head = value.get("head")
    try:
        return Logged(
            account=text_of(value, "account"),
            sequence=integer_of(value, "sequence"),
            statement_digest=bytes.fromhex(text_of(value, "statement_digest")),
            log_index=integer_of(value, "log_index"),
            attestation=bytes_of(text_of(value, "attestation")),
            receipt=text_of(value, "receipt").encode(),
            head=None if head is None else str(head).encode(),
        )
    except (KeyError, TypeError, ValueError):
        raise DecodeError("service.malformed", "the service's answer is not an attestation") from None
