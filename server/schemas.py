"""The JSON shapes of the API.  Digests, keys and identifiers are lower-case hexadecimal, bytes are base64, times unix
seconds; a field that may pass 2^53 is decimal text.  Unknown members are refused.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from flask import Response
from pydantic import BaseModel, ConfigDict, Field

Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="32 bytes")]
Identifier = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Index = Annotated[int, Field(ge=0, le=2**53 - 1)]
Sequence = Annotated[int, Field(ge=1, le=2**53 - 1)]
Wait = Annotated[float, Field(ge=0, le=60, description="seconds to wait for news; the server may answer earlier")]


_SCHEMAS: dict[type, dict[str, Any]] = {}


class Kept(BaseModel):
    """A model whose JSON schema is made once: flask-openapi3 asks for it at every request."""

    @classmethod
    def model_json_schema(cls, *arguments: Any, **options: Any) -> dict[str, Any]:
        """As pydantic's; kept when called plainly."""
        if arguments or options:
            return super().model_json_schema(*arguments, **options)
        if cls not in _SCHEMAS:
            _SCHEMAS[cls] = super().model_json_schema()
        return _SCHEMAS[cls]


class Shape(Kept):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class ProverKeyOut(Shape):
    key_id: Identifier
    public: str = Field(description="base64 of the X-Wing public key, 1216 bytes")
    created: int
    retired: int | None = Field(description="when it stops being accepted; null while it does not retire")


class ProverKeysOut(Shape):
    suite: str
    keys: list[ProverKeyOut] = Field(description="those accepted now; seal to the first")
    attestation_key: Hex32 = Field(description="the Ed25519 key that signs attestations")
    size_classes: list[int] = Field(description="sizes, in bytes, to which a submission is padded before it is sealed")


class SubmissionOut(Shape):
    id: Identifier
    account: str
    sequence: int
    epoch: Hex32
    state: Literal["ready", "running", "attested", "refused", "dead"]
    stage: Literal["queued", "claimed", "opened", "proving", "logging", "finished"]
    ahead: int = Field(description="jobs that come first, while this one waits")
    attempt: int
    code: str | None
    received: int
    started: int | None
    finished: int | None
    attestation: Hex32 | None = Field(description="statement digest, once attested")
    log_index: int | None
    result: str | None = Field(description="base64; sealed to the response key inside the submission, of fixed size")


class AttestationOut(Shape):
    account: str
    sequence: int
    statement_digest: Hex32
    log_index: int
    logged: int
    attestation: str = Field(description="base64 of the attestation's bytes, as logged")
    receipt: str = Field(description="C2SP tlog-proof of the entry")
    head: str | None = Field(description="the log's signed statement that this is the account's newest, if it is")


class RecordOut(Shape):
    digest: Hex32 = Field(description="the digest by which statements name it")
    payload_digest: Hex32 = Field(description="SHA-256 of its bytes")
    log_index: int
    logged: int


class RecordsOut(Shape):
    records: list[RecordOut] = Field(description="newest first")


class PublishedOut(Shape):
    digest: Hex32 = Field(description="of the signed record")
    log_index: int | None = Field(description="where it is logged, if by itself")


class RuleOut(Shape):
    name: str
    title: str
    kind: str = Field(description="attestation, or disclosure")
    tiers: list[str]
    parameters: list[str]


class RulesOut(Shape):
    rules: list[RuleOut]


class LogOut(Shape):
    origin: str
    key: str = Field(description="the log's verifier key, C2SP signed-note")
    size: int


class EntryOut(Shape):
    index: int
    time: int
    entry: str = Field(description="base64 of the entry's canonical bytes")


class EntriesOut(Shape):
    entries: list[EntryOut]


class ConsistencyOut(Shape):
    first: int
    second: int
    path: list[str] = Field(description="base64 hashes, RFC 9162")


class HealthOut(Shape):
    status: Literal["ok", "unavailable"]
    checks: dict[str, bool]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def answer(shape: BaseModel, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    response = Response(shape.model_dump_json(), status=status, mimetype="application/json")
    response.headers.update(headers or {})
    return response
