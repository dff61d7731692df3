"""Policy files: what they mean, and that every malformed one is refused with a reason, never a traceback."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marginseal.errors import InputError, MarginSealError
from marginseal.records.statement import Tier
from tests.simulator.world import policy, policy_document
from verifier.policy import parse_policy

LOG = policy_document()["log"]
RULE = policy_document()["rules"][0]
ORACLES = policy_document()["oracles"]


def test_a_policy_says_what_its_file_says() -> None:
    read = policy(rules=[RULE | {"parameters": {"b": 1, "a": 2}, "tiers": ["initial", "maintenance"]}], oracles=None)
    assert read.rules[0].parameters == b'{"a":2,"b":1}'
    assert read.rules[0].tiers == frozenset(Tier)
    assert read.trust.oracles is None
    assert read.sources == {"custodian": None, "venue-a": None, "venue-b": 100_000}
    assert policy().accepts("worst_case", b"{}", Tier.INITIAL)
    assert not policy().accepts("worst_case", b"{}", Tier.MAINTENANCE)


BAD: list[tuple[str, dict[str, Any]]] = [
    ("policy.record.format", {"format": "marginseal-policy-2"}),
    ("policy.record.members", {"extra": 1}),
    ("policy.record.hex", {"srs": "zz"}),
    ("policy.key", {"operators": []}),
    ("policy.key", {"provers": ["AB" * 32]}),
    ("policy.key", {"provers": [" " + "ab" * 31]}),
    ("policy.key", {"accounts": {"fund-1": 7}}),
    ("policy.key.small-order", {"operators": ["00" * 32]}),
    ("policy.tiers", {"rules": [RULE | {"tiers": ["initial", "both"]}]}),
    ("policy.tiers", {"rules": [RULE | {"tiers": []}]}),
    ("policy.rule", {"rules": [RULE | {"parameters": {"a": 2**60}}]}),
    ("policy.record.name", {"rules": [RULE | {"name": "x" * 65}]}),
    ("policy.record.name", {"listed_as": 5}),
    ("policy.record.flag", {"hold": 1}),
    ("policy.record.decimal", {"minimum_pledge_ticks": 1000}),
    ("policy.record.decimal", {"sources": {"custodian": "007"}}),
    ("policy.record.decimal", {"sources": {"custodian": 5}}),
    ("policy.record.integer", {"epoch_max_age_s": 0}),
    ("policy.record.integer", {"epoch_lag_s": True}),
    ("policy.record.integer", {"registries": {"sources": 0, "venues": 1}}),
    ("policy.key", {"log": LOG | {"keys": [7]}}),
    ("policy.note.key", {"log": LOG | {"keys": ["not a key"]}}),
    ("log.policy", {"log": LOG | {"threshold": 1}}),
    ("log.policy", {"log": LOG | {"keys": []}}),
    ("oracle.policy", {"oracles": ORACLES | {"threshold": 2}}),
]


@pytest.mark.parametrize(("code", "changes"), BAD)
def test_a_malformed_policy_is_refused(code: str, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as e:
        policy(**changes)
    assert e.value.code == code


def test_duplicate_members_are_refused() -> None:
    text = json.dumps(policy_document())
    with pytest.raises(InputError) as e:
        parse_policy(text.replace('{"format"', '{"venue": "x", "format"', 1).encode())
    assert e.value.code == "policy.json.duplicate-key"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(policy_document())), VALUES)
def test_any_member_may_be_anything(name: str, value: Any) -> None:
    document = policy_document() | {name: value}
    try:
        parse_policy(json.dumps(document).encode())
    except MarginSealError as e:
        assert e.code


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    with pytest.raises(MarginSealError):
        parse_policy(data)


PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text()


def test_the_example_of_the_page_is_a_policy_and_every_member_is_explained() -> None:
    block = re.findall(r"```json\n(.*?)```", PAGE.split("## 6.")[1], re.DOTALL)[0]
    assert parse_policy(block.encode()).venue == "venue-a"
    words = set(re.findall(r"[a-z_]+", PAGE.split("## 6.")[1].split("```")[2]))
    assert set(policy_document()) - {"format"} <= words
