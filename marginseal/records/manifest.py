"""The account manifest: every (source, book id) that an attestation must include (protocol sections 7 and 10).

Signed by the account and logged.  Changes are delayed, so that nobody finds a book gone from one attestation to the
next; a book leaves only with its source's own signature that it is flat and unencumbered.  The manifest also names the
keys that may sign the account's statements.  Which manifest is the newest is the log's to say; a source never listed
cannot be found here by anyone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Self

from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.records import document
from marginseal.records.document import MAX_INTEGER, MAX_TIME, is_name
from marginseal.records.envelope import Envelope, peek
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import PublicKey, Purpose, Role
from marginseal.records.registry import SourceRegistry

MAX_BOOKS = 2**14
MAX_KEYS = 16
FIRST = bytes(32)
"""What stands for the predecessor's digest in the first manifest."""

_KEYS = ("account", "books", "effective", "keys", "previous", "version")
_CERTIFIES = "flat and unencumbered"


@dataclass(frozen=True)
class Manifest:
    """account; version from 1 and the digest of the version before; effective: from when on it holds, unix seconds;
    keys: who may sign statements; books: (source, book id), strictly increasing as byte strings."""

    PURPOSE: ClassVar[Purpose] = Purpose.MANIFEST

    account: str
    version: int
    previous: bytes
    effective: int
    keys: tuple[PublicKey, ...]
    books: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if not is_name(self.account) or not 0 <= self.effective <= MAX_TIME or len(self.previous) != 32:
            raise DecodeError("manifest.fields", "manifest: a name, time or digest that cannot be")
        if not 1 <= self.version <= MAX_INTEGER or (self.version == 1) != (self.previous == FIRST):
            raise DecodeError(
                "manifest.version", "manifest: versions start at 1, and only the first has no predecessor"
            )
        keys = [key.raw for key in self.keys]
        if not 1 <= len(keys) <= MAX_KEYS or len(set(keys)) != len(keys):
            raise DecodeError("manifest.keys", f"manifest: 1 to {MAX_KEYS} distinct account keys")
        if any(key.role != Role.ACCOUNT for key in self.keys):
            raise DecodeError("manifest.keys", "manifest: its keys are the account's")
        if not 1 <= len(self.books) <= MAX_BOOKS or not all(is_name(x) for book in self.books for x in book):
            raise DecodeError("manifest.books", f"manifest: 1 to {MAX_BOOKS} books with printable names")
        order = [(source.encode(), book.encode()) for source, book in self.books]
        if any(a >= b for a, b in pairwise(order)):
            raise DecodeError("manifest.order", "manifest: books are strictly increasing by (source, book)")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "account": self.account,
                "books": [list(book) for book in self.books],
                "effective": self.effective,
                "keys": [key.raw.hex() for key in self.keys],
                "previous": self.previous.hex(),
                "version": self.version,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, manifest.*, key.*."""
        top = document.decode(payload, what="manifest", keys=_KEYS, limit=4 * 2**20)
        books = top.items("books", limit=MAX_BOOKS)
        if not all(isinstance(b, list) and len(b) == 2 and is_name(b[0]) and is_name(b[1]) for b in books):
            raise DecodeError("manifest.books", "manifest: a book is [source, book id]")
        keys = [document.parse_hex(key, 32) for key in top.items("keys", limit=MAX_KEYS)]
        return cls(
            account=top.name("account"),
            version=top.integer("version", 1),
            previous=top.hex("previous", 32),
            effective=top.time("effective"),
            keys=tuple(PublicKey(Role.ACCOUNT, key or b"") for key in keys),
            books=tuple((b[0], b[1]) for b in books),
        )


@dataclass(frozen=True)
class SourceRelease:
    """A source lets a book go: at `moment` (unix seconds) it is flat and unencumbered, and stays so.

    manifest: digest of the manifest that the book leaves, so that the release is of no use should the book return."""

    PURPOSE: ClassVar[Purpose] = Purpose.SOURCE_RELEASE

    source: str
    account: str
    book: str
    manifest: bytes
    moment: int

    def __post_init__(self) -> None:
        if not all(is_name(x) for x in (self.source, self.account, self.book)) or not 0 <= self.moment <= MAX_TIME:
            raise DecodeError("source-release.fields", "source release: a name or time that cannot be")
        if len(self.manifest) != 32:
            raise DecodeError("source-release.fields", "source release: a digest is 32 bytes")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "account": self.account,
                "book": self.book,
                "certifies": _CERTIFIES,
                "manifest": self.manifest.hex(),
                "moment": self.moment,
                "source": self.source,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, source-release.*."""
        keys = ("account", "book", "certifies", "manifest", "moment", "source")
        top = document.decode(payload, what="source release", keys=keys, limit=4096)
        top.constant("certifies", _CERTIFIES)
        manifest = top.hex("manifest", 32)
        return cls(top.name("source"), top.name("account"), top.name("book"), manifest, top.time("moment"))


