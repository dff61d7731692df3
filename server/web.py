"""The HTTPS server: gunicorn with threads, TLS 1.3, and a limit on how long a caller may keep a thread.

`DeadlineWorker` closes a connection that has not delivered its request in `receive_timeout_s` (a slow handshake, header
or body would otherwise hold a thread for ever), and one whose answer takes longer than `request_timeout_s`.  What is no
HTTP at all is refused as problem+json as well, and neither the answer nor the log quotes it.
No caller gets all threads, or all connections: an address takes a thread only while it holds fewer than twice those
that are free (`Shares`), so that one of them, or a few, leave room for the next; what is beyond waits without a thread.
Each process makes its own application after the fork, so that no connection or key schedule crosses it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger
from gunicorn.http import errors as http_errors
from gunicorn.util import close_graceful
from gunicorn.workers.gthread import TConn, ThreadWorker

from marginseal.errors import InputError
from server.body import RECEIVED
from server.config import ServerSection
from server.harden import end_with_parent, protect_memory
from server.problem import MIMETYPE, problem_bytes
from server.tls import server_context

_log = logging.getLogger("marginseal.server")
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Deadlines:
    """Shuts down sockets whose time is up, from one thread, by a duplicate of each: a reused number is never hit.

    A connection is known by the thread that serves it.  Its number will not do: a socket that is closed while it is
    served gives it to the next, which would then share a deadline with it and lose it when the first is done."""

    TICK_S = 0.25

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due: dict[int, tuple[float, int]] = {}
        threading.Thread(target=self._watch, name="deadlines", daemon=True).start()

    @contextlib.contextmanager
    def on(self, fd: int, seconds: float) -> Iterator[None]:
        """The connection `fd`, which this thread serves in the block, has this long from now."""
        thread, copy = threading.get_ident(), os.dup(fd)
        with self._lock:
            self._due[thread] = (time.monotonic() + seconds, copy)
        try:
            yield
        finally:
            with self._lock:
                del self._due[thread]
            os.close(copy)

    def extend(self, seconds: float) -> None:
        """The connection that this thread serves has this long from now, whatever it had before."""
        with self._lock:
            _, copy = self._due[threading.get_ident()]
            self._due[threading.get_ident()] = (time.monotonic() + seconds, copy)

    def _watch(self) -> None:
        while True:
            time.sleep(self.TICK_S)
            now = time.monotonic()
            with self._lock:  # the copies stay open while the lock is held
                for deadline, copy in self._due.values():
                    if deadline <= now:
                        with socket.socket(fileno=os.dup(copy)) as s, contextlib.suppress(OSError):
                            s.shutdown(socket.SHUT_RDWR)


class Shares:
    """Who holds how many of `threads` threads, and whose connections wait for one.  For one thread: the poller's.

    With the rule `held < 2 free` one address comes to two thirds of the threads at most, k of them leave one in
    2 k + 1 free."""

    def __init__(self, threads: int) -> None:
        self._free = threads
        self._held: Counter[str] = Counter()
        self._waiting: OrderedDict[str, deque[TConn]] = OrderedDict()

    def take(self, who: str) -> bool:
        """A thread for `who`, if its share allows one more."""
        if self._held[who] >= 2 * self._free:
            return False
        self._held[who] += 1
        self._free -= 1
        return True

    def give_back(self, who: str) -> None:
        self._free += 1
        self._held[who] -= 1
        if not self._held[who]:
            del self._held[who]

    def wait(self, who: str, connection: TConn) -> None:
        self._waiting.setdefault(who, deque()).append(connection)

    def next(self) -> Iterator[TConn]:
        """Connections whose turn has come, one of each address at a time; their threads are taken."""
        for who in list(self._waiting):
            if self.take(who):
                queue = self._waiting.pop(who)
                yield queue.popleft()
                if queue:
                    self._waiting[who] = queue  # behind the others

    def count(self, who: str) -> int:
        """Connections of `who` with a thread, or waiting for one."""
        return self._held.get(who, 0) + len(self._waiting.get(who, ()))


def neighbourhood(client: object) -> str:
    """By what a caller is told from others: the address, of IPv6 the first 64 bits."""
    host = str(client[0]) if isinstance(client, tuple) and client else ""
    if ":" not in host:
        return host
    return str(ipaddress.IPv6Network((host.split("%")[0], 64), strict=False))


class DeadlineWorker(ThreadWorker):  # type: ignore[misc]
    """A gthread worker with deadlines, shares of its threads, and refusals that quote nothing."""

    def init_process(self) -> None:
        # Without its master a process would go on holding the port, and the next master could not have it.
        end_with_parent(self.ppid, signal.SIGKILL)
        protect_memory(lock=False)  # it holds the log's key
        self.deadlines = Deadlines()
        self.shares = Shares(self.cfg.threads)
        super().init_process()

    def enqueue_req(self, conn: TConn) -> None:
        who = neighbourhood(conn.client)
        if not conn.initialized and not conn.data_ready and self._crowded(who):
            self.nr_conns -= 1
            conn.close()
        elif self.shares.take(who):
            super().enqueue_req(conn)
        else:
            self.shares.wait(who, conn)

    def finish_request(self, conn: TConn, fs: Future[object]) -> None:
        self.shares.give_back(neighbourhood(conn.client))
        if not fs.cancelled() and fs.exception() is None and fs.result():
            super().finish_request(conn, fs)
        else:  # at once: this is the thread that all connections share, and gunicorn would wait in it for the caller
            self.nr_conns -= 1
            conn.close()
        for waiting in self.shares.next():
            super().enqueue_req(waiting)

    def _crowded(self, who: str) -> bool:
        """Half of all connections are taken, and a quarter by this address."""
        if self.nr_conns <= self.worker_connections // 2:
            return False
        idle = sum(neighbourhood(c.client) == who for c in (*self.keepalived_conns, *self.pending_conns))
        return bool(idle + self.shares.count(who) >= self.worker_connections // 4)

    def load_wsgi(self) -> None:
        inner: Wsgi = self.app.wsgi()

        def received(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
            # From here on the time is the server's own; with a body, from when the application has read it.
            environ[RECEIVED] = lambda: self.deadlines.extend(self.app.service.server.request_timeout_s)
            if environ.get("CONTENT_LENGTH", "0") in ("", "0") and "HTTP_TRANSFER_ENCODING" not in environ:
                environ[RECEIVED]()
            return inner(environ, start)

        self.wsgi = received

    def handle(self, conn: TConn) -> object:
        with self.deadlines.on(conn.sock.fileno(), self.app.service.server.receive_timeout_s):
            return super().handle(conn)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Take what is still to come of a body that was refused unread.

        A connection closed before would be reset, and with it the answer; one that the answer said is kept may have the
        next request on it.  As long as a request may take to arrive; up to twice the largest."""
        server = self.app.service.server
        with contextlib.suppress(OSError, ValueError, http_errors.ParseException):
            until = time.monotonic() + server.receive_timeout_s
            return bool(conn.parser.finish_body(until, 2 * server.max_body_bytes)) and keepalive
        return False

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:
        if isinstance(exc, ssl.SSLError):  # no TLS, no answer
            return
        status, code = 400, "request.malformed"
        if isinstance(exc, http_errors.LimitRequestLine):
            status, code = 414, "request.uri-too-long"
        elif isinstance(exc, http_errors.LimitRequestHeaders):
            status, code = 431, "request.headers-too-large"
        elif isinstance(exc, http_errors.UnsupportedTransferCoding):
            status, code = 411, "body.chunked"
        elif isinstance(exc, http_errors.ExpectationFailed):
            status, code = 417, "request.expectation"
        elif not isinstance(exc, http_errors.ParseException):
            status, code = 500, "server.internal"
            _log.error("unforeseen", extra={"code": code, "at": type(exc).__name__})
        body = problem_bytes(status, code, "The request could not be read.")
        head = f"HTTP/1.1 {status} Refused\r\nContent-Type: {MIMETYPE}\r\nContent-Length: {len(body)}\r\n"
        with contextlib.suppress(OSError):
            client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            # Nobody knows how much is still to come: until the caller, who has read why, hangs up.
            close_graceful(client, self.app.service.server.receive_timeout_s)


