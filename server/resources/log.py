"""The transparency log: checkpoints, entries, proofs, and the tiles of C2SP tlog-tiles."""

from __future__ import annotations

from typing import Annotated

from flask import Response
from flask_openapi3.blueprint import APIBlueprint
from pydantic import Field

from marginseal.errors import InputError
from server.problem import PROBLEMS, Refusal, Responses
from server.resources.attestations import IMMUTABLE
from server.schemas import ConsistencyOut, EntriesOut, EntryOut, Index, LogOut, Shape, answer, b64
from server.services import services

blueprint = APIBlueprint("log", __name__, abp_responses=PROBLEMS)
MAX_ENTRIES = 64
_TEXT: Responses = {200: {"description": "signed note", "content": {"text/plain": {"schema": {"type": "string"}}}}}
_BYTES: Responses = {
    200: {
        "description": "hashes",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}


class Range(Shape):
    start: Index = 0
    count: int = Field(default=MAX_ENTRIES, ge=1, le=MAX_ENTRIES)


class One(Shape):
    index: Index


class Sizes(Shape):
    first: Annotated[int, Field(ge=1, le=2**53 - 1)]
    second: Annotated[int, Field(ge=1, le=2**53 - 1)]


class Tile(Shape):
    level: Annotated[int, Field(ge=0, le=7)]
    index: Index
    width: Annotated[int, Field(ge=1, le=256)] = 256


@blueprint.get("/v1/log", summary="The log and its key", responses={200: LogOut})
def log() -> Response:
    s = services()
    return answer(LogOut(origin=s.log.origin, key=s.log_key, size=s.log.size()))


@blueprint.get("/v1/log/checkpoint", summary="The newest signed checkpoint", responses=_TEXT)
def checkpoint() -> Response:
    return Response(services().checkpoint(), mimetype="text/plain", headers={"Cache-Control": "no-cache"})


@blueprint.get("/v1/log/entries", summary="Entries in order, at most 64 at a time", responses={200: EntriesOut})
def entries(query: Range) -> Response:
    """Fewer where they are large; ask on from the last."""
    with services().log.storage.read() as snapshot:
        stored = snapshot.entries(query.start, query.start + query.count)
    return answer(EntriesOut(entries=[EntryOut(index=e.index, time=e.time, entry=b64(e.data)) for e in stored]))


@blueprint.get("/v1/log/receipts/<int:index>", summary="Receipt of one entry", responses=_TEXT)
def receipt(path: One) -> Response:
    """C2SP tlog-proof under the newest checkpoint."""
    s = services()
    try:
        return Response(s.log.receipt(path.index, s.checkpoint()), mimetype="text/plain")
    except InputError:
        raise Refusal(404, "log.range", "The log is not as large as that.") from None


@blueprint.get("/v1/log/consistency", summary="Consistency proof", responses={200: ConsistencyOut})
def consistency(query: Sizes) -> Response:
    """The first `second` entries extend the first `first`."""
    try:
        path = services().log.consistency(query.first, query.second)
    except InputError:
        raise Refusal(404, "log.range", "The log is not as large as that, or the sizes are out of order.") from None
    return answer(ConsistencyOut(first=query.first, second=query.second, path=[b64(h) for h in path]))


@blueprint.get("/v1/log/tiles/<int:level>/<int:index>/<int:width>", summary="A tile of hashes", responses=_BYTES)
def tile(path: Tile) -> Response:
    try:
        data = services().log.wide_tile(path.level, path.index, path.width)
    except InputError:
        raise Refusal(404, "log.range", "The log is not as large as that.") from None
    return Response(data, mimetype="application/octet-stream", headers=IMMUTABLE)
