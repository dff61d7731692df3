"""What to seal submissions to."""

from __future__ import annotations

from flask import Response
from flask_openapi3.blueprint import APIBlueprint

from server.problem import PROBLEMS
from server.schemas import ProverKeyOut, ProverKeysOut, answer, b64
from server.services import services

blueprint = APIBlueprint("prover keys", __name__, abp_responses=PROBLEMS)


@blueprint.get("/v1/prover/keys", summary="The prover's public keys", responses={200: ProverKeysOut})
def keys() -> Response:
    """Fetch again when a submission is refused with `submission.prover-key`."""
    s = services()
    shown = [
        ProverKeyOut(
            key_id=k.key_id,
            public=b64(k.public),
            created=k.created // 1000,
            retired=None if k.retired is None else k.retired // 1000,
        )
        for k in s.prover_keys.accepted(s.clock())
    ]
    out = ProverKeysOut(
        suite="MLKEM768-X25519, HKDF-SHA256, AES-256-GCM",
        keys=shown,
        attestation_key=s.attestation_key.hex(),
        size_classes=list(s.size_classes),
    )
    return answer(out, headers={"Cache-Control": "max-age=60"})
