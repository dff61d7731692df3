"""The client leaves no socket behind, however its server goes."""

from __future__ import annotations

import contextlib
import datetime
import gc
import select
import socket
import ssl
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import ServiceError
from server.client import Client
from server.session import _Caller
from server.tls import development_certificates, server_context
from tests.server.patience import PATIENCE_S

REQUEST_END = b"\r\n\r\n"
WHOLE = b'HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{"key":"k"}'


def reset(s: socket.socket) -> None:
    """Gone as after kill -9: what comes is answered by the kernel with a reset."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def before_the_handshake(plain: socket.socket, _tls: ssl.SSLContext) -> None:
    reset(plain)


def in_the_handshake(plain: socket.socket, _tls: ssl.SSLContext) -> None:
    plain.recv(1)
    reset(plain)


def after(
    answer: bytes, end: Callable[[socket.socket], None] = reset
) -> Callable[[socket.socket, ssl.SSLContext], None]:
    """One request is read, so much answered, and the connection ended."""

    def serve(plain: socket.socket, tls: ssl.SSLContext) -> None:
        with tls.wrap_socket(plain, server_side=True) as s:
            read = b""
            while REQUEST_END not in read:
                if not (some := s.recv(4096)):  # the client has given up
                    return
                read += some
            s.sendall(answer)
            end(s)

    return serve


class Dying:
    """A server on loopback that treats every connection as told."""

    def __init__(self, directory: Path, treat: Callable[[socket.socket, ssl.SSLContext], None]) -> None:
        self.ca = development_certificates(directory, datetime.datetime.now(datetime.UTC))
        self._tls = server_context(directory / "server.pem", directory / "server.key")
        self._treat, self._stopped = treat, False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while True:
            plain, _ = self._listener.accept()
            with plain, contextlib.suppress(OSError):
                if self._stopped:
                    return
                self._treat(plain, self._tls)

    def close(self) -> None:
        self._stopped = True
        socket.create_connection(self._listener.getsockname()).close()
        self._thread.join()
        self._listener.close()


@contextlib.contextmanager
def nothing_left() -> Iterator[None]:
    """What the collector finds in this block is no socket that somebody forgot."""
    gc.collect()  # what earlier tests left is theirs
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        yield
        gc.collect()
    assert [str(w.message) for w in seen if issubclass(w.category, ResourceWarning)] == []


def connected_and_reset(*arguments: Any, **options: Any) -> socket.socket:
    """What urllib3 gets as a new connection, once the reset has come in: before anything is wrapped."""
    s = socket.create_connection(arguments[0])
    poll = select.poll()
    poll.register(s, select.POLLIN)
    assert poll.poll(1000 * PATIENCE_S)
    return s


@pytest.mark.parametrize(
    "treat",
    [before_the_handshake, in_the_handshake, after(b""), after(WHOLE[:10]), after(WHOLE[:-2]), after(WHOLE)],
    ids=["before the handshake", "in it", "before the answer", "in its head", "in its body", "between requests"],
)
def test_a_server_that_dies_leaves_no_socket_open_here(
    treat: Callable[[socket.socket, ssl.SSLContext], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with contextlib.closing(Dying(tmp_path, treat)) as server:
        if treat is before_the_handshake:
            monkeypatch.setattr("urllib3.util.connection.create_connection", connected_and_reset)
        with nothing_left():
            client = Client(server.url, ca=server.ca, patience_s=0, timeout_s=PATIENCE_S)
            for _ in range(2):
                with contextlib.suppress(ServiceError):
                    assert client.log_key() == "k"
            client.close()
            del client


def test_what_has_arrived_is_read_although_no_more_can_be_sent(tmp_path: Path) -> None:
    """urllib3 reads the answer after a broken pipe or a reset, and after no other error of sending."""
    ca = development_certificates(tmp_path, datetime.datetime.now(datetime.UTC))
    tls = server_context(tmp_path / "server.pem", tmp_path / "server.key")
    trusting = ssl.create_default_context(cafile=str(ca))
    trusting.sslsocket_class = _Caller

    def answer_and_go(listener: socket.socket) -> None:
        with listener.accept()[0] as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is still held back goes with the reset
            after(WHOLE)(plain, tls)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=answer_and_go, args=(listener,))
        server.start()
        plain = socket.create_connection(listener.getsockname())
        with trusting.wrap_socket(plain, server_hostname="127.0.0.1") as s:
            s.sendall(b"POST / HTTP/1.1" + REQUEST_END)
            server.join()
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                s.sendall(bytes(2**25))
            assert s.recv(4096) == WHOLE


def test_a_caller_that_hangs_up_before_the_handshake_leaves_no_socket_open_there(tmp_path: Path) -> None:
    development_certificates(tmp_path, datetime.datetime.now(datetime.UTC))
    tls = server_context(tmp_path / "server.pem", tmp_path / "server.key")
    with socket.create_server(("127.0.0.1", 0)) as listener, nothing_left():
        caller = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        reset(caller)
        assert select.select([accepted], [], [], PATIENCE_S)[0]
        with pytest.raises(ConnectionResetError):
            tls.wrap_socket(accepted, server_side=True)


def test_a_client_trusts_the_authority_and_the_name_it_is_given_and_no_other(tmp_path: Path) -> None:
    with contextlib.closing(Dying(tmp_path / "one", after(WHOLE, socket.socket.close))) as server:
        other = development_certificates(tmp_path / "other", datetime.datetime.now(datetime.UTC))
        elsewhere = server.url.replace("127.0.0.1", "127.1")  # the same machine, under a name that is not certified
        for url, ca, trusted in (
            (server.url, server.ca, True),
            (server.url, other, False),
            (server.url, None, False),
            (elsewhere, server.ca, False),
        ):
            client = Client(url, ca=ca, patience_s=0, timeout_s=PATIENCE_S)
            with contextlib.closing(client), contextlib.nullcontext() if trusted else pytest.raises(ServiceError):
                assert client.log_key() == "k"


def test_an_answer_under_a_certificate_of_strangers_is_no_answer(tmp_path: Path) -> None:
    """At once, and said as what it is: no waiting mends it."""
    strangers = development_certificates(tmp_path / "strangers", datetime.datetime.now(datetime.UTC))
    with contextlib.closing(Dying(tmp_path / "server", after(WHOLE))) as server:
        client = Client(server.url, ca=strangers, patience_s=60, timeout_s=PATIENCE_S)
        with (
            contextlib.closing(client),
            pytest.raises(ServiceError, match=r"127\.0\.0\.1.*service\.certificate") as refused,
        ):
            client.log_key()
        assert "--ca" in refused.value.message
