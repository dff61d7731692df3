"""Option chains as venues export them, turned into a universe and a snapshot.

Reads the CSV columns of a Deribit chain (CHAIN_COLUMNS; inverse options: bid, ask and mark in coin) and lists, for
each currency, its spot, perpetuals, a dated inverse future on each expiry's forward, the options, and a staked token if
asked for.  Index and forwards are the median of what the rows of one moment say.  A row whose name contradicts its
columns is refused; a crossed quote is dropped on both sides (the build then charges a missing side), because chains are
collected row by row while the market moves.
"""

from __future__ import annotations

import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby
from pathlib import Path
from statistics import median

from marginseal.errors import InputError, RangeError
from marginseal.files import read_bytes
from marginseal.market import fields
from marginseal.market.snapshot import MAX_PRICE, MAX_VOLATILITY, MIN_PRICE, Index, Quote, Snapshot
from marginseal.market.universe import Instrument, Universe

CHAIN_COLUMNS = (
    "timestamp",
    "currency",
    "instrument_name",
    "option_type",
    "strike",
    "expiry_datetime",
    "time_to_maturity",
    "underlying_name",
    "underlying",
    "index_price",
    "bid_price",
    "ask_price",
    "mark_price",
    "implied_volatility",
    "delta",
    "vega",
    "open_interest",
    "volume",
)
MAX_CHAIN_BYTES = 256 * 2**20
MAX_CHAIN_ROWS = 2**20
_NAME = re.compile(r"([A-Z0-9]{1,16})-([0-9]{1,2}[A-Z]{3}[0-9]{2})-([0-9]+(?:d[0-9]+)?)-([CP])", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,18})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


@dataclass(frozen=True)
class ChainRow:
    """One option of a chain at one moment: prices in coin, forward and index in USD, iv a fraction; None: no quote."""

    time: int
    currency: str
    name: str
    option_type: str
    strike: Decimal
    expiry: int
    forward: float
    index: float
    bid: float | None
    ask: float | None
    mark: float
    iv: float
    delta: float


@dataclass(frozen=True)
class Staked:
    """A staked token to list beside its currency: its id, units of the currency it redeems for, and its market price as
    a share of the redemption value."""

    id: str
    redemption_rate: float
    market_share: float = 1.0


@dataclass(frozen=True)
class Contracts:
    """Contract sizes of one currency, as exact decimals, and the bound on lots."""

    spot_lot: str = "0.01"
    option_lot: str = "0.1"
    inverse_lot: str = "100"
    max_lots: int = 100_000_000


DEFAULT_CONTRACTS: Mapping[str, Contracts] = {"BTC": Contracts(), "ETH": Contracts(spot_lot="0.1", option_lot="1")}


def expiry_name(expiry: int) -> str:
    """25DEC26 for an expiry on 2026-12-25, 4SEP26 for one on 2026-09-04."""
    day = fields.time_text(expiry)
    return f"{int(day[8:10])}{_MONTHS[int(day[5:7]) - 1]}{day[2:4]}"


def parse_chain(data: bytes) -> list[ChainRow]:
    """All rows of a chain file, in its order.  InputError csv.*, chain.*, field.*, RangeError."""
    rows = fields.csv_rows(data, "chain", columns=CHAIN_COLUMNS, high=MAX_CHAIN_ROWS)
    return [_chain_row(row, f"chain: line {line}") for line, row in rows]


def read_chain(path: Path) -> list[ChainRow]:
    """`parse_chain` of a file, plain or gzip, of at most 256 MB either way.  InputError file.*, chain.gzip."""
    data = read_bytes(path, limit=MAX_CHAIN_BYTES, what="chain")
    if data[:2] == b"\x1f\x8b":
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as f:
                data = f.read(MAX_CHAIN_BYTES + 1)
        except (OSError, EOFError, zlib.error):
            raise InputError("chain.gzip", f"chain: {path} is not a whole gzip file") from None
        if len(data) > MAX_CHAIN_BYTES:
            raise RangeError("file.too-large", f"chain: {path} unpacks to more than {MAX_CHAIN_BYTES} bytes")
    return parse_chain(data)


