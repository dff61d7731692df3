"""The application of one server process, put together from the configuration: called after the fork."""

from __future__ import annotations

import time

from flask_openapi3.openapi import OpenAPI

from marginseal.errors import MarginSealError
from marginseal.records.keys import SigningKey
from server.accept import Header
from server.app import create_app
from server.catalogue import Catalogue
from server.config import Config
from server.cosigning import CosignedLog, cosignatures
from server.jobs import Clock, LeaseQueue, now_ms
from server.limits import ClientRates, Rate
from server.main import limits, log_signer, open_log
from server.metrics import Metrics
from server.prover_keys import ProverKeys
from server.public import LoggedRecords
from server.services import Services
from server.signatures import Signatures
from server.store import Store
from server.watch import Watch
from server.wire import decode_body, size_classes


def read_header(body: bytes) -> Header:
    """DecodeError submission.*, record.*, json.*"""
    header, _ = decode_body(body)
    return Header(header.account, header.sequence, header.epoch, header.prover_key)


def make_services(config: Config, log_key: SigningKey, attestation_key: bytes, *, clock: Clock = now_ms) -> Services:
    store = Store(config.store_url)
    log = open_log(config, log_key)
    catalogue = Catalogue(store, log)
    public = LoggedRecords(store, log, catalogue, clock, manifest_delay_s=config.log.manifest_delay_s)

    def epoch_is_current(digest: bytes) -> bool:
        try:
            return public.epoch_record(digest).expires > clock() // 1000
        except MarginSealError:
            return False

    signer = log_signer(config, log_key)
    waiters = max(1, config.server.threads // 4)
    rates = Rate(config.rates.client_per_s / config.server.processes, config.rates.client_burst)
    return Services(
        config=config,
        store=store,
        queue=LeaseQueue(store, limits(config), clock),
        log=log,
        cosigned=CosignedLog.of(config, log, signer.key),
        log_key=str(signer.key),
        attestation_key=attestation_key,
        size_classes=size_classes(config.server.max_body_bytes),
        read_header=read_header,
        epoch_is_current=epoch_is_current,
        catalogue=catalogue,
        public=public,
        signatures=Signatures(store, config.public_url, clock, oracles=config.oracle_keys),
        clients=ClientRates(rates),
        watch=Watch(log.size, waiters),
        watch_jobs=Watch(time.monotonic, waiters),
        metrics=Metrics(store, log.size, clock, cosignatures=lambda: cosignatures(log)),
        prover_keys=ProverKeys(store),
        clock=clock,
    )


def make_app(config: Config, log_key: SigningKey, attestation_key: bytes) -> OpenAPI:
    return create_app(make_services(config, log_key, attestation_key))
