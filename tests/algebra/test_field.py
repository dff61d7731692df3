"""F: inverses, roots of unity, the expander of RFC 9380 and the encodings."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.curve import backend
from marginseal.algebra.field import (
    GENERATOR,
    R,
    batch_inverse,
    decode_scalar,
    expand_message_xmd,
    hash_to_field,
    inverse,
    root_of_unity,
    scalar_bytes,
)
from marginseal.errors import DecodeError
from tests.oracles import naive_field

backend("reference")  # imports py-ecc and puts back the recursion limit that py-ecc raises

EDGES = [0, 1, 2, R - 1, R - 2, R // 2, R // 2 + 1, 2**64, 2**254, 2**255 - 1 - R]
ELEMENT = st.one_of(st.sampled_from(EDGES), st.integers(0, R - 1))
NON_ZERO = ELEMENT.filter(bool)

EXPANDER = json.loads((Path(__file__).parents[1] / "vectors/algebra/expand_message.json").read_text())


def test_the_order_is_the_prime_of_the_curve() -> None:
    x = -0xD201000000010000  # the parameter of BLS12-381
    assert x**4 - x**2 + 1 == R == naive_field.R
    assert pow(2, R - 1, R) == 1  # a Fermat test; primality is the curve's own claim
    assert (R - 1) % 2**32 == 0
    assert (R - 1) // 2**32 % 2 == 1


@given(NON_ZERO)
def test_inverse(x: int) -> None:
    assert inverse(x) * x % R == 1
    assert inverse(x - R) == inverse(x + R) == inverse(x)


@given(st.lists(NON_ZERO, max_size=30))
def test_batch_inverse_is_inverse_of_each(xs: list[int]) -> None:
    assert batch_inverse(xs) == [pow(x, R - 2, R) for x in xs]


@given(st.lists(NON_ZERO, max_size=10), st.lists(NON_ZERO, max_size=10), st.sampled_from([0, R, -R]))
def test_zero_has_no_inverse(before: list[int], after: list[int], zero: int) -> None:
    with pytest.raises(ZeroDivisionError):
        inverse(zero)
    with pytest.raises(ZeroDivisionError):
        batch_inverse([*before, zero, *after])


@pytest.mark.parametrize("log_n", [*range(14), 32])
def test_roots_of_unity_have_their_order_and_nest(log_n: int) -> None:
    w = root_of_unity(2**log_n)
    assert pow(w, 2**log_n, R) == 1
    assert log_n == 0 or pow(w, 2 ** (log_n - 1), R) == R - 1
    if log_n < 32:
        assert root_of_unity(2 ** (log_n + 1)) ** 2 % R == w
    assert w == pow(GENERATOR, (R - 1) >> log_n, R)


@pytest.mark.parametrize("n", [-8, -1, 0, 3, 6, 12, 2**32 + 2, 2**33])
def test_other_orders_have_no_root(n: int) -> None:
    with pytest.raises(ValueError, match="root of unity"):
        root_of_unity(n)


@pytest.mark.parametrize("case", EXPANDER, ids=[case["desc"] for case in EXPANDER])
def test_expander_of_the_rfc(case: dict[str, Any]) -> None:
    msg = (case["prefix"] + case["msg"] * (case["repeat"] or 1)).encode()
    assert expand_message_xmd(msg, case["dst"].encode(), case["length"]).hex() == case["expect"]


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=255), st.integers(1, 8160))
@settings(max_examples=40, deadline=None)
def test_expander_agrees_with_an_independent_one(msg: bytes, dst: bytes, length: int) -> None:
    from py_ecc.bls.hash import expand_message_xmd as theirs

    assert expand_message_xmd(msg, dst, length) == theirs(msg, dst, length, hashlib.sha256)  # type: ignore[arg-type]


@pytest.mark.parametrize(("dst", "length"), [(b"", 32), (b"x", 0), (b"x", 8161), (b"x", -1)])
def test_expander_refuses_what_the_rfc_excludes(dst: bytes, length: int) -> None:
    with pytest.raises(ValueError, match=r"tag|bytes"):
        expand_message_xmd(b"", dst, length)


def test_hash_to_field_is_48_bytes_big_endian_reduced() -> None:
    dst = b"MARGINSEAL-V1_XMD:SHA-256"
    assert hash_to_field(b"", dst) == int(expand_message_xmd(b"", dst, 48).hex(), 16) % R
    # Pinned: a browser and a contract have to come to the same challenge.
    assert hash_to_field(b"abc", dst) == 0x5EC681F33383919574E0BBC80BD3EF24104AC5A612BEA4C2D4A4C7824E55E294
    assert hash_to_field(b"abc", dst) != hash_to_field(b"abc", dst + b"x") != hash_to_field(b"abd", dst)


@given(ELEMENT)
def test_scalars_go_round(x: int) -> None:
    data = scalar_bytes(x)
    assert len(data) == 32
    assert decode_scalar(data) == x


@given(st.integers(R, 2**256 - 1))
def test_scalars_not_reduced_are_refused(x: int) -> None:
    with pytest.raises(DecodeError) as e:
        decode_scalar(x.to_bytes(32, "big"))
    assert e.value.code == "scalar.not-reduced"
    with pytest.raises(ValueError, match="reduced"):
        scalar_bytes(x)


def test_the_edge_of_the_scalars() -> None:
    assert decode_scalar((R - 1).to_bytes(32, "big")) == R - 1
    with pytest.raises(DecodeError, match="order"):
        decode_scalar(R.to_bytes(32, "big"))
    with pytest.raises(ValueError, match="reduced"):
        scalar_bytes(-1)


@given(st.binary(max_size=80).filter(lambda b: len(b) != 32))
def test_scalars_of_another_length_are_refused(data: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        decode_scalar(data)
    assert e.value.code == "scalar.length"
