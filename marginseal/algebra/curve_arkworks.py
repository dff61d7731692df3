"""The curve by the `py_arkworks_bls12381` wheel: the backend everything runs on.

The wheel decodes several byte strings to infinity and silently drops the surplus of a multi-scalar product whose sides
differ in length; both are refused here.  Its products run on one thread and hold the interpreter's lock.  A product of
small scalars is several times faster than one of full-size scalars, so callers keep small numbers small: r - 1 is not.
"""

from __future__ import annotations

from collections.abc import Sequence

from py_arkworks_bls12381 import GT, G1Point, G2Point, Scalar

from marginseal.algebra.curve import (
    G1,
    G1_AFFINE_BYTES,
    G1_BYTES,
    G2,
    G2_AFFINE_BYTES,
    G2_BYTES,
    GENERATOR_G1,
    GENERATOR_G2,
    check_flags,
    check_round_trip,
)
from marginseal.algebra.field import R
from marginseal.errors import DecodeError


def _scalar(x: int) -> Scalar:
    # By bytes: the constructor from an integer is 20 times slower.
    return Scalar.from_le_bytes((x % R).to_bytes(32, "little"))


class ArkworksCurve:
    """`Curve` on `G1Point` and `G2Point`."""

    name = "arkworks"

    def __init__(self) -> None:
        self.generator: G1 = G1Point.from_compressed_bytes(GENERATOR_G1)
        self.generator_g2: G2 = G2Point.from_compressed_bytes(GENERATOR_G2)

    def decode_g1(self, data: bytes) -> G1:
        check_flags(data, G1_BYTES)
        try:
            # "unchecked" leaves out the subgroup alone: a compressed point that is not on the curve has no y.
            p = G1Point.from_compressed_bytes_unchecked(data)
        except ValueError:
            raise DecodeError("point.not-on-curve", "no point of the curve has this coordinate") from None
        if not p.is_in_subgroup():
            raise DecodeError("point.subgroup", "a point of the curve outside the group of order r")
        check_round_trip(data, self.encode_g1(p))
        return p

    def decode_g2(self, data: bytes) -> G2:
        check_flags(data, G2_BYTES)
        try:
            q = G2Point.from_compressed_bytes_unchecked(data)
        except ValueError:
            raise DecodeError("point.not-on-curve", "no point of the twist has this coordinate") from None
        if not q.is_in_subgroup():
            raise DecodeError("point.subgroup", "a point of the twist outside the group of order r")
        check_round_trip(data, bytes(q.to_compressed_bytes()))
        return q

    def encode_g1(self, p: G1) -> bytes:
        return bytes(p.to_compressed_bytes())

    def identity(self) -> G1:
        return G1Point.identity()

    def add(self, p: G1, q: G1) -> G1:
        return p + q

    def neg(self, p: G1) -> G1:
        return -p

    def mul(self, p: G1, x: int) -> G1:
        return p * _scalar(x)

    def mul_g2(self, q: G2, x: int) -> G2:
        return q * _scalar(x)

    def msm(self, points: Sequence[G1], scalars: Sequence[int]) -> G1:
        if len(points) != len(scalars):
            raise ValueError(f"{len(points)} points and {len(scalars)} scalars")
        return G1Point.multiexp_unchecked(list(points), [_scalar(x) for x in scalars])

    def msm_le_bytes(self, points: Sequence[G1], scalars: bytes) -> G1:
        if 32 * len(points) != len(scalars):
            raise ValueError(f"{len(points)} points and {len(scalars)} bytes of scalars")
        from_le_bytes = Scalar.from_le_bytes
        return G1Point.multiexp_unchecked(
            list(points), [from_le_bytes(scalars[i : i + 32]) for i in range(0, len(scalars), 32)]
        )

    def is_identity(self, p: G1) -> bool:
        return bool(p == G1Point.identity())

    def pairing_check(self, pairs: Sequence[tuple[G1, G2]]) -> bool:
        return bool(GT.pairing_check([p for p, _ in pairs], [q for _, q in pairs]))

    def hash_to_g1(self, msg: bytes, dst: bytes) -> G1:
        return G1Point.hash_to_curve(msg, dst)

    def load_g1(self, affine: bytes) -> list[G1]:
        if len(affine) % G1_AFFINE_BYTES:
            raise DecodeError("point.length", f"affine points are {G1_AFFINE_BYTES} bytes each")
        chunks = [affine[i : i + G1_AFFINE_BYTES] for i in range(0, len(affine), G1_AFFINE_BYTES)]
        if bytes(G1_AFFINE_BYTES) in chunks:
            raise DecodeError("point.infinity", "zeros stand for the point at infinity")
        try:
            return [G1Point.from_xy_bytes_unchecked_be(chunk) for chunk in chunks]
        except ValueError:
            raise DecodeError("point.not-on-curve", "coordinates that are no point of the curve") from None

    def dump_g1(self, points: Sequence[G1]) -> bytes:
        if any(self.is_identity(p) for p in points):
            raise ValueError("the identity has no coordinates")
        return b"".join([p.to_xy_bytes_be() for p in points])

    def load_g2(self, affine: bytes) -> list[G2]:
        if len(affine) % G2_AFFINE_BYTES:
            raise DecodeError("point.length", f"affine points are {G2_AFFINE_BYTES} bytes each")
        chunks = [affine[i : i + G2_AFFINE_BYTES] for i in range(0, len(affine), G2_AFFINE_BYTES)]
        if bytes(G2_AFFINE_BYTES) in chunks:
            raise DecodeError("point.infinity", "zeros stand for the point at infinity")
        try:
            return [G2Point.from_xy_bytes_unchecked_be(chunk) for chunk in chunks]
        except ValueError:
            raise DecodeError("point.not-on-curve", "coordinates that are no point of the twist") from None

    def dump_g2(self, points: Sequence[G2]) -> bytes:
        if any(q == G2Point.identity() for q in points):
            raise ValueError("the identity has no coordinates")
        return b"".join([q.to_xy_bytes_be() for q in points])

    def in_subgroup_g1(self, p: G1) -> bool:
        return bool(p.is_in_subgroup())

    def in_subgroup_g2(self, q: G2) -> bool:
        return bool(q.is_in_subgroup())
