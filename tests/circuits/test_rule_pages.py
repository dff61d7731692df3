"""docs/rules: the mathematics is what the code prints, the worked examples are what it computes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from circuits.evaluate import evaluate_rule
from circuits.render import render_rule
from circuits.rules.example import example_epoch
from circuits.rules.registry import RULES
from marginseal.errors import RuleError
from marginseal.records.statement import Kind, Tier

PAGES = Path(__file__).resolve().parents[2] / "docs" / "rules"
PRINTED = re.compile(r"<!-- printed by .*? -->\n(.*)\n<!-- end of what is printed -->", re.DOTALL)
EXAMPLE = re.compile(r"```json\n(.*?)\n```", re.DOTALL)


def page(name: str) -> str:
    return (PAGES / f"{name}.md").read_text(encoding="utf-8")


def test_one_page_a_rule() -> None:
    assert {path.stem for path in PAGES.glob("*.md")} == {*RULES, "README"}
    overview = page("README")
    for name, rule in RULES.items():
        assert f"| [`{name}`]({name}.md) | {rule.kind.name.lower()} | {rule.summary} |" in overview


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_page_says_what_the_code_prints(name: str) -> None:
    text = page(name)
    assert text.startswith(f"# {RULES[name].title}\n")
    found = PRINTED.search(text)
    assert found is not None
    assert found.group(1) == render_rule(name, markdown=True)
    for heading in ("choosing badly only hurts", "Worked example", "What it does not cover"):
        assert heading in text
    if RULES[name].kind == Kind.ATTESTATION:
        assert "*Initial implies maintenance.*" in text


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_worked_example(name: str) -> None:
    found = EXAMPLE.search(page(name))
    assert found is not None
    example = json.loads(found.group(1))
    assert example["rule"] == name
    result = evaluate_rule(
        name,
        example_epoch(),
        Tier[example["tier"].upper()],
        np.array(example["lots"]),
        np.array(example["pledges"], dtype=np.int64) if example["pledges"] else None,
        inputs=tuple(example["inputs"]),
        parameters=example["parameters"],
    )
    assert result.holds
    assert {key: result.figure(key) for key in example["figures"]} == example["figures"]
    by_symbol = {block.symbol.plain: result.values[block].tolist() for block in result.model.blocks}
    assert {key: by_symbol[key] for key in example["free"]} == example["free"]
    headroom = {line.label: line.headroom for line in result.lines}
    assert {key: headroom[key] for key in example["headroom"]} == example["headroom"]


@pytest.mark.parametrize("name", sorted(RULES))
def test_the_plain_text_names_every_line_condition_and_input(name: str) -> None:
    text = render_rule(name)
    rule = RULES[name]
    assert rule.summary in text
    assert all(condition.code in text and condition.text in text for condition in rule.conditions)
    labels = re.findall(r"^& .*\\text\{(.*?)\} \\\\$", render_rule(name, markdown=True), re.MULTILINE)
    assert labels
    assert all(f"\n  {label} " in text for label in labels)
    assert "(here " not in text


def test_with_an_epoch_the_factors_have_values() -> None:
    text = render_rule("worst_case", epoch=example_epoch(), tier=Tier.MAINTENANCE)
    assert "f    maintenance factor, permille (here 1000)" in text
    assert "P_s·q + m ≥ 0   for every s" in text
    assert "v·q − h⁺·q⁺ − h⁻·q⁻ − Σ_r g_r − R ≥ 0" in text
    with pytest.raises(RuleError):
        render_rule("none")
