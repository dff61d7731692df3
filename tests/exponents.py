"""The protocol in the exponent: a "curve" whose points are their own logarithms, and powers of a known tau.

Everything that runs on the real curve runs here unchanged, and shows what the real one hides: a commitment is the value
of its polynomial at tau.  For tests of what is determined by what; nothing here is hard."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import cast

from marginseal.algebra.curve import Curve
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.srs import SRS
from marginseal.algebra.vectors import FieldVectors, PythonVectors
from marginseal.errors import DecodeError
from verifier.verify import Setting


class ExponentCurve:
    """The parts of `Curve` that commitments and verification use; G1, G2 and GT are F."""

    name = "exponent"
    generator = 1
    generator_g2 = 1

    def decode_g1(self, data: bytes) -> int:
        x = int.from_bytes(data, "big")
        if len(data) != 48 or not 0 < x < R:
            raise DecodeError("point.malformed", "not an exponent")
        return x

    def encode_g1(self, p: int) -> bytes:
        return (p % R).to_bytes(48, "big")

    def identity(self) -> int:
        return 0

    def is_identity(self, p: int) -> bool:
        return p % R == 0

    def add(self, p: int, q: int) -> int:
        return (p + q) % R

    def neg(self, p: int) -> int:
        return -p % R

    def mul(self, p: int, x: int) -> int:
        return p * x % R

    def msm(self, points: Sequence[int], scalars: Sequence[int]) -> int:
        return sum(p * x for p, x in zip(points, scalars, strict=True)) % R

    def msm_le_bytes(self, points: Sequence[int], scalars: bytes) -> int:
        return self.msm(points, [int.from_bytes(scalars[i : i + 32], "little") for i in range(0, len(scalars), 32)])

    def pairing_check(self, pairs: Sequence[tuple[int, int]]) -> bool:
        return sum(p * q for p, q in pairs) % R == 0


class ExponentSRS:
    """tau^i, and the values of the Lagrange basis at tau."""

    def __init__(self, tau: int, size: int = 4096) -> None:
        self.tau, self.size = tau, size
        self.digest = tau.to_bytes(32, "big")

    def g1(self, curve: Curve) -> list[int]:
        return [pow(self.tau, i, R) for i in range(self.size)]

    def g2(self, curve: Curve) -> tuple[int, int, int]:
        return 1, self.tau, self.tau**2 % R

    def lagrange(self, n: int, curve: Curve) -> list[int]:
        w, Z = root_of_unity(n), pow(self.tau, n, R) - 1
        rows = [pow(w, i, R) for i in range(n)]
        return [x * Z * pow(n * (self.tau - x), -1, R) % R for x in rows]


@cache
def exponent_setting(tau: int, vectors: FieldVectors | None = None) -> Setting:
    """A `Setting` of that tau; one object per tau, kept."""
    return Setting(cast(SRS, ExponentSRS(tau)), cast(Curve, ExponentCurve()), vectors or PythonVectors())
