"""Who asks: RFC 9421 signatures with a party's Ed25519 key, fresh, whole and used once.

The client signs, under the tag `marginseal`, `@method`, `@target-uri` and, with a body, `content-type`,
`content-digest` (RFC 9530) and, where one is asked for, `idempotency-key`, with `created`, `nonce` and `keyid`
(`PublicKey.key_id` in the party's role).  The order here is: key, signature over the headers, age; then the body is
read, and only if its digest is the signed one is the nonce spent, together with a share of the party's rate.

Every fault of a signature is the same 401: which of key, signature or nonce was wrong is nobody's business but the
signer's, who can tell by himself.  Age has a code of its own, because a clock is set wrong honestly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Request
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519
from werkzeug.datastructures import Headers

from marginseal.records.keys import PublicKey
from server.body import read_body, refuse_body
from server.jobs import Clock
from server.limits import Rate, charge
from server.problem import Refusal
from server.store import Store
from server.tables import nonces, parties, party_keys

TAG = "marginseal"
MAX_AGE_S = 60
MAX_AHEAD_S = 5
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)

# Built once: making a statement costs more than running it.
_KEY = (
    sa.select(party_keys.c.public, parties.c.kind, parties.c.id, parties.c.state)
    .join(parties, sa.and_(parties.c.kind == party_keys.c.kind, parties.c.id == party_keys.c.party))
    .where(
        party_keys.c.key_id == sa.bindparam("key_id"),
        party_keys.c.kind.in_(sa.bindparam("kinds", expanding=True)),
        party_keys.c.revoked.is_(None),
    )
)
_FORGET = sa.delete(nonces).where(nonces.c.expires < sa.bindparam("now"))
_SPEND = sa.insert(nonces)


@dataclass(frozen=True)
class Caller:
    """The account, source or venue that signed this request with an active key."""

    kind: str
    party: str
    key_id: str


@dataclass(frozen=True)
class _Known:
    """Whose key it is, as the database or the configuration says."""

    public: bytes
    kind: str
    id: str
    state: str


@dataclass(frozen=True)
class _Message:
    """What the library needs to know of a request."""

    method: str
    url: str
    headers: Headers


class _Keys(HTTPSignatureKeyResolver):
    """The one key the signature names, read from the database beforehand."""

    def __init__(self, key_id: str, public: bytes) -> None:
        self._key_id, self._public = key_id, public

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        return Ed25519PublicKey.from_public_bytes(self._public) if key_id == self._key_id else None


def _unsigned() -> Refusal:
    return Refusal(
        401,
        "signature.invalid",
        "The request is not signed by an active key, or its signature was used before.",
        headers={"WWW-Authenticate": f'Signature tag="{TAG}"'},
    )


class Signatures:
    """Checks the signatures of one service.  `public_url` is what clients sign, whatever a proxy makes of it.

    oracles: id -> key, which the configuration names; all other parties are registered."""

    def __init__(
        self, store: Store, public_url: str, clock: Clock, *, oracles: Mapping[str, PublicKey] | None = None
    ) -> None:
        self._store, self._public_url, self._clock = store, public_url.rstrip("/"), clock
        named = (oracles or {}).items()
        self._oracles = {key.key_id: _Known(key.raw, "oracle", name, "active") for name, key in named}

    def reader(self, request: Request, rate: Rate, *, kinds: tuple[str, ...] = ("account",)) -> Caller:
        """Who of these kinds signed a request without a body.  Refusal 401, 403 <kind>.<state>, 429."""
        refuse_body(request)
        caller, _ = self._headers(request, ("@method", "@target-uri"), kinds)
        return self._admit(caller, "read", rate)

    def writer(
        self,
        request: Request,
        rate: Rate,
        *,
        limit: int,
        media_type: str,
        kinds: tuple[str, ...] = ("account",),
        covered: tuple[str, ...] = (),
    ) -> tuple[Caller, bytes]:
        """Who signed a request with `covered` headers, and its body.  Refusal as `reader`, and body.*"""
        required = ("@method", "@target-uri", "content-type", "content-digest", *covered)
        caller, check_body = self._headers(request, required, kinds)
        body = read_body(request, limit=limit, media_type=media_type)
        try:
            check_body(body)
        except (InvalidSignature, HTTPMessageSignaturesException):
            raise _unsigned() from None
        return self._admit(caller, "write", rate), body

    def _headers(
        self, request: Request, required: tuple[str, ...], kinds: tuple[str, ...]
    ) -> tuple[tuple[Caller, str, str], Callable[[bytes], None]]:
        """((caller, state of the party, nonce), check of the body): the signature over the headers holds."""
        target = str(request.environ.get("RAW_URI", ""))
        if not target.startswith("/"):
            raise Refusal(400, "request.target", "The request target is not a path of this service.")
        message = _Message(request.method, self._public_url + target, Headers(list(request.headers)))
        key_id = _claimed_key(message.headers)
        row = self._oracles.get(key_id) if "oracle" in kinds else self._registered(key_id, kinds)
        if row is None:
            raise _unsigned()
        verifier = HTTPMessageVerifier(signature_algorithm=ED25519, key_resolver=_Keys(key_id, row.public))
        try:
            results: list[VerifyResult] = verifier.verify(
                message, expect_tag=TAG, require_components=required, max_age=None
            )
        except (InvalidSignature, HTTPMessageSignaturesException):
            raise _unsigned() from None
        nonce = results[0].nonce
        if len(results) != 1 or nonce is None or not _NONCE.fullmatch(nonce):
            raise _unsigned()
        age_s = self._clock() / 1000 - int(results[0].parameters["created"])
        if not -MAX_AHEAD_S <= age_s <= MAX_AGE_S:
            raise Refusal(401, "signature.stale", "The signature is too old, or its clock is ahead; set the clock.")
        caller = Caller(row.kind, row.id, key_id)
        return (caller, row.state, nonce), lambda body: _check_body(verifier, message, results, body)

    def _registered(self, key_id: str, kinds: tuple[str, ...]) -> _Known | None:
        with self._store.read() as c:
            row = c.execute(_KEY, {"key_id": key_id, "kinds": kinds}).one_or_none()
        return None if row is None else _Known(row.public, row.kind, row.id, row.state)

    def _admit(self, known: tuple[Caller, str, str], use: str, rate: Rate) -> Caller:
        """Spend the nonce and a share of the rate, together.  A nonce outlives every signature it could come with."""
        caller, state, nonce = known
        now = self._clock()
        expires = now + 1000 * (MAX_AGE_S + 2 * MAX_AHEAD_S)
        try:
            with self._store.brief() as c:
                c.execute(_FORGET, {"now": now})
                c.execute(_SPEND, {"key_id": caller.key_id, "nonce": nonce, "expires": expires})
                charge(c, f"{use}:{caller.kind}:{caller.party}", rate, now)
        except sa.exc.IntegrityError:  # the nonce is there already
            raise _unsigned() from None
        if state != "active":
            raise Refusal(403, f"{caller.kind}.{state}", "This party may not use the service now.")
        return caller


def _claimed_key(headers: Headers) -> str:
    """The keyid parameter, before anything is believed; a look-up with it decides which key must have signed."""
    found = re.findall(r';keyid="([^"]*)"', headers.get("Signature-Input", ""))
    if len(found) != 1 or not _KEY_ID.fullmatch(found[0]):
        raise _unsigned()
    return str(found[0])


def _check_body(verifier: HTTPMessageVerifier, message: _Message, results: list[VerifyResult], body: bytes) -> None:
    verifier.verify_body(message, results, body)
