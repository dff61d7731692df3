"""The registries an operator signs: sources with the rows each may speak for, and venues with their rows.

Source registry: source -> key and, for a confined source, the rows R of each universe it may hold anything on.
Venue registry: ordered; a venue's row in every pledge schedule is its index, so a later version only appends
(`VenueRegistry.extends`).  Statements name a registry by the digest of its envelope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import Any, ClassVar, Self

from marginseal.errors import DecodeError, PolicyError
from marginseal.market.epoch_bounds import MAX_INSTRUMENTS
from marginseal.records import document, rows
from marginseal.records.document import MAX_INTEGER, MAX_TIME, Members, is_name
from marginseal.records.keys import PublicKey, Purpose, Role

MAX_SOURCES = 4096
MAX_UNIVERSES = 64
MAX_RANGES = 4096
MAX_VENUES = 2048
_MAX_BYTES = 8 * 2**20
_SOURCE_KEYS = ("id", "key", "rows")
_VENUE_KEYS = ("id", "key")

Ranges = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class RegisteredSource:
    """A source and its key.  rows: None if it may speak for every row of every universe, else universe digest ->
    half-open ranges [start, stop) of rows, increasing and apart; a universe that is not named has none."""

    id: str
    key: PublicKey
    rows: Mapping[bytes, Ranges] | None = None

    def __post_init__(self) -> None:
        if not is_name(self.id) or self.key.role != Role.SOURCE:
            raise DecodeError("registry.source", "source registry: a name or key that cannot be")
        if self.rows is None:
            return
        if len(self.rows) > MAX_UNIVERSES or any(len(u) != 32 or len(r) > MAX_RANGES for u, r in self.rows.items()):
            raise DecodeError("registry.rows", "source registry: too many universes or ranges, or no digest")
        for ranges in self.rows.values():
            edges = [edge for pair in ranges for edge in pair]
            if any(a >= b for a, b in pairwise(edges)) or not all(0 <= edge <= MAX_INSTRUMENTS for edge in edges):
                raise DecodeError("registry.rows", "source registry: ranges are increasing, apart and not empty")
        object.__setattr__(self, "rows", MappingProxyType(dict(self.rows)))

    def allowed(self, universe: bytes, n: int, tile: int) -> bytes | None:
        """R of a tile as n/8 bytes, or None for a source that is not confined there."""
        if self.rows is None:
            return None
        allowed = rows.mask(self.rows.get(universe, ()), n, tile)
        return None if rows.is_full(allowed) else allowed


@dataclass(frozen=True)
class SourceRegistry:
    """operator: who signs; version: from 1; issued: unix seconds; sources: by id as byte strings, keys distinct."""

    PURPOSE: ClassVar[Purpose] = Purpose.SOURCE_REGISTRY

    operator: str
    version: int
    issued: int
    sources: tuple[RegisteredSource, ...]

    def __post_init__(self) -> None:
        _check_head(self.operator, self.version, self.issued)
        ids = [s.id.encode() for s in self.sources]
        if not 1 <= len(ids) <= MAX_SOURCES or any(a >= b for a, b in pairwise(ids)):
            raise DecodeError("registry.order", f"source registry: 1 to {MAX_SOURCES} sources, strictly increasing")
        _check_distinct([s.key for s in self.sources])

    @cached_property
    def _by_id(self) -> dict[str, RegisteredSource]:
        return {s.id: s for s in self.sources}

    def source(self, source_id: str) -> RegisteredSource:
        """PolicyError registry.unknown-source."""
        try:
            return self._by_id[source_id]
        except KeyError:
            raise PolicyError("registry.unknown-source", f"{source_id!r} is not in the source registry") from None

    def payload(self) -> bytes:
        sources = [{"id": s.id, "key": s.key.raw.hex(), "rows": _rows_members(s.rows)} for s in self.sources]
        return document.canonical(_head(self.operator, self.version, self.issued) | {"sources": sources})

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, registry.*, key.*."""
        keys = ("issued", "operator", "sources", "version")
        top = document.decode(payload, what="source registry", keys=keys, limit=_MAX_BYTES)
        sources = tuple(
            RegisteredSource(s.name("id"), PublicKey(Role.SOURCE, s.hex("key", 32)), _read_rows(s))
            for s in top.objects("sources", _SOURCE_KEYS, limit=MAX_SOURCES)
        )
        return cls(top.name("operator"), top.integer("version", 1), top.time("issued"), sources)


