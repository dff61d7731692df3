"""A service on loopback with funds around it, for service_load.py: books of 512 rows, three sources, real proofs."""

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
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from marginseal.algebra.commit import CommitmentKey, commitment_key
from marginseal.algebra.srs import ceremony
from marginseal.market.epoch import RiskEpoch, epoch_from_arrays
from marginseal.market.universe import Instrument, Universe
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import RuleRef
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import epoch_record
from marginseal.records.keyfile import MIN_LOG_COST
from marginseal.records.keys import Role, SigningKey
from marginseal.records.manifest import FIRST, Manifest
from marginseal.records.pledges import PledgeSchedule, draw_schedule
from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
from marginseal.records.sealing import SealingKey
from marginseal.records.source import BookTerms, PublishedStatement, SourceStatement, make_statements, open_statement
from marginseal.records.statement import Tier
from marginseal.records.submission import Submission
from marginseal.records.tiles import tiles_of
from prover.compose import ClaimRequest, OpenedBook, Predecessor, Registries, compose
from server.client import Client
from server.config import Config, load
from server.main import OPERATOR_KEY, first_run, office, passphrase, read_operator

ROOT = Path(__file__).resolve().parent.parent
ROWS, SCENARIOS = 512, 256
SOURCES = ("custodian", "venue-a", "venue-b")
VENUES = ("venue-a", "venue-b")
CLAIM = ClaimRequest(RuleRef("worst_case"), Tier.INITIAL)
EXPIRY = int(time.time()) + 3 * 86_400


def key(role: Role, name: str) -> SigningKey:
    return SigningKey(role, hashlib.sha256(f"{role} {name}".encode()).digest())


RISK = key(Role.OPERATOR, "risk")
SOURCE_KEYS = {s: key(Role.SOURCE, s) for s in SOURCES}
UNIVERSE = Universe(
    "bench",
    "USD",
    (
        Instrument("USD", "cash", "USD", "linear", Decimal("1"), 10**12),
        *(
            Instrument(
                f"BTC-{strike}-C", "option", "BTC", "linear", Decimal("0.1"), 10**6, expiry=2_000_000_000,
                strike=Decimal(strike), option_type="call",
            )
            for strike in range(20_000, 20_000 + 100 * (ROWS - 1), 100)
        ),
    ),
)  # fmt: skip
VENUE_REGISTRY = VenueRegistry("risk", 1, 1, tuple(RegisteredVenue(v, key(Role.VENUE, v).public) for v in VENUES))
VENUE_RECORD = sign(VENUE_REGISTRY, [RISK])
SOURCE_RECORD = sign(
    SourceRegistry("risk", 1, 1, tuple(RegisteredSource(s, SOURCE_KEYS[s].public) for s in SOURCES)), [RISK]
)


def make_epoch(name: str, seed: int = 1) -> RiskEpoch:
    rng = np.random.default_rng(seed)
    pnl = rng.integers(-(2**20), 2**20, (SCENARIOS, ROWS))
    pnl[0] = 0
    pnl[:, 0] = 0
    now = int(time.time())
    return epoch_from_arrays(
        pnl,
        value=np.array([1] + [0] * (ROWS - 1)),
        max_lots=np.array([i.max_lots for i in UNIVERSE.instruments]),
        universe_digest=UNIVERSE.digest,
        instrument_ids=UNIVERSE.ids,
        name=name,
        operator="risk",
        time=now - 60,
        expires=now + 3 * 86_400,
    )


def commitment() -> CommitmentKey:
    return commitment_key(ROWS, ceremony())


