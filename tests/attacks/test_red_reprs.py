"""Nothing private in a representation: what a debugger, a failed assertion or a stray log line would print."""

from __future__ import annotations

import numpy as np
import pytest

from circuits.check import Failure
from circuits.evaluate import evaluate_rule
from circuits.rules.example import example_epoch
from marginseal.algebra.commit import Coefficients, Small, Values
from marginseal.algebra.vectors import default_vectors
from marginseal.records.statement import Tier
from prover.columns import Column

SECRET = 31_415_926_535


@pytest.mark.parametrize(
    "held",
    [
        Small(np.array([SECRET]), (SECRET,)),
        Values([SECRET], (SECRET,)),
        Coefficients([SECRET], (SECRET,)),
        Column.of(default_vectors().from_ints([SECRET] * 8), (SECRET,), default_vectors()),
        Failure("scenario [0]", "q [0]", "vector 0", 0, SECRET),
    ],
    ids=lambda held: type(held).__name__,
)
def test_columns_and_residuals(held: object) -> None:
    assert str(SECRET) not in repr(held)
    assert "blinders" not in repr(held)


def test_an_evaluation_prints_no_amount() -> None:
    lots = np.array([31_415, 0, 0, 0, 0])
    result = evaluate_rule("worst_case", example_epoch(), Tier.INITIAL, lots, np.array([0]))
    assert result.figure("value") == 31_415
    assert "31415" not in repr(result)
    assert "31415" not in repr(result.lines)
