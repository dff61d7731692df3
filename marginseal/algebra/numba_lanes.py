"""Compiled arithmetic in the base field of BLS12-381, LANES elements at once.

A block is a row of LIMBS * LANES words; word `LANES * k + l` is limb k of the element in lane l.  Elements are in
Montgomery form, x 2^RADIX mod p.  Two shapes, one interface:

* where the processor multiplies 52-bit integers in vectors (AVX-512 IFMA), 8 lanes of 8 limbs of 52 bits; some 10 ns a
  product;
* anywhere, 1 lane of 6 limbs of 64 bits, which is the arithmetic of `numba_field.py`; some 45 ns.

`points` arrays keep one affine point to a row, x then y, LIMBS words each, canonical (below p); (0, 0), which is not on
the curve, stands for the point at infinity.  `gather` and `scatter` move one coordinate of LANES points between such an
array and a block.  Points are named by references, int32 numbers 2 row + sign, sign 1 for the negative.

Bounds, with canonical < p:  `mul` takes operands below 8p and gives less than 2p;  `add` and `sub` take less than 2p
and give less than 4p;  `reduce` takes less than 4p and gives the canonical element.  (With one lane
all of them give canonical elements.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from marginseal.algebra.curve import P
from marginseal.algebra.numba_compile import LANES, WORD, Emit, Words, operation, words_at
from marginseal.algebra.numba_field import add_rows, mul_rows, sub_rows

LIMBS = 8 if LANES == 8 else 6
LIMB_BITS = 52 if LANES == 8 else 64
RADIX = LIMBS * LIMB_BITS
BLOCK = LIMBS * LANES
"""Words of a block."""
POINT = 2 * LIMBS
"""Words of a point."""
ALL = 2**LANES - 1
"""The mask of all lanes; bit l stands for lane l."""

_MASK = 2**LIMB_BITS - 1
_VECTOR = ir.VectorType(WORD, LANES) if LANES > 1 else WORD
_BIT = ir.IntType(1)


def limbs_of(x: int) -> list[int]:
    """x < 2^RADIX in limbs, the lowest first."""
    return [x >> LIMB_BITS * k & _MASK for k in range(LIMBS)]


def constant_block(x: int) -> Words:
    """One block with x, as it is, in every lane."""
    return np.repeat(np.array(limbs_of(x), np.uint64), LANES).reshape(1, BLOCK)


def aligned(rows: int, words: int) -> Words:
    """Uninitialised rows that start on a cache line: vectors that straddle two lines are slower to load."""
    raw = np.empty(rows * words + 7, np.uint64)
    skip = -(raw.ctypes.data // 8) % 8
    return raw[skip : skip + rows * words].reshape(rows, words)


# One vector a limb: the code below serves one lane as well, where a vector is a word.


def _constant(x: int) -> Any:
    return ir.Constant(_VECTOR, [x] * LANES) if LANES > 1 else ir.Constant(WORD, x)


def _load(b: Any, pointer: Any) -> list[Any]:
    at = words_at(b, pointer, _VECTOR)
    return [b.load(at(k), align=8) for k in range(LIMBS)]


def _store(b: Any, pointer: Any, limbs: list[Any]) -> None:
    at = words_at(b, pointer, _VECTOR)
    for k, limb in enumerate(limbs):
        b.store(limb, at(k), align=8)


def _lanes_of(b: Any, mask: Any) -> Any:
    """The bits of a mask as a condition for each lane."""
    return b.bitcast(b.trunc(mask, ir.IntType(8)), ir.VectorType(_BIT, 8)) if LANES > 1 else b.trunc(mask, _BIT)


def _mask_of(b: Any, condition: Any) -> Any:
    return b.zext(b.bitcast(condition, ir.IntType(8)) if LANES > 1 else condition, WORD)


def _carried(b: Any, limbs: list[Any]) -> list[Any]:
    """The same numbers with all limbs but the highest in 0 .. 2^52 - 1; limbs may be negative or too large before.
    The sign of the number is that of the highest limb."""
    out: list[Any] = []
    carry = None
    for k, limb in enumerate(limbs):
        total = limb if carry is None else b.add(limb, carry)
        if k == LIMBS - 1:
            return [*out, total]
        carry = b.ashr(total, _constant(LIMB_BITS))
        out.append(b.and_(total, _constant(_MASK)))
    return out


def _mul_vectors(b: Any, arguments: list[Any]) -> None:
    """Montgomery product, one limb of y at a time: t <- (t + x y_i + m p) / 2^52 with m making it divisible.

    The instructions add the low or the high 52 bits of a 104-bit product to a 64-bit sum.  A limb of t receives four of
    them in each of at most 8 rounds and stays far below 2^64, so carries wait for the end.  With operands below 8p the
    result is below (8p)^2 / 2^416 + p < 2p."""

    def fused(part: str) -> Any:
        name = f"llvm.x86.avx512.vpmadd52{part}.uq.512"
        kind = ir.FunctionType(_VECTOR, [_VECTOR] * 3)
        function = b.module.globals.get(name) or ir.Function(b.module, kind, name)
        return lambda total, x, y: b.call(function, [total, x, y])

    low, high = fused("l"), fused("h")
    out, x_pointer, y_pointer = arguments
    x, y = _load(b, x_pointer), _load(b, y_pointer)
    prime = [_constant(limb) for limb in limbs_of(P)]
    factor = _constant(-pow(P, -1, 2**LIMB_BITS) % 2**LIMB_BITS)
    zero = _constant(0)
    t = [zero] * LIMBS
    for limb in y:
        t = [low(total, factor_x, limb) for total, factor_x in zip(t, x, strict=True)]
        m = low(zero, t[0], factor)
        t = [low(total, factor_p, m) for total, factor_p in zip(t, prime, strict=True)]
        carry = b.lshr(t[0], _constant(LIMB_BITS))
        t = [b.add(t[1], carry), *t[2:], zero]
        t = [high(total, factor_x, limb) for total, factor_x in zip(t, x, strict=True)]
        t = [high(total, factor_p, m) for total, factor_p in zip(t, prime, strict=True)]
    _store(b, out, _carried(b, t))


def _add_vectors(b: Any, arguments: list[Any]) -> None:
    out, x, y = arguments
    _store(b, out, _carried(b, [b.add(u, v) for u, v in zip(_load(b, x), _load(b, y), strict=True)]))


def _sub_vectors(b: Any, arguments: list[Any]) -> None:
    """x - y + 2p."""
    out, x, y = arguments
    twice = [_constant(limb) for limb in limbs_of(2 * P)]
    limbs = zip(_load(b, x), _load(b, y), twice, strict=True)
    _store(b, out, _carried(b, [b.add(b.sub(u, v), w) for u, v, w in limbs]))


def _reduce(b: Any, arguments: list[Any]) -> None:
    out, x = arguments
    limbs = _load(b, x)
    for multiple in (2 * P, P) if LANES > 1 else ():
        less = _carried(b, [b.sub(u, _constant(v)) for u, v in zip(limbs, limbs_of(multiple), strict=True)])
        negative = b.icmp_signed("<", less[-1], _constant(0))
        limbs = [b.select(negative, u, v) for u, v in zip(limbs, less, strict=True)]
    _store(b, out, limbs)


def _equal(b: Any, arguments: list[Any]) -> Any:
    x, y = arguments
    difference = _constant(0)
    for u, v in zip(_load(b, x), _load(b, y), strict=True):
        difference = b.or_(difference, b.xor(u, v))
    return _mask_of(b, b.icmp_unsigned("==", difference, _constant(0)))


def _select(b: Any, arguments: list[Any]) -> None:
    out, x, y, mask = arguments
    condition = _lanes_of(b, mask)
    _store(b, out, [b.select(condition, u, v) for u, v in zip(_load(b, x), _load(b, y), strict=True)])


def _negate(b: Any, arguments: list[Any]) -> None:
    out, x, mask = arguments
    limbs = _load(b, x)
    any_bit = _constant(0)
    for limb in limbs:
        any_bit = b.or_(any_bit, limb)
    # -0 is 0 and not p.
    condition = b.and_(_lanes_of(b, mask), b.icmp_unsigned("!=", any_bit, _constant(0)))
    if LANES > 1:
        opposite = _carried(b, [b.sub(_constant(v), u) for u, v in zip(limbs, limbs_of(P), strict=True)])
    else:
        wide = ir.IntType(RADIX)
        value: Any = ir.Constant(wide, P)
        for k, limb in enumerate(limbs):
            value = b.sub(value, b.shl(b.zext(limb, wide), ir.Constant(wide, LIMB_BITS * k)))
        opposite = [b.trunc(b.lshr(value, ir.Constant(wide, LIMB_BITS * k)), WORD) for k in range(LIMBS)]
    _store(b, out, [b.select(condition, u, v) for u, v in zip(opposite, limbs, strict=True)])


def _exchange(distance: int) -> Emit:
    def emit(b: Any, arguments: list[Any]) -> None:
        out, x = arguments
        order = ir.Constant(ir.VectorType(ir.IntType(32), 8), [lane ^ distance for lane in range(8)])
        _store(b, out, [b.shuffle_vector(u, u, order) for u in _load(b, x)])

    return emit


def _transposed(b: Any, rows: list[Any]) -> list[Any]:
    """Eight vectors of eight as the columns of a matrix, in three rounds of exchanges at distances 1, 2, 4."""
    for distance in (1, 2, 4):
        lower = [lane if not lane & distance else lane + 8 - distance for lane in range(8)]
        upper = [lane + distance if not lane & distance else lane + 8 for lane in range(8)]
        kind = ir.VectorType(ir.IntType(32), 8)
        out = list(rows)
        for k in range(8):
            if not k & distance:
                pair = rows[k], rows[k + distance]
                out[k] = b.shuffle_vector(*pair, ir.Constant(kind, lower))
                out[k + distance] = b.shuffle_vector(*pair, ir.Constant(kind, upper))
        rows = out
    return rows


def _coordinates(b: Any, points: Any, references: Any, column: Any) -> list[Any]:
    """Pointers to the coordinate (word `column` of a row) of each of the LANES points referred to."""
    at = words_at(b, references, ir.IntType(32))
    out = []
    for lane in range(LANES):
        row = b.zext(b.lshr(b.load(at(lane)), ir.Constant(ir.IntType(32), 1)), WORD)
        word = b.add(b.mul(row, ir.Constant(WORD, POINT)), column)
        out.append(b.gep(points, [b.mul(word, ir.Constant(WORD, 8))]))
    return out


def _gather(b: Any, arguments: list[Any]) -> None:
    out, points, references, column = arguments
    places = _coordinates(b, points, references, column)
    if LANES == 1:
        _store(b, out, _load(b, places[0]))
    else:
        _store(b, out, _transposed(b, [b.load(words_at(b, place, _VECTOR)(0), align=8) for place in places]))


def _scatter(b: Any, arguments: list[Any]) -> None:
    points, references, block, column = arguments
    places = _coordinates(b, points, references, column)
    if LANES == 1:
        _store(b, places[0], _load(b, block))
    else:
        for place, row in zip(places, _transposed(b, _load(b, block)), strict=True):
            b.store(row, words_at(b, place, _VECTOR)(0), align=8)


def _limb_places(b: Any, pointer: Any, start: Any, step: Any) -> list[Any]:
    at = words_at(b, pointer)(0)
    return [b.gep(at, [b.add(start, b.mul(step, ir.Constant(WORD, k)))]) for k in range(LIMBS)]


def _pack(b: Any, arguments: list[Any]) -> None:
    out, row, start, step = arguments
    wide = ir.IntType(64 * 7)
    value: Any = ir.Constant(wide, 0)
    for k, place in enumerate(_limb_places(b, row, start, step)):
        value = b.or_(value, b.shl(b.zext(b.load(place, align=8), wide), ir.Constant(wide, LIMB_BITS * k)))
    at = words_at(b, out)
    for k in range(6):
        b.store(b.trunc(b.lshr(value, ir.Constant(wide, 64 * k)), WORD), at(k), align=8)


def _unpack(b: Any, arguments: list[Any]) -> None:
    out, words, start, step = arguments
    wide = ir.IntType(64 * 7)
    value: Any = ir.Constant(wide, 0)
    at = words_at(b, words)
    for k in range(6):
        value = b.or_(value, b.shl(b.zext(b.load(at(k), align=8), wide), ir.Constant(wide, 64 * k)))
    for k, place in enumerate(_limb_places(b, out, start, step)):
        limb = b.trunc(b.lshr(value, ir.Constant(wide, LIMB_BITS * k)), WORD)
        b.store(b.and_(limb, ir.Constant(WORD, _MASK)), place, align=8)


def _copy_of(words: int) -> Emit:
    def emit(b: Any, arguments: list[Any]) -> None:
        out, row = (words_at(b, pointer) for pointer in arguments)
        for k, value in enumerate([b.load(row(k), align=8) for k in range(words)]):
            b.store(value, out(k), align=8)

    return emit


mul = operation("mul", _mul_vectors if LANES > 1 else mul_rows(P, LIMBS), rows=3)
"""mul(out, i, a, j, b, k): products."""
add = operation("add", _add_vectors if LANES > 1 else add_rows(P, LIMBS), rows=3)
sub = operation("sub", _sub_vectors if LANES > 1 else sub_rows(P, LIMBS), rows=3)
reduce = operation("reduce", _reduce, rows=2)
"""reduce(out, i, a, j): the same elements, canonical."""
equal = operation("equal", _equal, rows=2, returns=True)
"""equal(a, j, b, k): mask of the lanes in which two canonical blocks agree."""
select = operation("select", _select, rows=3, scalars=1)
"""select(out, i, a, j, b, k, mask): a where the mask has a bit, b elsewhere."""
negate = operation("negate", _negate, rows=2, scalars=1)
"""negate(out, i, a, j, mask): -a where the mask has a bit, a elsewhere; all canonical."""
gather = operation("gather", _gather, rows=3, scalars=1)
"""gather(out, i, points, 0, references, at, column): one coordinate of the points references[at .. at + LANES - 1]."""
scatter = operation("scatter", _scatter, rows=3, scalars=1)
"""scatter(points, 0, references, at, a, j, column): the way back."""
exchange_1, exchange_2, exchange_4 = (
    operation(f"exchange_{distance}", _exchange(distance) if LANES > 1 else _reduce, rows=2) for distance in (1, 2, 4)
)
"""exchange_d(out, i, a, j): lane l of a in lane l ^ d (of several lanes)."""
pack = operation("pack", _pack, rows=2, scalars=2)
"""pack(words, i, v, j, start, step): the canonical element with limbs in places start, start + step, ... of a row as 6
words of 64 bits."""
unpack = operation("unpack", _unpack, rows=2, scalars=2)
"""unpack(v, i, words, j, start, step): the way back."""
copy_block = operation("copy_block", _copy_of(BLOCK), rows=2)
"""copy_block(out, i, a, j), for a block; then for a point, and for a single element of 6 words."""
copy_row = operation("copy_row", _copy_of(POINT), rows=2)
copy_single = operation("copy_single", _copy_of(6), rows=2)
