"""A desk: one folder with everything a command needs, under fixed names, so that verbs take few options.

    universe.json snapshot.json parameters.json epoch.bin     the market          (public)
    registry/sources.json registry/venues.json                signed registries   (public)
    account/account.json account/manifest.json                signed records      (public)
    statements/<source>.<tile>.json                           published by sources, openings sealed inside
    statements/past/<digest>.json                             those of earlier cuts, which earlier attestations name
    holdings/<source>.csv pledges.json                        private
    attestations/<sequence>.json                              public
    account/schedules/<sequence>.bin                          private: the pledges behind an attestation
    keys/<name>.json                                          private, encrypted

Reading checks signatures and decodes; nothing here decides.  A real deployment spreads these over parties: a source
holds its own key, a venue its own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from marginseal.errors import DecodeError, InputError, PolicyError

if TYPE_CHECKING:
    from marginseal.market.epoch import RiskEpoch
    from marginseal.market.universe import Universe
    from marginseal.records.acceptance import SourceEvidence
    from marginseal.records.attestation import Attestation
    from marginseal.records.envelope import Envelope, Record
    from marginseal.records.keychange import KeyRing
    from marginseal.records.keys import PublicKey, Role, SigningKey
    from marginseal.records.manifest import Manifest
    from marginseal.records.pledges import PledgeSchedule
    from marginseal.records.registry import SourceRegistry, VenueRegistry
    from marginseal.records.sealing import SealingKey
    from marginseal.records.source import PublishedStatement
    from marginseal.records.statement import Statement, Tier

PASSPHRASE_VARIABLE = "MARGINSEAL_PASSPHRASE"
MAX_RECORD_BYTES = 16 * 2**20
MAX_ATTESTATION_BYTES = 2**24

T = TypeVar("T", bound="Record")
V = TypeVar("V")


def tier_named(name: str) -> Tier:
    """initial or maintenance.  InputError cli.tier."""
    from marginseal.records.statement import Tier

    try:
        return Tier[name.upper()]
    except KeyError:
        raise InputError("cli.tier", f"there is no tier {name!r}: initial or maintenance") from None


@dataclass(frozen=True)
class Desk:
    """The folder; every method names what it reads in its errors."""

    root: Path

    # Market -------------------------------------------------------------------------------------------------------

    @property
    def epoch_file(self) -> Path:
        return self.root / "epoch.bin"

    def check_market(self) -> None:
        """InputError file.missing that says what to do: the wrong folder is the commonest mistake of all."""
        if not (self.root / "universe.json").exists():
            where = "this folder" if self.root == Path() else self.root
            raise InputError(
                "file.missing",
                f"{where} is no desk, it has no universe.json: `marginseal init` makes one, --desk names another",
            )

    def epoch(self, path: Path | None = None) -> RiskEpoch:
        """InputError file.missing, epoch.*"""
        from marginseal.market.epoch import read_epoch

        if path is None:
            self.check_market()
            if not self.epoch_file.exists():
                raise InputError(
                    "file.missing", f"there is no {self.epoch_file} yet: `marginseal epoch build` makes it"
                )
        return read_epoch(path or self.epoch_file)

    def universe(self) -> Universe:
        from marginseal.market.universe import read_universe

        self.check_market()
        return read_universe(self.root / "universe.json")

    def reports_of(self, snapshot: bytes) -> Path:
        """The folder of the oracle reports that make the snapshot of this digest (`oracle snapshot`)."""
        return self.root / "reports" / snapshot.hex()

    # Keys ---------------------------------------------------------------------------------------------------------

    def passphrase(self) -> bytes:
        """From the environment, or the file a development desk keeps beside its keys.

        InputError key.passphrase, file.unreadable."""
        from marginseal.files import read_bytes

        given = os.environ.get(PASSPHRASE_VARIABLE)
        if given is not None:
            return given.encode()
        beside = self.root / "keys" / "passphrase"
        if beside.exists():
            return read_bytes(beside, limit=4096, what="passphrase").strip()
        raise InputError("key.passphrase", f"set {PASSPHRASE_VARIABLE} to the passphrase of the keys")

    def signing_key(self, name: str, role: Role) -> SigningKey:
        from marginseal.records.keyfile import read_signing_key

        path = self.root / "keys" / f"{name}.json"
        with naming(path):
            return read_signing_key(path, self.passphrase(), role)

    def sealing_key(self, name: str = "account-sealing") -> SealingKey:
        from marginseal.records.keyfile import read_sealing_key

        path = self.root / "keys" / f"{name}.json"
        with naming(path):
            return read_sealing_key(path, self.passphrase())

    # Records ------------------------------------------------------------------------------------------------------

    def envelope(self, name: str) -> Envelope:
        from marginseal.files import read_bytes
        from marginseal.records.envelope import Envelope

        path = self.root / name
        with naming(path):
            return Envelope.decode(read_bytes(path, limit=MAX_RECORD_BYTES, what=path.name))

    def operator_key(self) -> PublicKey:
        """The risk operator this desk trusts, pinned as operator.pub (64 hexadecimal digits)."""
        return self._public_key("operator", "operator.pub")

    def prover_key(self) -> PublicKey:
        return self._public_key("prover", "prover.pub")

    def _public_key(self, role: str, name: str) -> PublicKey:
        from marginseal.files import read_bytes
        from marginseal.records.keys import PublicKey, Role

        data = read_bytes(self.root / name, limit=256, what=name)
        try:
            raw = bytes.fromhex(data.decode("ascii").strip())
        except ValueError:
            raise InputError("key.public", f"{name}: not 64 hexadecimal digits") from None
        return PublicKey(Role(role), raw)

    def _signed(self, kind: type[T], name: str, key: PublicKey) -> tuple[T, bytes]:
        from marginseal.records.envelope import open_signed

        envelope = self.envelope(name)
        return open_signed(kind, envelope, [key]), envelope.digest

    def sources(self) -> tuple[SourceRegistry, bytes]:
        from marginseal.records.registry import SourceRegistry

        return self._signed(SourceRegistry, "registry/sources.json", self.operator_key())

    def venues(self) -> tuple[VenueRegistry, bytes]:
        from marginseal.records.registry import VenueRegistry

        return self._signed(VenueRegistry, "registry/venues.json", self.operator_key())

    def manifest_files(self) -> list[str]:
        """account/manifest.json, then the later versions account/manifests/<version>.json, in order."""
        later = sorted((self.root / "account" / "manifests").glob("*.json"))
        return ["account/manifest.json", *(str(path.relative_to(self.root)) for path in later)]

    def manifests(self) -> list[tuple[Manifest, bytes]]:
        """Every version with its digest, oldest first, each link checked; when one was logged is the log's to say."""
        from marginseal.records.manifest import open_manifest

        chain: list[tuple[Manifest, bytes]] = []
        for name in self.manifest_files():
            envelope = self.envelope(name)
            manifest = open_manifest(
                envelope,
                logged=0,
                delay_s=0,
                previous=chain[-1] if chain else None,
                releases=self.book_releases() if chain else (),
                registry=self.sources()[0] if chain else None,
            )
            chain.append((manifest, envelope.digest))
        return chain

    def manifest(self, moment: int | None = None) -> tuple[Manifest, bytes]:
        """The manifest in force at `moment` (before the first begins: the first), by default the newest."""
        chain = self.manifests()
        begun = chain if moment is None else [link for link in chain if link[0].effective <= moment]
        return begun[-1] if begun else chain[0]

    def book_releases(self) -> list[Envelope]:
        """What sources signed to let books go: releases/books/<digest>.json."""
        return [self.envelope(str(p.relative_to(self.root))) for p in sorted(self._releases("books").glob("*.json"))]

    def keep_release(self, kind: str, release: Envelope) -> Path:
        """Keep a release of `pledges` or `books` under its digest; where it is."""
        from marginseal.files import write_atomic

        path = self._releases(kind) / f"{release.digest.hex()}.json"
        write_atomic(path, release.encode())
        return path

    def pledge_release(self, digest: bytes) -> Envelope:
        """One that was kept.  InputError file.missing."""
        return self.envelope(f"releases/pledges/{digest.hex()}.json")

    def _releases(self, kind: str) -> Path:
        return self.root / "releases" / kind

    def statements(self) -> list[PublishedStatement]:
        """What the sources published last, by file name.  InputError statements.none."""
        files = sorted((self.root / "statements").glob("*.json"))
        if not files:
            raise InputError("statements.none", f"there are no source statements in {self.root / 'statements'}")
        return [read_published(f) for f in files]

    def every_statement(self) -> list[PublishedStatement]:
        """These and those of earlier cuts, which earlier attestations name: statements/past/<digest>.json."""
        return self.statements() + [read_published(f) for f in sorted((self.root / "statements/past").glob("*.json"))]

    def statements_of(self, source: str) -> list[PublishedStatement]:
        """All that this source signed and the desk has."""
        files = sorted((self.root / "statements").glob(f"{source}.*.json"))
        past = sorted((self.root / "statements" / "past").glob("*.json"))
        return [p for p in map(read_published, (*files, *past)) if _source_of(p) == source]

    # Attestations ---------------------------------------------------------------------------------------------------

    def attestation_file(self, sequence: int) -> Path:
        return self.root / "attestations" / f"{sequence:06d}.json"

    def schedule_file(self, sequence: int) -> Path:
        return self.root / "account" / "schedules" / f"{sequence:06d}.bin"

    def last_sequence(self) -> int:
        """0 before the first attestation."""
        found = [f.stem for f in (self.root / "attestations").glob("*.json")]
        return max((int(stem) for stem in found if stem.isdecimal()), default=0)

    def attestation(self, sequence: int) -> Attestation:
        return read_attestation(self.attestation_file(sequence))

    def schedule(self, sequence: int) -> PledgeSchedule:
        from marginseal.files import read_bytes
        from marginseal.records.pledges import PledgeSchedule

        path = self.schedule_file(sequence)
        return PledgeSchedule.decode(read_bytes(path, limit=2**16, what="pledge schedule"))


