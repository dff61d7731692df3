"""Risk parameters: every number of the model that is a choice, in one file with defaults, and the bounds it must keep.

Ranges, volatility moves, grids and depeg legs shape the scenarios (scenarios.py); charges, spreads and confidence shape
the haircuts (build.py); `rule` holds integers that pass into the epoch for margin rules to read.  Whatever would make a
rule unsound is refused here with a code: negative charges, a weight above one, a price that falls below zero.
Files: docs/formats.md, "Risk parameters".
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import rfc8785

from marginseal.errors import InputError, RangeError
from marginseal.files import MAX_JSON_BYTES, parse_json, read_bytes
from marginseal.market import fields
from marginseal.market.epoch_bounds import MAX_PARAMETERS, MAX_RANGE, MAX_UNDERLYINGS, checked_parameters
from marginseal.market.universe import Universe

FORMAT = "marginseal-parameters-1"
_DOMAIN = b"MARGINSEAL-V1-PARAMETERS\x00"
_PER_UNDERLYING = ("delta_limit", "gamma_limit", "vega_limit")
_MAX_POINTS = 64


@dataclass(frozen=True)
class UnderlyingRisk:
    """The scan of one underlying.

    price_range   the relative move that a price point of 1 stands for, 0.001..0.9
    vol_up, vol_down   relative volatility moves at 30 days, 0..5 and 0..1
    min_vol_up    the least volatility of an up state, 0..5
    """

    price_range: float
    vol_up: float = 0.5
    vol_down: float = 0.25
    min_vol_up: float = 0.4


@dataclass(frozen=True)
class Grid:
    """Which scenarios there are; prices in fractions of each underlying's price_range unless said otherwise.

    price_points     joint moves: every underlying at the same fraction, -1..1
    horizons_days    time that has passed, 0..30 days; joint moves are taken at each, the rest at the first
    product_points   pairs of underlyings at different fractions (decorrelation), -1..1
    extremes         (move, weight): a relative move itself, -0.95..10, of whose profit or loss the share weight counts
    depegs           (fraction, staked, stable): staked tokens lose `staked` against their underlying and currencies
                     `stable` against the settlement currency, 0..0.9, while prices move by the fraction
    basis            annualised shift of dated forwards against the index, -1..1
    short_power, long_power   exponents of the volatility term structure, 0..1, up to 30 days and beyond
    """

    price_points: tuple[float, ...] = (-1.0, -0.75, -0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)
    horizons_days: tuple[float, ...] = (0.0, 1.0, 2.0)
    product_points: tuple[float, ...] = (-1.0, -0.5, 0.0, 0.5, 1.0)
    extremes: tuple[tuple[float, float], ...] = ((-0.66, 0.25), (-0.33, 0.5), (0.5, 0.33), (1.0, 0.17))
    depegs: tuple[tuple[float, float, float], ...] = (
        (0.0, 0.05, 0.02),
        (-0.5, 0.07, 0.02),
        (-1.0, 0.10, 0.03),
        (1.0, 0.05, 0.02),
        (0.0, 0.0, 0.10),
    )
    basis: tuple[float, ...] = (-0.1, 0.1)
    short_power: float = 0.3
    long_power: float = 0.13


@dataclass(frozen=True)
class Charge:
    """A haircut on a lot held long or short, permille of its notional, 0..1000 each."""

    long_permille: int
    short_permille: int


DEFAULT_CHARGES: Mapping[str, Charge] = MappingProxyType(
    {
        "cash": Charge(0, 0),
        "currency": Charge(5, 5),  # cash in another currency than the settlement currency: stablecoins
        "spot": Charge(20, 20),
        "staked": Charge(60, 60),
        "perpetual": Charge(5, 5),
        "future": Charge(5, 5),
        "option": Charge(0, 3),
    }
)
DEFAULT_RULE: Mapping[str, int] = MappingProxyType(
    {
        "offset_permille": 800,
        "es_level_permille": 975,
        "var_level_permille": 990,
        "concentration_threshold_permille.1": 100,
        "concentration_rate_permille.1": 5,
        "concentration_threshold_permille.2": 500,
        "concentration_rate_permille.2": 20,
    }
)


@dataclass(frozen=True)
class RiskParameters:
    """All choices of one risk operator.  InputError, RangeError parameters.*, field.* outside the stated bounds.

    name, operator       1..64 bytes                    underlyings   symbol -> UnderlyingRisk
    tick                 decimal string, "0.01"         lifetime_s    1..604,800: how long an epoch is offered
    max_age_s            the oldest quotes accepted, 1..86,400 s
    max_confidence       the widest price interval accepted, relative, 0..1
    confidence_multiple  k: assets are taken at price (1 - k confidence), debts at (1 + k confidence), 0..10
    initial_factor_permille >= maintenance_factor_permille, 0..10,000
    charges              kind (or "currency") -> Charge
    short_minimum_permille   least charge on a short option, permille of notional, 0..1000
    spread_permille      share of the half-spread charged, 0..1000
    spread_cap_permille  most that a spread charges, and what a missing side costs, permille of notional, 0..1000
    rule                 integers for margin rules: PARAMETER_BOUNDS of epoch_bounds.py, and free names
    """

    name: str
    operator: str
    underlyings: Mapping[str, UnderlyingRisk]
    tick: str = "0.01"
    lifetime_s: int = 3_600
    max_age_s: int = 600
    max_confidence: float = 0.02
    confidence_multiple: float = 2.0
    initial_factor_permille: int = 1_000
    maintenance_factor_permille: int = 800
    grid: Grid = field(default_factory=Grid)
    charges: Mapping[str, Charge] = field(default_factory=lambda: DEFAULT_CHARGES)
    short_minimum_permille: int = 5
    spread_permille: int = 500
    spread_cap_permille: int = 10
    rule: Mapping[str, int] = field(default_factory=lambda: DEFAULT_RULE)

    def __post_init__(self) -> None:
        fields.name(self.name, "parameters: name")
        fields.name(self.operator, "parameters: operator")
        tick = fields.decimal(self.tick, "parameters: tick", low="0.000000000001", high="1000000")
        object.__setattr__(self, "tick", fields.decimal_text(tick))
        fields.integer(self.lifetime_s, "lifetime_s", low=1, high=MAX_RANGE)
        fields.integer(self.max_age_s, "max_age_s", low=1, high=86_400)
        fields.number(self.max_confidence, "max_confidence", low=0.0, high=1.0)
        fields.number(self.confidence_multiple, "confidence_multiple", low=0.0, high=10.0)
        for what in ("short_minimum_permille", "spread_permille", "spread_cap_permille"):
            fields.integer(getattr(self, what), what, low=0, high=1_000)
        _check_underlyings(self.underlyings)
        _check_grid(self.grid)
        if set(self.charges) != set(DEFAULT_CHARGES):
            raise InputError("parameters.charges", f"charges: needs exactly {', '.join(DEFAULT_CHARGES)}")
        for kind, charge in self.charges.items():
            fields.integer(charge.long_permille, f"charges: {kind}: long_permille", low=0, high=1_000)
            fields.integer(charge.short_permille, f"charges: {kind}: short_permille", low=0, high=1_000)
        _check_rule(self.rule, self.underlyings)
        checked_parameters(self.integers())
        for what in ("underlyings", "charges", "rule"):
            object.__setattr__(self, what, MappingProxyType(dict(getattr(self, what))))

    def integers(self) -> dict[str, int]:
        """What the epoch carries: the two factors and `rule`, sorted by name."""
        return dict(
            sorted(
                {
                    **self.rule,
                    "initial_factor_permille": self.initial_factor_permille,
                    "maintenance_factor_permille": self.maintenance_factor_permille,
                }.items()
            )
        )

    def check(self, universe: Universe) -> None:
        """Every underlying of the universe has a scan.  InputError parameters.missing-underlying."""
        missing = set(universe.underlyings).difference(self.underlyings)
        if missing:
            raise InputError("parameters.missing-underlying", f"parameters: no price range for {min(missing)}")

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of a domain label and the RFC 8785 form of the document."""
        return hashlib.sha256(_DOMAIN + rfc8785.dumps(self.document())).digest()

    def document(self) -> dict[str, Any]:
        """The JSON document with every default written out."""
        plain = ("name", "operator", "tick", "lifetime_s", "max_age_s", "max_confidence", "confidence_multiple")
        more = ("initial_factor_permille", "maintenance_factor_permille", "short_minimum_permille")
        out: dict[str, Any] = {"format": FORMAT} | {k: getattr(self, k) for k in (*plain, *more)}
        return out | {
            "spread_permille": self.spread_permille,
            "spread_cap_permille": self.spread_cap_permille,
            "underlyings": {s: dataclasses.asdict(u) for s, u in self.underlyings.items()},
            "grid": {k: _lists(v) for k, v in dataclasses.asdict(self.grid).items()},
            "charges": {k: dataclasses.asdict(c) for k, c in self.charges.items()},
            "rule": dict(self.rule),
        }


