"""Witnesses as processes, a service that asks them, and a venue that wants k of n: honest, silent, killed, forked."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from marginseal.cli import init
from marginseal.cli.desk import Desk
from marginseal.cli.remote import Card, connected, read_card
from marginseal.cli.story.service import service_folder, serving
from marginseal.cli.venue import desk_policy
from marginseal.cli.witness import make_witness
from marginseal.errors import InputError, PolicyError, ProofRejected, ServiceError
from marginseal.files import write_atomic
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.log import Log
from marginseal.log.note import KeyKind, Signer, VerifierKey
from marginseal.log.policy import LogPolicy
from marginseal.log.witness_wire import SIZE_TYPE, AddCheckpoint
from marginseal.market.epoch import encode
from marginseal.market.example import SOURCES, example_market
from marginseal.records.keyfile import MIN_LOG_COST, read_signing_key
from marginseal.records.keys import Role
from server.cosigning import CosignedLog, RemoteWitness
from server.main import LOG_KEY, passphrase, public_half
from server.witness import hold_state
from tests.cli.conftest import Run
from tests.log.support import ORIGIN, SIGNER, attestation, key, open_log

ROOT = Path(__file__).resolve().parents[2]
RULE = "worst_case"
PATIENCE_S = 120.0  # for what happens at once on an idle machine, and has to happen on any


def reserved() -> socket.socket:
    """A port of this machine that nobody else is given while it is open, and that who names it can listen at."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held


@dataclass
class Witness:
    """A witness's folder, and its process while it runs."""

    folder: Path
    name: str
    logs: list[str]
    held: socket.socket = field(default_factory=reserved)
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        make_witness(self.folder, self.name, self.logs, host="127.0.0.1", port=self.port, log_cost=MIN_LOG_COST)

    @property
    def port(self) -> int:
        return int(self.held.getsockname()[1])

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "ca.pem"

    @property
    def key(self) -> VerifierKey:
        from server.witness import load

        return load(self.folder).verifier

    def remote(self, **options: Any) -> RemoteWitness:
        return RemoteWitness(self.url, self.key, ca=self.ca, **{"timeout_s": PATIENCE_S, **options})

    def start(self, code: str | None = None) -> None:
        """`marginseal witness serve`, or a program of the test's own."""
        command = ["-m", "marginseal.cli", "witness", "serve", str(self.folder)]
        if code is not None:
            script = self.folder / "program.py"
            script.write_text(code)
            command = [str(script), str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with open(self.folder / "said", "ab") as out:
            self.process = subprocess.Popen([sys.executable, *command], env=environment, stdout=out, stderr=out)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "said").read_text()
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("the witness does not listen")

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(PATIENCE_S)
            self.wait_until_free()
        self.process = None

    def close(self) -> None:
        self.stop(signal.SIGKILL)
        self.held.close()

    def wait_until_free(self) -> None:
        """Workers end with their master, a moment later."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                os.close(hold_state(self.folder / "state"))
                return
            except InputError:
                time.sleep(0.05)
        raise AssertionError("the witness's state stays locked")

    def post(self, body: bytes) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False
            return session.post(f"{self.url}/add-checkpoint", data=body, verify=str(self.ca), timeout=PATIENCE_S)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    one = Witness(tmp_path / "witness", "witness.example/one", [str(SIGNER.key)])
    yield one
    one.close()


def some_log(folder: Path, count: int = 5) -> Log:
    log = open_log(folder, released=False)
    log.append_many([attestation(f"fund-{i}", 1) for i in range(count)], now=100)
    return log


def of_one(witness: Witness) -> LogPolicy:
    return LogPolicy(ORIGIN, (SIGNER.key,), (witness.key,), 1)


# One witness


def test_a_witness_over_https(witness: Witness, tmp_path: Path) -> None:
    log, remote = some_log(tmp_path / "log"), witness.remote()
    with pytest.raises(ServiceError, match=r"witness\.unreachable"):
        remote.cosign(log.checkpoint(now=100), log.consistency)
    witness.start()
    for i in range(3):
        note = remote.cosign(log.checkpoint(now=100 + i), log.consistency)
        assert of_one(witness).verify(note).cosigned[0][0] == witness.name
        assert of_one(witness).verify(log.add_cosignatures(note, of_one(witness)))
        log.append(attestation("more", i + 1), now=100 + i)
    # One who does not know where the witness stands is told, and one who is behind gets nothing.
    assert of_one(witness).verify(witness.remote().cosign(log.checkpoint(now=110), log.consistency))
    behind = some_log(tmp_path / "behind")
    with pytest.raises(PolicyError, match=r"witness\.ahead"):
        witness.remote().cosign(behind.checkpoint(now=100), behind.consistency)

    told = witness.post(AddCheckpoint(3, (), log.checkpoint(now=110)).encode())
    assert (told.status_code, told.headers["Content-Type"], told.content) == (409, SIZE_TYPE, b"8\n")
    assert witness.post(b"nothing").status_code == 400
    assert witness.post(bytes(2**16 + 1)).status_code == 413
    with requests.Session() as session:
        session.verify, session.trust_env = str(witness.ca), False
        name = hashlib.sha256(ORIGIN.encode()).hexdigest()
        last = session.get(f"{witness.url}/{name}/checkpoint", timeout=PATIENCE_S)
        assert of_one(witness).verify(last.content).checkpoint.size == 8
        assert session.get(f"{witness.url}/{'0' * 64}/checkpoint", timeout=PATIENCE_S).status_code == 404
        assert session.get(f"{witness.url}/healthz", timeout=PATIENCE_S).text == "ok\n"
        assert session.get(f"{witness.url}/add-checkpoint", timeout=PATIENCE_S).status_code == 405
        assert session.post(f"{witness.url}/healthz", timeout=PATIENCE_S).status_code == 405


def test_a_fork_is_refused_and_the_refusal_survives_the_witness(witness: Witness, tmp_path: Path) -> None:
    """The same log key over two stores: whichever the witness has seen first it stays with, also after a restart."""
    left, right = some_log(tmp_path / "left"), some_log(tmp_path / "right", 4)
    right.append(attestation("other", 1), now=100)
    witness.start()
    witness.remote().cosign(left.checkpoint(now=101), left.consistency)
    with pytest.raises(ProofRejected, match=r"witness\.refused"):
        witness.remote().cosign(right.checkpoint(now=101), right.consistency)
    right.append(attestation("other", 2), now=102)
    forked = AddCheckpoint(5, tuple(right.consistency(5, 6)), right.checkpoint(now=102)).encode()
    assert witness.post(forked).status_code == 422
    witness.stop(signal.SIGKILL)
    witness.start()
    assert witness.post(forked).status_code == 422
    assert witness.remote().cosign(left.checkpoint(now=103), left.consistency)
    said = (witness.folder / "said").read_text()
    assert '"code": "log.fork"' in said
    assert "Traceback" not in said


KILLED = """
import os, signal, sys
from pathlib import Path
from server.witness import load, serve, unlock

