"""The public records an attestation depends on: epochs, registries, manifests, and any object by its SHA-256.

A record is the signed envelope as logged (of an oracle's report the note; the report is an object); an object is the
bytes it names (the epoch's matrix, a snapshot, a universe).  Both are served under their digests for ever, since replay
needs them years later.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from flask import Response, request, stream_with_context
from flask_openapi3.blueprint import APIBlueprint
from pydantic import Field

from marginseal.records.logged import LogKind
from server.body import extend_deadline
from server.catalogue import Found
from server.problem import PROBLEMS, Refusal, Responses
from server.resources.attestations import IMMUTABLE
from server.schemas import Hex32, Name, RecordOut, RecordsOut, Shape, Wait, answer
from server.services import Services, services

blueprint = APIBlueprint("records", __name__, abp_responses=PROBLEMS)
_BYTES: Responses = {
    200: {
        "description": "the bytes",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Kind(StrEnum):
    """The collections, each one kind of log entry."""

    UNIVERSES = "universes"
    EPOCHS = "epochs"
    SOURCE_REGISTRIES = "source-registries"
    VENUE_REGISTRIES = "venue-registries"
    ACCOUNTS = "accounts"
    MANIFESTS = "manifests"
    SOURCE_RELEASES = "source-releases"
    PLEDGE_RELEASES = "pledge-releases"
    KEY_CHANGES = "key-changes"
    KEY_REVOCATIONS = "key-revocations"
    ORACLE_REPORTS = "oracle-reports"

    @property
    def entry(self) -> LogKind:
        """The kind as the log has it."""
        return LogKind(self.replace("registries", "registrys")[:-1])


class Collection(Shape):
    kind: Kind


class Recent(Shape):
    limit: int = Field(default=20, ge=1, le=100)
    account: Name | None = Field(default=None, description="those of one account alone")


class Newest(Shape):
    after: Hex32 | None = Field(default=None, description="digest of the newest the caller knows")
    wait: Wait = 0


class OneRecord(Shape):
    kind: Kind
    digest: Hex32


class OneObject(Shape):
    digest: Hex32


def _shown(found: Found) -> RecordOut:
    return RecordOut(
        digest=found.name.hex(), payload_digest=found.payload_digest.hex(), log_index=found.index, logged=found.time
    )


@blueprint.get("/v1/records/<kind>", summary="The newest of a kind", responses={200: RecordsOut})
def recent(path: Collection, query: Recent) -> Response:
    found = services().synced().recent(path.kind.entry, query.limit, query.account)
    return answer(RecordsOut(records=[_shown(f) for f in found]))


@blueprint.get("/v1/records/<kind>/latest", summary="The newest, waiting if asked", responses={200: RecordOut, 204: {}})
def latest(path: Collection, query: Newest) -> Response:
    """204 when it is still the one named in `after`."""
    s = services()

    def news() -> RecordOut | None:
        found = s.synced().newest(path.kind.entry)
        if found is None or found.name.hex() == query.after:
            return None
        return _shown(found)

    out = s.watch.wait(news, min(query.wait, s.config.server.long_poll_s))
    return Response(status=204) if out is None else answer(out, headers={"Cache-Control": "no-cache"})


@blueprint.get("/v1/records/<kind>/<digest>", summary="A signed record", responses=_BYTES)
def record(path: OneRecord) -> Response:
    s = services()
    found = s.synced().by_digest(bytes.fromhex(path.digest), path.kind.entry)
    if found is None:
        raise Refusal(404, "record.unknown", "The log holds no such record.")
    return Response(s.catalogue.payload(found), mimetype="application/octet-stream", headers=IMMUTABLE)


def _parts(s: Services, digest: bytes) -> Iterator[bytes]:
    """A part has the time that others have for a whole answer: an epoch may be 32 MB, and a line slow."""
    for part in s.log.object_parts(digest):
        extend_deadline(request)
        yield part


@blueprint.get("/v1/objects/<digest>", summary="An object by its SHA-256", responses=_BYTES)
def object_(path: OneObject) -> Response:
    s, digest = services(), bytes.fromhex(path.digest)
    with s.log.storage.read() as snapshot:
        length = snapshot.object_length(digest)
    if length is None:
        raise Refusal(404, "object.unknown", "No object is stored under this digest.")
    headers = {**IMMUTABLE, "Content-Length": str(length)}
    return Response(stream_with_context(_parts(s, digest)), mimetype="application/octet-stream", headers=headers)