def _chain_row(row: dict[str, str], what: str) -> ChainRow:
    name = fields.name(row["instrument_name"], what)
    expiry = fields.time(row["expiry_datetime"], f"{what}: expiry_datetime")
    option_type = fields.choice(row["option_type"], f"{what}: option_type", ("call", "put"))
    strike = fields.decimal(row["strike"], f"{what}: strike", low="0.000001", high="1000000000000")
    parts = _NAME.fullmatch(name)
    if (
        parts is None
        or parts[1] != row["currency"]
        or parts[2] != expiry_name(expiry)
        or Decimal(parts[3].replace("d", ".")) != strike
        or parts[4] != option_type[0].upper()
    ):
        raise InputError("chain.name", f"{what}: the name {name!r} contradicts its columns")

    def number(column: str, low: float, high: float) -> float:
        text = row[column]
        if not _NUMBER.fullmatch(text):
            raise InputError("field.number", f"{what}: {column}: must be a finite number")
        return fields.number(float(text), f"{what}: {column}", low=low, high=high)

    return ChainRow(
        time=fields.time(row["timestamp"], f"{what}: timestamp"),
        currency=fields.symbol(row["currency"], f"{what}: currency"),
        name=name,
        option_type=option_type,
        strike=strike,
        expiry=expiry,
        forward=number("underlying", MIN_PRICE, MAX_PRICE),
        index=number("index_price", MIN_PRICE, MAX_PRICE),
        bid=number("bid_price", 0.0, MAX_PRICE) if row["bid_price"] else None,
        ask=number("ask_price", 0.0, MAX_PRICE) if row["ask_price"] else None,
        mark=number("mark_price", 0.0, MAX_PRICE),
        iv=number("implied_volatility", 0.0, MAX_VOLATILITY),
        delta=number("delta", -1.001, 1.001),
    )


def import_chain(
    rows: Iterable[ChainRow],
    *,
    time: int | None = None,
    name: str = "chain",
    staked: Mapping[str, Staked] | None = None,
    stablecoins: Mapping[str, float] | None = None,
    contracts: Mapping[str, Contracts] = DEFAULT_CONTRACTS,
    half_spread: float | None = None,
    confidence: float = 0.0,
    max_age_s: int = 600,
) -> tuple[Universe, Snapshot]:
    """Universe and checked snapshot of the rows of one moment (`time`, or the only one there is).

    staked: currency -> token.  stablecoins: symbol -> price in USD.  half_spread: relative half-spread stated for what
    a chain has no book for (spot, staked, perpetuals, futures); None leaves them unquoted, at the cap of the build.
    confidence: relative half-width of every index's price interval.
    InputError chain.time, chain.empty, chain.duplicate, universe.*, snapshot.*."""
    every = list(rows)
    moments = {row.time for row in every}
    if time is None and len(moments) > 1:
        first, last = fields.time_text(min(moments)), fields.time_text(max(moments))
        raise InputError("chain.time", f"the chain holds {len(moments)} moments, {first} to {last}: say which (--at)")
    moment = time if time is not None else next(iter(moments), None)
    chosen = [row for row in every if row.time == moment]
    if not chosen or moment is None:
        near = [] if moment is None else sorted(moments, key=lambda t: (abs(t - moment), t))[:1]
        hint = f"; the nearest is {fields.time_text(near[0])}" if near else ""
        raise InputError("chain.empty", f"the chain has no row at this time{hint}")
    if len({row.name for row in chosen}) != len(chosen):
        raise InputError("chain.duplicate", "the chain lists an instrument twice at one time")
    live = sorted(
        (row for row in chosen if row.expiry > moment), key=lambda r: (r.currency, r.expiry, r.strike, r.option_type)
    )
    listing = _Listing(moment, half_spread, confidence)
    listing.cash("USD")
    for symbol, price in (stablecoins or {}).items():
        listing.cash(symbol, price)
    for currency, group in groupby(live, lambda row: row.currency):
        listing.currency(currency, list(group), contracts.get(currency, Contracts()), (staked or {}).get(currency))
    universe = Universe(name=name, settlement="USD", instruments=tuple(listing.instruments))
    snapshot = Snapshot(
        name=f"{name} {fields.time_text(moment)}"[: fields.MAX_NAME_BYTES],
        universe_digest=universe.digest,
        time=moment,
        max_age_s=max_age_s,
        index=listing.index,
        forwards=listing.forwards,
        quotes=listing.quotes,
    )
    snapshot.check(universe)
    return universe, snapshot