class DeskRecords:
    """What statements name by digest, out of one desk: `prover.attest.Public`.  PolicyError public.unknown."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def epoch(self, digest: bytes) -> RiskEpoch:
        epoch = self._desk.epoch()
        return _named(epoch, epoch.digest, digest, "epoch")

    def universe(self, digest: bytes) -> Universe:
        universe = self._desk.universe()
        return _named(universe, universe.digest, digest, "universe")

    def manifest(self, digest: bytes) -> Manifest:
        return manifest_named(self._desk, digest)

    def source_registry(self, digest: bytes) -> SourceRegistry:
        return _named(*self._desk.sources(), digest, "source registry")

    def venue_registry(self, digest: bytes) -> VenueRegistry:
        return _named(*self._desk.venues(), digest, "venue registry")

    def source_statement(self, message: bytes) -> PublishedStatement:
        for published in self._desk.every_statement():
            if published.message.digest == message:
                return published
        raise PolicyError("public.unpublished", "a source's statement is not on the desk")

    def keys(self) -> tuple[KeyRing, int | None]:
        """A desk goes by what is listed."""
        from marginseal.records.keychange import NO_CHANGES

        return NO_CHANGES, None

    def predecessor(self, account: str, sequence: int) -> Attestation | None:
        return self._desk.attestation(sequence) if self._desk.attestation_file(sequence).exists() else None


def _named(value: V, digest: bytes, wanted: bytes, what: str) -> V:
    if digest != wanted:
        raise PolicyError("public.unknown", f"the desk has another {what} than the statement names")
    return value


def manifest_named(desk: Desk, digest: bytes) -> Manifest:
    """The version of the account's manifest with this digest.  PolicyError public.unknown."""
    for manifest, name in desk.manifests():
        if name == digest:
            return manifest
    raise PolicyError("public.unknown", "the desk has another manifest than the statement names")


