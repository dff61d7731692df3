"""The example market that is shipped with the package: loaded from its files like any other market.

Two underlyings, 357 instruments, an ordinary day and a crash, one fund's book over three sources.  Its files are made
by examples/make_example_market.py; the numbers that the books lead to are in their README.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType

from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch
from marginseal.market.parameters import RiskParameters, parse_parameters
from marginseal.market.portfolio import Portfolio, merge, parse_holdings_csv
from marginseal.market.snapshot import Snapshot, parse_snapshot
from marginseal.market.universe import Universe, parse_universe

SOURCES = ("custodian", "venue-a", "venue-b")


@dataclass(frozen=True)
class ExampleMarket:
    """The market and one fund's books by source.

    books         healthy as one portfolio, two of them unhealthy alone
    unhealthy     the same with venue-b's hedge turned round: fails at either tier
    crash_books   the books on the crash day, futures and perpetuals settled: they fail at either tier
    """

    universe: Universe
    snapshot: Snapshot
    crash: Snapshot
    parameters: RiskParameters
    books: Mapping[str, Portfolio]
    unhealthy: Mapping[str, Portfolio]
    crash_books: Mapping[str, Portfolio]

    @property
    def two_sources(self) -> Mapping[str, Portfolio]:
        """The healthy book over two sources: venue-b is its own custodian."""
        return {
            "venue-a": self.books["venue-a"],
            "venue-b": merge([self.books["custodian"], self.books["venue-b"]]),
        }

    @cached_property
    def epoch(self) -> RiskEpoch:
        """The epoch of the ordinary day."""
        return build_epoch(self.universe, self.snapshot, self.parameters)

    @cached_property
    def crash_epoch(self) -> RiskEpoch:
        """The epoch of the crash day, over the same universe and parameters."""
        return build_epoch(self.universe, self.crash, self.parameters)


def example_file(name: str) -> bytes:
    """One file of the example market, wherever the package is installed."""
    return files("marginseal").joinpath("data", "example", name).read_bytes()


def example_market() -> ExampleMarket:
    """The whole example market, checked like a user's files."""
    universe = parse_universe(example_file("universe.json"))

    def books(*names: str) -> Mapping[str, Portfolio]:
        loaded = {
            s: parse_holdings_csv(example_file(f"{n}.csv"), universe) for s, n in zip(SOURCES, names, strict=True)
        }
        return MappingProxyType(loaded)

    return ExampleMarket(
        universe=universe,
        snapshot=parse_snapshot(example_file("snapshot.json"), universe),
        crash=parse_snapshot(example_file("crash-snapshot.json"), universe),
        parameters=parse_parameters(example_file("parameters.json")),
        books=books(*SOURCES),
        unhealthy=books("custodian", "venue-a", "unhealthy-venue-b"),
        crash_books=books(*(f"crash-{s}" for s in SOURCES)),
    )
