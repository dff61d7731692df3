"""`marginseal margin`: the owner's own view, evaluated plainly, nothing proven and nothing sent anywhere.

Equity after haircuts, requirement, what is left, the worst scenarios, cross against isolated margin, Greeks by
underlying; a picture of the scenario results on request.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.output import AsJson, emit, money, progress, table
from marginseal.errors import PolicyError, Unsatisfied

GREEKS = ("delta", "gamma", "vega")


def margin(
    holdings: Annotated[list[Path], typer.Argument(help="Holdings files, one a source: CSV or JSON.")],
    epoch: Annotated[Path | None, typer.Option(help="Epoch file; default the desk's.")] = None,
    universe: Annotated[Path | None, typer.Option(help="Universe file; default the desk's.")] = None,
    rule: Annotated[str, typer.Option(help="A rule from `rule list`.")] = "worst_case",
    tier: Annotated[str, typer.Option(help="initial or maintenance.")] = "initial",
    inputs: Annotated[
        list[int] | None,
        typer.Option("--input", help="Public inputs of a disclosure, ticks, in its order (`rule show`)."),
    ] = None,
    worst: Annotated[int, typer.Option(min=1, help="How many of the worst scenarios to show.")] = 5,
    plot: Annotated[
        Path | None, typer.Option(help="Write a picture of the scenario results here (.png, .svg, .pdf).")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit with status 6 if the rule does not hold.")] = False,
    desk: Annotated[Path, typer.Option(help="The desk's folder, for epoch and universe.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Cross-margin health of one portfolio held at several places."""
    from marginseal.cli.desk import Desk, tier_named
    from marginseal.market.portfolio import merge, read_holdings
    from marginseal.market.universe import read_universe

    chosen, at = tier_named(tier), Desk(desk)
    listed = at.universe() if universe is None else read_universe(universe)
    risk = at.epoch(epoch)
    if risk.universe_digest != listed.digest:
        raise PolicyError("margin.universe", "the epoch is of another universe: build the epoch again")
    lots = merge([read_holdings(path, listed) for path in holdings]).lots
    with progress("evaluating", quiet=as_json):
        body = figures(risk, lots, rule, chosen, worst, inputs or ())
    if plot is not None:
        draw(body, plot)
    emit({k: v for k, v in body.items() if k != "profit_ticks"}, as_json, _tell)
    if check and not body["holds"]:
        line = body["worst_line"]
        raise Unsatisfied(
            "rule.unsatisfied", f"the portfolio does not satisfy the line {line!r}", line=line, shortfall=0
        )


def figures(epoch: Any, lots: Any, rule: str, tier: Any, worst: int, inputs: Sequence[int] = ()) -> dict[str, Any]:
    """All that the verb shows, amounts in ticks."""
    import numpy as np

    from circuits.evaluate import evaluate_rule
    from circuits.rules.limits import limits_of

    result = evaluate_rule(rule, epoch, tier, lots, inputs=inputs)
    cross = evaluate_rule("worst_case", epoch, tier, lots)
    isolated = evaluate_rule("isolated", epoch, tier, lots)
    profit = [int(x) for x in cross.quantities["scenario_profit"]]
    order = np.argsort(profit, kind="stable")[:worst]
    limits = {(greek, u): value for greek, u, value in limits_of(epoch)}

    def amount(evaluation: Any, name: str) -> int:
        return int(evaluation.quantities[name][0])

    requirement = amount(result if "requirement" in result.quantities else cross, "requirement")
    greeks = [
        {
            "underlying": name or "all",
            **{g: _net(getattr(epoch, g), lots, epoch, name) for g in GREEKS},
            **{f"{g}_limit": limits.get((g, name), 0) for g in GREEKS},
        }
        for name in (*epoch.underlyings, "")
    ]
    return {
        "rule": rule,
        "tier": tier.name.lower(),
        "currency": epoch.currency,
        "tick": epoch.tick,
        "holds": bool(result.holds),
        "worst_line": None if result.holds else result.worst.label,
        "value_ticks": amount(cross, "value"),
        "equity_ticks": amount(cross, "equity"),
        "requirement_ticks": requirement,
        "free_ticks": amount(cross, "equity") - requirement,
        "cross_ticks": amount(cross, "requirement"),
        "isolated_ticks": amount(isolated, "requirement"),
        "lines": [{"line": x.label, "headroom": int(x.headroom), "at": int(x.at)} for x in result.lines],
        "worst_scenarios": [{"scenario": epoch.scenario_labels[s], "profit_ticks": profit[s]} for s in order],
        "greeks": greeks,
        "profit_ticks": profit,
    }


