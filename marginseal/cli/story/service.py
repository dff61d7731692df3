"""A service for the demo: a folder, a free port, and the command `marginseal serve` in a process of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from marginseal.errors import InputError, ServiceError

if TYPE_CHECKING:
    from server.config import Config

START_S = 300.0  # either takes seconds, on a machine that has nothing else to do
STOP_S = 120.0
TRIES = 3  # a free port may be taken by another before we have it


def service_folder(root: Path, workers: int = 1) -> Path:
    """Configuration and development keys of a new service; the configuration file.

    scrypt is cheap here: these keys guard nothing and live as long as the demo."""
    from marginseal.records.keyfile import MIN_LOG_COST
    from server.config import load
    from server.main import first_run

    root.mkdir(parents=True, exist_ok=True)
    config = first_run(load(data_dir=root / "data"), lambda line: None, log_cost=MIN_LOG_COST)
    lines = ['data_dir = "data"', "[operators]"]
    lines += [f'{name} = "{public}"' for name, public in config.operators.items()]
    lines += [
        "[worker]",
        f"processes = {workers}",
        "[server]",
        "processes = 1",
        "threads = 8",
        f"port = {free_port()}",
    ]
    path = root / "service.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def free_port() -> int:
    """One that nobody had a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


@contextmanager
def serving(file: Path) -> Iterator[Config]:
    """`marginseal serve` as a process until the block ends; what it logs goes to service.log beside the file.

    ServiceError demo.service when it cannot be started."""
    from marginseal.cli.serve import service_config
    from server.web import check_address

    log = file.with_name("service.log")
    for _ in range(TRIES):
        config = service_config(None, file)
        try:
            check_address(config.server)
        except InputError:
            text = file.read_text()
            file.write_text(text.replace(f"port = {config.server.port}", f"port = {free_port()}"))
            config = service_config(None, file)
        with open(log, "ab") as out:
            before = out.tell()
            process = subprocess.Popen(
                [sys.executable, "-m", "marginseal.cli", "serve", "--config", str(file)],
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            if _serves(process, log, before):
                yield config
                return
        finally:
            _stop(process)
    raise ServiceError("demo.service", f"the service does not start: see {log}")


def _environment() -> dict[str, str]:
    """Ours, without what would change the service's configuration, and with our packages in reach."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARGINSEAL_")}
    packages = str(Path(__file__).resolve().parents[2])
    paths = [packages, *filter(None, [kept.get("PYTHONPATH")])]
    return kept | {"PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1"}


def _serves(process: subprocess.Popen[bytes], log: Path, before: int) -> bool:
    """Once it says so, after the first `before` bytes of its log; who else listens at the port says nothing there."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        if any(line.startswith(b"serving ") for line in log.read_bytes()[before:].splitlines()):
            return True
        time.sleep(0.05)
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL for one that does not mind it; its children end with it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
