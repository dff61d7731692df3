"""Oracles publish by themselves; a snapshot of k of n out of the log; a report that the operator dropped shows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.cli import init
from marginseal.cli.desk import Desk
from marginseal.cli.oracle import read_report
from marginseal.cli.remote import connected, read_card
from marginseal.cli.story.service import service_folder, serving
from marginseal.cli.venue import desk_policy
from marginseal.errors import ServiceError
from marginseal.files import write_atomic
from marginseal.market.epoch import encode
from marginseal.market.example import ExampleMarket, example_market
from marginseal.market.snapshot import snapshot_json
from marginseal.records.envelope import peek, sign
from marginseal.records.keys import Role
from marginseal.records.oracle import OracleReport
from tests.cli.conftest import Ran, Run

NAMES = ("o1", "o2", "o3")


@dataclass(frozen=True)
class Place:
    desk: Path
    service: Path
    market: ExampleMarket

    def key(self, name: str) -> Any:
        return Desk(self.desk).signing_key(f"oracle-{name}", Role.ORACLE)


def told(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    body = json.loads(ran.out)
    assert isinstance(body, dict)
    return body


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A service that names three oracles, and a desk with their keys and what each read at its market."""
    from marginseal.cli.main import app

    root = tmp_path_factory.mktemp("oracles")
    at = int(time.time()) - 30
    desk, market = Desk(root / "desk"), example_market(at)
    init.make_desk(desk, "fund-1", at=at)
    file = service_folder(root / "service")
    lines = ["[oracles]"]
    for number, name in enumerate(NAMES):
        app(["oracle", "init", name, "--desk", str(desk.root)], standalone_mode=False)
        lines.append(f'{name} = "{json.loads((desk.root / f"keys/oracle-{name}.json").read_text())["public"]}"')
        index = {s: replace(i, price=i.price * (1 + 0.002 * number)) for s, i in market.snapshot.index.items()}
        read = replace(market.snapshot, index=index)
        write_atomic(desk.root / f"read-{name}.json", snapshot_json(read))
    file.write_text(file.read_text() + "\n".join(lines) + "\n")
    with serving(file):
        for step in (
            ["office", "admit", str(desk.root), "--config", str(file)],
            ["office", "card", "--config", str(file), "--out", str(desk.root / "service.json")],
        ):
            app(step, standalone_mode=False)
        write_atomic(desk.epoch_file, encode(market.epoch))  # for the policy; the service has none that it could judge
        keys = {name: json.loads((desk.root / f"keys/oracle-{name}.json").read_text())["public"] for name in NAMES}
        oracles = {"keys": keys, "threshold": 2, "venues": 2, "window_s": 86_400, "deviation": 20, "confidence": 100}
        policy = desk_policy(desk, read_card(desk.root / "service.json"), "venue-a", oracles=oracles)
        write_atomic(desk.root / "policy.json", policy)
        yield Place(desk.root, file, market)


def epoch_of(run: Run, place: Place, name: str, *only: str) -> str:
    """The operator makes a snapshot of the reports it likes, and logs the epoch of it."""
    chosen = [option for oracle in only for option in ("--only", oracle)]
    made = told(run("oracle", "snapshot", "--policy", "policy.json", "--name", name, *chosen, "--json"))
    epoch = told(run("epoch", "build", "--json"))["digest"]
    assert run("epoch", "sign").status == 0
    objects = [option for path in [*made["files"], "parameters.json"] for option in ("--with", path)]
    publish = ("office", "publish-epoch", "epoch.bin", "--record", "epoch.json", "--config", place.service, "--json")
    # Without what it was built from, or with something else, nobody could follow it or build it again.
    for lacking in ((), objects[:-2], ("--with", "read-o2.json", *objects[-2:])):
        refused = run(*publish, *lacking)
        assert (refused.status, json.loads(refused.err)["error"]["code"]) == (8, "epoch-record.inputs")
    told(run(*publish, *objects))
    return str(epoch)


