"""`marginseal manifest next|publish|show`: the account's list of books, and how a released book leaves it.

A book leaves only with its source's signature (`source release`), which the desk has or the service has logged, and
only after a delay: the next manifest takes effect some time after it is logged, and a cut from then on is without the
book.  The versions of a desk are account/manifest.json and account/manifests/<version>.json.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.log import At, moment
from marginseal.cli.output import AsJson, emit, utc
from marginseal.cli.remote import CaFile, Card, CardFile, Url, connected, service_if_named
from marginseal.errors import InputError, ServiceError

if TYPE_CHECKING:
    from marginseal.records.envelope import Envelope

DELAY_S = 86_400 + 600  # a log asks for a day by default, and counts from when it takes the manifest
app = typer.Typer(help="The account's manifest of books: its next version.", no_args_is_help=True)
DeskFolder = Annotated[Path, typer.Option("--desk", help="The account's folder.")]


@app.command()
def next(
    without: Annotated[list[str], typer.Option(help="Source whose released book leaves, once or several times.")],
    delay: Annotated[
        int, typer.Option(min=0, help="Seconds until it takes effect; at least the log's delay.")
    ] = DELAY_S,
    at: At = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Sign the next manifest, without books that their sources released, and publish it at the service."""
    place = Desk(desk)
    body = next_manifest(place, without, service_if_named(place.root, url, ca, card), delay_s=delay, now=moment(at))

    def tell(b: dict[str, Any]) -> None:
        print(f"manifest {b['version']}: {b['books']} books from {utc(b['effective'])} on -> {b['file']}")
        print("published" if b["published"] else "no service is named: `log append`, or hand it to the operator")

    emit(body, as_json, tell)


@app.command()
def publish(
    url: Url = None, ca: CaFile = None, card: CardFile = None, desk: DeskFolder = Path("."), as_json: AsJson = False
) -> None:
    """Publish every version of the desk's manifest at the service; what is there already is kept."""
    place = Desk(desk)
    service = service_if_named(place.root, url, ca, card)
    if service is None:
        raise InputError("card.missing", "name the service with --url and --ca, or by its card")
    names = place.manifest_files()
    publish_manifests(place, service, [place.envelope(name) for name in names])
    emit({"published": len(names)}, as_json, lambda b: print(f"published {b['published']} manifests"))


@app.command()
def show(desk: DeskFolder = Path("."), as_json: AsJson = False) -> None:
    """Every version of the desk's manifest, checked link by link."""
    chain = [
        {
            "version": manifest.version,
            "effective": manifest.effective,
            "digest": digest.hex(),
            "books": [f"{source}/{book}" for source, book in manifest.books],
        }
        for manifest, digest in Desk(desk).manifests()
    ]

    def tell(body: dict[str, Any]) -> None:
        for m in body["manifests"]:
            print(f"{m['version']:4}  from {utc(m['effective'])}  {', '.join(m['books'])}")

    emit({"manifests": chain}, as_json, tell)


def next_manifest(desk: Desk, without: list[str], service: Card | None, *, delay_s: int, now: int) -> dict[str, Any]:
    """The next version, checked, kept and, at a service, published; refused there it is not kept.

    InputError manifest.source (no book of that source); PolicyError manifest.book-gone without a release."""
    from dataclasses import replace

    from marginseal.files import write_atomic
    from marginseal.records.envelope import sign
    from marginseal.records.keys import Role
    from marginseal.records.manifest import open_manifest

    before, digest = desk.manifest()
    missing = set(without) - {source for source, _ in before.books}
    if missing:
        raise InputError("manifest.source", f"the manifest has no book at {min(missing)}")
    owner = desk.signing_key("account", Role.ACCOUNT)
    if service is not None:
        with connected(service) as client:
            for name in client.records_of("source-releases", before.account):
                desk.keep_release("books", client.signed_record("source-releases", name))
    changed = replace(
        before,
        version=before.version + 1,
        previous=digest,
        effective=max(now + delay_s, before.effective),
        books=tuple(book for book in before.books if book[0] not in without),
    )
    envelope = sign(changed, [owner])
    open_manifest(
        envelope,
        logged=now,
        delay_s=0,
        previous=(before, digest),
        releases=desk.book_releases(),
        registry=desk.sources()[0],
    )
    file = desk.root / "account" / "manifests" / f"{changed.version:06d}.json"
    write_atomic(file, envelope.encode())
    if service is not None:
        try:
            publish_manifests(desk, service, [envelope])
        except ServiceError as e:
            if e.code.split(".")[0] in ("manifest", "signature", "publication", "account"):
                file.unlink()  # an answer; after none it may have been logged, and `manifest publish` asks again
            raise
    return {
        "account": changed.account,
        "version": changed.version,
        "effective": changed.effective,
        "books": len(changed.books),
        "digest": envelope.digest.hex(),
        "file": str(file),
        "published": service is not None,
    }


def publish_manifests(desk: Desk, service: Card, envelopes: list[Envelope]) -> None:
    """In order, by the account's key.  ServiceError manifest.*"""
    from marginseal.records.keys import Role

    with connected(service, desk.signing_key("account", Role.ACCOUNT)) as client:
        for envelope in envelopes:
            client.publish_manifest(envelope)
