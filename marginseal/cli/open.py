"""`marginseal open`: show one venue its pledge, or an auditor one row of a source's book, and check what was shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.desk import Desk, read_attestation
from marginseal.cli.output import AsJson, emit, money, progress
from marginseal.errors import InputError

app = typer.Typer(help="Open one venue's pledge, or one row of a source's commitment.", no_args_is_help=True)

DeskFolder = Annotated[Path, typer.Option("--desk", help="The desk's folder.")]


@app.command()
def pledge(
    venue: Annotated[str, typer.Argument(help="Id of the venue in the registry.")],
    sequence: Annotated[int | None, typer.Option(min=1, help="Which attestation; default the last.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where the opening goes; default opened/<venue>.json.")] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """The opening that shows one venue its own pledge and nothing else."""
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.files import write_atomic
    from marginseal.records.pledges import open_pledge

    at = Desk(desk)
    number = at.last_sequence() if sequence is None else sequence
    if not number:
        raise InputError("open.none", "the desk has no attestation yet")
    statement, (venues, _) = at.attestation(number).statement, at.venues()
    with progress("opening the pledge", quiet=as_json):
        key = commitment_key(rows_for(at.epoch().instruments))
        opening = open_pledge(at.schedule(number), statement, venues, venue, key)
    path = out or at.root / "opened" / f"{venue}.json"
    write_atomic(path, opening.encode(), private=True)
    body = {"file": str(path), "venue": venue, "sequence": number, "ticks": opening.amount}
    emit(
        body,
        as_json,
        lambda b: print(f"{venue}: {money(b['ticks'], statement.tick, statement.currency)} -> {b['file']}"),
    )


@app.command()
def row(
    source: Annotated[str, typer.Argument(help="Id of the source.")],
    instrument: Annotated[str, typer.Argument(help="Instrument of the universe.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the opening goes; default opened/<source>.<row>.json.")
    ] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """The opening that shows an auditor one row of a source's book and nothing else."""
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.cli.prove import open_books
    from marginseal.files import write_atomic
    from marginseal.records.row_opening import open_row

    at = Desk(desk)
    universe = at.universe()
    number, n = universe.row(instrument), rows_for(len(universe))
    for book in open_books(at):
        if book.statement.terms.source == source and book.statement.tile == number // n:
            key = commitment_key(n)
            opening = open_row(book.opening, book.statement, book.message.digest, number, len(universe), key)
            break
    else:
        raise InputError("open.source", f"there is no statement of {source} with that row")
    path = out or at.root / "opened" / f"{source}.{number}.json"
    write_atomic(path, opening.encode(), private=True)
    body = {"file": str(path), "source": source, "instrument": instrument, "lots": opening.lots}
    emit(body, as_json, lambda b: print(f"{source}: {instrument}: {b['lots']} lots -> {b['file']}"))


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="An opening made by `open pledge` or `open row`.")],
    venue: Annotated[str | None, typer.Option(help="A pledge: the venue that checks, by its own registry row.")] = None,
    attestation: Annotated[Path | None, typer.Option(help="A pledge: the attestation; default the last.")] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """What the receiver does: check an opening against the commitment it is of."""
    at = Desk(desk)
    with progress("checking the opening", quiet=as_json):
        body = _check_pledge(at, file, venue, attestation) if venue is not None else _check_row(at, file)
    emit(body, as_json, lambda b: print(f"opens: {b['what']}: {b['value']}"))


def _check_pledge(desk: Desk, file: Path, venue: str, attestation: Path | None) -> dict[str, Any]:
    from circuits.model import rows_for
    from marginseal.algebra.curve import backend
    from marginseal.algebra.srs import ceremony
    from marginseal.files import read_bytes
    from marginseal.records.pledges import PledgeOpening, verify_pledge
    from verifier.claims import check_epoch

    shown = PledgeOpening.decode(read_bytes(file, limit=4096, what="opening"))
    signed = read_attestation(attestation or desk.attestation_file(desk.last_sequence()))
    signed.verify_signatures([desk.prover_key()])
    statement, epoch, (venues, digest) = signed.statement, desk.epoch(), desk.venues()
    # The epoch fixes n: on the roots of another n the same commitment shows other venues' rows.
    check_epoch(statement, epoch)
    n = rows_for(epoch.instruments)
    ticks = verify_pledge(shown, statement, venues, digest, venue, n, srs=ceremony(), curve=backend())
    return {"what": f"pledge to {venue}", "value": money(ticks, statement.tick, statement.currency), "ticks": ticks}


def _check_row(desk: Desk, file: Path) -> dict[str, Any]:
    from marginseal.algebra.curve import backend
    from marginseal.algebra.srs import ceremony
    from marginseal.errors import PolicyError
    from marginseal.files import read_bytes
    from marginseal.records.envelope import open_signed, peek
    from marginseal.records.row_opening import RowOpening, verify_row
    from marginseal.records.source import SourceStatement

    data = read_bytes(file, limit=4096, what="opening")
    if b'"venue"' in data:
        raise InputError("open.venue", "this is a pledge opening: say with --venue which venue checks it")
    shown = RowOpening.decode(data)
    universe, (registry, _) = desk.universe(), desk.sources()
    for published in desk.every_statement():
        if published.message.digest != shown.message:
            continue
        source = peek(SourceStatement, published.message).terms.source
        statement = open_signed(SourceStatement, published.message, [registry.source(source).key])
        if statement.universe != universe.digest:
            raise PolicyError("open.universe", "the statement is over another universe than the desk's: other rows")
        lots = verify_row(shown, statement, shown.message, len(universe), srs=ceremony(), curve=backend())
        return {"what": f"{source}, {universe.ids[shown.row]}", "value": f"{lots} lots", "lots": lots}
    raise PolicyError("open.message", "no signed statement at hand has the digest this opening is of")
