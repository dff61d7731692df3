"""What parties publish themselves: sources statements and releases, venues releases, accounts manifests, oracles
reports.

Each comes signed twice: the record by the key that makes it true, a registered one or its successor in the log, the
request by a registered key of the party.
Publishing the same record again changes nothing.
"""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, peek
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.oracle import OracleReport
from marginseal.records.source import PublishedStatement, SourceStatement
from server import parties, publish
from server.problem import SIGNED_PROBLEMS, Refusal
from server.schemas import PublishedOut, answer
from server.services import Services, services
from server.signatures import Caller

blueprint = APIBlueprint("publications", __name__, abp_security=[{"signature": []}], abp_responses=SIGNED_PROBLEMS)
MEDIA_TYPE = "application/json"
MAX_RELEASE_BYTES = 2**14  # a few hundred bytes of payload, and room for 64 signatures
_BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "object"}}}}}


def _read(s: Services, kind: str, limit: int | None = None) -> tuple[Caller, bytes]:
    limit = min(limit or s.config.server.max_body_bytes, s.config.server.max_body_bytes)
    return s.signatures.writer(request, s.publications, limit=limit, media_type=MEDIA_TYPE, kinds=(kind,))


def _own(caller: Caller, party: str) -> None:
    if party != caller.party:
        raise Refusal(403, "publication.party", "The record names another party than the signer of the request.")


@blueprint.post(
    "/v1/source-statements",
    summary="A source publishes one signed statement",
    responses={200: PublishedOut},
    openapi_extensions=_BODY,
)
def source_statement() -> Response:
    """With its sealed opening and, for a confined source, the proof of its rows."""
    s = services()
    caller, body = _read(s, "source")
    statement = PublishedStatement.decode(body)
    _own(caller, peek(SourceStatement, statement.message).terms.source)
    ring = s.public.held.ring
    with s.store.write() as c:
        keys = parties.keys_of(c, "source", caller.party)
        digest = publish.publish_source_statement(c, s.log, statement, keys, ring, now_ms=s.clock())
    return answer(PublishedOut(digest=digest.hex(), log_index=None))


@blueprint.post(
    "/v1/source-releases",
    summary="A source lets a book go",
    responses={200: PublishedOut},
    openapi_extensions=_BODY,
)
def source_release() -> Response:
    """Flat and unencumbered, by its word; the account's next manifest may leave it out."""
    s = services()
    caller, body = _read(s, "source", MAX_RELEASE_BYTES)
    record = Envelope.decode(body)
    _own(caller, peek(SourceRelease, record).source)
    with s.store.read() as c:
        keys = parties.keys_of(c, "source", caller.party)
    index = publish.publish_source_release(s.log, record, keys, s.public.held.ring, now=s.now_s)
    return answer(PublishedOut(digest=record.digest.hex(), log_index=index))


@blueprint.post(
    "/v1/pledge-releases",
    summary="A venue releases a pledge",
    responses={200: PublishedOut},
    openapi_extensions=_BODY,
)
def pledge_release() -> Response:
    """Whole, as it stood in one logged statement, from its own row of the registry, under a nonce of its own."""
    s = services()
    caller, body = _read(s, "venue", MAX_RELEASE_BYTES)
    record = Envelope.decode(body)
    _own(caller, peek(PledgeRelease, record).venue)
    with s.store.read() as c:
        keys = parties.keys_of(c, "venue", caller.party)
    index = publish.publish_pledge_release(s.log, s.public, record, keys, now=s.now_s)
    return answer(PublishedOut(digest=record.digest.hex(), log_index=index))


@blueprint.post(
    "/v1/oracle-reports",
    summary="An oracle publishes its report",
    responses={200: PublishedOut},
    openapi_extensions=_BODY,
)
def oracle_report() -> Response:
    """By an oracle that the configuration names; whoever makes a snapshot chooses among what is logged."""
    s = services()
    caller, body = _read(s, "oracle")
    record = Envelope.decode(body)
    _own(caller, peek(OracleReport, record).oracle)
    key = s.config.oracle_keys[caller.party]
    index = publish.publish_oracle_report(s.log, s.public, record, key, now=s.now_s)
    return answer(PublishedOut(digest=record.digest.hex(), log_index=index))


@blueprint.post(
    "/v1/manifests",
    summary="An account logs its next manifest",
    responses={200: PublishedOut},
    openapi_extensions=_BODY,
)
def manifest() -> Response:
    """The first by a registered key; later ones by a key of the one before, and after a delay."""
    s = services()
    caller, body = _read(s, "account")
    record = Envelope.decode(body)
    _own(caller, peek(Manifest, record).account)
    with s.store.read() as c:
        keys = parties.keys_of(c, "account", caller.party)
    index = publish.publish_manifest(s.log, s.public, record, keys, now=s.now_s, delay_s=s.config.log.manifest_delay_s)
    return answer(PublishedOut(digest=record.digest.hex(), log_index=index))
