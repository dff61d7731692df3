"""The epoch of an attestation, judged by a venue: who signed it, from whose prices, how old, and whether it was newest
when the log took the attestation (protocol section 10)."""

from __future__ import annotations

from dataclasses import replace

from marginseal.errors import MarginSealError, PolicyError
from marginseal.log.client import Newest
from marginseal.log.policy import MAX_AHEAD_S
from marginseal.market.epoch import RiskEpoch
from marginseal.market.snapshot import parse_snapshot
from marginseal.market.universe import parse_universe
from marginseal.records.envelope import Envelope
from marginseal.records.epoch import EpochRecord
from marginseal.records.logged import LogKind
from marginseal.records.oracle import OraclePolicy, check_snapshot
from verifier.decision.case import Case
from verifier.decision.dossier import LoggedRecord
from verifier.log_epoch import by_oracle


def judge_epoch(case: Case) -> RiskEpoch | None:
    """The epoch, or None, and a reason, if it cannot be relied on at all."""
    epoch = case.found.attempt(lambda: _epoch(case))
    if epoch is not None:
        _age(case, epoch)
    return epoch


def _epoch(case: Case) -> RiskEpoch:
    epoch, record = case.open_epoch(case.dossier.epoch, case.dossier.epoch_record)
    oracles = case.policy.trust.oracles
    if oracles is not None:
        case.found.attempt(lambda: _prices(case, record, oracles))
    return epoch


def _prices(case: Case, record: EpochRecord, oracles: OraclePolicy) -> None:
    """The epoch's prices are those of the oracles that the venue trusts."""
    dossier = case.dossier
    if dossier.universe is None or dossier.snapshot is None:
        raise PolicyError("decide.snapshot", "the universe and the snapshot behind the epoch are not at hand")
    universe = parse_universe(dossier.universe)
    snapshot = parse_snapshot(dossier.snapshot, universe)
    if (record.universe, record.snapshot) != (universe.digest, snapshot.digest):
        raise PolicyError("decide.snapshot", "the epoch is of another universe or snapshot")
    reports = [Envelope.decode(data) for data in by_oracle(dossier.reports)]
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
