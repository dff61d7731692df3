"""Every blinder of one attempt at one proof, drawn in the order of protocol.md section 2.

    entropy = secret key | 32 fresh system bytes          nonce = statement digest
    personalisation = MARGINSEAL-V1-BLIND | SHA-256(limbs, 2 bytes each, columns in order) | claim index | attempt

The hash of the limbs is as secret as the holdings: it never leaves this function.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.drbg import HmacDrbg
from marginseal.records.opening import BLIND_LABEL
from verifier.sizes import H_BLINDERS, LIMB_BLINDERS, M_BLINDERS, PHI_BLINDERS, Sizes


@dataclass(frozen=True)
class Blinders:
    """Coefficients, lowest first, of what multiplies Z_H in each column; b and b' move mass between quotient pieces."""

    limbs: tuple[tuple[int, ...], ...] = field(repr=False)
    m: tuple[int, ...] = field(repr=False)
    h: tuple[tuple[int, ...], ...] = field(repr=False)
    phi: tuple[int, ...] = field(repr=False)
    b: int = field(repr=False)
    b_prime: int = field(repr=False)


def draw(
    sizes: Sizes,
    columns: NDArray[np.int64],
    *,
    secret: bytes,
    fresh: bytes,
    statement_digest: bytes,
    index: int,
    attempt: int,
) -> Blinders:
    """Blinders for one attempt; secret and fresh are 32 bytes each, columns int64 (L, n) with limbs below 2^16."""
    assert len(secret) == len(fresh) == 32
    limb_hash = hashlib.sha256(columns.astype(">u2").tobytes()).digest()
    personalisation = BLIND_LABEL + limb_hash + index.to_bytes(8, "big") + attempt.to_bytes(8, "big")
    drbg = HmacDrbg(secret + fresh, statement_digest, personalisation)
    limbs = tuple(drbg.scalars(LIMB_BLINDERS) for _ in range(sizes.L))
    m = drbg.scalars(M_BLINDERS)
    h = tuple(drbg.scalars(H_BLINDERS) for _ in range(sizes.G))
    phi = drbg.scalars(PHI_BLINDERS)
    b, b_prime = drbg.scalars(2)
    return Blinders(limbs, m, h, phi, b, b_prime)
