"""What cross-margining saves, as bars in the terminal and as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marginseal.cli.story.stand import RULE, Stand
from marginseal.errors import InputError


def capital(stand: Stand, picture: Path) -> list[str]:
    """Margin place by place against the portfolio's, as bars in the terminal and in a picture."""
    from marginseal.cli import margin
    from marginseal.market.portfolio import merge
    from marginseal.records.statement import Tier

    epoch, books = stand.epoch, stand.market.books
    alone = {
        source: int(margin.figures(epoch, book.lots, RULE, Tier.INITIAL, 1)["cross_ticks"])
        for source, book in books.items()
    }
    whole = margin.figures(epoch, merge(books.values()).lots, RULE, Tier.INITIAL, 1)
    cross, apart = int(whole["cross_ticks"]), sum(alone.values())
    _draw(stand, alone, whole, picture)
    widest = 44 / max(apart, 1)
    rows = [
        *((f"  {source} alone", ticks) for source, ticks in alone.items()),
        ("each place on its own, together", apart),
        ("as one portfolio", cross),
    ]
    lines = [f"{name:<32} {'█' * round(ticks * widest):<44} {stand.amount(ticks):>18}" for name, ticks in rows]
    return [
        *lines,
        f"the same risk with {1 - cross / apart:.0%} less capital; {stand.amount(whole['free_ticks'])} free to pledge",
        f"picture: {picture}",
    ]


def _draw(stand: Stand, alone: Mapping[str, int], whole: Mapping[str, Any], path: Path) -> None:
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from marginseal.files import write_atomic

    if path.suffix != ".png":
        raise InputError("demo.picture", "the picture's name ends in .png")
    unit = float(stand.epoch.tick) * 1e-6
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    bottom = 0.0
    for (source, ticks), colour in zip(alone.items(), ("#b9bec7", "#8fa3bf", "#6f86a8"), strict=False):
        axes.bar(["each place on its own"], [ticks * unit], bottom=bottom, color=colour, label=source)
        bottom += ticks * unit
    axes.bar(["as one portfolio"], [whole["cross_ticks"] * unit], color="#1e6f5c", label="proven cross margin")
    axes.axhline(whole["equity_ticks"] * unit, color="#b03a2e", ls="--", lw=1.2, label="what the fund has")
    axes.set_ylabel(f"initial margin, million {stand.epoch.currency}")
    axes.set_title("What the same book must set aside")
    axes.legend(frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    plt.close(figure)
    write_atomic(path, out.getvalue())
