"""The service's entry points, for the command line: first run, serve, work, run both, act as an operator.

    first_run(config, say)        what is missing is made (keys, passphrase, certificates, databases), and said
    serve(config)                 the HTTPS server, in the foreground until SIGTERM
    work(config)                  the prover workers, in the foreground until SIGTERM
    run(config)                   both, each in a process of its own, restarted when one dies
    office(config, operator)      what an operator does (office.Office)

Which process holds which secret: the server the log's key; a worker the prover's sealing keys and its attestation key;
neither an operator's or an account's.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import hmac
import logging
import multiprocessing
import os
import secrets
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from marginseal.errors import DecodeError, MarginSealError, PolicyError
from marginseal.files import parse_json, read_bytes, write_atomic
from marginseal.log.log import Log
from marginseal.log.note import KeyKind, Signer, VerifierKey
from marginseal.log.sql import SqlStorage, open_sqlite
from marginseal.records.keyfile import LOG_COST, read_signing_key, write_key
from marginseal.records.keys import PublicKey, Role, SigningKey
from marginseal.records.sealing import SealingKey
from server import logs, own_provers
from server.audit import Operator
from server.catalogue import Catalogue
from server.config import Config
from server.jobs import Clock, LeaseQueue, Limits, now_ms
from server.office import Office
from server.prover_keys import ProverKeys, SealingKeys
from server.public import LoggedRecords
from server.store import Store, check_version, database, migrate
from server.tidy import every
from server.worker import Point, Supervisor, Worker, nothing, stop_on_signals

_log = logging.getLogger("marginseal.service")
LOG_KEY = "log.key"
ATTESTATION_KEY = "attestation.key"
OPERATOR_KEY = "operator.key"
DEVELOPMENT_OPERATOR = "development"


# What every process opens for itself


def passphrase(config: Config) -> bytes:
    """The file's content without the final newline.  InputError file.*, key.passphrase."""
    return read_bytes(config.path(config.passphrase_file), limit=4096, what="passphrase").rstrip(b"\r\n")


def limits(config: Config) -> Limits:
    q = config.queue
    return Limits(q.lease_s, q.max_attempts, q.backoff_s, q.backoff_max_s, q.max_queued, q.max_queued_per_account)


def _signing_key(config: Config, name: str, role: Role) -> SigningKey:
    return read_signing_key(config.path(config.keys_dir) / name, passphrase(config), role)


def log_signer(config: Config, key: SigningKey) -> Signer:
    return Signer(config.log.origin, Ed25519PrivateKey.from_private_bytes(key.seed))


def public_half(config: Config, name: str) -> bytes:
    """The public key that a key file names, without unlocking it."""
    top = parse_json(read_bytes(config.path(config.keys_dir) / name, limit=8192, what="key file"), what="key file")
    try:
        return bytes.fromhex(top["public"])
    except (KeyError, TypeError, ValueError):
        raise DecodeError("key.file", "not a key file") from None


def open_log(config: Config, key: SigningKey | None) -> Log:
    """With the log's key for the server, which signs checkpoints and heads; without for workers, which append.

    Either finds the log behind or beside what was released, and lets it be: what a worker appended there would be
    gone when the log is put right, and its owner was told that it stands."""
    released, origin, former = config.path(config.log.released), config.log.origin, config.log.former_keys
    signer = None if key is None else log_signer(config, key)
    if signer is None:
        former = (VerifierKey(origin, KeyKind.ED25519, public_half(config, LOG_KEY)), *former)
    with contextlib.ExitStack() as held:  # until the log is made
        storage = _log_storage(config)
        held.callback(storage.close)
        log = Log(storage, origin=origin, signer=signer, released=released, former=former)
        held.pop_all()
    return log


def _log_storage(config: Config) -> SqlStorage:
    if config.database_url is None:
        return open_sqlite(config.log_path)
    storage = SqlStorage(database(sa.make_url(config.database_url)))
    storage.create_tables()
    return storage


def close_log(log: Log) -> None:
    """Before a fork: a connection that crosses one drops the locks of both sides when it is closed."""
    if isinstance(log.storage, SqlStorage):
        log.storage.close()


# First run


