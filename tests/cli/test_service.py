"""The verbs of operator, source, institution and venue against one running service, and the demo over HTTPS."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from marginseal.cli import init
from marginseal.cli.desk import Desk
from marginseal.cli.office import office_of, publish_desk_epoch
from marginseal.cli.receive import recover
from marginseal.cli.remote import connected, mirrored, read_card
from marginseal.cli.serve import service_config
from marginseal.cli.story.service import free_port, service_folder, serving
from marginseal.cli.submit import Wanted, follow_epochs
from marginseal.cli.venue import desk_policy, read_policy, watch_account
from marginseal.errors import InputError, ProofRejected, ServiceError
from marginseal.files import write_atomic
from marginseal.log.receipt import Receipt
from marginseal.market.build import build_epoch
from marginseal.market.epoch import encode
from marginseal.market.example import SOURCES, ExampleMarket, example_market
from marginseal.market.parameters import parameters_json
from marginseal.market.snapshot import Snapshot, snapshot_json
from server.client import Client
from server.config import Config
from tests.cli.conftest import Run

RULE = "worst_case_limits"
ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 300.0  # for what takes seconds on an idle machine


@dataclass(frozen=True)
class Place:
    """A running service, the file that configures it, and one desk that plays every party."""

    config: Config
    file: Path
    desk: Desk
    market: ExampleMarket


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    root = tmp_path_factory.mktemp("verbs")
    at = int(time.time()) - 60
    desk, market = Desk(root / "desk"), example_market(at)
    init.make_desk(desk, "fund-1", at=at)
    write_atomic(desk.epoch_file, encode(market.epoch))
    file = service_folder(root / "service")
    file.write_text(file.read_text() + "[log]\nepoch_lag_s = 86400\n")  # as long as all the tests below may take
    with serving(file) as config:
        yield Place(config, file, desk, market)


@pytest.fixture(scope="module")
def admitted(place: Place) -> Place:
    """Registered, published, its sources' statements posted."""
    from marginseal.cli.main import app

    root, service = place.desk.root, str(place.file)
    steps = [
        ["office", "admit", str(root), "--config", service],
        ["office", "card", "--config", service, "--out", str(root / "service.json")],
        *(["source", "sign", source, "--desk", str(root)] for source in SOURCES),
    ]
    for step in steps:
        app(step, standalone_mode=False)
    return place


def submit(run: Run, desk: Desk, *options: object) -> dict[str, object]:
    told = run("submit", "--rule", RULE, "--desk", desk.root, "--json", *options)
    assert told.status == 0, told.err
    body = json.loads(told.out)
    assert isinstance(body, dict)
    return body


def test_submit_saves_what_the_log_took(run: Run, admitted: Place) -> None:
    desk = admitted.desk
    body = submit(run, desk)
    sequence = desk.last_sequence()
    assert body["sequence"] == sequence
    for suffix in (".json", ".receipt", ".head"):
        assert desk.attestation_file(sequence).with_suffix(suffix).exists()
    assert desk.attestation(sequence).statement.digest.hex() == body["statement"]
    assert desk.schedule(sequence)
    assert all(f.stem.isdigit() for f in (desk.root / "account" / "schedules").iterdir())


def test_who_is_not_admitted_is_told_whom_to_ask(run: Run, admitted: Place, tmp_path: Path) -> None:
    stranger = Desk(tmp_path / "stranger")
    init.make_desk(stranger, "fund-2")
    write_atomic(stranger.epoch_file, encode(example_market().epoch))
    told = run("source", "sign", "venue-a", "--card", admitted.desk.root / "service.json", "--desk", stranger.root)
    assert told.status == ServiceError.exit_status
    assert told.err.endswith("[signature.invalid]\n")
    assert "its operator admits parties" in told.err


