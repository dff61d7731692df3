"""Points of the curve and of its twist outside the groups of order r, from the equations alone: affine bytes."""

from __future__ import annotations

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB

G1_OF_ORDER_3 = bytes(95) + b"\x02"
"""(0, 2): on y^2 = x^3 + 4, and its tangent meets the curve nowhere else."""


def _root(a: int) -> int | None:
    y = pow(a, (P + 1) // 4, P)
    return y if y * y % P == a % P else None


def stray_g2() -> bytes:
    """The first point of y^2 = x^3 + 4 + 4u with x in F_p.  With c = x^3 + 4: y = s + tu, s^2 = (c + |y|) / 2, st = 2,
    where |y|^2 = c^2 + 16 is the norm.  One in the group of order r would be one in 2^381."""
    for x in range(100):
        c = (x**3 + 4) % P
        norm = _root(c * c + 16)
        for sign in (1, -1):
            if norm is not None and (s := _root((c + sign * norm) * pow(2, -1, P))):
                t = 2 * pow(s, -1, P) % P
                return b"".join(v.to_bytes(48, "big") for v in (x, 0, s, t))
    raise AssertionError("half of all x have a y")
