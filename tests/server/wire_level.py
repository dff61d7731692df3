"""Talking to the server below HTTP: bytes over TLS, and what came back."""

from __future__ import annotations

import contextlib
import io
import json
import re
import secrets
import socket
import ssl
import time
from dataclasses import dataclass
from typing import Any

import requests

from marginseal.records.keys import SigningKey
from server.client import Client
from tests.server.patience import PATIENCE_S
from tests.server.world import Account, Site


@dataclass(frozen=True)
class Reply:
    status: int
    head: str
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        assert "application/problem+json" in self.head, self.head
        value = json.loads(self.body)
        assert isinstance(value, dict)
        assert value["status"] == self.status
        return value

    @property
    def code(self) -> str:
        return str(self.problem["code"])


def context(s: Site, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    c = ssl.create_default_context(cafile=str(s.ca))
    if version is not None:
        c.maximum_version = version
    return c


def connect(s: Site, version: ssl.TLSVersion | None = None, timeout: float = PATIENCE_S) -> ssl.SSLSocket:
    raw = socket.create_connection(("127.0.0.1", s.config.server.port), timeout)
    return context(s, version).wrap_socket(raw, server_hostname="127.0.0.1")


def exchange(s: Site, *pieces: bytes | float, half_close: bool = False) -> Reply:
    """Send pieces (a number: wait so many seconds), read the answer or to the end.  TimeoutError when neither comes."""
    with connect(s) as c:
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    c.sendall(piece)
                else:
                    time.sleep(piece)
            if half_close:
                c.unwrap()
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        return answer(c)


def answer(c: ssl.SSLSocket) -> Reply:
    """One answer, or what came before the connection ended: status 0 for nothing."""
    data = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLError):
        while not _whole(data) and (chunk := c.recv(65536)):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    return Reply(int(head.split()[1]) if head else 0, head.decode("latin-1"), body)


def _whole(data: bytes) -> bool:
    head, end, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """An HTTP/1.1 POST as bytes; `length` other than None overrides the honest one, -1 leaves it out."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close", *headers]
    if length != -1:
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


class Recorder(Client):
    """A client that sends what it is told and gives the bare response back."""

    def send(
        self, method: str, path: str, *, body: bytes | None = None, signed: bool = True, **headers: str
    ) -> requests.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self._send(method, path, None, signed, body, named)

    def prepare(self, method: str, path: str, body: bytes | None = None, **headers: str) -> requests.PreparedRequest:
        """Signed, not sent."""
        kept: list[requests.PreparedRequest] = []

        def keep(request: requests.PreparedRequest, **_options: Any) -> requests.Response:
            kept.append(request)
            response = requests.Response()
            response.raw = io.BytesIO()
            return response

        send, self._session.send = self._session.send, keep  # type: ignore[method-assign, assignment]
        try:
            self.send(method, path, body=body, **headers)
        finally:
            self._session.send = send  # type: ignore[method-assign]
        return kept[0]

    def deliver(self, request: requests.PreparedRequest) -> requests.Response:
        return self._session.send(request, timeout=PATIENCE_S)


def recorder(s: Site, key: SigningKey | None) -> Recorder:
    return s.keep(Recorder(s.config.public_url, ca=s.ca, key=key))


def post_octets(s: Site, path: str, account: Account, body: bytes, name: str | None = None) -> requests.Response:
    """What an account posts, signed, under an idempotency key of its own or this one."""
    return recorder(s, account.key).send(
        "POST",
        path,
        body=body,
        Content_Type="application/octet-stream",
        Idempotency_Key=name or secrets.token_urlsafe(16),
    )
