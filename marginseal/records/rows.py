"""Row authority: a source shows, once per commitment, that it holds nothing outside its rows R (protocol section 7).

    Z_off = prod over rows not in R of (X - w^i)      q + b_0 Z_H = u Z_off      z = hash_to_field(digest | R | [u])

The proof is [u] and the opening of C - Z_off(z) [u] to 0 at z: 96 bytes.  R is n/8 bytes, row 8 j + k being bit k
(value 2^k) of byte j; it is read from the source registry, never from the proof.  A source without confinement, or
confined to all rows, makes none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from marginseal.algebra import kzg
from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.curve import Curve
from marginseal.algebra.field import R, hash_to_field, root_of_unity
from marginseal.algebra.srs import SRS
from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.records.opening import Opening
from marginseal.records.statement import POINT_BYTES
from marginseal.transcript import DST_ROWS


@dataclass(frozen=True)
class RowAuthority:
    """[u] and the witness W of the opening, 48 bytes each."""

    u: bytes
    W: bytes

    def encode(self) -> bytes:
        return self.u + self.W

    @classmethod
    def decode(cls, data: bytes) -> RowAuthority:
        """96 bytes; the points are decoded, identity refused, where they are used.  DecodeError rows.length."""
        if len(data) != 2 * POINT_BYTES:
            raise DecodeError("rows.length", f"a row-authority proof is {2 * POINT_BYTES} bytes")
        return cls(data[:POINT_BYTES], data[POINT_BYTES:])


def mask(ranges: Iterable[tuple[int, int]], n: int, tile: int) -> bytes:
    """R of one tile as n/8 bytes, from half-open ranges [start, stop) of the universe's rows."""
    bits = np.zeros(n, dtype=bool)
    for start, stop in ranges:
        bits[max(start - tile * n, 0) : max(stop - tile * n, 0)] = True
    return np.packbits(bits, bitorder="little").tobytes()


def is_full(allowed: bytes) -> bool:
    """Whether R is all rows: then there is nothing to prove."""
    return not allowed.strip(b"\xff")


def prove(opening: Opening, allowed: bytes, message_digest: bytes, key: CommitmentKey) -> RowAuthority | None:
    """The proof, made by the source right after it signed; None if R is all rows.

    n divisions by a linear factor, about n^2 products: once per commitment.  InputError rows.outside."""
    if is_full(allowed):
        return None
    off = _off_points(allowed, opening.n)
    vectors = key.vectors
    p = u = kzg.coefficients(key, opening.q, [opening.b_0])
    bits = np.unpackbits(np.frombuffer(allowed, dtype=np.uint8), bitorder="little").astype(bool)
    if opening.q[~bits].any():
        raise InputError("rows.outside", "a position on a row that the registry does not let this source speak for")
    for point in off:
        u = vectors.divide_linear(u, point)
    u_1 = key.commit_coefficients(u)
    z = _challenge(message_digest, allowed, u_1, opening.n)
    u_z = vectors.scale(vectors.pad(u, vectors.length(p)), _vanishing(off, z))
    _, W = kzg.open_at(key, vectors.sub(p, u_z), z)
    return RowAuthority(u_1, W)


def equation(
    C: bytes, proof: RowAuthority, allowed: bytes, message_digest: bytes, n: int, curve: Curve
) -> kzg.OpeningEquation:
    """The equation of the proof, to be checked alone or in a batch.  DecodeError point.*, ProofRejected rows.point."""
    if len(allowed) != n // 8:
        raise InputError("rows.mask", f"R of {n} rows is {n // 8} bytes")
    z = _challenge(message_digest, allowed, proof.u, n)
    Z_off = _vanishing(_off_points(allowed, n), z)
    shifted = curve.msm([curve.decode_g1(C), curve.decode_g1(proof.u)], [1, -Z_off])
    return kzg.equation_of(shifted, kzg.Opening(C, z, 0, proof.W), curve)


def verify(
    C: bytes, proof: RowAuthority, allowed: bytes, message_digest: bytes, n: int, *, srs: SRS, curve: Curve
) -> None:
    """ProofRejected rows.authority, rows.point; DecodeError point.*."""
    if not kzg.holds([(1, equation(C, proof, allowed, message_digest, n, curve))], srs, curve):
        raise ProofRejected("rows.authority", "the source holds, or may hold, something outside its rows")


def _challenge(message_digest: bytes, allowed: bytes, u: bytes, n: int) -> int:
    z = hash_to_field(message_digest + allowed + u, DST_ROWS)
    if z == 0 or pow(z, n, R) == 1:
        raise ProofRejected("rows.point", "the point of a row-authority proof is 0 or a root of unity")
    return z


def _off_points(allowed: bytes, n: int) -> list[int]:
    """w^i of the rows outside R."""
    w = root_of_unity(n)
    out, point = [], 1
    for i in range(n):
        if not allowed[i // 8] >> (i % 8) & 1:
            out.append(point)
        point = point * w % R
    return out


def _vanishing(points: list[int], z: int) -> int:
    """Z_off(z)."""
    product = 1
    for point in points:
        product = product * (z - point) % R
    return product