def _lists(value: Any) -> Any:
    return [_lists(v) for v in value] if isinstance(value, tuple) else value


def _check_underlyings(underlyings: Mapping[str, UnderlyingRisk]) -> None:
    if not len(underlyings) <= MAX_UNDERLYINGS:
        raise RangeError("parameters.size", f"more than {MAX_UNDERLYINGS} underlyings")
    for asset, risk in underlyings.items():
        what = f"underlyings: {fields.symbol(asset, 'underlyings')}"
        fields.number(risk.price_range, f"{what}: price_range", low=0.001, high=0.9)
        fields.number(risk.vol_up, f"{what}: vol_up", low=0.0, high=5.0)
        fields.number(risk.vol_down, f"{what}: vol_down", low=0.0, high=1.0)
        fields.number(risk.min_vol_up, f"{what}: min_vol_up", low=0.0, high=5.0)


def _check_grid(grid: Grid) -> None:
    shapes: tuple[tuple[str, tuple[tuple[str, float, float], ...]], ...] = (
        ("price_points", (("fraction", -1.0, 1.0),)),
        ("product_points", (("fraction", -1.0, 1.0),)),
        ("horizons_days", (("days", 0.0, 30.0),)),
        ("basis", (("shift", -1.0, 1.0),)),
        ("extremes", (("move", -0.95, 10.0), ("weight", 0.0, 1.0))),
        ("depegs", (("fraction", -1.0, 1.0), ("staked", 0.0, 0.9), ("stable", 0.0, 0.9))),
    )
    for what, columns in shapes:
        points = getattr(grid, what)
        if len(points) > _MAX_POINTS:
            raise RangeError("parameters.size", f"grid: {what}: more than {_MAX_POINTS} entries")
        if len(set(points)) != len(points):
            raise InputError("parameters.duplicate", f"grid: {what}: an entry is listed twice")
        for point in points:
            parts = point if len(columns) > 1 else (point,)
            for value, (column, low, high) in zip(parts, columns, strict=True):
                fields.number(value, f"grid: {what}: {column}", low=low, high=high)
    if not grid.price_points or not grid.horizons_days:
        raise InputError("parameters.grid", "grid: needs at least one price point and one horizon")
    for what in ("short_power", "long_power"):
        fields.number(getattr(grid, what), f"grid: {what}", low=0.0, high=1.0)


