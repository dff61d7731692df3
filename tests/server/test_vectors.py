"""What travels between an account and a service is read and written as published (tests/vectors/service)."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import MarginSealError
from marginseal.records.document import canonical
from marginseal.records.sealing import OVERHEAD, SealingKey, seal_info
from marginseal.records.submission import MIN_CLASS, SubmissionHeader, open_submission
from server.wire import ANSWER_BYTES, decode_body, decode_proved, encode_body, open_answer
from tests.vectors.service import generate

PUBLISHED = json.loads(generate.FILE.read_text())
MESSAGES = {name: base64.b64decode(text) for name, text in PUBLISHED["messages"].items()}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", PUBLISHED[kind], ids=[case["desc"] for case in PUBLISHED[kind]])


def refuses(case: dict[str, Any]) -> Any:
    return pytest.raises(MarginSealError, match=rf"\[{case['expect']}\]")


@named("submissions")
def test_a_submissions_body(case: dict[str, Any]) -> None:
    body = case["length"].to_bytes(4, "big") + case["header"].encode() + MESSAGES[case["message"]]
    key = SealingKey(bytes.fromhex(case["seed"]))
    if case["expect"] != "accept":
        with refuses(case):
            open_submission(*decode_body(body), key)
        return
    header, sealed = decode_body(body)
    submission = open_submission(header, sealed, key)
    assert encode_body(header, sealed) == body
    assert hashlib.sha256(submission.encode()).hexdigest() == case["document"]
    assert submission.statement.digest.hex() == case["statement"]


def header_of(text: str) -> SubmissionHeader:
    padded = text.encode() + bytes(MIN_CLASS + OVERHEAD)
    return decode_body(len(text).to_bytes(4, "big") + padded)[0]


@named("answers")
def test_an_answer(case: dict[str, Any]) -> None:
    sealed, key, header = MESSAGES[case["message"]], SealingKey(bytes.fromhex(case["seed"])), header_of(case["header"])
    if case["expect"] != "accept":
        with refuses(case):
            open_answer(sealed, key, header)
        return
    assert len(sealed) == ANSWER_BYTES + OVERHEAD
    plain = key.open(sealed, seal_info("answer", header.members))
    assert plain == canonical(case["answer"]).ljust(ANSWER_BYTES)
    answer = open_answer(sealed, key, header)
    assert (answer.outcome, answer.code, answer.log_index) == tuple(
        case["answer"][name] for name in ("outcome", "code", "log_index")
    )


@named("proved")
def test_a_finished_attestation(case: dict[str, Any]) -> None:
    body = base64.b64decode(case["body"])
    if case["expect"] != "accept":
        with refuses(case):
            decode_proved(body)
        return
    attestation, releases = decode_proved(body)
    assert hashlib.sha256(attestation.data).hexdigest() == case["attestation"]
    assert [release.digest.hex() for release in releases] == case["releases"]


def test_this_version_writes_what_is_published() -> None:
    assert generate.cases() == {name: PUBLISHED[name] for name in ("submissions", "answers", "proved")}
    plain = generate.plain()
    assert plain.keys() == MESSAGES.keys()
    for name, (key, data, info) in plain.items():
        assert key.open(MESSAGES[name], info) == data, name


PAGE = (Path(__file__).parents[2] / "docs/wire.md").read_text()


def test_the_pages_example_is_the_published_one() -> None:
    [first] = [case for case in PUBLISHED["submissions"] if case["expect"] == "accept"]
    assert first["length"].to_bytes(4, "big").hex(" ") in PAGE
    assert generate.plain()["submission"][1][:8].hex(" ") in PAGE
    for number in (len(MESSAGES["submission"]), MIN_CLASS, ANSWER_BYTES + OVERHEAD):
        assert f"{number:,}" in PAGE
