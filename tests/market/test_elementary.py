"""exp, log and the normal distribution against 60-digit arithmetic, and their bits against pinned digests."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from marginseal.market.elementary import MILLS, exp, log, ndtr, normal_density, power

ROOT = Path(__file__).resolve().parents[2]
PINNED = ["8d7bafc3398f9dba", "4c534571247fc735", "1b55aa5931fc3694"]  # exp, log, ndtr
PI = Decimal("3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534")


def cosine(x: Decimal) -> Decimal:
    term = total = Decimal(1)
    for k in range(1, 80):
        term *= -x * x / ((2 * k - 1) * (2 * k))
        total += term
    return total


def density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * PI).sqrt()


def lower_tail(x: Decimal) -> Decimal:
    """Phi(x) for x <= 0: 1/2 - phi(x) (|x| + |x|^3/3 + |x|^5/(3 5) + ...); call it with digits to spare."""
    a = -x
    term = total = a
    for k in range(1, 700):
        term *= a * a / (2 * k + 1)
        total += term
    return Decimal("0.5") - density(a) * total


def mills(x: Decimal) -> Decimal:
    if x < 14:
        return lower_tail(-x) / density(x)
    term = total = Decimal(1)
    for k in range(1, 60):
        term *= -(2 * k - 1) / (x * x)
        total += term
    return total / x


def ulps(got: float, exact: Decimal) -> float:
    return float(abs(Decimal(got) - exact)) / math.ulp(float(exact))


def test_exp_and_log_are_within_four_ulps() -> None:
    rng = np.random.default_rng(1)
    xs = np.concatenate([rng.uniform(-700, 700, 200), rng.uniform(-1, 1, 200), rng.uniform(-1e-9, 1e-9, 20)])
    with localcontext() as context:
        context.prec = 60
        assert max(ulps(float(y), Decimal(float(x)).exp()) for x, y in zip(xs, exp(xs), strict=True)) < 4
        ys = np.concatenate([10.0 ** rng.uniform(-300, 300, 200), 1 + rng.uniform(-0.4, 0.4, 300), [1 + 2**-52]])
        assert max(ulps(float(x), Decimal(float(y)).ln()) for y, x in zip(ys, log(ys), strict=True)) < 4


def test_exact_values() -> None:
    assert exp(0.0) == 1.0
    assert exp(-709.0) == 0.0
    assert log(1.0) == 0.0
    assert ndtr(0.0) == ndtr(-0.0) == 0.5
    assert ndtr([np.inf, -np.inf, 100.0, -100.0]).tolist() == [1.0, 0.0, 1.0, 0.0]
    assert power(30.0, 0.0) == 1.0
    assert power(2.0, 3.0) == pytest.approx(8.0, rel=1e-15)


def test_the_normal_distribution_to_sixteen_digits() -> None:
    xs = np.linspace(-8.0, 8.0, 161)
    values = ndtr(xs)
    with localcontext() as context:
        context.prec = 60
        for x, value in zip(xs, values, strict=True):
            tail = lower_tail(-abs(Decimal(float(x))))
            exact = tail if x <= 0 else 1 - tail
            assert abs(Decimal(float(value)) - exact) < Decimal("3e-16")
            if x < 0:
                assert abs(Decimal(float(value)) / exact - 1) < Decimal("2e-14")
        assert abs(Decimal(float(normal_density(1.5))) - density(Decimal("1.5"))) < Decimal("2e-16")
    assert (values + ndtr(-xs)).tolist() == [1.0] * len(xs)
    assert np.all(np.diff(ndtr(np.linspace(-9, 9, 20_001))) >= 0)


def test_the_chebyshev_coefficients_are_derived_again() -> None:
    """c_k from the values of (x + 4) M(x) at 60 Chebyshev nodes, in 110 digits; what is cut off stays below 3e-17."""
    nodes = 60
    with localcontext() as context:
        context.prec = 110
        angles = [PI * (2 * k + 1) / (2 * nodes) for k in range(nodes)]
        cosines = [cosine(a) for a in angles]
        values = []
        for t in cosines:
            x = 4 * (1 + t) / (1 - t)
            values.append(mills(x) * (x + 4))
        table = {m: cosine(PI * m / (2 * nodes)) for m in range(4 * nodes)}
        coefficients = []
        for j in range(36):
            total = sum(v * table[(j * (2 * k + 1)) % (4 * nodes)] for k, v in enumerate(values))
            coefficients.append(total / nodes * (2 if j else 1))
        for pinned, derived in zip(MILLS, coefficients, strict=False):
            assert abs(Decimal(pinned) - derived) <= Decimal(math.ulp(pinned))
        assert sum(abs(c) for c in coefficients[len(MILLS) :]) < Decimal("3e-17")


def digests() -> list[str]:
    x = np.arange(-40_000, 40_001, dtype=np.float64) / 4096.0
    return [hashlib.sha256(f.astype(">f8").tobytes()).hexdigest()[:16] for f in (exp(x), log(exp(x)), ndtr(x))]


def test_every_bit_is_pinned() -> None:
    """The digests hold on any IEEE 754 machine; one that gives others cannot rebuild an epoch."""
    assert digests() == PINNED


def test_no_bit_depends_on_the_vector_unit() -> None:
    """numpy picks other code for other instruction sets; with the wide ones off, the digests stay."""
    wide = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    run = subprocess.run(
        [sys.executable, "-c", "from tests.market.test_elementary import digests; print(*digests())"],
        cwd=ROOT,
        env={"NPY_DISABLE_CPU_FEATURES": " ".join(wide), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == PINNED
