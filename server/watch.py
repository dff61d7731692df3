"""Waiting for news without asking the database for every waiter.

A long poll holds a thread of the server.  `Watch` lets a bounded number of them wait on one probe (the length of the
log), read at most once every INTERVAL_S for all of a process, and turns the others away: they get what there is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

INTERVAL_S = 0.05
T = TypeVar("T")


class Watch:
    """probe: a cheap value that changes with every piece of news.  waiters: how many threads may wait at once."""

    def __init__(self, probe: Callable[[], object], waiters: int) -> None:
        self._probe, self._slots = probe, threading.BoundedSemaphore(waiters)
        self._lock = threading.Lock()
        self._value: object = None
        self._read_at = -1.0

    def current(self) -> object:
        """The probe's value, at most INTERVAL_S old."""
        with self._lock:
            if time.monotonic() - self._read_at >= INTERVAL_S:
                self._value, self._read_at = self._probe(), time.monotonic()
            return self._value

    def wait(self, find: Callable[[], T | None], timeout_s: float) -> T | None:
        """The first answer of `find` that is not None, asked now and when the probe changes; None after timeout_s."""
        seen = self.current()
        found = find()
        if found is not None or timeout_s <= 0 or not self._slots.acquire(blocking=False):
            return found
        try:
            deadline = time.monotonic() + timeout_s
            while found is None and time.monotonic() < deadline:
                time.sleep(INTERVAL_S)
                now = self.current()
                if now != seen:
                    seen, found = now, find()
            return found
        finally:
            self._slots.release()
