"""The structured reference string: powers of a tau nobody knows (protocol section 2).

`ceremony()` loads the 4096 powers of Ethereum's KZG ceremony shipped in `marginseal/data`, whose SHA-256 is pinned
here; PROVENANCE.md beside them says where they come from.  `SRS.lagrange(n)` is the same string in the basis of the L_i
over H, computed by an inverse transform in the group, once, and kept in a user's cache directory.  What is read back
from there is used only if its SHA-256 is the pinned one, so a damaged or planted file costs time and nothing else.
Commitments are `commit.py`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import resources
from pathlib import Path

from marginseal.algebra.curve import (
    G1,
    G1_AFFINE_BYTES,
    G2,
    G2_AFFINE_BYTES,
    Curve,
    compress_g1,
    compress_g2,
)
from marginseal.algebra.field import R, inverse, root_of_unity
from marginseal.errors import InputError, StorageError
from marginseal.files import read_bytes, write_atomic

D = 4096
"""Number of powers [tau^i]_1; no committed polynomial has more coefficients."""

G2_POWERS = 3

MIN_N, MAX_N = 8, 2048
"""Bounds of the number of rows n, a power of two (protocol section 2)."""

CEREMONY_FILE = "kzg_ceremony.bin"
CEREMONY_SHA256 = "b9df0d7139d8d62c9e22304e18f78bdd4d34927e803f7e0c0a3d6dee34d86859"
CEREMONY_DIGEST = bytes.fromhex("30b4731aa71c693603699329a5cee62679a2cb03e1b31d62b887a9bd63b8c2b5")
"""`SRS.digest` of the ceremony's powers: what statements and verifiers pin."""

CACHE_VARIABLE = "MARGINSEAL_CACHE"

_DIGEST_LABEL = b"MARGINSEAL-V1-SRS"
_LAGRANGE_SHA256 = {
    8: "979f844cf0806e325ccfdd7fc94832a901c9c7dbe5f01148f224bfde1d602614",
    16: "6e3672d0b1df6206aa4191a2330059a213fc9a7959bd2889e1a4901a8421718f",
    32: "07ebbd8024ebee2df00be9ed24fbe6aa982de03aa35a44368c2c594630fd96d9",
    64: "494b340b17690f64ee36b1d2a6287f1968b38fb945e5ca6156787433b4f49bee",
    128: "1dcfbf1b12cbe4c6635248ba21b52f1f8474181b50acba5c53860f43472c598e",
    256: "8063980e9df9faf9044184d4c7300faa4f76828e1777207a465b9ecea749db7e",
    512: "07e94a3ccc32e51e2b27e9205e95d26d5f2682e2b98c1951d433a892d9cd8a27",
    1024: "dad8aa1de67e48b0142ce5ce173bd68d8cae1468ad392f0750e3813042887915",
    2048: "aea576222f45c6a2780f45b3ef213c04f576a26e9006b7962618d0371ea4b138",
}


