"""The compiled kernels against plain Python and against the compiled curve library, as ratios within one run.

    python bench/algebra_kernels.py [--rounds 15] [--rows 2048] [--json out.json]

Everything is timed in turn, round after round, so that other work on the machine falls on all alike; the figure of each
is the least over its rounds.  One thread, except where two are said.  Products are of as many points as a column of
n rows with three blinders has, and of 256; `limbs` are values below n, with three full-size blinders.

MARGINSEAL_LANES=1 in the environment measures the arithmetic that runs on any processor.
"""

from __future__ import annotations

import argparse
import json
import secrets
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from marginseal.algebra.basis import CurveBasis
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.algebra.msm_numba import FixedBase
from marginseal.algebra.numba_compile import LANES
from marginseal.algebra.numba_lagrange import lagrange_basis
from marginseal.algebra.vectors import FieldVectors, PythonVectors
from marginseal.algebra.vectors_numba import NumbaVectors, warm_up

Run = Callable[[], Any]


def vector_runs(v: FieldVectors, n: int) -> dict[str, Run]:
    a, b = (v.from_ints([secrets.randbelow(R - 1) + 1 for _ in range(n)]) for _ in range(2))
    x = secrets.randbelow(R)
    return {
        f"vector product, {n}": partial(v.mul, a, b),
        f"batch inverse, {n}": partial(v.inverse, a),
        f"transform, {n}": partial(v.ntt, a),
        f"transform, {4 * n}": partial(v.ntt, v.concat([a, b, a, b])),
        f"evaluation, {n}": partial(v.evaluate, a, x),
        f"Lagrange values at a point, {n}": partial(v.barycentric, n, x),
    }


def on_two_threads(run: Run) -> None:
    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def times(run: Run, count: int) -> None:
    for _ in range(count):
        run()


def product_runs(count: int, values_below: int) -> dict[str, tuple[Run, Run]]:
    """Name to (compiled, curve library)."""
    curve = backend()
    points = [curve.mul(curve.generator, secrets.randbelow(R - 1) + 1) for _ in range(count)]
    compiled, library = FixedBase(curve.dump_g1(points)), CurveBasis(points, curve)
    scalars = b"".join(secrets.randbelow(R).to_bytes(32, "little") for _ in points)
    limbs = np.array([secrets.randbelow(values_below) for _ in range(count - 3)], np.int64)
    tail = scalars[:96]
    fast, slow = partial(compiled.msm, scalars), partial(library.msm, scalars)
    return {
        f"product of {count} scalars": (fast, slow),
        f"the same 8 times, two threads, {count}": (
            partial(on_two_threads, partial(times, fast, 4)),
            partial(on_two_threads, partial(times, slow, 4)),
        ),
        f"product of limbs, {count}": (
            partial(compiled.msm_small, limbs, tail),
            partial(library.msm_small, limbs, tail),
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--rows", type=int, default=2048)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    n: int = args.rows

    start = time.perf_counter()
    warm_up()
    print(f"{LANES} lanes; kernels ready in {time.perf_counter() - start:.1f} s")
    compiled, plain = vector_runs(NumbaVectors(), n), vector_runs(PythonVectors(), n)
    runs = {name: (run, plain[name], "Python") for name, run in compiled.items()}
    for count in (256, n + 3):
        runs |= {name: (*pair, "library") for name, pair in product_runs(count, n).items()}

    curve = backend()
    points = curve.dump_g1([curve.mul(curve.generator, pow(3, i, R)) for i in range(n)])
    alone: dict[str, Run] = {
        f"table of {n + 3} points": partial(FixedBase, points + points[: 3 * 96]),
        f"Lagrange basis of {n} rows": partial(lagrange_basis, points, n),
    }

    least: dict[str, list[float]] = {}
    for _ in range(args.rounds):
        for name, run in [(name, pair[:2]) for name, pair in runs.items()] + [
            (name, (run,)) for name, run in alone.items()
        ]:
            for k, call in enumerate(run):
                start = time.perf_counter()
                call()
                best = least.setdefault(name, [float("inf")] * len(run))
                best[k] = min(best[k], time.perf_counter() - start)

    print(f"{'':<42} {'compiled':>11} {'other':>11} {'ratio':>7}")
    for name, figures in least.items():
        line = f"{name:<42} {1e3 * figures[0]:8.3f} ms"
        if len(figures) == 2:
            line += f" {1e3 * figures[1]:8.3f} ms {figures[1] / figures[0]:7.1f}  {runs[name][2]}"
        print(line)
    if args.json is not None:
        args.json.write_text(json.dumps({"lanes": LANES, "seconds": least}, indent=1))


if __name__ == "__main__":
    main()
