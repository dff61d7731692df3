"""Every table of docs/benchmarks.md, as Markdown on standard output:  python bench/tables.py > docs/benchmarks.md

Each row comes from a process of its own (`marginseal bench`), in units of one multi-scalar product with 2,051 full-size
scalars measured in the same run.  Nothing here passes or fails; the targets stand beside the figures.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from typing import Any

Figures = dict[str, Any]


def bench(instruments: int, scenarios: int, *, rule: str = "plain", workers: int = 1, runs: int = 5) -> Figures:
    command = [
        sys.executable, "-c", "from marginseal.cli.main import main; main()", "bench", "--json",
        "--instruments", str(instruments), "--scenarios", str(scenarios), "--rule", rule,
        "--workers", str(workers), "--runs", str(runs),
    ]  # fmt: skip
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(workers)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    figures: Figures = json.loads(done.stdout)
    return figures


def units(figures: Figures, name: str) -> str:
    return f"{figures[name] / figures['unit_s']:.2f}"


def row(*cells: object) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def head(*cells: str) -> None:
    row(*cells)
    row(*("---" for _ in cells))


def main_table() -> Figures:
    print("## Prove, verify, size, memory\n")
    head("N = S", "rule", "workers", "unit ms", "prove", "verify", "verify first", "compile", "proof bytes", "peak MB")
    kept: dict[tuple[int, str, int], Figures] = {}
    cases = [(256, "plain", 1), (2048, "plain", 1), (2048, "plain", 2), (4096, "plain", 1)]
    for n, rule, workers in [*cases, (256, "full", 1), (2048, "full", 1), (2048, "full", 2)]:
        f = kept[n, rule, workers] = bench(n, n, rule=rule, workers=workers)
        row(
            f"{n:,}", rule, workers, f"{f['unit_s'] * 1e3:.0f}", units(f, "prove_s"), units(f, "verify_s"),
            units(f, "verify_first_s"), units(f, "compile_s"), f"{f['proof_bytes']:,}",
            f"{f['peak_rss_bytes'] / 1e6:.0f}",
        )  # fmt: skip
    ratio = kept[4096, "plain", 1]["prove_s"] / kept[4096, "plain", 1]["unit_s"]
    ratio /= kept[2048, "plain", 1]["prove_s"] / kept[2048, "plain", 1]["unit_s"]
    print(f"\nProving 4,096 in tiles costs {ratio:.2f} times proving 2,048.\n")
    print("Targets, plain: 2,048 prove 13 with one worker and 9 with two, verify 0.5, 1,200 bytes, 500 MB, compile 10;")
    print("256 prove 3, verify 0.25, 1,650 bytes; 4,096 prove 2.3 times the row for 2,048, 900 MB.\n")
    print("For scale: the strongest general-purpose prover, the equations batched by a challenge outside its circuit,")
    print("took 46 units at 2,048 and 10 at 256, with proofs of 14.7 KB, when it was measured for this project")
    print("(elsewhere, at a unit of 45 ms; not part of this run).\n")
    return kept[2048, "plain", 1]


def growth_table() -> None:
    print("## How cost grows\n")
    head("N", "S", "columns", "prove", "verify")
    for n, s in [(256, 256), (512, 512), (1024, 1024), (2048, 2048), (2048, 256), (256, 2048), (1024, 4096)]:
        f = bench(n, s, runs=3)
        row(f"{n:,}", f"{s:,}", f["columns"], units(f, "prove_s"), units(f, "verify_s"))
    print()


def share_table(f: Figures) -> None:
    print("## Where the time goes (2,048, plain, one worker)\n")
    head("step", "share")
    for step, share in f["shares"].items():
        row(step, f"{share:.0%}")
    print()


def batch_table() -> None:
    """100 proofs together against 100 one by one, in one process."""
    from marginseal.cli.bench import sample
    from verifier.batch import Item, verify_batch
    from verifier.verify import verify

    circuit, statement, proofs = sample(256, 256, count=100)
    items = [Item(circuit, statement, proof) for proof in proofs]
    start = time.perf_counter()
    for proof in proofs:
        verify(circuit, statement, proof)
    single = time.perf_counter() - start
    start = time.perf_counter()
    assert not any(verify_batch(items))
    together = time.perf_counter() - start
    wrong = list(items)
    wrong[37] = Item(circuit, statement, proofs[37][:-48] + proofs[38][-48:])
    start = time.perf_counter()
    named = [i for i, error in enumerate(verify_batch(wrong)) if error is not None]
    assert named == [37]
    bisected = time.perf_counter() - start
    print("## 100 proofs at N = S = 256, plain\n")
    head("how", "against one by one")
    row("one by one", "1.00")
    row("in one batch", f"{together / single:.2f}")
    row("in one batch, one of them wrong and named by bisection", f"{bisected / single:.2f}")
    print()


def main() -> None:
    print("# Benchmarks\n")
    print(
        "Made by `make bench`. Times are in units: one multi-scalar product with 2,051 full-size scalars on the curve"
    )
    print("wheel, measured in the same run; the least of the runs. Prove includes the witness and self-verification.\n")
    print(f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}.\n")
    f = main_table()
    growth_table()
    share_table(f)
    batch_table()


if __name__ == "__main__":
    main()
