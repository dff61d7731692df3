"""A desk made once, and the command run in this process: exit status, output, errors."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from marginseal.cli.main import main


class Ran(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """marginseal(*arguments) in a folder."""

    def call(*arguments: object, cwd: Path | None = None) -> Ran:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setattr("sys.argv", ["marginseal", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        code = stop.value.code
        assert code is None or isinstance(code, int)
        return Ran(code or 0, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def finished_desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A desk with its epoch, statements of three sources, and one attestation."""
    from marginseal.cli import commit, init, prove
    from marginseal.cli.desk import Desk
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode
    from marginseal.market.example import SOURCES, example_market

    desk = Desk(tmp_path_factory.mktemp("cli") / "desk")
    init.make_desk(desk, "fund-1")
    write_atomic(desk.epoch_file, encode(example_market().epoch))
    for source in SOURCES:
        commit.publish(desk, source, desk.root / "holdings" / f"{source}.csv")
    prove.attest_desk(desk, ["worst_case"], "initial")
    return desk.root


@pytest.fixture
def desk(finished_desk: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(finished_desk, tmp_path / "desk"))