def first_run(config: Config, say: Callable[[str], None], *, log_cost: int = LOG_COST) -> Config:
    """Make what is missing, and say so; returns the configuration with the development operator, if one was made.

    Nothing that exists is changed.  What it makes is for development: keys whose passphrase lies beside them, and a
    certificate that nobody outside this machine trusts."""
    keys = config.path(config.keys_dir)
    for directory in (config.data_dir, keys):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    phrase_file = config.path(config.passphrase_file)
    if not phrase_file.exists():
        write_atomic(phrase_file, secrets.token_urlsafe(32).encode() + b"\n", private=True)
        say(f"DEVELOPMENT passphrase made: {phrase_file}")
    phrase = passphrase(config)
    for name, role in ((LOG_KEY, Role.LOG), (ATTESTATION_KEY, Role.PROVER), (OPERATOR_KEY, Role.OPERATOR)):
        if not (keys / name).exists() and not (role == Role.OPERATOR and config.operators):
            write_key(keys / name, SigningKey(role, secrets.token_bytes(32)), phrase, log_cost=log_cost)
            say(f"DEVELOPMENT {role} key made: {keys / name}")
    if not config.operators:
        operator = read_signing_key(keys / OPERATOR_KEY, phrase, Role.OPERATOR)
        config = config.model_copy(update={"operators": {DEVELOPMENT_OPERATOR: operator.public.raw.hex()}})
        say(f"DEVELOPMENT operator '{DEVELOPMENT_OPERATOR}', key {operator.public.raw.hex()}: name it in the file")
    certificate = config.path(config.server.certificate)
    if not certificate.exists():
        from server.tls import development_certificates

        ca = development_certificates(certificate.parent, datetime.datetime.now(datetime.UTC))
        say(f"DEVELOPMENT certificate for localhost made; clients trust it by {ca}")
    store = Store(config.store_url)
    migrate(store)
    log = open_log(config, read_signing_key(keys / LOG_KEY, phrase, Role.LOG))
    if not ProverKeys(store).accepted(now_ms()) and (keys / OPERATOR_KEY).exists():
        key = read_signing_key(keys / OPERATOR_KEY, phrase, Role.OPERATOR)
        name = next((n for n, public in config.operators.items() if public == key.public.raw.hex()), "")
        desk = _office(config, store, log, Operator(name, key), now_ms)
        desk.rotate_prover_key(keys, phrase, SealingKey(secrets.token_bytes(32)), grace_s=0, log_cost=log_cost)
        say("DEVELOPMENT sealing key of the prover made")
    close_log(log)
    store.close()
    return config


def _office(config: Config, store: Store, log: Log, operator: Operator, clock: Clock) -> Office:
    queue, delay = LeaseQueue(store, limits(config), clock), config.log.manifest_delay_s
    return Office(store, log, queue, config.operators, operator, manifest_delay_s=delay, clock=clock)


@contextmanager
def office(config: Config, operator: Operator, *, clock: Clock = now_ms) -> Iterator[Office]:
    """What `operator` may do here.  PolicyError operator.unknown."""
    with contextlib.closing(Store(config.store_url)) as store:
        check_version(store)
        log = open_log(config, None)
        try:
            yield _office(config, store, log, operator, clock)
        finally:
            close_log(log)


# Serve


def serve(config: Config, *, ready: Callable[[int], None] | None = None) -> None:
    """The HTTPS server until SIGTERM.  `ready` is called with the port once it listens."""
    from server.metrics import share_between_processes

    share_between_processes(config.data_dir / "metrics")
    from server.assemble import make_app
    from server.harden import protect_memory
    from server.web import Web

    logs.configure()
    protect_memory(lock=False)  # the master unlocks the log's key and keeps it, as its processes do
    with contextlib.closing(Store(config.store_url)) as store:
        check_version(store)
    key = _signing_key(config, LOG_KEY, Role.LOG)  # unlocked once, before the fork
    attestation_key = public_half(config, ATTESTATION_KEY)
    Web(config, lambda: make_app(config, key, attestation_key), ready).run()


# Work


@dataclass(frozen=True)
class WorkerKeys:
    """What a worker signs with, and what it opens submissions with."""

    signer: SigningKey
    sealing: SealingKeys


def unlock_worker_keys(config: Config) -> WorkerKeys:
    """InputError file.*, key.*"""
    sealing = SealingKeys(config.path(config.keys_dir), passphrase(config))
    return WorkerKeys(_signing_key(config, ATTESTATION_KEY, Role.PROVER), sealing)


