"""`marginseal source release`: a source certifies that a book is flat and unencumbered, and lets it leave the manifest.

It refuses when the holdings file it has for the book is not all zero, and while a hold runs that it signed for the
book: until then nothing may leave it.  What it signs names the manifest that the book leaves, so that the release is of
no use should the book return.  The account's next manifest may then leave the book out (`manifest next`).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.log import At, moment
from marginseal.cli.output import AsJson, emit, utc
from marginseal.cli.remote import CaFile, Card, CardFile, Url, connected, service_if_named
from marginseal.errors import PolicyError, ServiceError

if TYPE_CHECKING:
    from marginseal.records.manifest import Manifest
    from server.client import Client


def release(
    source: Annotated[str, typer.Argument(help="Id of the source in the registry.")],
    book: Annotated[str | None, typer.Option(help="Book id; default the only one the account has there.")] = None,
    holdings: Annotated[Path | None, typer.Option(help="The book's holdings; default holdings/<source>.csv.")] = None,
    at: At = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The source's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Certify that a book of the account is flat and unencumbered, and let it go."""
    place = Desk(desk)
    service = service_if_named(place.root, url, ca, card)
    body = release_book(place, source, book, holdings, service, now=moment(at))

    def tell(b: dict[str, Any]) -> None:
        print(f"{source}: book {b['book']} is flat and may leave manifest {b['version']} -> {b['file']}")
        print("published" if b["published"] else "no service is named: hand the file to the account")

    emit(body, as_json, tell)


def release_book(
    desk: Desk, source: str, book: str | None, holdings: Path | None, service: Card | None, *, now: int
) -> dict[str, Any]:
    """The signed release, kept and, at a service, published; the one made before for this manifest, if there is one.

    PolicyError source-release.not-flat, .held, .book (no such book of the source), .key; InputError file.*"""
    from marginseal.market.portfolio import read_holdings
    from marginseal.records.envelope import peek, sign
    from marginseal.records.keys import Role
    from marginseal.records.manifest import SourceRelease

    key = desk.signing_key(f"source-{source}", Role.SOURCE)
    if desk.sources()[0].source(source).key != key.public:
        raise PolicyError("source-release.key", f"the registry has another key for {source}")
    if service is None:
        manifest, digest = desk.manifest()
    else:
        with connected(service) as client:
            manifest, digest = newest_manifest(client, desk.manifest()[0].account)
    name = _book(manifest, source, book)
    lots = read_holdings(holdings or desk.root / "holdings" / f"{source}.csv", desk.universe()).lots
    if lots.any():
        raise PolicyError("source-release.not-flat", "the book is not flat: its holdings file is not all zero")
    held = _held_until(desk, source, name)
    if held is not None and held > now:
        raise PolicyError("source-release.held", f"the source signed that nothing leaves the book until {utc(held)}")
    wanted = (source, manifest.account, name, digest)
    envelope = None
    for known in desk.book_releases():
        said = peek(SourceRelease, known)
        if (said.source, said.account, said.book, said.manifest) == wanted:
            envelope = known
    envelope = envelope or sign(SourceRelease(*wanted, now), [key])
    file = desk.keep_release("books", envelope)
    if service is not None:
        with connected(service, key) as client:
            client.publish_source_release(envelope)
    return {
        "source": source,
        "account": manifest.account,
        "book": name,
        "manifest": digest.hex(),
        "version": manifest.version,
        "digest": envelope.digest.hex(),
        "file": str(file),
        "published": service is not None,
    }


def newest_manifest(client: Client, account: str) -> tuple[Manifest, bytes]:
    """The account's newest manifest as the service has it, with its digest.  ServiceError service.log.

    Nothing is verified: a release that names another manifest than the account's is of no use to anybody."""
    from marginseal.records.envelope import peek
    from marginseal.records.manifest import Manifest

    records = client.records_of("manifests", account)
    if not records:
        raise ServiceError("service.log", "the service has no manifest of the account")
    return peek(Manifest, client.signed_record("manifests", records[0])), records[0]


def _book(manifest: Manifest, source: str, book: str | None) -> str:
    books = [b for s, b in manifest.books if s == source and book in (None, b)]
    if len(books) != 1:
        what = "no such book" if not books else "several books: name one with --book"
        raise PolicyError("source-release.book", f"the account's newest manifest has {what} at {source}")
    return books[0]


def _held_until(desk: Desk, source: str, book: str) -> int | None:
    """Until when the source's statements on the desk promise that nothing leaves the book; None where none does."""
    from marginseal.records.envelope import peek
    from marginseal.records.source import SourceStatement

    found = [peek(SourceStatement, p.message).terms for p in desk.statements_of(source)]
    holds = [t.hold_until for t in found if t.book == book and t.hold_until is not None]
    return max(holds, default=None)
