"""One worker of a replay: every attestation of a range of the bundle, judged again from what the log holds.

What an attestation is held against is `attestation`; what it names is opened by `held`; the proofs of a range are
verified in one batch.  Nothing of an attestation outlives its range but what `held` keeps of the last few.
"""

from __future__ import annotations

from dataclasses import dataclass

from marginseal.errors import MarginSealError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import ATTESTATION
from verifier.batch import Item, verify_batch
from verifier.log_epoch import rebuild_epoch
from verifier.log_index import BundleRecords
from verifier.policy import Trust
from verifier.replay.attestation import Judged, Judgement
from verifier.replay.held import Held
from verifier.replay.records import Finding, Known
from verifier.verify import Setting


@dataclass(frozen=True)
class Range:
    """Entries start .. stop - 1, and for each attestation among them the entry of its predecessor, if it has one."""

    start: int
    stop: int
    previous: tuple[tuple[int, int], ...]


class Worker:
    """One process's part; `judge` may be called for any ranges in any order."""

    def __init__(self, bundle: Bundle, trust: Trust, known: Known, setting: Setting) -> None:
        self._records, self._setting = BundleRecords(bundle), setting
        self._held = Held(self._records, trust, known)

    def rebuild(self, index: int) -> tuple[bool, list[Finding]]:
        """The epoch of entry `index` built again: (whether it could be, what is wrong)."""
        held = self._held
        try:
            return rebuild_epoch(self._records, held.universe, index, held.trust, held.known.ring), []
        except MarginSealError as e:
            return False, [Finding(e.code, e.message, index)]

    def judge(self, part: Range) -> Judged:
        """Every attestation of the range; its proofs in one batch."""
        out, before = Judged(), dict(part.previous)
        items: list[tuple[Finding, Item]] = []
        try:
            for position, entry in self._records.items(part.start, part.stop):
                if entry.kind == ATTESTATION:
                    previous = before.get(position.index)
                    items += Judgement(self._held, self._setting, position, entry, previous, out).judge()
        except MarginSealError as e:  # the bytes end here: the structural pass says the same
            out.findings.append(Finding(e.code, e.message))
        errors = verify_batch([item for _, item in items], setting=self._setting)
        for (where, _), error in zip(items, errors, strict=True):
            if error is not None:
                finding = Finding(error.code, error.message, where.index, where.account, where.sequence)
                out.findings.append(finding)
        out.proofs += len(items)
        return out
