"""What the log says of an oracle's report: a note of a few hundred bytes, and the report beside it as an object.

A report is tens of kilobytes and there are many, so who copies the log copies notes; who makes a snapshot, or asks
whether one was left out, fetches the reports by their digests.  The note says nothing that the report does not: replay
holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from marginseal.errors import PolicyError
from marginseal.records import document
from marginseal.records.envelope import Envelope, peek
from marginseal.records.oracle import OracleReport

_KEYS = ("oracle", "report", "time", "universe", "venue")


@dataclass(frozen=True)
class ReportNote:
    """Of whom, from which market, of which universe and time (unix seconds); report: digest of the signed report."""

    oracle: str
    venue: str
    universe: bytes
    time: int
    report: bytes

    @classmethod
    def of(cls, report: OracleReport, envelope: Envelope) -> Self:
        return cls(report.oracle, report.venue, report.universe, report.time, envelope.digest)

    def payload(self) -> bytes:
        return document.canonical(
            {
                "oracle": self.oracle,
                "report": self.report.hex(),
                "time": self.time,
                "universe": self.universe.hex(),
                "venue": self.venue,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*."""
        top = document.decode(payload, what="note of a report", keys=_KEYS, limit=1024)
        universe, report = top.hex("universe", 32), top.hex("report", 32)
        return cls(top.name("oracle"), top.name("venue"), universe, top.time("time"), report)

    def check(self, envelope: Envelope) -> OracleReport:
        """The report, if it is what the note says; its signature is left to who knows the oracle's key.

        PolicyError report.note; DecodeError."""
        report = peek(OracleReport, envelope)
        if type(self).of(report, envelope) != self:
            raise PolicyError("report.note", "the note says something else than the report beside it")
        return report
