"""Names, decimals, numbers, times, tables: one spelling each, and what they refuse."""

from __future__ import annotations

import contextlib
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marginseal.errors import MarginSealError
from marginseal.market import fields
from tests.market.markets import refused


@pytest.mark.parametrize("bad", ["", " a", "a ", "a\nb", "a\x00", "\x85b", "\x7f", "é" * 33, "\ud800", 5, None])
def test_names_refused(bad: object) -> None:
    with refused("field.name"):
        fields.name(bad, "x")


def test_names_accepted() -> None:
    assert fields.name("é" * 32, "x") == "é" * 32
    assert fields.symbol("BTC.e_1-x", "x") == "BTC.e_1-x"
    for bad in ("", "-a", "a b", "BTC\n", "é", "A" * 17, 1):
        with refused("field.symbol"):
            fields.symbol(bad, "x")


@given(st.decimals(min_value="0.000001", max_value="1000000", places=6))
def test_a_decimal_has_one_spelling(number: Decimal) -> None:
    text = fields.decimal_text(number)
    assert fields.decimal(text, "x", low="0.000001", high="1000000") == number
    assert text == fields.decimal_text(Decimal(text))
    assert "E" not in text
    assert not ("." in text and text.endswith("0"))


@pytest.mark.parametrize(
    "bad", ["", "1e3", "-1", "+1", ".5", "5.", "01", "0x1", "1_0", "nan", "１", "1\n", 1, 0.5, None]
)
def test_decimals_refused(bad: object) -> None:
    with refused("field.decimal"):
        fields.decimal(bad, "x", low="0", high="10")


def test_bounds_are_inclusive() -> None:
    assert fields.decimal("10", "x", low="0.1", high="10") == 10
    with refused("field.out-of-range"):
        fields.decimal("10.000001", "x", low="0.1", high="10")
    assert fields.integer(5, "x", low=5, high=5) == 5
    for bad in (True, 5.0, "5", None):
        with refused("field.integer"):
            fields.integer(bad, "x", low=0, high=9)
    with refused("field.out-of-range"):
        fields.integer(10**30, "x", low=0, high=9)


def test_numbers_are_finite() -> None:
    assert fields.number(3, "x", low=0, high=9) == 3.0
    assert str(fields.number(-0.0, "x", low=-1, high=9)) == "0.0"
    for bad in (True, "1", None, float("nan"), float("inf"), json.loads("1e999")):
        with refused("field.number"):
            fields.number(bad, "x", low=0, high=9)
    for far in (-0.1, 9.1, 10**400):
        with refused("field.out-of-range"):
            fields.number(far, "x", low=0, high=9)


def test_times() -> None:
    assert fields.time("1970-01-01T00:00:00Z", "x") == 0
    assert fields.time_text(fields.time("2026-02-28T23:59:59Z", "x")) == "2026-02-28T23:59:59Z"
    assert fields.time_text(fields.MAX_TIME) == "9999-12-31T23:59:59Z"
    for bad in (
        "2026-02-29T00:00:00Z",
        "2026-02-28",
        "2026-02-28T00:00:00+00:00",
        "1969-12-31T23:59:59Z",
        5,
        "２" * 20,
    ):
        with refused("field.time"):
            fields.time(bad, "x")
    with refused("field.time"):
        fields.time("2026-02-28T23:59:60Z", "x")


def test_objects_and_digests() -> None:
    with refused("field.object"):
        fields.obj([], "x", required=())
    with refused("field.missing"):
        fields.obj({}, "x", required=("a",))
    with refused("field.unknown"):
        fields.obj({"a": 1, "b": 2}, "x", required=("a",))
    assert fields.digest("00" * 32, "x") == bytes(32)
    for bad in ("00" * 31, "AA" * 32, 5, "0x" + "0" * 62):
        with refused("field.digest"):
            fields.digest(bad, "x")
    with refused("field.choice"):
        fields.choice(["a"], "x", ("a",))
    with refused("field.array"):
        fields.array({}, "x", high=1)
    with refused("field.out-of-range"):
        fields.array([1, 2], "x", high=1)
    with refused("field.out-of-range"):
        fields.table({"a": 1}, "x", high=0)


def test_tables() -> None:
    columns = ("a", "b")
    assert fields.csv_rows(b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\n", "x", columns=columns, high=1) == [
        (2, {"a": "1", "b": "2"})
    ]
    for code, data in (
        ("csv.header", b""),
        ("csv.header", b"b,a\n"),
        ("csv.columns", b"a,b\n1\n"),
        ("csv.columns", b"a,b\n1,2,3\n"),
        ("csv.too-long", b"a,b\n1,2\n3,4\n"),
        ("csv.not-utf8", b"a,b\n\xff,2\n"),
        ("csv.malformed", b'a,b\n"1,2\n'),
        ("csv.malformed", b'a,b\n"1"x,2\n'),
    ):
        with refused(code):
            fields.csv_rows(data, "x", columns=columns, high=1)
    assert [fields.whole(t, "x") for t in ("0", "-5", "12")] == [0, -5, 12]
    for bad in ("", "-0", "+1", "1.0", "1e3", " 1", "00", "١", "1" * 20):
        with refused("field.integer"):
            fields.whole(bad, "x")


@given(st.binary(max_size=200))
def test_any_bytes_lead_to_rows_or_an_error(data: bytes) -> None:
    with contextlib.suppress(MarginSealError):  # anything else is a traceback, and fails the test
        assert len(fields.csv_rows(b"a,b\n" + data, "x", columns=("a", "b"), high=5)) <= 5


def test_pretty_is_json() -> None:
    document = {"short": 1, "list": [{"k": "x" * 30}] * 5, "table": {f"k{i}": "ü" * 20 for i in range(9)}}
    text = fields.pretty(document)
    assert json.loads(text) == document
    assert text.count(b"\n") == 21
