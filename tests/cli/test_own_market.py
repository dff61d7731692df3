"""A market of one's own, from an option chain to an opened pledge, as the README says it."""

from __future__ import annotations

import codecs
import csv
import io
import json
from pathlib import Path

import pytest

from marginseal.market.importer import CHAIN_COLUMNS
from marginseal.market.universe import read_universe, universe_csv
from tests.cli.conftest import Run

MOMENTS = ("2026-02-05T09:00:00Z", "2026-02-05T15:00:00Z")


def chain() -> str:
    """Two moments of two options: enough for a universe."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(CHAIN_COLUMNS)
    for moment in MOMENTS:
        for kind, mark in (("call", "0.02"), ("put", "0.03")):
            writer.writerow(
                (moment, "BTC", f"BTC-27MAR26-70000-{kind[0].upper()}", kind, "70000", "2026-03-27T08:00:00Z", "0.14",
                 "BTC-27MAR26", "69000", "68500", "", "", mark, "0.6", "0.5", "90", "1", "1")
            )  # fmt: skip
    return out.getvalue()


@pytest.fixture
def imported(run: Run, tmp_path: Path) -> Path:
    """A folder with a chain, and `market` imported from it."""
    (tmp_path / "chain.csv").write_text(chain())
    assert run("epoch", "import", "chain.csv", "--at", MOMENTS[0], "--out", "market", cwd=tmp_path).status == 0
    return tmp_path


def test_from_a_chain_to_an_opened_pledge(run: Run, imported: Path) -> None:
    assert run("init", "own", "--market", "market", cwd=imported).status == 0
    desk = imported / "own"
    assert run("epoch", "build", cwd=desk).status == 0
    (desk / "holdings" / "venue-a.csv").write_text("instrument,lots\nUSD,100000\nBTC-27MAR26-70000-C,-5\n")
    (desk / "pledges.json").write_text('{"format": "marginseal-pledges-1", "pledges": {"venue-a": "100.00"}}')
    for source in ("custodian", "venue-a", "venue-b"):
        assert run("commit", source).status == 0
    for line in ("prove", "verify attestations/000001.json", "open pledge venue-a"):
        assert run(*line.split()).status == 0
    assert "100.00 USD" in run("open", "check", "opened/venue-a.json", "--venue", "venue-a").out


def test_a_later_import_keeps_the_parameters_and_replaces_no_universe(run: Run, imported: Path) -> None:
    parameters = imported / "market" / "parameters.json"
    parameters.write_text(parameters.read_text().replace('"tick": "0.01"', '"tick": "0.1"'))
    edited, quotes = parameters.read_bytes(), (imported / "market" / "snapshot.json").read_bytes()
    ran = run("epoch", "import", "chain.csv", "--at", MOMENTS[1], "--out", "market", cwd=imported)
    assert (ran.status, parameters.read_bytes()) == (0, edited)
    assert (imported / "market" / "snapshot.json").read_bytes() != quotes
    (imported / "other.csv").write_text(chain())
    before = {path: path.read_bytes() for path in (imported / "market").iterdir()}
    ran = run("epoch", "import", "other.csv", "--at", MOMENTS[0], "--out", "market")
    assert (ran.status, ran.err.rsplit("[", 1)[1]) == (3, "import.universe]\n")
    assert {path: path.read_bytes() for path in (imported / "market").iterdir()} == before


def test_which_moment_is_asked_for_and_the_nearest_is_told(run: Run, imported: Path) -> None:
    ran = run("epoch", "import", "chain.csv", "--out", "other", cwd=imported)
    assert ran.status == 3
    assert all(moment in ran.err for moment in MOMENTS)
    ran = run("epoch", "import", "chain.csv", "--out", "other", "--at", "2026-02-05T14:00:00Z")
    assert ran.status == 3
    assert f"the nearest is {MOMENTS[1]}" in ran.err
    assert not (imported / "other").exists()


def test_an_instrument_more_and_a_universe_in_csv(run: Run, desk: Path) -> None:
    """A refusal tells the digest that the snapshot lacks; rows are appended, so holdings stay what they are."""
    universe, snapshot = (json.loads((desk / name).read_text()) for name in ("universe.json", "snapshot.json"))
    universe["instruments"].append(
        {"id": "BTC-SMALL", "kind": "spot", "underlying": "BTC", "contract": "linear", "lot": "0.001", "max_lots": 1000}
    )
    (desk / "universe.json").write_text(json.dumps(universe))
    ran = run("epoch", "build", cwd=desk)
    assert (ran.status, "[snapshot.universe]" in ran.err) == (3, True)
    told = json.loads(run("epoch", "universe", "--json").out)["universe"]
    assert told in ran.err
    ran = run("commit", "custodian", "--cut", "next", "--sequence", 2)
    assert (ran.status, "[commit.universe]" in ran.err) == (8, True)
    snapshot["universe_digest"] = told
    snapshot["quotes"]["BTC-SMALL"] = snapshot["quotes"]["BTC"]
    (desk / "snapshot.json").write_text(json.dumps(snapshot))
    assert run("epoch", "build").status == 0
    (desk / "universe.csv").write_bytes(universe_csv(read_universe(desk / "universe.json")))
    given = ("--name", universe["name"], "--settlement", "USD", "--out", "again.json", "--json")
    assert json.loads(run("epoch", "universe", "universe.csv", *given).out)["universe"] == told
    assert run("epoch", "build", "--universe", "again.json").status == 0
    digest = json.loads(run("epoch", "snapshot", "--out", "prices.csv", "--json").out)["snapshot"]
    moment = ("--name", snapshot["name"], "--at", snapshot["time"], "--max-age-s", snapshot["max_age_s"])
    back = run("epoch", "snapshot", "prices.csv", *moment, "--out", "prices.json", "--json")
    assert json.loads(back.out)["snapshot"] == digest
    assert run("epoch", "build", "--snapshot", "prices.json").status == 0
    for incomplete in (("prices.csv",), ("prices.json", "--name", "x"), ("prices.csv", "--name", "x", "--at", "now")):
        ran = run("epoch", "snapshot", *incomplete)
        assert (ran.status, "Traceback" in ran.err) == (3, False)
    for wrong in (
        ("universe.csv",),
        ("universe.json", "--name", "x"),
        ("universe.csv", "--name", "", "--settlement", "USD"),
    ):
        ran = run("epoch", "universe", *wrong)
        assert (ran.status, "Traceback" in ran.err) == (3, False)
    (desk / "universe.json").write_bytes(codecs.BOM_UTF8 + (desk / "again.json").read_bytes())
    assert "byte order mark" in run("epoch", "build").err
