"""A service on loopback and the parties around it, for the tests of the server.

A small universe and epoch that are current today, three sources, two venues, and any number of accounts, each with a
healthy book by default.  `Site` is a directory with everything a service needs, made by the service's own first run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from circuits.compile import Compiled, compile_rule
from marginseal.algebra.commit import CommitmentKey, commitment_key
from marginseal.algebra.srs import ceremony
from marginseal.log.note import VerifierKey
from marginseal.log.policy import LogPolicy
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.market.universe import Universe
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import RuleRef, sign_statement
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keyfile import MIN_LOG_COST
from marginseal.records.keys import Role, SigningKey
from marginseal.records.manifest import FIRST, Manifest
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeSchedule, draw_schedule
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey, SealingPublicKey
from marginseal.records.source import BookTerms, PublishedStatement, SourceStatement, make_statements, open_statement
from marginseal.records.statement import NO_PREDECESSOR, Claim, Continuity, Kind, SourceEntry, Statement, Tier
from marginseal.records.submission import NONCE_BYTES, SourceOpening, Submission, seal_submission
from marginseal.records.tiles import Tile, tiles_of
from server.accept import Situation, accept
from server.assemble import read_header
from server.audit import Operator
from server.client import Client
from server.config import Config, load
from server.jobs import LeaseQueue, now_ms
from server.main import (
    OPERATOR_KEY,
    first_run,
    limits,
    make_worker,
    office,
    passphrase,
    read_operator,
    unlock_worker_keys,
)
from server.office import Office
from server.prover_keys import ProverKeys
from server.signatures import Caller
from server.store import Store
from server.wire import encode_body
from tests.market.markets import one_of_each
from tests.server.patience import PATIENCE_S, hold_port, until

ROOT = Path(__file__).resolve().parents[2]
VENUES = ("venue-a", "venue-b")
SOURCES = ("custodian", "venue-a", "venue-b")
RULE = "worst_case"
C = TypeVar("C", bound=Client)


def seed(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def key(role: Role, name: str) -> SigningKey:
    return SigningKey(role, seed(f"{role} {name}"))


RISK = key(Role.OPERATOR, "risk")
SOURCE_KEYS = {source: key(Role.SOURCE, source) for source in SOURCES}
VENUE_KEYS = {venue: key(Role.VENUE, venue) for venue in VENUES}
UNIVERSE: Universe = one_of_each()


@cache
def epoch(name: str = "epoch-1") -> RiskEpoch:
    """Six scenarios; cash is worth a tick a lot, everything else moves."""
    rng = np.random.default_rng(7)
    pnl = rng.integers(-40, 40, (6, len(UNIVERSE)))
    pnl[0] = 0
    pnl[:, 0] = 0
    now = int(time.time())
    return epoch_from_arrays(
        pnl,
        value=np.array([1] + [0] * (len(UNIVERSE) - 1)),
        max_lots=np.array([i.max_lots for i in UNIVERSE.instruments]),
        universe_digest=UNIVERSE.digest,
        instrument_ids=UNIVERSE.ids,
        name=name,
        operator="risk",
        time=now - 60,
        expires=now + 3 * 86_400,
        currency="USD",
        tick="0.01",
    )


@cache
def compiled(name: str = "epoch-1", tier: Tier = Tier.INITIAL) -> Compiled:
    return compile_rule(RULE, epoch(name), tier, venues=len(VENUES))


@cache
def commitment() -> CommitmentKey:
    return commitment_key(compiled().circuit.n, ceremony())


@cache
def tiles() -> tuple[Tile, ...]:
    return tiles_of(UNIVERSE, compiled().circuit.n)


SOURCE_REGISTRY = sign(
    SourceRegistry("risk", 1, int(time.time()), tuple(RegisteredSource(s, SOURCE_KEYS[s].public) for s in SOURCES)),
    [RISK],
)
VENUES_RECORD = VenueRegistry(
    "risk", 1, int(time.time()), tuple(RegisteredVenue(v, VENUE_KEYS[v].public) for v in VENUES)
)
VENUE_REGISTRY = sign(VENUES_RECORD, [RISK])

LOTS = {
    "custodian": [100_000, 0, 3, -2, 0, 0, 0, 0, 0, 0],
    "venue-a": [0, 0, 0, 0, 10, -4, 0, 0, 7, 0],
    "venue-b": [-100, 0, 0, 0, 0, 0, -3, 1, 0, -9],
}
UNHEALTHY = {**LOTS, "custodian": [-90_000, 0, 3, -2, 0, 0, 0, 0, 0, 0]}


@dataclass
class Account:
    """An institution: its keys, its books, and where its chain stands."""

    name: str
    key: SigningKey
    sealing: SealingKey
    response: SealingKey
    manifest: Envelope
    sequence: int = 0
    prev: bytes = NO_PREDECESSOR
    schedule: PledgeSchedule | None = None
    books: dict[str, str] = field(default_factory=dict)

    @classmethod
    def new(cls, name: str) -> Account:
        owner = key(Role.ACCOUNT, name)
        books = {source: seed(f"{name} {source}").hex()[:32] for source in SOURCES}
        manifest = Manifest(
            name, 1, FIRST, int(time.time()) - 600, (owner.public,), tuple((s, books[s]) for s in sorted(books))
        )
        return cls(
            name,
            owner,
            SealingKey(seed(f"sealing {name}")),
            SealingKey(seed(f"response {name}")),
            sign(manifest, [owner]),
            books=books,
        )

    @property
    def record(self) -> Envelope:
        return sign(AccountRecord(self.name, self.key.public, self.sealing.public), [self.key])

    def published(self, lots: dict[str, list[int]], cut: int) -> list[PublishedStatement]:
        out = []
        for source, book in self.books.items():
            terms = BookTerms(
                source, self.name, book, f"cut-{cut}", cut, self.sequence + 1, True, cut + 172_800, cut + 172_800
            )
            out += make_statements(
                terms,
                tiles(),
                lots[source],
                key=SOURCE_KEYS[source],
                recipient=self.sealing.public,
                commitment=commitment(),
            )
        return out

    def submission(
        self,
        lots: dict[str, list[int]] | None = None,
        *,
        epoch_name: str = "epoch-1",
        pledges: dict[str, int] | None = None,
        cut: int | None = None,
        advance: bool = True,
        **changes: Any,
    ) -> tuple[Submission, list[PublishedStatement]]:
        """The next one in the chain; with `advance` the account goes on as if it were accepted."""
        cut = int(time.time()) - 30 if cut is None else cut
        published = self.published(LOTS if lots is None else lots, cut)
        pairs = []
        for p in published:
            message = peek(SourceStatement, p.message)
            _, opening = open_statement(
                p,
                tiles()[message.tile],
                source_key=SOURCE_KEYS[message.terms.source].public,
                sealing_key=self.sealing,
                commitment=commitment(),
            )
            entry = SourceEntry(message.terms.source, message.terms.book, message.tile, p.message.digest, message.C)
            pairs.append((entry, SourceOpening(p.message, opening)))
        pairs.sort(key=lambda pair: pair[0].order)
        schedule = self.schedule
        if schedule is None or pledges is not None:
            schedule = draw_schedule(
                {"venue-a": 20, "venue-b": 10} if pledges is None else pledges,
                VENUES_RECORD,
                compiled().circuit.n,
                account=self.name,
                sequence=self.sequence + 1,
                secret=self.key.seed,
            )
        base = Statement(
            srs=ceremony().digest,
            epoch=epoch(epoch_name).digest,
            universe=UNIVERSE.digest,
            manifest=self.manifest.digest,
            source_registry=SOURCE_REGISTRY.digest,
            venue_registry=VENUE_REGISTRY.digest,
            account=self.name,
            account_key=self.key.public.raw,
            sequence=self.sequence + 1,
            prev=self.prev,
            cut_id=f"cut-{cut}",
            cut_time=cut,
            expiry=cut + 86_400,
            currency="USD",
            tick="0.01",
            pledge=schedule.commit(commitment()),
            continuity=Continuity.FIRST if self.sequence == 0 else Continuity.SAME,
            previous_pledge=None,
            releases=(),
            sources=tuple(entry for entry, _ in pairs),
            claims=(Claim(Kind.ATTESTATION, compiled(epoch_name).circuit.digest, Tier.INITIAL, ()),),
        )
        statement = replace(base, **changes)
        submission = Submission(
            statement=statement,
            owner=sign_statement(statement, self.key),
            rules=(RuleRef(RULE),),
            sources=tuple(source for _, source in pairs),
            pledges=schedule,
            response_key=self.response.public,
        )
        if advance:
            self.sequence, self.prev, self.schedule = statement.sequence, statement.digest, schedule
        return submission, published


def opening_of(submission: Submission) -> Opening:
    return submission.sources[0].opening


def python_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


@dataclass
class Site:
    """A service's directory, configuration and operator; processes started here are stopped by `close`."""

    config: Config
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    logs: list[Path] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    port: socket.socket | None = None

    @classmethod
    def new(cls, directory: Path, **sections: Any) -> Site:
        """A fresh service that knows the world's records; `sections`, `database_url` too, as in the configuration."""
        directory.mkdir(parents=True, exist_ok=True)
        port = hold_port()
        server = {"port": port.getsockname()[1], "processes": 1, "threads": 8, **sections.pop("server", {})}
        config = load(data_dir=directory / "data", server=server, **sections)
        config = first_run(config, lambda line: None, log_cost=MIN_LOG_COST)
        site = cls(config, port=port)
        with site.office() as desk:
            for source in SOURCES:
                desk.register_source(source, SOURCE_KEYS[source].public)
            for venue in VENUES:
                desk.register_venue(venue, VENUE_KEYS[venue].public)
            desk.register_operator("risk", RISK.public)
            desk.publish_universe(UNIVERSE)
            desk.publish_source_registry(SOURCE_REGISTRY)
            desk.publish_venue_registry(VENUE_REGISTRY)
        site.publish_epoch("epoch-1")
        return site

    @property
    def directory(self) -> Path:
        return self.config.data_dir.parent

    @cached_property
    def operator(self) -> Operator:
        path = self.config.path(self.config.keys_dir) / OPERATOR_KEY
        return read_operator(path, passphrase(self.config), self.config)

    def office(self) -> AbstractContextManager[Office]:
        return office(self.config, self.operator)

    def publish_epoch(self, name: str) -> None:
        one = epoch(name)
        with self.office() as desk:
            desk.publish_epoch(one, sign(epoch_record(one), [RISK]))

    def account(self, name: str) -> Account:
        """Registered, its manifest logged."""
        account = Account.new(name)
        self._register([account])
        return account

    def accounts(self, count: int) -> list[Account]:
        accounts = [Account.new(f"fund-{number}") for number in range(count)]
        self._register(accounts)
        return accounts

    def _register(self, accounts: list[Account]) -> None:
        with self.office() as desk:
            for account in accounts:
                desk.register_account(account.record)
                desk.publish_manifest(account.manifest)

    def submissions(self, accounts: list[Account]) -> list[tuple[Account, Submission]]:
        """The next of each, its source statements published."""
        made = [(account, *account.submission()) for account in accounts]
        self.publish([one for _, _, published in made for one in published])
        return [(account, submission) for account, submission, _ in made]

    def publish(self, published: list[PublishedStatement]) -> None:
        with self.office() as desk:
            for statement in published:
                desk.publish_source_statement(statement)

    @property
    def ca(self) -> Path:
        return self.config.data_dir / "tls" / "ca.pem"

    def client(self, account: Account | None = None, **options: Any) -> Client:
        key = None if account is None else account.key
        return self.keep(Client(self.config.public_url, ca=self.ca, key=key, **options))

    def keep(self, client: C) -> C:
        """Closed with the site."""
        self.clients.append(client)
        return client

    @property
    def log_policy(self) -> LogPolicy:
        return LogPolicy(self.config.log.origin, (VerifierKey.parse(self.client().log_key()),))

    def write_config(self) -> Path:
        """The configuration as the TOML file an operator would write."""
        path = self.directory / "service.toml"
        c = self.config
        lines = ['data_dir = "data"'] + ([f'database_url = "{c.database_url}"'] if c.database_url else [])
        for section in ("server", "queue", "worker", "rates", "log"):
            values = getattr(c, section).model_dump(exclude_none=True, mode="json")
            lines += [f"[{section}]"] + [f"{name} = {_toml(value)}" for name, value in values.items()]
        lines += ["[operators]"] + [f'{name} = "{public}"' for name, public in c.operators.items()]
        path.write_text("\n".join(lines) + "\n")
        return path

    def start(self, code: str, *arguments: str) -> subprocess.Popen[bytes]:
        """A process of the service: `code` sees `config`, and its standard error goes to a file that tests read."""
        log = self.directory / f"process-{len(self.logs)}.log"
        self.logs.append(log)
        program = (
            "import sys\nfrom pathlib import Path\nfrom server.config import load\n"
            "if __name__ == '__main__':\n    config = load(Path(sys.argv[1]))\n"
        )
        program += "\n".join("    " + line for line in code.strip().splitlines())
        # A file, not -c: spawned workers import the main module again.
        script = self.directory / f"process-{len(self.logs)}.py"
        script.write_text(program)
        environment = {**os.environ, "PYTHONPATH": python_path(), "OPENBLAS_NUM_THREADS": "1"}
        with open(log, "wb") as out:
            process = subprocess.Popen(
                [sys.executable, str(script), str(self.write_config()), *arguments],
                cwd=ROOT,
                env=environment,
                stdout=out,
                stderr=out,
            )
        self.processes.append(process)
        return process

    def serve(self) -> subprocess.Popen[bytes]:
        """The HTTPS server, once it listens."""
        process = self.start("from server.main import serve\nserve(config)")
        assert self.listens()
        return process

    def listens(self) -> bool:
        """Wait until the process started last says that it does; at the port one that was just killed may answer."""

        def serving() -> bool:
            assert self.processes[-1].poll() is None, self.said()
            return '"event": "serving"' in self.logs[-1].read_text()

        return until(serving, "a server that listens")

    def work(self) -> subprocess.Popen[bytes]:
        return self.start("from server.main import work\nwork(config)")

    def said(self) -> str:
        return "\n".join(log.read_text() for log in self.logs)

    def stop(self, process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> int:
        process.send_signal(number)
        return process.wait(PATIENCE_S)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait(PATIENCE_S)
        if self.port is not None:
            self.port.close()


@contextlib.contextmanager
def site(directory: Path, **sections: Any) -> Iterator[Site]:
    one = Site.new(directory, **sections)
    try:
        yield one
    finally:
        one.close()


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {_toml(item)}" for name, item in value.items()) + "}"
    return repr(value) if isinstance(value, (int, float)) else f'"{value}"'


def random_name() -> str:
    return secrets.token_hex(8)


def work_once(s: Site, name: str) -> bool:
    """One job, if there is one, by a worker in this process."""
    with contextlib.closing(make_worker(s.config, unlock_worker_keys(s.config), name)) as worker:
        return worker.run_once()


def submit_directly(s: Site, account: Account, submission: Submission | None = None) -> str:
    """Accepted as the server would, without HTTP; the submission's identifier."""
    if submission is None:
        submission, published = account.submission()
        s.publish(published)
    store = Store(s.config.store_url)
    prover = SealingPublicKey(ProverKeys(store).accepted(now_ms())[0].public)
    header, sealed = seal_submission(submission, prover, secrets.token_bytes(NONCE_BYTES))
    body = encode_body(header, sealed)
    situation = Situation(frozenset({prover.key_id}), lambda _epoch: True, submission.statement.sequence - 1)
    name, _ = accept(
        store,
        LeaseQueue(store, limits(s.config)),
        Caller("account", account.name, account.key.public.key_id),
        body,
        read_header(body),
        random_name(),
        lambda: situation,
        now=now_ms(),
    )
    store.close()
    return name