def test_a_statement_that_did_not_reach_the_service_is_published_later(
    run: Run, admitted: Place, tmp_path: Path
) -> None:
    """The cut is signed and cannot be signed again: without this the source could not go on."""
    late, service = Desk(tmp_path / "late"), ("--card", admitted.desk.root / "service.json")
    init.make_desk(late, "fund-3", market=init.own_market(admitted.desk.root))
    write_atomic(late.epoch_file, admitted.desk.epoch_file.read_bytes())
    before = run("source", "publish", "venue-a", *service, "--desk", late.root)
    assert (before.status, "[statements.none]" in before.err) == (3, True)
    told = run("source", "sign", "venue-a", *service, "--desk", late.root)
    assert (told.status, "`source publish venue-a`" in told.err) == (ServiceError.exit_status, True)
    assert "[commit.signed]" in run("source", "sign", "venue-a", *service, "--desk", late.root).err
    with office_of(admitted.config) as office:
        office.add_key("source", "venue-a", late.sources()[0].source("venue-a").key)
        office.register_account(late.envelope("account/account.json"))
    for _ in range(2):  # the second changes nothing
        again = run("source", "publish", "venue-a", *service, "--desk", late.root, "--json")
        assert again.status == 0, again.err
        assert json.loads(again.out)["published"] == [str(late.root / "statements" / "venue-a.0.json")]


def test_an_opening_that_is_not_there_is_no_decision(run: Run, admitted: Place, tmp_path: Path) -> None:
    """A mistyped name must not pass for a pledge that the policy does not ask for."""
    submit(run, admitted.desk)
    card = admitted.desk.root / "service.json"
    policy = tmp_path / "venue-a.json"
    policy.write_bytes(desk_policy(admitted.desk, read_card(card), "venue-a"))
    asked = ("venue", "decide", "--policy", policy, "--account", "fund-1", "--card", card)
    assert run(*asked).status == 0
    told = run(*asked, "--pledge", tmp_path / "typo.json")
    assert (told.status, told.out) == (3, "")
    assert "[file.missing]" in told.err
    told = run(*asked, "--mirror", policy / "log.db")
    assert (told.status, "[file.unwritable]" in told.err) == (3, True)


def test_why_it_was_refused_is_for_the_owner_alone(run: Run, admitted: Place, tmp_path: Path) -> None:
    pledges = tmp_path / "pledges.json"
    amounts = {"venue-a": "600000.00", "venue-b": "90000000.00"}
    pledges.write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": amounts}))
    before = admitted.desk.last_sequence()
    told = run("submit", "--rule", RULE, "--desk", admitted.desk.root, "--pledges", pledges, "--json")
    assert told.status == 6
    error = json.loads(told.err)["error"]
    assert error["code"] == "rule.unsatisfied"
    assert error["line"]
    plain = run("submit", "--rule", RULE, "--desk", admitted.desk.root, "--pledges", pledges)
    assert plain.status == 6
    for said in (told.err, plain.err, plain.out):  # the shortfall is for a terminal, and this is none
        assert "short by" not in said
        assert not any(c.isdigit() for c in said)
    assert admitted.desk.last_sequence() == before


def test_a_run_that_broke_off_loses_no_schedule(run: Run, admitted: Place) -> None:
    desk = admitted.desk
    body = submit(run, desk)
    sequence = desk.last_sequence()
    schedule = desk.schedule_file(sequence).read_bytes()

    def forget() -> None:
        for suffix in (".json", ".receipt", ".head"):
            desk.attestation_file(sequence).with_suffix(suffix).unlink(missing_ok=True)

    # As if the process had died between the submission and its answer.
    forget()
    desk.schedule_file(sequence).replace(desk.root / "account" / "schedules" / f"{body['statement']}.bin")
    assert submit(run, desk)["sequence"] == sequence + 1
    assert desk.schedule_file(sequence).read_bytes() == schedule
    assert desk.attestation(sequence).statement.digest.hex() == body["statement"]

    # Without the schedule the attestation is not taken for the desk's own.
    last = desk.last_sequence()
    sequence = last
    kept = desk.schedule_file(last).read_bytes()
    forget()
    desk.schedule_file(last).unlink()
    card = read_card(desk.root / "service.json")
    with connected(card) as client:
        with pytest.raises(InputError) as refused:
            recover(desk, client, card)
        assert refused.value.code == "submit.schedule"
        write_atomic(desk.schedule_file(last), kept, private=True)
        assert recover(desk, client, card) == 1


