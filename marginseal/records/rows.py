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
from numpy.typing import NDArray

from marginseal.algebra import field, kzg
from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.curve import Curve
from marginseal.algebra.field import R, hash_to_field, root_of_unity
from marginseal.algebra.srs import SRS
from marginseal.algebra.vectors import Vector
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
    """The proof, made by the source right after it signed; None if R is all rows.  InputError rows.outside.

    At most about n^2/2 products, once per commitment; few if R is small, or nearly all rows."""
    if is_full(allowed):
        return None
    inside = _rows(allowed)
    if opening.q[~inside].any():
        raise InputError("rows.outside", "a position on a row that the registry does not let this source speak for")
    u = (_by_fractions if 3 * int(inside.sum()) <= opening.n else _by_division)(opening, inside, key)
    u_1 = key.commit_coefficients(u)
    z = _challenge(message_digest, allowed, u_1, opening.n)
    v = key.vectors
    p = kzg.coefficients(key, opening.q, [opening.b_0])
    shifted = v.sub(p, v.scale(v.pad(u, v.length(p)), _vanishing(_off_points(allowed, opening.n), z)))
    return RowAuthority(u_1, kzg.open_at(key, shifted, z)[1])


def _by_division(opening: Opening, inside: NDArray[np.bool_], key: CommitmentKey) -> Vector:
    """The coefficients of u = (q + b_0 Z_H)/Z_off, one linear factor after the other."""
    u = kzg.coefficients(key, opening.q, [opening.b_0])
    w = root_of_unity(opening.n)
    for i in np.flatnonzero(~inside):
        u = key.vectors.divide_linear(u, pow(w, int(i), R))
    return u


def _by_fractions(opening: Opening, inside: NDArray[np.bool_], key: CommitmentKey) -> Vector:
    """The same.  By Lagrange's formula q + b_0 Z_H = Z_H (b_0 + sum_i q_i w^i / (n (X - w^i))), so u is the numerator

    of   b_0 + sum over R of q_i w^i / (n (X - w^i))   over   prod over R of (X - w^i),

    built fraction by fraction: rows outside R have q_i = 0, and their factors are Z_off."""
    v = key.vectors
    w, of_n = root_of_unity(opening.n), field.inverse(opening.n)
    numerator, denominator = v.from_ints([opening.b_0]), v.from_ints([1])
    zero = v.zeros(1)
    for i in np.flatnonzero(inside):
        point = pow(w, int(i), R)
        residue = int(opening.q[i]) * point * of_n
        lifted = v.concat([denominator, zero])
        numerator = v.sub(v.concat([zero, numerator]), v.scale(v.concat([numerator, zero]), point))
        numerator = v.add(numerator, v.scale(lifted, residue))
        denominator = v.sub(v.concat([zero, denominator]), v.scale(lifted, point))
    return numerator


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


def _rows(allowed: bytes) -> NDArray[np.bool_]:
    """Which rows R has: bool (n,)."""
    return np.unpackbits(np.frombuffer(allowed, dtype=np.uint8), bitorder="little").astype(bool)


def _off_points(allowed: bytes, n: int) -> list[int]:
    """w^i of the rows outside R."""
    w = root_of_unity(n)
    out, point = [], 1
    for inside in _rows(allowed).tolist():
        if not inside:
            out.append(point)
        point = point * w % R
    return out


def _vanishing(points: list[int], z: int) -> int:
    """Z_off(z)."""
    product = 1
    for point in points:
        product = product * (z - point) % R
    return product