def _check_rule(rule: Mapping[str, int], underlyings: Mapping[str, UnderlyingRisk]) -> None:
    for key in rule:
        base, *index = key.split(".") if isinstance(key, str) else ("",)
        if base in ("initial_factor_permille", "maintenance_factor_permille"):
            raise InputError("parameters.rule", f"rule: {base} has a field of its own")
        if base in _PER_UNDERLYING and index and index[0] not in underlyings:
            raise InputError("parameters.unknown-underlying", f"rule: {key}: is no underlying of this file")
    thresholds = {k.split(".")[1]: v for k, v in rule.items() if k.startswith("concentration_threshold_permille.")}
    rates = {k.split(".")[1]: v for k, v in rule.items() if k.startswith("concentration_rate_permille.")}
    if thresholds.keys() != rates.keys():
        raise InputError("parameters.concentration", "rule: each concentration threshold needs a rate, and only those")


def parse_parameters(data: bytes) -> RiskParameters:
    """Parameters from their JSON file; what is left out takes its default.  DecodeError json.*, InputError."""
    scalars = {f.name for f in dataclasses.fields(RiskParameters)} - {"name", "operator", "underlyings"}
    top = fields.obj(
        parse_json(data, what="parameters"),
        "parameters",
        required=("format", "name", "operator", "underlyings"),
        optional=scalars,
    )
    fields.choice(top["format"], "parameters: format", (FORMAT,))
    given: dict[str, Any] = {k: v for k, v in top.items() if k != "format"}
    for key in ("max_confidence", "confidence_multiple"):
        if key in given:
            given[key] = fields.number(given[key], key, low=0.0, high=10.0)
    given["underlyings"] = {
        asset: UnderlyingRisk(**_numbers(item, f"underlyings: {asset}", UnderlyingRisk, required=("price_range",)))
        for asset, item in fields.table(top["underlyings"], "underlyings", high=MAX_UNDERLYINGS).items()
    }
    if "grid" in given:
        given["grid"] = _parse_grid(given["grid"])
    if "charges" in given:
        table = fields.table(given["charges"], "charges", high=len(DEFAULT_CHARGES))
        charges = {
            kind: Charge(**fields.obj(item, f"charges: {kind}", required=("long_permille", "short_permille")))
            for kind, item in table.items()
        }
        given["charges"] = dict(DEFAULT_CHARGES) | charges
    if "rule" in given:
        given["rule"] = dict(DEFAULT_RULE) | fields.table(given["rule"], "rule", high=MAX_PARAMETERS)
    return RiskParameters(**given)


