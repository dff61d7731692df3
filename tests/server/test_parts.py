"""The small parts: configuration, logs, rates, waiting, answers, certificates, metrics, the catalogue."""

from __future__ import annotations

import datetime
import io
import itertools
import json
import logging
import os
import resource
import secrets
import ssl
import threading
import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError
from marginseal.records.sealing import SealingKey
from marginseal.records.submission import MIN_CLASS, SubmissionHeader
from server.catalogue import Catalogue
from server.config import load
from server.limits import MAX_CLIENTS, ClientRates, Rate
from server.logs import configure
from server.main import close_log, open_log
from server.metrics import _reserve
from server.problem import Refusal
from server.store import Store
from server.tables import catalogue
from server.tls import development_certificates, server_context
from server.watch import INTERVAL_S, Watch
from server.wire import ANSWER_BYTES, Answer, decode_body, open_answer, seal_answer, size_classes
from tests.server.patience import PATIENCE_S, until
from tests.server.world import site, submit_directly

# Configuration


def test_the_file_the_environment_and_what_is_said_at_the_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "service.toml"
    path.write_text('data_dir = "here"\n[server]\nport = 1111\nthreads = 3\n[operators]\nann = "00"\n')
    assert load(path).server.port == 1111
    assert load(path).data_dir == tmp_path / "here"
    monkeypatch.setenv("MARGINSEAL_CONFIG", str(path))
    monkeypatch.setenv("MARGINSEAL_SERVER__PORT", "2222")
    config = load()
    assert (config.server.port, config.server.threads, config.operators) == (2222, 3, {"ann": "00"})
    assert config.public_url == "https://127.0.0.1:2222"


@pytest.mark.parametrize(
    ("text", "code", "names"),
    [
        ("data_dir = 3", "config.invalid", "data_dir"),
        ('data_dir = "a"\nunknown = 1', "config.invalid", "unknown"),
        ('data_dir = "a"\n[server]\nclient_ca = "MARKER"', "config.invalid", "server.client_ca"),
        ('data_dir = "a"\n[server]\nport = 99999', "config.invalid", "server.port"),
        ('data_dir = "a"\n[server]\npublic_url = "http://MARKER"', "config.invalid", "server.public_url"),
        ('data_dir = "a"\n[server]\nrequest_timeout_s = 5', "config.invalid", "request_timeout_s"),
        ("[server]", "config.invalid", "data_dir"),
        ("= broken", "config.malformed", "not TOML"),
    ],
)
def test_a_wrong_configuration_names_the_member_and_not_the_value(
    tmp_path: Path, text: str, code: str, names: str
) -> None:
    path = tmp_path / "service.toml"
    path.write_text(text)
    with pytest.raises((InputError, DecodeError), match=names) as e:
        load(path)
    assert e.value.code == code
    assert "MARKER" not in str(e.value)


def test_there_is_no_default_secret(tmp_path: Path) -> None:
    config = load(data_dir=tmp_path)
    assert config.operators == {}
    assert not list(tmp_path.rglob("*"))


# Logs


def test_a_log_line_holds_what_is_allowed_and_nothing_else() -> None:
    out = io.StringIO()
    kept = logging.getLogger().handlers[:]
    configure(stream=out)
    try:
        ours, other = logging.getLogger("marginseal.x"), logging.getLogger("sqlalchemy")
        ours.info("event", extra={"code": "a.b", "lots": "MARKER", "job": 7})
        other.error("MARKER %s", "MARKER")
        try:
            raise ValueError("MARKER")
        except ValueError:
            ours.exception("failed")
    finally:
        logging.getLogger().handlers[:] = kept
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines[0]["event"] == "event"
    assert (lines[0]["code"], lines[0]["job"]) == ("a.b", 7)
    assert lines[1]["event"] == "library"
    assert lines[2]["at"].startswith("ValueError test_parts.py:")
    assert "MARKER" not in out.getvalue()


# Rates


def test_a_bucket_takes_a_burst_and_then_its_rate() -> None:
    rate, clients, now = Rate(2, 3), ClientRates(Rate(2, 3)), 1_000_000
    for _ in range(3):
        clients.charge("a", now)
    with pytest.raises(Refusal) as e:
        clients.charge("a", now)
    assert (e.value.status, e.value.headers["Retry-After"]) == (429, "1")
    clients.charge("b", now)
    clients.charge("a", now + 500)
    with pytest.raises(Refusal):
        clients.charge("a", now + 500)
    assert rate.next(None, now)[1] == 0


@given(st.lists(st.integers(0, 400), min_size=1, max_size=200))
def test_no_pattern_gets_more_than_burst_and_rate(gaps: list[int]) -> None:
    rate, empty_at, now, taken = Rate(10, 5), None, 0, 0
    for gap in gaps:
        now += gap
        empty_at, wait = rate.next(empty_at, now)
        taken += wait == 0
        assert taken <= 5 + now / 100 + 1e-9


def test_a_rate_above_the_clocks_resolution_holds() -> None:
    clients = ClientRates(Rate(5_000, 5))
    for ms in range(100):
        for _ in range(5):
            clients.charge("a", 1_000 + ms)
    with pytest.raises(Refusal):
        clients.charge("a", 1_099)


def test_the_table_of_clients_is_bounded() -> None:
    clients = ClientRates(Rate(1, 1))
    for i in range(MAX_CLIENTS + 10):
        clients.charge(str(i), 1)
    assert len(clients._buckets) == MAX_CLIENTS


# Waiting


