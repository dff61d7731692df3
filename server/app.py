"""The HTTP application: blueprints, the checks every request passes, problem+json, metrics, OpenAPI 3.1.

The order for every request: the client's rate, then the resource's own checks.  For every answer: headers that forbid
sniffing and, unless the resource said otherwise, storing; a count and a duration under the route's template.
"""

from __future__ import annotations

import time
from typing import Any

from flask import Response, g, request
from flask_openapi3.models.info import Info
from flask_openapi3.openapi import OpenAPI

from server import problem, services
from server.resources import (
    attestations,
    health,
    log,
    proved,
    prover_keys,
    publications,
    records,
    rules,
    submissions,
)

_METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE", "PATCH")


def create_app(parts: services.Services) -> OpenAPI:
    """The application over these services."""
    app = OpenAPI(
        "marginseal",
        info=Info(title="MarginSeal", version="1", summary="Sealed portfolios in, margin attestations out"),
        security_schemes={
            "signature": {
                "type": "http",
                "scheme": "Signature",
                "description": "RFC 9421, Ed25519, tag `marginseal`; created, nonce, keyid; at most 60 s old",
            }
        },
        validation_error_model=problem.Problem,
        validation_error_callback=problem.from_validation,
        doc_ui=False,
        static_folder=None,
    )
    app.config["MAX_CONTENT_LENGTH"] = parts.config.server.max_body_bytes
    services.install(app, parts)
    problem.install(app)

    @app.before_request
    def _arrive() -> None:
        g.arrived = time.perf_counter()
        parts.clients.charge(request.remote_addr or "", parts.clock())

    @app.after_request
    def _leave(response: Response) -> Response:
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Strict-Transport-Security"] = "max-age=31536000"
        response.headers.setdefault("Cache-Control", "no-store")
        route = request.url_rule.rule if request.url_rule is not None else "none"
        method = request.method if request.method in _METHODS else "other"
        parts.metrics.answered(route, method, response.status_code, time.perf_counter() - g.arrived)
        return response

    for module in (health, prover_keys, submissions, proved, publications, attestations, records, rules, log):
        app.register_api(module.blueprint)

    @app.get("/openapi.json", doc_ui=False)
    def _openapi() -> Any:
        return app.api_doc

    return app
