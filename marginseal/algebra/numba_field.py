"""Compiled arithmetic modulo the two primes of BLS12-381, one element at a time.

An element is a row of a C-contiguous uint64 array, little-endian limbs, in Montgomery form: 4 limbs and x 2^256 mod r
for the scalar field F, 6 limbs and x 2^384 mod p for the base field.  `r_mul(out, i, a, j, b, k)` sets row i of `out`
to row j of `a` times row k of `b`; `r_add`, `r_sub`, `p_mul`, `p_add`, `p_sub` likewise.  Rows may be one and the
same.  All operands are reduced and all results are.

The functions are written on integers of 256 to 448 bits, which LLVM turns into chains of multiplications and additions
with carry; about 20 and 45 ns a product.  They run in constant time, the kernels built on them do not: this is for a
prover that serves one owner in a process of its own.  Eight elements of the base field at once are `numba_lanes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from llvmlite import ir

from marginseal.algebra.curve import P
from marginseal.algebra.field import R
from marginseal.algebra.numba_compile import WORD, Emit, Words, operation, words_at

_DOUBLE = ir.IntType(128)
_MASK = 2**64 - 1

_Arithmetic: TypeAlias = Callable[[Any, list[Any], list[Any], int, int], Any]
"""(builder, limbs of x, limbs of y, modulus, number of limbs) to the value of the result."""


def _wide(b: Any, limbs: list[Any], bits: int) -> Any:
    """One integer of so many bits from its limbs."""
    kind = ir.IntType(bits)
    value = b.zext(limbs[0], kind)
    for k, limb in enumerate(limbs[1:], 1):
        value = b.or_(value, b.shl(b.zext(limb, kind), ir.Constant(kind, 64 * k)))
    return value


def _reduced_once(b: Any, value: Any, modulus: int, limbs: int) -> Any:
    """value mod modulus for value < 2 modulus, `value` one limb wider than the result."""
    kind, wide = ir.IntType(64 * limbs), ir.IntType(64 * (limbs + 1))
    less = b.sub(value, ir.Constant(wide, modulus))
    borrow = b.icmp_signed("<", less, ir.Constant(wide, 0))
    return b.select(borrow, b.trunc(value, kind), b.trunc(less, kind))


def row_product(b: Any, total: Any, limbs: list[Any], multiplier: Any) -> Any:
    """total + x m for x in limbs and a limb m, one limb wider than x; a total of None is 0.

    The products of the limbs lie 64 bits apart and are 128 bits long: the even ones side by side make one addend, the
    odd ones another."""
    wide = ir.IntType(64 * (len(limbs) + 1))
    m = b.zext(multiplier, _DOUBLE)
    products = [b.zext(b.mul(b.zext(limb, _DOUBLE), m), wide) for limb in limbs]
    for parity in (0, 1):
        addend = None
        for k in range(parity, len(limbs), 2):
            term = b.shl(products[k], ir.Constant(wide, 64 * k)) if k else products[k]
            addend = term if addend is None else b.or_(addend, term)
        total = addend if total is None else b.add(total, addend)
    return total


def _mul(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    """Montgomery product, one limb of y at a time: t <- (t + x y_i + m p) / 2^64 with m making it divisible.

    t stays below 2p, so one limb beyond those of p is enough (p has at least one spare bit)."""
    prime = [ir.Constant(WORD, modulus >> 64 * k & _MASK) for k in range(limbs)]
    factor = ir.Constant(WORD, -pow(modulus, -1, 2**64) % 2**64)
    t = None
    for limb in y:
        t = row_product(b, t, x, limb)
        t = row_product(b, t, prime, b.mul(b.trunc(t, WORD), factor))
        t = b.lshr(t, ir.Constant(t.type, 64))
    return _reduced_once(b, t, modulus, limbs)


def _add(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    bits = 64 * (limbs + 1)
    return _reduced_once(b, b.add(_wide(b, x, bits), _wide(b, y, bits)), modulus, limbs)


def _sub(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    kind, wide = ir.IntType(64 * limbs), ir.IntType(64 * (limbs + 1))
    less = b.sub(_wide(b, x, 64 * (limbs + 1)), _wide(b, y, 64 * (limbs + 1)))
    borrow = b.icmp_signed("<", less, ir.Constant(wide, 0))
    correction = b.select(borrow, ir.Constant(kind, modulus), ir.Constant(kind, 0))
    return b.add(b.trunc(less, kind), correction)


def _on_rows(arithmetic: _Arithmetic, modulus: int, limbs: int) -> Emit:
    """out, x, y are rows in memory."""

    def emit(b: Any, arguments: list[Any]) -> None:
        out, *operands = (words_at(b, pointer) for pointer in arguments)
        x, y = ([b.load(at(k), align=8) for k in range(limbs)] for at in operands)
        value = arithmetic(b, x, y, modulus, limbs)
        for k in range(limbs):
            part = b.lshr(value, ir.Constant(value.type, 64 * k)) if k else value
            b.store(b.trunc(part, WORD), out(k), align=8)

    return emit


def mul_rows(modulus: int, limbs: int) -> Emit:
    return _on_rows(_mul, modulus, limbs)


def add_rows(modulus: int, limbs: int) -> Emit:
    return _on_rows(_add, modulus, limbs)


def sub_rows(modulus: int, limbs: int) -> Emit:
    return _on_rows(_sub, modulus, limbs)


r_mul = operation("r_mul", mul_rows(R, 4), rows=3)
r_add = operation("r_add", add_rows(R, 4), rows=3)
r_sub = operation("r_sub", sub_rows(R, 4), rows=3)
p_mul = operation("p_mul", mul_rows(P, 6), rows=3)
p_add = operation("p_add", add_rows(P, 6), rows=3)
p_sub = operation("p_sub", sub_rows(P, 6), rows=3)


def to_rows(xs: list[int], limbs: int) -> Words:
    """Non-negative integers below 2^(64 limbs) as rows of limbs, as they are (not in Montgomery form)."""
    data = b"".join([x.to_bytes(8 * limbs, "little") for x in xs])
    return np.frombuffer(bytearray(data), dtype="<u8").reshape(-1, limbs).astype(np.uint64, copy=False)


def from_rows(rows: Words) -> list[int]:
    """The inverse of `to_rows`."""
    size = 8 * rows.shape[1]
    data = rows.astype("<u8", copy=False).tobytes()
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
