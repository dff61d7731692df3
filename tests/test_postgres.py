"""The tests' own PostgreSQL: it ends with whoever started it, and says why it does not start."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests import postgres
from tests.postgres import Cluster, cluster, programs

ROOT = Path(__file__).parents[1]


@pytest.fixture
def bin(postgresql: Cluster) -> Path:
    """Of a server that starts here."""
    found = programs()
    assert found is not None
    return found


def test_it_dies_with_a_test_run_that_is_killed(bin: Path) -> None:
    code = """
import sys, time
from pathlib import Path
from tests.postgres import cluster
with cluster(Path(sys.argv[1])) as one:
    pid = (one.folder / "data" / "postmaster.pid").read_text().split()[0]
    print(one.folder, pid, flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", code, str(bin)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        folder, pid = run.stdout.readline().split()
        os.kill(int(pid), 0)
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 60
    while Path(folder).exists() or Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_server_that_does_not_start_says_why(bin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In its own words, and nothing is left behind."""
    with tempfile.TemporaryDirectory() as short:
        place = Path(short) / ("x" * 100)  # a socket's name has 107 bytes at most
        place.mkdir()
        Path(short).chmod(0o755)
        monkeypatch.setattr(tempfile, "tempdir", str(place))
        with pytest.raises(RuntimeError, match=r"does not start.*(?s:.*)too long"), cluster(bin):
            pass
        assert list(place.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="about root alone, who runs the server as another user")
def test_programs_in_a_private_folder_serve_as_well(bin: Path, tmp_path: Path) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = bin.parents[1]
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, private / part.name)
    with cluster(private / bin.relative_to(package.parent)) as one:
        assert one.bin.is_relative_to(one.folder)
        folders = {place for place in one.folder.rglob("*") if place.is_dir()}
        assert {place.stat().st_uid for place in folders} == {one.folder.stat().st_uid}  # who may remove them
        postgres.execute(one.url(), "SELECT 1")
