"""The trail of operator actions: each signed by an operator, each naming the one before.

    body      = RFC 8785 JSON {"action", "number", "operator", "params", "previous", "time"}
    signature = Ed25519 over PAE("application/vnd.marginseal.operator-action.v1+json", body)
    previous  = SHA-256 of the PAE before; 32 zero bytes for the first

An action and its row are one transaction: nothing an operator did is missing, and a row that is removed, changed or
moved breaks the chain for everyone after it.  Cutting the end shows against a digest kept elsewhere (`last_digest`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from marginseal.errors import PolicyError, StorageError
from marginseal.records import document
from marginseal.records.document import canonical
from marginseal.records.keys import Role, SigningKey, pae
from server.tables import audit

TYPE = "application/vnd.marginseal.operator-action.v1+json"
FIRST = bytes(32)
_KEYS = ("action", "number", "operator", "params", "previous", "time")
_MAX_BYTES = 2**16


@dataclass(frozen=True)
class Operator:
    """Who acts, and with which key; `known` operators are the configuration's."""

    name: str
    key: SigningKey

    def check(self, known: Mapping[str, str]) -> None:
        """PolicyError operator.unknown unless the configuration names this operator with this key."""
        if self.key.role != Role.OPERATOR or known.get(self.name) != self.key.public.raw.hex():
            raise PolicyError("operator.unknown", "the configuration does not name this operator with this key")


@dataclass(frozen=True)
class Action:
    """One verified row of the trail; time in unix seconds."""

    number: int
    time: int
    operator: str
    action: str
    params: dict[str, Any]


def record(c: sa.Connection, operator: Operator, action: str, params: Mapping[str, Any], *, now_ms: int) -> int:
    """Append to the trail, in the transaction of the action itself; the row's number."""
    last = c.execute(sa.select(audit.c.id, audit.c.digest).order_by(audit.c.id.desc()).limit(1)).one_or_none()
    number, previous = (1, FIRST) if last is None else (last.id + 1, last.digest)
    body = canonical(
        {
            "action": action,
            "number": number,
            "operator": operator.name,
            "params": dict(params),
            "previous": previous.hex(),
            "time": now_ms // 1000,
        }
    )
    signed = pae(TYPE, body)
    signature = Ed25519PrivateKey.from_private_bytes(operator.key.seed).sign(signed)
    c.execute(
        sa.insert(audit).values(
            id=number,
            time=now_ms,
            operator=operator.name,
            action=action,
            body=body,
            signature=signature,
            digest=hashlib.sha256(signed).digest(),
        )
    )
    return number


def last_digest(c: sa.Connection) -> bytes:
    """What to keep elsewhere, so that a trail that was cut is noticed."""
    digest: bytes | None = c.scalar(sa.select(audit.c.digest).order_by(audit.c.id.desc()).limit(1))
    return FIRST if digest is None else digest


def verify(c: sa.Connection, operators: Mapping[str, str]) -> list[Action]:
    """The whole trail.  StorageError audit.broken names the first row that does not follow or is not signed."""
    actions, previous = [], FIRST
    for number, row in enumerate(c.execute(sa.select(audit).order_by(audit.c.id)), start=1):
        signed = pae(TYPE, row.body)
        top = document.decode(row.body, what="operator action", keys=_KEYS, limit=_MAX_BYTES)
        operator = top.name("operator")
        follows = (row.id, top.integer("number"), top.hex("previous", 32)) == (number, number, previous)
        same = (row.operator, row.action, row.digest) == (operator, top.name("action"), hashlib.sha256(signed).digest())
        if not (follows and same and _signed(operators.get(operator), row.signature, signed)):
            raise StorageError("audit.broken", f"action {number} is not what an operator signed, or not in its place")
        actions.append(Action(number, top.time("time"), operator, row.action, top.mapping("params", limit=32)))
        previous = row.digest
    return actions


def _signed(key: str | None, signature: bytes, message: bytes) -> bool:
    if key is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
