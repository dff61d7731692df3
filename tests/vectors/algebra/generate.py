"""Rebuild `points.json` and `commitments.json`.

    python -m tests.vectors.algebra.generate kzg_trusted_setup.txt

Commitments come from ckzg and the public text file of the ceremony; encodings are put together by hand from the
equations of the curves, and their `expect` is what the protocol says, not what some decoder answered.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ckzg

from tests.oracles.naive_field import R, blinded, values_on_roots

P = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB
G1 = "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb"
G2 = (
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)
BLOB_VALUES = 4096
FOLDER = Path(__file__).parent


def commitment(coeffs: list[int], setup: object) -> str:
    """[p] by ckzg, which wants the values on the 4096-th roots in bit-reversed order."""
    values = values_on_roots(coeffs, BLOB_VALUES)
    order = [int(f"{i:012b}"[::-1], 2) for i in range(BLOB_VALUES)]
    blob = b"".join(values[i].to_bytes(32, "big") for i in order)
    return bytes(ckzg.blob_to_kzg_commitment(blob, setup)).hex()


def commitments(setup: object) -> list[dict[str, Any]]:
    """Columns with and without blinders."""
    cases: list[tuple[str, list[int], list[int]]] = [
        ("all zero: infinity", [0] * 8, []),
        ("constant one: the generator", [1] * 8, []),
        ("one entry", [0, 0, 1, 0, 0, 0, 0, 0], []),
        ("the lookup table of 16 rows", list(range(16)), []),
        ("limbs with two blinders", [3, 1, 4, 1, 5, 2, 6, 5], [R - 1, 2**200 + 1]),
        ("full-size values with three blinders", [pow(5, 3**i, R) for i in range(16)], [pow(3, 77, R), R // 2, 1]),
        ("signed lots with one blinder", [-5 % R, 7, 0, 2**43 - 1, -(2**43) % R, 0, 0, 1], [12345]),
        ("zero with one blinder: b ([tau^8] - [1])", [0] * 8, [2**254]),
    ]
    return [
        {
            "desc": desc,
            "n": len(values),
            "values": [str(v) for v in values],
            "blinders": [str(b) for b in blinders],
            "expect": commitment(blinded(values, blinders), setup),
            "source": "ckzg 2.1.8, blob_to_kzg_commitment",
        }
        for desc, values, blinders in cases
    ]


def compressed(x: int, flags: int) -> str:
    """48 bytes: x below 2^381 and the three flags."""
    return (flags << 376 | x).to_bytes(48, "big").hex()


def points() -> list[dict[str, Any]]:
    """One fault each; flags: 80 compressed, 40 infinity, 20 larger y."""
    x = int(G1, 16) & (1 << 381) - 1
    x_1, x_0 = int(G2[:96], 16) & (1 << 381) - 1, int(G2[96:], 16)
    not_on_curve = next(x for x in range(1, 100) if pow(x**3 + 4, (P - 1) // 2, P) == P - 1)
    on_curve = next(x for x in range(1, 100) if pow(x**3 + 4, (P - 1) // 2, P) == 1)
    zeros = "00" * 47
    cases = [
        ("G1", "the generator", G1, "accept"),
        ("G1", "the negated generator", compressed(x, 0xA0), "accept"),
        ("G1", "infinity", "c0" + zeros, "point.infinity"),
        ("G1", "infinity with the sign flag", "e0" + zeros, "point.infinity"),
        ("G1", "infinity with a last byte", "c0" + zeros[:-2] + "01", "point.infinity"),
        ("G1", "infinity with the generator's coordinate", compressed(x, 0xC0), "point.infinity"),
        ("G1", "infinity without the compression flag", "40" + zeros, "point.infinity"),
        ("G1", "infinity with the sign flag alone", "60" + zeros, "point.infinity"),
        ("G1", "zeros", "00" + zeros, "point.malformed"),
        ("G1", "the generator without the compression flag", compressed(x, 0), "point.malformed"),
        ("G1", "the generator with the sign flag alone", compressed(x, 0x20), "point.malformed"),
        ("G1", "x = p", compressed(P, 0x80), "point.malformed"),
        ("G1", "p more than the x of a point of the curve", compressed(P + on_curve, 0x80), "point.malformed"),
        ("G1", "x = 2^381 - 1", compressed((1 << 381) - 1, 0x80), "point.malformed"),
        ("G1", "no y for this x", compressed(not_on_curve, 0x80), "point.not-on-curve"),
        ("G1", "x = 0, a point of order 3", compressed(0, 0x80), "point.subgroup"),
        ("G1", "x = 0, the other point of order 3", compressed(0, 0xA0), "point.subgroup"),
        ("G1", "on the curve, outside the subgroup", compressed(on_curve, 0x80), "point.subgroup"),
        ("G1", "a byte short", G1[:-2], "point.length"),
        ("G1", "a byte too long", G1 + "00", "point.length"),
        ("G1", "empty", "", "point.length"),
        ("G1", "a point of G2", G2, "point.length"),
        ("G1", "uncompressed infinity", "40" + "00" * 95, "point.length"),
        ("G2", "the generator", G2, "accept"),
        ("G2", "the negated generator", compressed(x_1, 0xA0) + G2[96:], "accept"),
        ("G2", "infinity", "c0" + zeros + "00" * 48, "point.infinity"),
        ("G2", "infinity with the sign flag", "e0" + zeros + "00" * 48, "point.infinity"),
        ("G2", "infinity with a last byte", "c0" + zeros + "00" * 47 + "01", "point.infinity"),
        ("G2", "the generator without the compression flag", compressed(x_1, 0) + G2[96:], "point.malformed"),
        ("G2", "imaginary part = p", compressed(P, 0x80) + G2[96:], "point.malformed"),
        ("G2", "real part + p", G2[:96] + (x_0 + P).to_bytes(48, "big").hex(), "point.malformed"),
        ("G2", "a flag in the second half", G2[:96] + (x_0 | 1 << 383).to_bytes(48, "big").hex(), "point.malformed"),
        ("G2", "no y for this x", twist(False), "point.not-on-curve"),
        ("G2", "on the twist, outside the subgroup", twist(True), "point.subgroup"),
        ("G2", "a byte short", G2[:-2], "point.length"),
        ("G2", "a point of G1", G1, "point.length"),
    ]
    source = "the Zcash encoding and the equations y^2 = x^3 + 4, y^2 = x^3 + 4(1 + u)"
    return [
        {"desc": desc, "group": group, "bytes": data, "expect": expect, "source": source}
        for group, desc, data, expect in cases
    ]


def twist(on_it: bool) -> str:
    """The first real x for which x^3 + 4 + 4u is a square in F_p[u]/(u^2 + 1), or is none: by its norm."""
    for x in range(100):
        norm = (x**3 + 4) ** 2 + 16
        if (pow(norm, (P - 1) // 2, P) == 1) == on_it:
            return compressed(0, 0x80) + x.to_bytes(48, "big").hex()
    raise AssertionError("half of all x have a y")


def write(name: str, cases: list[dict[str, Any]]) -> None:
    (FOLDER / name).write_text(json.dumps(cases, indent=1) + "\n")


if __name__ == "__main__":
    write("points.json", points())
    write("commitments.json", commitments(ckzg.load_trusted_setup(sys.argv[1], 0)))
