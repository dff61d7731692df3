"""Tiles: how the rows of a universe are laid on commitments of n rows each (protocol section 3).

Row i of the universe is row i mod n of tile i // n; the last tile ends where the universe does.  A tile knows what a
source may sign there: whole lots within the universe's bound, zero on rows beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from marginseal.algebra.srs import MAX_N, MIN_N
from marginseal.errors import InputError, RangeError
from marginseal.market.universe import Universe


def tile_count(rows: int, n: int) -> int:
    """How many tiles of n rows hold that many rows.  InputError tile.rows unless n is a power of two, 8 to 2048."""
    if n & (n - 1) or not MIN_N <= n <= MAX_N:
        raise InputError("tile.rows", f"a tile has a power of two of rows, {MIN_N} to {MAX_N}")
    return -(-rows // n)


@dataclass(frozen=True, eq=False)
class Tile:
    """Tile `index` of a universe at n rows; max_lots: int64, one bound for each of its rows that the universe has."""

    universe: bytes
    n: int
    index: int
    max_lots: NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, universe: Universe, n: int, index: int) -> Tile:
        """InputError tile.rows, tile.index."""
        if not 0 <= index < tile_count(len(universe), n):
            raise InputError("tile.index", f"a universe of {len(universe)} rows has no tile {index} of {n} rows")
        instruments = universe.instruments[index * n : (index + 1) * n]
        return cls(universe.digest, n, index, np.array([i.max_lots for i in instruments], dtype=np.int64))

    def check(self, q: NDArray[np.int64]) -> None:
        """RangeError tile.lots, tile.beyond; names the row, never the quantity."""
        if q.shape != (self.n,) or q.dtype != np.int64:
            raise RangeError("tile.lots", f"a tile's quantities are int64 ({self.n},)")
        rows = len(self.max_lots)
        # By comparison, not by abs: int64 has a negative with no positive.
        outside = (q[:rows] > self.max_lots) | (q[:rows] < -self.max_lots)
        if outside.any():
            row = self.index * self.n + int(outside.argmax())
            raise RangeError("tile.lots", f"row {row}: more lots than the universe allows one account")
        if q[rows:].any():
            raise RangeError("tile.beyond", "a quantity on a row that the universe does not have")


def tiles_of(universe: Universe, n: int) -> tuple[Tile, ...]:
    """All tiles of a universe, in order."""
    return tuple(Tile.of(universe, n, index) for index in range(tile_count(len(universe), n)))


def split(lots: Sequence[int] | NDArray[np.int64], tiles: Sequence[Tile]) -> list[NDArray[np.int64]]:
    """Signed lots of every row of the universe -> one int64 (n,) a tile, zero beyond the rows.

    RangeError tile.lots for a quantity past the bound or a count that is not the universe's."""
    rows = sum(len(tile.max_lots) for tile in tiles)
    try:
        whole = np.asarray(lots)
    except ValueError:  # nested sequences of different lengths
        whole = np.zeros(0)
    # By kind: numpy would cut a fraction off without a word, and take true for one.
    if whole.dtype.kind != "i" or whole.shape != (rows,):
        raise RangeError("tile.lots", f"a quantity for each of the universe's {rows} rows, a whole number below 2^63")
    out = []
    for tile in tiles:
        q = np.zeros(tile.n, dtype=np.int64)
        part = whole[tile.index * tile.n : tile.index * tile.n + len(tile.max_lots)]
        q[: len(part)] = part
        tile.check(q)
        out.append(q)
    return out
