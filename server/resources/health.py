"""Is the process alive, can it serve, what does it measure."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request
from flask_openapi3.blueprint import APIBlueprint

from marginseal.errors import MarginSealError
from server.problem import PROBLEMS, Refusal, Responses
from server.schemas import HealthOut, answer
from server.services import services
from server.store import check_version

blueprint = APIBlueprint("health", __name__, abp_responses=PROBLEMS)


@blueprint.get("/healthz", summary="Alive", responses={200: HealthOut})
def alive() -> Response:
    return answer(HealthOut(status="ok", checks={}))


@blueprint.get("/readyz", summary="Able to serve", responses={200: HealthOut, 503: HealthOut})
def ready() -> Response:
    """The databases answer, and there is a key to seal to."""
    s = services()
    checks: dict[str, bool] = {}
    wanted: dict[str, Callable[[], object]] = {
        "store": lambda: check_version(s.store),
        "log": lambda: s.log.size(),
        "prover-key": lambda: s.prover_keys.accepted(s.clock())[0],
    }
    for name, check in wanted.items():
        try:
            check()
            checks[name] = True
        except (MarginSealError, IndexError):
            checks[name] = False
    good = all(checks.values())
    return answer(HealthOut(status="ok" if good else "unavailable", checks=checks), 200 if good else 503)


_TEXT: Responses = {
    200: {"description": "Prometheus text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
}


@blueprint.get("/metrics", summary="Metrics", responses=_TEXT)
def metrics() -> Response:
    """For the addresses of `server.metrics_from`.

    Who else watched the counts could tell whose submission was refused from when it came; and they cost a walk over
    all jobs that are kept."""
    s = services()
    if request.remote_addr not in s.config.server.metrics_from:
        raise Refusal(404, "request.no-such-resource", "The request was refused.")
    return Response(s.metrics.render(), mimetype="text/plain")
