"""Pledges and books let go, from the command line: pledge, release, a successor with less; a flat book leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from marginseal.cli import init
from marginseal.cli.desk import Desk
from marginseal.cli.remote import connected, read_card
from marginseal.cli.story.service import service_folder, serving
from marginseal.cli.venue import desk_policy
from marginseal.errors import ServiceError
from marginseal.files import write_atomic
from marginseal.log.entry import Entry
from marginseal.market.epoch import encode
from marginseal.market.example import SOURCES, example_market
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keys import Role
from tests.cli.conftest import Ran, Run

RULE = "worst_case"
HOUR = 3600
NOW = example_market().snapshot.time + 60
EMPTY = "instrument,lots\n"


def code(ran: Ran) -> str:
    return ran.err.rsplit("[", 1)[1].split("]")[0]


def told(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    body = json.loads(ran.out)
    assert isinstance(body, dict)
    return body


def pledge(desk: Path, **amounts: str) -> None:
    pledges = {name.replace("_", "-"): amount for name, amount in amounts.items()}
    (desk / "pledges.json").write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": pledges}))


def statement_of(desk: Path) -> str:
    at = Desk(desk)
    return at.attestation(at.last_sequence()).statement.digest.hex()


# A desk without a service


def test_a_pledge_falls_by_its_venues_release_alone(run: Run, desk: Path) -> None:
    pledge(desk, venue_a="100000.00", venue_b="400000.00")
    assert run("prove", cwd=desk).status == 6
    released = told(
        run("venue", "release", "venue-a", "--account", "fund-1", "--statement", statement_of(desk), "--json")
    )
    assert (released["row"], released["sequence"], released["published"]) == (0, 1, False)
    made = told(run("prove", "--release", released["file"], "--json"))
    assert (made["continuity"], made["released_rows"]) == ("linked", [0])

    # The row of another venue is not freed by it, and the release is of one statement alone.
    pledge(desk, venue_a="0.00", venue_b="400000.00")
    again = run("prove", "--release", released["file"])
    assert (again.status, code(again)) == (8, "release.statement")
    assert not (desk / "attestations" / "000003.json").exists()

    assert run("log", "append", "--at", NOW).status == 0
    for venue, ticks in (("venue-a", 10_000_000), ("venue-b", 40_000_000)):
        assert run("log", "policy", venue).status == 0
        assert run("open", "pledge", venue).status == 0
        verdict = told(run("decide", venue, "--at", NOW, "--json"))
        assert (verdict["accepted"], verdict["facts"]["pledge_ticks"]) == (True, ticks)
        assert verdict["facts"]["continuity"] == "linked"
    assert run("log", "export", desk / "bundle").status == 0
    assert run("replay", desk / "bundle", "--policy", "policies/venue-a.json", "--workers", 1).status == 0


def test_one_release_frees_one_row(run: Run, desk: Path) -> None:
    released = told(
        run("venue", "release", "venue-a", "--account", "fund-1", "--statement", statement_of(desk), "--json", cwd=desk)
    )
    pledge(desk, venue_a="100000.00", venue_b="300000.00")
    refused = run("prove", "--release", released["file"])
    assert refused.status == 6
    assert "continuity" in refused.err
    assert not (desk / "attestations" / "000002.json").exists()


def test_a_venue_signs_the_same_again_and_no_nonce_twice(run: Run, desk: Path) -> None:
    release = ("venue", "release", "venue-a", "--account", "fund-1", "--json", "--statement")
    first = told(run(*release, statement_of(desk), cwd=desk))
    again = told(run(*release, statement_of(desk), "--out", desk / "for-the-account.json"))
    assert again["digest"] == first["digest"]
    assert (desk / "for-the-account.json").read_bytes() == Path(first["file"]).read_bytes()
    assert told(run("prove", "--json"))["sequence"] == 2
    second = told(run(*release, statement_of(desk)))
    assert second["nonce"] > first["nonce"]
    memory = desk / "releases" / "memory.venue-a.json"
    memory.write_bytes(memory.read_bytes()[:-1])
    spoiled = run(*release, statement_of(desk))
    assert (spoiled.status, json.loads(spoiled.err)["error"]["code"]) == (4, "json.malformed")


def test_what_a_venue_does_not_sign(run: Run, desk: Path) -> None:
    def refused(*options: object) -> tuple[int, str]:
        ran = run("venue", "release", *options, cwd=desk)
        assert "Traceback" not in ran.err
        return ran.status, code(ran)

    named = ("--account", "fund-1", "--statement")
    assert refused("venue-a", *named, "abc") == (3, "release.digest")
    assert refused("venue-a", *named, "00" * 32) == (8, "release.statement")
    assert refused("venue-a", "--account", "fund-2", "--statement", statement_of(desk)) == (8, "release.statement")
    assert refused("venue-x", *named, statement_of(desk)) == (3, "file.missing")
    keys = desk / "keys"
    (keys / "venue-venue-b.json").write_bytes((keys / "venue-venue-a.json").read_bytes())
    assert refused("venue-b", *named, statement_of(desk)) == (8, "release.key")
    assert not (desk / "releases").exists()


def test_a_source_lets_go_of_a_flat_book_alone(run: Run, desk: Path) -> None:
    release = ("source", "release", "venue-a", "--at")
    full = run(*release, NOW + 25 * HOUR, cwd=desk)
    assert (full.status, code(full)) == (8, "source-release.not-flat")
    assert not any(character.isdigit() for character in full.err)
    (desk / "holdings" / "venue-a.csv").write_text(EMPTY)
    held = run(*release, NOW)
    assert (held.status, code(held)) == (8, "source-release.held")
    missing = run(*release, NOW + 25 * HOUR, "--book", "another")
    assert (missing.status, code(missing)) == (8, "source-release.book")
    assert not (desk / "releases").exists()
    told(run(*release, NOW + 25 * HOUR, "--json"))
    assert told(run(*release, NOW + 26 * HOUR, "--json"))["digest"]
    assert len(list((desk / "releases" / "books").iterdir())) == 1


def test_a_released_book_is_left_out_of_what_follows(run: Run, desk: Path) -> None:
    later = NOW + 25 * HOUR
    nothing = run("manifest", "next", "--without", "venue-a", "--at", later, "--delay", 0, cwd=desk)
    assert (nothing.status, code(nothing)) == (8, "manifest.book-gone")
    assert code(run("manifest", "next", "--without", "nobody", "--at", later)) == "manifest.source"
    (desk / "holdings" / "venue-a.csv").write_text(EMPTY)
    told(run("source", "release", "venue-a", "--at", later, "--json"))
    made = told(run("manifest", "next", "--without", "venue-a", "--at", later, "--delay", HOUR, "--json"))
    assert (made["version"], made["books"]) == (2, 2)
    assert [len(m["books"]) for m in told(run("manifest", "show", "--json"))["manifests"]] == [3, 2]

    # Before it takes effect the old one holds, with the book in it.
    assert told(run("prove", "--json"))["sequence"] == 2
    cut = later + HOUR
    gone = run("commit", "venue-a", "--cut", "new", "--cut-time", cut, "--sequence", 2)
    assert (gone.status, code(gone)) == (8, "commit.manifest")
    for source in ("custodian", "venue-b"):
        told(run("commit", source, "--cut", "new", "--cut-time", cut, "--sequence", 2, "--json"))
    assert told(run("prove", "--json"))["sequence"] == 3
    without = told(run("verify", "attestations/000003.json", "--json"))
    assert [s.split("/")[0] for s in without["sources"]] == ["custodian", "venue-b"]
    assert len(told(run("verify", "attestations/000002.json", "--json"))["sources"]) == 3


# At a service


@dataclass(frozen=True)
class Place:
    desk: Path
    service: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A running service whose manifests change after two seconds, and a desk that plays every party."""
    from marginseal.cli.main import app

    root = tmp_path_factory.mktemp("releases")
    at = int(time.time()) - 60
    desk = Desk(root / "desk")
    init.make_desk(desk, "fund-1", at=at)
    write_atomic(desk.epoch_file, encode(example_market(at).epoch))
    file = service_folder(root / "service")
    file.write_text(file.read_text() + "[log]\nmanifest_delay_s = 2\n")
    with serving(file):
        for step in (
            ["office", "admit", str(desk.root), "--config", str(file)],
            ["office", "card", "--config", str(file), "--out", str(desk.root / "service.json")],
            *(["source", "sign", source, "--no-hold", "--desk", str(desk.root)] for source in SOURCES),
            ["submit", "--rule", RULE, "--desk", str(desk.root)],
        ):
            app(step, standalone_mode=False)
        yield Place(desk.root, file)


