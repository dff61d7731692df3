"""A service from the other side: its card (address and pinned keys), a client for it, and a copy of its log.

    card = {"format", "url", "ca" (file beside it, or null), "log_key", "prover_key"}

The card is what an operator hands out (`office card`).  Who has none names `--url` and `--ca`, takes the keys that the
service states on first use and pins them.  `LogCopy` reads the whole log, recomputes its root and holds it against the
signed checkpoint: what is found in it is what the log is bound to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.errors import InputError, ProofRejected

if TYPE_CHECKING:
    from marginseal.log.entry import Entry
    from marginseal.log.policy import LogPolicy, SignedCheckpoint
    from marginseal.records.keys import PublicKey, SigningKey
    from server.client import Client
    from server.config import Config
    from verifier.replay_index import Position

FORMAT = "marginseal-service-1"
CARD = "service.json"
_OBJECTS = 64  # kept by a copy of a log
Url = Annotated[str | None, typer.Option("--url", help="https://host:port; default that of the card.")]
CaFile = Annotated[Path | None, typer.Option("--ca", help="Certificate authority to trust; default the card's.")]
CardFile = Annotated[Path | None, typer.Option("--card", help="The service's card; default service.json of the desk.")]


@dataclass(frozen=True)
class Card:
    """url; ca: the authority's certificate, None for the system's; log_key: verifier key; prover_key: Ed25519."""

    url: str
    ca: Path | None
    log_key: str
    prover_key: PublicKey

    @property
    def log_policy(self) -> LogPolicy:
        """The log's word alone: no witness is asked for."""
        from marginseal.log.note import VerifierKey
        from marginseal.log.policy import LogPolicy

        key = VerifierKey.parse(self.log_key)
        return LogPolicy(key.name, (key,))

    def client(self, key: SigningKey | None = None, **options: Any) -> Client:
        from server.client import Client

        return Client(self.url, ca=self.ca, key=key, **options)


def write_card(config: Config, out: Path) -> dict[str, Any]:
    """The card of a service of ours, and its certificate authority beside it if there is a development one."""
    from marginseal.files import read_bytes, write_atomic
    from marginseal.log.note import KeyKind, VerifierKey
    from server.main import ATTESTATION_KEY, LOG_KEY, public_half

    body: dict[str, Any] = {
        "format": FORMAT,
        "url": config.public_url,
        "ca": None,
        "log_key": str(VerifierKey(config.log.origin, KeyKind.ED25519, public_half(config, LOG_KEY))),
        "prover_key": public_half(config, ATTESTATION_KEY).hex(),
    }
    authority = config.path(config.server.certificate).parent / "ca.pem"
    if authority.exists():
        body["ca"] = f"{out.stem}-ca.pem"
        write_atomic(out.parent / body["ca"], read_bytes(authority, limit=2**20, what="certificate authority"))
    write_atomic(out, json.dumps(body, indent=2).encode() + b"\n")
    return body


def read_card(path: Path) -> Card:
    """InputError file.*, card.*; DecodeError json.*, note.key."""
    from marginseal.files import read_json
    from marginseal.log.note import VerifierKey
    from marginseal.records.document import parse_hex
    from marginseal.records.keys import PublicKey, Role

    top = read_json(path, what="service card", limit=2**16)
    keys = {"format", "url", "ca", "log_key", "prover_key"}
    if not isinstance(top, dict) or set(top) != keys or top["format"] != FORMAT:
        raise InputError("card.format", f"{path}: not a card of format {FORMAT}")
    prover, ca = parse_hex(top["prover_key"], 32), top["ca"]
    if prover is None or not isinstance(top["url"], str) or not top["url"].startswith("https://"):
        raise InputError("card.fields", f"{path}: an address or key that cannot be")
    if not isinstance(top["log_key"], str) or not (ca is None or isinstance(ca, str)):
        raise InputError("card.fields", f"{path}: an address or key that cannot be")
    VerifierKey.parse(top["log_key"])
    return Card(top["url"], None if ca is None else path.parent / ca, top["log_key"], PublicKey(Role.PROVER, prover))


def find_card(card: Path, url: str | None, ca: Path | None, say: Callable[[str], None]) -> Card:
    """The card at hand with `url` and `ca` over it; without one, what the service states, pinned at `card`.

    InputError card.*, file.*; ServiceError; PolicyError."""
    from dataclasses import replace

    from marginseal.files import read_bytes, write_atomic
    from server.client import Client

    if card.exists():
        known = read_card(card)
        return replace(known, url=url or known.url, ca=ca or known.ca)
    if url is None:
        raise InputError("card.missing", f"there is no {card}: name --url and --ca, or get the card from the operator")
    client = Client(url, ca=ca)
    try:
        body = {"format": FORMAT, "url": url, "ca": None, "log_key": client.log_key()}
        body["prover_key"] = client.attestation_key()
    finally:
        client.close()
    if ca is not None:
        beside = f"{card.stem}-ca.pem"
        body["ca"] = beside
        write_atomic(card.parent / beside, read_bytes(ca, limit=2**20, what="certificate authority"))
    write_atomic(card, json.dumps(body, indent=2).encode() + b"\n")
    say(f"the service's keys are taken on first use and pinned in {card}; compare them with the operator's card")
    return read_card(card)


