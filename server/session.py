"""HTTPS as a client: what every request of ours to somebody's server has in common.

Sockets close themselves when their server dies (`tls.Socket`), nothing comes from the environment (proxies, passwords),
and answers are asked for unpacked, so that their length is what is read.
"""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from server.tls import Socket


class _Adapter(HTTPAdapter):
    """As requests has it, over sockets of ours."""

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody until requests has told it whom
        context.sslsocket_class = Socket
        super().init_poolmanager(*arguments, ssl_context=context, **options)


def open_session(ca: Path | None) -> requests.Session:
    """ca: the certificate authority to trust; None: the system's."""
    session = requests.Session()
    session.mount("https://", _Adapter())
    session.trust_env = False
    session.headers["Accept-Encoding"] = "identity"
    session.verify = True if ca is None else str(ca)
    return session
