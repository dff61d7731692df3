"""The keys that submissions are sealed to: which are current, which still accepted, and where their private halves lie.

The database holds public keys and dates.  The private key of `key_id` is `sealing-<key_id>.key` in the keys directory,
encrypted, and is read by workers alone.  To rotate is to add a key; the ones before it retire after a grace, when every
client has seen the new one and every job sealed to an old one has run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from marginseal.errors import InputError
from marginseal.records.keyfile import read_sealing_key
from marginseal.records.sealing import SealingKey, SealingPublicKey
from server.store import Store
from server.tables import jobs, prover_keys, submissions

_ACCEPTED = (
    sa.select(prover_keys)
    .where(sa.or_(prover_keys.c.retired.is_(None), prover_keys.c.retired > sa.bindparam("now")))
    .order_by(prover_keys.c.created.desc(), prover_keys.c.key_id)
)


@dataclass(frozen=True)
class ProverKey:
    """One sealing key; times in unix milliseconds, `retired` None while it does not retire."""

    key_id: str
    public: bytes
    created: int
    retired: int | None


class ProverKeys:
    def __init__(self, store: Store) -> None:
        self._store = store

    def accepted(self, now: int) -> list[ProverKey]:
        """Those a submission may be sealed to now, the one to use first."""
        with self._store.read() as c:
            return [ProverKey(*row) for row in c.execute(_ACCEPTED, {"now": now})]


def add_key(c: sa.Connection, public: SealingPublicKey, *, now: int, grace_ms: int) -> None:
    """The new current key; those before it retire after the grace."""
    older = prover_keys.c.retired.is_(None)
    c.execute(sa.update(prover_keys).where(older).values(retired=now + grace_ms))
    c.execute(sa.insert(prover_keys).values(key_id=public.key_id, public=public.raw, created=now))


def keys_in_use(c: sa.Connection) -> set[str]:
    """Keys that some unfinished job is sealed to: their files must stay."""
    live = sa.select(submissions.c.prover_key).join(jobs, jobs.c.submission == submissions.c.id)
    return set(c.scalars(live.where(jobs.c.state.in_(("ready", "running", "dead"))).distinct()))


def key_path(directory: Path, key_id: str) -> Path:
    return directory / f"sealing-{key_id}.key"


class SealingKeys:
    """The private keys a worker has needed so far; each file is unlocked once."""

    def __init__(self, directory: Path, passphrase: bytes) -> None:
        self._directory, self._passphrase = directory, passphrase
        self._keys: dict[str, SealingKey] = {}

    def __call__(self, key_id: str) -> SealingKey:
        """InputError file.*, key.*."""
        if key_id not in self._keys:
            if not (key_id.isascii() and key_id.isalnum()):
                raise InputError("key.name", "not the identifier of a key")
            self._keys[key_id] = read_sealing_key(key_path(self._directory, key_id), self._passphrase)
        return self._keys[key_id]
