"""The curve by py-ecc: plain Python, two orders of magnitude slower, and sharing no code with the other backend.

It decides disagreements and lets a verifier run without a compiled wheel.  Every check of an encoding is made here
anew, from the equation of the curve: the square root, membership of the subgroup by multiplication with r, the choice
of y.  Points are projective triples of `FQ` or `FQ2`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.bls.point_compression import modular_squareroot_in_FQ2
from py_ecc.fields import optimized_bls12_381_FQ as FQ
from py_ecc.fields import optimized_bls12_381_FQ2 as FQ2
from py_ecc.fields import optimized_bls12_381_FQ12 as FQ12
from py_ecc.optimized_bls12_381.optimized_curve import Z1, Z2, b, b2, normalize
from py_ecc.optimized_bls12_381.optimized_curve import add as ec_add
from py_ecc.optimized_bls12_381.optimized_curve import double as ec_double
from py_ecc.optimized_bls12_381.optimized_curve import is_inf as ec_is_inf
from py_ecc.optimized_bls12_381.optimized_curve import is_on_curve as ec_is_on_curve
from py_ecc.optimized_bls12_381.optimized_curve import neg as ec_neg
from py_ecc.optimized_bls12_381.optimized_pairing import final_exponentiate, pairing

from marginseal.algebra.curve import (
    COMPRESSED,
    G1,
    G1_AFFINE_BYTES,
    G1_BYTES,
    G2,
    G2_AFFINE_BYTES,
    G2_BYTES,
    GENERATOR_G1,
    GENERATOR_G2,
    INFINITY,
    LARGER_Y,
    P,
    check_flags,
    check_round_trip,
    compress_g1,
    compress_g2,
)
from marginseal.algebra.field import R
from marginseal.errors import DecodeError


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _numbers(data: bytes) -> list[int]:
    """Coordinates of 48 bytes each, big-endian, all below p.  DecodeError point.malformed."""
    numbers = [_number(data[i : i + 48]) for i in range(0, len(data), 48)]
    if any(x >= P for x in numbers):
        raise DecodeError("point.malformed", "a coordinate at or above the field prime")
    return numbers


def _multiply(p: Any, x: int, zero: Any) -> Any:
    """x p by doubling and adding, x >= 0.  A loop: the library's own product recurses once for each bit."""
    total = zero
    for bit in bin(x)[2:]:
        total = ec_double(total)
        if bit == "1":
            total = ec_add(total, p)
    return total


