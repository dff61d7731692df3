"""The proof as bytes: the items of section 4 in their order and nothing else, 48 (L + G + 6) + 32 (L + 1) bytes.

`decode` is the only door: exact length, points compressed, on the curve, in the subgroup and not the identity, scalars
below r.  What comes out keeps both the bytes (the transcript absorbs those) and the decoded points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from circuits.circuit import Circuit
from marginseal.algebra.curve import Curve
from marginseal.algebra.field import decode_scalar, scalar_bytes
from marginseal.errors import DecodeError
from verifier.sizes import POINT_BYTES, Q_PIECES, SCALAR_BYTES, Sizes


@dataclass(frozen=True)
class Proof:
    """Points as 48 compressed bytes, scalars as integers below r; `points` holds the decoded points in wire order."""

    limbs: tuple[bytes, ...]
    m: bytes
    h: tuple[bytes, ...]
    phi: bytes
    Q: tuple[bytes, ...]
    c_z: tuple[int, ...]
    phi_wz: int
    W: bytes

    def encode(self) -> bytes:
        scalars = [scalar_bytes(x) for x in (*self.c_z, self.phi_wz)]
        return b"".join([*self.limbs, self.m, *self.h, self.phi, *self.Q, *scalars, self.W])

    @classmethod
    def decode(cls, data: bytes, circuit: Circuit) -> Proof:
        """Exact counts and canonical scalars.  DecodeError proof.length, scalar.*; points are decoded by `points`."""
        sizes = Sizes.of(circuit)
        if len(data) != sizes.proof_bytes:
            raise DecodeError("proof.length", f"a proof of this circuit has {sizes.proof_bytes} bytes")
        at = 0

        def take(length: int) -> bytes:
            nonlocal at
            at += length
            return data[at - length : at]

        limbs = tuple(take(POINT_BYTES) for _ in range(sizes.L))
        m = take(POINT_BYTES)
        h = tuple(take(POINT_BYTES) for _ in range(sizes.G))
        phi = take(POINT_BYTES)
        Q = tuple(take(POINT_BYTES) for _ in range(Q_PIECES))
        c_z = tuple(decode_scalar(take(SCALAR_BYTES)) for _ in range(sizes.L))
        phi_wz = decode_scalar(take(SCALAR_BYTES))
        return cls(limbs, m, h, phi, Q, c_z, phi_wz, take(POINT_BYTES))

    def points(self, curve: Curve) -> Points:
        """DecodeError point.* for anything but canonical points of the prime-order group other than the identity."""

        def g1(data: bytes) -> Any:
            return curve.decode_g1(data)

        return Points(
            [g1(b) for b in self.limbs], g1(self.m), [g1(b) for b in self.h], g1(self.phi),
            [g1(b) for b in self.Q], g1(self.W),
        )  # fmt: skip


@dataclass(frozen=True)
class Points:
    """The proof's commitments as curve points of one backend."""

    limbs: list[Any]
    m: Any
    h: list[Any]
    phi: Any
    Q: list[Any]
    W: Any
