"""HTTPS as a client: what every request of ours to somebody's server has in common.

Sockets close themselves when their server dies (`tls.Socket`), nothing comes from the environment (proxies, passwords),
and answers are asked for unpacked, so that their length is what is read.  A timeout is for one read: a server that
sends a byte of its head now and then would never exceed it, so an exchange has an end of its own (`ends_by`).
"""

from __future__ import annotations

import contextlib
import errno
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from marginseal.errors import InputError
from server.tls import Socket

_END: ContextVar[float | None] = ContextVar("end", default=None)


@contextmanager
def ends_by(moment: float) -> Iterator[None]:
    """What is read and written in the block ends by that moment of `time.monotonic`, in TimeoutError if need be."""
    token = _END.set(moment)
    try:
        yield
    finally:
        _END.reset(token)


class _Caller(Socket):
    """Of a client, whose exchange has an end, and which reads what it was told although it could not send everything.

    Through `read` and `send` goes all that is received and sent once the handshake, which has one timeout, is done."""

    def read(self, *arguments: Any) -> Any:
        with self._in_time():
            return super().read(*arguments)

    def send(self, *arguments: Any) -> int:
        with self._in_time():
            return super().send(*arguments)

    def sendall(self, *arguments: Any) -> None:
        """A server may answer and hang up before it has the whole request.  At a broken pipe urllib3 goes on to read
        the answer; TLS calls the same the end of a file."""
        try:
            super().sendall(*arguments)
        except ssl.SSLEOFError:
            raise BrokenPipeError(errno.EPIPE, "the server has hung up") from None

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        end, timeout = _END.get(), self.gettimeout()
        left = None if end is None else end - time.monotonic()
        if left is None or (timeout is not None and timeout <= left):
            yield
            return
        if left <= 0:
            raise TimeoutError("the exchange takes too long")
        self.settimeout(left)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # closed meanwhile
                self.settimeout(timeout)


class _Adapter(HTTPAdapter):
    """As requests has it, over sockets of ours."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody until requests has told it whom
        context.sslsocket_class = _Caller
        super().init_poolmanager(*arguments, ssl_context=context, **options)


def open_session(ca: Path | None) -> requests.Session:
    """ca: the certificate authority to trust; None: the system's.  InputError service.ca: no file of certificates."""
    if ca is not None:
        _check_authority(ca)
    session = requests.Session()
    session.mount("https://", _Adapter())
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.verify = True if ca is None else str(ca)
    return session


def _check_authority(ca: Path) -> None:
    """Said at once: a request would say of it that the server cannot be reached."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(ca)
    except ssl.SSLError:  # an OSError, so first
        raise InputError("service.ca", f"{ca} is not a file of PEM certificates") from None
    except OSError as e:
        raise InputError("service.ca", f"cannot read the certificate authority {ca}: {e.strerror}") from None