class ReferenceCurve:
    """`Curve` on `py_ecc.optimized_bls12_381`."""

    name = "reference"

    def __init__(self) -> None:
        self.generator: G1 = self.decode_g1(GENERATOR_G1)
        self.generator_g2: G2 = self.decode_g2(GENERATOR_G2)

    def decode_g1(self, data: bytes) -> G1:
        check_flags(data, G1_BYTES)
        x = _number(bytes([data[0] & 0x1F]) + data[1:])
        y_squared = (x * x * x + 4) % P
        y = pow(y_squared, (P + 1) // 4, P)  # p = 3 (mod 4)
        if y * y % P != y_squared:
            raise DecodeError("point.not-on-curve", "no point of the curve has this coordinate")
        if (y > P // 2) != bool(data[0] & LARGER_Y):
            y = P - y
        p = (FQ(x), FQ(y), FQ.one())
        if not self.in_subgroup_g1(p):
            raise DecodeError("point.subgroup", "a point of the curve outside the group of order r")
        check_round_trip(data, self.encode_g1(p))
        return p

    def decode_g2(self, data: bytes) -> G2:
        check_flags(data, G2_BYTES)
        x = FQ2([_number(data[48:]), _number(bytes([data[0] & 0x1F]) + data[1:48])])
        y = modular_squareroot_in_FQ2(x * x * x + b2)
        if y is None:
            raise DecodeError("point.not-on-curve", "no point of the twist has this coordinate")
        leading = int(y.coeffs[1]) or int(y.coeffs[0])
        if (leading > P // 2) != bool(data[0] & LARGER_Y):
            y = -y
        q = (x, y, FQ2.one())
        if not self.in_subgroup_g2(q):
            raise DecodeError("point.subgroup", "a point of the twist outside the group of order r")
        check_round_trip(data, compress_g2(self.dump_g2([q])))
        return q

    def encode_g1(self, p: G1) -> bytes:
        if self.is_identity(p):
            return bytes([COMPRESSED | INFINITY]) + bytes(G1_BYTES - 1)
        return compress_g1(self.dump_g1([p]))

    def identity(self) -> G1:
        return Z1

    def add(self, p: G1, q: G1) -> G1:
        return ec_add(p, q)

    def neg(self, p: G1) -> G1:
        return ec_neg(p)

    def mul(self, p: G1, x: int) -> G1:
        return _multiply(p, x % R, Z1)

    def mul_g2(self, q: G2, x: int) -> G2:
        return _multiply(q, x % R, Z2)

    def msm(self, points: Sequence[G1], scalars: Sequence[int]) -> G1:
        if len(points) != len(scalars):
            raise ValueError(f"{len(points)} points and {len(scalars)} scalars")
        total = Z1
        for p, x in zip(points, scalars, strict=True):
            total = ec_add(total, self.mul(p, x))
        return total

    def msm_le_bytes(self, points: Sequence[G1], scalars: bytes) -> G1:
        if 32 * len(points) != len(scalars):
            raise ValueError(f"{len(points)} points and {len(scalars)} bytes of scalars")
        return self.msm(points, [int.from_bytes(scalars[i : i + 32], "little") for i in range(0, len(scalars), 32)])

    def is_identity(self, p: G1) -> bool:
        return bool(ec_is_inf(p))

    def pairing_check(self, pairs: Sequence[tuple[G1, G2]]) -> bool:
        product = FQ12.one()
        for p, q in pairs:
            product = product * pairing(q, p, final_exponentiate=False)
        return bool(final_exponentiate(product) == FQ12.one())

    def hash_to_g1(self, msg: bytes, dst: bytes) -> G1:
        return hash_to_G1(msg, dst, hashlib.sha256)  # type: ignore[arg-type]  # annotated as a hash object, called as a function

    def load_g1(self, affine: bytes) -> list[G1]:
        if len(affine) % G1_AFFINE_BYTES:
            raise DecodeError("point.length", f"affine points are {G1_AFFINE_BYTES} bytes each")
        numbers = _numbers(affine)
        points = []
        for x, y in zip(numbers[::2], numbers[1::2], strict=True):
            if x == y == 0:
                raise DecodeError("point.infinity", "zeros stand for the point at infinity")
            p = (FQ(x), FQ(y), FQ.one())
            if not ec_is_on_curve(p, b):
                raise DecodeError("point.not-on-curve", "coordinates that are no point of the curve")
            points.append(p)
        return points

    def dump_g1(self, points: Sequence[G1]) -> bytes:
        if any(self.is_identity(p) for p in points):
            raise ValueError("the identity has no coordinates")
        return b"".join(int(c).to_bytes(48, "big") for p in points for c in normalize(p))

    def load_g2(self, affine: bytes) -> list[G2]:
        if len(affine) % G2_AFFINE_BYTES:
            raise DecodeError("point.length", f"affine points are {G2_AFFINE_BYTES} bytes each")
        numbers = _numbers(affine)
        points = []
        for i in range(0, len(numbers), 4):
            q = (FQ2(numbers[i : i + 2]), FQ2(numbers[i + 2 : i + 4]), FQ2.one())
            if not any(numbers[i : i + 4]):
                raise DecodeError("point.infinity", "zeros stand for the point at infinity")
            if not ec_is_on_curve(q, b2):
                raise DecodeError("point.not-on-curve", "coordinates that are no point of the twist")
            points.append(q)
        return points

    def dump_g2(self, points: Sequence[G2]) -> bytes:
        if any(ec_is_inf(q) for q in points):
            raise ValueError("the identity has no coordinates")
        coordinates = (int(c) for q in points for element in normalize(q) for c in element.coeffs)
        return b"".join(c.to_bytes(48, "big") for c in coordinates)

    def in_subgroup_g1(self, p: G1) -> bool:
        return bool(ec_is_on_curve(p, b) and ec_is_inf(_multiply(p, R, Z1)))

    def in_subgroup_g2(self, q: G2) -> bool:
        return bool(ec_is_on_curve(q, b2) and ec_is_inf(_multiply(q, R, Z2)))
