"""Epochs that probe a holding are refused, each for its reason (protocol section 10)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch
from marginseal.market.parameters import RiskParameters
from marginseal.market.snapshot import Snapshot
from marginseal.records.attestation import RuleRef
from marginseal.records.client_policy import (
    Answer,
    ClientPolicy,
    EpochInputs,
    check_epoch,
    decode_history,
    encode_history,
    parameter_faults,
    parse_policy,
    price_faults,
    read_policy,
    record_answer,
    record_faults,
)
from marginseal.records.envelope import sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keys import Role, SigningKey
from tests.market.markets import EXPIRY, NOW, one_of_each, parameters, snapshot_of
from tests.records.world import key, seed

UNIVERSE = one_of_each()
PARAMETERS = parameters()
OPERATOR = key(Role.OPERATOR, "tests")
RULE = RuleRef("worst_case")
DOCUMENT: dict[str, Any] = {
    "format": "marginseal-client-policy-1",
    "operators": {"tests": OPERATOR.public.raw.hex()},
    "universes": [UNIVERSE.digest.hex()],
    "rules": [{"name": "worst_case", "parameters": {}}],
    "parameters": [],
    "bounds": {name: [value - 5, value + 5] for name, value in PARAMETERS.integers().items()},
    "deviation_permille": 10,
    "volatility_permille": 30,
    "max_age_s": 600,
    "spacing_s": 900,
    "answers": 3,
    "window_s": 86_400,
}
POLICY = parse_policy(json.dumps(DOCUMENT).encode())
REFERENCE = snapshot_of(UNIVERSE)


def epoch_of(snapshot: Snapshot = REFERENCE, chosen: RiskParameters = PARAMETERS) -> RiskEpoch:
    return build_epoch(UNIVERSE, snapshot, chosen)


def check(
    snapshot: Snapshot = REFERENCE,
    chosen: RiskParameters = PARAMETERS,
    *,
    policy: ClientPolicy = POLICY,
    signer: SigningKey = OPERATOR,
    epoch: RiskEpoch | None = None,
    rule: RuleRef = RULE,
    history: tuple[Answer, ...] = (),
    now: int = NOW + 10,
) -> RiskEpoch:
    envelope = sign(epoch_record(epoch or epoch_of(snapshot, chosen)), [signer])
    inputs = EpochInputs(UNIVERSE, snapshot, chosen)
    return check_epoch(policy, envelope, inputs, rule, reference=REFERENCE, history=history, now=now)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def moved(what: str, item: str, **changes: float) -> Snapshot:
    items = dict(getattr(REFERENCE, what))
    items[item] = replace(items[item], **changes)
    return replace(REFERENCE, **{what: items})  # type: ignore[arg-type]


def test_a_plain_epoch_is_answered() -> None:
    assert check() == epoch_of()


def test_10_only_known_operators_are_answered() -> None:
    assert refusal(lambda: check(chosen=parameters(operator="mallory"))) == "probe.operator"
    assert refusal(lambda: check(signer=key(Role.OPERATOR, "mallory"))) == "signature.threshold"


def test_10_another_universe_rule_or_parameter_file() -> None:
    elsewhere = replace(POLICY, universes=frozenset({seed("other")}))
    assert refusal(lambda: check(policy=elsewhere)) == "probe.universe"
    assert refusal(lambda: check(rule=RuleRef("net_band"))) == "probe.rule"
    assert refusal(lambda: check(rule=RuleRef("worst_case", b'{"x":1}'))) == "probe.rule"
    pinned = replace(POLICY, parameters=frozenset({PARAMETERS.digest}))
    assert check(policy=pinned) == epoch_of()
    # Within every bound, yet another scan grid: the pin alone sees it.
    other = parameters(name="another grid")
    assert check(chosen=other) == epoch_of(chosen=other)
    assert refusal(lambda: check(chosen=other, policy=pinned)) == "probe.parameters"


def test_10_parameters_out_of_bounds_or_without_a_bound() -> None:
    assert refusal(lambda: check(chosen=parameters(initial_factor_permille=1_006))) == "probe.parameter"
    assert check(chosen=parameters(initial_factor_permille=1_005))
    new = parameters(rule={**PARAMETERS.rule, "delta_limit.BTC": 1})
    assert refusal(lambda: check(chosen=new)) == "probe.parameter"
    assert len(list(parameter_faults(replace(POLICY, bounds={}), epoch_of()))) == len(epoch_of().parameters)


@pytest.mark.parametrize(
    ("snapshot", "code"),
    [
        (moved("index", "BTC", price=60_600.0), None),
        (moved("index", "BTC", price=60_601.0), "probe.price"),
        (moved("index", "BTC", price=59_399.0), "probe.price"),
        (moved("quotes", "BTC-PERP", mark=61_000.0), "probe.price"),
        (moved("quotes", "wstETH", redemption_rate=1.22), "probe.price"),
        (moved("quotes", "ETH-3000-P", iv=0.6299), None),
        (moved("quotes", "ETH-3000-P", iv=0.631), "probe.price"),
        (moved("quotes", "ETH-3000-P", mark=205.0), None),  # 30 of an index of 3,000
        (moved("quotes", "ETH-3000-P", mark=206.0), "probe.price"),
        (moved("quotes", "BTC-27MAR26-60000-C", mark=0.0676), None),  # 0.01 coin
        (moved("quotes", "BTC-27MAR26-60000-C", mark=0.0678), "probe.price"),
        (replace(REFERENCE, forwards={**REFERENCE.forwards, "ETH": {EXPIRY: 3_200.0}}), "probe.price"),
    ],
)
def test_10_prices_that_are_not_the_markets(snapshot: Snapshot, code: str | None) -> None:
    faults = [fault.code for fault in price_faults(POLICY, UNIVERSE, snapshot, REFERENCE)]
    assert faults == ([] if code is None else [code])
    if code is not None:
        assert refusal(lambda: check(snapshot)) == code


def test_10_a_probing_scan_is_found_by_its_prices() -> None:
    """An operator that walks one price in small steps learns where health flips: each step but the first is refused,
    by the client's own prices however slowly it walks."""
    price, answered = 60_000.0, 0
    for _ in range(20):
        price *= 1.004
        snapshot = moved("index", "BTC", price=price)
        if not list(price_faults(POLICY, UNIVERSE, snapshot, REFERENCE)):
            answered += 1
    assert answered == 2


