"""Parametric value at risk: net deltas through integer factor loadings, and the norm of the factor losses (a cone).

    a_j·q = c u_j + ρ_j,  0 <= ρ_j < c     K² >= Σ λ_j u_j²     κ³ R - f z c (K + e) >= 0     resources - R >= 0    (1)

a_j,i = B_j,u(i) delta_i: B is the epoch parameter `factor_loading.J.U`, the move of underlying U along factor J in
1/1000 of 1 %; λ_j is `factor_weight.J`, or 1.  Each floor u_j is off by less than 1, so the true norm is below
c (K + sqrt(Σ λ)), and e = ceil(sqrt(Σ λ)) errs high (protocol.md section 3).  K and R are free and larger ones only
hurt; floors and remainders are forced.
"""

from __future__ import annotations

from math import isqrt
from types import MappingProxyType

import numpy as np

from circuits.expr import Expr, Ints, each
from circuits.model import Model
from circuits.rules.parts import FACTORS, HAIRCUT_PAIRS, cover, holdings, permille, resources, tier_factor
from circuits.rules.rule import Condition, Context, Rule
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier

MAX_FACTORS = 64
MAX_LOADING = 2**17  # times |delta| < 2**40 stays below 2**57, so the product of the two cannot wrap
MAX_SCALE = 2**20
MAX_MULTIPLIER = 10_000


def factors_of(epoch: RiskEpoch) -> dict[str, dict[str, int]]:
    """Factor -> underlying -> loading, sorted by factor, from `factor_loading.FACTOR.UNDERLYING`."""
    out: dict[str, dict[str, int]] = {}
    for key, value in sorted(epoch.parameters.items()):
        base, *index = key.split(".")
        if base == "factor_loading" and len(index) == 2:
            out.setdefault(index[0], {})[index[1]] = value
    return out


def weights_of(epoch: RiskEpoch) -> list[int]:
    """λ_j in the order of `factors_of`."""
    return [epoch.parameters.get(f"factor_weight.{factor}", 1) for factor in factors_of(epoch)]


def _loadings_hold(c: Context) -> bool:
    """Also that nothing is left unsaid: an underlying without a loading would bear no risk (say 0 if that is meant)."""
    found = factors_of(c.epoch)
    loadings = [(underlying, value) for row in found.values() for underlying, value in row.items()]
    named = sum(key.partition(".")[0] == "factor_loading" for key in c.epoch.parameters)
    return (
        1 <= len(found) <= MAX_FACTORS
        and named == len(loadings)
        and {underlying for underlying, _ in loadings} == set(c.epoch.underlyings)
        and all(abs(value) < MAX_LOADING for _, value in loadings)
    )


def _weights_hold(c: Context) -> bool:
    names = {key.partition(".")[2] for key in c.epoch.parameters if key.partition(".")[0] == "factor_weight"}
    return names <= factors_of(c.epoch).keys() and all(weight >= 0 for weight in weights_of(c.epoch))


def _between(name: str, low: int, high: int) -> Condition:
    def holds(c: Context) -> bool:
        value = c.parameters[name]
        return type(value) is int and low <= value <= high

    return Condition(f"rule.{name.replace('_', '-')}", f"{name} is an integer in {low}..{high}", holds)


LOADINGS = Condition(
    "rule.loadings",
    f"the epoch has factor_loading.FACTOR.UNDERLYING for 1..{MAX_FACTORS} factors and each of its own underlyings, "
    f"every one below {MAX_LOADING} in magnitude, and no loading of another form",
    _loadings_hold,
)
WEIGHTS = Condition("rule.weights", "every factor_weight.FACTOR is at least 0 and belongs to a factor", _weights_hold)


def _matrix(epoch: RiskEpoch) -> Ints:
    """a (J, N): loading of the instrument's underlying times its delta; cash has none."""
    rows = []
    for row in factors_of(epoch).values():
        loading = np.array([row.get(underlying, 0) for underlying in epoch.underlyings] + [0], dtype=np.int64)
        rows.append(loading[epoch.underlying_of] * epoch.delta)  # -1, cash, is the last entry
    return np.stack(rows)


def _build(model: Model, c: Context) -> None:
    q = holdings(model, c)
    room = resources(model, c, q)
    a = model.matrix("a", "j", _matrix(c.epoch), "profit of one lot along factor j, 1/1000 tick")
    weights = np.array(weights_of(c.epoch), dtype=np.int64)
    lam = model.row("λ", weights, "weight of factor j", r"\lambda")
    scale = model.coef("c", c.parameters["scale"], "scale of the factor losses")
    moves: Expr = a @ q
    u = model.floor("u", "j", moves, scale, "factor loss in units of c/1000 tick, rounded down")
    K = model.norm("K", lam, u, "at least the norm of the factor losses")
    squared = sum(weights.tolist())
    e = model.coef("e", isqrt(squared - 1) + 1 if squared else 0, "⌈√(Σ λ)⌉, which covers all the floors")
    z = model.coef("z", c.parameters["multiplier_permille"], "quantile of the standard normal, permille")
    f, unit = tier_factor(model, c), permille(model, 3)
    charge = f * (z * (scale * (each(K) + e)))
    cover(model, room, charge, unit, "requirement: f/1000 of the parametric value at risk, ticks")
    model.quantity("factor_loss", moves, "profit along each factor, 1/1000 tick")


RULE = Rule(
    name="parametric",
    title="Parametric value at risk",
    kind=Kind.ATTESTATION,
    tiers=(Tier.INITIAL, Tier.MAINTENANCE),
    summary="Value after haircuts covers the pledges and a multiple of the norm of correlated factor losses.",
    conditions=(
        HAIRCUT_PAIRS,
        FACTORS,
        LOADINGS,
        WEIGHTS,
        _between("scale", 1, MAX_SCALE),
        _between("multiplier_permille", 0, MAX_MULTIPLIER),
    ),
    build=_build,
    defaults=MappingProxyType({"multiplier_permille": 2326, "scale": 1000}),
)
