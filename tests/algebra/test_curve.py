"""Both curve libraries behind one interface: the strict decoder, the group laws, the pairing, and their agreement."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.curve import (
    COMPRESSED,
    GENERATOR_G1,
    GENERATOR_G2,
    LARGER_Y,
    Curve,
    P,
    backend,
    compress_g1,
    compress_g2,
)
from marginseal.algebra.field import R
from marginseal.errors import DecodeError
from tests.oracles.stray_points import G1_OF_ORDER_3, stray_g2

FAST = backend()
SLOW = backend("reference")
BOTH = [FAST, SLOW]
both = pytest.mark.parametrize("curve", BOTH, ids=lambda c: c.name)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/algebra/points.json").read_text())
INFINITY = bytes([0xC0]) + bytes(47)
EDGES = [0, 1, 2, R - 1, R, R + 1, -1, R // 2]
SCALAR = st.one_of(st.sampled_from(EDGES), st.integers(0, R - 1), st.integers(0, 2**16))


def verdict(curve: Curve, group: str, data: bytes) -> str:
    """`accept`, or the code of the refusal.  Accepted bytes encode back to themselves."""
    try:
        if group == "G1":
            assert curve.encode_g1(curve.decode_g1(data)) == data
        else:
            assert compress_g2(curve.dump_g2([curve.decode_g2(data)])) == data
    except DecodeError as e:
        return e.code
    return "accept"


@both
@pytest.mark.parametrize("case", VECTORS, ids=[f"{case['group']} {case['desc']}" for case in VECTORS])
def test_encodings(curve: Curve, case: dict[str, Any]) -> None:
    assert verdict(curve, case["group"], bytes.fromhex(case["bytes"])) == case["expect"]


@given(st.binary(min_size=47, max_size=47), st.integers(0, 255))
@settings(max_examples=60, deadline=None)
def test_both_give_one_verdict_on_any_bytes(tail: bytes, head: int) -> None:
    data = bytes([head]) + tail
    assert verdict(FAST, "G1", data) == verdict(SLOW, "G1", data)
    # With a plausible head, so that the interesting half is seen as often.
    data = bytes([COMPRESSED | head & LARGER_Y | head % 0x1A]) + tail
    assert verdict(FAST, "G1", data) == verdict(SLOW, "G1", data) != "point.malformed"


@given(st.binary(min_size=94, max_size=94), st.integers(0, 255))
@settings(max_examples=20, deadline=None)
def test_both_give_one_verdict_on_any_bytes_of_the_twist(tail: bytes, head: int) -> None:
    data = bytes([COMPRESSED | head & LARGER_Y | head % 0x1A]) + tail[:47] + bytes([head % 0x1A]) + tail[47:]
    assert verdict(FAST, "G2", data) == verdict(SLOW, "G2", data) != "point.malformed"


@given(st.integers(1, R - 1), st.integers(0, 383))
@settings(max_examples=40, deadline=None)
def test_one_flipped_bit_is_another_point_or_none(x: int, bit: int) -> None:
    data = FAST.encode_g1(FAST.mul(FAST.generator, x))
    flipped = bytearray(data)
    flipped[bit // 8] ^= 0x80 >> bit % 8
    answer = verdict(FAST, "G1", bytes(flipped))
    assert answer == verdict(SLOW, "G1", bytes(flipped))
    assert (answer == "accept") == (bit == 2)  # the sign; another x of a subgroup point is out of anybody's luck


def test_second_line_behind_the_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """The compiled decoder takes several encodings of infinity; even unseen by the first check none comes back."""
    monkeypatch.setattr("marginseal.algebra.curve_arkworks.check_flags", lambda data, size: None)
    for decode, size in ((FAST.decode_g1, 48), (FAST.decode_g2, 96)):
        for alias in (b"\xe0" + bytes(size - 1), b"\xc0" + bytes(size - 2) + b"\x01"):
            with pytest.raises(DecodeError) as e:
                decode(alias)
            assert e.value.code == "point.malformed"


@both
def test_the_sign_flag_is_the_negation(curve: Curve) -> None:
    p = curve.mul(curve.generator, 987654321)
    data = curve.encode_g1(p)
    flipped = bytes([data[0] ^ LARGER_Y]) + data[1:]
    assert curve.encode_g1(curve.neg(p)) == flipped
    assert curve.is_identity(curve.add(curve.decode_g1(flipped), p))


@both
def test_the_generators_are_the_standard_ones_of_order_r(curve: Curve) -> None:
    assert curve.encode_g1(curve.generator) == GENERATOR_G1
    assert compress_g2(curve.dump_g2([curve.generator_g2])) == GENERATOR_G2
    assert curve.is_identity(curve.add(curve.mul(curve.generator, R - 1), curve.generator))


@both
def test_infinity_comes_out_and_never_in(curve: Curve) -> None:
    identity = curve.identity()
    assert curve.is_identity(identity)
    assert curve.encode_g1(identity) == curve.encode_g1(curve.mul(curve.generator, 0)) == INFINITY
    assert curve.encode_g1(curve.msm([], [])) == INFINITY
    assert not curve.is_identity(curve.generator)
    with pytest.raises(DecodeError) as e:
        curve.decode_g1(INFINITY)
    assert e.value.code == "point.infinity"
    with pytest.raises(ValueError, match="identity"):
        curve.dump_g1([curve.generator, identity])
    with pytest.raises(ValueError, match="identity"):
        curve.dump_g2([curve.mul_g2(curve.generator_g2, 0)])


@given(st.lists(st.tuples(SCALAR, SCALAR), max_size=4))
@settings(max_examples=25, deadline=None)
def test_products_agree_with_each_other_and_with_the_scalars(terms: list[tuple[int, int]]) -> None:
    encoded = []
    for curve in BOTH:
        points = [curve.mul(curve.generator, a) for a, _ in terms]
        scalars = [x for _, x in terms]
        le_bytes = b"".join((x % R).to_bytes(32, "little") for x in scalars)
        one_by_one = curve.identity()
        for p, x in zip(points, scalars, strict=True):
            one_by_one = curve.add(one_by_one, curve.mul(p, x))
        encoded += [
            curve.encode_g1(curve.msm(points, scalars)),
            curve.encode_g1(curve.msm_le_bytes(points, le_bytes)),
            curve.encode_g1(one_by_one),
            curve.encode_g1(curve.mul(curve.generator, sum(a * x for a, x in terms))),
        ]
    assert len(set(encoded)) == 1


@both
def test_products_of_unequal_lengths_are_refused(curve: Curve) -> None:
    g = curve.generator
    for points, scalars in (([g, g], [1]), ([g], [1, 2]), ([], [1])):
        with pytest.raises(ValueError, match="scalars"):
            curve.msm(points, scalars)
        with pytest.raises(ValueError, match="scalars"):
            curve.msm_le_bytes(points, b"".join(x.to_bytes(32, "little") for x in scalars))
    with pytest.raises(ValueError, match="scalars"):
        curve.msm_le_bytes([g], bytes(31))


@given(st.integers(1, R - 1), st.integers(1, R - 1))
@settings(max_examples=3, deadline=None)
def test_pairing_is_bilinear_in_both(a: int, b: int) -> None:
    for curve in BOTH:
        g, h = curve.generator, curve.generator_g2
        left = curve.mul(g, a), curve.mul_g2(h, b)
        assert curve.pairing_check([left, (curve.mul(g, -a * b), h)])
        assert not curve.pairing_check([left, (curve.mul(g, -a * b + 1), h)])


@both
def test_pairing_check_of_few_terms(curve: Curve) -> None:
    g, h = curve.generator, curve.generator_g2
    assert curve.pairing_check([])
    assert not curve.pairing_check([(g, h)])
    assert curve.pairing_check([(curve.identity(), h)])
    assert curve.pairing_check([(g, curve.mul_g2(h, 2)), (g, h), (curve.mul(g, -3), h)])


RFC_G1 = [  # RFC 9380, appendix J.9.1: message, x, y of the point
    (
        b"",
        "052926add2207b76ca4fa57a8734416c8dc95e24501772c814278700eed6d1e4e8cf62d9c09db0fac349612b759e79a1",
        "08ba738453bfed09cb546dbb0783dbb3a5f1f566ed67bb6be0e8c67e2e81a4cc68ee29813bb7994998f3eae0c9c6a265",
    ),
    (
        b"abc",
        "03567bc5ef9c690c2ab2ecdf6a96ef1c139cc0b2f284dca0a9a7943388a49a3aee664ba5379a7655d3c68900be2f6903",
        "0b9c15f3fe6e5cf4211f346271d7b01c8f3b28be689c8429c85b67af215533311f0b8dfaaa154fa6b88176c229f2885d",
    ),
]


@both
@pytest.mark.parametrize(("msg", "x", "y"), RFC_G1)
def test_hashing_to_the_curve_follows_the_rfc(curve: Curve, msg: bytes, x: str, y: str) -> None:
    p = curve.hash_to_g1(msg, b"QUUX-V01-CS02-with-BLS12381G1_XMD:SHA-256_SSWU_RO_")
    assert curve.dump_g1([p]).hex() == x + y
    assert curve.in_subgroup_g1(p)


@given(st.lists(st.integers(1, R - 1), min_size=1, max_size=3))
@settings(max_examples=10, deadline=None)
def test_affine_bytes_go_round_and_between(scalars: list[int]) -> None:
    g1, g2 = (
        [curve.dump_g1([curve.mul(curve.generator, x) for x in scalars]) for curve in BOTH],
        [curve.dump_g2([curve.mul_g2(curve.generator_g2, x) for x in scalars]) for curve in BOTH],
    )
    assert g1[0] == g1[1]
    assert g2[0] == g2[1]
    for curve in BOTH:
        assert curve.dump_g1(curve.load_g1(g1[0])) == g1[0]
        assert curve.dump_g2(curve.load_g2(g2[0])) == g2[0]
    assert [compress_g1(g1[0][i : i + 96]) for i in range(0, len(g1[0]), 96)] == [
        FAST.encode_g1(FAST.mul(FAST.generator, x)) for x in scalars
    ]


@both
def test_affine_bytes_that_are_no_points(curve: Curve) -> None:
    g1, g2 = curve.dump_g1([curve.generator]), curve.dump_g2([curve.generator_g2])
    assert not curve.in_subgroup_g1(curve.load_g1(G1_OF_ORDER_3)[0])  # why loading is for pinned data alone
    for load, good in ((curve.load_g1, g1), (curve.load_g2, g2)):
        assert len(load(good + good)) == 2
        assert load(b"") == []
        for bad, code in (
            (good[:-1], "point.length"),
            (good + bytes(len(good)), "point.infinity"),
            (good[:-1] + bytes([good[-1] ^ 1]), "point.not-on-curve"),
        ):
            with pytest.raises(DecodeError) as e:
                load(bad)
            assert e.value.code == code
        beyond = (int.from_bytes(good[-48:], "big") + P).to_bytes(48, "big")  # the same y, written otherwise
        with pytest.raises(DecodeError):
            load(good[:-48] + beyond)


@both
def test_subgroup_of_the_twist(curve: Curve) -> None:
    assert curve.in_subgroup_g2(curve.generator_g2)
    assert not curve.in_subgroup_g2(curve.load_g2(stray_g2())[0])


def test_one_object_for_each_backend_and_no_others() -> None:
    assert backend("arkworks") is backend() is FAST
    assert backend("reference") is SLOW
    with pytest.raises(ValueError, match="blst"):
        backend("blst")


def test_the_reference_leaves_the_recursion_limit_alone() -> None:
    """py-ecc raises it to 100,000 at import; then a nested document kills the process instead of being refused."""
    code = (
        "import sys; before = sys.getrecursionlimit(); from marginseal.algebra.curve import backend; "
        "backend('reference'); assert 'py_ecc' in sys.modules; print(sys.getrecursionlimit() == before)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
