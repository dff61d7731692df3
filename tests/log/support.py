"""What the tests of the log share: keys that are always the same, small entries, a log in a folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marginseal.log.cosignature import Cosigner
from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Entry
from marginseal.log.log import Log
from marginseal.log.note import Signer
from marginseal.log.policy import LogPolicy
from marginseal.log.sql import SqlStorage, open_sqlite
from server.store import database

ORIGIN = "log.example/one"
VECTORS = Path(__file__).parents[1] / "vectors"


def vectors(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((VECTORS / name).read_text(encoding="utf-8"))
    return loaded


def key(name: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(sha(name))


def sha(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


SIGNER = Signer(ORIGIN, key("log"))
POLICY = LogPolicy(ORIGIN, (SIGNER.key,))


def cosigner(number: int) -> Cosigner:
    return Cosigner(f"witness-{number}.example", key(f"witness {number}"))


def open_log(folder: Path, database_url: str | None = None, *, released: bool = True) -> Log:
    """A writer that waits for its turn as long as the slowest disk may make it: nobody here is to give up."""
    folder.mkdir(exist_ok=True)
    memory = folder / "released" if released else None
    embedded = database_url is None
    storage = open_sqlite(folder / "log.db", busy_timeout_s=120.0) if embedded else on_server(database_url)
    return Log(storage, origin=ORIGIN, signer=SIGNER, released=memory)


def on_server(database_url: str) -> SqlStorage:
    """With the limits on waiting that the service sets."""
    storage = SqlStorage(database(sa.make_url(database_url)))
    storage.create_tables()
    return storage


def statement(account: str, sequence: int) -> bytes:
    return NO_PREDECESSOR if sequence == 0 else sha(f"{account} {sequence}")


def attestation(account: str, sequence: int, **changes: Any) -> Entry:
    """The attestation `sequence` of an account; each names the one before."""
    fields: dict[str, Any] = {
        "kind": ATTESTATION,
        "payload": f"envelope of {account} {sequence}".encode(),
        "account": account,
        "sequence": sequence,
        "statement_digest": statement(account, sequence),
        "prev": statement(account, sequence - 1),
        "books": (("custodian", f"book of {account}"), ("venue", f"book of {account}")),
    }
    return Entry(**{**fields, **changes})
