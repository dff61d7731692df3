"""Keys of accounts that prove for themselves: under which of them an account's finished attestation is taken.

A prover's signature says who made the proof; that the proof holds, everybody checks for himself.  So an account's own
prover needs no more trust than the account has, and one duty: to be known, so that venues can pin its key in their
policies and an auditor can tell who signed.  An operator registers it, for one account and for ever; a revoked key
opens nothing from then on.  These keys sign attestations, never requests.
"""

from __future__ import annotations

import sqlalchemy as sa

from marginseal.errors import InputError, PolicyError
from marginseal.records.keys import PublicKey, Role
from server.parties import state_of
from server.tables import own_provers

_ACTIVE = (
    sa.select(own_provers.c.public)
    .where(own_provers.c.account == sa.bindparam("account"), own_provers.c.revoked.is_(None))
    .order_by(own_provers.c.created, own_provers.c.key_id)
)


def register(c: sa.Connection, account: str, key: PublicKey, *, now: int) -> None:
    """InputError key.role; PolicyError party.unknown, key.taken."""
    if key.role != Role.PROVER:
        raise InputError("key.role", "not a key of role prover")
    if state_of(c, "account", account) not in ("active", "suspended"):
        raise PolicyError("party.unknown", "no such account")
    if c.scalar(sa.select(own_provers.c.key_id).where(own_provers.c.key_id == key.key_id)) is not None:
        raise PolicyError("key.taken", "the key is registered, or was once")
    c.execute(sa.insert(own_provers).values(key_id=key.key_id, account=account, public=key.raw, created=now))


def revoke(c: sa.Connection, key_id: str, *, now: int) -> bool:
    """Whether it was active."""
    active = sa.and_(own_provers.c.key_id == key_id, own_provers.c.revoked.is_(None))
    return c.execute(sa.update(own_provers).where(active).values(revoked=now)).rowcount == 1


def keys_of(c: sa.Connection, account: str) -> list[PublicKey]:
    return [PublicKey(Role.PROVER, raw) for raw in c.scalars(_ACTIVE, {"account": account})]
