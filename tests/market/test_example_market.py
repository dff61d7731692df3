"""The shipped example: its files follow from their script, its numbers from its README, from any folder."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from marginseal.market.epoch import RiskEpoch, decode, encode
from marginseal.market.example import ExampleMarket, example_file, example_market
from marginseal.market.portfolio import Portfolio, merge

ROOT = Path(__file__).resolve().parents[2]
FILES = (
    "universe.json",
    "snapshot.json",
    "crash-snapshot.json",
    "parameters.json",
    *(f"{kind}{source}.csv" for kind in ("", "crash-") for source in ("custodian", "venue-a", "venue-b")),
    "unhealthy-venue-b.csv",
)


@pytest.fixture(scope="module")
def market() -> ExampleMarket:
    return example_market()


def surplus(epoch: RiskEpoch, book: Portfolio, tier: str) -> int:
    """value.q - charges - factor x worst loss, in ticks, by plain loops over Python integers."""
    q = [int(x) for x in book.lots]
    rows = range(len(q))
    value = sum(int(epoch.value[i]) * q[i] for i in rows)
    charge = sum(int(epoch.haircut_long[i]) * max(q[i], 0) + int(epoch.haircut_short[i]) * max(-q[i], 0) for i in rows)
    held = [i for i in rows if q[i]]
    worst = max(0, *(-sum(int(row[i]) * q[i] for i in held) for row in epoch.pnl))
    return value - charge - -(-worst * epoch.parameters[f"{tier}_factor_permille"] // 1000)


def together(books: Mapping[str, Portfolio]) -> Portfolio:
    return merge(books.values())


def test_what_is_shipped(market: ExampleMarket) -> None:
    assert len(market.universe) == market.epoch.instruments == 357
    assert market.epoch.scenarios == 163
    kinds = {(i.kind, i.contract) for i in market.universe.instruments}
    wanted = {("cash", "linear"), ("spot", "linear"), ("staked", "linear"), ("perpetual", "linear")}
    assert wanted | {("perpetual", "inverse"), ("future", "inverse"), ("option", "inverse")} == kinds
    assert market.universe.underlyings == ("BTC", "ETH")
    assert market.universe.currencies == ("USDC",)
    assert decode(encode(market.epoch)) == market.epoch
    assert market.crash_epoch.universe_digest == market.epoch.universe_digest


def test_the_digests_are_pinned(market: ExampleMarket) -> None:
    assert market.epoch.digest.hex() == "539b2a253d5d40cf8a86dcfd5192047669b5be6cc3bfcc3d6c8c74d8a9680d04"
    assert market.crash_epoch.digest.hex() == "96d8d4a5ed0fc78100b5fcd3697720f1c95e805e2fefa8a20c2afb7c9886dd06"


def test_the_script_makes_the_shipped_files(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("make_example_market", ROOT / "examples" / "make_example_market.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == example_file(name)


def test_the_hedged_book_is_healthy_only_as_one(market: ExampleMarket) -> None:
    for tier, as_one in (("initial", 1.529e8), ("maintenance", 1.906e8)):
        assert surplus(market.epoch, together(market.books), tier) == pytest.approx(as_one, abs=1e5)
        assert surplus(market.epoch, market.books["venue-a"], tier) < -2.5e8
    needs = [
        int(market.epoch.value @ book.lots) - surplus(market.epoch, book, "initial")
        for book in (*market.books.values(), together(market.books))
    ]
    assert sum(needs[:-1]) > 2 * needs[-1] > 0
    assert together(market.two_sources) == together(market.books)
    assert surplus(market.epoch, market.two_sources["venue-a"], "initial") < 0


def test_the_unhealthy_book_and_the_crash_fail_at_either_tier(market: ExampleMarket) -> None:
    for tier, turned, crash in (("initial", -2.378e8, -0.668e8), ("maintenance", -1.288e8, -0.263e8)):
        assert surplus(market.epoch, together(market.unhealthy), tier) == pytest.approx(turned, abs=1e5)
        assert surplus(market.crash_epoch, together(market.crash_books), tier) == pytest.approx(crash, abs=1e5)


def test_limits_tell_the_books_apart(market: ExampleMarket) -> None:
    for k, underlying in enumerate(market.epoch.underlyings):
        of = market.epoch.underlying_of == k
        limit = market.epoch.parameters[f"delta_limit.{underlying}"]
        assert abs(int((market.epoch.delta * together(market.books).lots)[of].sum())) <= limit
        assert abs(int((market.epoch.delta * together(market.unhealthy).lots)[of].sum())) > limit


def test_settlement_kept_the_value(market: ExampleMarket) -> None:
    """The crash books hold the same contracts; what futures lost or gained is in cash and coin, to a lot."""
    for source, before in market.books.items():
        after = market.crash_books[source]
        changed = np.flatnonzero(before.lots != after.lots)
        assert {market.universe.instruments[r].kind for r in changed} <= {"cash", "spot"}
        gain = 0.0
        for row in np.flatnonzero(before.lots):
            i = market.universe.instruments[row]
            if i.kind in ("perpetual", "future"):
                f0, f1 = market.snapshot.quotes[i.id].mark, market.crash.quotes[i.id].mark
                spot = market.crash.index[i.underlying].price
                unit = (1 / f0 - 1 / f1) * spot if i.contract == "inverse" else f1 - f0
                gain += int(before.lots[row]) * float(i.lot) * unit
        paid = int(market.crash_epoch.value @ (after.lots - before.lots)) / 100
        assert paid == pytest.approx(gain, abs=800)
        assert paid <= gain + 1


def test_it_loads_from_any_folder(tmp_path: Path) -> None:
    code = "from marginseal.market.example import example_market; print(len(example_market().universe))"
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "357"


def test_the_saving_script_runs() -> None:
    run = subprocess.run(
        [sys.executable, "examples/margin_saving.py"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "all as one     initial         3.798    2.270    1.529" in run.stdout
