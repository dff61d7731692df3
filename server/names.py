"""Kinds of log entries, and the digest by which a statement names each.

A signed record is logged as its envelope and named by the envelope's digest (of what was signed); an epoch by the
digest of its matrix, which its record names; a universe by its own; an oracle's report, of which the log holds a note,
by the digest of its envelope.  `attestation` is the log's own word.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum

from marginseal.errors import MarginSealError
from marginseal.log.entry import ATTESTATION
from marginseal.market.universe import parse_universe
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.keys import Purpose
from marginseal.records.report_note import ReportNote


class Kind(StrEnum):
    """Kinds of entries this service writes beside attestations."""

    UNIVERSE = "universe"
    EPOCH = "epoch"
    SOURCE_REGISTRY = "source-registry"
    VENUE_REGISTRY = "venue-registry"
    ACCOUNT = "account"
    MANIFEST = "manifest"
    SOURCE_RELEASE = "source-release"
    PLEDGE_RELEASE = "pledge-release"
    KEY_CHANGE = "key-change"
    KEY_REVOCATION = "key-revocation"
    ORACLE_REPORT = "oracle-report"


PURPOSES = {
    Kind.EPOCH: Purpose.EPOCH,
    Kind.SOURCE_REGISTRY: Purpose.SOURCE_REGISTRY,
    Kind.VENUE_REGISTRY: Purpose.VENUE_REGISTRY,
    Kind.ACCOUNT: Purpose.ACCOUNT,
    Kind.MANIFEST: Purpose.MANIFEST,
    Kind.SOURCE_RELEASE: Purpose.SOURCE_RELEASE,
    Kind.PLEDGE_RELEASE: Purpose.PLEDGE_RELEASE,
    Kind.KEY_CHANGE: Purpose.KEY_CHANGE,
    Kind.KEY_REVOCATION: Purpose.KEY_REVOCATION,
}


def name_of(kind: str, payload: bytes) -> bytes:
    """32 bytes.  What cannot be read is named by the SHA-256 of its bytes: it is in the log all the same."""
    try:
        if kind == Kind.UNIVERSE:
            return parse_universe(payload).digest
        if kind == Kind.EPOCH:
            return peek(EpochRecord, Envelope.decode(payload)).epoch
        if kind == Kind.ORACLE_REPORT:
            return ReportNote.from_payload(payload).report
        if kind == ATTESTATION or kind in PURPOSES:
            return Envelope.decode(payload).digest
    except MarginSealError:
        pass
    return hashlib.sha256(payload).digest()
