"""Rebuild `marginseal/data/kzg_ceremony.bin` from the public text file of the ceremony.

    python tests/srs_convert.py kzg_trusted_setup.txt marginseal/data/kzg_ceremony.bin

The text file: a line "4096", a line "65", 4096 G1 points in Lagrange form, 65 powers in G2, 4096 powers in G1, all
compressed, in hex.  Written: the 4096 powers in G1 as x | y, then [1]_2, [tau]_2, [tau^2]_2 as
x.c0 | x.c1 | y.c0 | y.c1, 48 bytes big-endian a coordinate, nothing else.  Every point goes through the strict decoder
on the way.  Not installed; run it from the root of the repository.
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from marginseal.algebra.curve import backend

SOURCE_SHA256 = "d39b9f2d047cc9dca2de58f264b6a09448ccd34db967881a6713eacacf0f26b7"
G1_POWERS, G2_POWERS, G2_POWERS_USED = 4096, 65, 3


def convert(text: bytes) -> bytes:
    """The binary file from the text file.  ValueError if the text is not the file of the ceremony."""
    if hashlib.sha256(text).hexdigest() != SOURCE_SHA256:
        raise ValueError("this is not the text file of the ceremony")
    fields = text.split()
    curve = backend()
    g2_start = 2 + G1_POWERS
    g1_start = g2_start + G2_POWERS
    g1 = [curve.decode_g1(bytes.fromhex(h.decode())) for h in fields[g1_start:]]
    g2 = [curve.decode_g2(bytes.fromhex(h.decode())) for h in fields[g2_start : g2_start + G2_POWERS_USED]]
    return curve.dump_g1(g1) + curve.dump_g2(g2)


if __name__ == "__main__":
    data = convert(Path(sys.argv[1]).read_bytes())
    Path(sys.argv[2]).write_bytes(data)
    print(len(data), "bytes, SHA-256", hashlib.sha256(data).hexdigest())
