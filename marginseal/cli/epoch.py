"""`marginseal epoch`: market files in, the risk epoch out, and anyone's check of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.output import AsJson, emit, progress, table, utc
from marginseal.errors import InputError, PolicyError

app = typer.Typer(help="Build, show and verify risk epochs.", no_args_is_help=True)

UniverseFile = Annotated[
    Path | None,
    typer.Option("--universe", help="Universe file, JSON (of a CSV: `epoch universe`); default the desk's."),
]
SnapshotFile = Annotated[
    Path | None, typer.Option("--snapshot", help="Market snapshot, JSON (of a CSV: `epoch snapshot`); as above.")
]
EpochFile = Annotated[Path | None, typer.Argument(help="Epoch file; default the desk's.")]
ParametersFile = Annotated[Path | None, typer.Option("--parameters", help="Risk parameters, JSON; as above.")]
DeskFolder = Annotated[Path, typer.Option("--desk", help="The desk's folder.")]


@app.command()
def build(
    universe: UniverseFile = None,
    snapshot: SnapshotFile = None,
    parameters: ParametersFile = None,
    out: Annotated[Path | None, typer.Option(help="Where the epoch goes; default epoch.bin of the desk.")] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Full revaluation of every instrument in every scenario, rounded to ticks; the same files give the same bytes."""
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode

    with progress("building the epoch", quiet=as_json):
        epoch = built(*_market(desk, universe, snapshot, parameters))
    path = out or desk / "epoch.bin"
    write_atomic(path, encode(epoch))
    emit(_describe(epoch) | {"file": str(path)}, as_json, _tell)