def _source_of(published: PublishedStatement) -> str:
    from marginseal.records.envelope import peek
    from marginseal.records.source import SourceStatement

    return peek(SourceStatement, published.message).terms.source


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """A desk has many signed files of one form: what cannot be decoded says which file it was."""
    try:
        yield
    except DecodeError as e:
        raise DecodeError(e.code, f"{path}: {e.message}") from None


def read_published(path: Path) -> PublishedStatement:
    """InputError file.*; DecodeError."""
    from marginseal.files import read_bytes
    from marginseal.records.source import PublishedStatement

    with naming(path):
        return PublishedStatement.decode(read_bytes(path, limit=2**20, what=path.name))


def read_attestation(path: Path) -> Attestation:
    """InputError file.*; DecodeError."""
    from marginseal.files import read_bytes
    from marginseal.records.attestation import Attestation

    with naming(path):
        return Attestation.decode(read_bytes(path, limit=MAX_ATTESTATION_BYTES, what="attestation"))


def _is_decimal(amount: object) -> bool:
    """ASCII digits with at most one point between them: no sign, exponent, underscore or other script's digits."""
    return isinstance(amount, str) and re.fullmatch(r"[0-9]{1,30}(\.[0-9]{1,30})?", amount) is not None


def read_pledges(path: Path, venues: VenueRegistry, tick: str) -> dict[str, int]:
    """{"format": "marginseal-pledges-1", "pledges": {venue: "decimal amount in the settlement currency"}} -> ticks.

    InputError pledges.*; PolicyError registry.unknown-venue.  Amounts never appear in an error."""
    from decimal import (
        Context,
        Decimal,
        DecimalException,
        DivisionByZero,
        Inexact,
        InvalidOperation,
        Overflow,
        localcontext,
    )

    from marginseal.files import read_json

    top = read_json(path, what="pledges", limit=2**20)
    if not isinstance(top, dict) or set(top) != {"format", "pledges"} or top["format"] != "marginseal-pledges-1":
        raise InputError("pledges.format", "pledges: not a document of format marginseal-pledges-1")
    if not isinstance(top["pledges"], dict):
        raise InputError("pledges.format", "pledges: must map venues to amounts")
    out = {}
    for venue, amount in top["pledges"].items():
        venues.row(venue)
        try:
            # Inexact too: an amount of many digits must not be rounded to whole ticks on the way.
            with localcontext(Context(traps=[InvalidOperation, DivisionByZero, Overflow, Inexact])):
                ticks = Decimal(amount) / Decimal(tick) if _is_decimal(amount) else Decimal("NaN")
        except DecimalException:
            ticks = Decimal("NaN")
        if not ticks.is_finite() or ticks != ticks.to_integral_value() or not 0 <= ticks < 2**55:
            raise InputError("pledges.amount", f"the pledge to {venue}: not a decimal text in whole ticks of {tick}")
        out[venue] = int(ticks)
    return out


def source_evidence(desk: Desk, statement: Statement, n: int, tiles: int) -> SourceEvidence:
    """What acceptance needs beside a statement: registry, manifest in force at its cut, signed messages, row proofs."""
    from marginseal.records.acceptance import SourceEvidence
    from marginseal.records.source import by_message

    registry, registry_digest = desk.sources()
    manifest, manifest_digest = desk.manifest(statement.cut_time)
    return SourceEvidence(
        registry=registry,
        registry_digest=registry_digest,
        manifest=manifest,
        manifest_digest=manifest_digest,
        published=by_message(desk.every_statement()),
        n=n,
        tiles=tiles,
    )
