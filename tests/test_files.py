"""Files of a user: bounded, strict, atomic."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError
from marginseal.files import parse_json, read_bytes, read_json, write_atomic


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1,"a":2}', "json.duplicate-key"),
        (b'{"b":{"a":1,"a":1}}', "json.duplicate-key"),
        (b"NaN", "json.not-finite"),
        (b"[-Infinity]", "json.not-finite"),
        (b"1e999", "json.not-finite"),
        (b"[-1e400]", "json.not-finite"),
        (b"{", "json.malformed"),
        (b"", "json.malformed"),
        (b"1" * 5000, "json.malformed"),
        (b"\xff", "json.not-utf8"),
        (b"[" * 100_000, "json.too-deep"),
    ],
)
def test_json_that_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(DecodeError) as error:
        parse_json(data, what="a file")
    assert error.value.code == code


@given(st.binary(max_size=200))
def test_any_bytes_give_a_value_or_one_error(data: bytes) -> None:
    try:
        parse_json(data, what="a file")
    except DecodeError as e:
        assert e.code.startswith("json.")


def test_reading_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "big"
    path.write_bytes(bytes(11))
    with pytest.raises(InputError) as error:
        read_bytes(path, limit=10, what="a file")
    assert error.value.code == "file.too-large"
    assert read_bytes(path, limit=11, what="a file") == bytes(11)


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_json(tmp_path / "none.json", what="a file")
    assert error.value.code == "file.missing"
    with pytest.raises(InputError) as error:
        read_bytes(tmp_path, limit=10, what="a file")
    assert error.value.code == "file.unreadable"


def test_writing_is_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old", private=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    def broken(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(InputError) as error:
        write_atomic(path, b"new")
    assert error.value.code == "file.unwritable"
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]