@contextmanager
def connected(card: Card, key: SigningKey | None = None, **options: Any) -> Iterator[Client]:
    """A client that is closed afterwards."""
    client = card.client(key, **options)
    try:
        yield client
    finally:
        client.close()


@dataclass
class LogCopy:
    """All entries of a service's log up to a signed checkpoint (`verifier.replay_index.Records`); `sync` reads on.

    memory: a file that remembers the newest checkpoint seen, so that a log that forks between two visits is found."""

    client: Client
    policy: LogPolicy
    memory: Path | None = None
    signed: SignedCheckpoint | None = None
    _entries: list[tuple[int, Entry]] = field(default_factory=list)
    _leaves: list[bytes] = field(default_factory=list)
    _objects: dict[bytes, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from marginseal.log.merkle import CompactTree

        self._tree = CompactTree()

    def sync(self) -> int:
        """Read what is new; how many entries that is.

        ProofRejected log.root (the entries do not lead to the checkpoint), log.fork, log.rollback, log.backdated,
        note.*; DecodeError entry.*"""
        from marginseal.log.entry import Entry
        from marginseal.log.memory import CheckpointMemory

        signed = self.policy.verify(self.client.checkpoint())
        known, size = len(self._entries), signed.checkpoint.size
        while len(self._entries) < size:
            page = self.client.entries(len(self._entries))
            if not page:
                raise ProofRejected("log.root", "the log does not serve all entries of its checkpoint")
            for index, time, data in page[: size - len(self._entries)]:
                if index != len(self._entries):
                    raise ProofRejected("log.root", "the log serves its entries out of order")
                entry = Entry.decode(data)
                self._leaves.append(entry.leaf(time).hash)
                self._tree.append(self._leaves[-1])
                self._entries.append((time, entry))
        if (self._tree.size, self._tree.root()) != (size, signed.checkpoint.root):
            raise ProofRejected("log.root", "the entries do not lead to the signed checkpoint: the log was rewritten")
        if self.memory is not None:
            remembered = CheckpointMemory(self.memory, self.policy)
            last = remembered.last()
            remembered.advance(signed, [] if last is None else self.consistency(last.checkpoint.size, size))
        self.signed = signed
        return size - known

    def size(self) -> int:
        return len(self._entries)

    def entry(self, index: int) -> tuple[int, Entry]:
        """(time, entry).  InputError log.range."""
        if not 0 <= index < len(self._entries):
            raise InputError("log.range", "the copy of the log does not reach that far")
        return self._entries[index]

    def items(self, start: int, stop: int) -> Iterator[tuple[Position, Entry]]:
        from verifier.replay_index import Position

        for index, (time, entry) in enumerate(self._entries[start:stop], start):
            yield Position(index, time), entry

    def object(self, digest: bytes) -> bytes:
        """An object by its SHA-256.  ProofRejected log.object if the service serves another."""
        if digest not in self._objects:
            data = self.client.object(digest)
            if hashlib.sha256(data).digest() != digest:
                raise ProofRejected("log.object", "the service served another object than was asked for")
            self._objects[digest] = data
            while len(self._objects) > _OBJECTS:
                del self._objects[next(iter(self._objects))]
        return self._objects[digest]

    def consistency(self, first: int, second: int) -> tuple[bytes, ...]:
        """The proof that the tree of `second` entries extends that of `first`."""
        from marginseal.log.merkle import consistency_ranges

        if not 0 < first < second <= len(self._leaves):
            return ()
        return tuple(self._root(lo, hi) for lo, hi in consistency_ranges(first, second))

    def receipt(self, index: int, note: bytes) -> bytes:
        """The receipt of an entry under a checkpoint of a tree that the copy has.  InputError log.range."""
        from marginseal.log.checkpoint import Checkpoint
        from marginseal.log.merkle import inclusion_ranges
        from marginseal.log.receipt import Receipt

        size = Checkpoint.of(note).size
        time, entry = self.entry(index)
        if not index < size <= len(self._leaves):
            raise InputError("log.range", "the copy of the log does not reach that far")
        path = tuple(self._root(lo, hi) for lo, hi in inclusion_ranges(index, size))
        return Receipt(index, entry.leaf(time), path, note).encode()

    def _root(self, lo: int, hi: int) -> bytes:
        """MTH of the leaves lo <= i < hi."""
        from marginseal.log.merkle import CompactTree

        tree = CompactTree()
        for leaf in self._leaves[lo:hi]:
            tree.append(leaf)
        return tree.root()
