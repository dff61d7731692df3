"""The client before a service that means it ill: no answer takes all memory, or for ever."""

from __future__ import annotations

import gzip
import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from urllib3 import HTTPResponse

from marginseal.errors import DecodeError, ServiceError
from server import answers as module
from server.client import Client


class Endless:
    """A body that gives as much as is asked for, each time after a pause; it ends after all, far behind the limits."""

    closed = False

    def __init__(self, pause_s: float = 0, most: int = 2**30, end: int = 2**26) -> None:
        self.pause_s, self.given, self.most, self.end = pause_s, 0, most, end

    def read(self, amount: int = -1) -> bytes:
        time.sleep(self.pause_s)
        amount = min(2**16 if amount < 0 else amount, self.most, self.end - self.given)
        self.given += amount
        return bytes(amount)

    read1 = read

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, dict[str, str]], Client]:
    """A client whose next answer has this body and these headers."""

    def make(body: Any, headers: dict[str, str]) -> Client:
        client = Client("https://localhost", patience_s=0, timeout_s=0.5)

        def send(request: requests.PreparedRequest, **options: Any) -> requests.Response:
            assert options["stream"], "the whole answer would be read before anybody looks at its size"
            assert not options["allow_redirects"], "a signed request would be sent where its answer says"
            assert "Authorization" not in request.headers
            response = requests.Response()
            response.status_code = 200
            response.headers.update(headers)
            response.raw = HTTPResponse(body, headers=headers, preload_content=False)
            return response

        monkeypatch.setattr(client._session, "send", send)
        return client

    return make


def test_an_answer_without_end_is_cut_off(
    asked: Callable[[Any, dict[str, str]], Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_RESPONSE_BYTES", 2**20)
    body = Endless()
    with pytest.raises(ServiceError, match=r"service\.too-large"):
        asked(body, {}).checkpoint()
    assert body.given < 2 * 2**20


def test_an_answer_that_trickles_is_cut_off(asked: Callable[[Any, dict[str, str]], Client]) -> None:
    with pytest.raises(ServiceError, match=r"service\.too-slow"):
        asked(Endless(0.01, most=1, end=2_000), {}).checkpoint()


ENTRY = '{"entries": [{"index": %s, "time": %s, "entry": %s}]}'
MALFORMED: list[tuple[Callable[[Client], object], str]] = [
    (lambda c: c.entries(0), "{}"),
    (lambda c: c.entries(0), '{"entries": {}}'),
    (lambda c: c.entries(0), '{"entries": [[]]}'),
    (lambda c: c.entries(0), ENTRY % ("0.0", "1", '"AA=="')),
    (lambda c: c.entries(0), ENTRY % ("true", "1", '"AA=="')),
    (lambda c: c.entries(0), ENTRY % ("0", '"1"', '"AA=="')),
    (lambda c: c.entries(0), ENTRY % ("0", "-1", '"AA=="')),
    (lambda c: c.entries(0), ENTRY % ("0", "9007199254740992", '"AA=="')),
    (lambda c: c.entries(0), ENTRY % ("0", "1", '"\u00e9"')),
    (lambda c: c.entries(0), ENTRY % ("0", "1", "null")),
    (lambda c: c.consistency(1, 2), '{"path": null}'),
    (lambda c: c.consistency(1, 2), '{"path": ["\u00e9"]}'),
    (lambda c: c.records_of("manifests", "fund-1"), '{"records": [7]}'),
    (lambda c: c.newest_record("epochs"), '{"digest": "xyz"}'),
    (lambda c: c.newest_record("epochs"), '{"digest": "00"}'),
    (lambda c: c.prover_key(), '{"keys": [{}]}'),
]


@pytest.mark.parametrize(("ask", "body"), MALFORMED, ids=[body for _, body in MALFORMED])
def test_an_answer_of_another_form_is_refused_as_such(
    asked: Callable[[Any, dict[str, str]], Client], ask: Callable[[Client], object], body: str
) -> None:
    with pytest.raises(DecodeError, match=r"service\.malformed"):
        ask(asked(io.BytesIO(body.encode()), {}))


def test_a_packed_answer_is_not_unpacked(asked: Callable[[Any, dict[str, str]], Client]) -> None:
    packed = io.BytesIO(gzip.compress(bytes(2**20)))
    with pytest.raises(ServiceError, match=r"service\.malformed"):
        asked(packed, {"Content-Encoding": "gzip"}).checkpoint()


def test_what_the_environment_knows_stays_with_us(
    asked: Callable[[Any, dict[str, str]], Client], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A password that lies about for some server of that name is not the service's business."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    assert asked(io.BytesIO(b"note"), {}).checkpoint() == b"note"
