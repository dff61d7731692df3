"""The one crossing from float to ticks (protocol section 10, last paragraph: rounding).

The rule, for an amount x in the settlement currency and a tick size t:

1. y = x / t, in binary64.
2. Guard grid: z = y * 4096 rounded half to even to an integer.  The product is exact (a power of two), |z| < 2**52.
3. The tick count is z / 4096 rounded half to even, in integers.

A grid step (1/4096 tick) is much coarser than the error of y and much finer than a tick.  So an amount that is a half
tick in exact arithmetic, as contract sizes times round moves often are, is a half tick after step 2 whatever the last
bits of y, and step 3 decides it by the rule.  What remains is an amount within float error of an odd multiple of
1/8192 tick next to a half tick; step 2 alone cannot make two different y agree there, and nothing could.  Agreement
between machines therefore rests on y itself being reproducible bit for bit: see elementary.py.

Amounts whose safe side is known (charges) round up instead, after the same guard grid.
"""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import numpy.typing as npt

from marginseal.errors import RangeError
from marginseal.market.elementary import FloatArray
from marginseal.market.epoch_bounds import MAX_ENTRY

Int64Array = npt.NDArray[np.int64]

GUARD_BITS = 12
_STEPS = 2**GUARD_BITS  # grid steps in a tick
_HALF = _STEPS // 2
# Float error of one amount, as a share of the largest price that enters it: a few dozen operations of 2**-53 each.
FLOAT_ERROR = 2.0**-45


def in_ticks(amounts: npt.ArrayLike, tick: str) -> FloatArray:
    """y = x / t, any shape.  RangeError quantize.out-of-range unless every |y| < 2**40 - 1 and none is NaN."""
    y = np.asarray(amounts, dtype=np.float64) / float(Decimal(tick))
    if y.size and not (float(y.min()) > 1 - MAX_ENTRY and float(y.max()) < MAX_ENTRY - 1):
        raise RangeError("quantize.out-of-range", f"an amount is not a number, or reaches 2**40 ticks of {tick}")
    return y


def _guarded(y: FloatArray) -> Int64Array:
    return np.rint(y * float(_STEPS)).astype(np.int64)


def round_ticks(amounts: npt.ArrayLike, tick: str) -> Int64Array:
    """Half to even after the guard grid, int64, any shape; |result| < 2**40."""
    z = _guarded(in_ticks(amounts, tick))
    ticks: Int64Array = z >> GUARD_BITS  # floor, also below zero
    rest = z & (_STEPS - 1)
    ticks += ((rest > _HALF) | ((rest == _HALF) & ((ticks & 1) == 1))).astype(np.int64)
    return ticks


def ceil_ticks(amounts: npt.ArrayLike, tick: str) -> Int64Array:
    """Up after the guard grid, int64, any shape: for requirements.  5.00001 ticks are on the grid of 5 and stay 5."""
    ticks: Int64Array = -((-_guarded(in_ticks(amounts, tick))) >> GUARD_BITS)
    return ticks


def rounding_error(amounts: FloatArray, ticks: Int64Array, tick: str, largest: FloatArray) -> Int64Array:
    """Largest distance of an exact amount from its ticks over the first axis, in 1/1000 tick, rounded up.

    amounts (S, N)   ticks (S, N)   largest (N,) the largest price of a lot that enters column i, same currency.
    err_i = ceil(1000 (max_s |y_si - ticks_si| + FLOAT_ERROR largest_i / t)).  Amounts rounded once stay near 500, sums
    of two near 1000."""
    y = in_ticks(amounts, tick)
    worst = np.abs(y - ticks.astype(np.float64)).max(axis=0)
    allowance = in_ticks(largest, tick) * FLOAT_ERROR
    thousandths: Int64Array = np.ceil((worst + allowance) * 1000.0).astype(np.int64)
    return thousandths