def _numbers(item: object, what: str, shape: type, *, required: tuple[str, ...] = ()) -> dict[str, float]:
    known = {f.name for f in dataclasses.fields(shape)}
    values = fields.obj(item, what, required=required, optional=known - set(required))
    return {k: fields.number(v, f"{what}: {k}", low=-1e9, high=1e9) for k, v in values.items()}


def _parse_grid(item: object) -> Grid:
    names = {f.name for f in dataclasses.fields(Grid)}
    given = fields.obj(item, "grid", required=(), optional=names)
    out: dict[str, Any] = {}
    for key, value in given.items():
        if key in ("short_power", "long_power"):
            out[key] = fields.number(value, f"grid: {key}", low=0.0, high=1.0)
            continue
        width = {"extremes": 2, "depegs": 3}.get(key, 1)
        points = []
        for point in fields.array(value, f"grid: {key}", high=_MAX_POINTS):
            row = fields.array(point, f"grid: {key}", high=width) if width > 1 else [point]
            if len(row) != width:
                raise InputError("parameters.grid", f"grid: {key}: each entry has {width} numbers")
            numbers = tuple(fields.number(v, f"grid: {key}", low=-1e9, high=1e9) for v in row)
            points.append(numbers if width > 1 else numbers[0])
        out[key] = tuple(points)
    return Grid(**out)


def parameters_json(parameters: RiskParameters) -> bytes:
    """The JSON file, one field a line."""
    return fields.pretty(parameters.document())


def read_parameters(path: Path) -> RiskParameters:
    """`parse_parameters` of a file of at most 64 MB.  InputError file.*."""
    return parse_parameters(read_bytes(path, limit=MAX_JSON_BYTES, what="parameters"))