@dataclass(frozen=True, eq=False)
class SRS:
    """[tau^i]_1 for i < D, and [1]_2, [tau]_2, [tau^2]_2, as affine bytes (`Curve.load_g1`, `Curve.load_g2`).

    D is 4096 but in tests.  The bytes are trusted: `ceremony()` pins them, `check_srs` checks them."""

    g1_affine: bytes = field(repr=False)
    g2_affine: bytes = field(repr=False)
    _points: dict[tuple[str, str, int], list[G1]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.g1_affine or len(self.g1_affine) % G1_AFFINE_BYTES:
            raise InputError("srs.length", f"powers in G1 are {G1_AFFINE_BYTES} bytes each")
        if len(self.g2_affine) != G2_POWERS * G2_AFFINE_BYTES:
            raise InputError("srs.length", f"{G2_POWERS} powers in G2 are {G2_AFFINE_BYTES} bytes each")

    @property
    def size(self) -> int:
        """D."""
        return len(self.g1_affine) // G1_AFFINE_BYTES

    @cached_property
    def digest(self) -> bytes:
        """SHA-256(label | D | the D powers in G1 | 3 | the 3 powers in G2): numbers 8 bytes, points compressed."""
        h = hashlib.sha256(_DIGEST_LABEL)
        h.update(self.size.to_bytes(8, "big"))
        for i in range(0, len(self.g1_affine), G1_AFFINE_BYTES):
            h.update(compress_g1(self.g1_affine[i : i + G1_AFFINE_BYTES]))
        h.update(G2_POWERS.to_bytes(8, "big"))
        for i in range(0, len(self.g2_affine), G2_AFFINE_BYTES):
            h.update(compress_g2(self.g2_affine[i : i + G2_AFFINE_BYTES]))
        return h.digest()

    def g1(self, curve: Curve) -> list[G1]:
        """[tau^i]_1, i < D.  Shared: not to be changed."""
        key = (curve.name, "powers", self.size)
        if key not in self._points:
            self._points[key] = curve.load_g1(self.g1_affine)
        return self._points[key]

    def g2(self, curve: Curve) -> tuple[G2, G2, G2]:
        """[1]_2, [tau]_2, [tau^2]_2."""
        one, tau, tau_squared = curve.load_g2(self.g2_affine)
        return one, tau, tau_squared

    def lagrange(self, n: int, curve: Curve) -> list[G1]:
        """[L_i(tau)]_1, i < n: commitments to the polynomials that are 1 at w^i and 0 elsewhere on H.

        n a power of two, 8 <= n <= min(2048, D) (ValueError).  Shared: not to be changed.  About 2 s at 2048 when it
        has to be computed, 2 ms from the cache directory."""
        key = (curve.name, "lagrange", n)
        if key not in self._points:
            self._points[key] = curve.load_g1(self.lagrange_affine(n, curve))
        return self._points[key]

    def lagrange_affine(self, n: int, curve: Curve, *, compiled: bool = False) -> bytes:
        """`lagrange(n, curve)` as affine bytes, from the cache directory if it has them.

        compiled: computed, where need be, by `numba_lagrange.py`, eight times faster."""
        if n & (n - 1) or not MIN_N <= n <= min(MAX_N, self.size):
            raise ValueError(f"no Lagrange basis of {n} rows")
        pinned = _LAGRANGE_SHA256.get(n) if self.digest == CEREMONY_DIGEST else None
        path = _cache_path(n) if pinned else None
        if path is not None:
            try:
                data = read_bytes(path, limit=n * G1_AFFINE_BYTES, what="Lagrange basis")
            except InputError:
                data = b""  # not there, or nothing that could be it
            if hashlib.sha256(data).hexdigest() == pinned:
                return data
        if compiled:
            from marginseal.algebra.numba_lagrange import lagrange_basis

            data = lagrange_basis(self.g1_affine, n)
        else:
            data = curve.dump_g1(_inverse_transform(self.g1(curve)[:n], curve))
        if pinned is not None and hashlib.sha256(data).hexdigest() != pinned:
            raise StorageError("srs.lagrange", f"the Lagrange basis of {n} rows does not come out as published")
        if path is not None:
            # A cache that cannot be written is computed again next time.
            with suppress(InputError):
                write_atomic(path, data)
        return data


def _inverse_transform(powers: list[G1], curve: Curve) -> list[G1]:
    """(1/n) sum_j w^(-ij) powers_j, i < n, with about (n/2) log2(n/4) products by scalars.

    The factor 1/n rides on the first output of every level, where the root is 1, and costs log2 n products, not n."""

    def transform(points: list[G1], factor: int) -> list[G1]:
        n = len(points)
        if n == 1:
            return points if factor == 1 else [curve.mul(points[0], factor)]
        even, odd = transform(points[::2], factor), transform(points[1::2], 1)
        w_inverse = inverse(root_of_unity(n))
        turned = []
        turn = factor
        for p in odd:
            turned.append(p if turn == 1 else curve.mul(p, turn))
            turn = turn * w_inverse % R
        sums = [curve.add(p, q) for p, q in zip(even, turned, strict=True)]
        differences = [curve.add(p, curve.neg(q)) for p, q in zip(even, turned, strict=True)]
        return sums + differences

    return transform(powers, inverse(len(powers)))


def _cache_path(n: int) -> Path | None:
    """Where the ceremony's basis for n rows is kept.

    In $MARGINSEAL_CACHE, else $XDG_CACHE_HOME/marginseal, else ~/.cache/marginseal."""
    name = f"lagrange-{CEREMONY_DIGEST.hex()[:16]}-{n}.bin"
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder) / name
    if folder := os.environ.get("XDG_CACHE_HOME"):
        return Path(folder) / "marginseal" / name
    try:
        return Path.home() / ".cache" / "marginseal" / name
    except RuntimeError:
        return None  # an account without a home directory


@cache
def ceremony() -> SRS:
    """The powers of Ethereum's KZG ceremony (2023), one object per process.  StorageError srs.damaged."""
    data = resources.files("marginseal").joinpath("data", CEREMONY_FILE).read_bytes()
    if hashlib.sha256(data).hexdigest() != CEREMONY_SHA256:
        raise StorageError("srs.damaged", "the powers shipped with the package are not the ceremony's")
    return SRS(data[: D * G1_AFFINE_BYTES], data[D * G1_AFFINE_BYTES :])


def check_srs(srs: SRS, curve: Curve, entropy: Callable[[int], bytes] = secrets.token_bytes) -> None:
    """Whether the powers are powers of one tau, from the points alone.

    Every point is in its subgroup; tau^0 is the generator of either group;
    e(sum r_i [tau^(i+1)]_1, [1]_2) = e(sum r_i [tau^i]_1, [tau]_2) for fresh r_i of 128 bits;
    e([tau]_1, [tau]_2) = e([1]_1, [tau^2]_2); tau is not 0, as no point is the identity, and no root of unity of order
    up to 2048, where Z_H would vanish and hide nothing.  Takes 0.5 s.
    Says nothing about who knows tau.  InputError srs.subgroup, srs.generator, srs.inconsistent, srs.trivial."""
    powers = srs.g1(curve)
    one_2, tau_2, tau_squared_2 = srs.g2(curve)
    if not all(map(curve.in_subgroup_g1, powers)) or not all(map(curve.in_subgroup_g2, srs.g2(curve))):
        raise InputError("srs.subgroup", "a point outside the group of order r")
    starts = curve.dump_g1([curve.generator]), curve.dump_g2([curve.generator_g2])
    if (srs.g1_affine[:G1_AFFINE_BYTES], srs.g2_affine[:G2_AFFINE_BYTES]) != starts:
        raise InputError("srs.generator", "the first power is not the generator")
    weights = [int.from_bytes(entropy(16), "big") for _ in powers[1:]]
    higher, lower = curve.msm(powers[1:], weights), curve.msm(powers[:-1], weights)
    if not curve.pairing_check([(higher, one_2), (curve.neg(lower), tau_2)]):
        raise InputError("srs.inconsistent", "the points of G1 are not successive powers")
    if not curve.pairing_check([(powers[1], tau_2), (curve.neg(powers[0]), tau_squared_2)]):
        raise InputError("srs.inconsistent", "the points of G2 are not successive powers")
    if curve.is_identity(curve.add(powers[min(MAX_N, srs.size // 2)], curve.neg(powers[0]))):
        raise InputError("srs.trivial", "tau is a root of unity")