def make_worker(
    config: Config, keys: WorkerKeys, name: str, *, at: Callable[[Point], None] = nothing, clock: Clock = now_ms
) -> Worker:
    """A worker with its own connections, in the process that calls; `close` gives them back."""
    from prover.attest import Attestor, Circuits
    from prover.prove import Secrets
    from server.place import Place
    from server.proved import Proved
    from server.proving import Proving
    from verifier.verify import Setting

    blinding = hmac.new(keys.signer.seed, b"MARGINSEAL-V1-BLINDING-SECRET", hashlib.sha256).digest()
    setting, circuits = Setting.default(), Circuits()
    attestor = Attestor(keys.signer, Secrets(blinding), setting, circuits, config.worker.threads)
    held = contextlib.ExitStack()
    store = held.enter_context(contextlib.closing(Store(config.store_url)))
    with held:  # until the worker is made
        check_version(store)
        log = open_log(config, None)
        held.callback(close_log, log)
        delay_s = config.log.manifest_delay_s
        public = LoggedRecords(store, log, Catalogue(store, log), clock, manifest_delay_s=delay_s)
        place = Place(public, log, config.log.epoch_lag_s)
        proved = Proved(lambda account: own_provers_of(store, account), public, place, circuits, setting)
        task = Proving(attestor, keys.sealing, public, place, proved)
        queue = LeaseQueue(store, limits(config), clock)
        release = held.pop_all().close
    return Worker(queue, task, name=name, beat_s=config.queue.lease_s / 3, at=at, release=release)


def own_provers_of(store: Store, account: str) -> list[PublicKey]:
    """Under which keys an account's own attestations are taken."""
    with store.read() as c:
        return own_provers.keys_of(c, account)


def _worker_process(config: Config, name: str, parent: int) -> None:
    """What a worker process runs.  Errors are told by code and place: a message could quote a job."""
    from server.harden import end_with_parent, protect_memory

    logs.configure()
    try:
        protect_memory(lock=config.worker.lock_memory)
        os.nice(config.worker.niceness)  # who asks how far his job is should not wait for the proofs of others
        with contextlib.closing(make_worker(config, unlock_worker_keys(config), name)) as worker:
            stop_on_signals(worker.stop)
            end_with_parent(parent)
            worker.run()
    except Exception as e:
        code = e.code if isinstance(e, MarginSealError) else "worker.failed"
        _log.critical("worker stopped", extra={"code": code, "at": logs.where(e), "worker": name})
        sys.exit(1)


def start_worker(config: Config, name: str) -> BaseProcess:
    """A worker in a process of its own: spawned, so that it inherits no memory of ours."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_worker_process, args=(config, name, os.getpid()), name=f"prover-{name}")
    process.start()
    return process


def work(config: Config) -> None:
    """Keep the configured number of workers alive until SIGTERM, and tidy the tables."""
    logs.configure()
    # Each worker proves with as many threads as it is given, and leaves the other cores to the other workers.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(config.worker.threads))
    with contextlib.closing(Store(config.store_url)) as store:
        check_version(store)
        queue = LeaseQueue(store, limits(config))
        supervisor = Supervisor(lambda name: start_worker(config, name), queue, config.worker.processes)
        stop_on_signals(supervisor.stop)
        _log.info("working", extra={"count": config.worker.processes, "pid": os.getpid()})
        supervisor.run(each_second=every(60, store, now_ms, config.queue.keep_days))


# Both


def _part(config: Config, which: str, parent: int) -> None:
    from server.harden import end_with_parent

    end_with_parent(parent)
    try:
        if which == "work":
            work(config)
        else:
            serve(config, ready=lambda _port: print(f"serving {config.public_url}; stop with SIGTERM", flush=True))
    except MarginSealError as e:
        logs.configure()
        _log.critical("stopped", extra={"code": e.code, "at": which})
        sys.exit(e.exit_status)


def run(config: Config) -> None:
    """Server and workers until SIGTERM; one that dies is started again.  InputError serve.address."""
    from server.harden import protect_memory
    from server.web import check_address

    logs.configure()
    protect_memory(lock=False)  # whoever calls may have made or read keys before
    check_address(config.server)
    context = multiprocessing.get_context("spawn")
    stopping = False

    def start(which: str) -> BaseProcess:
        process = context.Process(target=_part, args=(config, which, os.getpid()), name=which)
        process.start()
        return process

    def stop() -> None:
        nonlocal stopping
        stopping = True
        for process in parts.values():
            if process.pid is not None and process.is_alive():
                os.kill(process.pid, signal.SIGTERM)

    parts: dict[str, BaseProcess] = {}
    stop_on_signals(stop)
    for which in ("serve", "work"):
        parts[which] = start(which)
    while not stopping:
        for which, process in list(parts.items()):
            process.join(0.5)
            if not process.is_alive() and not stopping:
                _log.error("restarting", extra={"at": which, "status": process.exitcode or 0})
                parts[which] = start(which)
    stop()  # also one that was being started when the signal came
    for process in parts.values():
        process.join()


def read_operator(path: Path, phrase: bytes, config: Config) -> Operator:
    """The operator whose key the file holds.  InputError file.*, key.*; PolicyError operator.unknown."""
    key = read_signing_key(path, phrase, Role.OPERATOR)
    for name, public in config.operators.items():
        if public == key.public.raw.hex():
            return Operator(name, key)
    raise PolicyError("operator.unknown", "the configuration does not name this key")
