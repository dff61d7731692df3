"""The signed record of a risk epoch: the operator vouches for a digest, and anyone rebuilds the bytes behind it.

The record names what the epoch was built from (universe, snapshot, parameters); `rebuild` builds it again and compares
every byte.  So the operator's signature stands for the choice of parameters and snapshot, not for the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from marginseal.errors import DecodeError, PolicyError, ProofRejected
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch
from marginseal.market.parameters import RiskParameters
from marginseal.market.snapshot import Snapshot
from marginseal.market.universe import Universe
from marginseal.records import document
from marginseal.records.document import MAX_TIME, is_name
from marginseal.records.keys import Purpose

_KEYS = ("epoch", "expires", "name", "operator", "parameters", "snapshot", "time", "universe")


@dataclass(frozen=True)
class EpochRecord:
    """Digests 32 bytes each; time, expires: unix seconds, those of the epoch."""

    PURPOSE: ClassVar[Purpose] = Purpose.EPOCH

    operator: str
    name: str
    epoch: bytes
    universe: bytes
    snapshot: bytes
    parameters: bytes
    time: int
    expires: int

    def __post_init__(self) -> None:
        if not is_name(self.operator) or not is_name(self.name) or not 0 <= self.time < self.expires <= MAX_TIME:
            raise DecodeError("epoch-record.fields", "epoch record: a name or time that cannot be")
        if any(len(d) != 32 for d in (self.epoch, self.universe, self.snapshot, self.parameters)):
            raise DecodeError("epoch-record.digest", "epoch record: a digest is 32 bytes")

    def payload(self) -> bytes:
        return document.canonical(
            {
                "epoch": self.epoch.hex(),
                "expires": self.expires,
                "name": self.name,
                "operator": self.operator,
                "parameters": self.parameters.hex(),
                "snapshot": self.snapshot.hex(),
                "time": self.time,
                "universe": self.universe.hex(),
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, epoch-record.*."""
        top = document.decode(payload, what="epoch record", keys=_KEYS, limit=8192)
        return cls(
            operator=top.name("operator"),
            name=top.name("name"),
            epoch=top.hex("epoch", 32),
            universe=top.hex("universe", 32),
            snapshot=top.hex("snapshot", 32),
            parameters=top.hex("parameters", 32),
            time=top.time("time"),
            expires=top.time("expires"),
        )

    def check(self, epoch: RiskEpoch) -> None:
        """Whether this is the record of that epoch.  PolicyError epoch-record.other."""
        if self != epoch_record(epoch):
            raise PolicyError("epoch-record.other", "the signed record is of another epoch")


def epoch_record(epoch: RiskEpoch) -> EpochRecord:
    """What the operator signs about an epoch."""
    return EpochRecord(
        operator=epoch.operator,
        name=epoch.name,
        epoch=epoch.digest,
        universe=epoch.universe_digest,
        snapshot=epoch.snapshot_digest,
        parameters=epoch.parameters_digest,
        time=epoch.time,
        expires=epoch.expires,
    )


def rebuild(record: EpochRecord, universe: Universe, snapshot: Snapshot, parameters: RiskParameters) -> RiskEpoch:
    """The epoch, built anew from what the record names; every byte must be what the operator signed.

    PolicyError epoch-record.inputs for other inputs than named; ProofRejected epoch-record.rebuild if what comes out
    differs; InputError, RangeError if nothing can be built from them."""
    named = (record.universe, record.snapshot, record.parameters)
    if named != (universe.digest, snapshot.digest, parameters.digest):
        raise PolicyError("epoch-record.inputs", "not the universe, snapshot and parameters that the record names")
    epoch = build_epoch(universe, snapshot, parameters)
    if epoch_record(epoch) != record:
        raise ProofRejected("epoch-record.rebuild", "the epoch that follows from its snapshot is not the signed one")
    return epoch
