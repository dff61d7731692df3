"""What a decision rests on, as bytes: from files, from the service or from a bundle, it makes no difference."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedRecord:
    """What the log holds (a signed record, an attestation), the receipt that shows when it took it, and the releases
    that go with it: of a manifest the sources', of an attestation the venues'.

    The receipt is under the same checkpoint as the newest attestation's: records of two trees decide nothing."""

    envelope: bytes
    receipt: bytes
    releases: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class LoggedEpoch(LoggedRecord):
    """A record of an epoch, with what its entry says that the prices were made from."""

    snapshot: bytes | None = None
    reports: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class Dossier:
    """attestation, receipt, head   the attestation, its inclusion in the log, and the log's head of the account
    consistency      proof that the receipt's checkpoint extends the one the venue saw last; empty for a first
    epoch, source_registry, venue_registry   what the statement names; epoch: the matrix itself
    epoch_records    all that the log has of this epoch, oldest first: the first that an operator signed counts
    source_registries   every source registry that the log has: a manifest's releases are under the one of its time
    newer_epochs     records of epochs of a later moment
    keys             changes and revocations of keys, all that the log has
    manifests        the account's chain, oldest first, up to the newest the log has
    messages         what sources published: signed messages with sealed openings and row-authority proofs
    pledge           the opening the owner gave this venue, or None
    chain            the attestations before it, oldest first, back to the one the venue accepted last, or to the first,
                     or as far as the venue's policy goes; epochs (with their records) and venue registries that they
                     name and the newest does not
    messages_before  what sources published for the attestation before it
    releases         signed pledge releases that the statement lists
    universe         of the epoch

    Public records come from the log, not from the account: who may leave out a newer epoch, a manifest or the
    revocation of a key may choose."""

    attestation: bytes
    epoch: bytes
    epoch_records: tuple[LoggedEpoch, ...]
    source_registry: LoggedRecord
    venue_registry: LoggedRecord
    manifests: tuple[LoggedRecord, ...]
    messages: tuple[bytes, ...]
    receipt: bytes
    head: bytes
    consistency: tuple[bytes, ...] = ()
    source_registries: tuple[LoggedRecord, ...] = ()
    newer_epochs: tuple[LoggedRecord, ...] = ()
    keys: tuple[LoggedRecord, ...] = ()
    pledge: bytes | None = None
    chain: tuple[LoggedRecord, ...] = ()
    chain_epochs: tuple[tuple[bytes, tuple[LoggedEpoch, ...]], ...] = ()
    chain_venue_registries: tuple[LoggedRecord, ...] = ()
    messages_before: tuple[bytes, ...] = ()
    releases: tuple[bytes, ...] = ()
    universe: bytes | None = None
