"""What an account holds over all its books: exact, whatever sources sign, refused where no circuit could take it."""

from __future__ import annotations

import numpy as np
import pytest

from marginseal.errors import PolicyError
from marginseal.records.opening import MAX_LOTS, Opening
from prover.attest import net_lots


def book(*lots: int) -> Opening:
    q = np.zeros(8, dtype=np.int64)
    q[: len(lots)] = lots
    return Opening(q, 1, bytes(32))


def test_books_and_tiles_add_up() -> None:
    largest = MAX_LOTS - 1
    books = [(0, book(largest, 2)), (0, book(-largest, 3)), (0, book(largest)), (1, book(-7))]
    assert net_lots(books, 10, 8).tolist() == [largest, 5, 0, 0, 0, 0, 0, 0, -7, 0]


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("count", [2, 5])
def test_a_sum_past_the_bound_is_refused_and_does_not_wrap(sign: int, count: int) -> None:
    """Four books of nearly 2^62 lots wrap an int64; five come out as a plausible number."""
    with pytest.raises(PolicyError) as refused:
        net_lots([(0, book(sign * (MAX_LOTS - 1)))] * count, 8, 8)
    assert refused.value.code == "submission.lots"
