"""What is not a whole, plain, bounded request is refused before anything is done with it, and never quoted."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator

import pytest

from tests.server.patience import PATIENCE_S, until
from tests.server.wire_level import Reply, answer, connect, exchange, post, recorder
from tests.server.world import Site, site

PATH = "/v1/submissions"
OCTETS = "Content-Type: application/octet-stream"
MARKER = b"MARKER-c0ffee"


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A server that soon loses patience."""
    times = {"receive_timeout_s": 2, "request_timeout_s": 20, "long_poll_s": 3}
    with site(tmp_path_factory.mktemp("hasty"), server=times) as s:
        s.serve()
        yield s


def quotes_nothing(reply: Reply) -> None:
    assert MARKER not in reply.body
    assert MARKER.decode() not in reply.head


def signed_headers(s: Site) -> list[str]:
    """Headers of a request whose signature holds, so that the body is what is judged."""
    account = s.account(f"bodies-{time.time_ns()}")
    request = recorder(s, account.key).prepare(
        "POST", PATH, b"x" * 100, Content_Type="application/octet-stream", Idempotency_Key="0123456789"
    )
    names = ("Signature-Input", "Signature", "Content-Digest", "Content-Type", "Idempotency-Key")
    return [f"{name}: {_text(request.headers[name])}" for name in names]


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def test_a_chunked_body_is_refused(served: Site) -> None:
    head = post(PATH, b"", *signed_headers(served), "Transfer-Encoding: chunked", length=-1)
    reply = exchange(served, head + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n")
    assert (reply.status, reply.code) == (411, "body.chunked")


def test_a_body_without_a_length_is_refused(served: Site) -> None:
    reply = exchange(served, post(PATH, b"", *signed_headers(served), length=-1))
    assert (reply.status, reply.code) == (411, "body.length-required")


def test_both_a_length_and_chunks_are_refused(served: Site) -> None:
    head = post(PATH, b"", OCTETS, "Transfer-Encoding: chunked", length=4)
    reply = exchange(served, head + b"4\r\nabcd\r\n0\r\n\r\n")
    assert reply.status == 400
    quotes_nothing(reply)


def test_a_body_over_the_limit_is_refused_before_it_is_read(served: Site) -> None:
    limit = served.config.server.max_body_bytes
    reply = exchange(served, post(PATH, b"x" * 10, *signed_headers(served), length=limit + 1))
    assert (reply.status, reply.code) == (413, "body.too-large")


def test_who_sends_too_much_still_reads_why(served: Site) -> None:
    """The answer is there before the body has been sent; closed at once, the connection would be reset under it."""
    limit = served.config.server.max_body_bytes
    with connect(served) as c:
        c.sendall(post(PATH, b"", *signed_headers(served), length=limit + 1))
        assert c.recv(1) == b"H"
        for size in (limit // 2, limit - limit // 2 + 1):
            time.sleep(0.2)
            c.sendall(bytes(size))
        rest = b"".join(iter(lambda: c.recv(65536), b""))
        assert rest.startswith(b"TTP/1.1 413")
        assert b"body.too-large" in rest


def test_who_sends_a_target_without_end_still_reads_why(served: Site) -> None:
    with connect(served) as c:
        c.sendall(b"GET /" + b"a" * 9_000)
        refused = answer(c)
        for _ in range(3):  # to a connection that was closed already the first would go, and the next fail
            c.sendall(b"a" * 9_000)
            time.sleep(0.2)
    assert (refused.status, refused.code) == (414, "request.uri-too-long")


def test_a_connection_that_is_said_to_be_kept_is_kept(served: Site) -> None:
    """Also when its request was refused before its body, a large one, was read."""
    body = bytes(150_000)
    head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{OCTETS}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with connect(served) as c:
        c.sendall(head + body)
        refused = answer(c)
        assert (refused.status, "Connection: keep-alive" in refused.head) == (422, True)
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert answer(c).status == 200


def test_a_truncated_body_is_refused(served: Site) -> None:
    reply = exchange(served, post(PATH, b"x" * 60, *signed_headers(served), length=100), half_close=True)
    assert reply.status in (0, 400)
    if reply.status:
        assert reply.code == "body.truncated"


def test_a_body_that_dribbles_in_is_cut_off(hasty: Site) -> None:
    """Else the server would wait for the rest, and `exchange` for the server."""
    pieces = [b for _ in range(40) for b in (b"x", 0.1)]
    reply = exchange(hasty, post(PATH, b"", *signed_headers(hasty), length=100), *pieces)
    assert reply.status in (0, 400)


def test_headers_that_dribble_in_are_cut_off(hasty: Site) -> None:
    pieces = [b for _ in range(40) for b in (b"X-A: b\r\n", 0.1)]
    reply = exchange(hasty, b"GET /healthz HTTP/1.1\r\n", *pieces)
    assert reply.status in (0, 400)


def test_a_caller_who_waits_for_news_is_not_cut_off(hasty: Site) -> None:
    """A long poll may last longer than a request may take to arrive."""
    assert hasty.config.server.long_poll_s > hasty.config.server.receive_timeout_s
    started = time.monotonic()
    assert hasty.client().newest_record("key-changes", wait_s=20) is None
    assert time.monotonic() - started >= hasty.config.server.long_poll_s


def test_who_finds_no_place_to_wait_comes_back_later(served: Site) -> None:
    """More waiters than places: those beyond are answered at once, and their client pauses before it asks again."""
    places = served.config.server.threads // 4
    known = served.client().newest_record("accounts")
    back: list[tuple[bool, float]] = []

    def wait() -> None:
        started = time.monotonic()
        news = served.client(patience_s=0, timeout_s=PATIENCE_S).newest_record("accounts", after=known, wait_s=50)
        back.append((news is not None, time.monotonic() - started))

    threads = [threading.Thread(target=wait) for _ in range(places + 2)]
    for t in threads:
        t.start()
    assert until(lambda: len(back) >= 2, "those who find no place")
    assert all(seconds >= 1 for _, seconds in back)
    served.account(f"news-{time.time_ns()}")
    for t in threads:
        t.join()
    assert [news for news, _ in back] == [False, False] + places * [True]


def test_a_handshake_that_never_comes_does_not_hold_the_server(hasty: Site) -> None:
    """More than the caller's address gets threads: who comes after them waits until they are cut off."""
    idle = [
        socket.create_connection(("127.0.0.1", hasty.config.server.port)) for _ in range(hasty.config.server.threads)
    ]
    for one in idle:
        one.sendall(b"\x16")  # the first byte of a handshake, so that a thread takes it
    assert exchange(hasty, b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").status == 200
    for one in idle:
        one.close()


def test_a_compressed_body_is_refused(served: Site) -> None:
    reply = exchange(served, post(PATH, b"x" * 100, *signed_headers(served), "Content-Encoding: gzip"))
    assert (reply.status, reply.code) == (415, "body.encoding")


def test_a_get_takes_no_body(served: Site) -> None:
    account = served.account(f"getter-{time.time_ns()}")
    request = recorder(served, account.key).prepare("GET", f"{PATH}/{'0' * 32}")
    headers = [f"{name}: {_text(request.headers[name])}" for name in ("Signature-Input", "Signature")]
    head = f"GET {PATH}/{'0' * 32} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" + "\r\n".join(headers)
    reply = exchange(served, head.encode() + b"\r\nContent-Length: 4\r\n\r\nabcd")
    assert (reply.status, reply.code) == (400, "body.not-allowed")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /" + MARKER + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404),
        (b"GET /v1/attestations/" + MARKER + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 422),
        (b"GET /v1/records/" + MARKER + b"/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 422),
        (b"GET /v1/log/entries?" + MARKER + b"=1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 422),
        (b"GET /v1/log/entries?start=" + MARKER + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 422),
        (b"DELETE /v1/log HTTP/1.1\r\nHost: a\r\nX: " + MARKER + b"\r\nConnection: close\r\n\r\n", 405),
        (MARKER + b"\r\n\r\n", 400),
        (b"GET / HTTP/9.9" + MARKER + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + MARKER + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n" + MARKER + b" : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nX: \x00" + MARKER + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: " + MARKER + b"\r\n\r\n", 411),
        (b"GET / HTTP/1.1\r\nExpect: " + MARKER + b"\r\n\r\n", 417),
        (b"GET /" + MARKER * 400 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(60)) + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nX: " + MARKER * 900 + b"\r\n\r\n", 431),
    ],
)
def test_a_refusal_never_quotes_the_request(served: Site, request_bytes: bytes, status: int) -> None:
    reply = exchange(served, request_bytes)
    assert reply.status == status, reply.head
    assert reply.problem["type"].startswith("urn:marginseal:problem:")
    quotes_nothing(reply)
    assert MARKER.decode() not in served.said()


def test_older_tls_is_refused(served: Site) -> None:
    with pytest.raises(ssl.SSLError):
        connect(served, ssl.TLSVersion.TLSv1_2)
    with connect(served) as c:
        assert c.version() == "TLSv1.3"


def test_plain_http_gets_no_answer(served: Site) -> None:
    with socket.create_connection(("127.0.0.1", served.config.server.port), PATIENCE_S) as c:
        c.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            answer = c.recv(100)
        except ConnectionResetError:
            answer = b""
    assert answer == b""
