"""Oracle reports and the snapshot that follows from k of n of them (protocol section 10; system.md, objects 2 and 3).

Each oracle signs what it saw at one venue.  For every number of the snapshot the reports are counted: the median is
the middle one in order (the lower of two), a report *agrees* if it lies within the policy's deviation of the median,
and the number stands only if k oracles and enough distinct venues agree; otherwise the breaker trips and there is no
snapshot.  With fewer than k/2 liars among the reports the median lies between honest ones.

Reports carry exact decimals as text; the medians are taken exactly, and each becomes the snapshot's float by correct
rounding, so everyone gets the same bytes from the same reports.  Staked tokens are marked at the lower of market and
redemption.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from itertools import pairwise
from types import MappingProxyType
from typing import ClassVar, Self

from marginseal.errors import DecodeError, InputError, PolicyError
from marginseal.market import fields
from marginseal.market.epoch_bounds import MAX_INSTRUMENTS, MAX_UNDERLYINGS
from marginseal.market.snapshot import MAX_AGE_S, Index, Quote, Snapshot
from marginseal.market.universe import Instrument, Universe
from marginseal.records import document
from marginseal.records.document import MAX_TIME, Members, is_name
from marginseal.records.envelope import Envelope, peek
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.keys import PublicKey, Purpose, Role

MAX_ORACLES = 64
MAX_REPORT_BYTES = 16 * 2**20
_KEYS = ("forwards", "index", "oracle", "quotes", "time", "universe", "venue")
_PRICE_KEYS = ("confidence", "price")
_QUOTE_KEYS = ("ask", "bid", "confidence", "iv", "mark", "redemption_rate")
_EXACT = Context(prec=80)
"""Products of two numbers of 36 digits are exact."""

_CONFIDENCE_STEP = Decimal("0.000000001")


@dataclass(frozen=True)
class ReportedPrice:
    """A price in the settlement currency and its confidence: relative half-width of the interval, 0..1."""

    price: Decimal
    confidence: Decimal


@dataclass(frozen=True)
class ReportedQuote:
    """One instrument, in the units of `market.snapshot.Quote`; None where the kind has no such number, or no quote."""

    mark: Decimal
    confidence: Decimal
    bid: Decimal | None = None
    ask: Decimal | None = None
    iv: Decimal | None = None
    redemption_rate: Decimal | None = None


@dataclass(frozen=True)
class OracleReport:
    """What one oracle read at one venue at `time` (unix seconds), for the instruments of one universe.

    index: symbol -> price; forwards: symbol -> expiry -> price; quotes: instrument id -> quote."""

    PURPOSE: ClassVar[Purpose] = Purpose.ORACLE_REPORT

    oracle: str
    venue: str
    universe: bytes
    time: int
    index: Mapping[str, ReportedPrice]
    forwards: Mapping[str, Mapping[int, Decimal]]
    quotes: Mapping[str, ReportedQuote]

    def __post_init__(self) -> None:
        if not is_name(self.oracle) or not is_name(self.venue) or len(self.universe) != 32:
            raise DecodeError("report.fields", "oracle report: a name or digest that cannot be")
        if not 0 <= self.time <= MAX_TIME:
            raise DecodeError("report.time", "oracle report: a time out of range")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "forwards": {
                    s: {fields.time_text(e): _text(f) for e, f in curve.items()} for s, curve in self.forwards.items()
                },
                "index": {
                    s: {"confidence": _text(p.confidence), "price": _text(p.price)} for s, p in self.index.items()
                },
                "oracle": self.oracle,
                "quotes": {i: {key: _optional(getattr(q, key)) for key in _QUOTE_KEYS} for i, q in self.quotes.items()},
                "time": self.time,
                "universe": self.universe.hex(),
                "venue": self.venue,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, report.*."""
        top = document.decode(payload, what="oracle report", keys=_KEYS, limit=MAX_REPORT_BYTES)
        index, quotes = top.mapping("index", limit=2 * MAX_UNDERLYINGS), top.mapping("quotes", limit=MAX_INSTRUMENTS)
        forwards = top.mapping("forwards", limit=MAX_UNDERLYINGS)
        return cls(
            oracle=top.name("oracle"),
            venue=top.name("venue"),
            universe=top.hex("universe", 32),
            time=top.time("time"),
            index=MappingProxyType({s: _read_price(value, s) for s, value in index.items()}),
            forwards=MappingProxyType({s: _read_curve(value, s) for s, value in forwards.items()}),
            quotes=MappingProxyType({i: _read_quote(value, i) for i, value in quotes.items()}),
        )