def decided(run: Run, place: Place, venue: str) -> dict[str, Any]:
    card = read_card(place.desk / "service.json")
    body = json.loads(desk_policy(Desk(place.desk), card, venue, hold=False, manifest_delay_s=2))
    policy = place.desk / f"{venue}.policy.json"
    policy.write_text(json.dumps(body | {"log": body["log"] | {"max_age_s": 600}}))
    assert run("open", "pledge", venue, cwd=place.desk).status == 0
    return told(
        run("venue", "decide", "--policy", policy, "--account", "fund-1", "--pledge", f"opened/{venue}.json", "--json")
    )


def test_the_whole_cycle_at_a_service(run: Run, place: Place) -> None:
    desk = place.desk
    old = statement_of(desk)
    pledge(desk, venue_a="100000.00", venue_b="400000.00")
    refused = run("submit", "--rule", RULE, "--json", cwd=desk)
    assert (refused.status, json.loads(refused.err)["error"]["line"]) == (6, "continuity")
    assert statement_of(desk) == old

    release = ("venue", "release", "venue-a", "--account", "fund-1", "--json", "--statement")
    released = told(run(*release, old))
    assert released["published"]
    assert told(run(*release, old))["digest"] == released["digest"]  # published again: nothing is added
    made = told(run("submit", "--rule", RULE, "--json"))  # finds the release in the log
    assert (made["continuity"], made["released_rows"]) == ("linked", [0])
    verdict = decided(run, place, "venue-a")
    assert (verdict["accepted"], verdict["facts"]["pledge_ticks"]) == (True, 10_000_000)
    superseded = run(*release, old)
    assert (superseded.status, json.loads(superseded.err)["error"]["code"]) == (8, "release.statement")

    # A book leaves: without its source's release not, with it after the delay.
    gone = run("manifest", "next", "--without", "venue-a", "--delay", 4)
    assert (gone.status, code(gone)) == (8, "manifest.book-gone")
    full = run("source", "release", "venue-a")
    assert (full.status, code(full)) == (8, "source-release.not-flat")
    (desk / "holdings" / "venue-a.csv").write_text(EMPTY)
    assert told(run("source", "release", "venue-a", "--json"))["published"]
    soon = run("manifest", "next", "--without", "venue-a", "--delay", 0)
    assert (soon.status, code(soon)) == (10, "manifest.too-soon")
    assert len(Desk(desk).manifests()) == 1
    (desk / "releases" / "books").rename(desk / "elsewhere")  # the account's own desk has it from the log
    # The delay counts from when the log takes it, which may take long; a cut may lie a minute ahead of a clock, for all
    # but a venue.
    effective = told(run("manifest", "next", "--without", "venue-a", "--delay", 20, "--json"))["effective"]
    assert told(run("manifest", "publish", "--json"))["published"] == 2
    for source in ("custodian", "venue-b"):
        told(
            run("source", "sign", source, "--cut", "2", "--cut-time", effective, "--sequence", 2, "--no-hold", "--json")
        )
    assert told(run("submit", "--rule", RULE, "--json"))["continuity"] == "same"
    time.sleep(max(0.0, effective - time.time()))
    verdict = decided(run, place, "venue-b")
    assert (verdict["accepted"], verdict["facts"]["sources"]) == (True, ["custodian", "venue-b"])


