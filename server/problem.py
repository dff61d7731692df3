"""Every refusal as RFC 9457 problem+json, with a stable code and not a byte of what the caller sent.

    {"type": "urn:marginseal:problem:<code>", "title", "status", "code", "detail", "errors"}

`code` is the dotted code of `marginseal.errors` or of the check here that refused.  The message of a MarginSealError
may name a field or a file of the caller, so it is never sent: its code is.  Validation errors name fields of our own
schemas, never keys or values of theirs.  Whatever nobody foresaw becomes 500 `server.internal`, logged by the type
and place of the exception alone.
"""

from __future__ import annotations

import http
import logging
from typing import Any

from flask import Flask, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from werkzeug.exceptions import HTTPException

from marginseal.errors import DecodeError, InputError, MarginSealError, PolicyError, ProofRejected, StorageError
from server.jobs import Busy
from server.logs import where

MIMETYPE = "application/problem+json"
Responses = dict[str | int | http.HTTPStatus, type[BaseModel] | dict[Any, Any] | None]
_log = logging.getLogger("marginseal.server")


class FieldError(BaseModel):
    """One field of the request that does not fit its schema."""

    model_config = ConfigDict(extra="forbid")
    pointer: str = Field(description="JSON pointer into the request; empty when the fault has no known field")
    kind: str = Field(description="what is wrong, as a stable word")


class Problem(BaseModel):
    """RFC 9457."""

    model_config = ConfigDict(extra="forbid")
    type: str
    title: str
    status: int
    code: str
    detail: str
    errors: list[FieldError] | None = None


class Refusal(Exception):
    """Raise to refuse a request.  `detail` is a constant sentence of ours: nothing of the caller's goes in."""

    def __init__(self, status: int, code: str, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}


def problem_bytes(status: int, code: str, detail: str, errors: list[FieldError] | None = None) -> bytes:
    body = Problem(
        type=f"urn:marginseal:problem:{code}",
        title=http.HTTPStatus(status).phrase,
        status=status,
        code=code,
        detail=detail,
        errors=errors,
    )
    return body.model_dump_json(exclude_none=True).encode()


def respond(
    status: int,
    code: str,
    detail: str,
    *,
    errors: list[FieldError] | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    response = Response(problem_bytes(status, code, detail, errors), status=status, mimetype=MIMETYPE)
    response.headers.update(headers or {})
    return response


_STATUS: tuple[tuple[type[MarginSealError], int], ...] = (
    (StorageError, 503),
    (PolicyError, 409),
    (ProofRejected, 422),
    (DecodeError, 400),
    (InputError, 400),
)


def from_error(error: MarginSealError) -> Response:
    """The problem for an error of the packages below; its code tells, its message stays here."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Busy) else {}
    if isinstance(error, Busy):
        return respond(429 if error.code == "queue.account-full" else 503, error.code, error.message, headers=headers)
    if status >= 500:
        _log.error("refused", extra={"code": error.code, "at": where(error)})
        headers = {"Retry-After": "2"}
    return respond(status, error.code, "The check named in `code` refused the request.", headers=headers)


_HTTP_CODES = {
    400: "request.malformed",
    404: "request.no-such-resource",
    405: "request.method",
    408: "request.timeout",
    411: "body.length-required",
    413: "body.too-large",
    414: "request.uri-too-long",
    415: "body.media-type",
    416: "request.range",
    429: "rate.limited",
    431: "request.headers-too-large",
}


def _from_http(error: HTTPException) -> Response:
    if error.response is not None:  # flask-openapi3 aborts with the response of `from_validation`
        return error.response  # type: ignore[return-value]
    status = error.code or 500
    headers = {name: value for name, value in error.get_headers() if name in ("Allow", "Retry-After")}
    code = _HTTP_CODES.get(status, "request.refused" if status < 500 else "server.internal")
    return respond(status, code, "The request was refused.", headers=headers)


def from_validation(error: ValidationError) -> Response:
    """What flask-openapi3 calls when a path, query or body does not fit its model.  Nothing of the input is kept."""
    errors = []
    for fault in error.errors(include_input=False, include_url=False, include_context=False):
        # An unknown key is itself the caller's text; the model's own field names and list positions are ours.
        known = fault["type"] not in ("extra_forbidden", "json_invalid")
        pointer = "".join(f"/{part}" for part in fault["loc"]) if known else ""
        errors.append(FieldError(pointer=pointer, kind=fault["type"]))
    return respond(422, "request.invalid", "The request does not fit its schema.", errors=errors[:16])


def install(app: Flask) -> None:
    """Route every exception of the application into the responses above."""

    @app.errorhandler(Refusal)
    def _refusal(e: Refusal) -> Response:
        return respond(e.status, e.code, e.detail, headers=e.headers)

    @app.errorhandler(MarginSealError)
    def _error(e: MarginSealError) -> Response:
        return from_error(e)

    @app.errorhandler(HTTPException)
    def _http(e: HTTPException) -> Response:
        return _from_http(e)

    @app.errorhandler(Exception)
    def _unforeseen(e: Exception) -> Response:
        _log.error("unforeseen", extra={"code": "server.internal", "at": where(e)})
        return respond(500, "server.internal", "Something went wrong here; nothing was accepted.")


def _documented(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MIMETYPE: {"schema": schema}}}


# What every operation may answer, and what one that needs a signature may answer besides, for the OpenAPI document.
PROBLEMS: Responses = {
    status: _documented(text)
    for status, text in {
        400: "Malformed",
        404: "No such resource",
        422: "Does not fit the schema",
        429: "Too many requests; see Retry-After",
        503: "Try again; see Retry-After",
    }.items()
}
SIGNED_PROBLEMS: Responses = PROBLEMS | {
    status: _documented(text)
    for status, text in {
        401: "Not signed by an active key, not fresh, or used before",
        403: "The account may not",
        409: "Does not fit the state of the account, the keys or the epoch",
        411: "No Content-Length",
        413: "Too large",
        415: "Another media type",
    }.items()
}
