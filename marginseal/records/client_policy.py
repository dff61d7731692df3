"""What the owner's tool answers: epochs that are plainly market states, at a bounded rate (protocol section 10).

Each answered epoch tells one bit about the holdings: healthy under this matrix.  An operator who could choose matrices
freely, or often, would read them out.  So the client answers an epoch only if a known operator signed it, it rebuilds
from its snapshot and parameters, universe, rule and parameters are among those accepted, prices lie near the client's
own, and neither the spacing nor the number of answers passes the bound.  Every refusal says why.

Parameters are bounded by name; listing whole parameter files by digest leaves the operator nothing to choose at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

from marginseal.errors import InputError, PolicyError
from marginseal.files import MAX_JSON_BYTES, parse_json, read_bytes, write_atomic
from marginseal.market import fields
from marginseal.market.epoch import RiskEpoch
from marginseal.market.parameters import RiskParameters
from marginseal.market.snapshot import Snapshot
from marginseal.market.universe import Universe
from marginseal.records import document
from marginseal.records.attestation import RuleRef
from marginseal.records.document import canonical
from marginseal.records.envelope import Envelope, open_signed, peek
from marginseal.records.epoch import EpochRecord, rebuild
from marginseal.records.keys import PublicKey, Role

FORMAT = "marginseal-client-policy-1"
MAX_AHEAD_S = 60
MAX_ANSWERS = 2**16
_KEYS = (
    "answers", "bounds", "deviation_permille", "format", "max_age_s", "operators", "parameters", "rules", "spacing_s",
    "universes", "volatility_permille", "window_s",
)  # fmt: skip


@dataclass(frozen=True)
class ClientPolicy:
    """operators: name -> key                      universes: digests accepted
    rules: name and parameters of the rules answered
    parameters: digests of accepted parameter files; empty: any within the bounds
    bounds: parameter of the epoch -> (low, high); one that is not named is refused
    deviation_permille: of index, forwards and marks from the client's own prices (options: of the index or one unit)
    volatility_permille: thousandths by which an option's volatility may differ
    max_age_s: the oldest epoch                    spacing_s: least time between the epochs answered
    answers, window_s: so many answers in so many seconds"""

    operators: Mapping[str, PublicKey]
    universes: frozenset[bytes]
    rules: frozenset[RuleRef]
    parameters: frozenset[bytes]
    bounds: Mapping[str, tuple[int, int]]
    deviation_permille: int
    volatility_permille: int
    max_age_s: int
    spacing_s: int
    answers: int
    window_s: int


@dataclass(frozen=True)
class Answer:
    """One epoch answered: its digest and time, and when, unix seconds."""

    epoch: bytes
    epoch_time: int
    answered: int


@dataclass(frozen=True)
class EpochInputs:
    """What an epoch is rebuilt from."""

    universe: Universe
    snapshot: Snapshot
    parameters: RiskParameters


def check_epoch(
    policy: ClientPolicy,
    envelope: Envelope,
    inputs: EpochInputs,
    rule: RuleRef,
    *,
    reference: Snapshot,
    history: tuple[Answer, ...],
    now: int,
) -> RiskEpoch:
    """The epoch, if the client answers it under this rule.

    `reference` is the client's own view of the market, `history` what it answered so far.
    PolicyError probe.*; DecodeError; ProofRejected signature.threshold, epoch-record.rebuild."""
    operator = peek(EpochRecord, envelope).operator
    if operator not in policy.operators:
        raise PolicyError("probe.operator", f"{operator!r} is not an operator this client answers")
    record = open_signed(EpochRecord, envelope, [policy.operators[operator]])
    for fault in record_faults(policy, record, rule, history=history, now=now):
        raise fault
    for fault in price_faults(policy, inputs.universe, inputs.snapshot, reference):
        raise fault
    epoch = rebuild(record, inputs.universe, inputs.snapshot, inputs.parameters)
    for fault in parameter_faults(policy, epoch):
        raise fault
    return epoch


def record_faults(
    policy: ClientPolicy, record: EpochRecord, rule: RuleRef, *, history: tuple[Answer, ...], now: int
) -> Iterator[PolicyError]:
    """What speaks against answering, before anything is rebuilt."""
    if record.universe not in policy.universes:
        yield PolicyError("probe.universe", "an epoch of a universe this client does not answer")
    if rule not in policy.rules:
        yield PolicyError("probe.rule", f"{rule.name} with these parameters is not a rule this client answers")
    if policy.parameters and record.parameters not in policy.parameters:
        yield PolicyError("probe.parameters", "the epoch is built from parameters this client has not accepted")
    if record.time > now + MAX_AHEAD_S:
        yield PolicyError("probe.ahead", "the epoch is of a time that lies ahead")
    if now - record.time > policy.max_age_s:
        yield PolicyError("probe.age", f"the epoch is older than {policy.max_age_s} s")
    others = [answer.epoch_time for answer in history if answer.epoch != record.epoch]
    if others and record.time < max(others):
        yield PolicyError("probe.order", "a later epoch was answered already")
    if any(abs(record.time - time) < policy.spacing_s for time in others):
        yield PolicyError("probe.spacing", f"another epoch was answered less than {policy.spacing_s} s apart")
    recent = [answer for answer in history if answer.answered > now - policy.window_s]
    if len(recent) >= policy.answers:
        yield PolicyError("probe.rate", f"{policy.answers} answers were given within {policy.window_s} s")


def parameter_faults(policy: ClientPolicy, epoch: RiskEpoch) -> Iterator[PolicyError]:
    """Parameters out of bounds, or without a bound."""
    for name, value in epoch.parameters.items():
        if name not in policy.bounds:
            yield PolicyError("probe.parameter", f"parameter {name}: the client's policy sets no bounds for it")
            continue
        low, high = policy.bounds[name]
        if not low <= value <= high:
            yield PolicyError("probe.parameter", f"parameter {name}: {value} is outside {low}..{high}")


def price_faults(
    policy: ClientPolicy, universe: Universe, snapshot: Snapshot, reference: Snapshot
) -> Iterator[PolicyError]:
    """Prices that are not the market's as the client sees it, or that it cannot compare."""

    def far(what: str, given: float, own: float | None, scale: float | None = None) -> PolicyError | None:
        if own is None:
            return PolicyError("probe.reference", f"{what}: the client has no price of its own")
        bound = Fraction(own if scale is None else scale) * policy.deviation_permille
        if abs(Fraction(given) - Fraction(own)) * 1000 > bound:
            return PolicyError(
                "probe.price", f"{what}: more than {policy.deviation_permille} permille from the client's"
            )
        return None

    faults: list[PolicyError | None] = []
    for symbol, index in snapshot.index.items():
        own_index = reference.index.get(symbol)
        faults.append(far(f"index {symbol}", index.price, None if own_index is None else own_index.price))
    for symbol, curve in snapshot.forwards.items():
        own_curve = reference.forwards.get(symbol, {})
        faults += [far(f"forward {symbol}", forward, own_curve.get(expiry)) for expiry, forward in curve.items()]
    for instrument in universe.instruments:
        quote, own = snapshot.quotes.get(instrument.id), reference.quotes.get(instrument.id)
        if quote is None:
            continue
        scale = None
        if instrument.kind == "option":
            index_price = snapshot.index[instrument.underlying].price
            scale = 1.0 if instrument.contract == "inverse" else index_price
        faults.append(far(instrument.id, quote.mark, None if own is None else own.mark, scale))
        for key, unit in (("redemption_rate", None), ("iv", policy.volatility_permille)):
            given, mine = getattr(quote, key), None if own is None else getattr(own, key)
            if given is None:
                continue
            if unit is None or mine is None:
                faults.append(far(f"{instrument.id}: {key}", given, mine))
            elif abs(Fraction(given) - Fraction(mine)) * 1000 > unit:
                faults.append(PolicyError("probe.price", f"{instrument.id}: its volatility is far from the client's"))
    return (fault for fault in faults if fault is not None)


