"""Attestations that an account proved itself: in by the queue of the submissions, and there to be followed.

What costs little is checked at once: the bytes, the account, both signatures.  The proofs, the sources and the chain
are a worker's to check (server/proved.py), so that no caller holds a thread of the server with them.
"""

from __future__ import annotations

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from marginseal.errors import ProofRejected
from server import own_provers
from server.accept import Header, accept, status
from server.problem import SIGNED_PROBLEMS, Refusal
from server.proved import check_signatures
from server.resources.submissions import BODY, MEDIA_TYPE, WriteHeaders, shown, situation
from server.schemas import SubmissionOut, answer
from server.services import services
from server.wire import MAX_PROVED_BYTES, decode_proved

blueprint = APIBlueprint("proved", __name__, abp_security=[{"signature": []}], abp_responses=SIGNED_PROBLEMS)


@blueprint.post(
    "/v1/attestations",
    summary="Log an attestation that the account proved itself",
    responses={200: SubmissionOut, 202: SubmissionOut},
    openapi_extensions=BODY,
)
def post(header: WriteHeaders) -> Response:
    """202: accepted, durably, to be checked and logged.  200: the same was accepted before.  Follow `Location`; the
    reason of a refusal is its `code`."""
    s = services()
    limit = min(MAX_PROVED_BYTES, s.config.server.max_body_bytes)
    caller, body = s.signatures.writer(
        request, s.writes, limit=limit, media_type=MEDIA_TYPE, covered=("idempotency-key",)
    )
    attestation, _ = decode_proved(body)
    statement = attestation.statement
    if statement.account != caller.party:
        raise Refusal(403, "submission.account", "The attestation is of another account than the signer's.")
    with s.store.read() as c:
        provers = own_provers.keys_of(c, caller.party)
    try:
        check_signatures(attestation, provers, *s.public.keys())
    except ProofRejected as e:
        if e.code != "signature.threshold":
            raise
        raise Refusal(403, "proved.prover", "Not signed by a prover that is registered for the account.") from None
    name, new = accept(
        s.store,
        s.queue,
        caller,
        body,
        Header(statement.account, statement.sequence, statement.epoch, None),
        header.idempotency_key,
        lambda: situation(s, caller.party),
        now=s.clock(),
    )
    s.accepted()
    out = shown(status(s.store, caller.party, name))
    return answer(out, 202 if new else 200, {"Location": f"/v1/submissions/{name}"})
