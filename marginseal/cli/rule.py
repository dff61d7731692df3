"""`marginseal rule list|show`: the margin rules, and each as mathematics."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from marginseal.cli.output import AsJson, emit, table

app = typer.Typer(help="List margin rules and show their mathematics.", no_args_is_help=True)


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Every rule, what it proves, and its tiers."""
    from circuits.rules.registry import RULES

    body = {
        "rules": [
            {
                "name": rule.name,
                "title": rule.title,
                "kind": rule.kind.name.lower(),
                "tiers": [tier.name.lower() for tier in rule.tiers],
                "summary": rule.summary,
            }
            for rule in RULES.values()
        ]
    }
    emit(body, as_json, _tell)


@app.command()
def show(name: Annotated[str, typer.Argument(help="A name from `rule list`.")], as_json: AsJson = False) -> None:
    """A rule as mathematics: symbols, lines, free variables, conditions."""
    from circuits.render import render_rule

    emit({"name": name, "text": render_rule(name)}, as_json, lambda b: print(b["text"]))


def _tell(body: dict[str, Any]) -> None:
    rows = [(r["name"], r["kind"], r["summary"]) for r in body["rules"]]
    table("Margin rules", ("name", "kind", "what it proves"), rows)
