"""Attestations: by digest, by account and sequence, and the newest of an account, waiting for it if asked.

What comes is what was logged, with the log's receipt; the newest also with the log's signed head statement, without
which a venue cannot tell that nothing came after it.  Everyone may read: an attestation shows no position.
"""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from marginseal.errors import InputError
from marginseal.log.entry import Entry
from marginseal.log.receipt import Receipt
from server.problem import PROBLEMS, Refusal
from server.schemas import AttestationOut, Hex32, Index, Name, Sequence, Shape, Wait, answer, b64
from server.services import Newest, Services, services

blueprint = APIBlueprint("attestations", __name__, abp_responses=PROBLEMS)
IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}


class ByDigest(Shape):
    digest: Hex32


class ByAccount(Shape):
    account: Name


class BySequence(Shape):
    account: Name
    sequence: Sequence


class Newer(Shape):
    after: Index = 0
    wait: Wait = 0


def _none() -> Refusal:
    return Refusal(404, "attestation.unknown", "The log holds no such attestation.")


def _shown(time: int, index: int, entry: Entry, receipt: bytes, head: bytes | None) -> AttestationOut:
    assert entry.account is not None
    assert entry.chain is not None
    return AttestationOut(
        account=entry.account,
        sequence=entry.chain[0],
        statement_digest=entry.chain[1].hex(),
        log_index=index,
        logged=time,
        attestation=b64(entry.payload),
        receipt=receipt.decode("utf-8"),
        head=None if head is None else head.decode("utf-8"),
    )


def _one(s: Services, account: str, sequence: int) -> Response:
    position = s.log.attestation(account, sequence)
    if position is None:
        raise _none()
    time, entry = s.log.entry(position.index)
    return answer(_shown(time, position.index, entry, s.log.receipt(position.index, s.checkpoint()), None))


def _newest(s: Services, account: str, at_least: int) -> bytes | None:
    """The answer about the newest attestation, its sequence at least that; kept while the log does not grow."""
    size, now, age = s.log_size(), s.now_s, s.config.log.checkpoint_age_s
    kept = s.newest_answers.get(account)
    if kept is not None and kept.size == size and kept.time + age >= now and kept.sequence >= at_least:
        return kept.body
    try:
        receipt, head = s.cosigned.newest(account, now=now, max_age_s=age)
    except InputError:  # log.no-account
        return None
    index = Receipt.decode(receipt).index
    time, entry = s.log.entry(index)
    out = _shown(time, index, entry, receipt, head)
    if out.sequence < at_least:
        return None
    body = out.model_dump_json().encode()
    s.newest_answers.put(account, Newest(size, now, out.sequence, body))
    return body


@blueprint.get("/v1/attestations/<digest>", summary="By statement or payload digest", responses={200: AttestationOut})
def by_digest(path: ByDigest) -> Response:
    s = services()
    found = s.synced().by_digest(bytes.fromhex(path.digest), "attestation")
    if found is None or found.account is None or found.sequence is None:
        raise _none()
    return _one(s, found.account, found.sequence)


@blueprint.get(
    "/v1/accounts/<account>/attestations/<int:sequence>",
    summary="By account and sequence",
    responses={200: AttestationOut},
)
def by_sequence(path: BySequence) -> Response:
    return _one(services(), path.account, path.sequence)


@blueprint.get(
    "/v1/accounts/<account>/attestations/latest",
    summary="The newest, waiting for one after `after` if asked",
    responses={200: AttestationOut, 204: {}},
)
def latest(path: ByAccount, query: Newer) -> Response:
    """204 when nothing newer than `after` came in time."""
    s = services()
    body = _newest(s, path.account, query.after + 1)
    if body is None and query.wait > 0:
        wait = min(query.wait, s.config.server.long_poll_s)
        body = s.watch.wait(lambda: _newest(s, path.account, query.after + 1), wait)
    if body is None:
        if query.after == 0:
            raise _none()
        return Response(status=204)
    return Response(body, mimetype="application/json", headers={"Cache-Control": "no-cache"})
