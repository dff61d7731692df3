"""Imports point one way: {algebra, market, records, log} <- circuits <- verifier <- prover <- server <- {api, cli}."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BASE = ("marginseal.errors", "marginseal.files")
SHARED = ("marginseal.transcript", "marginseal.algebra", "marginseal.market", "marginseal.records", "marginseal.log")
ORDER = [SHARED, ("circuits",), ("verifier",), ("prover",), ("server",), ("marginseal.api", "marginseal.cli")]
CURVE_LIBRARIES = {"py_ecc", "py_arkworks_bls12381"}


def modules() -> dict[str, Path]:
    found = {}
    for package in ("marginseal", "circuits", "verifier", "prover", "server"):
        for path in (ROOT / package).rglob("*.py"):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(path: Path) -> set[str]:
    out = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are explicit"
            out.add(node.module or "")
    return out


def rank(name: str) -> int | None:
    if name.startswith(BASE) or name == "marginseal":
        return -1
    for i, names in enumerate(ORDER):
        if any(name == n or name.startswith(n + ".") for n in names):
            return i
    return None


@pytest.mark.parametrize("name", sorted(modules()))
def test_arrows_point_one_way(name: str) -> None:
    here = rank(name)
    assert here is not None, f"{name} has no room in the house"
    for target in imports(modules()[name]):
        there = rank(target)
        if there is None:
            continue
        assert there <= here, f"{name} imports {target}"


@pytest.mark.parametrize("name", sorted(modules()))
def test_only_the_curve_modules_import_curve_libraries(name: str) -> None:
    used = {target.split(".")[0] for target in imports(modules()[name])} & CURVE_LIBRARIES
    assert not used or name.startswith("marginseal.algebra.curve"), f"{name} imports {used}"


def test_the_base_imports_nothing_of_the_project() -> None:
    for name in BASE:
        assert {rank(target) for target in imports(modules()[name])} <= {None, -1}, name


def test_the_package_imports_nothing_eagerly() -> None:
    code = "import sys, marginseal; print(sorted(m for m in sys.modules if m in ('numpy', 'flask', 'numba')))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_the_verifier_is_usable_alone() -> None:
    """verify.py and all it reaches import neither numba, Flask nor a database."""
    code = (
        "import sys\n"
        "for name in ('numba', 'flask', 'sqlalchemy', 'prover', 'server'): sys.modules[name] = None\n"
        "import verifier.verify, verifier.batch\n"
        "print('alone')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.strip() == "alone", run.stderr
