"""What the README says, done: its library example as it stands, and every verb and page it names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.cli.conftest import Run

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_library_example_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    monkeypatch.chdir(desk)
    exec(compile(code, "README.md", "exec"), {})


@pytest.mark.parametrize("verb", sorted(set(re.findall(r"marginseal ([a-z]+)", README))))
def test_every_verb_it_names_exists(run: Run, verb: str) -> None:
    assert run(verb, "--help").status == 0


@pytest.mark.parametrize("page", sorted(set(re.findall(r"`(docs/[a-z/]+\.md|[A-Z]+\.md)`", README))))
def test_every_page_it_names_exists(page: str) -> None:
    assert (ROOT / page).is_file()