@dataclass(frozen=True)
class OraclePolicy:
    """Whose reports make a snapshot, and how far they may lie apart.

    oracles        id -> key, at most 64                      threshold      k: so many must agree on every number
    venues         so many distinct venues among them         window_s       reports are at most this old, 1..86,400 s
    deviation      permille of the median (an option's mark: of its scale, the index or one unit; a volatility:
                   thousandths), 1..1000
    confidence     permille: the widest interval that the agreeing reports may claim, 0..1000
    ring           changes of these keys: the one in force at the snapshot's time has to have signed"""

    oracles: Mapping[str, PublicKey]
    threshold: int
    venues: int
    window_s: int
    deviation: int
    confidence: int
    ring: KeyRing = NO_CHANGES

    def __post_init__(self) -> None:
        count = len(self.oracles)
        if not 1 <= count <= MAX_ORACLES or any(key.role != Role.ORACLE for key in self.oracles.values()):
            raise InputError("oracle.policy", f"oracle policy: 1 to {MAX_ORACLES} oracles with oracle keys")
        if len({key.raw for key in self.oracles.values()}) != count:
            raise InputError("oracle.policy", "oracle policy: one key under two names")
        if not count // 2 < self.threshold <= count or not 1 <= self.venues <= self.threshold:
            raise InputError("oracle.policy", "oracle policy: k is more than half of the oracles; venues are at most k")
        if not 1 <= self.window_s <= MAX_AGE_S or not 1 <= self.deviation <= 1000 or not 0 <= self.confidence <= 1000:
            raise InputError("oracle.policy", "oracle policy: a window, deviation or confidence out of range")


def open_reports(
    envelopes: Sequence[Envelope], policy: OraclePolicy, universe: Universe, *, time: int
) -> list[OracleReport]:
    """The reports: at least k, strictly increasing by oracle id, each signed by the policy's key, within the window.

    DecodeError; ProofRejected signature.threshold; PolicyError oracle.unknown, .order, .universe, .window, .quorum."""
    reports: list[OracleReport] = []
    for envelope in envelopes:
        oracle = peek(OracleReport, envelope).oracle
        if oracle not in policy.oracles:
            raise PolicyError("oracle.unknown", f"{oracle!r} is not an oracle of this policy")
        reports.append(policy.ring.open(OracleReport, envelope, [policy.oracles[oracle]], time))
    if any(a.oracle.encode() >= b.oracle.encode() for a, b in pairwise(reports)):
        raise PolicyError("oracle.order", "reports are strictly increasing by oracle: one of each")
    for report in reports:
        if report.universe != universe.digest:
            raise PolicyError("oracle.universe", f"{report.oracle}: reports another universe")
        if not time - policy.window_s <= report.time <= time:
            raise PolicyError("oracle.window", f"{report.oracle}: reports from outside the time window")
    if len(reports) < policy.threshold:
        raise PolicyError("oracle.quorum", f"{len(reports)} reports, and {policy.threshold} are needed")
    return reports


