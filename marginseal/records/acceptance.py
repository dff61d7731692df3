"""Acceptance of the source list of a statement (protocol section 7): every entry stands for a signed message.

`source_faults` names everything that is wrong, as errors that were not raised; `check_sources` raises the first and
returns what the messages promise.  Whether a venue trusts these sources, and for how much, is its policy; that the
statement's digests are those of *this* registry and manifest is checked here, that they are the newest is the log's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from marginseal.algebra.curve import Curve
from marginseal.algebra.srs import SRS
from marginseal.errors import DecodeError, MarginSealError, PolicyError, ProofRejected
from marginseal.records import rows
from marginseal.records.keychange import NO_CHANGES, KeyRing
from marginseal.records.manifest import Manifest
from marginseal.records.registry import RegisteredSource, SourceRegistry
from marginseal.records.rows import RowAuthority
from marginseal.records.source import PublishedStatement, SourceStatement
from marginseal.records.statement import SourceEntry, Statement


@dataclass(frozen=True)
class SourceEvidence:
    """What a verifier holds beside the statement.

    registry, manifest   each with the digest of the envelope it was opened from; their signatures are verified
    published            what sources published, by digest of the signed message (`source.by_message`)
    n, tiles             rows of the circuit, and how many tiles the universe has at n
    ring, logged         key changes, and when the log took the attestation (None: not yet, its cut stands for it): the
                         account's key has to be in force then, a source's at the cut"""

    registry: SourceRegistry
    registry_digest: bytes
    manifest: Manifest
    manifest_digest: bytes
    published: Mapping[bytes, PublishedStatement]
    n: int
    tiles: int
    ring: KeyRing = NO_CHANGES
    logged: int | None = None


@dataclass(frozen=True)
class SourceFacts:
    """hold_until: until when every source holds, or None if one does not: then the attestation is a snapshot."""

    hold_until: int | None
    messages: tuple[SourceStatement, ...]


def check_sources(statement: Statement, evidence: SourceEvidence, *, srs: SRS, curve: Curve) -> SourceFacts:
    """Raises the first fault: PolicyError, ProofRejected or DecodeError accept.*, signature.*, rows.*, registry.*."""
    messages: list[SourceStatement] = []
    for fault in _faults(statement, evidence, srs, curve, messages):
        raise fault
    holds = [m.terms.hold_until for m in messages]
    held = [h for h in holds if h is not None]
    return SourceFacts(min(held) if len(held) == len(holds) else None, tuple(messages))


def source_faults(
    statement: Statement, evidence: SourceEvidence, *, srs: SRS, curve: Curve
) -> Iterator[MarginSealError]:
    """Everything that is wrong with the source list."""
    return _faults(statement, evidence, srs, curve, [])


def _faults(
    statement: Statement, evidence: SourceEvidence, srs: SRS, curve: Curve, messages: list[SourceStatement]
) -> Iterator[MarginSealError]:
    manifest = evidence.manifest
    if statement.srs != srs.digest:
        yield PolicyError("accept.srs", "the statement is over another structured reference string")
    if statement.source_registry != evidence.registry_digest:
        yield PolicyError("accept.source-registry", "the statement names another source registry")
    if statement.manifest != evidence.manifest_digest or statement.account != manifest.account:
        yield PolicyError("accept.manifest", "the statement names another manifest or account")
    if manifest.effective > statement.cut_time:
        yield PolicyError("accept.manifest-early", "the manifest is not in force at the cut")
    logged = statement.cut_time if evidence.logged is None else evidence.logged
    if statement.account_key not in {key.raw for key in evidence.ring.in_force(manifest.keys, logged)}:
        yield PolicyError("accept.account-key", "the manifest does not name the statement's account key, or it ended")
    yield from _list_faults(statement, manifest, evidence.tiles)
    sequences: dict[tuple[str, str], int] = {}
    for entry in statement.sources:
        try:
            message = _message(statement, entry, evidence, srs, curve)
        except (PolicyError, ProofRejected, DecodeError) as e:
            yield e
            continue
        messages.append(message)
        if sequences.setdefault((entry.source, entry.book), message.terms.sequence) != message.terms.sequence:
            yield PolicyError("accept.sequence", f"{_name(entry)}: its tiles are of different sequences")


def _list_faults(statement: Statement, manifest: Manifest, tiles: int) -> Iterator[MarginSealError]:
    """Every (source, book id) of the manifest occurs exactly once for every tile, and nothing else occurs.

    That nothing occurs twice is the statement's strict order."""
    listed = {(entry.source, entry.book, entry.tile) for entry in statement.sources}
    needed = {(source, book, tile) for source, book in manifest.books for tile in range(tiles)}
    for source, book, tile in sorted(needed - listed):
        yield PolicyError("accept.left-out", f"{source}/{book} tile {tile}: in the manifest and not in the statement")
    for source, book, tile in sorted(listed - needed):
        yield PolicyError("accept.not-listed", f"{source}/{book} tile {tile}: in the statement and not in the manifest")


