"""Bad input at the command line: a stable code, an exit status, and nothing half-written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from marginseal.cli.output import emit
from tests.cli.conftest import Run


def code(err: str) -> str:
    return err.rsplit("[", 1)[1].split("]")[0]


def spoil_json(path: Path, **changes: object) -> None:
    body = json.loads(path.read_text())
    path.write_text(json.dumps(body | changes))


@pytest.mark.parametrize(
    ("content", "expected", "status"),
    [
        ("instrument,lots\nNO-SUCH,1\n", "holdings.unknown-instrument", 3),
        ("instrument,lots\nUSD,1.5\n", "holdings.fractional", 3),
        ("instrument,lots\nUSD,1\nUSD,1\n", "holdings.duplicate", 3),
        ("instrument,lots\nUSD,9007199254740992\n", "holdings.out-of-range", 3),
        ("instrument,lots\nUSD,nan\n", "holdings.fractional", 3),
        ("what,else\n", "csv.header", 3),
        ("", "csv.header", 3),
    ],
)
def test_holdings(run: Run, desk: Path, content: str, expected: str, status: int) -> None:
    (desk / "holdings" / "custodian.csv").write_text(content)
    before = (desk / "statements" / "custodian.0.json").read_bytes()
    ran = run("commit", "custodian", "--cut", "next", cwd=desk)
    assert (ran.status, code(ran.err)) == (status, expected)
    assert (desk / "statements" / "custodian.0.json").read_bytes() == before
    assert "Traceback" not in ran.err


def test_of_several_files_the_wrong_one_is_named(run: Run, desk: Path) -> None:
    (desk / "holdings" / "venue-a.csv").write_text("instrument,lots\nUSD,1\nUSD,1\n")
    ran = run("margin", *sorted((desk / "holdings").iterdir()), cwd=desk)
    assert ran.err.startswith("refused: holdings venue-a.csv: line 3: ")
    (desk / "holdings" / "venue-a.csv").write_text("instrument,lots\n")
    (desk / "registry" / "venues.json").write_text("{}")
    assert "registry/venues.json: " in run("prove").err
    (desk / "keys" / "source-venue-a.json").write_text("")
    assert "keys/source-venue-a.json: " in run("commit", "venue-a", "--cut", "next").err
    (desk / "statements" / "venue-b.0.json").write_text("{")
    assert "statements/venue-b.0.json: " in run("open", "row", "venue-b", "USD").err


def test_an_epoch_of_another_universe_gives_no_figures(run: Run, desk: Path) -> None:
    """Of the same number of instruments: nothing else would tell that the rows mean something else."""
    spoil_json(desk / "universe.json", name="Another market")
    ran = run("margin", "holdings/custodian.csv", cwd=desk)
    assert (ran.status, code(ran.err), ran.out) == (8, "margin.universe", "")


def test_public_inputs(run: Run, desk: Path) -> None:
    ran = run("prove", "--input", 5, cwd=desk)
    assert (ran.status, code(ran.err)) == (3, "prove.inputs")
    books = sorted((desk / "holdings").iterdir())
    ran = run("margin", *books, "--rule", "net_band", "--input", 5)
    assert (ran.status, code(ran.err)) == (5, "circuit.inputs")
    assert "low in " in ran.err
    assert "high in " in ran.err
    ran = run("margin", *books, "--rule", "net_band", "--input", -(10**12), "--input", 10**12, "--json")
    assert json.loads(ran.out)["holds"] is True


def test_missing_files_and_wrong_folders(run: Run, tmp_path: Path, desk: Path) -> None:
    assert code(run("epoch", "build", cwd=tmp_path).err) == "file.missing"
    assert code(run("verify", "nothing.json").err) == "file.missing"
    assert code(run("init", desk).err) == "init.not-empty"
    assert code(run("init", desk / "universe.json").err) == "init.not-a-folder"
    assert code(run("init", tmp_path / "new", "--market", tmp_path).err) == "file.missing"
    assert code(run("init", tmp_path / "new", "--market", desk, "--now").err) == "init.market"
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "epoch.bin").exists()


def test_the_wrong_folder_is_named_with_what_makes_a_desk(run: Run, tmp_path: Path, desk: Path) -> None:
    books = sorted((desk / "holdings").iterdir())
    for verb in (("prove",), ("commit", "venue-a"), ("margin", *books), ("epoch", "build"), ("epoch", "show")):
        ran = run(*verb, cwd=tmp_path)
        assert (ran.status, code(ran.err)) == (3, "file.missing")
        assert "this folder is no desk" in ran.err
        assert f"{desk / 'holdings'} is no desk" in run(*verb, "--desk", desk / "holdings").err
    (desk / "epoch.bin").rename(desk / "earlier.bin")
    assert "`marginseal epoch build`" in run("prove", "--desk", desk).err
    for verb in (("epoch", "build"), ("epoch", "verify"), ("epoch", "show"), ("margin", *books)):
        assert run(*verb, "--desk", desk).status == 0
    assert (desk / "epoch.bin").read_bytes() == (desk / "earlier.bin").read_bytes()
    assert not (tmp_path / "epoch.bin").exists()
    assert "`marginseal log policy venue-a`" in run("decide", "venue-a", "--desk", desk).err


def test_an_epoch_of_other_files_does_not_verify(run: Run, desk: Path) -> None:
    parameters = json.loads((desk / "parameters.json").read_text())
    parameters["initial_factor_permille"] += 1
    (desk / "parameters.json").write_text(json.dumps(parameters))
    ran = run("epoch", "verify", cwd=desk)
    assert (ran.status, code(ran.err)) == (8, "epoch.mismatch")


@pytest.mark.parametrize("keep", [0, 1, 100, -1])
def test_a_truncated_epoch(run: Run, desk: Path, keep: int) -> None:
    data = (desk / "epoch.bin").read_bytes()
    (desk / "epoch.bin").write_bytes(data[:keep])
    ran = run("epoch", "show", cwd=desk)
    assert ran.status == 4
    assert code(ran.err).startswith("epoch.")


def test_an_unhealthy_book_names_the_line_and_no_amount(run: Run, desk: Path) -> None:
    from marginseal.market.example import example_file

    (desk / "holdings" / "venue-b.csv").write_bytes(example_file("unhealthy-venue-b.csv"))
    for source in ("custodian", "venue-a", "venue-b"):
        assert run("commit", source, "--cut", "next", "--sequence", 2, cwd=desk).status == 0
    (desk / "attestations" / "000001.json").unlink()
    ran = run("prove", "--json")
    error = json.loads(ran.err)["error"]
    assert (ran.status, error["code"], error["line"]) == (6, "rule.unsatisfied", "health")
    assert not any(character.isdigit() for character in error["message"])
    assert not list((desk / "attestations").iterdir())


def test_an_attestation_for_another_epoch(run: Run, desk: Path) -> None:
    from marginseal.market.epoch import encode
    from marginseal.market.example import example_market

    (desk / "epoch.bin").write_bytes(encode(example_market().crash_epoch))
    ran = run("verify", "attestations/000001.json", cwd=desk)
    assert (ran.status, code(ran.err)) == (8, "claim.epoch")


@pytest.mark.parametrize("at", [0, 40, 700, -3])
def test_a_spoiled_attestation(run: Run, desk: Path, at: int) -> None:
    path = desk / "attestations" / "000001.json"
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))
    ran = run("verify", path, cwd=desk)
    assert ran.status in (4, 7, 8)
    assert "Traceback" not in ran.err


def test_a_statement_sealed_to_somebody_else(run: Run, desk: Path) -> None:
    other = json.loads((desk / "statements" / "venue-a.0.json").read_text())
    spoil_json(desk / "statements" / "venue-b.0.json", sealed=other["sealed"])
    ran = run("prove", cwd=desk)
    assert ran.status in (4, 7)
    assert "Traceback" not in ran.err


def test_a_source_of_the_manifest_cannot_be_left_out(run: Run, desk: Path) -> None:
    (desk / "statements" / "venue-a.0.json").unlink()
    ran = run("prove", cwd=desk)
    assert (ran.status, code(ran.err)) == (8, "accept.left-out")
    assert not (desk / "attestations" / "000002.json").exists()


@pytest.mark.parametrize(
    "amount", ["1.001", "-1", "nan", "1e400", 5, "999999999999999999999", "3e5", "+1", "1_0", "３"]
)
def test_pledges(run: Run, desk: Path, amount: object) -> None:
    (desk / "pledges.json").write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": {"venue-a": amount}}))
    ran = run("prove", cwd=desk)
    assert (ran.status, code(ran.err)) == (3, "pledges.amount")
    assert str(amount) not in ran.err.replace("0.01", "")


def test_a_pledge_that_falls_is_told_what_it_needs(run: Run, desk: Path) -> None:
    lower = {"venue-a": "599999.00", "venue-b": "400000.00"}
    (desk / "pledges.json").write_text(json.dumps({"format": "marginseal-pledges-1", "pledges": lower}))
    ran = run("prove", "--json", cwd=desk)
    error = json.loads(ran.err)["error"]
    assert (ran.status, error["code"], error["line"]) == (6, "rule.unsatisfied", "continuity")
    assert "a release by its venue" in error["message"]
    assert not any(character.isdigit() for character in error["message"])
    assert not (desk / "attestations" / "000002.json").exists()


def test_a_source_signs_a_cut_once_and_keeps_what_it_signed(run: Run, desk: Path) -> None:
    """Two messages for one cut are evidence against the source; an earlier cut's stays, for attestations name it."""
    before = (desk / "statements" / "venue-b.0.json").read_bytes()
    ran = run("commit", "venue-b", cwd=desk)
    assert (ran.status, code(ran.err)) == (3, "commit.signed")
    assert (desk / "statements" / "venue-b.0.json").read_bytes() == before
    for source in ("custodian", "venue-a", "venue-b"):
        assert run("commit", source, "--cut", "next", "--sequence", 2).status == 0
    assert before in [path.read_bytes() for path in (desk / "statements" / "past").iterdir()]
    assert run("prove").status == 0
    for number in (1, 2):
        assert run("verify", f"attestations/00000{number}.json").status == 0