def make_snapshot(
    envelopes: Sequence[Envelope], policy: OraclePolicy, universe: Universe, *, name: str, time: int
) -> Snapshot:
    """The one snapshot that follows from these reports at `time`; checked against the universe.

    Errors as `open_reports`; PolicyError oracle.breaker, oracle.confidence; InputError snapshot.*."""
    reports = open_reports(envelopes, policy, universe, time=time)
    count = _Count(policy)
    index: dict[str, tuple[_Median, Index]] = {}
    forwards: dict[str, dict[int, float]] = {}
    quotes: dict[str, Quote] = {}
    for symbol in (*universe.underlyings, *universe.currencies):
        given = [(r, r.index[symbol]) for r in reports if symbol in r.index]
        price = count.median(f"index {symbol}", [(r, p.price) for r, p in given])
        confidence = count.confidence(f"index {symbol}", [(r, p.confidence) for r, p in given], price)
        index[symbol] = price, Index(float(price.value), price.time, float(confidence))
    live = [i for i in universe.instruments if i.kind != "cash" and not _expired(i, time)]
    for instrument in live:
        if instrument.kind == "option" and instrument.expiry is not None:
            curve = forwards.setdefault(instrument.underlying, {})
            if instrument.expiry not in curve:
                curve[instrument.expiry] = _forward(reports, instrument.underlying, instrument.expiry, count)
        quotes[instrument.id] = _quote(reports, instrument, index[instrument.underlying][0].value, count)
    snapshot = Snapshot(
        name=name,
        universe_digest=universe.digest,
        time=time,
        max_age_s=policy.window_s,
        index=MappingProxyType({symbol: item for symbol, (_, item) in index.items()}),
        forwards=MappingProxyType({symbol: MappingProxyType(curve) for symbol, curve in forwards.items()}),
        quotes=MappingProxyType(quotes),
        settled=frozenset(i.id for i in universe.instruments if _expired(i, time)),
    )
    snapshot.check(universe)
    return snapshot


def check_snapshot(snapshot: Snapshot, envelopes: Sequence[Envelope], policy: OraclePolicy, universe: Universe) -> None:
    """Whether a snapshot is the one that its reports make.  Errors as `make_snapshot`; PolicyError oracle.snapshot."""
    rebuilt = make_snapshot(envelopes, policy, universe, name=snapshot.name, time=snapshot.time)
    if rebuilt.digest != snapshot.digest:
        raise PolicyError("oracle.snapshot", "the snapshot is not the one that these reports make")


@dataclass(frozen=True)
class _Median:
    """The middle value, the time of the oldest report that agrees, the oracles that do, how far they lie from the
    middle, and what deviations are relative to."""

    value: Decimal
    time: int
    agreeing: frozenset[str]
    spread: Decimal
    scale: Decimal


@dataclass(frozen=True)
class _Count:
    policy: OraclePolicy

    def median(self, what: str, given: Sequence[tuple[OracleReport, Decimal]], scale: Decimal | None = None) -> _Median:
        """The median that k oracles at enough venues agree on; deviations are relative to `scale`, by default the
        median.  PolicyError oracle.breaker."""
        if len(given) < self.policy.threshold:
            raise PolicyError("oracle.breaker", f"{what}: {len(given)} oracles report it")
        middle = lower_median([value for _, value in given])
        bound = (middle if scale is None else scale) * self.policy.deviation
        agreeing = [(r, value) for r, value in given if _EXACT.multiply(abs(value - middle), Decimal(1000)) <= bound]
        if len(agreeing) < self.policy.threshold or len({r.venue for r, _ in agreeing}) < self.policy.venues:
            raise PolicyError("oracle.breaker", f"{what}: too few oracles or venues agree within the bound")
        return _Median(
            middle,
            min(r.time for r, _ in agreeing),
            frozenset(r.oracle for r, _ in agreeing),
            max(abs(value - middle) for _, value in agreeing),
            middle if scale is None else scale,
        )

    def confidence(self, what: str, given: Sequence[tuple[OracleReport, Decimal]], price: _Median) -> Decimal:
        """What the agreeing oracles claim, by median, and at least how far they lie apart; rounded up to 1e-9.

        PolicyError oracle.confidence."""
        claimed = lower_median([value for r, value in given if r.oracle in price.agreeing])
        if claimed * 1000 > self.policy.confidence:
            raise PolicyError("oracle.confidence", f"{what}: the oracles claim too wide an interval")
        apart = _EXACT.divide(price.spread, price.scale) if price.spread else price.spread
        return max(claimed, apart).quantize(_CONFIDENCE_STEP, rounding=ROUND_CEILING)


