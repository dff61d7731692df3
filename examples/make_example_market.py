"""Make the example market that is shipped in marginseal/data/example: universe, two snapshots, parameters, books.

    python examples/make_example_market.py [folder]

Everything follows from the numbers below and four seeds: an ordinary day, and the next one, on which bitcoin loses
17 %, ether 23 %, volatility doubles, the staked token trades 4 % below redemption and the stablecoin at 0.993.  Run it
again and the files are the same, byte for byte.  No real market stands behind any of them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np

from marginseal.files import write_atomic
from marginseal.market import fields
from marginseal.market.chains import MarketState, chain_csv, chain_rows, strikes_around
from marginseal.market.importer import Staked, import_chain, parse_chain
from marginseal.market.parameters import DEFAULT_RULE, RiskParameters, UnderlyingRisk, parameters_json
from marginseal.market.portfolio import Portfolio, holdings_csv, portfolio_from
from marginseal.market.snapshot import Snapshot, snapshot_json
from marginseal.market.universe import Universe, universe_json

TODAY = fields.time("2026-09-01T12:00:00Z", "today")
TOMORROW = fields.time("2026-09-02T14:00:00Z", "tomorrow")
DAYS = ("2026-09-04", "2026-09-11", "2026-09-25", "2026-10-30", "2026-12-25", "2027-03-26")
EXPIRIES = tuple(fields.time(f"{day}T08:00:00Z", "expiry") for day in DAYS)
STRIKE_STEPS = {"BTC": (1000, 1000, 2000, 4000, 5000, 6000), "ETH": (50, 50, 100, 200, 250, 300)}
CENTRES = {"BTC": 64_000, "ETH": 3_100}
STRIKES_PER_EXPIRY = 14

CALM = {
    "BTC": MarketState(index=64_120.5, carry=0.05, near=0.44, far=0.52, skew=-0.03, curvature=0.035),
    "ETH": MarketState(index=3_118.4, carry=0.035, near=0.58, far=0.66, skew=-0.02, curvature=0.03),
}
CRASH = {
    "BTC": MarketState(53_480.0, carry=-0.03, near=1.02, far=0.70, skew=-0.05, curvature=0.03, half_spread=0.06),
    "ETH": MarketState(2_396.5, carry=-0.06, near=1.22, far=0.88, skew=-0.04, curvature=0.03, half_spread=0.06),
}

# A fund short of options at one venue, hedged with futures and wings at another, its collateral with a custodian.
CUSTODIAN = {"BTC": 1_000, "wstETH": 6_000, "USDC": 150_000}
VENUE_A = {
    "USD": 2_300_000,
    "BTC-PERPETUAL": 22_000,
    "BTC-25SEP26-64000-C": -900,
    "BTC-25SEP26-64000-P": -900,
    "BTC-30OCT26-56000-P": -1_500,
    "BTC-30OCT26-72000-C": -1_500,
    "ETH-25SEP26-3100-C": -2_200,
    "ETH-25SEP26-3100-P": -2_200,
    "ETH-25DEC26-2500-P": -800,
}
VENUE_B = {
    "USD": 100_000,
    "BTC-PERPETUAL": -10_000,
    "BTC-25DEC26": -16_000,
    "BTC-25SEP26-60000-P": 450,
    "BTC-25SEP26-68000-C": 500,
    "BTC-30OCT26-52000-P": 500,
    "BTC-30OCT26-80000-C": 1_100,
    "ETH-PERP-LINEAR": -7_500,
    "ETH-25SEP26-2800-P": 1_100,
    "ETH-25SEP26-3300-C": 900,
    "ETH-25DEC26": -4_000,
}
# The same venue with the futures the other way round and the downside sold instead of bought.
UNHEALTHY_B = VENUE_B | {
    "BTC-PERPETUAL": 14_000,
    "BTC-25SEP26-60000-P": -300,
    "BTC-30OCT26-52000-P": -1_400,
    "ETH-PERP-LINEAR": 14_000,
}

PARAMETERS = RiskParameters(
    name="Example parameters",
    operator="Example risk operator",
    underlyings={
        "BTC": UnderlyingRisk(price_range=0.16, vol_up=0.5, vol_down=0.25, min_vol_up=0.4),
        "ETH": UnderlyingRisk(price_range=0.18, vol_up=0.4, vol_down=0.25, min_vol_up=0.4),
    },
    rule={
        **DEFAULT_RULE,
        "delta_limit.BTC": 3_000_000,
        "delta_limit.ETH": 3_000_000,
        "gamma_limit.BTC": 1_000_000,
        "gamma_limit.ETH": 1_000_000,
        "vega_limit.BTC": 5_000_000,
        "vega_limit.ETH": 5_000_000,
        # Daily moves of 3.2 % and 4 %, correlation 0.8: the Cholesky factor, in 1/1000 of 1 %.
        "factor_loading.market.BTC": 3_200,
        "factor_loading.market.ETH": 3_200,
        "factor_loading.alt.ETH": 2_400,
    },
)


def market(
    moment: int,
    states: Mapping[str, MarketState],
    seed: int,
    peg: float,
    stable: float,
    half_spread: float,
    confidence: float,
) -> tuple[Universe, Snapshot]:
    """One moment through the importer, as any exported chain goes; strikes stay those listed on the ordinary day."""
    rows = []
    for k, (currency, state) in enumerate(states.items()):
        steps = STRIKE_STEPS[currency]
        listed = [
            (e, strikes_around(CENTRES[currency], s, STRIKES_PER_EXPIRY)) for e, s in zip(EXPIRIES, steps, strict=True)
        ]
        rows += chain_rows(moment, currency, state, listed, seed + k)
    return import_chain(
        parse_chain(chain_csv(rows)),
        name="Example market",
        staked={"ETH": Staked("wstETH", redemption_rate=1.2183, market_share=peg)},
        stablecoins={"USDC": stable},
        half_spread=half_spread,
        confidence=confidence,
    )


def book(universe: Universe, lots: Mapping[str, int]) -> Portfolio:
    """A book by instrument id."""
    return portfolio_from(universe, ((i, n, i) for i, n in lots.items()))


def settled(universe: Universe, before: Snapshot, after: Snapshot, held: Portfolio) -> Portfolio:
    """The book after its perpetuals and futures are settled at the new marks, in cash or coin, down to whole lots."""
    lots = held.lots.copy()
    gains: dict[str, Fraction] = {}
    for row in np.flatnonzero(lots):
        i = universe.instruments[row]
        if i.kind not in ("perpetual", "future"):
            continue
        old, new = Fraction(before.quotes[i.id].mark), Fraction(after.quotes[i.id].mark)
        gain = 1 / old - 1 / new if i.contract == "inverse" else new - old
        paid = i.underlying if i.contract == "inverse" else universe.settlement
        gains[paid] = gains.get(paid, Fraction(0)) + int(lots[row]) * Fraction(i.lot) * gain
    for paid, amount in gains.items():
        cash = universe.row(paid)
        lots[cash] += amount / Fraction(universe.instruments[cash].lot) // 1
    return Portfolio(universe.digest, lots)


def main(folder: Path) -> None:
    """Write every file of the example market."""
    universe, calm = market(TODAY, CALM, 1, peg=0.9991, stable=0.9998, half_spread=0.0002, confidence=0.0005)
    same, crash = market(TOMORROW, CRASH, 3, peg=0.962, stable=0.9932, half_spread=0.001, confidence=0.002)
    if same != universe:
        raise AssertionError("the second day lists other instruments")
    books = {"custodian": CUSTODIAN, "venue-a": VENUE_A, "venue-b": VENUE_B, "unhealthy-venue-b": UNHEALTHY_B}
    files = {
        "universe.json": universe_json(universe),
        "snapshot.json": snapshot_json(calm),
        "crash-snapshot.json": snapshot_json(crash),
        "parameters.json": parameters_json(PARAMETERS),
    }
    for name, lots in books.items():
        held = book(universe, lots)
        files[f"{name}.csv"] = holdings_csv(held, universe)
        if name != "unhealthy-venue-b":
            files[f"crash-{name}.csv"] = holdings_csv(settled(universe, calm, crash, held), universe)
    for name, data in files.items():
        write_atomic(folder / name, data)


if __name__ == "__main__":
    default = Path(__file__).resolve().parent.parent / "marginseal" / "data" / "example"
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else default)
