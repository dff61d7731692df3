"""Compiled arithmetic modulo the two primes of BLS12-381: what the numba kernels are written in.

An element is a row of a C-contiguous uint64 array, little-endian limbs, in Montgomery form: 4 limbs and x 2^256 mod r
for the scalar field F, 6 limbs and x 2^384 mod p for the base field.  `r_mul(out, i, a, j, b, k)` sets row i of `out`
to row j of `a` times row k of `b`; `r_add`, `r_sub`, `p_mul`, `p_add`, `p_sub` likewise.  Rows may be one and the
same.  All operands are reduced and all results are.  Nothing checks an index: the kernels own the bounds.

The functions are written as LLVM code on integers of 256 to 448 bits, which the compiler turns into chains of
multiplications and additions with carry.  They run in time that depends on nothing but the processor, the kernels built
on them do not: this is for a prover that serves one owner in a process of its own.

`kernel(...)` is the only decorator in use: it compiles at import, keeps the machine code on disk for the next process
and releases the interpreter's lock while the code runs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from marginseal.algebra.curve import P
from marginseal.algebra.field import R

Words: TypeAlias = NDArray[np.uint64]
Function = TypeVar("Function", bound=Callable[..., Any])

IN = types.Array(types.uint64, 2, "C", readonly=True)
"""Rows that a kernel only reads; writeable arrays are accepted too."""
OUT = types.Array(types.uint64, 2, "C")
INDEX = types.int64
NONE = types.void

_WORD = ir.IntType(64)
_DOUBLE = ir.IntType(128)
_MASK = 2**64 - 1


def _digest_of_sources() -> str:
    """numba renews machine code on disk when the file of a kernel changes, not when a file it calls into does; the
    name of a kernel therefore carries this digest of all of them."""
    here = Path(__file__).parent
    sources = sorted(here.glob("numba_*.py")) + sorted(here.glob("*_numba.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]


_DIGEST = _digest_of_sources()


def kernel(result: Any, *arguments: Any) -> Callable[[Function], Function]:
    """Compile now, for exactly these types; no interpreter lock inside; machine code from and to the disk cache.

    numba keeps the cache beside the source or, where that cannot be written, in the user's cache directory; where
    neither can be, the code is compiled afresh in every process."""

    def decorate(function: Function) -> Function:
        function.__qualname__ = f"{function.__name__}_{_DIGEST}"
        signature = result(*arguments)
        try:
            compiled = numba.njit(signature, nogil=True, cache=True, error_model="numpy")(function)
        except RuntimeError:  # no directory to keep a cache in
            compiled = numba.njit(signature, nogil=True, error_model="numpy")(function)
        return cast(Function, compiled)

    return decorate


def helper(function: Function) -> Function:
    """A function for kernels to call: compiled into each of them."""
    return cast(Function, numba.njit(nogil=True, error_model="numpy")(function))


# The code of one operation on elements of `limbs` limbs, from the loaded operands to the value to store.
_Emit: TypeAlias = Callable[[Any, list[Any], list[Any], int, int], Any]


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


def _emit_mul(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    """Montgomery product, one limb of y at a time: t <- (t + x y_i + m p) / 2^64 with m making it divisible.

    t stays below 2p, so one limb beyond those of p is enough (p has at least one spare bit).  The products of a row
    lie 64 bits apart and are 128 bits long: the even ones side by side make one addend, the odd ones another."""
    wide = ir.IntType(64 * (limbs + 1))
    prime = [ir.Constant(_DOUBLE, modulus >> 64 * k & _MASK) for k in range(limbs)]
    factor = ir.Constant(_WORD, -pow(modulus, -1, 2**64) % 2**64)
    x_wide = [b.zext(limb, _DOUBLE) for limb in x]

    def row(t: Any, operand: list[Any], limb: Any) -> Any:
        multiplier = b.zext(limb, _DOUBLE)
        products = [b.zext(b.mul(o, multiplier), wide) for o in operand]
        for parity in (0, 1):
            addend = None
            for k in range(parity, limbs, 2):
                term = b.shl(products[k], ir.Constant(wide, 64 * k)) if k else products[k]
                addend = term if addend is None else b.or_(addend, term)
            t = addend if t is None else b.add(t, addend)
        return t

    t = None
    for limb in y:
        t = row(t, x_wide, limb)
        t = row(t, prime, b.mul(b.trunc(t, _WORD), factor))
        t = b.lshr(t, ir.Constant(wide, 64))
    return _reduced_once(b, t, modulus, limbs)


def _emit_add(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    bits = 64 * (limbs + 1)
    return _reduced_once(b, b.add(_wide(b, x, bits), _wide(b, y, bits)), modulus, limbs)


def _emit_sub(b: Any, x: list[Any], y: list[Any], modulus: int, limbs: int) -> Any:
    kind, wide = ir.IntType(64 * limbs), ir.IntType(64 * (limbs + 1))
    less = b.sub(_wide(b, x, 64 * (limbs + 1)), _wide(b, y, 64 * (limbs + 1)))
    borrow = b.icmp_signed("<", less, ir.Constant(wide, 0))
    correction = b.select(borrow, ir.Constant(kind, modulus), ir.Constant(kind, 0))
    return b.add(b.trunc(less, kind), correction)


def _define(module: Any, name: str, emit: _Emit, modulus: int, limbs: int) -> Any:
    """The LLVM function void name(out*, a*, b*), once for each module that uses it."""
    if name in module.globals:
        return module.globals[name]
    pointer = _WORD.as_pointer()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [pointer] * 3), name)
    function.linkage = "linkonce_odr"
    for attribute in ("noinline", "nounwind"):
        function.attributes.add(attribute)
    b = ir.IRBuilder(function.append_basic_block())
    out, *operands = function.args

    def limb_at(base: Any, k: int) -> Any:
        return b.gep(base, [ir.Constant(_WORD, k)])

    x, y = ([b.load(limb_at(base, k), align=8) for k in range(limbs)] for base in operands)
    value = emit(b, x, y, modulus, limbs)
    for k in range(limbs):
        part = b.lshr(value, ir.Constant(value.type, 64 * k)) if k else value
        b.store(b.trunc(part, _WORD), limb_at(out, k), align=8)
    b.ret_void()
    return function


def _operation(name: str, emit: _Emit, modulus: int, limbs: int) -> Any:
    """The intrinsic name(out, i, a, j, b, k) on rows of arrays with `limbs` columns."""
    symbol = f"marginseal_{name}_{_DIGEST}"

    def typing(_: Any, out: Any, i: Any, a: Any, j: Any, b: Any, k: Any) -> Any:
        signature = types.void(out, types.intp, a, types.intp, b, types.intp)

        def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            rows = [
                builder.gep(
                    context.make_array(kind)(context, builder, array).data,
                    [builder.mul(index, ir.Constant(_WORD, limbs))],
                )
                for kind, array, index in zip(signature.args[::2], arguments[::2], arguments[1::2], strict=True)
            ]
            builder.call(_define(builder.module, symbol, emit, modulus, limbs), rows)
            return context.get_dummy_value()

        return signature, code

    return intrinsic(typing)


r_mul = _operation("r_mul", _emit_mul, R, 4)
r_add = _operation("r_add", _emit_add, R, 4)
r_sub = _operation("r_sub", _emit_sub, R, 4)
p_mul = _operation("p_mul", _emit_mul, P, 6)
p_add = _operation("p_add", _emit_add, P, 6)
p_sub = _operation("p_sub", _emit_sub, P, 6)


def to_rows(xs: list[int], limbs: int) -> Words:
    """Non-negative integers below 2^(64 limbs) as rows of limbs, as they are (not in Montgomery form)."""
    data = b"".join([x.to_bytes(8 * limbs, "little") for x in xs])
    return np.frombuffer(bytearray(data), dtype="<u8").reshape(-1, limbs).astype(np.uint64, copy=False)


def from_rows(rows: Words) -> list[int]:
    """The inverse of `to_rows`."""
    size = 8 * rows.shape[1]
    data = rows.astype("<u8", copy=False).tobytes()
    return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]