def test_a_report_that_the_operator_dropped_shows(run: Run, place: Place) -> None:
    for name in NAMES:
        signed = told(
            run(
                "oracle", "report", name, "--venue", f"market of {name}", "--snapshot", f"read-{name}.json", "--json",
                cwd=place.desk,
            )
        )  # fmt: skip
        assert told(run("oracle", "publish", name, "--json"))["digest"] == signed["digest"]
        assert told(run("oracle", "publish", name, "--json"))["digest"] == signed["digest"]  # nothing is added
    listed = told(run("oracle", "available", "--policy", "policy.json", "--json"))["reports"]
    assert [r["oracle"] for r in listed] == list(NAMES)

    honest = told(
        run("oracle", "available", "--policy", "policy.json", "--epoch", epoch_of(run, place, "all"), "--json")
    )
    assert [r["used"] for r in honest["reports"]] == [True, True, True]
    assert honest["with_all"] == "the same snapshot"

    dropped = epoch_of(run, place, "two", "o1", "o2")
    shown = told(run("oracle", "available", "--policy", "policy.json", "--epoch", dropped, "--json"))
    assert {r["oracle"]: r["used"] for r in shown["reports"]} == {"o1": True, "o2": True, "o3": False}
    assert shown["with_all"] == "another snapshot"
    assert "LEFT OUT o3" in run("oracle", "available", "--policy", "policy.json", "--epoch", dropped).out

    # `office admit`, which is named no files, finds the reports of this snapshot and leaves those of others.
    told(
        run(
            "oracle",
            "snapshot",
            "--policy",
            "policy.json",
            "--name",
            "admitted",
            "--only",
            "o2",
            "--only",
            "o3",
            "--json",
        )
    )
    built = told(run("epoch", "build", "--json"))["digest"]
    assert run("office", "admit", ".", "--config", place.service).status == 0
    shown = told(run("oracle", "available", "--policy", "policy.json", "--epoch", built, "--json"))
    assert {r["oracle"]: r["used"] for r in shown["reports"]} == {"o1": False, "o2": True, "o3": True}

    few = run("oracle", "snapshot", "--policy", "policy.json", "--name", "one", "--only", "o1")
    assert (few.status, few.err.rsplit("[", 1)[1]) == (8, "oracle.quorum]\n")
    unknown = run("oracle", "available", "--policy", "policy.json", "--epoch", "00" * 32)
    assert (unknown.status, unknown.err.rsplit("[", 1)[1]) == (8, "oracle.epoch]\n")
    card = place.desk / "service.json"
    replayed = run(
        "replay", place.desk / "bundle", "--card", card, "--policy", "policy.json", "--workers", 1, "--json",
    )  # fmt: skip
    codes = {f["code"] for f in json.loads(replayed.out)["findings"]}
    assert codes == set(), replayed.out


def test_what_the_service_does_not_take(run: Run, place: Place) -> None:
    assert run("oracle", "report", "o1", "--venue", "m", "--snapshot", "read-o1.json", cwd=place.desk).status == 0
    good = read_report(place.desk / "reports" / "o1.json")
    report = peek(OracleReport, good)

    def refused(expected: str, changed: OracleReport, signer: str = "o1", caller: str = "o1") -> None:
        with connected(read_card(place.desk / "service.json"), place.key(caller)) as client:
            with pytest.raises(ServiceError) as e:
                client.publish_oracle_report(sign(changed, [place.key(signer)]))
            assert e.value.code == expected

    refused("publication.party", report, caller="o2")
    refused("signature.threshold", report, signer="o2")
    refused("public.unknown", replace(report, universe=bytes(32)))
    refused("report.window", replace(report, time=report.time + 3600))
    refused("report.window", replace(report, time=report.time - 2 * 86_400))
    with connected(
        read_card(place.desk / "service.json"), Desk(place.desk).signing_key("operator", Role.OPERATOR)
    ) as c:
        with pytest.raises(ServiceError) as e:
            c.publish_oracle_report(good)
        assert e.value.code == "signature.invalid"
    with connected(read_card(place.desk / "service.json")) as client:
        newest = client.newest_record("oracle-reports")
        assert newest is not None
        note = json.loads(client.record("oracle-reports", newest))
        assert client.object(newest).startswith(b'{"payload"')
        assert note["report"] == newest.hex()