@dataclass(frozen=True)
class RegisteredVenue:
    """A venue and its key."""

    id: str
    key: PublicKey

    def __post_init__(self) -> None:
        if not is_name(self.id) or self.key.role != Role.VENUE:
            raise DecodeError("registry.venue", "venue registry: a name or key that cannot be")


@dataclass(frozen=True)
class VenueRegistry:
    """operator, version, issued as in `SourceRegistry`; venues: the row of a venue is its index."""

    PURPOSE: ClassVar[Purpose] = Purpose.VENUE_REGISTRY

    operator: str
    version: int
    issued: int
    venues: tuple[RegisteredVenue, ...]

    def __post_init__(self) -> None:
        _check_head(self.operator, self.version, self.issued)
        ids = [v.id for v in self.venues]
        if not 1 <= len(ids) <= MAX_VENUES or len(set(ids)) != len(ids):
            raise DecodeError("registry.order", f"venue registry: 1 to {MAX_VENUES} venues with distinct names")
        _check_distinct([v.key for v in self.venues])

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {v.id: row for row, v in enumerate(self.venues)}

    def row(self, venue_id: str) -> int:
        """The row of a venue.  PolicyError registry.unknown-venue."""
        try:
            return self._rows[venue_id]
        except KeyError:
            raise PolicyError("registry.unknown-venue", f"{venue_id!r} is not in the venue registry") from None

    def venue(self, row: int) -> RegisteredVenue:
        """The venue of a row.  PolicyError registry.unknown-row."""
        if not 0 <= row < len(self.venues):
            raise PolicyError("registry.unknown-row", "a row beyond the venue registry")
        return self.venues[row]

    def extends(self, older: VenueRegistry) -> bool:
        """Whether every venue of `older` keeps its row here; keys may have changed."""
        return [v.id for v in self.venues[: len(older.venues)]] == [v.id for v in older.venues]

    def payload(self) -> bytes:
        venues = [{"id": v.id, "key": v.key.raw.hex()} for v in self.venues]
        return document.canonical(_head(self.operator, self.version, self.issued) | {"venues": venues})

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, registry.*, key.*."""
        keys = ("issued", "operator", "venues", "version")
        top = document.decode(payload, what="venue registry", keys=keys, limit=_MAX_BYTES)
        venues = tuple(
            RegisteredVenue(v.name("id"), PublicKey(Role.VENUE, v.hex("key", 32)))
            for v in top.objects("venues", _VENUE_KEYS, limit=MAX_VENUES)
        )
        return cls(top.name("operator"), top.integer("version", 1), top.time("issued"), venues)


def _check_head(operator: str, version: int, issued: int) -> None:
    if not is_name(operator) or not 1 <= version <= MAX_INTEGER or not 0 <= issued <= MAX_TIME:
        raise DecodeError("registry.head", "registry: an operator, version or time that cannot be")


def _check_distinct(keys: list[PublicKey]) -> None:
    if len({key.raw for key in keys}) != len(keys):
        raise DecodeError("registry.keys", "registry: one key under two names")


def _head(operator: str, version: int, issued: int) -> dict[str, Any]:
    return {"issued": issued, "operator": operator, "version": version}


def _rows_members(confined: Mapping[bytes, Ranges] | None) -> dict[str, Any] | None:
    return None if confined is None else {u.hex(): [list(pair) for pair in ranges] for u, ranges in confined.items()}


def _read_rows(source: Members) -> dict[bytes, Ranges] | None:
    if source.is_null("rows"):
        return None
    names = source.mapping("rows", limit=MAX_UNIVERSES)
    universes = source.object("rows", tuple(names))
    out = {}
    for name in names:
        digest = document.parse_hex(name, 32)
        pairs = universes.items(name, limit=MAX_RANGES)
        if digest is None or not all(
            isinstance(pair, list) and len(pair) == 2 and all(type(edge) is int for edge in pair) for pair in pairs
        ):
            raise DecodeError("registry.rows", "source registry: rows are ranges [start, stop] by universe digest")
        out[digest] = tuple((pair[0], pair[1]) for pair in pairs)
    return out
