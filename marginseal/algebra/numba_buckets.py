"""Sums of many points in many buckets, compiled: the inside of a fixed-base multi-scalar product.

A product sum_i s_i P_i is cut into signed digits, s_i = sum_j 2^(c j) d_ij with |d_ij| <= 2^(c-1), and the table holds
2^(c j) P_i; so every non-zero digit sends one table point to the bucket |d|, whatever its window j, and

    sum_i s_i P_i = sum_{v=1}^{2^(c-1)} v B_v,     B_v = sum of the points in bucket v.

Buckets are summed by halving: in each round the points of every bucket are added in pairs, all pairs of all buckets in
batches that share an inversion.  The weighted sum of the buckets is taken the same way: with v = 2^s high + low,
sum v B_v = 2^s sum_high high R_high + sum_low low C_low, where R and C are again sums of buckets; what is left is two
running sums over some 2^(c/2) points.
"""

from __future__ import annotations

import numpy as np
from numba import types
from numpy.typing import NDArray

from marginseal.algebra.numba_compile import IN, INDEX, LANES, OUT, Words, helper, kernel
from marginseal.algebra.numba_lanes import LIMBS, copy_single, gather, scatter
from marginseal.algebra.numba_points import (
    References,
    add_pairs,
    copy_point,
    double_blocks,
)
from marginseal.algebra.numba_projective import add_points, set_infinity, set_point, to_plain

_SIGNS = types.Array(types.boolean, 1, "C", readonly=True)


