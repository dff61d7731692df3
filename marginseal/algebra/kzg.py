"""Openings of one commitment at one point (protocol sections 7 and 8): venues' rows, auditors' rows, row authority.

    p(z) = v   is shown by   W = [(p - v)/(X - z)]   and checked by   e(W, [tau]) e(-(C - v [1] + z W), [1]) = 1

An opening is data: `equation` gives the two points of its check, so that a batch can weigh many of them, and the
openings of proofs, into one product of pairings.  Opening at a point of H costs no blinder; a signed commitment is
opened outside H for row authority alone, whose value is 0 by construction.  Who may see which row is left to the
records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.curve import G1, Curve
from marginseal.algebra.field import R, root_of_unity
from marginseal.algebra.srs import SRS
from marginseal.algebra.vectors import Vector


@dataclass(frozen=True)
class Opening:
    """The claim p(z) = value about the polynomial behind a commitment, with its witness.  C, W: 48 bytes."""

    C: bytes
    z: int
    value: int
    W: bytes


@dataclass(frozen=True)
class OpeningEquation:
    """e(W, [tau]) e(B, [1]) = 1."""

    W: G1
    B: G1


def equation(opening: Opening, curve: Curve) -> OpeningEquation:
    """(W, -(C - v [1] + z W)).  DecodeError point.* unless C and W are canonical points other than the identity."""
    return equation_of(curve.decode_g1(opening.C), opening, curve)


def equation_of(C: G1, opening: Opening, curve: Curve) -> OpeningEquation:
    """`equation` of a commitment that was put together from points: `opening.C` is not looked at."""
    W = curve.decode_g1(opening.W)
    return OpeningEquation(W, curve.msm([C, curve.generator, W], [-1, opening.value, -opening.z]))


def holds(equations: Iterable[tuple[int, OpeningEquation]], srs: SRS, curve: Curve) -> bool:
    """Whether the weighted equations hold: one product of two pairings for any number of them.

    One equation takes weight 1; several need fresh weights in 1..2^128-1, drawn after all of them are fixed."""
    weighted = list(equations)
    weights = [weight for weight, _ in weighted]
    W = curve.msm([eq.W for _, eq in weighted], weights)
    B = curve.msm([eq.B for _, eq in weighted], weights)
    one_2, tau_2, _ = srs.g2(curve)
    return curve.pairing_check([(W, tau_2), (B, one_2)])


def verify_opening(opening: Opening, srs: SRS, curve: Curve) -> bool:
    """Whether one opening holds.  DecodeError point.*."""
    return holds([(1, equation(opening, curve))], srs, curve)


def coefficients(key: CommitmentKey, values: NDArray[np.int64], blinders: Sequence[int] = ()) -> Vector:
    """The coefficients, lowest first, of p + (b_0 + b_1 X + ...) Z_H with p(w^i) = values_i;  int64 (n,)."""
    v = key.vectors
    low = [-b for b in blinders] + [0] * (key.n - len(blinders))
    p = v.add(v.intt(v.from_int64(values)), v.from_ints(low))
    return v.concat([p, v.from_ints(blinders)])


def open_at(key: CommitmentKey, coeffs: Vector, z: int) -> tuple[int, bytes]:
    """(p(z), W) of a polynomial that is not constant."""
    value = key.vectors.evaluate(coeffs, z)
    return value, key.commit_coefficients(key.vectors.divide_linear(coeffs, z))


def open_row(key: CommitmentKey, values: NDArray[np.int64], blinders: Sequence[int], row: int) -> bytes:
    """W for p(w^row) = values[row] at a point of H.  ValueError for a row outside 0..n-1."""
    if not 0 <= row < key.n:
        raise ValueError(f"no row {row} among {key.n}")
    return open_at(key, coefficients(key, values, blinders), pow(root_of_unity(key.n), row, R))[1]


def row_opening(n: int, C: bytes, row: int, value: int, W: bytes) -> Opening:
    """The claim p(w^row) = value, value a signed integer.  ValueError for a row outside 0..n-1."""
    if not 0 <= row < n:
        raise ValueError(f"no row {row} among {n}")
    return Opening(C, pow(root_of_unity(n), row, R), value % R, W)
