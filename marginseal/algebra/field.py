"""The scalar field F of BLS12-381: inverses, roots of unity, hashing and encodings (protocol sections 2 and 5).

Elements are Python integers in [0, r).  Vectors of them are `vectors.py`; points of the curve are `curve.py`.
Nothing here runs in constant time: the prover is a process of its own that serves one owner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

from marginseal.errors import DecodeError

R = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
"""The prime r, order of G1, G2 and GT; 255 bits; r - 1 = 2^32 * odd."""

GENERATOR = 7
"""A generator of the multiplicative group of F; fixes every root of unity of the protocol."""

TWO_ADICITY = 32
SCALAR_BYTES = 32

_HASH_BYTES = 48  # RFC 9380, section 5: ceil((255 + 128) / 8), so the bias of the reduction is below 2^-128


def inverse(x: int) -> int:
    """1/x in F.  ZeroDivisionError if x = 0 (mod r)."""
    x %= R
    if x == 0:
        raise ZeroDivisionError("zero has no inverse in F")
    return pow(x, -1, R)


def batch_inverse(xs: Sequence[int]) -> list[int]:
    """[1/x for x in xs] with one inversion and 3 (len - 1) products (Montgomery).  ZeroDivisionError if any is 0."""
    prefix = []
    product = 1
    for x in xs:
        prefix.append(product)
        product = product * x % R
    rest = inverse(product)
    out = [0] * len(xs)
    for i in range(len(xs) - 1, -1, -1):
        out[i] = rest * prefix[i] % R
        rest = rest * xs[i] % R
    return out


@cache
def root_of_unity(n: int) -> int:
    """w = 7^((r-1)/n), of order exactly n, for n a power of two up to 2^32.  ValueError otherwise."""
    if n < 1 or n & (n - 1) or n.bit_length() > TWO_ADICITY + 1:
        raise ValueError(f"no root of unity of order {n}: a power of two up to 2^32 is needed")
    return pow(GENERATOR, (R - 1) // n, R)


def expand_message_xmd(msg: bytes, dst: bytes, length: int) -> bytes:
    """RFC 9380, section 5.3.1, with SHA-256: `length` uniform bytes from a message under a domain separation tag.

    1 <= length <= 8160; a tag longer than 255 bytes is hashed first (section 5.3.3).  ValueError outside these bounds
    and for an empty tag."""
    if not dst:
        raise ValueError("an empty domain separation tag separates nothing")
    if len(dst) > 255:
        dst = hashlib.sha256(b"H2C-OVERSIZE-DST-" + dst).digest()
    blocks = -(-length // 32)
    if not 1 <= blocks <= 255:
        raise ValueError("expand_message_xmd gives 1 to 8160 bytes")
    dst_prime = dst + bytes([len(dst)])
    b_0 = hashlib.sha256(bytes(64) + msg + length.to_bytes(2, "big") + b"\x00" + dst_prime).digest()
    block = hashlib.sha256(b_0 + b"\x01" + dst_prime).digest()
    out = bytearray(block)
    for i in range(2, blocks + 1):
        mixed = bytes(a ^ b for a, b in zip(b_0, block, strict=True))
        block = hashlib.sha256(mixed + bytes([i]) + dst_prime).digest()
        out += block
    return bytes(out[:length])


def hash_to_field(msg: bytes, dst: bytes) -> int:
    """One element of F: 48 bytes of `expand_message_xmd`, big-endian, mod r (RFC 9380, section 5.2)."""
    return int.from_bytes(expand_message_xmd(msg, dst, _HASH_BYTES), "big") % R


def scalar_bytes(x: int) -> bytes:
    """The canonical 32 bytes, big-endian, of x in [0, r).  ValueError outside."""
    if not 0 <= x < R:
        raise ValueError("only a reduced scalar has an encoding")
    return x.to_bytes(SCALAR_BYTES, "big")


def decode_scalar(data: bytes) -> int:
    """The inverse of `scalar_bytes`.  DecodeError scalar.length, scalar.not-reduced."""
    if len(data) != SCALAR_BYTES:
        raise DecodeError("scalar.length", f"a scalar is {SCALAR_BYTES} bytes, not {len(data)}")
    x = int.from_bytes(data, "big")
    if x >= R:
        raise DecodeError("scalar.not-reduced", "a scalar at or above the group order")
    return x
