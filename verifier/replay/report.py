"""The report of a replay: one JSON document for machines, one page with figures for people (docs/formats.md).

Every failing entry is named with code and reason.  The page is one file without scripts or outside resources; what
stands in it from the log is escaped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from html import escape
from typing import Any

from marginseal import __version__
from marginseal.log.bundle import Description
from verifier.replay.records import Finding

FORMAT = "marginseal-replay-1"
MAX_FINDINGS = 10_000
MAX_OF_CODE = 1_000
"""Findings of one code that are listed: the first ones."""


@dataclass(frozen=True)
class Report:
    """description   what the bundle says it is, the software that decodes it included
    findings      all that is wrong, by entry, at most MAX_OF_CODE of one code and MAX_FINDINGS in all
    unlisted      how many there are beyond those
    by_code       how many there are of each code, listed or not
    records       entries that are no attestations; accounts: those with a manifest
    epochs        (digest, time, attestations under it); rebuilt: how many were built anew from their snapshots
    rules, continuity   how often each occurs
    releases      pledge releases that were used"""

    description: Description
    srs: bytes
    findings: tuple[Finding, ...]
    unlisted: int
    by_code: Mapping[str, int]
    records: int
    accounts: int
    epochs: tuple[tuple[str, int, int], ...]
    rebuilt: int
    attestations: int
    proofs: int
    rules: Mapping[str, int]
    continuity: Mapping[str, int]
    releases: int
    workers: int
    seconds: float

    @property
    def sound(self) -> bool:
        """Nothing is wrong."""
        return not self.findings and not self.unlisted

    def document(self) -> dict[str, Any]:
        d = self.description
        return {
            "format": FORMAT,
            "software": {"name": "marginseal", "version": __version__},
            "sound": self.sound,
            "bundle": {
                "decoder": {"name": d.decoder, "version": d.decoder_version},
                "origin": d.origin,
                "entries": d.entries,
                "checkpoints": d.checkpoints,
                "objects": d.objects,
                "root": d.root.hex(),
            },
            "srs": self.srs.hex(),
            "records": self.records,
            "accounts": self.accounts,
            "attestations": self.attestations,
            "proofs": self.proofs,
            "rules": dict(sorted(self.rules.items())),
            "continuity": dict(sorted(self.continuity.items())),
            "releases": self.releases,
            "epochs": [{"digest": e, "time": t, "attestations": n} for e, t, n in self.epochs],
            "epochs_rebuilt": self.rebuilt,
            "workers": self.workers,
            "seconds": round(self.seconds, 3),
            "findings": [asdict(f) for f in self.findings],
            "findings_not_listed": self.unlisted,
            "findings_by_code": dict(sorted(self.by_code.items())),
        }

    def html(self) -> str:
        """The page."""
        d = self.description
        verdict = "Nothing is wrong with this log." if self.sound else f"{self._wrong()} findings."
        facts = [
            ("Log", d.origin),
            ("Entries", f"{d.entries:,}: {self.attestations:,} attestations, {self.records:,} records"),
            ("Checkpoints", f"{d.checkpoints:,}"),
            ("Objects", f"{d.objects:,}"),
            ("Root", d.root.hex()),
            ("Accounts", f"{self.accounts:,}"),
            ("Proofs verified", f"{self.proofs:,}"),
            ("Epochs rebuilt", f"{self.rebuilt:,} of {len(self.epochs):,}"),
            ("Pledge releases used", f"{self.releases:,}"),
            ("Powers (SRS)", self.srs.hex()),
            ("Bundle decodes with", f"{d.decoder} {d.decoder_version}"),
            ("Replayed with", f"marginseal {__version__}, {self.workers} processes, {self.seconds:.1f} s"),
        ]
        by_code = Counter(self.by_code)
        epochs = [(_day(t) + " " + e[:8], n) for e, t, n in self.epochs]
        parts = [
            f"<h1>Replay of {escape(d.origin)}</h1><p class='{'good' if self.sound else 'bad'}'>{verdict}</p>",
            _table(("", ""), facts),
            "<h2>Attestations by epoch</h2>" + _bars(epochs),
            "<h2>By rule</h2>" + _bars(sorted(self.rules.items())),
            "<h2>By continuity of pledges</h2>" + _bars(sorted(self.continuity.items())),
        ]
        if by_code:
            parts.append("<h2>Findings by code</h2>" + _bars(by_code.most_common()))
        rows = [
            ("" if f.index is None else f"{f.index}", f.account or "", f"{f.sequence or ''}", f.code, f.message)
            for f in self.findings
        ]
        if rows:
            parts.append("<h2>Findings</h2>" + _table(("entry", "account", "sequence", "code", "reason"), rows))
        if self.unlisted:
            parts.append(f"<p>{self.unlisted:,} more are not listed.</p>")
        body = "\n".join(parts)
        title = escape(f"Replay of {d.origin}")
        return (
            f"<!doctype html>\n<html lang='en'><meta charset='utf-8'><title>{title}</title>"
            f"<style>{_STYLE}</style>\n<body>{body}</body></html>\n"
        )

    def _wrong(self) -> str:
        return f"{len(self.findings) + self.unlisted:,}"


_STYLE = (
    "body{font:15px/1.45 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{border-bottom:1px solid #ddd;padding:.25rem .6rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}.good{color:#175c2c;font-weight:600}.bad{color:#9b1c1c;font-weight:600}"
    "svg text{font:12px system-ui,sans-serif;fill:#222}svg rect{fill:#3b6ea5}"
)


def _day(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "" if not any(head) else "<tr>" + "".join(f"<th>{escape(h)}</th>" for h in head) + "</tr>"
    lines = ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return f"<table>{top}{''.join(lines)}</table>"


def _bars(counts: Sequence[tuple[str, int]], width: int = 420, most: int = 400) -> str:
    """Horizontal bars, one for each name; the longest as wide as `width`."""
    shown, top = counts[:most], max([n for _, n in counts], default=0)
    lines = []
    for i, (name, n) in enumerate(shown):
        y, length = 20 * i, 0 if not top else round(width * n / top)
        lines.append(
            f"<text x='0' y='{y + 14}'>{escape(name[:36])}</text>"
            f"<rect x='240' y='{y + 3}' width='{length}' height='14'/>"
            f"<text x='{246 + length}' y='{y + 14}'>{n:,}</text>"
        )
    more = "" if len(counts) <= most else f"<p>and {len(counts) - most:,} more</p>"
    return f"<svg width='{width + 320}' height='{20 * len(shown) + 4}' role='img'>{''.join(lines)}</svg>{more}"
