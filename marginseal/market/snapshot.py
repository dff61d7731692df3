"""The market snapshot: what one moment's prices and volatilities were, for every row of one universe.

A snapshot that loads is fit to build on: every instrument is priced, every number finite and positive, no bid above its
ask, no quote older than the stated bound or from the future, nothing expired unless it is named as settled.  How an
oracle quorum arrives at these numbers is left to others, what follows from them to build.py.  Files: docs/formats.md.

Units: index, forwards, linear marks and futures in the settlement currency per unit of the underlying; options of an
inverse contract in the underlying per unit (as venues quote them); volatility as a fraction per square-root year.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rfc8785

from marginseal.errors import InputError
from marginseal.files import MAX_JSON_BYTES, parse_json, read_bytes
from marginseal.market import fields
from marginseal.market.epoch_bounds import MAX_INSTRUMENTS, MAX_UNDERLYINGS
from marginseal.market.universe import Instrument, Universe

FORMAT = "marginseal-snapshot-1"
MAX_PRICE = 1e12
MIN_PRICE = 1e-9  # of an index, forward or future; an option may be worth nothing
MAX_VOLATILITY = 20.0
MAX_AGE_S = 86_400
_DOMAIN = b"MARGINSEAL-V1-SNAPSHOT\x00"
_QUOTE_OPTIONAL = ("bid", "ask", "iv", "redemption_rate", "time", "confidence")


@dataclass(frozen=True)
class Quote:
    """One instrument's prices.  bid, ask: None without a quote; iv: options only; redemption_rate: staked tokens only,
    units of the underlying that one token redeems for; time: unix seconds; confidence: relative half-width of the
    price interval, 0 where the oracle states none."""

    mark: float
    time: int
    bid: float | None = None
    ask: float | None = None
    iv: float | None = None
    redemption_rate: float | None = None
    confidence: float = 0.0


@dataclass(frozen=True)
class Index:
    """The price of one underlying or currency in the settlement currency, with its time and confidence."""

    price: float
    time: int
    confidence: float = 0.0


@dataclass(frozen=True)
class Snapshot:
    """One market state over one universe.

    name            1..64 bytes                       time       unix seconds at which everything below is read
    universe_digest 32 bytes                          max_age_s  the oldest a quote may be, 1..86,400 s
    index           symbol -> Index, for every underlying and every currency but the settlement currency
    forwards        symbol -> expiry (unix seconds) -> forward price, for every option expiry
    quotes          instrument id -> Quote, for every row but cash
    settled         ids of expired instruments that were paid out: they keep their row, at value zero

    `check(universe)` refuses what does not belong together; reading a file always calls it.
    """

    name: str
    universe_digest: bytes
    time: int
    max_age_s: int
    index: Mapping[str, Index]
    forwards: Mapping[str, Mapping[int, float]]
    quotes: Mapping[str, Quote]
    settled: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of a domain label and the RFC 8785 form of the document."""
        return hashlib.sha256(_DOMAIN + rfc8785.dumps(self.document())).digest()

    def document(self) -> dict[str, Any]:
        """The JSON document in normal form: every time written out, absent numbers left out, numbers as floats."""
        return {
            "format": FORMAT,
            "name": self.name,
            "universe_digest": self.universe_digest.hex(),
            "time": fields.time_text(self.time),
            "max_age_s": self.max_age_s,
            "index": {
                s: {"price": i.price, "time": fields.time_text(i.time), "confidence": i.confidence}
                for s, i in self.index.items()
            },
            "forwards": {s: {fields.time_text(e): f for e, f in curve.items()} for s, curve in self.forwards.items()},
            "quotes": {i: _quote_document(q) for i, q in self.quotes.items()},
            "settled": sorted(self.settled),
        }

    def check(self, universe: Universe) -> None:
        """Refuse a snapshot that is incomplete, stale, crossed, expired or of another universe.

        InputError, RangeError snapshot.*, field.*.  Numbers that are not finite or positive are refused here too, so
        that a snapshot made by a program obeys what one read from a file obeys."""
        fields.name(self.name, "snapshot name")
        fields.integer(self.time, "snapshot: time", low=0, high=fields.MAX_TIME)
        fields.integer(self.max_age_s, "snapshot: max_age_s", low=1, high=MAX_AGE_S)
        if self.universe_digest != universe.digest:
            wanted = f"its universe_digest is {universe.digest.hex()}"
            raise InputError("snapshot.universe", f"the snapshot is not of universe {universe.name}: {wanted}")
        _same_keys(self.index, {*universe.underlyings, *universe.currencies}, "index")
        for asset, index in self.index.items():
            fields.number(index.price, f"index {asset}: price", low=MIN_PRICE, high=MAX_PRICE)
            self._check_time(index.time, f"index {asset}")
            _check_confidence(index.confidence, f"index {asset}")
        unknown = self.settled.difference(universe.ids)
        if unknown:
            raise InputError("snapshot.unknown-instrument", f"settled: {min(unknown)!r} is not in the universe")
        live = {i.id for i in universe.instruments if i.kind != "cash"} - self.settled
        for instrument in universe.instruments:
            expired = instrument.expiry is not None and instrument.expiry <= self.time
            if expired and instrument.id not in self.settled:
                raise InputError("snapshot.expired", f"{instrument.id}: has expired and is not among the settled")
            if not expired and instrument.id in self.settled:
                raise InputError("snapshot.not-expired", f"{instrument.id}: is settled before its expiry")
        _same_keys(self.quotes, live, "quotes")
        expiries: dict[str, set[int]] = {}
        for instrument in universe.instruments:
            if instrument.id in live:
                self._check_quote(instrument, self.quotes[instrument.id])
                if instrument.kind == "option" and instrument.expiry is not None:
                    expiries.setdefault(instrument.underlying, set()).add(instrument.expiry)
        _same_keys(self.forwards, set(expiries), "forwards")
        for asset, curve in self.forwards.items():
            _same_keys({fields.time_text(e): None for e in curve}, set(map(fields.time_text, expiries[asset])), asset)
            for forward in curve.values():
                fields.number(forward, f"forwards {asset}", low=MIN_PRICE, high=MAX_PRICE)

    def _check_quote(self, instrument: Instrument, quote: Quote) -> None:
        what = instrument.id
        option, staked = instrument.kind == "option", instrument.kind == "staked"
        fields.number(quote.mark, f"{what}: mark", low=0.0 if option else MIN_PRICE, high=MAX_PRICE)
        for side in ("bid", "ask"):
            price = getattr(quote, side)
            if price is not None:
                fields.number(price, f"{what}: {side}", low=0.0, high=MAX_PRICE)
        if quote.bid is not None and quote.ask is not None and quote.bid > quote.ask:
            raise InputError("snapshot.crossed", f"{what}: the bid lies above the ask")
        if option != (quote.iv is not None):
            raise InputError("snapshot.volatility", f"{what}: every option has an iv, and nothing else has one")
        if quote.iv is not None:
            fields.number(quote.iv, f"{what}: iv", low=0.0, high=MAX_VOLATILITY)
        if staked != (quote.redemption_rate is not None):
            raise InputError("snapshot.redemption", f"{what}: every staked token has a redemption_rate, nothing else")
        if quote.redemption_rate is not None:
            fields.number(quote.redemption_rate, f"{what}: redemption_rate", low=MIN_PRICE, high=1e6)
        self._check_time(quote.time, what)
        _check_confidence(quote.confidence, what)

    def _check_time(self, moment: int, what: str) -> None:
        fields.integer(moment, f"{what}: time", low=0, high=fields.MAX_TIME)
        if moment > self.time:
            raise InputError("snapshot.future", f"{what}: is quoted after the snapshot's own time")
        if self.time - moment > self.max_age_s:
            raise InputError("snapshot.stale", f"{what}: is older than {self.max_age_s} s")


