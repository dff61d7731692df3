"""What of the log's records holds, as venues and auditors judge it: by the keys in force when the log took each.

`Keys` is the ring of keys (records/keychange.py) of this log for who trusts the risk operators that are registered
here.  It is kept for a process and advanced by what the log took since, so that a request costs no more than a look at
the log's size.  `Held` is what follows from one ring: which epochs and registries an operator signed, and which
manifests follow one another.  A record that does not hold counts for nothing, wherever it stands: a thief's, once his
key is revoked back to before the theft.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar, cast

from marginseal.errors import MarginSealError, StorageError
from marginseal.log.entry import Entry
from marginseal.log.log import Log
from marginseal.records.envelope import Envelope, Record
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import PublicKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import Manifest
from server import parties
from server.catalogue import Catalogue, Found
from server.store import Store
from verifier.log_manifest import HeldManifest, SourceRegistries, take_manifest

T = TypeVar("T", bound=Record)
_KINDS = (LogKind.KEY_CHANGE, LogKind.KEY_REVOCATION)
_RECORDS = 512
_ACCOUNTS = 256


@dataclass(frozen=True)
class _Read:
    """The ring for these operators after the first `size` entries of the log."""

    operators: tuple[PublicKey, ...]
    size: int
    ring: KeyRing


class Keys:
    """One for a process, for all its threads: each replaces what is kept by something just as true."""

    def __init__(self, store: Store, log: Log, catalogue: Catalogue) -> None:
        self._store, self._log, self._catalogue = store, log, catalogue
        self._read = _Read((), 0, NO_CHANGES)

    def ring(self) -> KeyRing:
        """As of now; the same object for as long as nothing was logged about keys."""
        with self._store.read() as c:
            operators = parties.risk_operators(c)
        size, read = self._log.size(), self._read
        if read.operators != operators:
            read = _Read(operators, 0, KeyRing(operators))
        if read.size < size:
            self._catalogue.sync(size)
            found = self._catalogue.between(_KINDS, read.size, size)
            ring = read.ring.after((f.time, self._catalogue.payload(f)) for f in found)
            read = _Read(operators, size, ring)
        self._read = read
        return read.ring


class Held:
    """The log's records by one ring.  envelope: the record of an entry, decoded."""

    def __init__(
        self,
        ring: KeyRing,
        log: Log,
        catalogue: Catalogue,
        envelope: Callable[[int], Envelope],
        manifest_delay_s: int,
    ) -> None:
        self.ring = ring
        self._log, self._catalogue, self._envelope, self._delay_s = log, catalogue, envelope, manifest_delay_s
        # What is logged at an entry never changes, nor does a ring.
        self._opened = lru_cache(maxsize=_RECORDS)(self._open)
        self._chain = lru_cache(maxsize=_ACCOUNTS)(self._manifests)
        self._registries = lru_cache(maxsize=1)(self._source_registries)

    def open(self, kind: type[T], found: Found) -> T:
        """An operator's record, under the operators' keys in force when the log took it.

        ProofRejected signature.threshold, PolicyError keys.not-in-force."""
        return cast(T, self._opened(kind, found.index, found.time))

    def _open(self, kind: type[Record], index: int, time: int) -> Record:
        return self.ring.open(kind, self._envelope(index), self.ring.operators, time)

    def source_registries(self) -> SourceRegistries:
        """Those that hold, each with its entry."""
        return self._registries(tuple(self._catalogue.all(LogKind.SOURCE_REGISTRY)))

    def _source_registries(self, logged: tuple[Found, ...]) -> SourceRegistries:
        out = SourceRegistries()
        for found in logged:
            with _what_does_not_hold():
                out.take(found.index, self._envelope(found.index), self.ring, self.ring.operators, found.time)
        return out

    def manifests(self, account: str) -> list[tuple[Manifest, bytes]]:
        """Those that follow one another, oldest first, each with its digest."""
        chain = self._chain(account, tuple(self._catalogue.of_account(LogKind.MANIFEST, account)))
        return [(held.manifest, held.digest) for held in chain]

    def _manifests(self, account: str, logged: tuple[Found, ...]) -> list[HeldManifest]:
        held: list[HeldManifest] = []
        for found in logged:
            time, entry = self._log.entry(found.index)
            with _what_does_not_hold():
                one = take_manifest(
                    entry.payload,
                    found.index,
                    entry.leaf(time),
                    previous=held[-1] if held else None,
                    releases=self._releases(entry, found.index, account),
                    registry=self.source_registries().before(found.index),
                    delay_s=self._delay_s,
                    ring=self.ring,
                )
                held.append(one)
        return held

    def _releases(self, manifest: Entry, index: int, account: str) -> Iterator[bytes]:
        """What came with it or was logged for its account before; read one by one, and only if a book is gone."""
        for digest in manifest.dependencies:
            yield self._log.get_object(digest)
        for found in self._catalogue.of_account(LogKind.SOURCE_RELEASE, account):
            if found.index < index:
                yield self._log.entry(found.index)[1].payload


@contextlib.contextmanager
def _what_does_not_hold() -> Iterator[None]:
    """Is passed over.  A fault of ours is none of the record's, and what came of it would be kept."""
    try:
        yield
    except StorageError:
        raise
    except MarginSealError:
        pass
