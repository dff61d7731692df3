"""What a decision rests on, as bytes: from files, from the service or from a bundle, it makes no difference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedRecord:
    """A signed record, the receipt that shows when the log took it, and (of a manifest) the source releases it needs.

    The receipt is under the same checkpoint as the attestation's: records of two trees decide nothing."""

    envelope: bytes
    receipt: bytes
    releases: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Dossier:
    """attestation, receipt, head   the attestation, its inclusion in the log, and the log's head of the account
    consistency      proof that the receipt's checkpoint extends the one the venue saw last; empty for a first
    epoch, epoch_record, source_registry, venue_registry   what the statement names
    newer_epochs     epoch records that the log took since
    manifests        the account's chain, oldest first, up to the newest the log has
    messages         published source messages (envelopes); row_proofs: row-authority proofs by message digest
    pledge           the opening the owner gave this venue, or None
    previous         the predecessor attestation, with the epoch and the venue registry it names; None for a first one
    releases         signed pledge releases that the statement lists
    universe, snapshot, reports   what the epoch's prices were made from, for a policy that names oracles

    Public records come from the log, not from the account: who may leave out a newer epoch or manifest may choose."""

    attestation: bytes
    epoch: bytes
    epoch_record: bytes
    source_registry: bytes
    venue_registry: bytes
    manifests: tuple[LoggedRecord, ...]
    messages: tuple[bytes, ...]
    receipt: bytes
    head: bytes
    consistency: tuple[bytes, ...] = ()
    newer_epochs: tuple[LoggedRecord, ...] = ()
    row_proofs: tuple[tuple[bytes, bytes], ...] = ()
    pledge: bytes | None = None
    previous: bytes | None = None
    previous_epoch: bytes | None = None
    previous_venue_registry: bytes | None = None
    releases: tuple[bytes, ...] = ()
    universe: bytes | None = None
    snapshot: bytes | None = None
    reports: tuple[bytes, ...] = ()