def parse_policy(data: bytes) -> ClientPolicy:
    """A policy from its JSON file.  DecodeError json.*; InputError field.*, client-policy.*; RangeError."""
    top = fields.obj(parse_json(data, what="client policy"), "client policy", required=_KEYS)
    fields.choice(top["format"], "client policy: format", (FORMAT,))
    operators = {
        fields.name(name, "operators"): PublicKey(Role.OPERATOR, fields.digest(key, f"operators: {name}"))
        for name, key in fields.table(top["operators"], "operators", high=64).items()
    }
    rules = []
    for item in fields.array(top["rules"], "rules", high=64):
        rule = fields.obj(item, "rules", required=("name", "parameters"))
        parameters = fields.table(rule["parameters"], "rules: parameters", high=64)
        try:
            rules.append(RuleRef(fields.name(rule["name"], "rules: name"), canonical(parameters)))
        except ValueError:  # a number RFC 8785 cannot write
            raise InputError("client-policy.rule", "rules: a parameter has no canonical form") from None
    bounds: dict[str, tuple[int, int]] = {}
    for name, pair in fields.table(top["bounds"], "bounds", high=4096).items():
        low, high = _pair(pair, f"bounds: {name}")
        bounds[name] = (low, high)
    universes, parameter_files = (
        frozenset(fields.digest(d, what) for d in fields.array(top[what], what, high=4096))
        for what in ("universes", "parameters")
    )
    if not operators or not rules or not universes:
        raise InputError("client-policy.empty", "client policy: names no operator, rule or universe")

    def number(what: str, low: int, high: int) -> int:
        return fields.integer(top[what], what, low=low, high=high)

    return ClientPolicy(
        operators=MappingProxyType(operators),
        universes=universes,
        rules=frozenset(rules),
        parameters=parameter_files,
        bounds=MappingProxyType(bounds),
        deviation_permille=number("deviation_permille", 0, 1000),
        volatility_permille=number("volatility_permille", 0, 1000),
        max_age_s=number("max_age_s", 1, 7 * 86_400),
        spacing_s=number("spacing_s", 0, 7 * 86_400),
        answers=number("answers", 1, MAX_ANSWERS),
        window_s=number("window_s", 1, 366 * 86_400),
    )


