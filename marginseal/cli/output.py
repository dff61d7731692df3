"""What every verb prints: one JSON object for machines, or words and tables for people; progress on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")]


def emit(body: dict[str, Any], as_json: bool, tell: Callable[[dict[str, Any]], None], *, event: bool = False) -> None:
    """event: one of several, each on a line of its own, at once."""
    if as_json:
        print(json.dumps(body, indent=None if event else 2, ensure_ascii=False), flush=event)
    else:
        tell(body)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> None:
    from rich.console import Console
    from rich.table import Table

    grid = Table(title=title, title_justify="left")
    for i, name in enumerate(columns):
        grid.add_column(name, justify="right" if i in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(str(cell) for cell in row))
    Console().print(grid)


@contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A line that moves on standard error while something takes its time; yields a function that names the step."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda step: None
        return
    with console.status(what) as status:
        yield lambda step: status.update(f"{what}: {step}")


def money(ticks: int, tick: str, currency: str) -> str:
    """An exact amount: ticks times the tick, with thousands separated."""
    from decimal import Decimal

    return f"{Decimal(ticks) * Decimal(tick):,} {currency}"


def utc(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def existing(path: Path | None, fallback: Path) -> Path:
    return fallback if path is None else path