def test_what_the_options_do_not_know(run: Run, desk: Path) -> None:
    assert code(run("verify", "attestations/000001.json", "--backend", "zz", cwd=desk).err) == "cli.backend"
    assert code(run("log", "append", "--at", 4_000_000_000).err) == "cli.at"
    assert run("log", "append", "--desk", "registry").status == 3
    assert not (desk / "registry" / "log").exists()
    (desk / "snapshot.json").rename(desk / "elsewhere.json")
    assert code(run("log", "append").err) == "file.missing"
    assert not (desk / "log").exists()
    assert code(run("bench", "--instruments", 65_536, "--scenarios", 16_384).err) == "bench.size"
    assert run("open", "pledge", "venue-a").status == 0
    assert code(run("open", "check", "opened/venue-a.json").err) == "open.venue"


def test_an_address_or_authority_that_cannot_be_is_refused_at_once(run: Run, desk: Path) -> None:
    """Not after a minute of asking again, and in words that name what is wrong."""
    asked = ("submit", "--desk", desk, "--url")
    assert code(run(*asked, "http://localhost:1").err) == "service.url"
    for ca in (desk / "nothing.pem", desk / "universe.json", desk):
        ran = run(*asked, "https://localhost:1", "--ca", ca)
        assert (ran.status, code(ran.err)) == (3, "service.ca")
        assert str(ca) in ran.err