def read_policy(path: Path) -> ClientPolicy:
    """`parse_policy` of a file.  InputError file.*."""
    return parse_policy(read_bytes(path, limit=MAX_JSON_BYTES, what="client policy"))


def _pair(value: Any, what: str) -> tuple[int, int]:
    items = fields.array(value, what, high=2)
    numbers = [fields.integer(x, what, low=-fields.MAX_SAFE_INTEGER, high=fields.MAX_SAFE_INTEGER) for x in items]
    if len(numbers) != 2 or numbers[0] > numbers[1]:
        raise InputError("client-policy.bounds", f"{what}: must be [low, high]")
    return numbers[0], numbers[1]


_HISTORY_KEYS = ("answers", "format")
_HISTORY_FORMAT = "marginseal-client-history-1"


def encode_history(history: tuple[Answer, ...]) -> bytes:
    """The answers given, as a canonical document."""
    answers = [{"answered": a.answered, "epoch": a.epoch.hex(), "epoch_time": a.epoch_time} for a in history]
    return canonical({"answers": answers, "format": _HISTORY_FORMAT})


def decode_history(data: bytes) -> tuple[Answer, ...]:
    """DecodeError record.*, json.*."""
    top = document.decode(data, what="client history", keys=_HISTORY_KEYS, limit=MAX_JSON_BYTES)
    top.constant("format", _HISTORY_FORMAT)
    rows = top.objects("answers", ("answered", "epoch", "epoch_time"), limit=MAX_ANSWERS)
    return tuple(Answer(r.hex("epoch", 32), r.time("epoch_time"), r.time("answered")) for r in rows)


def record_answer(path: Path, answer: Answer) -> None:
    """Append to the client's history file, mode 0600, before the answer is given.  InputError file.*; DecodeError."""
    history = decode_history(read_bytes(path, limit=MAX_JSON_BYTES, what="client history")) if path.exists() else ()
    write_atomic(path, encode_history((*history, answer)[-MAX_ANSWERS:]), private=True)