def test_what_the_service_does_not_log(place: Place) -> None:
    desk = Desk(place.desk)
    key, statement = desk.signing_key("venue-venue-a", Role.VENUE), desk.attestation(1).statement
    other = desk.signing_key("venue-venue-b", Role.VENUE)

    def refused(expected: str, record: PledgeRelease, signer: Any = key, caller: Any = key) -> None:
        with connected(read_card(place.desk / "service.json"), caller) as client:
            with pytest.raises(ServiceError) as e:
                client.publish_pledge_release(sign(record, [signer]))
            assert e.value.code == expected

    good = PledgeRelease("venue-a", 0, "fund-1", statement.digest, 7, statement.cut_time)
    refused("publication.party", good, caller=other)
    refused("signature.threshold", good, signer=other)
    refused("signature.invalid", good, caller=desk.signing_key("account", Role.ACCOUNT))
    refused("release.statement", PledgeRelease("venue-a", 0, "fund-1", bytes(32), 7, 1))
    refused("release.statement", PledgeRelease("venue-a", 0, "fund-2", statement.digest, 7, 1))
    refused("release.row", PledgeRelease("venue-a", 1, "fund-1", statement.digest, 7, 1))
    with connected(read_card(place.desk / "service.json"), key) as client:
        digest = client.publish_pledge_release(sign(good, [key]))
        assert client.publish_pledge_release(sign(good, [key])) == digest
        assert digest in client.records_of("pledge-releases", "fund-1")
        assert client.records_of("pledge-releases", "fund-2") == []
        size = [Entry.decode(data).kind for _, _, data in client.entries(0)].count("pledge-release")
        assert size == len(client.records_of("pledge-releases", "fund-1"))
        with pytest.raises(ServiceError) as e:
            client._publish("/v1/pledge-releases", b"{" + b" " * 2**14 + b"}")
        assert e.value.code == "body.too-large"
    refused("release.nonce", PledgeRelease("venue-a", 0, "fund-1", statement.digest, 7, 2))
    assert Envelope.decode(sign(good, [key]).encode()).digest == digest
