"""The kinds of log entries that records are published under, beside the log's own `attestation`.

The log does not understand payloads; these names are what its writers and its readers agree on.  An epoch's entry
depends on the epoch's bytes and on what rebuilding needs (snapshot, parameters, oracle reports), an attestation's on
everything its statement names, a manifest's on the releases of the books that left it.
"""

from __future__ import annotations

from enum import StrEnum


class LogKind(StrEnum):
    """Payload: the RFC 8785 document for a universe, a note of an oracle's report that lies beside the log as an object
    (`report_note`), the signed envelope for everything else."""

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