def lower_median(values: Iterable[Decimal]) -> Decimal:
    """The value with at least half of all at or below it and more than half at or above: index (len - 1) // 2."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def _expired(instrument: Instrument, time: int) -> bool:
    return instrument.expiry is not None and instrument.expiry <= time


def _forward(reports: Sequence[OracleReport], symbol: str, expiry: int, count: _Count) -> float:
    given = [(r, r.forwards[symbol][expiry]) for r in reports if expiry in r.forwards.get(symbol, {})]
    return float(count.median(f"forward {symbol} {fields.time_text(expiry)}", given).value)


def _quote(reports: Sequence[OracleReport], instrument: Instrument, index: Decimal, count: _Count) -> Quote:
    what = instrument.id
    given = [(r, r.quotes[what]) for r in reports if what in r.quotes]
    scale = None
    if instrument.kind == "option":
        scale = Decimal(1) if instrument.contract == "inverse" else index
    mark = count.median(what, [(r, q.mark) for r, q in given], scale)
    agreeing = [(r, q) for r, q in given if r.oracle in mark.agreeing]
    confidence = count.confidence(what, [(r, q.confidence) for r, q in given], mark)

    def number(key: str, needed: bool, scale: Decimal | None = None) -> Decimal | None:
        if not needed:
            return None
        present = [(r, getattr(q, key)) for r, q in given if getattr(q, key) is not None]
        return count.median(f"{what}: {key}", present, scale).value

    rate = number("redemption_rate", instrument.kind == "staked")
    volatility = number("iv", instrument.kind == "option", Decimal(1))
    value = mark.value if rate is None else min(mark.value, _EXACT.multiply(rate, index))
    both = [q for _, q in agreeing if q.bid is not None and q.ask is not None]
    quoted = len(both) >= count.policy.threshold
    return Quote(
        mark=float(value),
        time=mark.time,
        bid=float(lower_median(q.bid for q in both if q.bid is not None)) if quoted else None,
        ask=float(lower_median(q.ask for q in both if q.ask is not None)) if quoted else None,
        iv=None if volatility is None else float(volatility),
        redemption_rate=None if rate is None else float(rate),
        confidence=float(confidence),
    )


def _text(number: Decimal) -> str:
    return fields.decimal_text(number)


def _optional(number: Decimal | None) -> str | None:
    return None if number is None else _text(number)


def _decimal(value: object, what: str, high: str, low: str = "0") -> Decimal:
    """A plain decimal in its one spelling.  DecodeError report.decimal."""
    try:
        number = fields.decimal(value, what, low=low, high=high)
    except InputError as e:
        raise DecodeError("report.decimal", f"oracle report: {e.message}") from None
    if _text(number) != value:
        raise DecodeError("report.decimal", f"oracle report: {what}: not the one spelling of this number")
    return number


_MAX_PRICE, _MIN_PRICE = "1000000000000", "0.000000001"


def _read_price(value: object, symbol: str) -> ReportedPrice:
    top = Members(value, f"oracle report: index {symbol}", _PRICE_KEYS)
    price = _decimal(top.member("price"), f"{symbol}: price", _MAX_PRICE, _MIN_PRICE)
    return ReportedPrice(price, _decimal(top.member("confidence"), f"{symbol}: confidence", "1"))


def _read_curve(value: object, symbol: str) -> Mapping[int, Decimal]:
    if not isinstance(value, dict) or len(value) > MAX_INSTRUMENTS:
        raise DecodeError("report.forwards", f"oracle report: forwards {symbol[:64]}: not an object of prices")
    try:
        times = {text: fields.time(text, symbol) for text in value}
    except InputError as e:
        raise DecodeError("report.forwards", f"oracle report: forwards: {e.message}") from None
    prices = {times[t]: _decimal(f, f"{symbol}: forward", _MAX_PRICE, _MIN_PRICE) for t, f in value.items()}
    return MappingProxyType(prices)


def _read_quote(value: object, instrument: str) -> ReportedQuote:
    top = Members(value, f"oracle report: {instrument}", _QUOTE_KEYS)
    bounds = {"confidence": "1", "iv": "20", "redemption_rate": "1000000"}

    def read(key: str) -> Decimal:
        return _decimal(top.member(key), f"{instrument}: {key}", bounds.get(key, _MAX_PRICE))

    def optional(key: str) -> Decimal | None:
        return None if top.is_null(key) else read(key)

    bid, ask = optional("bid"), optional("ask")
    if (bid is None) != (ask is None) or (bid is not None and ask is not None and bid > ask):
        raise DecodeError("report.crossed", f"oracle report: {instrument}: bid and ask come together, bid first")
    return ReportedQuote(read("mark"), read("confidence"), bid, ask, optional("iv"), optional("redemption_rate"))
