"""`marginseal bench`: the whole pipeline on a synthetic book, in units of one multi-scalar product of the same run.

    unit_s = one product of 2,051 full-size scalars on the compiled curve wheel

The machine under it may be shared and slow; ratios to `unit_s` are what compares.  Every figure is the least of the
runs, the unit measured between them.
"""

from __future__ import annotations

import hashlib
import json
import resource
import secrets
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.output import progress

UNIT_SCALARS = 2051
LIMIT = 2**50  # of the full rule: wide enough for the synthetic book

Clock = Callable[[], float]


def bench(
    instruments: Annotated[int, typer.Option(min=1, max=65_536, help="N, instruments of the book.")] = 2048,
    scenarios: Annotated[int, typer.Option(min=1, max=16_384, help="S, scenarios of the epoch.")] = 2048,
    rule: Annotated[str, typer.Option(help="plain: a disclosure; full: an attestation.")] = "plain",
    workers: Annotated[int, typer.Option(min=1, max=2, help="Threads of the prover.")] = 1,
    runs: Annotated[int, typer.Option(min=1, help="Runs, of which the best counts.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Measure compile, prove and verify, in seconds and in units."""
    with progress("measuring", quiet=as_json) as step:
        figures = measure(instruments, scenarios, rule, workers=workers, runs=runs, observe=step)
    if as_json:
        print(json.dumps(figures, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{figures['instruments']} x {figures['scenarios']}, {rule}, {workers} worker(s)")
    table.add_column("figure")
    table.add_column("value", justify="right")
    table.add_column("units", justify="right")
    for name in ("setup_s", "compile_s", "witness_s", "prove_s", "verify_s", "verify_first_s"):
        table.add_row(name, f"{figures[name]:.4f}", f"{figures[name] / figures['unit_s']:.2f}")
    for name in ("unit_s", "proof_bytes", "peak_rss_bytes"):
        table.add_row(name, str(figures[name]), "")
    for name, share in figures["shares"].items():
        table.add_row(f"  share: {name}", f"{share:.1%}", "")
    Console().print(table)


def unit_product() -> Callable[[], float]:
    """A function that times one unit: 2,051 full-size scalars on the compiled wheel."""
    from marginseal.algebra.curve import backend
    from marginseal.algebra.field import R
    from marginseal.algebra.srs import ceremony

    curve = backend("arkworks")
    points = ceremony().g1(curve)[:UNIT_SCALARS]
    scalars = b"".join(secrets.randbelow(R).to_bytes(32, "little") for _ in range(UNIT_SCALARS))

    def run() -> float:
        start = time.perf_counter()
        curve.msm_le_bytes(points, scalars)
        return time.perf_counter() - start

    return run


def measure(
    instruments: int,
    scenarios: int,
    rule: str,
    *,
    workers: int = 1,
    runs: int = 5,
    observe: Callable[[str], None] = lambda step: None,
) -> dict[str, Any]:
    """The figures of the table in docs/benchmarks.md.  InputError bench.rule for an unknown rule; RangeError bench.size
    for a matrix that no epoch may have (docs/formats.md, section 5)."""
    from marginseal.errors import InputError, RangeError
    from marginseal.market.epoch_bounds import MAX_CELLS

    if rule not in ("plain", "full"):
        raise InputError("bench.rule", f"there is no bench rule {rule!r}: plain or full")
    if instruments * scenarios > MAX_CELLS:
        raise RangeError("bench.size", f"instruments x scenarios: at most {MAX_CELLS}")
    with tempfile.TemporaryDirectory(prefix="marginseal-bench-") as folder:
        return _measure(instruments, scenarios, rule, workers, runs, Path(folder), observe)


def _measure(
    instruments: int,
    scenarios: int,
    rule: str,
    workers: int,
    runs: int,
    folder: Path,
    observe: Callable[[str], None],
) -> dict[str, Any]:
    import numpy as np

    from circuits.compile import compile_rule
    from circuits.model import rows_for
    from circuits.products import product
    from marginseal.algebra.commit import commitment_key
    from marginseal.algebra.field import R
    from marginseal.market.epoch import read_epoch
    from marginseal.records.statement import Tier
    from prover.prove import Secrets, prove
    from prover.witness import make_witness
    from verifier.verify import Setting, verify

    observe("setting up")
    setup_start = time.perf_counter()
    setting = Setting.default()
    commitment_key(rows_for(instruments), setting.srs, setting.vectors, workers, setting.curve)
    setup_s = time.perf_counter() - setup_start
    venues = 8 if rule == "full" else 0
    name = "worst_case_limits" if rule == "full" else "scenario_loss"
    file = folder / "epoch.bin"
    _write_epoch(file, instruments, scenarios, limits=rule == "full")
    epoch = read_epoch(file)
    compile_s, compiled = _timed(lambda: compile_rule(name, epoch, Tier.INITIAL, venues=venues))
    key = commitment_key(compiled.circuit.n, setting.srs, setting.vectors, workers, setting.curve)

    rng = np.random.default_rng(2)
    books = [_book(epoch, rng) for _ in range(2)]
    lots = books[0] + books[1]
    pledges = np.full(venues, 1000, dtype=np.int64) if venues else None
    loss = max(0, -int(product(epoch.pnl, lots).min()))
    inputs = (loss,) if rule == "plain" else ()
    statement, openings = _statement(compiled.circuit, epoch, books, pledges, inputs, key, rng, R)

    unit = unit_product()
    best: dict[str, float] = {"unit_s": unit()}
    shares: dict[str, float] = {}
    proof = b""
    for number in range(runs):
        observe(f"run {number + 1} of {runs}")
        steps = Steps(time.perf_counter)
        witness = make_witness(compiled, lots, pledges, inputs)
        proof = prove(
            compiled.circuit, statement, witness.columns, openings, Secrets(bytes(32)), setting=setting,
            workers=workers, observe=steps,
        )  # fmt: skip
        total = steps.finish()
        if total < best.get("prove_s", total + 1):
            shares = {step: spent / total for step, spent in steps.spent.items()}
            best["witness_s"] = steps.spent["witness"]
        _keep(best, "prove_s", total)
        _keep(best, "verify_s", _timed(partial(verify, compiled.circuit, statement, proof, setting=setting))[0])
        _keep(best, "unit_s", unit())
    observe("a venue's first verification")
    # In a process of its own, as at a venue that sees the epoch for the first time; its memory counts too.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        first = pool.submit(first_verification, file, name, venues, statement.encode(), proof)
        verify_first_s = first.result()
    return {
        "instruments": instruments,
        "scenarios": scenarios,
        "rule": rule,
        "workers": workers,
        "columns": compiled.circuit.columns,
        "rows": compiled.circuit.n,
        "equations": compiled.circuit.equations,
        **best,
        "verify_first_s": verify_first_s,
        "proof_bytes": len(proof),
        "peak_rss_bytes": peak_rss(),
        "compile_s": compile_s,
        "setup_s": setup_s,
        "shares": shares,
        "vectors": setting.vectors.name,
    }


def _write_epoch(file: Path, instruments: int, scenarios: int, *, limits: bool) -> None:
    """A synthetic epoch as canonical bytes, streamed: the matrix exists once."""
    from marginseal.market.epoch import encode_chunks
    from marginseal.market.synthetic import synthetic_epoch

    epoch = synthetic_epoch(instruments, scenarios, seed=1)
    if limits:
        names = {f"{greek}_limit.{u}": LIMIT for greek in ("delta", "gamma", "vega") for u in epoch.underlyings}
        epoch = replace(epoch, parameters=dict(epoch.parameters) | names)
    with open(file, "wb") as f:
        f.writelines(encode_chunks(epoch))


def first_verification(file: Path, name: str, venues: int, statement: bytes, proof: bytes) -> float:
    """Seconds from an epoch's bytes to a verified proof: decode, compile, verify; libraries already loaded."""
    from circuits.compile import compile_rule
    from marginseal.market.epoch import read_epoch
    from marginseal.records.statement import Statement, Tier
    from verifier.verify import Setting, verify

    setting, decoded = Setting.default(), Statement.decode(statement)

    def run() -> None:
        circuit = compile_rule(name, read_epoch(file), Tier.INITIAL, venues=venues).circuit
        verify(circuit, decoded, proof, setting=setting)

    return min(_timed(run)[0] for _ in range(2))


def sample(instruments: int, scenarios: int, *, count: int) -> tuple[Any, Any, list[bytes]]:
    """A plain circuit, a statement and `count` different proofs of it: for tables about many proofs."""
    import numpy as np

    from circuits.compile import compile_rule
    from circuits.products import product
    from marginseal.algebra.commit import commitment_key
    from marginseal.algebra.field import R
    from marginseal.market.synthetic import synthetic_epoch
    from marginseal.records.statement import Tier
    from prover.prove import Secrets, prove
    from prover.witness import make_witness

    epoch = synthetic_epoch(instruments, scenarios, seed=1)
    compiled = compile_rule("scenario_loss", epoch, Tier.INITIAL)
    rng = np.random.default_rng(2)
    book = _book(epoch, rng)
    inputs = (max(0, -int(product(epoch.pnl, book).min())),)
    key = commitment_key(compiled.circuit.n)
    statement, openings = _statement(compiled.circuit, epoch, [book], None, inputs, key, rng, R)
    columns = make_witness(compiled, book, None, inputs).columns
    secret = Secrets(bytes(32))
    return (
        compiled.circuit,
        statement,
        [prove(compiled.circuit, statement, columns, openings, secret) for _ in range(count)],
    )


class Steps:
    """Time by named step: called with the name of the step that begins."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._step, self._since, self.spent = clock, "witness", clock(), dict[str, float]()

    def __call__(self, step: str) -> None:
        now = self._clock()
        self.spent[self._step] = self.spent.get(self._step, 0.0) + now - self._since
        self._step, self._since = step, now

    def finish(self) -> float:
        self("end")
        return sum(self.spent.values())


def _book(epoch: Any, rng: Any) -> Any:
    """Signed lots, small enough that the synthetic epoch's value covers them: mostly long."""
    import numpy as np

    return rng.integers(0, 50, epoch.instruments).astype(np.int64)


def _statement(
    circuit: Any, epoch: Any, books: Any, pledges: Any, inputs: tuple[int, ...], key: Any, rng: Any, r: int
) -> tuple[Any, list[int]]:
    """A statement over commitments of two sources, with stand-in digests for the records a bench does not make."""
    import numpy as np

    from circuits.circuit import Role
    from marginseal.records import statement as st

    def commit(values: Any) -> tuple[bytes, int]:
        column = np.zeros(circuit.n, dtype=np.int64)
        column[: len(values)] = values
        blinder = secrets.randbelow(r)
        return key.commit_small(column, [blinder]), blinder

    entries, tile_blinders = [], [0] * circuit.tiles
    for source, book in enumerate(books):
        for tile in range(circuit.tiles):
            C, b0 = commit(book[tile * circuit.n : (tile + 1) * circuit.n])
            digest = hashlib.sha256(f"{source}/{tile}".encode()).digest()
            entries.append(st.SourceEntry(f"source-{source}", "book", tile, digest, C))
            tile_blinders[tile] += b0
    pledge, pledge_blinder = commit(pledges if pledges is not None else np.zeros(0, dtype=np.int64))
    stand_in = [hashlib.sha256(f"bench {i}".encode()).digest() for i in range(4)]
    statement = st.Statement(
        srs=key.srs.digest, epoch=circuit.epoch, universe=epoch.universe_digest, manifest=stand_in[0],
        source_registry=stand_in[1], venue_registry=stand_in[2], account="bench", account_key=stand_in[3], sequence=1,
        prev=st.NO_PREDECESSOR, cut_id="bench", cut_time=epoch.time, expiry=epoch.time + 3600,
        currency=epoch.currency, tick=epoch.tick, pledge=pledge, continuity=st.Continuity.FIRST,
        previous_pledge=None, releases=(), sources=tuple(entries),
        claims=(st.Claim(circuit.kind, circuit.digest, st.Tier.INITIAL, inputs),),
    )  # fmt: skip
    openings = [tile_blinders[b.tile] if b.role == Role.HOLDINGS else pledge_blinder for b in circuit.bound]
    return statement, openings


def peak_rss() -> int:
    """The largest resident set of this process or a child so far, bytes."""
    scale = 1 if sys.platform == "darwin" else 1024
    return scale * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def _timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    value = run()
    return time.perf_counter() - start, value


def _keep(best: dict[str, float], name: str, value: float) -> None:
    best[name] = min(value, best.get(name, value))