@app.command()
def show(
    file: EpochFile = None,
    instruments: Annotated[
        bool,
        typer.Option("--instruments", help="One lot of each instrument: value, worst case, Greeks, rounding error."),
    ] = False,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """What an epoch holds: scenarios, factors, limits, rounding."""
    from marginseal.cli.desk import Desk

    epoch = Desk(desk).epoch(file)
    emit(_describe(epoch) | ({"lots": _lots(epoch)} if instruments else {}), as_json, _tell)


@app.command()
def verify(
    file: EpochFile = None,
    universe: UniverseFile = None,
    snapshot: SnapshotFile = None,
    parameters: ParametersFile = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Rebuild the epoch from its snapshot and compare, byte for byte."""
    from marginseal.cli.desk import Desk

    at = Desk(desk)
    with progress("rebuilding the epoch", quiet=as_json):
        epoch, rebuilt = at.epoch(file), built(*_market(desk, universe, snapshot, parameters))
    if epoch.digest != rebuilt.digest:
        raise PolicyError(
            "epoch.mismatch", f"{file or at.epoch_file} is not what these files give: {_difference(epoch, rebuilt)}"
        )
    emit({"epoch": epoch.digest.hex(), "rebuilt": True}, as_json, lambda b: print(f"rebuilt exactly: {b['epoch']}"))


@app.command()
def sign(
    file: EpochFile = None,
    out: Annotated[Path | None, typer.Option(help="Where the signed record goes; default epoch.json.")] = None,
    desk: Annotated[Path, typer.Option(help="The desk that holds the risk operator's key.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """The risk operator's signature on what an epoch is and what it was built from."""
    from marginseal.cli.desk import Desk
    from marginseal.files import write_atomic
    from marginseal.records import envelope
    from marginseal.records.epoch import epoch_record
    from marginseal.records.keys import Role

    at = Desk(desk)
    epoch, path = at.epoch(file), out or at.root / "epoch.json"
    write_atomic(path, envelope.sign(epoch_record(epoch), [at.signing_key("operator", Role.OPERATOR)]).encode())
    emit({"epoch": epoch.digest.hex(), "file": str(path)}, as_json, lambda b: print(f"{b['epoch']} -> {b['file']}"))


@app.command("import")
def import_(
    chain: Annotated[Path, typer.Argument(help="Option chain, CSV or CSV.gz, columns in docs/formats.md.")],
    at: Annotated[
        str | None, typer.Option(help="Which moment, as in the timestamp column; needed if there are several.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the three files.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """A universe, a market snapshot and default parameters from an option chain with its forwards.

    Parameters that are there already are kept; a universe that is there already has to be the same."""
    from marginseal.files import write_atomic
    from marginseal.market import fields
    from marginseal.market.importer import import_chain, read_chain
    from marginseal.market.parameters import RiskParameters, UnderlyingRisk, parameters_json
    from marginseal.market.snapshot import snapshot_json
    from marginseal.market.universe import read_universe, universe_json

    with progress("reading the chain", quiet=as_json):
        moment = None if at is None else fields.time(at, "--at")
        universe, snapshot = import_chain(read_chain(chain), time=moment, name=chain.name.split(".")[0])
    there = out / "universe.json"
    if there.exists() and read_universe(there).digest != universe.digest:
        raise InputError("import.universe", f"{there} is another universe: import into a new folder (--out)")
    # Scan ranges to start from; an operator sets his own (docs/formats.md).
    ranges = {u: UnderlyingRisk(price_range=0.16) for u in universe.underlyings}
    parameters = RiskParameters(name="defaults", operator="operator", underlyings=ranges)
    files = {
        "universe.json": universe_json(universe),
        "snapshot.json": snapshot_json(snapshot),
        "parameters.json": parameters_json(parameters),
    }
    if (out / "parameters.json").exists():
        del files["parameters.json"]
    for name, data in files.items():
        write_atomic(out / name, data)
    body = {"instruments": len(universe), "universe": universe.digest.hex(), "snapshot": snapshot.digest.hex()}
    emit(body, as_json, lambda b: print(f"{b['instruments']} instruments -> {', '.join(files)} in {out}"))


@app.command("universe")
def universe_(
    file: Annotated[Path, typer.Argument(help="Universe file, JSON, or CSV by its name.")] = Path("universe.json"),
    name: Annotated[str | None, typer.Option(help="Of a CSV: name of the universe.")] = None,
    settlement: Annotated[
        str | None, typer.Option(help="Of a CSV: the currency in which everything is measured.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it here as JSON.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a universe and tell its digest, which its snapshot has to name."""
    from marginseal.files import MAX_JSON_BYTES, read_bytes, write_atomic
    from marginseal.market.universe import parse_universe_csv, read_universe, universe_json

    if _is_csv(file):
        if name is None or settlement is None:
            raise InputError("universe.csv", "a CSV names neither: say --name and --settlement")
        data = read_bytes(file, limit=MAX_JSON_BYTES, what="universe")
        listed = parse_universe_csv(data, name=name, settlement=settlement)
    elif name is not None or settlement is not None:
        raise InputError("universe.csv", "--name and --settlement belong to a CSV; a JSON file has its own")
    else:
        listed = read_universe(file)
    if out is not None:
        write_atomic(out, universe_json(listed))
    body = {"name": listed.name, "instruments": len(listed), "universe": listed.digest.hex()}
    emit(body, as_json, lambda b: print(f"{b['name']}: {b['instruments']} instruments, digest {b['universe']}"))


@app.command("snapshot")
def snapshot_(
    file: Annotated[Path, typer.Argument(help="Snapshot file, JSON, or CSV by its name.")] = Path("snapshot.json"),
    universe: Annotated[Path, typer.Option(help="Universe file, JSON (of a CSV: `epoch universe`).")] = Path(
        "universe.json"
    ),
    name: Annotated[str | None, typer.Option(help="Of a CSV: name of the snapshot.")] = None,
    at: Annotated[str | None, typer.Option(help="Of a CSV: its moment, YYYY-MM-DDTHH:MM:SSZ.")] = None,
    max_age_s: Annotated[int | None, typer.Option(help="Of a CSV: the oldest a price may be, s; default 600.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write it here, as JSON, or as CSV by its name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a market snapshot against its universe and tell its digest; turn one form into the other."""
    from marginseal.files import MAX_JSON_BYTES, read_bytes, write_atomic
    from marginseal.market import fields
    from marginseal.market.snapshot import read_snapshot, snapshot_json
    from marginseal.market.snapshot_csv import parse_snapshot_csv, snapshot_csv
    from marginseal.market.universe import read_universe

    listed = read_universe(universe)
    if _is_csv(file):
        if name is None or at is None:
            raise InputError("snapshot.csv", "a CSV has no name and no moment: say --name and --at")
        moment = fields.time(at, "--at")
        data = read_bytes(file, limit=MAX_JSON_BYTES, what="snapshot")
        age = 600 if max_age_s is None else max_age_s
        read = parse_snapshot_csv(data, listed, name=name, time=moment, max_age_s=age)
    elif (name, at, max_age_s) != (None, None, None):
        raise InputError("snapshot.csv", "--name, --at and --max-age-s belong to a CSV; a JSON file has its own")
    else:
        read = read_snapshot(file, listed)
    if out is not None:
        write_atomic(out, snapshot_csv(read) if _is_csv(out) else snapshot_json(read))
    body = {"name": read.name, "quotes": len(read.quotes), "time": utc(read.time), "snapshot": read.digest.hex()}
    emit(body, as_json, lambda b: print(f"{b['name']}: {b['quotes']} quotes at {b['time']}, digest {b['snapshot']}"))


def _market(
    desk: Path, universe: Path | None, snapshot: Path | None, parameters: Path | None
) -> tuple[Path, Path, Path]:
    """The three files, where none is named those of the desk.  InputError desk.none."""
    from marginseal.cli.desk import Desk

    at = Desk(desk)
    if universe is None:
        at.check_market()
    return (
        universe or desk / "universe.json",
        snapshot or desk / "snapshot.json",
        parameters or desk / "parameters.json",
    )


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def built(universe: Path, snapshot: Path, parameters: Path) -> Any:
    """The epoch of three files.  InputError, DecodeError, RangeError."""
    from marginseal.market.build import build_epoch
    from marginseal.market.parameters import read_parameters
    from marginseal.market.snapshot import read_snapshot
    from marginseal.market.universe import read_universe

    listed = read_universe(universe)
    return build_epoch(listed, read_snapshot(snapshot, listed), read_parameters(parameters))


def _difference(a: Any, b: Any) -> str:
    for name in ("universe_digest", "snapshot_digest", "parameters_digest", "scenario_labels", "parameters"):
        if getattr(a, name) != getattr(b, name):
            return f"another {name.replace('_', ' ')}"
    return "the numbers differ"


def _describe(epoch: Any) -> dict[str, Any]:
    return {
        "digest": epoch.digest.hex(),
        "name": epoch.name,
        "operator": epoch.operator,
        "time": utc(epoch.time),
        "expires": utc(epoch.expires),
        "currency": epoch.currency,
        "tick": epoch.tick,
        "instruments": epoch.instruments,
        "underlyings": list(epoch.underlyings),
        "scenarios": epoch.scenarios,
        "universe": epoch.universe_digest.hex(),
        "snapshot": epoch.snapshot_digest.hex(),
        "largest_profit_of_a_lot_ticks": int(abs(epoch.pnl).max()),
        "largest_rounding_error_milliticks": int(epoch.rounding_error.max()),
        "parameters": dict(epoch.parameters),
    }


def _lots(epoch: Any) -> list[dict[str, Any]]:
    """One long lot of each instrument, ticks; its largest rounding error over the scenarios in thousandths of one."""
    worst, best = epoch.pnl.min(axis=0), epoch.pnl.max(axis=0)
    columns = {
        "value": epoch.value,
        "worst": worst,
        "best": best,
        "haircut_long": epoch.haircut_long,
        "haircut_short": epoch.haircut_short,
        "delta": epoch.delta,
        "gamma": epoch.gamma,
        "vega": epoch.vega,
        "rounding_error_milliticks": epoch.rounding_error,
    }
    return [
        {"instrument": name} | {column: int(values[row]) for column, values in columns.items()}
        for row, name in enumerate(epoch.instrument_ids)
    ]


def _tell(body: dict[str, Any]) -> None:
    rows = [(name, value) for name, value in body.items() if name not in ("parameters", "lots")]
    table(f"Risk epoch {body['name']}", ("field", "value"), rows)
    table("Rule parameters", ("name", "value"), sorted(body["parameters"].items()), right=(1,))
    if "lots" in body:
        names = tuple(body["lots"][0])
        lots = [tuple(lot.values()) for lot in body["lots"]]
        table("One lot of each, ticks", (*names[:-1], "error/1000"), lots, right=range(1, len(names)))
