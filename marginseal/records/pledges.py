"""The pledge schedule: an amount for each venue, committed by the owner, opened to each venue alone (section 8).

    g: row i = ticks pledged to venue i of the signed registry, unsigned      [g + b_0 Z_H]      b_0 fresh

The owner signs the commitment with the statement.  A venue is shown g(w^i) at its row: one point and the value.  The
row is its index in the registry that the statement names; neither side takes it from the other, and rows beyond the
registry are refused by both.  How a schedule follows its predecessor is `continuity`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from marginseal.algebra import kzg
from marginseal.algebra.commit import CommitmentKey
from marginseal.algebra.curve import Curve
from marginseal.algebra.srs import SRS
from marginseal.errors import DecodeError, InputError, PolicyError, ProofRejected, RangeError
from marginseal.records import document
from marginseal.records.document import canonical, is_name
from marginseal.records.opening import MAX_LOTS, Opening, draw_opening
from marginseal.records.registry import VenueRegistry
from marginseal.records.statement import POINT_BYTES, Statement

MAX_PLEDGE = MAX_LOTS
"""Pledges stay below 2^62 ticks."""

_KEYS = ("account", "amount", "statement", "venue", "witness")


@dataclass(frozen=True, eq=False)
class PledgeSchedule:
    """g with its blinder: the owner's, and its prover's.  DecodeError pledge.negative."""

    opening: Opening = field(repr=False)

    def __post_init__(self) -> None:
        if bool((self.opening.q < 0).any()):
            raise DecodeError("pledge.negative", "pledge schedule: an amount below zero")

    def commit(self, key: CommitmentKey) -> bytes:
        return self.opening.commit(key)

    def encode(self) -> bytes:
        return self.opening.encode()

    @classmethod
    def decode(cls, data: bytes) -> PledgeSchedule:
        """DecodeError opening.*, wire.*, scalar.*, pledge.*."""
        return cls(Opening.decode(data))


def draw_schedule(
    amounts: Mapping[str, int],
    registry: VenueRegistry,
    n: int,
    *,
    account: str,
    sequence: int,
    secret: bytes,
    random: Callable[[int], bytes] = os.urandom,
) -> PledgeSchedule:
    """A fresh schedule from ticks by venue; venues that are not named get nothing.

    `secret` is 32 bytes of the owner's, for the blinder.  PolicyError registry.unknown-venue; RangeError pledge.amount,
    pledge.rows."""
    if len(registry.venues) > n:
        raise RangeError("pledge.rows", f"{len(registry.venues)} venues do not fit {n} rows")
    g = np.zeros(n, dtype=np.int64)
    for venue, amount in amounts.items():
        row = registry.row(venue)
        if not 0 <= amount < MAX_PLEDGE:
            raise RangeError("pledge.amount", f"the pledge to {venue} is not in 0..2^62-1 ticks")
        g[row] = amount
    header = canonical({"account": account, "label": "pledge", "n": n, "sequence": sequence})
    return PledgeSchedule(draw_opening(g, header=header, secret=secret, random=random))


@dataclass(frozen=True)
class PledgeOpening:
    """What a venue is shown: its amount (ticks) in the schedule of one statement, and the witness, 48 bytes."""

    account: str
    venue: str
    statement: bytes
    amount: int = field(repr=False)
    witness: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not is_name(self.account) or not is_name(self.venue) or not 0 <= self.amount < MAX_PLEDGE:
            raise DecodeError("pledge.fields", "pledge opening: a name or amount that cannot be")
        if len(self.statement) != 32 or len(self.witness) != POINT_BYTES:
            raise DecodeError("pledge.fields", "pledge opening: a digest is 32 bytes, a witness 48")

    def encode(self) -> bytes:
        return canonical(
            {
                "account": self.account,
                "amount": str(self.amount),
                "statement": self.statement.hex(),
                "venue": self.venue,
                "witness": self.witness.hex(),
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> PledgeOpening:
        """DecodeError record.*, json.*, pledge.*."""
        top = document.decode(data, what="pledge opening", keys=_KEYS, limit=4096)
        return cls(
            top.name("account"),
            top.name("venue"),
            top.hex("statement", 32),
            top.decimal("amount", 0, MAX_PLEDGE - 1),
            top.hex("witness", POINT_BYTES),
        )


def open_pledge(
    schedule: PledgeSchedule, statement: Statement, registry: VenueRegistry, venue: str, key: CommitmentKey
) -> PledgeOpening:
    """The owner's opening for one venue of the registry.

    PolicyError registry.unknown-venue; InputError pledge.schedule if this is not the schedule of the statement."""
    row = registry.row(venue)
    if row >= key.n:
        raise InputError("pledge.rows", f"the venue's row does not fit {key.n} rows")
    if schedule.commit(key) != statement.pledge:
        raise InputError("pledge.schedule", "this is not the schedule that the statement commits to")
    witness = kzg.open_row(key, schedule.opening.q, [schedule.opening.b_0], row)
    return PledgeOpening(statement.account, venue, statement.digest, int(schedule.opening.q[row]), witness)


def pledge_equation(
    opening: PledgeOpening,
    statement: Statement,
    registry: VenueRegistry,
    registry_digest: bytes,
    venue: str,
    n: int,
    curve: Curve,
) -> kzg.OpeningEquation:
    """The check of `verify_pledge`, but for the pairing: to be weighed with others.  Errors as there."""
    if statement.venue_registry != registry_digest:
        raise PolicyError("pledge.registry", "the statement names another venue registry")
    if opening.statement != statement.digest or opening.account != statement.account:
        raise PolicyError(
            "pledge.statement", "the pledge opening is of another statement or account than this attestation's"
        )
    if opening.venue != venue:
        raise PolicyError("pledge.venue", "a pledge opening for another venue")
    row = registry.row(venue)
    if row >= n:
        raise PolicyError("registry.unknown-row", f"the venue's row does not fit {n} rows")
    return kzg.equation(kzg.row_opening(n, statement.pledge, row, opening.amount, opening.witness), curve)


def verify_pledge(
    opening: PledgeOpening,
    statement: Statement,
    registry: VenueRegistry,
    registry_digest: bytes,
    venue: str,
    n: int,
    *,
    srs: SRS,
    curve: Curve,
) -> int:
    """What a venue does: the ticks pledged to it, read at *its* row of the registry the statement names; n is the
    circuit's.

    PolicyError pledge.registry, pledge.statement, pledge.venue, registry.*; DecodeError point.*; ProofRejected
    pledge.opening."""
    checked = pledge_equation(opening, statement, registry, registry_digest, venue, n, curve)
    if not kzg.holds([(1, checked)], srs, curve):
        raise ProofRejected("pledge.opening", "the commitment does not hold this amount at the venue's row")
    return opening.amount