def _message(
    statement: Statement, entry: SourceEntry, evidence: SourceEvidence, srs: SRS, curve: Curve
) -> SourceStatement:
    """The signed message of an entry, if it is what the entry says and the statement needs."""
    published = evidence.published.get(entry.message_digest)
    if published is None:
        raise PolicyError("accept.message", f"{_name(entry)}: the signed message is not at hand")
    envelope = published.message
    if envelope.digest != entry.message_digest:
        raise ProofRejected("accept.digest", f"{_name(entry)}: another message than the one listed")
    source = evidence.registry.source(entry.source)
    message = evidence.ring.open(SourceStatement, envelope, [source.key], statement.cut_time)
    terms = message.terms
    agreements = (
        ("source", (terms.source, terms.book) == (entry.source, entry.book)),
        ("tile", message.tile == entry.tile),
        ("commitment", message.C == entry.C),
        ("srs", message.srs == statement.srs),
        ("universe", message.universe == statement.universe),
        ("account", terms.account == statement.account),
        ("cut", (terms.cut_id, terms.cut_time) == (statement.cut_id, statement.cut_time)),
        ("n", message.n == evidence.n),
        ("complete", terms.complete),
        ("expired", statement.expiry <= terms.expiry),
        ("hold", terms.hold_until is None or statement.expiry <= terms.hold_until),
        ("ciphertext", hashlib.sha256(published.sealed).digest() == message.ciphertext_digest),
    )
    for what, agrees in agreements:
        if not agrees:
            raise PolicyError(f"accept.{what}", f"{_name(entry)}: {_REASONS[what]}")
    curve.decode_g1(entry.C)  # never the identity; their sum may be
    _check_rows(source, message, entry, published.row_proof, srs, curve)
    return message


_REASONS = {
    "source": "the message is of another source or book",
    "tile": "the message is of another tile",
    "commitment": "the message signs another commitment",
    "srs": "the message is over another structured reference string",
    "universe": "the message is over another universe",
    "account": "the message is for another account",
    "cut": "the message is of another cut",
    "n": "the message was signed for another number of rows",
    "complete": "the source does not say that these are all positions",
    "expired": "the statement outlives the message",
    "hold": "the statement outlives the source's hold",
    "ciphertext": "published without the sealed opening that was signed, it counts as unsigned",
}


def _check_rows(
    source: RegisteredSource,
    message: SourceStatement,
    entry: SourceEntry,
    proof: RowAuthority | None,
    srs: SRS,
    curve: Curve,
) -> None:
    allowed = source.allowed(message.universe, message.n, message.tile)
    if allowed is None:
        return
    if proof is None:
        raise PolicyError("accept.rows", f"{_name(entry)}: a confined source without proof of its rows")
    rows.verify(entry.C, proof, allowed, entry.message_digest, message.n, srs=srs, curve=curve)


def _name(entry: SourceEntry) -> str:
    return f"{entry.source}/{entry.book} tile {entry.tile}"
