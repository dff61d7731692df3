"""`marginseal commit`: what a source does at a cut: commit to a book, seal the opening to the account, sign."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk, read_published
from marginseal.cli.output import AsJson, emit, progress, utc
from marginseal.errors import InputError, PolicyError

if TYPE_CHECKING:
    from marginseal.market.universe import Universe

HOUR = 3600
YEAR = 366 * 24  # hours
LATEST = 2**33 - 1  # seconds


def commit(
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
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """A source's signed commitment to its book of the account, with the opening sealed to the account."""
    at = Desk(desk)
    with progress("committing", quiet=as_json):
        written = publish(
            at, source, holdings or at.root / "holdings" / f"{source}.csv", cut=cut, cut_time=cut_time, hours=hours,
            hold=hold, sequence=sequence,
        )  # fmt: skip

    def tell(body: dict[str, Any]) -> None:
        for tile in body["tiles"]:
            print(f"{source}: committed {tile['commitment']} -> {tile['file']}")

    emit({"source": source, "tiles": written}, as_json, tell)


def publish(
    desk: Desk,
    source: str,
    holdings: Path,
    *,
    cut: str | None = None,
    cut_time: int | None = None,
    hours: int = 24,
    hold: bool = True,
    sequence: int = 1,
) -> list[dict[str, str]]:
    """One published statement for each tile, written to statements/; returns file and commitment of each."""
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.files import write_atomic
    from marginseal.market.portfolio import read_holdings
    from marginseal.records.account import open_account
    from marginseal.records.keys import Role
    from marginseal.records.source import BookTerms, SourceStatement, make_statements
    from marginseal.records.tiles import tiles_of

    universe, (registry, _) = desk.universe(), desk.sources()
    moment = _moment_of(desk, universe) if cut_time is None else cut_time
    manifest, _ = desk.manifest(moment)
    account = open_account(desk.envelope("account/account.json"))
    registered = registry.source(source)
    book = next((book for s, book in manifest.books if s == source), None)
    if book is None:
        raise PolicyError("commit.manifest", f"the account's manifest has no book at {source}")
    lots = read_holdings(holdings, universe).lots
    key = desk.signing_key(f"source-{source}", Role.SOURCE)
    expiry = moment + hours * HOUR
    terms = BookTerms(
        source=source,
        account=account.account,
        book=book,
        cut_id=cut or utc(moment),
        cut_time=moment,
        sequence=sequence,
        complete=True,
        hold_until=expiry if hold else None,
        expiry=expiry,
    )
    n = rows_for(len(universe))
    tiles = tiles_of(universe, n)
    earlier = _earlier(desk, source, terms.cut_id)
    published = make_statements(
        terms,
        tiles,
        lots,
        key=key,
        recipient=account.sealing_key,
        commitment=commitment_key(n),
        allowed=[registered.allowed(universe.digest, n, tile.index) for tile in tiles],
    )
    for path, digest in earlier:
        write_atomic(desk.root / "statements" / "past" / f"{digest.hex()}.json", path.read_bytes())
    out = []
    for tile, one in zip(tiles, published, strict=True):
        path = desk.root / "statements" / f"{source}.{tile.index}.json"
        write_atomic(path, one.encode())
        C = SourceStatement.from_payload(one.message.payload).C
        out.append({"file": str(path), "commitment": C.hex()})
    return out


def _moment_of(desk: Desk, universe: Universe) -> int:
    """The epoch's time.  PolicyError commit.universe: nothing could be proven of what is signed over another."""
    epoch = desk.epoch()
    if epoch.universe_digest != universe.digest:
        raise PolicyError("commit.universe", "the desk's epoch is of another universe: build the epoch again")
    return epoch.time


def _earlier(desk: Desk, source: str, cut: str) -> list[tuple[Path, bytes]]:
    """The source's statements of earlier cuts, to be kept: attestations name them.

    InputError commit.signed for this very cut: two messages for one cut are evidence against whoever signed them."""
    from marginseal.records.envelope import peek
    from marginseal.records.source import SourceStatement

    found = []
    for path in sorted((desk.root / "statements").glob(f"{source}.*.json")):
        message = read_published(path).message
        if peek(SourceStatement, message).terms.cut_id == cut:
            raise InputError(
                "commit.signed",
                f"{source} has signed cut {cut}: a changed book is a new cut for every source (--cut, --sequence)",
            )
        found.append((path, message.digest))
    return found
