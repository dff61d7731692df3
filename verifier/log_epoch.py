"""An epoch out of a log, rebuilt: record, bytes, snapshot, parameters and oracle reports that its entry depends on.

    universe + snapshot + parameters -> the same bytes, or the operator signed something else

Where the log holds the snapshot and the parameters the epoch is built again and compared digest by digest; where the
auditor names oracles their reports have to make that very snapshot.  What the log does not hold is reported as such.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from marginseal.errors import MarginSealError, PolicyError, ProofRejected
from marginseal.files import MAX_JSON_BYTES, parse_json
from marginseal.log.entry import Entry
from marginseal.market import epoch as epochs
from marginseal.market import parameters as market_parameters
from marginseal.market import snapshot as market_snapshot
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe, parse_universe
from marginseal.records.envelope import Envelope, open_signed, peek
from marginseal.records.epoch import EpochRecord, rebuild
from marginseal.records.keychange import KeyRing
from marginseal.records.keys import PublicKey
from marginseal.records.oracle import OracleReport, check_snapshot
from verifier.log_index import Index, Position, Records
from verifier.policy import Trust


@dataclass(frozen=True)
class EpochObjects:
    """What an epoch's entry depends on, beside the epoch's own bytes."""

    snapshot: bytes | None
    parameters: bytes | None
    reports: tuple[bytes, ...]


def epoch_objects(records: Records, entry: Entry, epoch: bytes) -> EpochObjects:
    """Objects told apart by their own format member; of two of a kind the first counts.  InputError log.no-object.

    None larger than a market file may be is read as one: whoever has something logged chooses what its entry names."""
    found: dict[str, bytes] = {}
    reports = []
    for digest in entry.dependencies:
        if digest == epoch:
            continue
        data = records.object(digest)
        if len(data) > MAX_JSON_BYTES:
            continue
        try:
            document = parse_json(data, what="object")
        except MarginSealError:
            continue
        if isinstance(document, dict) and "payloadType" in document:
            reports.append(data)
        elif isinstance(document, dict):
            found.setdefault(str(document.get("format")), data)
    return EpochObjects(
        found.get(market_snapshot.FORMAT), found.get(market_parameters.FORMAT), tuple(by_oracle(reports))
    )


def by_oracle(reports: Iterable[bytes]) -> list[bytes]:
    """Reports in the order that `make_snapshot` asks for; what is none comes last."""

    def name(data: bytes) -> tuple[bool, bytes]:
        try:
            return False, peek(OracleReport, Envelope.decode(data)).oracle.encode()
        except MarginSealError:
            return True, data

    return sorted(reports, key=name)


def first_signed(
    records: Records, index: Index, digest: bytes, operators: Iterable[PublicKey]
) -> tuple[Position, EpochRecord] | None:
    """The first record of an epoch that one of these keys signed: anybody can have others logged before it."""
    keys = tuple(operators)
    for said in index.epochs.get(digest, ()):
        with contextlib.suppress(MarginSealError):
            envelope = Envelope.decode(records.entry(said.position.index)[1].payload)
            return said.position, open_signed(EpochRecord, envelope, keys)
    return None


def open_epoch(records: Records, index: int, trust: Trust, ring: KeyRing) -> tuple[EpochRecord, RiskEpoch]:
    """The epoch that the record in entry `index` is of.  DecodeError, ProofRejected, PolicyError."""
    time, entry = records.entry(index)
    record = ring.open(EpochRecord, Envelope.decode(entry.payload), trust.operators, time)
    epoch = epochs.decode(records.object(record.epoch))
    record.check(epoch)
    return record, epoch


def open_universe(records: Records, index: Index, digest: bytes) -> Universe:
    """PolicyError replay.universe."""
    at = index.universes.get(digest)
    if at is None:
        raise PolicyError("replay.universe", "the log holds no universe of that digest")
    return parse_universe(records.entry(at.index)[1].payload)


def rebuild_epoch(
    records: Records, universes: Callable[[bytes], Universe], index: int, trust: Trust, ring: KeyRing
) -> bool:
    """Whether the epoch of entry `index` could be rebuilt from what the log holds; what comes out wrong raises.

    ProofRejected epoch-record.rebuild, replay.reports; PolicyError replay.*, oracle.*; whatever decoding raises."""
    record, epoch = open_epoch(records, index, trust, ring)
    objects = epoch_objects(records, records.entry(index)[1], record.epoch)
    if objects.snapshot is None or objects.parameters is None:
        if trust.oracles is not None:
            raise PolicyError("replay.reports", "the snapshot behind the epoch is not in the log")
        return False
    universe = universes(record.universe)
    snapshot = market_snapshot.parse_snapshot(objects.snapshot, universe)
    rebuilt = rebuild(record, universe, snapshot, market_parameters.parse_parameters(objects.parameters))
    if epochs.encode(rebuilt) != epochs.encode(epoch):
        raise ProofRejected("epoch-record.rebuild", "the epoch that follows from its snapshot is not the signed one")
    if trust.oracles is not None:
        oracles = replace(trust.oracles, ring=ring)
        check_snapshot(snapshot, [Envelope.decode(data) for data in objects.reports], oracles, universe)
    return True
