"""Waiting on a machine that may be slow, and busy with something else.

A test waits for what it needs to see, never for a time in which that should have happened.  PATIENCE_S is how long it
does so before it gives up: nobody waits as long as that unless something is broken.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_S = 120.0
T = TypeVar("T")


def until(find: Callable[[], T], what: str) -> T:
    """The first value of `find` that counts as true.  AssertionError when none comes."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := find()):
        assert time.monotonic() < deadline, f"did not come: {what}"
        time.sleep(0.005)
    return found


def hold_port() -> socket.socket:
    """A port of loopback that is nobody else's while this socket is open; a server may listen there meanwhile.

    A port that was only looked up may be given to another process before the server binds it, or between two servers.
    Linux lets both bind, since both say that the address may be reused and this one does not listen."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