def test_a_waiter_gets_news_soon_and_the_rest_of_its_time_not_otherwise() -> None:
    news: list[int] = []
    watch = Watch(lambda: len(news), waiters=1)
    started = time.monotonic()
    threading.Timer(0.2, lambda: news.append(7)).start()
    assert watch.wait(lambda: news[-1] if news else None, PATIENCE_S) == 7
    assert 0.2 <= time.monotonic() - started < PATIENCE_S / 2
    started = time.monotonic()
    assert watch.wait(lambda: None, 0.2) is None
    assert time.monotonic() - started >= 0.2


def test_more_waiters_than_slots_are_turned_away_at_once() -> None:
    asked: list[int] = []
    over = threading.Event()
    watch = Watch(time.monotonic, waiters=1)  # always news

    def find() -> bool | None:
        asked.append(0)
        return over.is_set() or None

    thread = threading.Thread(target=watch.wait, args=(find, PATIENCE_S))
    thread.start()
    until(lambda: len(asked) > 1, "a waiter in the one slot")
    started = time.monotonic()
    assert watch.wait(lambda: None, PATIENCE_S) is None
    assert time.monotonic() - started < PATIENCE_S / 2
    over.set()
    thread.join()


def test_the_probe_is_asked_seldom_however_many_ask() -> None:
    calls: list[float] = []
    watch = Watch(lambda: calls.append(time.monotonic()), waiters=4)
    threads = [threading.Thread(target=watch.wait, args=(lambda: None, 0.5)) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert len(calls) > 1
    assert all(later - earlier >= INTERVAL_S for earlier, later in itertools.pairwise(calls))


# Answers

HEADER = SubmissionHeader("fund", bytes(32), 1, bytes(32), "0" * 32)


@given(
    code=st.text(max_size=80), message=st.none() | st.text(max_size=2000), line=st.none() | st.text(max_size=400),
    shortfall=st.none() | st.integers(0, 2**80),
)  # fmt: skip
def test_every_answer_has_one_size_and_comes_back(
    code: str, message: str | None, line: str | None, shortfall: int | None
) -> None:
    key = SealingKey(b"k" * 32)
    answer = Answer("refused", code=code, message=message, line=line, shortfall=shortfall)
    sealed = seal_answer(answer, key.public, HEADER)
    assert len(sealed) == ANSWER_BYTES + 1136
    back = open_answer(sealed, key, HEADER)
    assert back.outcome == "refused"
    assert (back.line is None) == (line is None)
    assert (back.shortfall is None) == (shortfall is None)


def test_an_answer_opens_for_its_owner_and_its_submission_alone() -> None:
    key = SealingKey(secrets.token_bytes(32))
    sealed = seal_answer(Answer("attested", log_index=1), key.public, HEADER)
    other = SubmissionHeader("fund", bytes(32), 2, bytes(32), "0" * 32)
    for k, h in ((SealingKey(secrets.token_bytes(32)), HEADER), (key, other)):
        with pytest.raises(DecodeError, match=r"sealing\.open"):
            open_answer(sealed, k, h)
    assert "1" not in repr(Answer("attested", shortfall=1))


@given(st.binary(max_size=300))
def test_any_bytes_are_a_submission_or_a_refusal(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_body(data)


def test_size_classes_fit_the_limit() -> None:
    assert size_classes(200_000) == (MIN_CLASS, 2 * MIN_CLASS, 4 * MIN_CLASS)
    assert size_classes(1000) == ()


# Certificates


def test_the_development_certificate_is_for_this_machine_and_its_authority_is_gone(tmp_path: Path) -> None:
    ca = development_certificates(tmp_path, datetime.datetime.now(datetime.UTC))
    context = server_context(tmp_path / "server.pem", tmp_path / "server.key")
    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_NONE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["ca.pem", "server.key", "server.pem"]
    assert ca.read_bytes().startswith(b"-----BEGIN CERTIFICATE-----")
    with pytest.raises(InputError, match=r"tls\.certificate"):
        server_context(ca, tmp_path / "server.key")
    with pytest.raises(InputError, match=r"tls\.certificate"):
        server_context(tmp_path / "no.pem", tmp_path / "server.key")


# The catalogue


def test_the_catalogue_is_made_again_from_the_log(tmp_path: Path) -> None:
    with site(tmp_path) as s:
        submit_directly(s, s.account("fund"))
        store, log = Store(s.config.store_url), open_log(s.config, None)
        Catalogue(store, log).sync(log.size())
        with store.write() as c:
            made = c.execute(sa.select(catalogue).order_by(catalogue.c.idx)).all()
            c.execute(sa.delete(catalogue))
        Catalogue(store, log).sync(log.size())
        Catalogue(store, log).sync(log.size())
        with store.read() as c:
            assert c.execute(sa.select(catalogue).order_by(catalogue.c.idx)).all() == made
        assert len(made) == log.size()
        close_log(log)
        store.close()


def test_room_for_counts_is_taken_before_they_are_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sparse file the first count on a full disk would be the end of the process, and of each one after it."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    _reserve()
    made = sorted(tmp_path.iterdir())
    assert [p.name for p in made] == [f"{kind}_{os.getpid()}.db" for kind in ("counter", "histogram")]
    for path in made:
        assert path.stat().st_mode & 0o777 == 0o600
        assert 512 * path.stat().st_blocks >= path.stat().st_size == 2**20
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for path in made:
        path.unlink()
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**12, before[1]))
    try:
        with pytest.raises(InputError, match=r"file\.unwritable"):
            _reserve()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