@dataclass
class Fund:
    """An institution with one set of books, from which it makes one submission after another."""

    name: str
    key: SigningKey
    sealing: SealingKey
    manifest: Envelope
    published: list[PublishedStatement]
    books: list[OpenedBook]
    schedule: PledgeSchedule
    last: Predecessor | None = None

    @classmethod
    def new(cls, name: str) -> Fund:
        owner, sealing = key(Role.ACCOUNT, name), SealingKey(hashlib.sha256(name.encode()).digest())
        ids = {s: hashlib.sha256(f"{name} {s}".encode()).hexdigest()[:32] for s in SOURCES}
        manifest = Manifest(name, 1, FIRST, 1, (owner.public,), tuple((s, ids[s]) for s in sorted(ids)))
        rng = np.random.default_rng(list(name.encode()))
        cut, tiles = int(time.time()) - 60, tiles_of(UNIVERSE, ROWS)
        published, books = [], []
        for source in SOURCES:
            lots = rng.integers(-100, 100, ROWS)
            lots[0] = 10**11 if source == "custodian" else 0
            terms = BookTerms(source, name, ids[source], "cut", cut, 1, True, EXPIRY + 9, EXPIRY + 9)
            for one in make_statements(
                terms, tiles, lots, key=SOURCE_KEYS[source], recipient=sealing.public, commitment=commitment()
            ):
                tile = tiles[peek(SourceStatement, one.message).tile]
                said, opening = open_statement(
                    one, tile, source_key=SOURCE_KEYS[source].public, sealing_key=sealing, commitment=commitment()
                )
                published.append(one)
                books.append(OpenedBook(one.message, said, opening))
        pledges = {"venue-a": 20_000, "venue-b": 10_000}
        schedule = draw_schedule(pledges, VENUE_REGISTRY, ROWS, account=name, sequence=1, secret=owner.seed)
        return cls(name, owner, sealing, sign(manifest, [owner]), published, books, schedule)

    def next(self, epoch: RiskEpoch) -> Submission:
        submission = compose(
            epoch,
            self.books,
            self.schedule,
            [CLAIM],
            account=self.name,
            key=self.key,
            registries=Registries(self.manifest.digest, SOURCE_RECORD.digest, VENUE_RECORD.digest, len(VENUES)),
            expiry=EXPIRY,
            response_key=self.sealing.public,
            commitment=commitment(),
            previous=self.last,
        )
        self.last = Predecessor(submission.statement, self.schedule)
        return submission


@dataclass
class Service:
    """Its directory, and the processes that run it."""

    config: Config
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @classmethod
    def new(cls, directory: Path, **sections: Any) -> Service:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        free = {"per_s": 1e6, "burst": 1_000_000}
        rates = {f"{kind}_{limit}": v for kind in ("client", "account_reads", "account_submissions", "publications")
                 for limit, v in free.items()}  # fmt: skip
        sections = {"rates": rates, **sections}
        sections["server"] = {"port": port, "processes": 1, "threads": 16, **sections.get("server", {})}
        config = first_run(load(data_dir=directory / "data", **sections), lambda line: None, log_cost=MIN_LOG_COST)
        return cls(config)

    def prepare(self, epoch: RiskEpoch, funds: list[Fund]) -> None:
        with self.office() as desk:
            for source in SOURCES:
                desk.register_source(source, SOURCE_KEYS[source].public)
            desk.register_operator("risk", RISK.public)
            desk.publish_universe(UNIVERSE)
            desk.publish_source_registry(SOURCE_RECORD)
            desk.publish_venue_registry(VENUE_RECORD)
            for fund in funds:
                desk.register_account(sign(AccountRecord(fund.name, fund.key.public, fund.sealing.public), [fund.key]))
                desk.publish_manifest(fund.manifest)
                for statement in fund.published:
                    desk.publish_source_statement(statement)
        self.publish(epoch)

    def publish(self, epoch: RiskEpoch) -> None:
        with self.office() as desk:
            desk.publish_epoch(epoch, sign(epoch_record(epoch), [RISK]))

    def office(self) -> Any:
        path = self.config.path(self.config.keys_dir) / OPERATOR_KEY
        return office(self.config, read_operator(path, passphrase(self.config), self.config))

    def client(self, fund: Fund | None = None, **options: Any) -> Client:
        ca = self.config.data_dir / "tls" / "ca.pem"
        return Client(self.config.public_url, ca=ca, key=None if fund is None else fund.key, **options)

    def start(self, which: str) -> None:
        """`serve` or `work`, in a process group of its own; for `serve` until it listens."""
        script = self.config.data_dir.parent / f"{which}.py"
        script.write_text(_PROGRAMS[which])
        configuration = self.config.data_dir.parent / "config.json"
        configuration.write_text(self.config.model_dump_json())
        with open(self.config.data_dir.parent / f"{which}.log", "ab") as log:
            self.processes[which] = subprocess.Popen(
                [sys.executable, str(script), str(configuration)],
                env={**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while which == "serve" and time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.config.server.port), 1):
                return
            time.sleep(0.02)

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()
        self.processes.clear()


_LOAD = """import json, sys
from server.config import Config
if __name__ == "__main__":
    config = Config(**json.load(open(sys.argv[1])))
"""
# The static reply is a route of the bench alone, in the very server that is measured.
_PROGRAMS = {
    "work": _LOAD + "    from server.main import work\n    work(config)\n",
    "serve": _LOAD
    + """    import os
    from flask import Response
    import server.assemble as assemble
    make, body = assemble.make_app, os.urandom(6 * 1024)
    def with_static(*arguments):
        app = make(*arguments)
        app.add_url_rule("/static", view_func=lambda: Response(body, mimetype="application/octet-stream"))
        return app
    assemble.make_app = with_static
    from server.main import serve
    serve(config)
""",
}


def random_name() -> str:
    return secrets.token_hex(4)
