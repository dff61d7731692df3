"""The API against its own OpenAPI document: generated requests, good and bad, never a 5xx or an unknown answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from marginseal.records.keys import Role
from server.assemble import make_app
from server.main import ATTESTATION_KEY, LOG_KEY, _signing_key, close_log, public_half
from tests.server.world import site, submit_directly, work_once

CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
    negative_data_rejection,
    unsupported_method,
)


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The application of a service that holds an attestation, in this process."""
    sections = {
        "rates": {"client_per_s": 1e6, "client_burst": 1_000_000},
        "server": {"long_poll_s": 0},
        "log": {"checkpoint_age_s": 3600},  # one for all, since receipts are compared
    }
    with site(tmp_path_factory.mktemp("openapi"), **sections) as s:
        account = s.account("fund")
        submit_directly(s, *s.submissions([account])[0])
        assert work_once(s, "w")
        app = make_app(s.config, _signing_key(s.config, LOG_KEY, Role.LOG), public_half(s.config, ATTESTATION_KEY))
        yield app
        parts = app.extensions["marginseal"]
        parts.store.close()
        close_log(parts.log)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=str)
def test_generated_requests(app: Any, mode: GenerationMode) -> None:
    """Every operation, with data that fits the document and with data that does not."""
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == len(app.api_doc["paths"])
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=10,
            deadline=None,
            derandomize=True,
            phases=(Phase.explicit, Phase.generate),
            suppress_health_check=list(HealthCheck),
        )
        def conforms(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        try:
            conforms()
        except Unsatisfiable:  # an operation without parameters cannot be asked wrongly
            assert mode is GenerationMode.NEGATIVE
            assert len(operation.query) + len(operation.path_parameters) == 0


def test_the_document_is_openapi_3_1_and_names_every_route(app: Any) -> None:
    document = app.api_doc
    assert document["openapi"] == "3.1.0"
    paths = {str(rule) for rule in app.url_map.iter_rules() if str(rule) != "/openapi.json"}
    assert len(document["paths"]) == len(paths)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
            assert "422" in operation["responses"]
            signed = path.startswith("/v1/submissions") or method == "post"
            assert bool(operation.get("security")) == signed


def test_what_exists_is_answered_as_documented(app: Any) -> None:
    schema = schemathesis.openapi.from_wsgi("/openapi.json", app)

    def get(path: str, query: dict[str, Any] | None = None, **parameters: Any) -> Any:
        case = schema[path]["GET"].Case(path_parameters=parameters, query=query or {})
        response = case.call()
        case.validate_response(response, checks=CHECKS[:5])
        assert response.status_code == 200
        return response

    latest = get("/v1/accounts/{account}/attestations/latest", account="fund").json()
    assert latest["head"]
    by_sequence = get("/v1/accounts/{account}/attestations/{sequence}", account="fund", sequence=1).json()
    assert by_sequence == {**latest, "head": None}
    assert get("/v1/attestations/{digest}", digest=latest["statement_digest"]).json() == by_sequence
    size = get("/v1/log").json()["size"]
    assert get("/v1/log/receipts/{index}", index=latest["log_index"]).text == latest["receipt"]
    assert len(get("/v1/log/tiles/{level}/{index}/{width}", level=0, index=0, width=size).content) == 32 * size
    assert get("/v1/log/consistency", {"first": 1, "second": size}).json()["path"]
    assert str(size) in get("/v1/log/checkpoint").text
    assert len(get("/v1/log/entries", {"start": 1, "count": 2}).json()["entries"]) == 2
    for kind in ("epochs", "source-registries", "venue-registries", "manifests", "accounts", "universes"):
        newest = get("/v1/records/{kind}/latest", kind=kind).json()
        assert get("/v1/records/{kind}", kind=kind).json()["records"][0] == newest
        data = get("/v1/records/{kind}/{digest}", kind=kind, digest=newest["digest"]).content
        assert get("/v1/objects/{digest}", digest=newest["payload_digest"]).content == data