config = load(Path(sys.argv[1]))
serve(config, unlock(config), persisted=lambda: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_killed_between_remembering_and_answering_it_does_not_contradict_itself(
    witness: Witness, tmp_path: Path
) -> None:
    left, right = some_log(tmp_path / "left"), some_log(tmp_path / "right", 4)
    right.append(attestation("other", 1), now=100)
    witness.start(KILLED)
    with pytest.raises(ServiceError, match=r"witness\.unreachable"):  # and asked again, killed again
        witness.remote().cosign(left.checkpoint(now=101), left.consistency)
    witness.stop(signal.SIGKILL)
    witness.start()
    # It said nothing, and remembers the tree for which it was about to: the other one is refused.
    assert witness.post(AddCheckpoint(0, (), right.checkpoint(now=101)).encode()).content == b"5\n"
    with pytest.raises(ProofRejected, match=r"witness\.refused"):
        witness.remote().cosign(right.checkpoint(now=101), right.consistency)
    assert of_one(witness).verify(witness.remote().cosign(left.checkpoint(now=102), left.consistency))


def test_one_process_has_the_state(witness: Witness, run: Run) -> None:
    witness.start()
    told = run("witness", "serve", witness.folder)
    assert (told.status, told.err.strip().endswith("[witness.running]")) == (3, True)


def test_making_and_refusing_to_make_one(run: Run, tmp_path: Path) -> None:
    made = json.loads(
        run("witness", "init", tmp_path / "w", "--name", "w.example/1", "--log", SIGNER.key, "--json").out
    )
    assert run("witness", "key", tmp_path / "w").out.strip() == made["key"]
    assert VerifierKey.parse(made["key"]).name == "w.example/1"
    for path in (tmp_path / "w" / "witness.key", tmp_path / "w" / "passphrase"):
        assert path.stat().st_mode & 0o777 == 0o600

    def refused(folder: Path, *options: object) -> str:
        told = run("witness", "init", folder, *options)
        assert told.status in (3, 4)
        assert "Traceback" not in told.err
        return told.err.rsplit("[", 1)[1].split("]")[0]

    new = tmp_path / "new"
    assert refused(tmp_path / "w", "--name", "w.example/1", "--log", SIGNER.key) == "init.not-empty"
    assert refused(new, "--name", "two words", "--log", SIGNER.key) == "witness.name"
    assert refused(new, "--name", "w.example/1", "--log", "no key") == "note.key"
    assert refused(new, "--name", "w.example/1", "--log", made["key"]) == "log.policy"
    assert not new.exists()
    (tmp_path / "w" / "passphrase").write_text("another one")
    assert "[key.unlock]" in run("witness", "serve", tmp_path / "w").err
    (tmp_path / "w" / "witness.toml").write_text('name = "w"\nlogs = [{keys = ["x"]}]\nwhat = 1\n')
    assert "[config.invalid]" in run("witness", "serve", tmp_path / "w").err


# The log's side, without a service


class Silent:
    """Takes connections and says nothing, until the end, when it hangs up and who asked is waited for."""

    def __init__(self) -> None:
        self.taken: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._take)

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.taken.append(self._listener.accept()[0])

    def wait_until_asked(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.taken:
            assert time.monotonic() < deadline, "nobody asks"
            time.sleep(0.01)

    def __enter__(self) -> Silent:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.taken:
            connection.close()
        for thread in threading.enumerate():
            if thread.name == "witness":
                thread.join()


STRANGER = VerifierKey("silent.example/one", KeyKind.COSIGNATURE, key("silent").public_key().public_bytes_raw())


def test_a_silent_witness_is_asked_once_and_then_rests(witness: Witness, tmp_path: Path) -> None:
    witness.start()
    log = some_log(tmp_path / "log")
    with Silent() as silent:
        remotes = [RemoteWitness(silent.url, STRANGER, timeout_s=1.0), witness.remote()]
        cosigned = CosignedLog(log, SIGNER.key, remotes, wait_s=PATIENCE_S, rest_s=3600.0)
        policy = LogPolicy(ORIGIN, (SIGNER.key,), (STRANGER, witness.key), 1)
        for i in range(3):
            note = cosigned.checkpoint(now=200 + i, max_age_s=0)
            assert policy.verify(note).cosigned[0][0] == witness.name
            receipt, _ = cosigned.newest("fund-1", now=200 + i, max_age_s=60)
            assert b"witness.example/one" in receipt
        assert len(silent.taken) == 1


def test_a_silent_witness_is_waited_for_no_longer_than_said(tmp_path: Path) -> None:
    """The log goes on while the witness is still being asked, and does not ask it again meanwhile."""
    log = some_log(tmp_path / "log")
    with Silent() as silent:
        remote = RemoteWitness(silent.url, STRANGER, timeout_s=PATIENCE_S)
        cosigned = CosignedLog(log, SIGNER.key, [remote], wait_s=0.2, rest_s=0.0)
        for i in range(3):
            note = cosigned.checkpoint(now=200 + i, max_age_s=0)
            assert LogPolicy(ORIGIN, (SIGNER.key,)).verify(note).checkpoint.time == 200 + i
            assert [thread.name for thread in threading.enumerate()].count("witness") == 1
        silent.wait_until_asked()
    assert len(silent.taken) == 1


def test_a_witness_whose_clock_is_wrong_spoils_no_checkpoint(
    witness: Witness, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    witness.start()
    log = some_log(tmp_path / "log")
    cosigned = CosignedLog(log, SIGNER.key, [witness.remote()], wait_s=PATIENCE_S, clock=lambda: time.time() - 1000)
    with pytest.raises(PolicyError, match=r"log\.witnesses"):
        of_one(witness).verify(cosigned.checkpoint(now=200, max_age_s=0))
    assert [vars(record)["code"] for record in caplog.records] == ["witness.clock"]
    cosigned = CosignedLog(log, SIGNER.key, [witness.remote()], wait_s=PATIENCE_S)
    assert of_one(witness).verify(cosigned.checkpoint(now=200, max_age_s=0))


# A service, two witnesses of which one is down, and a venue that wants one of two


@dataclass
class Place:
    root: Path
    desk: Desk
    service: Path
    witnesses: list[Witness]

    @property
    def card(self) -> Card:
        return read_card(self.desk.root / "service.json")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    from server.config import load

    root = tmp_path_factory.mktemp("witnessed")
    at = int(time.time()) - 60
    desk = Desk(root / "desk")
    init.make_desk(desk, "fund-1", at=at)
    write_atomic(desk.epoch_file, encode(example_market(at).epoch))
    file = service_folder(root / "service")
    config = load(file)
    log_key = read_signing_key(config.path(config.keys_dir) / LOG_KEY, passphrase(config), Role.LOG)
    signer = Signer(config.log.origin, log_key.note_key())
    assert signer.key.public == public_half(config, LOG_KEY)
    witnesses = [Witness(root / f"w{i}", f"witness-{i}.example", [str(signer.key)]) for i in range(2)]
    # One that is down refuses at once; one that is up has as long as a configuration may give it.
    lines = ["[log]", "checkpoint_age_s = 1", "witness_rest_s = 1", "witness_wait_s = 10"]
    for w in witnesses:
        lines += ["[[log.witnesses]]", f'url = "{w.url}"', f'key = "{w.key}"', f'ca = "{w.ca}"']
    file.write_text(file.read_text() + "\n".join(lines) + "\n")
    yield Place(root, desk, file, witnesses)
    for w in witnesses:
        w.close()


@contextmanager
def running(place: Place) -> Iterator[Callable[..., Any]]:
    from marginseal.cli.main import app

    with serving(place.service) as config:
        root = place.desk.root
        app(
            ["office", "card", "--config", str(place.service), "--out", str(root / "service.json")],
            standalone_mode=False,
        )
        yield lambda *step: app([*map(str, step)], standalone_mode=False)
        assert config


def policy_of(place: Place, threshold: int) -> Path:
    body = json.loads(desk_policy(place.desk, place.card, "venue-a"))
    log = body["log"] | {"witnesses": [str(w.key) for w in place.witnesses], "threshold": threshold}
    path = place.root / f"policy-{threshold}.json"
    path.write_text(json.dumps(body | {"log": log}))
    return path


def test_a_venue_asks_for_one_of_two_witnesses(run: Run, place: Place, tmp_path: Path) -> None:
    desk, data = place.desk.root, place.service.parent / "data"

    def decide(threshold: int) -> tuple[int, Any]:
        told = run(
            "venue", "decide", "--policy", policy_of(place, threshold), "--account", "fund-1", "--memory",
            place.root / f"seen-{threshold}", "--json", cwd=desk,
        )  # fmt: skip
        return told.status, json.loads(told.out) if told.out else json.loads(told.err)["error"]["code"]

    up, down = place.witnesses
    with running(place) as step:
        step("office", "admit", desk, "--config", place.service)
    earlier = shutil.copytree(data, place.root / "earlier")  # a log as it was, from which another one can grow

    up.start()
    with running(place) as step:
        for source in SOURCES:
            step("source", "sign", source, "--desk", desk)
        step("submit", "--rule", RULE, "--desk", desk)
        status, verdict = decide(1)
        assert (status, verdict["accepted"]) == (0, True), verdict
        assert verdict["facts"]["log"]["witnesses"] == [up.name]
        assert decide(2) == (8, "log.witnesses")
        assert decide(0)[0] == 0
        down.start()
        time.sleep(1.2)  # it rested
        status, verdict = decide(2)
        assert (status, verdict["facts"]["log"]["witnesses"]) == (0, [w.name for w in place.witnesses])
        with connected(place.card) as client:
            assert Checkpoint.of(client.checkpoint()).size >= verdict["facts"]["log"]["size"]
        down.stop()

        # Killed and started again, it goes on where it was.
        up.stop(signal.SIGKILL)
        assert decide(1)[0] in (0, 8)
        up.start()
        time.sleep(1.2)
        assert decide(1)[0] == 0

    # The operator puts an older log back, with its memory of what was released, and lets another history grow.
    shutil.rmtree(data)
    shutil.copytree(earlier, data)
    attestations = desk / "attestations"
    shutil.rmtree(attestations)
    shutil.rmtree(desk / "account" / "schedules")
    shutil.rmtree(desk / "statements")
    with running(place) as step:
        for source in SOURCES:
            step("source", "sign", source, "--desk", desk, "--cut", "another")
        step("submit", "--rule", RULE, "--desk", desk)
        assert decide(0) == (7, "log.fork")  # who has been here before sees it himself
        (place.root / "seen-0").unlink()
        status, verdict = decide(0)  # and so does who remembers what it accepted
        assert (status, [r["code"] for r in verdict["reasons"]]) == (8, ["decide.accepted"])
        (place.root / "seen-0").unlink()
        (place.root / "seen-0.accepted").unlink()
        assert decide(0)[0] == 0  # a newcomer takes the log's word alone,
        (place.root / "seen-1").unlink()
        assert decide(1) == (8, "log.witnesses")  # or asks for a witness
        time.sleep(1.2)
        assert decide(1) == (8, "log.witnesses")
    assert "witness.refused" in (place.service.parent / "service.log").read_text()