def open_manifest(
    envelope: Envelope,
    *,
    logged: int,
    delay_s: int,
    previous: tuple[Manifest, bytes] | None,
    releases: Iterable[Envelope] = (),
    registry: SourceRegistry | None = None,
    ring: KeyRing = NO_CHANGES,
) -> Manifest:
    """A manifest that may follow `previous` (the manifest before it, and its digest) in the log.

    The first is signed by a key of its own and takes effect when it says; it must be the account's known first.  A
    later one is signed by a key of its predecessor, takes effect `delay_s` or more after it was logged, and for every
    book that is gone `releases` hold the source's signature, under the registry, on its leaving the predecessor.
    Every key has to be in force in `ring` when the log took the manifest.
    DecodeError; ProofRejected signature.threshold; PolicyError manifest.succession, .too-soon, .book-gone,
    keys.not-in-force."""
    manifest = peek(Manifest, envelope)
    if previous is None:
        if manifest.version != 1:
            raise PolicyError("manifest.succession", "not the first manifest, and its predecessor is not given")
        return ring.open(Manifest, envelope, manifest.keys, logged)
    before, digest = previous
    ring.open(Manifest, envelope, before.keys, logged)
    if (manifest.account, manifest.version, manifest.previous) != (before.account, before.version + 1, digest):
        raise PolicyError("manifest.succession", "a manifest of another account, or not the next one")
    if manifest.effective < max(logged + delay_s, before.effective):
        raise PolicyError("manifest.too-soon", f"changes of a manifest take effect {delay_s} s after they are logged")
    gone = set(before.books) - set(manifest.books)
    if gone:
        gone -= _released(releases, registry, manifest.account, digest, ring, logged)
    if gone:
        source, book = min(gone)
        raise PolicyError("manifest.book-gone", f"book {book} leaves without the signature of {source}")
    return manifest


def _released(
    releases: Iterable[Envelope],
    registry: SourceRegistry | None,
    account: str,
    manifest: bytes,
    ring: KeyRing,
    moment: int,
) -> set[tuple[str, str]]:
    """The books that their sources let go from that manifest of the account, under the keys of the registry.

    A release that does not hold counts for nothing, and refuses nothing either: whoever can have one logged (a source
    that left the registry, or replaced its key) could otherwise keep every book of any account in its manifest."""
    out: set[tuple[str, str]] = set()
    if registry is None:
        return out
    for envelope in releases:
        with contextlib.suppress(MarginSealError):
            claimed = peek(SourceRelease, envelope)
            if (claimed.account, claimed.manifest) == (account, manifest):
                release = ring.open(SourceRelease, envelope, [registry.source(claimed.source).key], moment)
                out.add((release.source, release.book))
    return out


def in_force(manifests: Iterable[Manifest], moment: int) -> Manifest:
    """The newest manifest of a chain whose effect has begun.  PolicyError manifest.none."""
    begun = [m for m in manifests if m.effective <= moment]
    if not begun:
        raise PolicyError("manifest.none", "no manifest of the account is in force at that moment")
    return max(begun, key=lambda m: m.version)
