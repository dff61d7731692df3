"""An envelope that is all brackets and numbers costs nothing to refuse."""

from __future__ import annotations

import pytest

from marginseal.errors import DecodeError
from marginseal.records import document
from marginseal.records.envelope import MAX_SIGNATURES, Envelope, Signature


@pytest.mark.parametrize("item", [b"[]", b"0.1", b"{}", b'""'])
def test_a_list_of_millions_is_refused_before_it_is_read(item: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object, **__: object) -> object:
        raise AssertionError("parsed")

    monkeypatch.setattr(document, "decode", read)
    data = b'{"payload":"","payloadType":"","signatures":[' + (item + b",") * 100_000 + item + b"]}"
    with pytest.raises(DecodeError) as caught:
        Envelope.decode(data)
    assert caught.value.code == "envelope.size"


def test_the_most_an_envelope_may_hold_is_read() -> None:
    names = ["," * 62 + f"{i:02}" for i in range(MAX_SIGNATURES)]
    largest = Envelope("," * 256, b"," * 100_000, tuple(Signature(name, b",") for name in names))
    assert Envelope.decode(largest.encode()) == largest
