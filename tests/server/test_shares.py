"""Threads and connections of the server: one caller, however greedy, leaves room for the next."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from server.main import close_log, open_log
from server.web import Deadlines, Shares, neighbourhood
from tests.server.patience import PATIENCE_S, until
from tests.server.wire_level import context
from tests.server.world import Site, site

THREADS, CONNECTIONS = 8, 512
GREEDY, HONEST = "127.0.0.1", "127.0.0.2"
HOLD_S = 90
"""How long the server bears with a caller."""
SOON_S = 20
"""An honest caller gets an answer in milliseconds, on a busy machine in a second or two; if he had to wait for the
greedy ones, it would be HOLD_S."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = {"threads": THREADS, "processes": 1, "receive_timeout_s": HOLD_S, "request_timeout_s": 2 * HOLD_S}
    with site(tmp_path_factory.mktemp("shares"), server=server, rates={"client_burst": 5_000}) as s:
        s.serve()
        yield s


def call(s: Site, address: str, timeout_s: float = PATIENCE_S) -> socket.socket:
    c = socket.socket()
    c.settimeout(timeout_s)
    c.bind((address, 0))
    c.connect(("127.0.0.1", s.config.server.port))
    return c


def slowest_answer(s: Site, times: int = 5) -> float:
    """Of an honest caller from another address."""
    worst = 0.0
    for _ in range(times):
        started = time.monotonic()
        with call(s, HONEST) as raw, context(s).wrap_socket(raw, server_hostname="127.0.0.1") as c:
            c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            assert c.recv(100).startswith(b"HTTP/1.1 200")
        worst = max(worst, time.monotonic() - started)
        time.sleep(0.2)
    return worst


@contextlib.contextmanager
def many(count: int, act: Callable[[threading.Event], None]) -> Iterator[None]:
    """That many callers who do this until the end."""
    over = threading.Event()
    threads = [threading.Thread(target=act, args=(over,), daemon=True) for _ in range(count)]
    for t in threads:
        t.start()
    time.sleep(1)
    try:
        yield
    finally:
        over.set()
        for t in threads:
            t.join(PATIENCE_S)


def test_handshakes_that_never_end_stop_nobody_else(small: Site) -> None:
    """Each holds a thread until it is cut off, and the next takes its place at once."""

    def act(over: threading.Event) -> None:
        while not over.is_set():
            with contextlib.suppress(OSError), call(small, GREEDY) as c:
                c.sendall(b"\x16")
                while not over.is_set() and not select.select([c], [], [], 0.1)[0]:
                    pass

    with many(4 * THREADS, act):
        assert slowest_answer(small) < SOON_S


def test_answers_that_nobody_takes_stop_nobody_else(small: Site) -> None:
    log = open_log(small.config, None)
    digest = log.put_object(os.urandom(12 * 2**20))
    close_log(log)

    def act(over: threading.Event) -> None:
        raw = call(small, GREEDY)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        tls = context(small)
        with contextlib.suppress(OSError, ssl.SSLError), tls.wrap_socket(raw, server_hostname="127.0.0.1") as c:
            c.sendall(f"GET /v1/objects/{digest.hex()} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            over.wait()

    with many(2 * THREADS, act):
        assert slowest_answer(small) < SOON_S


def test_answered_callers_who_do_not_hang_up_stop_nobody_else(small: Site) -> None:
    """Waiting two seconds for each, with the thread that all connections share, would keep everybody."""
    callers, answered = 8 * THREADS, list[bytes]()

    def act(over: threading.Event) -> None:
        with call(small, GREEDY) as raw, context(small).wrap_socket(raw, server_hostname="127.0.0.1") as c:
            c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answered.append(c.recv(100))
            over.wait()

    started = time.monotonic()
    with many(callers, act):
        until(lambda: len(answered) == callers, "an answer for each")
        slowest_answer(small, 1)
        assert time.monotonic() - started < callers  # half of what their goodbyes would take


def test_connections_of_one_address_leave_room_for_others(small: Site) -> None:
    held = [call(small, GREEDY) for _ in range(CONNECTIONS + 50)]
    try:
        assert slowest_answer(small, 2) < SOON_S
    finally:
        for c in held:
            c.close()


def test_the_metrics_are_for_this_machine_alone(small: Site) -> None:
    """The count of refused jobs, watched while one account is known to submit, says how its book stands."""
    for address, expected in ((GREEDY, b"HTTP/1.1 200"), (HONEST, b"HTTP/1.1 404")):
        with call(small, address) as raw, context(small).wrap_socket(raw, server_hostname="127.0.0.1") as c:
            c.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert c.recv(100).startswith(expected)


def test_a_deadline_holds_for_a_connection_with_the_number_of_one_that_was_just_closed() -> None:
    """Of a handshake that failed, say: it is closed while it is served, and the next has its number before it is done.

    Who brings that about could otherwise keep a thread for ever."""
    deadlines, closed, served = Deadlines(), threading.Event(), threading.Event()
    one, another = socket.socketpair()
    number = one.fileno()

    def serve_the_first() -> None:
        with deadlines.on(number, PATIENCE_S):
            one.close()
            closed.set()
            assert served.wait(PATIENCE_S)

    first = threading.Thread(target=serve_the_first)
    first.start()
    assert closed.wait(PATIENCE_S)
    mine, caller = socket.socketpair()
    with another, caller, socket.socket(fileno=os.dup2(mine.detach(), number)) as second:
        caller.settimeout(PATIENCE_S)
        with deadlines.on(second.fileno(), PATIENCE_S):
            served.set()
            first.join()
            deadlines.extend(0.1)
            assert caller.recv(1) == b""


def test_one_address_gets_two_thirds_and_a_few_leave_some() -> None:
    shares = Shares(16)
    assert sum(shares.take("a") for _ in range(99)) == 11
    assert sum(shares.take("b") for _ in range(99)) >= 3
    assert shares.take("c")
    for address in "abc":
        while shares.count(address):
            shares.give_back(address)
    assert sum(shares.take("d") for _ in range(99)) == 11


def test_who_waits_is_served_in_turn() -> None:
    shares = Shares(2)
    assert [shares.take("busy") for _ in range(3)] == [True, True, False]
    waiting: list[Any] = [("a", 1), ("a", 2), ("b", 1), ("a", 3)]
    for who, number in waiting:
        shares.wait(who, (who, number))
    assert (shares.count("a"), shares.count("b")) == (3, 1)
    assert list(shares.next()) == []
    served: list[Any] = []
    freed = ["busy", "busy"]
    while freed:
        shares.give_back(freed.pop())
        started: list[Any] = list(shares.next())
        served += started
        freed += [who for who, _ in started]
    assert served == [("a", 1), ("b", 1), ("a", 2), ("a", 3)]
    assert (shares.count("a"), shares.count("b")) == (0, 0)


@pytest.mark.parametrize(
    ("client", "expected"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8::1", 1, 0, 0), "2001:db8::/64"),
        (("2001:db8:0:0:ffff::2", 1, 0, 0), "2001:db8::/64"),
        (("fe80::1%eth0", 1, 0, 2), "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_caller_is_told_by_his_network(client: object, expected: str) -> None:
    assert neighbourhood(client) == expected
