"""KZG commitments of columns, with blinders (protocol section 2).

A column of n values is the polynomial that takes them on H; a hiding one adds (b_0 + b_1 X + ...) Z_H(X).  Its
commitment is a multi-scalar product with the Lagrange basis, fast when the values are small integers, extended by
[tau^(n+k)]_1 - [tau^k]_1 for the blinders.  Quotients are committed from their coefficients.  Openings are `kzg.py`;
drawing the blinders belongs to the prover.

The products go through compiled tables (`msm_numba.py`) where the vectors are compiled ones, through the curve library
otherwise; the bytes are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.basis import Basis, CurveBasis
from marginseal.algebra.curve import Curve, backend
from marginseal.algebra.field import SCALAR_BYTES, R
from marginseal.algebra.srs import SRS, ceremony
from marginseal.algebra.vectors import FieldVectors, Vector, default_vectors
from marginseal.errors import RangeError

SMALL_BOUND = 2**62
"""Values committed as small integers stay below this in absolute value, as lots do (protocol section 3)."""

MAX_BLINDERS = 4
"""More than any column has: phi has 3 (protocol section 2)."""


@dataclass(frozen=True)
class Small:
    """A column of small signed integers on H: limbs, multiplicities, lots, pledges.  int64 (n,), |value| < 2^62."""

    values: NDArray[np.int64] = field(repr=False)
    blinders: Sequence[int] = field(default=(), repr=False)


@dataclass(frozen=True)
class Values:
    """A column of n field elements on H: helpers, the running sum."""

    values: Vector = field(repr=False)
    blinders: Sequence[int] = field(default=(), repr=False)


@dataclass(frozen=True)
class Coefficients:
    """A polynomial by its coefficients, lowest first, at most D of them: quotient pieces, opening witnesses."""

    coeffs: Vector = field(repr=False)
    blinders: Sequence[int] = field(default=(), repr=False)


Job: TypeAlias = Small | Values | Coefficients


class CommitmentKey:
    """Commitments over the n-th roots of unity; made by `commitment_key`.  Every result is 48 compressed bytes."""

    def __init__(self, n: int, srs: SRS, vectors: FieldVectors, curve: Curve, workers: int) -> None:
        self.n = n
        self.srs = srs
        self.vectors = vectors
        self.curve = curve
        self.workers = workers
        self._max_blinders = min(MAX_BLINDERS, srs.size - n)
        self._columns = self._basis("columns", n)

    def commit_small(self, values: NDArray[np.int64], blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p(w^i) = values_i.  RangeError commit.small for a value of 2^62 or more."""
        if values.shape != (self.n,) or values.dtype != np.int64:
            raise ValueError(f"a column is int64 ({self.n},)")
        # By comparison, not by abs: int64 has a negative with no positive.
        if ((values <= -SMALL_BOUND) | (values >= SMALL_BOUND)).any():
            raise RangeError("commit.small", "a value of 2^62 or more in a column of small integers")
        return self._columns.msm_small(values, self._tail(blinders))

    def commit_values(self, values: Vector, blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p(w^i) = values_i in F."""
        if self.vectors.length(values) != self.n:
            raise ValueError(f"a column has {self.n} values, not {self.vectors.length(values)}")
        return self._columns.msm(self.vectors.to_le_bytes(values) + self._tail(blinders))

    def commit_coefficients(self, coeffs: Vector, blinders: Sequence[int] = ()) -> bytes:
        """[p + (b_0 + b_1 X + ...) Z_H], p = sum_j coeffs_j X^j of at most D coefficients (ValueError)."""
        vectors, count = self.vectors, len(blinders)
        if blinders:
            self._tail(blinders)
            blinding = vectors.from_ints([*(-b for b in blinders), *[0] * (self.n - count), *blinders])
            size = max(vectors.length(coeffs), self.n + count)
            coeffs = vectors.add(vectors.pad(coeffs, size), vectors.pad(blinding, size))
        if vectors.length(coeffs) > self.srs.size:
            raise ValueError(f"{vectors.length(coeffs)} coefficients, and {self.srs.size} powers")
        return self._powers().msm(vectors.to_le_bytes(coeffs))

    def commit_many(self, jobs: Sequence[Job]) -> list[bytes]:
        """The commitments of the jobs, in their order; on `workers` threads where that is of use."""
        if self.workers == 1 or not self._compiled or len(jobs) < 2:
            return [self._commit(job) for job in jobs]
        with ThreadPoolExecutor(self.workers) as pool:
            return list(pool.map(self._commit, jobs))

    def _commit(self, job: Job) -> bytes:
        match job:
            case Small(values, blinders):
                return self.commit_small(values, blinders)
            case Values(values, blinders):
                return self.commit_values(values, blinders)
            case Coefficients(coeffs, blinders):
                return self.commit_coefficients(coeffs, blinders)

    @property
    def _compiled(self) -> bool:
        return self.vectors.name == "numba" and self.curve.name == "arkworks"

    def _powers(self) -> Basis:
        return self._basis("powers", 0)

    def _basis(self, kind: str, n: int) -> Basis:
        """Kept for the process: the powers are common to every n, both kinds to every number of workers."""
        arguments = (kind, n, id(self.srs), self._compiled, self.curve.name)
        if arguments not in _bases:
            _bases[arguments] = self._column_basis() if kind == "columns" else self._power_basis()
        return _bases[arguments]

    def _column_basis(self) -> Basis:
        """[L_0] .. [L_{n-1}], then [tau^n] - [1], [tau^{n+1}] - [tau], ... for the blinders."""
        curve, srs, n = self.curve, self.srs, self.n
        powers = srs.g1(curve)
        blinding = [curve.add(powers[n + k], curve.neg(powers[k])) for k in range(self._max_blinders)]
        if not self._compiled:
            return CurveBasis([*srs.lagrange(n, curve), *blinding], curve)
        from marginseal.algebra.msm_numba import FixedBase

        return FixedBase(srs.lagrange_affine(n, curve, compiled=True) + curve.dump_g1(blinding))

    def _power_basis(self) -> Basis:
        if not self._compiled:
            return CurveBasis(self.srs.g1(self.curve), self.curve)
        from marginseal.algebra.msm_numba import FixedBase

        return FixedBase(self.srs.g1_affine)

    def _tail(self, blinders: Sequence[int]) -> bytes:
        if len(blinders) > self._max_blinders:
            raise ValueError(f"{len(blinders)} blinders for a column that takes {self._max_blinders}")
        return b"".join([(b % R).to_bytes(SCALAR_BYTES, "little") for b in blinders])


# By the identity of the string, which the keys keep alive.
_bases: dict[tuple[str, int, int, bool, str], Basis] = {}
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
    arguments = (n, id(srs), vectors.name, curve.name, workers)
    if arguments not in _keys:
        _keys[arguments] = CommitmentKey(n, srs, vectors, curve, workers)
    return _keys[arguments]
