"""KZG commitments of columns, with blinders (protocol section 2).

A column of n values is the polynomial that takes them on H; a hiding one adds (b_0 + b_1 X + ...) Z_H(X).  Its
commitment is a multi-scalar product with the Lagrange basis, fast when the values are small integers, plus one term
[tau^(n+k)]_1 - [tau^k]_1 for each blinder.  Quotients are committed from their coefficients.  Openings and pairings
belong to the verifier; drawing the blinders belongs to the prover.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.curve import G1, Curve, backend
from marginseal.algebra.srs import SRS, ceremony
from marginseal.algebra.vectors import FieldVectors, Vector, default_vectors
from marginseal.errors import RangeError

SMALL_BOUND = 2**62
"""Values committed as small integers stay below this in absolute value, as lots do (protocol section 3)."""


@dataclass(frozen=True)
class Small:
    """A column of small signed integers on H: limbs, multiplicities, lots, pledges.  int64 (n,), |value| < 2^62."""

    values: NDArray[np.int64]
    blinders: Sequence[int] = ()


@dataclass(frozen=True)
class Values:
    """A column of n field elements on H: helpers, the running sum."""

    values: Vector
    blinders: Sequence[int] = ()


@dataclass(frozen=True)
class Coefficients:
    """A polynomial by its coefficients, lowest first, at most D of them: quotient pieces, opening witnesses."""

    coeffs: Vector
    blinders: Sequence[int] = ()


Job: TypeAlias = Small | Values | Coefficients


class CommitmentKey:
    """Commitments over the n-th roots of unity; made by `commitment_key`.  Every result is 48 compressed bytes."""

    def __init__(self, n: int, srs: SRS, vectors: FieldVectors, curve: Curve, workers: int) -> None:
        self.n = n
        self.srs = srs
        self.vectors = vectors
        self.curve = curve
        self.workers = workers
        self._powers = srs.g1(curve)
        self._lagrange = srs.lagrange(n, curve)

    def commit_small(self, values: NDArray[np.int64], blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p(w^i) = values_i.  RangeError commit.small for a value of 2^62 or more."""
        return self._encode(self._small(values), blinders)

    def commit_values(self, values: Vector, blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p(w^i) = values_i in F."""
        if self.vectors.length(values) != self.n:
            raise ValueError(f"a column has {self.n} values, not {self.vectors.length(values)}")
        return self._encode(self.curve.msm_le_bytes(self._lagrange, self.vectors.to_le_bytes(values)), blinders)

    def commit_coefficients(self, coeffs: Vector, blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p = sum_j coeffs_j X^j of at most D coefficients (ValueError)."""
        count = self.vectors.length(coeffs)
        if count > self.srs.size:
            raise ValueError(f"{count} coefficients, and {self.srs.size} powers")
        return self._encode(self.curve.msm_le_bytes(self._powers[:count], self.vectors.to_le_bytes(coeffs)), blinders)

    def commit_many(self, jobs: Sequence[Job]) -> list[bytes]:
        """The commitments of the jobs, in their order."""
        return [self._commit(job) for job in jobs]

    def _commit(self, job: Job) -> bytes:
        match job:
            case Small(values, blinders):
                return self.commit_small(values, blinders)
            case Values(values, blinders):
                return self.commit_values(values, blinders)
            case Coefficients(coeffs, blinders):
                return self.commit_coefficients(coeffs, blinders)

    def _small(self, values: NDArray[np.int64]) -> G1:
        if values.shape != (self.n,) or values.dtype != np.int64:
            raise ValueError(f"a column is int64 ({self.n},)")
        # By comparison, not by abs: int64 has a negative with no positive.
        if ((values <= -SMALL_BOUND) | (values >= SMALL_BOUND)).any():
            raise RangeError("commit.small", "a value of 2^62 or more in a column of small integers")
        points = self._lagrange
        negative = values < 0
        if negative.any():
            # r - x would be full size and cost the speed; the sign goes to the point instead.
            neg = self.curve.neg
            points = [neg(p) if sign else p for p, sign in zip(points, negative.tolist(), strict=True)]
        scalars = np.zeros((self.n, 4), dtype="<u8")
        scalars[:, 0] = np.abs(values)
        return self.curve.msm_le_bytes(points, scalars.tobytes())

    def _encode(self, p: G1, blinders: Sequence[int]) -> bytes:
        """p + sum_k b_k ([tau^(n+k)] - [tau^k]), encoded.  A product apart: small scalars stay among themselves."""
        curve, count = self.curve, len(blinders)
        if self.n + count > self.srs.size:
            raise ValueError(f"{count} blinders at {self.n} rows, and {self.srs.size} powers")
        if count:
            points = self._powers[self.n : self.n + count] + self._powers[:count]
            p = curve.add(p, curve.msm(points, [*blinders, *(-b for b in blinders)]))
        return curve.encode_g1(p)


_keys: dict[tuple[int, int, str, str, int], CommitmentKey] = {}


def commitment_key(
    n: int,
    srs: SRS | None = None,
    vectors: FieldVectors | None = None,
    workers: int = 1,
    curve: Curve | None = None,
) -> CommitmentKey:
    """The key for n rows, one object for each set of arguments.

    n a power of two, 8 <= n <= 2048 (ValueError); defaults: the ceremony, the fastest vectors, the compiled curve.
    workers: threads for `commit_many`, where the product releases the interpreter's lock."""
    srs, vectors, curve = srs or ceremony(), vectors or default_vectors(), curve or backend()
    arguments = (n, id(srs), vectors.name, curve.name, workers)  # the key keeps its string alive, so the id stays its
    if arguments not in _keys:
        _keys[arguments] = CommitmentKey(n, srs, vectors, curve, workers)
    return _keys[arguments]
