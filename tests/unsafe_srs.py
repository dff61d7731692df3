"""Powers of a tau that everybody knows.  For tests alone: whoever knows tau opens any commitment to anything.

Its digest is not the ceremony's, so everything that pins the ceremony refuses it.
"""

from __future__ import annotations

from functools import cache

from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.algebra.srs import G2_POWERS, SRS, D


@cache
def unsafe_srs(tau: int, size: int = D) -> SRS:
    """The `SRS` of that tau, of `size` powers in G1."""
    curve = backend()
    g1 = [curve.mul(curve.generator, pow(tau, i, R)) for i in range(size)]
    g2 = [curve.mul_g2(curve.generator_g2, pow(tau, i, R)) for i in range(G2_POWERS)]
    return SRS(curve.dump_g1(g1), curve.dump_g2(g2))
