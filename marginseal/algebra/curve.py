"""The groups of BLS12-381 behind one interface: G1, G2, multi-scalar products, the pairing (protocol sections 2 and 5).

Two backends offer it: `arkworks` (a compiled wheel, the default) and `reference` (py-ecc, plain Python, slow,
independent).  Nothing else in the project imports a curve library.  Points are opaque and belong to the backend that
made them; additive notation; scalars are integers, taken mod r.

Encodings are the compressed ones of the Zcash specification: big-endian x (for G2 the imaginary part first) with three
flags in the top bits.  `decode_g1` and `decode_g2` are the only doors for points that others send, and what is common
to both backends is checked here, once: the length, the flags, the infinity, and that the point encodes back to the very
bytes that came in.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol, TypeAlias

from marginseal.errors import DecodeError

G1: TypeAlias = Any
G2: TypeAlias = Any

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
"""The prime of the base field, 381 bits."""

G1_BYTES = 48
G2_BYTES = 96
G1_AFFINE_BYTES = 96
G2_AFFINE_BYTES = 192

GENERATOR_G1 = bytes.fromhex(
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
)
GENERATOR_G2 = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)
"""The standard generators, compressed (draft-irtf-cfrg-pairing-friendly-curves, section 4.2.1)."""

COMPRESSED, INFINITY, LARGER_Y = 0x80, 0x40, 0x20
"""Flags in the first byte: compressed form; the point at infinity; y is the larger of the two roots."""


class Curve(Protocol):
    """One implementation of G1, G2 and e."""

    name: str
    generator: G1
    generator_g2: G2

    def decode_g1(self, data: bytes) -> G1:
        """A point of G1 other than infinity from its 48 canonical bytes.

        DecodeError point.length, point.infinity (any encoding of it), point.malformed (flags, x >= p),
        point.not-on-curve, point.subgroup."""

    def decode_g2(self, data: bytes) -> G2:
        """A point of G2 other than infinity from its 96 canonical bytes; errors as for `decode_g1`."""

    def encode_g1(self, p: G1) -> bytes:
        """48 bytes, compressed; infinity is c0 00 ... 00."""

    def identity(self) -> G1:
        """The point at infinity of G1."""

    def add(self, p: G1, q: G1) -> G1:
        """p + q."""

    def neg(self, p: G1) -> G1:
        """-p."""

    def mul(self, p: G1, x: int) -> G1:
        """x p."""

    def mul_g2(self, q: G2, x: int) -> G2:
        """x q in G2."""

    def msm(self, points: Sequence[G1], scalars: Sequence[int]) -> G1:
        """sum_i scalars_i points_i, of as many scalars as points (ValueError); of none, the identity."""

    def msm_le_bytes(self, points: Sequence[G1], scalars: bytes) -> G1:
        """`msm` of canonical scalars, 32 bytes little-endian each."""

    def is_identity(self, p: G1) -> bool:
        """Whether p is the point at infinity."""

    def pairing_check(self, pairs: Sequence[tuple[G1, G2]]) -> bool:
        """Whether the product of all e(p, q) is 1."""

    def hash_to_g1(self, msg: bytes, dst: bytes) -> G1:
        """RFC 9380, suite BLS12381G1_XMD:SHA-256_SSWU_RO_: a point whose logarithm nobody knows."""

    def load_g1(self, affine: bytes) -> list[G1]:
        """Points from x | y, 48 bytes big-endian each.  For data pinned by a digest: on the curve is checked
        (DecodeError point.not-on-curve, point.infinity, point.length), the subgroup is not."""

    def dump_g1(self, points: Sequence[G1]) -> bytes:
        """The inverse of `load_g1`; none of the points may be the identity (ValueError)."""

    def load_g2(self, affine: bytes) -> list[G2]:
        """Points from x.c0 | x.c1 | y.c0 | y.c1, 48 bytes big-endian each; as `load_g1`."""

    def dump_g2(self, points: Sequence[G2]) -> bytes:
        """The inverse of `load_g2`."""

    def in_subgroup_g1(self, p: G1) -> bool:
        """Whether p, a point of the curve, has an order that divides r."""

    def in_subgroup_g2(self, q: G2) -> bool:
        """The same on the twist."""


def check_flags(data: bytes, size: int) -> None:
    """What can be refused before any arithmetic: length, flags, infinity, coordinates at or above p.

    DecodeError point.length, point.infinity, point.malformed."""
    if len(data) != size:
        raise DecodeError("point.length", f"a point of this group is {size} bytes, not {len(data)}")
    if data[0] & INFINITY:
        raise DecodeError("point.infinity", "the point at infinity is not allowed here")
    if not data[0] & COMPRESSED:
        raise DecodeError("point.malformed", "only the compressed form is allowed")
    first = bytes([data[0] & 0x1F]) + data[1:G1_BYTES]
    for coordinate in (first, data[G1_BYTES:]):
        if int.from_bytes(coordinate, "big") >= P:
            raise DecodeError("point.malformed", "a coordinate at or above the field prime")


def check_round_trip(data: bytes, encoded: bytes) -> None:
    """encode(decode(b)) == b.  DecodeError point.malformed."""
    if encoded != data:
        raise DecodeError("point.malformed", "not the canonical encoding of its point")


def compress_g1(affine: bytes) -> bytes:
    """The 48 compressed bytes of a point given as x | y, 48 bytes big-endian each; not the identity."""
    flags = COMPRESSED | (LARGER_Y if int.from_bytes(affine[48:], "big") > P // 2 else 0)
    return bytes([affine[0] | flags]) + affine[1:48]


def compress_g2(affine: bytes) -> bytes:
    """The 96 compressed bytes of a point given as x.c0 | x.c1 | y.c0 | y.c1; y is ordered by c1, then c0."""
    x_0, x_1, y_0, y_1 = (affine[i : i + 48] for i in range(0, G2_AFFINE_BYTES, 48))
    leading = int.from_bytes(y_1, "big") or int.from_bytes(y_0, "big")
    flags = COMPRESSED | (LARGER_Y if leading > P // 2 else 0)
    return bytes([x_1[0] | flags]) + x_1[1:] + x_0


@cache
def _arkworks() -> Curve:
    from marginseal.algebra.curve_arkworks import ArkworksCurve

    return ArkworksCurve()


@cache
def _reference() -> Curve:
    # py-ecc raises the interpreter's recursion limit a hundredfold when it is imported, for all the process; with that
    # a deeply nested document overflows the stack of the JSON parser instead of being refused.
    limit = sys.getrecursionlimit()
    from marginseal.algebra.curve_reference import ReferenceCurve

    sys.setrecursionlimit(limit)
    return ReferenceCurve()


_BACKENDS: dict[str, Callable[[], Curve]] = {"arkworks": _arkworks, "reference": _reference}


def backend(name: str = "arkworks") -> Curve:
    """The backend of that name, one object per process.  ValueError for a name that is none."""
    if name not in _BACKENDS:
        raise ValueError(f"no curve backend {name!r}: one of {', '.join(_BACKENDS)}")
    return _BACKENDS[name]()
