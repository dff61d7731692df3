"""The digest by which a statement names each kind of log entry.

A signed record is logged as its envelope and named by the envelope's digest (of what was signed); an epoch by the
digest of its matrix, which its record names; a universe by its own; an oracle's report, of which the log holds a note,
by the digest of its envelope.  `attestation` is the log's own word.
"""

from __future__ import annotations

import hashlib

from marginseal.errors import MarginSealError
from marginseal.log.entry import ATTESTATION
from marginseal.market.universe import parse_universe
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keys import Purpose
from marginseal.records.logged import LogKind
from marginseal.records.report_note import ReportNote

PURPOSES = {
    LogKind.EPOCH: Purpose.EPOCH,
    LogKind.SOURCE_REGISTRY: Purpose.SOURCE_REGISTRY,
    LogKind.VENUE_REGISTRY: Purpose.VENUE_REGISTRY,
    LogKind.ACCOUNT: Purpose.ACCOUNT,
    LogKind.MANIFEST: Purpose.MANIFEST,
    LogKind.SOURCE_RELEASE: Purpose.SOURCE_RELEASE,
    LogKind.PLEDGE_RELEASE: Purpose.PLEDGE_RELEASE,
    LogKind.KEY_CHANGE: Purpose.KEY_CHANGE,
    LogKind.KEY_REVOCATION: Purpose.KEY_REVOCATION,
}


def name_of(kind: str, payload: bytes) -> bytes:
    """32 bytes.  What cannot be read is named by the SHA-256 of its bytes: it is in the log all the same."""
    try:
        if kind == LogKind.UNIVERSE:
            return parse_universe(payload).digest
        if kind == LogKind.EPOCH:
            return peek(EpochRecord, Envelope.decode(payload)).epoch
        if kind == LogKind.ORACLE_REPORT:
            return ReportNote.from_payload(payload).report
        if kind == ATTESTATION or kind in PURPOSES:
            return Envelope.decode(payload).digest
    except MarginSealError:
        pass
    return hashlib.sha256(payload).digest()
