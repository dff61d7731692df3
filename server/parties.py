"""Accounts, sources, venues and risk operators as the service knows them: states, and the keys by which they are
recognised.

active -> suspended -> active ... -> removed, and never back: an identifier that was removed is not given out again.
A key belongs to the party it was first registered for, also after it was revoked.  These are the listed keys: under
which of them a request is signed is said here alone; which counts under a record, and what followed it, the log says
(held.py).  Risk operators sign no requests: theirs are the epochs, registries and revocations that hold here.
"""

from __future__ import annotations

import sqlalchemy as sa

from marginseal.errors import InputError, PolicyError
from marginseal.records.document import is_name
from marginseal.records.keys import PublicKey, Role
from server.tables import parties, party_keys

ROLES = {"account": Role.ACCOUNT, "source": Role.SOURCE, "venue": Role.VENUE, "operator": Role.OPERATOR}
_FROM = {"active": ("suspended",), "suspended": ("active",), "removed": ("active", "suspended")}

# Built once: making a statement costs more than running it.
_OPERATORS = (
    sa.select(party_keys.c.public)
    .join(parties, sa.and_(parties.c.kind == party_keys.c.kind, parties.c.id == party_keys.c.party))
    .where(parties.c.kind == "operator", parties.c.state == "active", party_keys.c.revoked.is_(None))
    .order_by(party_keys.c.created, party_keys.c.key_id)
)


def register(c: sa.Connection, kind: str, party: str, key: PublicKey, *, now: int) -> None:
    """InputError party.kind, party.name; PolicyError party.exists, key.taken."""
    if kind not in ROLES:
        raise InputError("party.kind", f"a party is one of {', '.join(ROLES)}")
    if not is_name(party) or "/" in party:
        raise InputError("party.name", "a name is 1 to 64 printable bytes without outer spaces and without a slash")
    there = sa.select(parties.c.id).where(parties.c.kind == kind, parties.c.id == party)
    if c.scalar(there) is not None:
        raise PolicyError("party.exists", f"the {kind} is registered, or was once")
    c.execute(sa.insert(parties).values(kind=kind, id=party, state="active", created=now, changed=now))
    add_key(c, kind, party, key, now=now)


def add_key(c: sa.Connection, kind: str, party: str, key: PublicKey, *, now: int) -> None:
    """One more key of a party.  PolicyError party.unknown, key.taken; InputError key.role."""
    if key.role != ROLES.get(kind):
        raise InputError("key.role", f"not a key of role {kind}")
    if state_of(c, kind, party) not in ("active", "suspended"):
        raise PolicyError("party.unknown", f"no such {kind}")
    if c.scalar(sa.select(party_keys.c.key_id).where(party_keys.c.key_id == key.key_id)) is not None:
        raise PolicyError("key.taken", "the key is registered, or was once")
    c.execute(sa.insert(party_keys).values(key_id=key.key_id, kind=kind, party=party, public=key.raw, created=now))


def revoke_key(c: sa.Connection, key_id: str, *, now: int) -> None:
    """From now on the key opens nothing.  PolicyError key.unknown."""
    active = sa.and_(party_keys.c.key_id == key_id, party_keys.c.revoked.is_(None))
    if c.execute(sa.update(party_keys).where(active).values(revoked=now)).rowcount != 1:
        raise PolicyError("key.unknown", "no active key of that identifier")


def set_state(c: sa.Connection, kind: str, party: str, state: str, *, now: int) -> None:
    """PolicyError party.state when the step is not one of those above."""
    known = sa.and_(parties.c.kind == kind, parties.c.id == party, parties.c.state.in_(_FROM[state]))
    if c.execute(sa.update(parties).where(known).values(state=state, changed=now)).rowcount != 1:
        raise PolicyError("party.state", f"there is no {kind} of that name that can become {state}")


def state_of(c: sa.Connection, kind: str, party: str) -> str | None:
    state: str | None = c.scalar(sa.select(parties.c.state).where(parties.c.kind == kind, parties.c.id == party))
    return state


def keys_of(c: sa.Connection, kind: str, party: str) -> list[PublicKey]:
    """The active keys of an active party; none of any other."""
    if state_of(c, kind, party) != "active":
        return []
    mine = sa.and_(party_keys.c.kind == kind, party_keys.c.party == party, party_keys.c.revoked.is_(None))
    rows = c.scalars(sa.select(party_keys.c.public).where(mine).order_by(party_keys.c.created, party_keys.c.key_id))
    return [PublicKey(ROLES[kind], raw) for raw in rows]


def risk_operators(c: sa.Connection) -> tuple[PublicKey, ...]:
    """The active keys of all active risk operators."""
    return tuple(PublicKey(Role.OPERATOR, raw) for raw in c.scalars(_OPERATORS))