def test_a_venue_decides_by_its_policy_alone(run: Run, admitted: Place, tmp_path: Path) -> None:
    desk = admitted.desk
    if not desk.last_sequence():
        submit(run, desk)
    root, card = desk.root, read_card(desk.root / "service.json")
    assert run("open", "pledge", "venue-a", "--desk", root).status == 0
    assert run("open", "pledge", "venue-b", "--desk", root).status == 0
    policy = tmp_path / "policy.json"

    def decide(opening: str = "venue-a", **changes: object) -> tuple[int, dict[str, object]]:
        policy.write_bytes(desk_policy(desk, card, "venue-a", **changes))
        opened = root / "opened" / f"{opening}.json"
        told = run(
            "venue", "decide", "--policy", policy, "--account", "fund-1", "--pledge", opened, "--memory",
            tmp_path / "seen", "--mirror", tmp_path / "mirror.db", "--card", root / "service.json", "--json",
        )  # fmt: skip
        return told.status, json.loads(told.out)

    def codes(verdict: dict[str, object]) -> set[str]:
        assert isinstance(verdict["reasons"], list)
        return {reason["code"] for reason in verdict["reasons"]}

    status, verdict = decide()
    assert (status, verdict["accepted"]) == (0, True)
    assert isinstance(verdict["facts"], dict)
    assert verdict["facts"]["pledge_ticks"] == 60_000_000
    assert verdict["facts"]["hold_until"] is not None
    assert (tmp_path / "seen").exists()
    assert (tmp_path / "seen.accepted").exists()
    assert verdict["facts"]["chain"] == {"verified_from": 1, "because": "first"}
    status, verdict = decide()
    assert verdict["facts"]["chain"] == {"verified_from": desk.last_sequence(), "because": "accepted"}

    status, verdict = decide(minimum_pledge_ticks="60000001")
    assert (status, codes(verdict)) == (8, {"decide.pledge"})
    status, verdict = decide(opening="venue-b")
    assert (status, codes(verdict)) == (8, {"pledge.venue"})
    status, verdict = decide(sources={"custodian": None, "venue-a": None})
    assert (status, codes(verdict)) == (8, {"decide.source"})
    status, verdict = decide(provers=["00" * 31 + "01"])
    assert (status, codes(verdict)) == (8, {"signature.threshold"})


def test_a_venue_that_watches_sees_the_margin_call(run: Run, admitted: Place, tmp_path: Path) -> None:
    desk = admitted.desk
    if not desk.last_sequence():
        submit(run, desk)
    card, path = read_card(desk.root / "service.json"), tmp_path / "policy.json"
    path.write_bytes(desk_policy(desk, card, "venue-a", minimum_pledge_ticks="0"))
    told = run(
        "venue", "watch", "--policy", path, "--account", "fund-1", "--seconds", "0", "--card",
        desk.root / "service.json", "--json",
    )  # fmt: skip
    (event,) = map(json.loads, told.out.splitlines())  # one look there is, however slow the start
    assert event["event"] == "accepted"

    expiry = desk.attestation(desk.last_sequence()).statement.expiry
    times = [time.time(), expiry - 601.0, expiry - 599.0, expiry - 1.0, float(expiry), expiry + 5.0]
    moment, events, rounds = 0, [], 0

    def stop() -> bool:
        nonlocal moment, rounds
        moment, rounds = min(rounds, len(times) - 1), rounds + 1
        return rounds > len(times) + 2

    for event in watch_account(
        card, read_policy(path), "fund-1", lambda: None, stop=stop, clock=lambda: times[moment], wait_s=0.0
    ):
        events.append((event["event"], moment))
    assert events == [("accepted", 0), ("expiring", 2), ("margin-call", 4)]