def _net(per_lot: Any, lots: Any, epoch: Any, underlying: str) -> int:
    """sum_i greek_i q_i over one underlying, or over all: exact."""
    rows = range(len(lots))
    if underlying:
        at = epoch.underlyings.index(underlying)
        rows = [i for i in rows if epoch.underlying_of[i] == at]  # type: ignore[assignment]
    return sum(int(per_lot[i]) * int(lots[i]) for i in rows)


def draw(body: dict[str, Any], path: Path) -> None:
    """Profit in every scenario, sorted, with the requirement; cross against isolated margin beside it."""
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from marginseal.errors import InputError
    from marginseal.files import write_atomic

    if path.suffix not in (".png", ".svg", ".pdf"):
        raise InputError("margin.plot", "a picture ends in .png, .svg or .pdf")
    unit = float(body["tick"]) * 1e-6
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 1), layout="constrained")
    left.bar(
        range(len(body["profit_ticks"])), [x * unit for x in sorted(body["profit_ticks"])], width=1.0, color="#4a6fa5"
    )
    left.axhline(-body["cross_ticks"] * unit, color="#b03a2e", lw=1.2, label=f"{body['tier']} requirement")
    left.axhline(-body["equity_ticks"] * unit, color="#1e8449", lw=1.2, ls="--", label="equity after haircuts")
    left.set_xlabel("scenarios, worst first")
    left.set_ylabel(f"profit or loss, million {body['currency']}")
    left.legend(frameon=False)
    right.bar(
        ["isolated", "cross"], [body["isolated_ticks"] * unit, body["cross_ticks"] * unit], color=["#b9bec7", "#4a6fa5"]
    )
    right.set_ylabel(f"margin required, million {body['currency']}")
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:], dpi=130)
    plt.close(figure)
    write_atomic(path, picture.getvalue(), private=True)


def _tell(body: dict[str, Any]) -> None:
    def amount(ticks: int) -> str:
        return money(ticks, body["tick"], body["currency"])

    saved = 1 - body["cross_ticks"] / body["isolated_ticks"] if body["isolated_ticks"] else 0.0
    rows = [
        ("mark value", amount(body["value_ticks"])),
        ("equity after haircuts", amount(body["equity_ticks"])),
        (f"requirement ({body['rule']}, {body['tier']})", amount(body["requirement_ticks"])),
        ("free for pledges", amount(body["free_ticks"])),
        ("isolated, each position alone", amount(body["isolated_ticks"])),
        ("cross, as one portfolio", f"{amount(body['cross_ticks'])}  ({saved:.0%} less)"),
        ("verdict", "the rule holds" if body["holds"] else f"the rule does NOT hold: line {body['worst_line']}"),
    ]
    table("Margin", ("figure", "amount"), rows, right=(1,))
    worst = [(x["scenario"], amount(x["profit_ticks"])) for x in body["worst_scenarios"]]
    table("Worst scenarios", ("scenario", "profit or loss"), worst, right=(1,))
    greeks = [
        (
            g["underlying"],
            *(
                f"{amount(g[name])}" + (f" of {amount(g[name + '_limit'])}" if g[name + "_limit"] else "")
                for name in GREEKS
            ),
        )
        for g in body["greeks"]
    ]
    table(
        "Greeks: per +1 % of the index, per further +1 %, per volatility point",
        ("underlying", *GREEKS),
        greeks,
        right=(1, 2, 3),
    )