def _check_confidence(confidence: float, what: str) -> None:
    fields.number(confidence, f"{what}: confidence", low=0.0, high=1.0)


def _same_keys(given: Mapping[str, object], needed: set[str], what: str) -> None:
    missing = needed.difference(given)
    if missing:
        raise InputError("snapshot.missing", f"{what}: nothing is given for {min(missing)}")
    unknown = set(given).difference(needed)
    if unknown:
        raise InputError("snapshot.unknown-instrument", f"{what}: {min(unknown)[:64]!r} does not belong here")


def _quote_document(quote: Quote) -> dict[str, Any]:
    optional = {k: getattr(quote, k) for k in ("bid", "ask", "iv", "redemption_rate")}
    out: dict[str, Any] = {"mark": quote.mark, "time": fields.time_text(quote.time), "confidence": quote.confidence}
    return out | {k: v for k, v in optional.items() if v is not None}


def parse_snapshot(data: bytes, universe: Universe) -> Snapshot:
    """A checked snapshot from its JSON file.  DecodeError json.*, InputError field.*, snapshot.*, RangeError."""
    return snapshot_from(parse_json(data, what="snapshot"), universe)


def snapshot_from(document: object, universe: Universe) -> Snapshot:
    """A checked snapshot from its document.  InputError field.*, snapshot.*, RangeError."""
    keys = ("format", "name", "universe_digest", "time", "max_age_s", "index", "forwards", "quotes")
    top = fields.obj(document, "snapshot", required=keys, optional=("settled",))
    fields.choice(top["format"], "snapshot: format", (FORMAT,))
    now = fields.time(top["time"], "snapshot: time")
    forwards = {
        fields.symbol(asset, "forwards"): MappingProxyType(
            {
                fields.time(expiry, f"forwards {asset}"): fields.number(
                    value, f"forwards {asset}", low=MIN_PRICE, high=MAX_PRICE
                )
                for expiry, value in fields.table(curve, f"forwards {asset}", high=MAX_INSTRUMENTS).items()
            }
        )
        for asset, curve in fields.table(top["forwards"], "forwards", high=MAX_UNDERLYINGS).items()
    }
    index = {
        fields.symbol(asset, "index"): _parse_index(item, f"index {asset}", now)
        for asset, item in fields.table(top["index"], "index", high=2 * MAX_UNDERLYINGS).items()
    }
    quotes = {
        fields.name(i, "quotes"): _parse_quote(item, i, now)
        for i, item in fields.table(top["quotes"], "quotes", high=MAX_INSTRUMENTS).items()
    }
    settled = fields.array(top.get("settled", []), "settled", high=MAX_INSTRUMENTS)
    names = [fields.name(i, "settled") for i in settled]
    if len(set(names)) != len(names):
        raise InputError("snapshot.duplicate", "settled: an instrument is listed twice")
    snapshot = Snapshot(
        name=fields.name(top["name"], "snapshot name"),
        universe_digest=fields.digest(top["universe_digest"], "snapshot: universe_digest"),
        time=now,
        max_age_s=fields.integer(top["max_age_s"], "snapshot: max_age_s", low=1, high=MAX_AGE_S),
        index=MappingProxyType(index),
        forwards=MappingProxyType(forwards),
        quotes=MappingProxyType(quotes),
        settled=frozenset(names),
    )
    snapshot.check(universe)
    return snapshot