def test_a_silent_service_does_not_silence_the_alarm(
    run: Run, admitted: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = admitted.desk
    if not desk.last_sequence():
        submit(run, desk)
    card, path = read_card(desk.root / "service.json"), tmp_path / "policy.json"
    path.write_bytes(desk_policy(desk, card, "venue-a", minimum_pledge_ticks="0"))
    expiry = desk.attestation(desk.last_sequence()).statement.expiry
    now = [time.time()]
    events: list[str] = []

    def silent(*arguments: object, **options: object) -> None:
        raise ServiceError("service.unreachable", "the service cannot be reached")

    for event in watch_account(
        card, read_policy(path), "fund-1", lambda: None, clock=lambda: now[0], stop=lambda: len(events) > 9, wait_s=0.0
    ):
        events.append(event["event"])
        if event["event"] == "margin-call":
            break
        monkeypatch.setattr(Client, "latest", silent)
        if event["event"] == "fault":
            now[0] = float(expiry)
    assert events == ["accepted", "fault", "margin-call"]


class Lying(Client):
    """A service that serves another log than the one it signed."""

    change_entry = change_object = False

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        page = super().entries(start)
        if self.change_entry and page:
            index, moment, data = page[-1]
            page[-1] = (index, moment + 1, data)
        return page

    def object(self, digest: bytes) -> bytes:
        data = super().object(digest)
        return data[:-1] + bytes([data[-1] ^ 1]) if self.change_object else data


def test_a_mirror_of_the_log_is_held_against_its_signed_root(run: Run, admitted: Place, tmp_path: Path) -> None:
    card = read_card(admitted.desk.root / "service.json")
    client = Lying(card.url, ca=card.ca)
    try:
        with mirrored(client, card.log_policy, memory=tmp_path / "seen") as visit:
            honest = visit.reading
            assert visit.mirror.sync() == honest.size() > 0
            for index in range(honest.size()):
                served = client.receipt(index)
                assert honest.receipt(index, Receipt.decode(served).note) == served
            digest = next(d for _, entry in honest.items(0, honest.size()) for d in entry.dependencies)

            client.change_object = True
            with pytest.raises(ProofRejected) as refused:
                honest.object(digest)
            assert refused.value.code == "log.object"

        client.change_entry = True
        with mirrored(client, card.log_policy) as visit:
            with pytest.raises(ProofRejected) as refused:
                visit.mirror.sync()
            assert refused.value.code == "log.root"
            assert visit.mirror.log.size() == 0
    finally:
        client.close()


def test_an_auditor_replays_over_https(run: Run, admitted: Place, tmp_path: Path) -> None:
    desk = admitted.desk
    if not desk.last_sequence():
        submit(run, desk)
    card, policy = read_card(desk.root / "service.json"), tmp_path / "policy.json"
    policy.write_bytes(desk_policy(desk, card, "venue-a"))
    service = ("--policy", policy, "--url", card.url, "--ca", card.ca, "--workers", "1", "--json")
    told = run("replay", tmp_path / "bundle", *service)
    assert told.status == 0, told.out
    assert json.loads(told.out)["attestations"] == desk.last_sequence()
    assert run("replay", tmp_path / "bundle", *service).status == 3  # never over a bundle that is there


def publish(place: Place, snapshot: Snapshot, folder: Path) -> None:
    """The operator logs the epoch of a snapshot."""
    other = Desk(folder)
    (folder / "keys").mkdir(parents=True)
    for name in ("keys/operator.json", "keys/passphrase", "universe.json"):
        (folder / name).write_bytes((place.desk.root / name).read_bytes())
    (folder / "snapshot.json").write_bytes(snapshot_json(snapshot))
    (folder / "parameters.json").write_bytes(parameters_json(place.market.parameters))
    other.epoch_file.write_bytes(encode(build_epoch(place.market.universe, snapshot, place.market.parameters)))
    with office_of(place.config) as office:
        publish_desk_epoch(office, other)


def test_following_answers_markets_and_not_probes(run: Run, admitted: Place, tmp_path: Path) -> None:
    desk, epoch, market = admitted.desk, admitted.market.epoch, admitted.market
    body = {
        "format": "marginseal-client-policy-1",
        "operators": {epoch.operator: desk.operator_key().raw.hex()},
        "universes": [epoch.universe_digest.hex()],
        "rules": [{"name": RULE, "parameters": {}}],
        "parameters": [epoch.parameters_digest.hex()],
        "bounds": {name: [value, value] for name, value in epoch.parameters.items()},
        "deviation_permille": 10,
        "volatility_permille": 10,
        "max_age_s": 3600,
        "spacing_s": 0,
        "answers": 10,
        "window_s": 3600,
    }
    (tmp_path / "policy.json").write_text(json.dumps(body))
    card, before = read_card(desk.root / "service.json"), desk.last_sequence()
    probe = {s: replace(i, price=i.price * 1.02) for s, i in market.snapshot.index.items()}
    snapshots = [
        replace(market.snapshot, name="later", time=epoch.time + 20),
        replace(market.snapshot, name="probe", time=epoch.time + 30, index=probe),
    ]
    done: list[dict[str, Any]] = []
    for number, snapshot in enumerate(snapshots):
        done += follow_epochs(
            desk,
            card,
            Wanted((RULE,)),
            tmp_path / "policy.json",
            desk.root / "snapshot.json",
            epochs=1,
            ready=partial(publish, admitted, snapshot, tmp_path / f"operator-{number}"),
        )
    answered, refused = done
    assert answered["answered"], answered
    assert answered["sequence"] == before + 1
    assert not refused["answered"]
    assert refused["code"] == "probe.price"
    assert desk.last_sequence() == before + 1


def test_an_operator_step_by_step(run: Run, admitted: Place, tmp_path: Path) -> None:
    service = ("--config", admitted.file)
    key = "11" * 32

    def office(*step: object) -> int:
        return run("office", *step, *service).status

    assert office("register-venue", "venue-x", key) == 0
    assert office("register-venue", "venue-x", "22" * 32) == 8  # the name is taken
    assert office("register-venue", "venue-y", key) == 8  # the key is taken
    assert office("suspend", "venue", "venue-x") == 0
    assert office("resume", "venue", "venue-x") == 0
    assert office("add-key", "venue", "venue-x", "33" * 32) == 0
    assert office("revoke-key", "0" * 32) == 8
    assert office("remove", "venue", "venue-x") == 0
    assert office("resume", "venue", "venue-x") == 8
    assert office("register-source", "source-x", admitted.desk.root / "keys" / "venue-venue-a.json") == 3
    assert office("requeue", "nothing") == 8
    assert office("rotate-prover-key", "--grace", "60") == 0
    submit(run, admitted.desk)  # sealed to the new key

    told = json.loads(run("office", "trail", *service, "--json").out)["trail"]
    actions = [row["action"] for row in told]
    assert actions[-6:] == ["register", "suspend", "resume", "add-key", "remove", "rotate-prover-key"]
    assert [row["number"] for row in told] == list(range(1, len(told) + 1))


def test_an_operator_logs_key_records_that_hold(run: Run, admitted: Place, tmp_path: Path) -> None:
    """Of keys that nobody here uses; the mirror of a venue has them."""
    keys, record, lost = admitted.desk.root / "keys", tmp_path / "record.json", ("44" * 32, "--role", "source")
    service = ("--config", admitted.file)
    revoke = ("key", "revoke", *lost, "--holder", "source-y", "--out", record, "--operator", keys / "operator.json")
    assert run(*revoke).status == 0
    assert run("office", "suspend", "operator", "operator", *service).status == 0
    assert run("key", "publish", record, *service).status == 7  # by an operator who is none
    assert run("office", "resume", "operator", "operator", *service).status == 0
    assert run("key", "publish", record, *service).status == 0
    card = read_card(admitted.desk.root / "service.json")
    with connected(card) as client, mirrored(client, card.log_policy) as visit:
        visit.mirror.sync()
        (at,) = visit.reading.index(visit.reading.size()).keys
        assert visit.reading.entry(at.index)[1].payload == record.read_bytes()


def test_who_is_no_operator_does_nothing(run: Run, admitted: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    root = admitted.desk.root
    monkeypatch.setenv("MARGINSEAL_PASSPHRASE", (root / "keys" / "passphrase").read_text().strip())
    told = run(
        "office", "suspend", "account", "fund-1", "--config", admitted.file, "--key", root / "keys" / "operator.json"
    )
    assert told.status == 8
    assert "operator.unknown" in told.err


def test_a_service_starts_on_keys_that_somebody_put_there(run: Run, tmp_path: Path) -> None:
    told = run("serve", "--data", tmp_path / "data")
    assert told.status == 3
    assert "serve.keys" in told.err
    assert not (tmp_path / "data").exists()


def test_keys_are_taken_on_first_use_and_said_so(run: Run, admitted: Place, tmp_path: Path) -> None:
    card = read_card(admitted.desk.root / "service.json")
    policy = tmp_path / "policy.json"
    policy.write_bytes(desk_policy(admitted.desk, card, "venue-a"))
    pinned = tmp_path / "card.json"
    told = run(
        "venue",
        "decide",
        "--policy",
        policy,
        "--account",
        "nobody",
        "--url",
        card.url,
        "--ca",
        card.ca,
        "--card",
        pinned,
    )
    assert told.status == 10
    assert "service.no-attestation" in told.err
    assert "first use" in told.err
    taken = read_card(pinned)
    assert (taken.url, taken.log_key, taken.prover_key) == (card.url, card.log_key, card.prover_key)


def test_an_institution_proves_for_itself_and_shows_nobody_its_book(run: Run, admitted: Place, tmp_path: Path) -> None:
    """Its operator registers the prover, the service checks and logs, and a venue pins the key it accepts."""
    desk, service = admitted.desk, ("--config", admitted.file)
    root, card = desk.root, read_card(desk.root / "service.json")
    assert run("prove", "--rule", RULE, "--desk", root).status == 0
    sequence = desk.last_sequence()
    file = desk.attestation_file(sequence)
    proved = file.read_bytes()

    told = run("submit", "--proved", file, "--desk", root)
    assert told.status != 0
    assert "proved.prover" in told.err
    key = desk.prover_key()
    assert run("office", "register-prover", "fund-1", key.raw.hex(), *service).status == 0
    posted = json.loads(run("submit", "--proved", file, "--desk", root, "--json").out)
    assert (posted["sequence"], posted["statement"]) == (sequence, desk.attestation(sequence).statement.digest.hex())
    assert file.read_bytes() == proved
    assert file.with_suffix(".receipt").exists()
    again = json.loads(run("submit", "--proved", file, "--desk", root, "--json").out)
    assert (again["submission"], again["log_index"]) == (None, posted["log_index"])

    assert run("open", "pledge", "venue-a", "--desk", root).status == 0
    policy = tmp_path / "policy.json"

    def codes(*provers: str) -> set[str]:
        policy.write_bytes(desk_policy(desk, card, "venue-a", provers=list(provers), epoch_lag_s=86_400))
        told = run(
            "venue", "decide", "--policy", policy, "--account", "fund-1", "--pledge", root / "opened" / "venue-a.json",
            "--card", root / "service.json", "--json",
        )  # fmt: skip
        return {reason["code"] for reason in json.loads(told.out)["reasons"]}

    hosted = card.prover_key.raw.hex()
    assert codes(hosted) == {"signature.threshold"}
    assert codes(hosted, key.raw.hex()) == set()  # both: the predecessor was the hosted prover's
    assert submit(run, desk)["sequence"] == sequence + 1  # the hosted prover goes on from there


def listening(port: int, process: subprocess.Popen[str]) -> None:
    """Returns as soon as somebody listens at the port."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise AssertionError("the service does not listen")


@pytest.mark.slow
def test_the_first_run_makes_what_is_missing_and_stops_when_told(tmp_path: Path) -> None:
    environment = os.environ | {"MARGINSEAL_SERVER__PORT": str(free_port()), "MARGINSEAL_WORKER__PROCESSES": "1"}
    command = [sys.executable, "-m", "marginseal.cli", "serve", "--data", str(tmp_path / "data"), "--development"]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as p:
        assert p.stdout is not None
        said = []
        for line in p.stdout:
            said.append(line)
            if line.startswith("serving "):
                break
        listening(int(environment["MARGINSEAL_SERVER__PORT"]), p)
        p.send_signal(signal.SIGTERM)
        assert p.wait(PATIENCE_S) == 0
    made = "".join(said)
    assert made.count("DEVELOPMENT") == 7
    assert (tmp_path / "data" / "keys" / "log.key").exists()


def test_an_address_where_nobody_can_listen_is_refused(run: Run, tmp_path: Path) -> None:
    """Not "serving" at a port that is another's, and trying for ever."""
    assert run("serve", "--data", tmp_path / "data", "--development", "--prepare").status == 0
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        for host, why in (("127.0.0.1", "in use"), ("192.0.2.1", "assign")):
            environment = os.environ | {"MARGINSEAL_SERVER__PORT": str(port), "MARGINSEAL_SERVER__HOST": host}
            command = [sys.executable, "-m", "marginseal.cli", "serve", "--data", str(tmp_path / "data")]
            told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
            assert (told.returncode, "serving" in told.stdout) == (3, False)
            assert f"cannot listen at {host} port {port}" in told.stderr
            assert why in told.stderr
            assert "[serve.address]" in told.stderr


def test_a_service_whose_port_is_taken_gets_another_one(tmp_path: Path) -> None:
    """Whoever has it by now: connections to it are not taken for the service's word that it listens."""
    file = service_folder(tmp_path)
    taken = service_config(None, file).server.port
    with socket.create_server(("127.0.0.1", taken)), serving(file) as config:
        assert config.server.port != taken
        authority = config.path(config.server.certificate).parent / "ca.pem"
        with contextlib.closing(Client(config.public_url, ca=authority)) as client:
            assert client.log_key().startswith(config.log.origin)


TOLD_WHILE_STARTING = """
import os, signal, sys
from multiprocessing.context import SpawnProcess
from pathlib import Path
from server.config import load
from server.main import run

plain, started = SpawnProcess.start, []

def start(process):
    if len(started) == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGTERM)
    plain(process)
    started.append(process)
    if len(started) == 2:
        started[0].kill()  # which is started again

SpawnProcess.start = start
run(load(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("started", [0, 1, 2])
def test_a_service_that_is_told_to_stop_while_it_starts_a_part_stops(tmp_path: Path, started: int) -> None:
    file = service_folder(tmp_path)
    command = [sys.executable, "-c", TOLD_WHILE_STARTING, str(file), str(started)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.slow
def test_the_demo_plays_over_https(run: Run, tmp_path: Path) -> None:
    told = run("demo", "--keep", tmp_path / "demo", "--picture", tmp_path / "capital.png")
    assert told.status == 0, told.err
    assert (tmp_path / "capital.png").read_bytes().startswith(b"\x89PNG")
    for said in (
        "17 tried, 17 refused",
        "submission.sequence-taken",
        "log.payload",
        "accept.left-out",
        "venue-a: margin-call",
        "venue-b: margin-call",
        "2 attestations hold again",
    ):
        assert said in told.out, said
