"""Oracle reports, the snapshot they make, the signed epoch that anyone rebuilds, and the oracle that lies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.market import fields
from marginseal.market.build import build_epoch
from marginseal.market.epoch import encode
from marginseal.market.snapshot import Snapshot, parse_snapshot, snapshot_json
from marginseal.records import document
from marginseal.records.envelope import Envelope, open_signed, sign
from marginseal.records.epoch import EpochRecord, epoch_record, rebuild
from marginseal.records.keys import PublicKey, Role
from marginseal.records.oracle import (
    OraclePolicy,
    OracleReport,
    ReportedPrice,
    ReportedQuote,
    check_snapshot,
    lower_median,
    make_snapshot,
)
from tests.market.markets import EXPIRY, NOW, one_of_each, parameters, snapshot_of
from tests.records.world import OPERATOR, key

UNIVERSE = one_of_each()
NAMES = ("o1", "o2", "o3", "o4", "o5")
KEYS = {name: key(Role.ORACLE, name) for name in NAMES}
POLICY = OraclePolicy({n: k.public for n, k in KEYS.items()}, 3, 2, 300, 20, 20)


def report(oracle: str, factor: str = "1", **changes: object) -> OracleReport:
    """What an oracle says whose prices are `factor` times those of the small market."""
    base, f = snapshot_of(UNIVERSE), Decimal(factor)

    def times(value: float | None) -> Decimal | None:
        return None if value is None else Decimal(str(value)) * f

    quotes = {}
    for i, q in base.quotes.items():
        mark = times(q.mark)
        assert mark is not None
        iv = None if q.iv is None else Decimal(str(q.iv))
        rate = None if q.redemption_rate is None else Decimal(str(q.redemption_rate))
        quotes[i] = ReportedQuote(mark, Decimal("0.001"), times(q.bid), times(q.ask), iv, rate)
    made = OracleReport(
        oracle=oracle,
        venue=f"market-{int(oracle[1]) % 3}",
        universe=UNIVERSE.digest,
        time=NOW - int(oracle[1]),
        index={s: ReportedPrice(Decimal(str(i.price)) * f, Decimal("0.001")) for s, i in base.index.items()},
        forwards={s: {e: Decimal(str(p)) * f for e, p in curve.items()} for s, curve in base.forwards.items()},
        quotes=quotes,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def signed(*reports: OracleReport) -> list[Envelope]:
    return [sign(r, [KEYS[r.oracle]]) for r in reports]


HONEST = [report(n, f) for n, f in zip(NAMES, ("1", "1.001", "0.999", "1.002", "1.0005"), strict=True)]


def snapshot(envelopes: list[Envelope], policy: OraclePolicy = POLICY, time: int = NOW) -> Snapshot:
    return make_snapshot(envelopes, policy, UNIVERSE, name="epoch 1", time=time)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def test_the_median_of_the_reports() -> None:
    made = snapshot(signed(*HONEST))
    assert made.index["BTC"].price == 60_000 * 1.0005
    assert made.quotes["BTC-PERP"].mark == float(Decimal("60020") * Decimal("1.0005"))
    assert made.forwards["BTC"][EXPIRY] == float(Decimal("60300") * Decimal("1.0005"))
    assert made.quotes["BTC-27MAR26-60000-C"].iv == 0.5
    assert made.time == NOW
    assert made.index["BTC"].time == NOW - 5  # the oldest report that agrees
    # The interval covers how far the agreeing reports lie apart: 0.0015 of the median, rounded up.
    assert made.index["BTC"].confidence == pytest.approx(0.0015 / 1.0005, abs=2e-9)
    assert made.index["BTC"].confidence >= 0.0015 / 1.0005
    assert parse_snapshot(snapshot_json(made), UNIVERSE).digest == made.digest


def test_everyone_gets_the_same_bytes() -> None:
    envelopes = signed(*HONEST)
    made = snapshot([Envelope.decode(e.encode()) for e in envelopes])
    assert made.digest == snapshot(envelopes).digest
    check_snapshot(made, envelopes, POLICY, UNIVERSE)
    other = replace(made, index={**made.index, "BTC": replace(made.index["BTC"], price=60_001.0)})
    assert refusal(lambda: check_snapshot(other, envelopes, POLICY, UNIVERSE)) == "oracle.snapshot"


@pytest.mark.parametrize(("values", "expected"), [([3], 3), ([1, 2], 1), ([9, 1, 5], 5), ([4, 1, 3, 2], 2)])
def test_the_median_by_counting(values: list[int], expected: int) -> None:
    assert lower_median(Decimal(v) for v in values) == expected


def changed_mark(base: OracleReport, instrument: str, **changes: Any) -> OracleReport:
    return replace(base, quotes={**base.quotes, instrument: replace(base.quotes[instrument], **changes)})


PRICES = st.decimals(min_value="0.000001", max_value="100000000", places=6)


@settings(max_examples=60, deadline=None)
@given(
    lies=st.lists(PRICES, min_size=2, max_size=2), which=st.permutations(range(5)), iv=st.decimals("0", "20", places=4)
)
def test_two_lying_oracles_of_five_move_nothing_past_the_honest_ones(
    lies: list[Decimal], which: list[int], iv: Decimal
) -> None:
    """Whatever two of five say, every number that comes out lies between what honest ones said, or nothing does."""
    reports = list(HONEST)
    for liar, lie in zip(which[:2], lies, strict=True):
        base = reports[liar]
        index = {**base.index, "BTC": ReportedPrice(lie, Decimal(1))}
        lying = replace(base, index=index, forwards={s: dict.fromkeys(c, lie) for s, c in base.forwards.items()})
        lying = changed_mark(lying, "BTC-PERP", mark=lie, confidence=Decimal(0), bid=Decimal(0), ask=lie)
        reports[liar] = changed_mark(lying, "BTC-27MAR26-60000-C", iv=iv, mark=lie)
    honest = [r for i, r in enumerate(HONEST) if i not in which[:2]]
    made = snapshot(signed(*reports))
    views: list[tuple[float, list[Decimal]]] = [
        (made.index["BTC"].price, [r.index["BTC"].price for r in honest]),
        (made.forwards["BTC"][EXPIRY], [r.forwards["BTC"][EXPIRY] for r in honest]),
        (made.quotes["BTC-PERP"].mark, [r.quotes["BTC-PERP"].mark for r in honest]),
        (made.quotes["BTC-27MAR26-60000-C"].mark, [r.quotes["BTC-27MAR26-60000-C"].mark for r in honest]),
        (made.quotes["BTC-27MAR26-60000-C"].iv or 0.0, [Decimal("0.5")]),
    ]
    for value, range_ in views:
        assert float(min(range_)) <= value <= float(max(range_))
    # Nor do they narrow the interval below what the agreeing reports span, or widen it past the deviation allowed.
    assert 0.001 <= made.index["BTC"].confidence <= 0.02


def test_cross_venue_deviation_trips_the_breaker() -> None:
    """Two venues apart by more than the bound: no majority within it, no snapshot."""
    apart = [report(n, f) for n, f in zip(NAMES, ("1", "1", "1.05", "1.05", "1.1"), strict=True)]
    assert refusal(lambda: snapshot(signed(*apart))) == "oracle.breaker"
    # A majority that is all of one venue is not enough either.
    one_venue = [replace(r, venue="market-0") for r in HONEST]
    assert refusal(lambda: snapshot(signed(*one_venue))) == "oracle.breaker"


def test_k_of_n_distinct_sorted_signers_in_the_window() -> None:
    envelopes = signed(*HONEST)
    assert snapshot(envelopes[:3]).name == "epoch 1"
    assert refusal(lambda: snapshot(envelopes[:2])) == "oracle.quorum"
    assert refusal(lambda: snapshot([envelopes[0], *envelopes])) == "oracle.order"
    assert refusal(lambda: snapshot(envelopes[::-1])) == "oracle.order"
    again = sign(report("o1", "1.1"), [KEYS["o1"]])
    assert refusal(lambda: snapshot([envelopes[0], again, *envelopes[1:]])) == "oracle.order"
    stranger = sign(report("o9"), [key(Role.ORACLE, "o9")])
    assert refusal(lambda: snapshot([*envelopes, stranger])) == "oracle.unknown"
    forged = sign(report("o2"), [KEYS["o1"]])
    assert refusal(lambda: snapshot([envelopes[0], forged, *envelopes[2:]])) == "signature.threshold"


@pytest.mark.parametrize(("time", "ok"), [(NOW - 300, True), (NOW - 301, False), (NOW, True), (NOW + 1, False)])
def test_the_time_window(time: int, ok: bool) -> None:
    reports = [*HONEST[:4], replace(HONEST[4], time=time)]
    if ok:
        assert snapshot(signed(*reports)).time == NOW
    else:
        assert refusal(lambda: snapshot(signed(*reports))) == "oracle.window"


def test_another_universe_is_refused() -> None:
    other = replace(HONEST[0], universe=bytes(32))
    assert refusal(lambda: snapshot(signed(other, *HONEST[1:]))) == "oracle.universe"


def test_too_wide_an_interval_is_refused() -> None:
    wide = [replace(r, index={s: replace(p, confidence=Decimal("0.021")) for s, p in r.index.items()}) for r in HONEST]
    assert refusal(lambda: snapshot(signed(*wide))) == "oracle.confidence"
    # Two that claim it alone are outvoted.
    assert snapshot(signed(*wide[:2], *HONEST[2:])).index["BTC"].confidence < 0.002


def test_staked_tokens_at_the_lower_of_market_and_redemption() -> None:
    reports = [report(n) for n in NAMES]
    # Market 3,540 against 1.2 x 3,000 = 3,600.
    assert snapshot(signed(*reports)).quotes["wstETH"].mark == 3540.0
    above = [changed_mark(r, "wstETH", mark=Decimal(3700)) for r in reports]
    assert snapshot(signed(*above)).quotes["wstETH"].mark == 3600.0
    one_liar = [*above[:4], changed_mark(above[4], "wstETH", redemption_rate=Decimal(1000))]
    assert snapshot(signed(*one_liar)).quotes["wstETH"].mark == 3600.0


def test_what_too_few_report_has_no_number() -> None:
    def without(r: OracleReport) -> OracleReport:
        return replace(r, quotes={i: q for i, q in r.quotes.items() if i != "BTC"})

    assert refusal(lambda: snapshot(signed(*map(without, HONEST[:3]), *HONEST[3:]))) == "oracle.breaker"
    assert "BTC" in snapshot(signed(*map(without, HONEST[:2]), *HONEST[2:])).quotes
    assert refusal(lambda: snapshot(signed(*map(without, HONEST)))) == "oracle.breaker"
    silent = [replace(r, index={}, forwards={}, quotes={}) for r in HONEST]
    assert refusal(lambda: snapshot(signed(*silent))) == "oracle.breaker"
    no_book = [changed_mark(r, "BTC", bid=None, ask=None) for r in HONEST[:3]]
    assert snapshot(signed(*no_book, *HONEST[3:])).quotes["BTC"].bid is None


def test_expired_instruments_are_settled() -> None:
    late = [replace(r, time=EXPIRY - 1) for r in HONEST]
    made = snapshot(signed(*late), time=EXPIRY)
    assert made.settled == {i.id for i in UNIVERSE.instruments if i.expiry == EXPIRY}
    assert "BTC-27MAR26-60000-C" not in made.quotes


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 2}, {"threshold": 6}, {"venues": 0}, {"venues": 4}, {"window_s": 0}, {"deviation": 0},
        {"deviation": 1001}, {"confidence": -1}, {"oracles": {}}, {"oracles": {"a": OPERATOR.public}},
        {"oracles": {"a": KEYS["o1"].public, "b": KEYS["o1"].public}, "threshold": 2},
    ],
)  # fmt: skip
def test_a_policy_that_protects_nothing_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        replace(POLICY, **changes)


REPORT = json.loads(HONEST[0].payload())


def edited(path: tuple[str, ...], value: object) -> bytes:
    top = json.loads(json.dumps(REPORT))
    at = top
    for step in path[:-1]:
        at = at[step]
    at[path[-1]] = value
    return document.canonical(top)


CALL = "BTC-27MAR26-60000-C"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("index", "BTC", "price"), "0"), (("index", "BTC", "price"), "-1"), (("index", "BTC", "price"), "1e5"),
        (("index", "BTC", "price"), "60000.0"), (("index", "BTC", "price"), "060000"), (("index", "BTC", "price"), 6),
        (("index", "BTC", "price"), "NaN"), (("index", "BTC", "confidence"), "1.1"), (("index", "BTC"), "60000"),
        (("index",), []), (("forwards", "BTC"), {"tomorrow": "1"}), (("forwards", "BTC"), 5),
        (("quotes", "BTC", "bid"), None), (("quotes", "BTC", "ask"), "1"), (("quotes", CALL, "iv"), "21"),
        (("quotes", CALL, "mark"), None), (("time",), "now"), (("oracle",), ""), (("venue",), 1), (("universe",), "00"),
    ],
    ids=lambda change: ",".join(change) if isinstance(change, dict) else None,
)  # fmt: skip
def test_what_is_no_report_is_refused(path: tuple[str, ...], value: object) -> None:
    with pytest.raises(DecodeError):
        OracleReport.from_payload(edited(path, value))


def test_reports_round_trip() -> None:
    for r in HONEST:
        assert OracleReport.from_payload(r.payload()) == replace(
            r, forwards={s: dict(c) for s, c in r.forwards.items()}
        )


# The epoch record.

PARAMETERS = parameters()
SNAPSHOT = snapshot(signed(*HONEST))
EPOCH = build_epoch(UNIVERSE, SNAPSHOT, PARAMETERS)
RECORD = epoch_record(EPOCH)


def test_anyone_rebuilds_the_epoch_and_gets_the_same_bytes() -> None:
    envelope = Envelope.decode(sign(RECORD, [OPERATOR]).encode())
    record = open_signed(EpochRecord, envelope, [OPERATOR.public])
    record.check(EPOCH)
    again = snapshot(signed(*HONEST))
    assert encode(rebuild(record, UNIVERSE, again, PARAMETERS)) == encode(EPOCH)


def test_10_a_matrix_that_favours_a_friend() -> None:
    """The operator signs the digest of a matrix that does not follow from its snapshot."""
    pnl = EPOCH.pnl.copy()
    pnl[5, 4] += 1
    friendly = epoch_record(replace(EPOCH, pnl=pnl))
    assert refusal(lambda: rebuild(friendly, UNIVERSE, SNAPSHOT, PARAMETERS)) == "epoch-record.rebuild"
    assert refusal(lambda: friendly.check(EPOCH)) == "epoch-record.other"
    for changes in ({"name": "other"}, {"expires": RECORD.expires + 1}, {"time": RECORD.time - 1}):
        record = replace(RECORD, **changes)  # type: ignore[arg-type]
        assert refusal(lambda r=record: rebuild(r, UNIVERSE, SNAPSHOT, PARAMETERS)) == "epoch-record.rebuild"


def test_an_epoch_of_other_inputs() -> None:
    kinder = parameters(initial_factor_permille=900)
    assert refusal(lambda: rebuild(RECORD, UNIVERSE, SNAPSHOT, kinder)) == "epoch-record.inputs"
    assert refusal(lambda: rebuild(RECORD, UNIVERSE, snapshot_of(UNIVERSE), PARAMETERS)) == "epoch-record.inputs"


@pytest.mark.parametrize(
    "change",
    [{"expires": NOW}, {"epoch": "00"}, {"operator": ""}, {"more": 1}, {"time": -1}],
    ids=lambda change: ",".join(change) if isinstance(change, dict) else None,
)
def test_what_is_no_record_is_refused(change: Mapping[str, object]) -> None:
    base = json.loads(RECORD.payload())
    assert EpochRecord.from_payload(RECORD.payload()) == RECORD
    with pytest.raises(DecodeError):
        EpochRecord.from_payload(document.canonical({**base, **change}))


def test_times_are_written_as_everywhere() -> None:
    assert fields.time_text(EXPIRY) in REPORT["forwards"]["BTC"]
    assert isinstance(POLICY.oracles["o1"], PublicKey)
