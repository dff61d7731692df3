"""The client before a service that is never silent for long and never done: real sockets, a byte at a time."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from marginseal.errors import ServiceError
from server.client import Client
from server.session import ends_by, open_session
from server.tls import development_certificates, server_context

PAUSE_S = 0.05
ENOUGH = 1200  # bytes: a minute, twenty times what the client grants


class Trickler(threading.Thread):
    """Serves one caller.  given: the bytes that went out before he hung up."""

    def __init__(self, directory: Path, act: Callable[[Trickler, socket.socket], None]) -> None:
        super().__init__(daemon=True)
        self.ca = development_certificates(directory, datetime.datetime.now(datetime.UTC))
        self.context = server_context(directory / "server.pem", directory / "server.key")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self.listener.getsockname()[1]}"
        self.act, self.given, self.hung_up = act, 0, threading.Event()

    def run(self) -> None:
        caller, _ = self.listener.accept()
        with contextlib.closing(caller), contextlib.suppress(OSError):
            self.act(self, caller)

    def trickle(self, to: socket.socket, data: bytes) -> None:
        """Until the caller hangs up, or all is said."""
        for byte in data:
            to.sendall(bytes([byte]))
            self.given += 1
            if self.hung_up.wait(PAUSE_S):
                return

    def secured(self, caller: socket.socket) -> ssl.SSLSocket:
        return self.context.wrap_socket(caller, server_side=True)


def head(server: Trickler, caller: socket.socket) -> None:
    with server.secured(caller) as secured:
        secured.recv(2**16)
        server.trickle(secured, b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * ENOUGH)


def handshake(server: Trickler, caller: socket.socket) -> None:
    """The record that should hold the server's answer, longer than it takes."""
    caller.recv(2**16)
    server.trickle(caller, b"\x16\x03\x03\x40\x00" + bytes(ENOUGH))


def interim(server: Trickler, caller: socket.socket) -> None:
    """An answer that says again and again that the answer is coming."""
    with server.secured(caller) as secured:
        secured.recv(2**16)
        server.trickle(secured, b"HTTP/1.1 100 Continue\r\n\r\n" * (ENOUGH // 25))


def deaf(server: Trickler, caller: socket.socket) -> None:
    """It takes nothing of the request."""
    with server.secured(caller):
        server.hung_up.wait(60)


@pytest.fixture
def trickling(tmp_path: Path) -> Iterator[Callable[[Callable[[Trickler, socket.socket], None]], Trickler]]:
    servers: list[Trickler] = []

    def start(act: Callable[[Trickler, socket.socket], None]) -> Trickler:
        servers.append(Trickler(tmp_path, act))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.hung_up.set()
        server.join(10)
        server.listener.close()


def client_of(server: Trickler) -> Client:
    return Client(server.url, ca=server.ca, timeout_s=1.0, patience_s=0)


@pytest.mark.parametrize("act", [head, handshake, interim], ids=lambda act: act.__name__)
def test_an_answer_that_trickles_from_its_first_byte_is_cut_off(
    trickling: Callable[[Callable[[Trickler, socket.socket], None]], Trickler],
    act: Callable[[Trickler, socket.socket], None],
) -> None:
    server = trickling(act)
    with contextlib.closing(client_of(server)) as client, pytest.raises(ServiceError, match=r"service\.unreachable"):
        client.checkpoint()
    assert 0 < server.given < ENOUGH // 4


def test_a_service_that_takes_no_request_is_left_when_the_exchange_ends(
    trickling: Callable[[Callable[[Trickler, socket.socket], None]], Trickler],
) -> None:
    """A timeout of the one write that never returns would be a longer one."""
    server, started = trickling(deaf), time.monotonic()
    with open_session(server.ca) as session, pytest.raises(requests.RequestException), ends_by(started + 1):
        session.post(server.url, data=bytes(2**25), timeout=30)
    assert time.monotonic() - started < 20
