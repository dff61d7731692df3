"""What cross-margining saves on the example market: every book margined alone, and all of them as one portfolio.

    python examples/margin_saving.py

Uses the integer epoch alone, as the rule does:  equity = value.q - charges,  loss = max(0, max_s -(P q)_s),
requirement = charges + factor x loss,  surplus = equity - factor x loss.  Amounts in millions of the currency.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from marginseal.market.epoch import RiskEpoch
from marginseal.market.example import example_market
from marginseal.market.portfolio import Portfolio, merge

TIERS = ("initial", "maintenance")


def line(epoch: RiskEpoch, book: Portfolio, tier: str) -> tuple[int, int, int, str]:
    """(value, requirement, surplus, worst scenario) of one book in ticks; the requirement rounds up."""
    q = book.lots
    value = int(epoch.value @ q)
    charges = int(epoch.haircut_long @ np.maximum(q, 0) + epoch.haircut_short @ np.maximum(-q, 0))
    profit = epoch.pnl @ q
    worst = int(profit.argmin())
    factor = epoch.parameters[f"{tier}_factor_permille"]
    requirement = charges - int(profit[worst]) * factor // 1000
    return value, requirement, value - requirement, epoch.scenario_labels[worst]


def show(title: str, epoch: RiskEpoch, books: Mapping[str, Portfolio]) -> None:
    """A table of the books alone and together, at both tiers."""
    million = float(epoch.tick) / 1e6
    print(f"\n{title}")
    print(f"{'':14} {'tier':12} {'value':>8} {'required':>8} {'surplus':>8}  worst scenario")
    for tier in TIERS:
        apart = 0
        for name, book in (*books.items(), ("all as one", merge(books.values()))):
            value, requirement, surplus, label = line(epoch, book, tier)
            apart += requirement if name in books else 0
            amounts = " ".join(f"{ticks * million:8.3f}" for ticks in (value, requirement, surplus))
            print(f"{name:14} {tier:12} {amounts}  {label}")
        print(f"{'sum of alone':14} {tier:12} {'':8} {apart * million:8.3f}   saved {1 - requirement / apart:.0%}")


def main() -> None:
    """The three states of the example."""
    market = example_market()
    show("The fund on an ordinary day", market.epoch, market.books)
    show("The same with venue-b's hedge turned round", market.epoch, market.unhealthy)
    show("The fund on the crash day", market.crash_epoch, market.crash_books)


if __name__ == "__main__":
    main()