def _parse_index(item: object, what: str, now: int) -> Index:
    i = fields.obj(item, what, required=("price",), optional=("time", "confidence"))
    return Index(
        price=fields.number(i["price"], f"{what}: price", low=MIN_PRICE, high=MAX_PRICE),
        time=fields.time(i["time"], what) if "time" in i else now,
        confidence=fields.number(i.get("confidence", 0.0), f"{what}: confidence", low=0.0, high=1.0),
    )


def _parse_quote(item: object, what: str, now: int) -> Quote:
    q = fields.obj(item, what[: fields.MAX_NAME_BYTES], required=("mark",), optional=_QUOTE_OPTIONAL)

    def given(key: str) -> float | None:
        return fields.number(q[key], f"{what}: {key}", low=0.0, high=MAX_PRICE) if key in q else None

    return Quote(
        mark=fields.number(q["mark"], f"{what}: mark", low=0.0, high=MAX_PRICE),
        time=fields.time(q["time"], what) if "time" in q else now,
        bid=given("bid"),
        ask=given("ask"),
        iv=given("iv"),
        redemption_rate=given("redemption_rate"),
        confidence=fields.number(q.get("confidence", 0.0), f"{what}: confidence", low=0.0, high=1.0),
    )


def snapshot_json(snapshot: Snapshot) -> bytes:
    """The JSON file, one quote a line."""
    return fields.pretty(snapshot.document())


def read_snapshot(path: Path, universe: Universe) -> Snapshot:
    """`parse_snapshot` of a file of at most 64 MB.  InputError file.*."""
    return parse_snapshot(read_bytes(path, limit=MAX_JSON_BYTES, what="snapshot"), universe)
