"""A service from the other side: its card (address and pinned keys), a client for it, and a mirror of its log.

    card = {"format", "url", "ca" (file beside it, or null), "log_key", "prover_key"}

The card is what an operator hands out (`office card`).  Who has none names `--url` and `--ca`, takes the keys that the
service states on first use and pins them.  The mirror (`marginseal.log.mirror`) reads the whole log and holds its root
against the signed checkpoint: what is found in it is what the log is bound to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.errors import InputError

if TYPE_CHECKING:
    from marginseal.log.mirror import Mirror
    from marginseal.log.policy import LogPolicy
    from marginseal.records.keys import PublicKey, SigningKey
    from server.client import Client
    from server.config import Config
    from verifier.log_index import LogRecords

FORMAT = "marginseal-service-1"
CARD = "service.json"
MirrorFile = Annotated[
    Path | None,
    typer.Option("--mirror", help="File that keeps the log's copy; default a copy for this visit."),
]
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


def service_of(folder: Path, url: str | None, ca: Path | None, card: Path | None) -> Card:
    """The service a verb speaks to: by the card it is given, or that of the folder, `url` and `ca` over it.

    Errors as `find_card`."""
    return find_card(card or folder / CARD, url, ca, lambda line: typer.echo(line, err=True))


def service_if_named(folder: Path, url: str | None, ca: Path | None, card: Path | None) -> Card | None:
    """The same; None where neither a card nor an address is there, and the verb does without."""
    if url is None and not (card or folder / CARD).exists():
        return None
    return service_of(folder, url, ca, card)


@contextmanager
def connected(card: Card, key: SigningKey | None = None, **options: Any) -> Iterator[Client]:
    """A client that is closed afterwards."""
    client = card.client(key, **options)
    try:
        yield client
    finally:
        client.close()


@dataclass(frozen=True)
class Visit:
    """A service, the mirror of its log, and the mirror as `decision.gather` reads it: with objects of the service."""

    client: Client
    mirror: Mirror
    reading: LogRecords


@contextmanager
def mirrored(
    client: Client, policy: LogPolicy, place: Path | None = None, memory: Path | None = None
) -> Iterator[Visit]:
    """The service with a mirror of its log, in the file `place` or, without one, for this visit alone.

    memory: a file that remembers the newest checkpoint seen.  StorageError log.origin, storage.*"""
    import tempfile

    from marginseal.files import make_folder
    from marginseal.log.mirror import Mirror
    from marginseal.log.sql import open_sqlite
    from verifier.log_index import LogRecords

    with tempfile.TemporaryDirectory(prefix="marginseal-") as folder:
        if place is not None:
            make_folder(place.parent)
        made = Mirror(open_sqlite(place or Path(folder) / "log.db"), client, policy, memory)
        try:
            yield Visit(client, made, LogRecords(made.log, made.object))
        finally:
            made.close()
