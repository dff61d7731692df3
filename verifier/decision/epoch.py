"""The epoch of an attestation, judged by a venue: who signed it, from whose prices, how old, and whether it was newest
when the log took the attestation (protocol section 10)."""

from __future__ import annotations

from dataclasses import replace

from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.client import Newest
from marginseal.log.policy import MAX_AHEAD_S
from marginseal.market.epoch import RiskEpoch
from marginseal.market.snapshot import parse_snapshot
from marginseal.market.universe import Universe, parse_universe
from marginseal.records.envelope import Envelope
from marginseal.records.epoch import EpochRecord
from marginseal.records.logged import LogKind
from marginseal.records.oracle import OraclePolicy, check_snapshot
from verifier.decision.case import Case, OpenedEpoch
from verifier.decision.dossier import LoggedRecord
from verifier.log_epoch import by_oracle


def judge_epoch(case: Case) -> RiskEpoch | None:
    """The epoch, or None, and a reason, if it cannot be relied on at all."""
    epoch = case.found.attempt(lambda: _epoch(case))
    if epoch is not None:
        _age(case, epoch)
    return epoch


def _epoch(case: Case) -> RiskEpoch:
    opened = case.open_epoch(case.dossier.epoch, case.dossier.epoch_records)
    universe = case.found.attempt(lambda: _universe(case, opened))
    oracles = case.policy.trust.oracles
    if oracles is not None and universe is not None:
        case.found.attempt(lambda: _prices(case, opened, oracles, universe))
    return opened.epoch


def _universe(case: Case, opened: OpenedEpoch) -> Universe:
    """What the epoch is over; one that the log lacks could never be replayed."""
    if case.dossier.universe is None:
        raise PolicyError("decide.universe", "the universe of the epoch is not at hand")
    universe = parse_universe(case.dossier.universe)
    if opened.said.universe != universe.digest:
        raise PolicyError("decide.universe", "the epoch is of another universe")
    return universe


def _prices(case: Case, opened: OpenedEpoch, oracles: OraclePolicy, universe: Universe) -> None:
    """The epoch's prices are those of the oracles that the venue trusts."""
    record = opened.record
    if record.snapshot is None:
        raise PolicyError("decide.snapshot", "the snapshot behind the epoch is not at hand")
    snapshot = parse_snapshot(record.snapshot, universe)
    if opened.said.snapshot != snapshot.digest:
        raise PolicyError("decide.snapshot", "the epoch is of another snapshot")
    reports = [Envelope.decode(data) for data in by_oracle(record.reports)]
    check_snapshot(snapshot, reports, replace(oracles, ring=case.ring), universe)


def _age(case: Case, epoch: RiskEpoch) -> None:
    found, policy, newest = case.found, case.policy, case.newest
    age, distance = case.now - epoch.time, abs(case.statement.cut_time - epoch.time)
    case.facts["epoch"] = {"digest": epoch.digest.hex(), "time": epoch.time, "age_s": age}
    found.require(age >= -MAX_AHEAD_S, "decide.epoch-ahead", "its epoch is of a time that lies ahead")
    found.require(age <= policy.epoch_max_age_s, "decide.epoch-age", f"its epoch is {age} s old")
    found.require(distance <= policy.coherence_window_s, "decide.coherence", f"cut and epoch lie {distance} s apart")
    if newest is None:
        return
    found.require(newest.logged.leaf.time < epoch.expires, "decide.epoch-expired", "logged after its epoch had expired")
    for record in case.dossier.newer_epochs:
        superseded = found.attempt(lambda record=record: _supersedes(case, record, epoch, newest))  # type: ignore[misc]
        found.require(not superseded, "decide.epoch-newer", "a newer epoch was logged before it")


def _supersedes(case: Case, record: LoggedRecord, epoch: RiskEpoch, newest: Newest) -> bool:
    """Whether this epoch of the same operator is newer, and was in the log long enough before the attestation."""
    logged = case.logged(record, LogKind.EPOCH)
    try:
        newer, _ = case.open(EpochRecord, record, LogKind.EPOCH, named=False)
    except MarginSealError:  # a thief's, or nobody's: the log has it, and it is no epoch
        return False
    since = newest.logged.leaf.time - logged.leaf.time
    same = (newer.operator, newer.universe) == (epoch.operator, epoch.universe_digest)
    return same and newer.time > epoch.time and since > case.policy.trust.epoch_lag_s