class QuietLogger(Logger):  # type: ignore[misc]
    """gunicorn's messages go where ours go (logs.JsonLines), reduced to their place; there is no access log."""

    def setup(self, cfg: object) -> None:
        self.error_log.handlers[:] = []
        self.error_log.propagate = True
        self.access_log.handlers[:] = []
        self.access_log.disabled = True

    def access(self, resp: object, req: object, environ: object, request_time: object) -> None:
        return


class Served(Protocol):
    """What there is to know of a server: its section of a configuration, and where its relative paths are."""

    @property
    def server(self) -> ServerSection: ...

    def path(self, path: Path) -> Path: ...


def check_address(server: ServerSection) -> None:
    """InputError serve.address if nobody can listen where the configuration says: gunicorn would try for ever."""
    family = socket.AF_INET6 if ":" in server.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind((server.host, server.port))
            s.listen(1)
    except OSError as e:
        why = e.strerror or "no such address"
        raise InputError("serve.address", f"cannot listen at {server.host} port {server.port}: {why}") from None


class Web(BaseApplication):  # type: ignore[misc]
    """gunicorn configured by ours.  `make` builds the application in each process; `ready` runs once it listens."""

    def __init__(self, config: Served, make: Callable[[], Wsgi], ready: Callable[[int], None] | None = None) -> None:
        self.service, self._make, self._ready = config, make, ready
        super().__init__()

    def run(self) -> None:
        check_address(self.service.server)
        super().run()

    def load_config(self) -> None:
        s = self.service.server
        context: list[ssl.SSLContext] = []

        def tls(_config: object, _default: object) -> ssl.SSLContext:
            if not context:  # one for the process, so that sessions resume; a restart reads renewed files
                context.append(server_context(self.service.path(s.certificate), self.service.path(s.private_key)))
            return context[0]

        def listening(arbiter: Any) -> None:
            port = arbiter.LISTENERS[0].sock.getsockname()[1]
            _log.info("serving", extra={"pid": os.getpid(), "count": s.processes})
            if self._ready is not None:
                self._ready(port)

        settings = {
            "bind": f"{s.host}:{s.port}",
            "workers": s.processes,
            "threads": s.threads,
            "worker_class": "server.web.DeadlineWorker",
            "logger_class": QuietLogger,
            "certfile": str(self.service.path(s.certificate)),
            "keyfile": str(self.service.path(s.private_key)),
            "ssl_context": tls,
            "do_handshake_on_connect": True,
            "when_ready": listening,
            "timeout": 30,
            "graceful_timeout": int(s.request_timeout_s),
            "keepalive": 15,
            "worker_connections": 512,
            "limit_request_line": 2048,
            "limit_request_fields": 48,
            "limit_request_field_size": 8190,
            "max_requests": 0,
            "control_socket_disable": True,
        }
        for name, value in settings.items():
            self.cfg.set(name, value)

    def load(self) -> Wsgi:
        return self._make()
