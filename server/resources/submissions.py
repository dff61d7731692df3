"""Sealed submissions in, and how far they are; each account sees its own alone."""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint
from pydantic import ConfigDict, Field

from server.accept import Situation, Status, accept, status
from server.problem import SIGNED_PROBLEMS
from server.schemas import Identifier, Kept, Shape, SubmissionOut, Wait, answer, b64
from server.services import Services, services

blueprint = APIBlueprint("submissions", __name__, abp_security=[{"signature": []}], abp_responses=SIGNED_PROBLEMS)
MEDIA_TYPE = "application/octet-stream"


class WriteHeaders(Kept):
    """Beside Signature-Input, Signature and Content-Digest (RFC 9421, RFC 9530)."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)
    idempotency_key: str = Field(
        alias="Idempotency-Key", pattern=r"^[A-Za-z0-9_-]{8,64}$", description="names this submission for the account"
    )


class OneSubmission(Shape):
    id: Identifier


class Changed(Shape):
    wait: Wait = 0


def shown(s: Status) -> SubmissionOut:
    def seconds(ms: int | None) -> int | None:
        return None if ms is None else ms // 1000

    return SubmissionOut.model_validate(
        {
            "id": s.id,
            "account": s.account,
            "sequence": s.sequence,
            "epoch": s.epoch.hex(),
            "state": s.state,
            "stage": s.stage,
            "ahead": s.ahead,
            "attempt": s.attempt,
            "code": s.code,
            "received": s.received // 1000,
            "started": seconds(s.started),
            "finished": seconds(s.finished),
            "attestation": None if s.attestation is None else s.attestation.hex(),
            "log_index": s.log_index,
            "result": None if s.result is None else b64(s.result),
        }
    )


def situation(s: Services, account: str) -> Situation:
    head = s.log.head(account)
    return Situation(
        prover_keys=frozenset(k.key_id for k in s.prover_keys.accepted(s.clock())),
        epoch_is_current=s.epoch_is_current,
        head=0 if head is None else head.sequence,
    )


BODY = {"requestBody": {"required": True, "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}}


@blueprint.post(
    "/v1/submissions",
    summary="Submit a sealed portfolio",
    responses={200: SubmissionOut, 202: SubmissionOut},
    openapi_extensions=BODY,
)
def submit(header: WriteHeaders) -> Response:
    """202: accepted, durably.  200: this idempotency key with these bytes was accepted before."""
    s = services()
    limit = s.config.server.max_body_bytes
    caller, body = s.signatures.writer(
        request, s.writes, limit=limit, media_type=MEDIA_TYPE, covered=("idempotency-key",)
    )
    name, new = accept(
        s.store,
        s.queue,
        caller,
        body,
        s.read_header(body),
        header.idempotency_key,
        lambda: situation(s, caller.party),
        now=s.clock(),
    )
    s.accepted()
    out = shown(status(s.store, caller.party, name))
    return answer(out, 202 if new else 200, {"Location": f"/v1/submissions/{name}"})


@blueprint.get("/v1/submissions/<id>", summary="How far it is", responses={200: SubmissionOut})
def progress(path: OneSubmission, query: Changed) -> Response:
    """With `wait`: answers when the job ends, or after that many seconds."""
    s = services()
    caller = s.signatures.reader(request, s.reads)
    found = status(s.store, caller.party, path.id)
    if query.wait > 0 and found.state in ("ready", "running"):

        def ended() -> Status | None:
            now = status(s.store, caller.party, path.id)
            return None if now.state in ("ready", "running") else now

        found = s.watch_jobs.wait(ended, min(query.wait, s.config.server.long_poll_s)) or found
    return answer(shown(found))
