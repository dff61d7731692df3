"""`marginseal source sign|publish|release`: a source commits to its book at a cut, and publishes that at a service.

Without a service the files are for the operator, or the account, to hand in (`office publish-statement`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli import release_book
from marginseal.cli.commit import LATEST, YEAR
from marginseal.cli.desk import Desk
from marginseal.cli.output import AsJson, emit
from marginseal.cli.remote import CaFile, CardFile, Url, connected, service_if_named, service_of
from marginseal.errors import InputError, ServiceError

if TYPE_CHECKING:
    from marginseal.cli.remote import Card

app = typer.Typer(help="What a custodian or venue does for its client's account.", no_args_is_help=True)
app.command("release")(release_book.release)


@app.command()
def sign(
    source: Annotated[str, typer.Argument(help="Id of the source in the registry.")],
    holdings: Annotated[Path | None, typer.Option(help="Holdings file; default holdings/<source>.csv.")] = None,
    cut: Annotated[str | None, typer.Option(help="Id of the cut; default its time.")] = None,
    cut_time: Annotated[
        int | None, typer.Option(min=0, max=LATEST, help="Unix seconds; default the epoch's time.")
    ] = None,
    hours: Annotated[
        int, typer.Option(min=1, max=YEAR, help="Hours from the cut for which the statement is good.")
    ] = 24,
    hold: Annotated[bool, typer.Option(help="Let nothing leave until the statement expires.")] = True,
    sequence: Annotated[int, typer.Option(min=1, max=2**53 - 1, help="Counts the source's cuts of this book.")] = 1,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Commit to a book of the account, and publish the statement at the service if one is named."""
    at = Desk(desk)
    service = service_if_named(at.root, url, ca, card)
    body = sign_book(
        at, source, service, holdings, cut=cut, cut_time=cut_time, hours=hours, hold=hold, sequence=sequence
    )

    def tell(b: dict[str, Any]) -> None:
        for tile in b["tiles"]:
            print(f"{source}: committed {tile['commitment']} -> {tile['file']}")
        print("published" if b["published"] else "no service is named: hand the files to the operator or the account")

    emit(body, as_json, tell)


@app.command()
def publish(
    source: Annotated[str, typer.Argument(help="Id of the source in the registry.")],
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Publish what the source signed last, after a `sign` that did not reach the service; again it changes nothing."""
    at = Desk(desk)
    files = [str(path) for path in sorted((at.root / "statements").glob(f"{source}.*.json"))]
    if not files:
        raise InputError("statements.none", f"there is no statement of {source} on the desk: `source sign` makes it")
    publish_files(at, source, service_of(at.root, url, ca, card), files)
    emit({"source": source, "published": files}, as_json, lambda b: print(f"published {', '.join(b['published'])}"))


def publish_files(desk: Desk, source: str, service: Card, files: list[str]) -> None:
    """Published statements, posted under the source's own key.  ServiceError; InputError file.*, key.*"""
    from marginseal.cli.desk import read_published
    from marginseal.records.keys import Role

    with connected(service, desk.signing_key(f"source-{source}", Role.SOURCE)) as client:
        for file in files:
            client.publish_source_statement(read_published(Path(file)))


def sign_book(
    desk: Desk, source: str, service: Card | None, holdings: Path | None = None, **terms: Any
) -> dict[str, Any]:
    """Commit (`commit.publish`, which takes `terms`) and, at a service, publish under the source's own key."""
    from marginseal.cli import commit

    tiles = commit.publish(desk, source, holdings or desk.root / "holdings" / f"{source}.csv", **terms)
    if service is not None:
        try:
            publish_files(desk, source, service, [tile["file"] for tile in tiles])
        except ServiceError as e:  # a cut is signed once, so what was signed stays
            kept = f"{e.message}; the statement is kept, and `source publish {source}` asks again"
            raise ServiceError(e.code, kept) from None
    return {"source": source, "tiles": tiles, "published": service is not None}
