"""A witness as a process of its own: C2SP tlog-witness over HTTPS, for the logs that its file names.

    POST /add-checkpoint               a checkpoint and its consistency proof; the cosignature, or why not
    GET /<origin hash>/checkpoint      the last checkpoint cosigned; origin hash: SHA-256 of the origin, hexadecimal
    GET /healthz

One folder holds it: `witness.toml`, its key encrypted at rest, a certificate, and `state`, a file for each log.  The
state is locked while it runs, so that no second process cosigns from it.  A folder that was put back from a backup
would let the witness contradict itself: a witness whose state is lost is retired, with its key.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from werkzeug.wrappers import Request, Response

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.files import parse_json, read_bytes
from marginseal.log.cosignature import Cosigner
from marginseal.log.note import KeyKind, VerifierKey, is_name
from marginseal.log.policy import LogPolicy
from marginseal.log.witness import Answer, WitnessOffice
from marginseal.log.witness_wire import MAX_REQUEST_BYTES
from marginseal.records.keyfile import read_signing_key
from marginseal.records.keys import Role, SigningKey
from server import logs
from server.body import RECEIVED
from server.config import ServerSection

_log = logging.getLogger("marginseal.witness")
FILE = "witness.toml"
KEY = "witness.key"
THREADS = 8
Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class WitnessedLog(BaseModel):
    """A log to follow: its verifier keys (more than one while it rotates), all named like its origin."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    keys: tuple[str, ...] = Field(min_length=1, max_length=8)

    @property
    def policy(self) -> LogPolicy:
        """DecodeError note.key; InputError log.policy."""
        keys = tuple(VerifierKey.parse(text) for text in self.keys)
        return LogPolicy(keys[0].name, keys)


class WitnessConfig(BaseModel):
    """`witness.toml`.  Relative paths are under the folder, which is the file's unless it says otherwise."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    name: str = Field(description="of its key: a schema-less address, as in witness.example/one")
    data_dir: Path
    key: Path = Path(KEY)
    passphrase_file: Path = Path("passphrase")
    server: ServerSection = ServerSection()
    logs: tuple[WitnessedLog, ...] = Field(min_length=1, max_length=1024)

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        if not is_name(value):
            raise ValueError("must be a name without spaces or '+'")
        return value

    def path(self, path: Path) -> Path:
        return path if path.is_absolute() else self.data_dir / path

    @property
    def state(self) -> Path:
        return self.data_dir / "state"

    @property
    def verifier(self) -> VerifierKey:
        """Its key, without unlocking it.  InputError file.*; DecodeError."""
        top = parse_json(read_bytes(self.path(self.key), limit=8192, what="key file"), what="key file")
        try:
            return VerifierKey(self.name, KeyKind.COSIGNATURE, bytes.fromhex(top["public"]))
        except (KeyError, TypeError, ValueError):
            raise DecodeError("key.file", "not a key file") from None


def load(folder: Path) -> WitnessConfig:
    """The configuration of a witness's folder.  InputError file.*, config.invalid, log.policy; DecodeError config.*"""
    try:
        members = tomllib.loads(read_bytes(folder / FILE, limit=2**20, what="witness configuration").decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        raise DecodeError("config.malformed", f"configuration: {folder / FILE} is not TOML") from None
    members["data_dir"] = folder / str(members.get("data_dir", "."))
    # One process: what a witness remembers has one writer.
    server = {"threads": THREADS, **members.get("server", {}), "processes": 1}
    try:
        config = WitnessConfig(**{**members, "server": server})
    except ValidationError as e:
        fault = e.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "configuration"
        raise InputError("config.invalid", f"configuration: {where}: {fault['msg']}") from None
    if len({log.policy.origin for log in config.logs}) != len(config.logs):
        raise InputError("config.invalid", "configuration: logs: an origin is named twice")
    return config


def unlock(config: WitnessConfig, passphrase: bytes | None = None) -> SigningKey:
    """The witness's key; the passphrase is that of the file unless it is given.  InputError file.*, key.*"""
    phrase = passphrase or read_bytes(config.path(config.passphrase_file), limit=4096, what="passphrase").strip()
    return read_signing_key(config.path(config.key), phrase, Role.WITNESS)


def hold_state(folder: Path) -> int:
    """The lock on the state, held until the process and its children end.  InputError witness.running."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as e:
        raise InputError("file.unwritable", f"cannot write {folder}: {e.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise InputError("witness.running", f"another witness uses {folder}") from None
    return lock


def make_office(config: WitnessConfig, key: SigningKey, **options: Any) -> WitnessOffice:
    cosigner = Cosigner(config.name, key.note_key())
    return WitnessOffice(cosigner, [log.policy for log in config.logs], config.state, **options)


def make_app(office: WitnessOffice, *, clock: Callable[[], float] = time.time) -> Wsgi:
    """The three resources over an office."""

    @Request.application
    def app(request: Request) -> Response:
        try:
            answer = _answer(office, request, clock)
        except MarginSealError as e:
            # What is remembered cannot be read or written: nothing is signed.
            _log.error("unavailable", extra={"code": e.code, "at": logs.where(e)})
            answer = Answer(503, b"witness.unavailable\n", code=e.code)
        except Exception as e:
            _log.error("unforeseen", extra={"code": "witness.internal", "at": logs.where(e)})
            answer = Answer(500, b"witness.internal\n")
        headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
        return Response(answer.body, status=answer.status, content_type=answer.media_type, headers=headers)

    return app


def _answer(office: WitnessOffice, request: Request, clock: Callable[[], float]) -> Answer:
    parts = request.path.strip("/").split("/")
    if parts == ["add-checkpoint"]:
        return _add_checkpoint(office, request, clock) if request.method == "POST" else Answer(405, b"method\n")
    if request.method not in ("GET", "HEAD"):
        return Answer(405, b"method\n")
    if parts == ["healthz"]:
        return Answer(200, b"ok\n")
    note = office.checkpoint(parts[0]) if len(parts) == 2 and parts[1] == "checkpoint" else None
    return Answer(404, b"unknown\n") if note is None else Answer(200, note)


def _add_checkpoint(office: WitnessOffice, request: Request, clock: Callable[[], float]) -> Answer:
    length = request.content_length
    if length is None or request.headers.get("Transfer-Encoding"):
        return Answer(411, b"body.length-required\n")
    if length > MAX_REQUEST_BYTES:
        return Answer(413, b"body.too-large\n")
    body = request.environ["wsgi.input"].read(length)
    request.environ.get(RECEIVED, lambda: None)()
    if len(body) != length:
        return Answer(400, b"body.truncated\n")
    answer = office.add_checkpoint(body, now=int(clock()))
    if answer.code in ("log.fork", "log.rollback", "log.backdated"):
        # The log's signature was good: whatever proof it offers for it later, this is worth a look.
        _log.error("not cosigned", extra={"code": answer.code, "status": answer.status})
    return answer


def serve(
    config: WitnessConfig,
    key: SigningKey,
    *,
    ready: Callable[[int], None] | None = None,
    persisted: Callable[[], None] = lambda: None,
) -> None:
    """In the foreground until SIGTERM.  `ready` is called with the port once it listens."""
    from server.web import Web

    logs.configure()
    lock = hold_state(config.state)
    office = make_office(config, key, persisted=persisted)
    try:
        Web(config, lambda: make_app(office), ready).run()
    finally:
        os.close(lock)
