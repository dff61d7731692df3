"""The body of a request, whole or not at all.

A body comes with its exact length or is refused: with a chunked body the framework would cut silently at its limit and
report success.  Nothing is read before the length is known to fit; nothing shorter than announced is accepted.
"""

from __future__ import annotations

from flask import Request

from server.problem import Refusal

RECEIVED = "marginseal.received"
"""In the WSGI environment: what to call when the request has been read, or a part of a long answer taken (web.py)."""


def extend_deadline(request: Request) -> None:
    """From now on the answer has `request_timeout_s`; outside our own server there is no deadline."""
    request.environ.get(RECEIVED, lambda: None)()


def refuse_body(request: Request) -> None:
    """For methods that take none: Refusal 400 body.not-allowed."""
    if request.headers.get("Transfer-Encoding") or (request.headers.get("Content-Length") or "0") != "0":
        raise Refusal(400, "body.not-allowed", "This method takes no body.")


def read_body(request: Request, *, limit: int, media_type: str) -> bytes:
    """Exactly Content-Length bytes, at most `limit`.  Refusal 400, 411, 413 or 415 body.*."""
    if request.headers.get("Transfer-Encoding"):
        raise Refusal(411, "body.chunked", "Send the body with a Content-Length, not chunked.")
    announced = request.headers.get("Content-Length")
    if announced is None:
        raise Refusal(411, "body.length-required", "Send the body with a Content-Length.")
    if not (announced.isascii() and announced.isdecimal() and len(announced) <= 12):
        raise Refusal(400, "body.length", "The Content-Length is not a number.")
    length = int(announced)
    if length > limit:
        # The rest is not read: a connection that carries it cannot be used again.
        raise Refusal(
            413, "body.too-large", "The body is larger than this resource takes.", headers={"Connection": "close"}
        )
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise Refusal(415, "body.encoding", "Send the body without a content coding.")
    if request.mimetype != media_type:
        raise Refusal(415, "body.media-type", "This resource takes another media type.")
    data = request.environ["wsgi.input"].read(length) if length else b""
    if len(data) != length:
        raise Refusal(400, "body.truncated", "The body ended before its announced length.")
    extend_deadline(request)
    return bytes(data)
