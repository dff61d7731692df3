"""The example market that is shipped with the package: loaded from its files like any other market.

Two underlyings, 357 instruments, an ordinary day and a crash, one fund's book over three sources.  Its files are made
by examples/make_example_market.py; the numbers that the books lead to are in their README.

`example_market(at=...)` is the same market at another moment, for a service that looks at the clock: instruments expire
as many whole days later, quotes are of that moment, prices and books stay.  The shipped bytes are those of `at=None`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from types import MappingProxyType

from marginseal.market import fields
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch
from marginseal.market.importer import expiry_name
from marginseal.market.parameters import RiskParameters, parse_parameters
from marginseal.market.portfolio import Portfolio, merge, parse_holdings_csv
from marginseal.market.snapshot import Index, Quote, Snapshot, parse_snapshot
from marginseal.market.universe import Instrument, Universe, parse_universe

SOURCES = ("custodian", "venue-a", "venue-b")
DAY = 86_400


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


def example_market(at: int | None = None, *, crash_after_s: int | None = None) -> ExampleMarket:
    """The whole example market, checked like a user's files.

    at             unix seconds of the ordinary day's snapshot; None: as shipped
    crash_after_s  how long after it the crash is; None: as shipped, 26 hours

    Deterministic.  Expiries move by the whole number of days nearest to the shift, so time to expiry changes by at
    most half a day.  InputError field.integer, RangeError for a moment more than a year before or ten after the
    shipped one, and for a crash later than the first expiry could bear (two days)."""
    shipped = _shipped()
    if at is None and crash_after_s is None:
        return shipped
    moment = shipped.snapshot.time if at is None else at
    gap = shipped.crash.time - shipped.snapshot.time if crash_after_s is None else crash_after_s
    fields.integer(moment, "at", low=shipped.snapshot.time - 365 * DAY, high=shipped.snapshot.time + 3650 * DAY)
    fields.integer(gap, "crash_after_s", low=0, high=2 * DAY)
    days = (moment - shipped.snapshot.time + DAY // 2) // DAY
    names = {i.id: _name(i, days) for i in shipped.universe.instruments}
    universe = replace(
        shipped.universe, instruments=tuple(_later(i, names[i.id], days) for i in shipped.universe.instruments)
    )

    def books(given: Mapping[str, Portfolio]) -> Mapping[str, Portfolio]:
        return MappingProxyType({source: Portfolio(universe.digest, book.lots) for source, book in given.items()})

    return ExampleMarket(
        universe=universe,
        snapshot=_moved(shipped.snapshot, universe, names, moment, days),
        crash=_moved(shipped.crash, universe, names, moment + gap, days),
        parameters=shipped.parameters,
        books=books(shipped.books),
        unhealthy=books(shipped.unhealthy),
        crash_books=books(shipped.crash_books),
    )


def _name(instrument: Instrument, days: int) -> str:
    """The id with the new expiry's date where the old one's stood."""
    if instrument.expiry is None:
        return instrument.id
    parts = instrument.id.split("-")
    parts[1] = expiry_name(instrument.expiry + days * DAY)
    return "-".join(parts)


def _later(instrument: Instrument, name: str, days: int) -> Instrument:
    return replace(instrument, id=name, expiry=None if instrument.expiry is None else instrument.expiry + days * DAY)


def _moved(snapshot: Snapshot, universe: Universe, names: Mapping[str, str], moment: int, days: int) -> Snapshot:
    """The snapshot at another moment, over the universe whose instruments are called by `names`."""
    shift = moment - snapshot.time

    def index(i: Index) -> Index:
        return replace(i, time=i.time + shift)

    def quote(q: Quote) -> Quote:
        return replace(q, time=q.time + shift)

    moved = Snapshot(
        name=f"Example market {fields.time_text(moment)}",
        universe_digest=universe.digest,
        time=moment,
        max_age_s=snapshot.max_age_s,
        index=MappingProxyType({s: index(i) for s, i in snapshot.index.items()}),
        forwards=MappingProxyType(
            {s: MappingProxyType({e + days * DAY: f for e, f in c.items()}) for s, c in snapshot.forwards.items()}
        ),
        quotes=MappingProxyType({names[i]: quote(q) for i, q in snapshot.quotes.items()}),
        settled=frozenset(names[i] for i in snapshot.settled),
    )
    moved.check(universe)
    return moved


def _shipped() -> ExampleMarket:
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