def test_paths_where_nothing_can_be(run: Run, desk: Path, tmp_path: Path) -> None:
    file = desk / "universe.json"
    assert code(run("witness", "init", file, "--name", "w.example/one", "--log", "x").err) == "init.not-a-folder"
    ran = run("replay", tmp_path / "nowhere", "--policy", file)
    assert ran.status == 3
    assert run("log", "append", cwd=desk).status == 0
    assert run("log", "policy", "venue-a").status == 0
    ran = run("replay", tmp_path / "nowhere", "--policy", "policies/venue-a.json")
    assert (ran.status, code(ran.err)) == (3, "bundle.missing")
    assert "nowhere" in ran.err
    assert code(run("office", "register-source", "s", "a" * 300, "--data", desk / "none").err).startswith("file.")
    assert code(run("key", "revoke", "a" * 300, "--holder", "s").err) == "file.unreadable"


def test_a_wrong_passphrase(run: Run, desk: Path) -> None:
    (desk / "keys" / "passphrase").write_text("not the one it was")
    assert code(run("prove", cwd=desk).err) == "key.unlock"


def test_events_are_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """`submit --follow --json`: who reads it cannot wait for the end to know where an object ends."""
    for number in (1, 2):
        emit({"epoch": number, "more": {"a": "ü"}}, True, lambda _: None, event=True)
    assert [json.loads(line)["epoch"] for line in capsys.readouterr().out.splitlines()] == [1, 2]


def test_usage_is_status_two(run: Run) -> None:
    assert run("prove", "--no-such-option").status == 2
    assert run("nothing").status == 2
    assert run("open", "pledge", "venue-a", "--sequence", 0).status == 2
    assert run("commit", "custodian", "--hours", 10**9).status == 2
    ran = run("prove", "--workers", 99, "--json")
    assert (ran.status, json.loads(ran.err)["error"]["code"]) == (2, "cli.usage")


def test_a_fault_of_ours_shows_no_traceback_and_no_message(
    run: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("secret 12345")

    monkeypatch.setattr("marginseal.market.epoch.read_epoch", broken)
    ran = run("epoch", "show", cwd=desk)
    assert ran.status == 70
    assert "12345" not in ran.err