def windows_of(c: int) -> int:
    """Digits of c bits that any 256-bit scalar needs; the last one receives a carry."""
    return -(-257 // c)


@kernel(types.void, IN, INDEX, OUT, OUT, OUT, OUT)
def extend_table(points: Words, c: int, table: Words, denominators: Words, prefixes: Words, t: Words) -> None:
    """table[j m + i] = 2^(c j) points[i], m = len(points), for as many windows j as the table has."""
    m = len(points)
    blocks = (m + LANES - 1) // LANES
    rows = np.empty(blocks * LANES, np.int32)
    for i in range(blocks * LANES):
        rows[i] = 2 * min(i, m - 1)
    x, y = np.empty_like(denominators[:blocks]), np.empty_like(denominators[:blocks])
    for n in range(blocks):
        gather(x, n, points, 0, rows, n * LANES, 0)
        gather(y, n, points, 0, rows, n * LANES, LIMBS)
    for j in range(len(table) // m):
        if j > 0:
            for _ in range(c):
                double_blocks(x, y, denominators, prefixes, t)
        for n in range(blocks):
            scatter(table, j * m, rows, n * LANES, x, n, 0)
            scatter(table, j * m, rows, n * LANES, y, n, LIMBS)


@helper
def recode(
    scalars: Words, negative: NDArray[np.bool_], c: int, m: int, buckets: References, entries: References
) -> int:
    """The non-zero digits of all scalars: bucket |d| and reference of the table point; how many there are."""
    count = 0
    full, half = 1 << c, 1 << (c - 1)
    for i in range(len(scalars)):
        bits = 256
        while bits > 0 and scalars[i, bits // 64 - 1] == 0:
            bits -= 64
        carry, position, j = 0, 0, 0
        while position < bits or carry:
            digit = carry
            if position < 256:
                word, shift = position // 64, position % 64
                part = scalars[i, word] >> np.uint64(shift)
                if shift + c > 64 and word < 3:
                    part |= scalars[i, word + 1] << np.uint64(64 - shift)
                digit += int(part & np.uint64(full - 1))
            carry = 0
            if digit > half:
                digit -= full
                carry = 1
            if digit != 0:
                buckets[count] = abs(digit)
                entries[count] = 2 * (j * m + i) + ((digit < 0) ^ negative[i])
                count += 1
            position += c
            j += 1
    return count


@helper
def sort_by_bucket(buckets: References, entries: References, count: int, starts: References, out: References) -> None:
    """Counting sort: the entries of bucket v go to out[starts[v] : starts[v + 1]].  starts has one place more than
    there are buckets."""
    starts[:] = 0
    for k in range(count):
        starts[buckets[k] + 1] += 1
    for v in range(1, len(starts)):
        starts[v] += starts[v - 1]
    for k in range(count):
        place = starts[buckets[k]]
        out[place] = entries[k]
        starts[buckets[k]] = place + 1
    for v in range(len(starts) - 1, 0, -1):
        starts[v] = starts[v - 1]
    starts[0] = 0


@helper
def sum_buckets(
    source: Words,
    entries: References,
    starts: References,
    places: References,
    out: Words,
    pairs: NDArray[np.int32],
    denominators: Words,
    prefixes: Words,
    t: Words,
) -> None:
    """The sum of source[entries[starts[v] : starts[v + 1]]] in row places[v] of out, for every bucket v that has any
    entries; places[v] = -1 for the others.  pairs has three rows of room for half of the entries."""
    a, b, to = pairs[0], pairs[1], pairs[2]
    count, used, longest = 0, 0, 0
    for v in range(len(places)):
        begin, size = starts[v], starts[v + 1] - starts[v]
        places[v] = used if size else -1
        longest = max(longest, size)
        for k in range(size // 2):
            a[count], b[count] = entries[begin + 2 * k], entries[begin + 2 * k + 1]
            to[count] = 2 * used
            count += 1
            used += 1
        if size % 2:
            copy_point(out, used, source, entries[begin + size - 1])
            used += 1
    stride = 1
    while True:
        # One call for all rounds: each place it is called from would be compiled by itself.
        add_pairs(source, a, b, to, count, out, denominators, prefixes, t)
        if 2 * stride >= longest:
            return
        source = out
        count = 0
        for v in range(len(places)):
            # Rows places[v] + stride * k hold what is left of the bucket.
            left = (starts[v + 1] - starts[v] + 2 * stride - 1) // (2 * stride)
            for k in range(left // 2):
                row = places[v] + 2 * stride * k
                a[count], b[count], to[count] = 2 * row, 2 * (row + stride), 2 * row
                count += 1
        stride *= 2


@helper
def regroup(places: References, low_bits: int, rows: int, buckets: References, entries: References) -> int:
    """Every bucket v that is not empty as an entry of row v / 2^low_bits and of column v mod 2^low_bits, the columns
    numbered after the rows; how many entries."""
    count = 0
    for v in range(1, len(places)):
        if places[v] >= 0:
            buckets[count], buckets[count + 1] = v >> low_bits, rows + (v & ((1 << low_bits) - 1))
            entries[count], entries[count + 1] = 2 * places[v], 2 * places[v]
            count += 2
    return count


@helper
def weighted(v: Words, points: Words, places: References, begin: int, end: int, t: Words) -> None:
    """sum_{k >= 1} k X_k in rows 0 .. 2 of v, X_k the point of place begin + k < end (infinity where there is none)."""
    set_infinity(v, 0)
    set_infinity(v, 3)
    for k in range(end - 1, begin, -1):
        if places[k] >= 0:
            set_point(v, 6, points, places[k])
            add_points(v, 3, 6, t)
        add_points(v, 0, 3, t)


@kernel(types.boolean, OUT, INDEX, INDEX, IN, _SIGNS, OUT, OUT, types.Array(types.int32, 2, "C"), OUT, OUT, OUT, OUT)
def product(
    table: Words,
    m: int,
    c: int,
    scalars: Words,
    negative: NDArray[np.bool_],
    sums: Words,
    halves: Words,
    lists: NDArray[np.int32],
    denominators: Words,
    prefixes: Words,
    t: Words,
    plain: Words,
) -> bool:
    """sum_i +-scalars_i points_i as plain x, y in rows 0 and 1 of `plain`; False for infinity.

    The rest is scratch (`_Workspace` in `msm_numba.py` says how large)."""
    low_bits = (c - 1) // 2
    sizes = ((1 << (c - 1)) + 1, (1 << (c - 1 - low_bits)) + 1 + (1 << low_bits))
    rows = (1 << (c - 1 - low_bits)) + 1
    starts = np.empty(max(sizes) + 1, np.int32)
    places = np.empty(max(sizes), np.int32)
    source, out = table, sums
    for stage in range(2):
        size = sizes[stage]
        if stage == 0:
            count = recode(scalars, negative, c, m, lists[0], lists[1])
        else:
            count = regroup(places[: sizes[0]], low_bits, rows, lists[0], lists[1])
            source, out = sums, halves
        sort_by_bucket(lists[0], lists[1], count, starts[: size + 1], lists[2])
        sum_buckets(source, lists[2], starts[: size + 1], places[:size], out, lists[3:], denominators, prefixes, t)
    v = np.empty((12, 6), np.uint64)
    scratch = np.empty((8, 6), np.uint64)
    begin, end = rows, sizes[1]
    for stage in range(2):
        # The columns first, kept in rows 9 to 11.
        weighted(v, halves, places, begin, end, scratch)
        if stage == 0:
            for k in range(3):
                copy_single(v, 9 + k, v, k)
            begin, end = 0, rows
    for _ in range(low_bits):
        add_points(v, 0, 0, scratch)
    add_points(v, 0, 9, scratch)
    return to_plain(v, 0, plain)
