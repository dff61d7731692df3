"""Reading 3: a rule as mathematics, in Unicode text or in Markdown with TeX.

Printed from the very expressions that are evaluated and compiled, so a page cannot say something else than the circuit
(docs/rules; a test compares).  Symbols are explained, every variable is listed with its range and with how the prover
picks it, every line with why it stands there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circuits.expr import Block, Coef, Net, Text, text
from circuits.model import Line, Model
from circuits.rules.example import example_epoch
from circuits.rules.registry import build
from circuits.rules.rule import BuiltRule
from marginseal.market.epoch import RiskEpoch
from marginseal.records.statement import Kind, Tier


@dataclass(frozen=True)
class _Row:
    symbol: Text
    meaning: str


def render_rule(
    name: str,
    *,
    epoch: RiskEpoch | None = None,
    tier: Tier = Tier.INITIAL,
    parameters: Mapping[str, object] | None = None,
    markdown: bool = False,
) -> str:
    """A registered rule as it is written; with an epoch also the numbers of its factors.  RuleError rule.*."""
    built = build(name, epoch or example_epoch(), tier, venues=0, parameters=parameters)
    return _markdown(built) if markdown else _plain(built, with_values=epoch is not None)


def line_text(line: Line) -> Text:
    """The relation of one line."""
    if line.shown is not None:
        return line.shown
    return line.expr.shown + (text(" = 0") if line.slack is None else text(" ≥ 0", r" \ge 0"))


def _symbols(model: Model, with_values: bool) -> list[_Row]:
    rows = []
    for c in model.coefficients:
        value = f" (here {c.value})" if with_values and isinstance(c, Coef) else ""
        rows.append(_Row(c.name, c.meaning + value))
    return rows + [_Row(given.symbol, given.meaning + " (public input)") for given in model.inputs]


def _given(model: Model) -> list[_Row]:
    """What the commitments of the statement hold."""
    lots, rows = model.lots, []
    if isinstance(lots, Net):
        parts = lots.long.symbol + text(" − ", " - ") + lots.short.symbol
        meaning = "signed lots, bound to the sum of what the sources committed; both parts unsigned, otherwise free"
        rows.append(_Row(lots.symbol + text(" = ") + parts, meaning))
    elif lots is not None:
        rows.append(_Row(lots.symbol, "signed lots, bound to the sum of what the sources committed"))
    if model.pledge is not None:
        meaning = "unsigned, one row a venue, bound to what the owner committed and signed"
        rows.append(_Row(model.pledge.symbol, meaning))
    return rows


def _free(model: Model) -> list[Block]:
    slacks = {line.slack for line in model.lines}
    return [block for block in model.blocks if block.choice is not None and block not in slacks]


def _every(index: str, tex: bool = False) -> str:
    return "" if not index else (rf" \quad \forall {index}" if tex else f"   for every {index}")


def _domain(block: Block, tex: bool = False) -> str:
    integers, naturals = (r" \in \mathbb{Z}", r" \in \mathbb{N}_0") if tex else (" integer", " ≥ 0")
    symbol = block.symbol.at(block.index)
    return (symbol.tex if tex else symbol.plain) + (integers if block.signed else naturals)


def _plain(built: BuiltRule, with_values: bool) -> str:
    rule, model = built.rule, built.model
    out = [f"{rule.title} ({rule.name}, {rule.kind.name.lower()}, {built.tier.name.lower()} tier)", "", rule.summary]
    sections: list[tuple[str, list[tuple[str, str]]]] = [
        ("Public", [(row.symbol.plain, row.meaning) for row in _symbols(model, with_values)]),
        ("Committed", [(row.symbol.plain, row.meaning) for row in _given(model)]),
        ("Free", [(_domain(b), f"{b.meaning}; best: {_choice(b).plain}") for b in _free(model)]),
        ("Lines", [(line.label, line_text(line).plain + _every(line.index)) for line in model.lines]),
        ("Needs", [(condition.code, condition.text) for condition in rule.conditions]),
    ]
    for title, rows in sections:
        if rows:
            width = max(len(first) for first, _ in rows)
            out += ["", title] + [f"  {first:<{width}}   {second}" for first, second in rows]
    return "\n".join(out) + "\n"


def _choice(block: Block) -> Text:
    assert block.choice is not None
    return block.choice.shown


def _markdown(built: BuiltRule) -> str:
    rule, model = built.rule, built.model
    kind = "an attestation" if rule.kind == Kind.ATTESTATION else "a disclosure"
    tiers = " and ".join(tier.name.lower() for tier in rule.tiers)
    out = [f"`{rule.name}` is {kind}, of tier {tiers}. {rule.summary}", "", "```math", r"\begin{aligned}"]
    for line in model.lines:
        out.append(rf"& {line_text(line).tex}{_every(line.index, tex=True)} && \text{{{line.label}}} \\")
    out += [r"\end{aligned}", "```", "", "| line | says |", "| --- | --- |"]
    out += [f"| {line.label} | {line.why} |" for line in model.lines]
    out += ["", "| public | meaning |", "| --- | --- |"]
    out += [f"| ${row.symbol.tex}$ | {row.meaning} |" for row in _symbols(model, with_values=False)]
    out += ["", "| committed | meaning |", "| --- | --- |"]
    out += [f"| ${row.symbol.tex}$ | {row.meaning} |" for row in _given(model)]
    if _free(model):
        out += ["", "| free | meaning | best choice |", "| --- | --- | --- |"]
        out += [f"| ${_domain(b, tex=True)}$ | {b.meaning} | ${_choice(b).tex}$ |" for b in _free(model)]
    out += ["", "Every inequality is an equation with one more free variable, its slack $\\ge 0$.", "", "Needs:", ""]
    out += [f"* {condition.text} (`{condition.code}`)" for condition in rule.conditions]
    if rule.defaults:
        listed = ", ".join(f"`{key}` ({'of the epoch' if v is None else repr(v)})" for key, v in rule.defaults.items())
        out += ["", f"Parameters of the rule with their defaults: {listed}."]
    return "\n".join(out) + "\n"
