"""What a venue has released: one file of its own, written before anything is signed.

A nonce is never used twice (protocol section 8), also by a venue that is killed at any instruction or asked twice at
once: who asks holds the file's lock, the release is remembered whole, and only then does its caller sign it.  Asked
again for a statement it gives the release it remembers, so that signing again makes the same bytes.  A nonce is at
least the unix time of its release, so that a memory that was lost, and with it the count, repeats none.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from marginseal.errors import InputError, PolicyError
from marginseal.files import read_bytes, write_atomic
from marginseal.records import document
from marginseal.records.continuity import PledgeRelease

FORMAT = "marginseal-released-1"
MAX_RELEASES = 2**16
_MAX_BYTES = 32 * 2**20
_KEYS = ("account", "issued", "nonce", "row", "statement", "venue")


class ReleaseMemory:
    """The releases of one venue, at `path`.  A file that cannot be read is an error, never a fresh start."""

    def __init__(self, path: Path, venue: str) -> None:
        self.path, self.venue = path, venue

    def released(self) -> tuple[PledgeRelease, ...]:
        """In the order they were given.

        InputError file.*; DecodeError; PolicyError release.memory for another venue's."""
        if not self.path.exists():
            return ()
        data = read_bytes(self.path, limit=_MAX_BYTES, what="memory of releases")
        top = document.decode(data, what="memory of releases", keys=("format", "releases"), limit=_MAX_BYTES)
        top.constant("format", FORMAT)
        known = tuple(
            PledgeRelease(
                venue=r.name("venue"),
                row=r.integer("row"),
                account=r.name("account"),
                statement=r.hex("statement", 32),
                nonce=r.integer("nonce"),
                issued=r.time("issued"),
            )
            for r in top.objects("releases", _KEYS, limit=MAX_RELEASES)
        )
        if any(release.venue != self.venue for release in known):
            raise PolicyError("release.memory", f"{self.path} remembers the releases of another venue")
        return known

    def give(self, account: str, statement: bytes, row: int, *, now: int) -> PledgeRelease:
        """The release to sign, remembered on return: the one given before for this statement, or a new one at `now`.

        PolicyError release.row when another row was released before; errors of `released`."""
        with self._locked():
            known = self.released()
            for release in known:
                if (release.account, release.statement) == (account, statement):
                    if release.row != row:
                        raise PolicyError("release.row", "this statement's pledge was released from another row")
                    return release
            last = max((release.nonce for release in known), default=-1)
            fresh = PledgeRelease(self.venue, row, account, statement, max(last + 1, now), now)
            write_atomic(self.path, _encode((*known, fresh)), private=True)
            return fresh

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among processes; the lock is a file beside the memory, since that is replaced at every write."""
        beside = self.path.with_name(self.path.name + ".lock")
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(beside, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as e:
            raise InputError("file.unwritable", f"cannot write {beside}: {e.strerror}") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _encode(releases: tuple[PledgeRelease, ...]) -> bytes:
    if len(releases) > MAX_RELEASES:
        raise InputError("release.memory", f"the memory is full at {MAX_RELEASES} releases: begin another file")
    rows = [
        {
            "account": r.account,
            "issued": r.issued,
            "nonce": r.nonce,
            "row": r.row,
            "statement": r.statement.hex(),
            "venue": r.venue,
        }
        for r in releases
    ]
    return document.canonical({"format": FORMAT, "releases": rows})
