"""An oracle's report out of what it read of one market, in the form of a market snapshot.

    report = the snapshot's numbers, each the shortest decimal that stands for its float; the snapshot's time

How reports become a snapshot again is `oracle`; a report that an oracle signs need not come from here.
"""

from __future__ import annotations

from decimal import Decimal

from marginseal.market.snapshot import Quote, Snapshot
from marginseal.records.oracle import OracleReport, ReportedPrice, ReportedQuote


def report_of(snapshot: Snapshot, oracle: str, venue: str) -> OracleReport:
    """What `oracle` says it read at `venue`.  DecodeError report.fields for a name that cannot be."""
    return OracleReport(
        oracle=oracle,
        venue=venue,
        universe=snapshot.universe_digest,
        time=snapshot.time,
        index={s: ReportedPrice(_exact(i.price), _exact(i.confidence)) for s, i in snapshot.index.items()},
        forwards={s: {e: _exact(f) for e, f in curve.items()} for s, curve in snapshot.forwards.items()},
        quotes={i: _quote(q) for i, q in snapshot.quotes.items()},
    )


def _quote(q: Quote) -> ReportedQuote:
    both = q.bid is not None and q.ask is not None
    return ReportedQuote(
        mark=_exact(q.mark),
        confidence=_exact(q.confidence),
        bid=_optional(q.bid) if both else None,
        ask=_optional(q.ask) if both else None,
        iv=_optional(q.iv),
        redemption_rate=_optional(q.redemption_rate),
    )


def _exact(number: float) -> Decimal:
    return Decimal(repr(number))


def _optional(number: float | None) -> Decimal | None:
    return None if number is None else _exact(number)
