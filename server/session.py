"""HTTPS as a client: what every request of ours to somebody's server has in common.

Sockets close themselves when their server dies (`tls.Socket`), nothing comes from the environment (proxies, passwords),
and answers are asked for unpacked, so that their length is what is read.
"""

from __future__ import annotations

import errno
import ssl
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from server.tls import Socket


class _Caller(Socket):
    """Of a client, which reads what it was told although it could not send everything.

    A server may answer and hang up before it has the whole request.  At a broken pipe urllib3 goes on to read the
    answer; TLS calls the same the end of a file."""

    def sendall(self, data: Any, flags: int = 0) -> None:
        try:
            super().sendall(data, flags)
        except ssl.SSLEOFError:
            raise BrokenPipeError(errno.EPIPE, "the server has hung up") from None


class _Adapter(HTTPAdapter):
    """As requests has it, over sockets of ours."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody until requests has told it whom
        context.sslsocket_class = _Caller
        super().init_poolmanager(*arguments, ssl_context=context, **options)


def open_session(ca: Path | None) -> requests.Session:
    """ca: the certificate authority to trust; None: the system's."""
    session = requests.Session()
    session.mount("https://", _Adapter())
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.verify = True if ca is None else str(ca)
    return session
