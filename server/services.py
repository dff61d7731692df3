"""What one server process works with, in one place; blueprints find it by `services()`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import Flask, current_app

from marginseal.log.log import Log
from server.accept import ReadHeader
from server.catalogue import Catalogue
from server.config import Config
from server.cosigning import CosignedLog
from server.jobs import Clock, Queue
from server.limits import ClientRates, Rate
from server.metrics import Metrics
from server.prover_keys import ProverKeys
from server.public import LoggedRecords
from server.signatures import Signatures
from server.store import Store
from server.watch import Watch

_NAME = "marginseal"
_CACHED_ACCOUNTS = 1024


@dataclass(frozen=True)
class Newest:
    """The answer about an account's newest attestation, made at `time` from a log of `size` entries."""

    size: int
    time: int
    sequence: int
    body: bytes


class NewestAnswers:
    """One answer an account, for the accounts asked about last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: OrderedDict[str, Newest] = OrderedDict()

    def get(self, account: str) -> Newest | None:
        with self._lock:
            return self._answers.get(account)

    def put(self, account: str, answer: Newest) -> None:
        with self._lock:
            self._answers[account] = answer
            self._answers.move_to_end(account)
            while len(self._answers) > _CACHED_ACCOUNTS:
                self._answers.popitem(last=False)


@dataclass(frozen=True)
class Services:
    """`accepted` is called between the commit of a submission and its answer: a named point for tests."""

    config: Config
    store: Store
    queue: Queue
    log: Log
    cosigned: CosignedLog
    log_key: str
    attestation_key: bytes
    size_classes: tuple[int, ...]
    read_header: ReadHeader
    epoch_is_current: Callable[[bytes], bool]
    catalogue: Catalogue
    public: LoggedRecords
    signatures: Signatures
    clients: ClientRates
    watch: Watch
    watch_jobs: Watch
    metrics: Metrics
    prover_keys: ProverKeys
    clock: Clock
    accepted: Callable[[], None] = lambda: None
    newest_answers: NewestAnswers = field(default_factory=NewestAnswers)

    @property
    def reads(self) -> Rate:
        return Rate(self.config.rates.account_reads_per_s, self.config.rates.account_reads_burst)

    @property
    def writes(self) -> Rate:
        return Rate(self.config.rates.account_submissions_per_s, self.config.rates.account_submissions_burst)

    @property
    def publications(self) -> Rate:
        return Rate(self.config.rates.publications_per_s, self.config.rates.publications_burst)

    @property
    def now_s(self) -> int:
        return self.clock() // 1000

    def checkpoint(self) -> bytes:
        """The checkpoint to show now, with the cosignatures of the witnesses that answered."""
        return self.cosigned.checkpoint(now=self.now_s, max_age_s=self.config.log.checkpoint_age_s)

    def synced(self) -> Catalogue:
        """The catalogue, up to what the log held a moment ago."""
        self.catalogue.sync(self.log_size())
        return self.catalogue

    def log_size(self) -> int:
        """How many entries the log held a moment ago."""
        return cast(int, self.watch.current())


def install(app: Flask, services: Services) -> None:
    app.extensions[_NAME] = services


def services() -> Services:
    return cast(Services, current_app.extensions[_NAME])