def test_prices_the_client_cannot_compare_are_refused() -> None:
    blind = replace(REFERENCE, index={}, quotes={}, forwards={})
    codes = {fault.code for fault in price_faults(POLICY, UNIVERSE, REFERENCE, blind)}
    assert codes == {"probe.reference"}


def test_10_a_matrix_that_does_not_follow_from_the_snapshot() -> None:
    """One scenario that isolates one holding: the operator signs it, and it does not rebuild."""
    pnl = epoch_of().pnl.copy()
    pnl[1:] = 0
    pnl[1, 4] = -(10**9)
    assert refusal(lambda: check(epoch=replace(epoch_of(), pnl=pnl))) == "epoch-record.rebuild"


def test_10_age_order_spacing_and_rate() -> None:
    assert refusal(lambda: check(now=NOW + 601)) == "probe.age"
    assert check(now=NOW + 600)
    assert refusal(lambda: check(now=NOW - 61)) == "probe.ahead"
    other = seed("another epoch")
    assert refusal(lambda: check(history=(Answer(other, NOW - 899, NOW - 890),))) == "probe.spacing"
    assert check(history=(Answer(other, NOW - 900, NOW - 890),))
    later = record_faults(POLICY, epoch_record(epoch_of()), RULE, history=(Answer(other, NOW + 5000, NOW),), now=NOW)
    assert [fault.code for fault in later] == ["probe.order"]
    # The same epoch again, for a corrected portfolio, is no new matrix, and counts as an answer.
    same = Answer(epoch_of().digest, NOW, NOW + 1)
    assert check(history=(same, same))
    assert refusal(lambda: check(history=(same, same, same))) == "probe.rate"
    old = Answer(other, NOW - 90_000, NOW + 10 - 86_400)
    assert check(history=(old, old, old))
    recent = replace(old, answered=NOW + 11 - 86_400)
    assert refusal(lambda: check(history=(old, recent, recent, recent))) == "probe.rate"


def test_history_is_kept_in_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    for i in range(3):
        record_answer(path, Answer(seed(str(i)), NOW + i, NOW + 10 + i))
    history = decode_history(path.read_bytes())
    assert [a.epoch_time for a in history] == [NOW, NOW + 1, NOW + 2]
    assert encode_history(history) == path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_bytes(b"{}")
    with pytest.raises(DecodeError):
        record_answer(path, Answer(seed("x"), NOW, NOW))


def test_a_policy_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "policy.json").write_text(json.dumps(DOCUMENT))
    assert read_policy(tmp_path / "policy.json") == POLICY


@pytest.mark.parametrize(
    "change",
    [
        {"format": "x"}, {"operators": {}}, {"operators": {"a": "00"}}, {"operators": {"a": "01" + "00" * 31}},
        {"universes": []}, {"universes": ["00"]}, {"rules": []}, {"rules": [{"name": "a"}]}, {"rules": ["a"]},
        {"rules": [{"name": "a", "parameters": {"x": 10**20}}]}, {"parameters": ["x"]}, {"bounds": []},
        {"bounds": {"a": [2, 1]}}, {"bounds": {"a": [1]}}, {"bounds": {"a": [1.5, 2]}}, {"bounds": {"a": [1, 2, 3]}},
        {"deviation_permille": -1}, {"max_age_s": 0}, {"answers": 0}, {"window_s": 0}, {"spacing_s": True}, {"x": 1},
    ],
    ids=lambda change: ",".join(change) if isinstance(change, dict) else None,
)  # fmt: skip
def test_a_policy_that_says_nothing_clear_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((InputError, DecodeError)):
        parse_policy(json.dumps({**DOCUMENT, **change}).encode())
