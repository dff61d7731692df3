"""The inverse modulo p, compiled: a binary greatest common divisor in strides of 31 steps, some 4 microseconds.

Pornin, "Optimized binary GCD for modular inversion" (2020).  From a = x, b = p, u = 1, v = 0, which satisfy a = x u and
b = x v (mod p), each step halves a when it is even, and otherwise first takes the smaller of a and b from the larger
and makes a the difference.  Which way 31 steps go can be read off 64 bits of a and b, their lowest 31 and highest 33;
the steps add up to factors, a <- (a f_0 + b g_0) / 2^31 and b <- (a f_1 + b g_1) / 2^31 with |f| + |g| <= 2^31, which
are applied to u and v as well.  2 * 381 - 1 steps make b = 1, so v = 1/x; 25 strides are 775 steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from marginseal.algebra.curve import P
from marginseal.algebra.numba_compile import WORD, Words, helper, operation, words_at
from marginseal.algebra.numba_field import row_product, to_rows

_STRIDE = 31
_STRIDES = 25
_WIDE = ir.IntType(448)
_LOW = 2**_STRIDE - 1


def _words(b: Any, pointer: Any) -> list[Any]:
    at = words_at(b, pointer)
    return [b.load(at(k), align=8) for k in range(6)]


def _one(x: int) -> Any:
    return ir.Constant(WORD, x)


def _approximations(b: Any, x: list[Any], y: list[Any]) -> tuple[Any, Any]:
    """The lowest 31 bits of x and y below the 33 bits at the position of the highest bit of either."""
    x_top, x_next, y_top, y_next = x[1], x[0], y[1], y[0]
    long = ir.Constant(ir.IntType(1), 0)
    for k in range(1, 6):
        present = b.icmp_unsigned("!=", b.or_(x[k], y[k]), _one(0))
        x_top, x_next = b.select(present, x[k], x_top), b.select(present, x[k - 1], x_next)
        y_top, y_next = b.select(present, y[k], y_top), b.select(present, y[k - 1], y_next)
        long = b.or_(long, present)
    shift = b.ctlz(b.or_(x_top, y_top), ir.Constant(ir.IntType(1), 0))
    funnel = b.module.declare_intrinsic("llvm.fshl", [WORD], ir.FunctionType(WORD, [WORD] * 3))

    def joined(top: Any, following: Any, low: Any) -> Any:
        high = b.and_(b.call(funnel, [top, following, shift]), _one(2**64 - 1 - _LOW))
        return b.select(long, b.or_(high, b.and_(low, _one(_LOW))), low)

    return joined(x_top, x_next, x[0]), joined(y_top, y_next, y[0])


def _steps(b: Any, arguments: list[Any]) -> None:
    """f_0, g_0, f_1, g_1 of 31 steps from a and b."""
    out, *operands = arguments
    x, y = _approximations(b, *(_words(b, pointer) for pointer in operands))
    f_0, g_0, f_1, g_1 = _one(1), _one(0), _one(0), _one(1)
    for _ in range(_STRIDE):
        odd = b.trunc(x, ir.IntType(1))
        swap = b.and_(odd, b.icmp_unsigned("<", x, y))
        x, y = b.select(swap, y, x), b.select(swap, x, y)
        f_0, f_1 = b.select(swap, f_1, f_0), b.select(swap, f_0, f_1)
        g_0, g_1 = b.select(swap, g_1, g_0), b.select(swap, g_0, g_1)
        x = b.lshr(b.sub(x, b.select(odd, y, _one(0))), _one(1))
        f_0 = b.sub(f_0, b.select(odd, f_1, _one(0)))
        g_0 = b.sub(g_0, b.select(odd, g_1, _one(0)))
        f_1, g_1 = b.shl(f_1, _one(1)), b.shl(g_1, _one(1))
    at = words_at(b, out)
    for k, factor in enumerate((f_0, g_0, f_1, g_1)):
        b.store(factor, at(k), align=8)


def _combination(b: Any, x: list[Any], y: list[Any], f: Any, g: Any) -> Any:
    """x f + y g for signed f and g."""
    total = None
    for operand, factor in ((x, f), (y, g)):
        negative = b.icmp_signed("<", factor, _one(0))
        size = b.select(negative, b.neg(factor), factor)
        product = row_product(b, None, operand, size)
        signed = b.select(negative, b.sub(ir.Constant(_WIDE, 0), product), product)
        total = signed if total is None else b.add(total, signed)
    return total


def _shifted_and_stored(b: Any, out: Any, value: Any) -> None:
    at = words_at(b, out)
    for k in range(6):
        b.store(b.trunc(b.lshr(value, ir.Constant(_WIDE, 64 * k)), WORD), at(k), align=8)


def _halve(b: Any, arguments: list[Any]) -> None:
    """out = |x f + y g| / 2^31, exact; where the sign was turned, f and g are turned as well."""
    out, x, y, factors = arguments
    at = words_at(b, factors)
    f, g = b.load(at(0)), b.load(at(1))
    total = _combination(b, _words(b, x), _words(b, y), f, g)
    negative = b.icmp_signed("<", total, ir.Constant(_WIDE, 0))
    size = b.select(negative, b.sub(ir.Constant(_WIDE, 0), total), total)
    _shifted_and_stored(b, out, b.lshr(size, ir.Constant(_WIDE, _STRIDE)))
    b.store(b.select(negative, b.neg(f), f), at(0))
    b.store(b.select(negative, b.neg(g), g), at(1))


def _halve_modulo(b: Any, arguments: list[Any]) -> None:
    """out = (x f + y g) / 2^31 mod p for x and y in [0, p): a multiple m p, m < 2^31, makes the sum divisible, and
    leaves it in (-p, 2p) after the division."""
    out, x, y, factors = arguments
    at = words_at(b, factors)
    total = _combination(b, _words(b, x), _words(b, y), b.load(at(0)), b.load(at(1)))
    inverse = _one(-pow(P, -1, 2**_STRIDE) % 2**_STRIDE)
    m = b.and_(b.mul(b.trunc(total, WORD), inverse), _one(_LOW))
    prime = [_one(P >> 64 * k & 2**64 - 1) for k in range(6)]
    total = b.ashr(row_product(b, total, prime, m), ir.Constant(_WIDE, _STRIDE))
    p, zero = ir.Constant(_WIDE, P), ir.Constant(_WIDE, 0)
    total = b.add(total, b.select(b.icmp_signed("<", total, zero), p, zero))
    less = b.sub(total, p)
    _shifted_and_stored(b, out, b.select(b.icmp_signed("<", less, zero), total, less))


_steps_operation = operation("gcd_steps", _steps, rows=3)
_halve_operation = operation("gcd_halve", _halve, rows=4)
_halve_modulo_operation = operation("gcd_halve_modulo", _halve_modulo, rows=4)

_START = to_rows([P, 1, 0], 6)


@helper
def invert_plain(v: Words, i: int) -> None:
    """1/v_i mod p of a plain integer in [0, p), in place; 0 gives 0."""
    factors = np.empty((2, 2), np.uint64)
    # Rows a, b, u, v, and where the new ones go.
    w = np.empty((8, 6), np.uint64)
    for k in range(6):
        w[0, k], w[1, k], w[2, k], w[3, k] = v[i, k], _START[0, k], _START[1, k], _START[2, k]
    old, new = 0, 4
    for _ in range(_STRIDES):
        _steps_operation(factors, 0, w, old, w, old + 1)
        for k in range(2):
            _halve_operation(w, new + k, w, old, w, old + 1, factors, k)
            _halve_modulo_operation(w, new + 2 + k, w, old + 2, w, old + 3, factors, k)
        old, new = new, old
    for k in range(6):
        v[i, k] = w[old + 3, k]
