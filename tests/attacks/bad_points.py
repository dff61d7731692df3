"""Coordinates that are almost points: off the curve, outside the subgroup, or written in a second way."""

from __future__ import annotations

from collections.abc import Iterator

from marginseal.algebra.curve import P, backend


def coordinates(in_subgroup: bool | None) -> Iterator[int]:
    """Small x of points on the curve, in the subgroup or not; None: of no point at all."""
    curve = backend()
    for x in range(1, 2000):
        y_squared = (x**3 + 4) % P
        if pow(y_squared, (P - 1) // 2, P) != 1:
            if in_subgroup is None:
                yield x
        elif in_subgroup is not None:
            y = pow(y_squared, (P + 1) // 4, P)
            (p,) = curve.load_g1(x.to_bytes(48, "big") + y.to_bytes(48, "big"))
            if curve.in_subgroup_g1(p) == in_subgroup:
                yield x


def compressed(x: int, flags: int = 0x80) -> bytes:
    data = x.to_bytes(48, "big")
    return bytes([data[0] | flags]) + data[1:]


def low_x() -> int:
    """x of a subgroup point with room for p below 2^381: it could be written in two ways."""
    curve = backend()
    point = curve.generator
    while True:
        x = int.from_bytes(curve.dump_g1([point])[:48], "big")
        if x + P < 2**381:
            return x
        point = curve.add(point, curve.generator)