class _Listing:
    """Instruments and quotes in the order in which they are listed."""

    def __init__(self, moment: int, half_spread: float | None, confidence: float) -> None:
        self.moment = moment
        self.half_spread = half_spread
        self.confidence = confidence
        self.instruments: list[Instrument] = []
        self.index: dict[str, Index] = {}
        self.forwards: dict[str, dict[int, float]] = {}
        self.quotes: dict[str, Quote] = {}

    def cash(self, symbol: str, price: float | None = None) -> None:
        self.instruments.append(Instrument(symbol, "cash", symbol, "linear", Decimal(1), 10**12))
        if price is not None:
            self.index[symbol] = Index(price, self.moment, self.confidence)

    def currency(self, currency: str, rows: list[ChainRow], sizes: Contracts, token: Staked | None) -> None:
        """The rows of one currency, in the order of their expiries: each is looked at a fixed number of times."""
        index = median(row.index for row in rows)
        self.index[currency] = Index(index, self.moment, self.confidence)
        curve = groupby(rows, lambda row: row.expiry)
        self.forwards[currency] = {expiry: median(row.forward for row in group) for expiry, group in curve}
        unit, notional = Decimal(sizes.spot_lot), Decimal(sizes.inverse_lot)

        def add(instrument_id: str, kind: str, contract: str, lot: Decimal, price: float, expiry: int | None) -> None:
            self.instruments.append(
                Instrument(instrument_id, kind, currency, contract, lot, sizes.max_lots, expiry=expiry)
            )
            rate = token.redemption_rate if token is not None and kind == "staked" else None
            self.quotes[instrument_id] = self._quote(price, rate)

        add(currency, "spot", "linear", unit, index, None)
        if token is not None:
            add(token.id, "staked", "linear", unit, index * token.redemption_rate * token.market_share, None)
        add(f"{currency}-PERP-LINEAR", "perpetual", "linear", unit, index, None)
        add(f"{currency}-PERPETUAL", "perpetual", "inverse", notional, index, None)
        for expiry, forward in self.forwards[currency].items():
            add(f"{currency}-{expiry_name(expiry)}", "future", "inverse", notional, forward, expiry)
        for row in rows:
            self._option(row, sizes)

    def _quote(self, price: float, rate: float | None) -> Quote:
        width = None if self.half_spread is None else price * self.half_spread
        return Quote(
            mark=price,
            time=self.moment,
            bid=None if width is None else price - width,
            ask=None if width is None else price + width,
            redemption_rate=rate,
        )

    def _option(self, row: ChainRow, sizes: Contracts) -> None:
        self.instruments.append(
            Instrument(
                id=row.name,
                kind="option",
                underlying=row.currency,
                contract="inverse",
                lot=Decimal(sizes.option_lot),
                max_lots=sizes.max_lots,
                expiry=row.expiry,
                strike=row.strike,
                option_type=row.option_type,
            )
        )
        crossed = row.bid is not None and row.ask is not None and row.bid > row.ask
        self.quotes[row.name] = Quote(
            mark=row.mark,
            time=row.time,
            bid=None if crossed else row.bid,
            ask=None if crossed else row.ask,
            iv=row.iv,
        )
