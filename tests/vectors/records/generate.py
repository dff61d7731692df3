"""Writes the vectors beside this file from other implementations; run by hand when the formats change.

    python -m tests.vectors.records.generate kzg_trusted_setup.txt

`openings.json`: KZG openings by ckzg over the ceremony's public text file.  A column of n values with one blinder is a
polynomial of degree n; ckzg takes it as its 4,096 values on the larger domain, in bit-reversed order.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import ckzg

from marginseal.algebra.field import R, root_of_unity
from tests.oracles import naive_field

CASES = (
    ("a row of a small column", 8, [5000, 0, 3, -2, 0, 0, 7, -9], 0x1234567, ("row", 2)),
    ("row 0", 8, [1, -1, 2, -2, 3, -3, 4, -4], 0x7654321, ("row", 0)),
    ("the last row", 16, [0] * 15 + [2**61], R - 5, ("row", 15)),
    ("a point outside H", 8, [1, 2, 3, 4, 5, 6, 7, 8], 12345, ("point", 0xABCDEF)),
)


def openings(setup: Any) -> list[dict[str, Any]]:
    out = []
    w = root_of_unity(4096)
    order = [int(f"{i:012b}"[::-1], 2) for i in range(4096)]
    for desc, n, values, b_0, (kind, where) in CASES:
        coeffs = naive_field.blinded(values, [b_0])
        z = pow(root_of_unity(n), where, R) if kind == "row" else where
        points = [naive_field.evaluate(coeffs, pow(w, i, R)).to_bytes(32, "big") for i in order]
        blob = b"".join(points)
        W, y = ckzg.compute_kzg_proof(blob, z.to_bytes(32, "big"), setup)
        case = {"desc": desc, "expect": "holds", "source": "ckzg 2.1.8, compute_kzg_proof", "n": n}
        case |= {"values": values, "b_0": str(b_0), "z": str(z), "y": str(int.from_bytes(y, "big"))}
        case |= {"C": ckzg.blob_to_kzg_commitment(blob, setup).hex(), "W": W.hex()}
        out.append(case)
    return out


if __name__ == "__main__":
    cases = openings(ckzg.load_trusted_setup(sys.argv[1], 0))
    (Path(__file__).parent / "openings.json").write_text(json.dumps(cases, indent=1) + "\n")
