"""`marginseal init`: a desk to start from, with the example market or one's own, and *development* keys.

Development: one machine plays every party, and the passphrase of the keys lies beside them unless the environment gives
one.  The files are the real formats; replacing a part is replacing a file.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.desk import PASSPHRASE_VARIABLE, Desk
from marginseal.cli.output import AsJson, emit, progress
from marginseal.errors import InputError

VENUES = ("venue-a", "venue-b", "venue-c")
MARKET_FILES = ("universe.json", "snapshot.json", "parameters.json")
PLEDGES = {"venue-a": "600000.00", "venue-b": "400000.00"}


def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    account: Annotated[str, typer.Option(help="Id of the account.")] = "fund-1",
    now: Annotated[
        bool, typer.Option("--now", help="Move the example market to this moment: a service refuses expired epochs.")
    ] = False,
    market: Annotated[
        Path | None,
        typer.Option(help="Your own market instead: a folder with universe, snapshot and parameters (`epoch import`)."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a desk: a market, development keys, registries, manifest."""
    if folder.exists() and not folder.is_dir():
        raise InputError("init.not-a-folder", f"{folder} is a file")
    if folder.exists() and any(folder.iterdir()):
        raise InputError("init.not-empty", f"{folder} is not empty")
    if now and market is not None:
        raise InputError("init.market", "--now moves the example market; a market of your own stays at its moment")
    with progress("making the desk", quiet=as_json):
        given = None if market is None else own_market(market)
        body = make_desk(Desk(folder), account, at=int(time.time()) if now else None, market=given)

    def tell(made: dict[str, Any]) -> None:
        print(f"a desk for account {account} in {folder}: {made['instruments']} instruments, {made['sources']}")
        print("its keys are for development: one machine plays every party")
        if made["passphrase"]:
            print(
                f"their passphrase is in {folder}/keys/passphrase; set {PASSPHRASE_VARIABLE} before init to choose one"
            )
        print("next:")
        for step in made["next"]:
            print(f"  {step}")

    emit(body, as_json, tell)


@dataclass(frozen=True)
class OwnMarket:
    """A market of one's own: its three files as they stand, the moment it is of, and its number of instruments."""

    files: dict[str, bytes]
    time: int
    instruments: int


def own_market(folder: Path) -> OwnMarket:
    """The three files of a folder, checked by building their epoch.  InputError, DecodeError, RangeError as `epoch
    build`."""
    from marginseal.cli.epoch import built
    from marginseal.files import MAX_JSON_BYTES, read_bytes

    paths = {name: folder / name for name in MARKET_FILES}
    epoch = built(*paths.values())
    files = {name: read_bytes(path, limit=MAX_JSON_BYTES, what=name) for name, path in paths.items()}
    return OwnMarket(files, epoch.time, epoch.instruments)


def make_desk(
    desk: Desk, account: str, *, log_cost: int = 14, at: int | None = None, market: OwnMarket | None = None
) -> dict[str, Any]:
    """All files of a new desk, from the example market as shipped or moved to `at` (unix seconds), or from a market of
    one's own, with empty books and no pledges.  Registries and manifest are issued at the market's moment.

    log_cost: scrypt's, low because these keys guard nothing."""
    import json
    import os
    import secrets

    from marginseal.files import write_atomic
    from marginseal.market.example import SOURCES, example_file, example_market
    from marginseal.market.portfolio import holdings_csv
    from marginseal.market.snapshot import snapshot_json
    from marginseal.market.universe import universe_json
    from marginseal.records.account import AccountRecord
    from marginseal.records.document import is_name
    from marginseal.records.envelope import sign
    from marginseal.records.keyfile import write_key
    from marginseal.records.keys import Role, SigningKey
    from marginseal.records.manifest import FIRST, Manifest
    from marginseal.records.registry import RegisteredSource, RegisteredVenue, SourceRegistry, VenueRegistry
    from marginseal.records.sealing import SealingKey
    from marginseal.records.source import book_id

    if not is_name(account):
        raise InputError("init.account", "an account id is printable text of 1 to 64 bytes")
    root = desk.root
    given = os.environ.get(PASSPHRASE_VARIABLE)
    passphrase = given.encode() if given is not None else secrets.token_urlsafe(24).encode()
    if given is None:
        write_atomic(root / "keys" / "passphrase", passphrase + b"\n", private=True)

    def make(name: str, role: Role) -> SigningKey:
        key = SigningKey(role, secrets.token_bytes(32))
        write_key(root / "keys" / f"{name}.json", key, passphrase, log_cost=log_cost)
        return key

    operator, owner, prover = (
        make("operator", Role.OPERATOR),
        make("account", Role.ACCOUNT),
        make("prover", Role.PROVER),
    )
    sealing = SealingKey(secrets.token_bytes(32))
    write_key(root / "keys" / "account-sealing.json", sealing, passphrase, log_cost=log_cost)
    sources = {name: make(f"source-{name}", Role.SOURCE) for name in SOURCES}
    venues = {name: make(f"venue-{name}", Role.VENUE) for name in VENUES}

    if market is None:
        shipped = example_market(at)
        files = {name: example_file(name) for name in MARKET_FILES}
        if at is not None:
            files |= {
                "universe.json": universe_json(shipped.universe),
                "snapshot.json": snapshot_json(shipped.snapshot),
            }
        holdings = {name: holdings_csv(book, shipped.universe) for name, book in shipped.books.items()}
        market = OwnMarket(files, shipped.snapshot.time, len(shipped.universe))
        amounts = PLEDGES
    else:
        holdings, amounts = dict.fromkeys(SOURCES, b"instrument,lots\n"), {}
    for name, data in market.files.items():
        write_atomic(root / name, data)
    issued = market.time
    books = []
    for name, data in holdings.items():
        write_atomic(root / "holdings" / f"{name}.csv", data, private=True)
        books.append((name, book_id(secrets.token_bytes(32), f"{account}/main")))
    registered = sorted(
        (RegisteredSource(name, key.public) for name, key in sources.items()), key=lambda s: s.id.encode()
    )
    records = {
        "registry/sources.json": sign(SourceRegistry("operator", 1, issued, tuple(registered)), [operator]),
        "registry/venues.json": sign(
            VenueRegistry("operator", 1, issued, tuple(RegisteredVenue(n, k.public) for n, k in venues.items())),
            [operator],
        ),
        "account/account.json": sign(AccountRecord(account, owner.public, sealing.public), [owner]),
        "account/manifest.json": sign(
            Manifest(account, 1, FIRST, issued, (owner.public,), tuple(sorted(books))), [owner]
        ),
    }
    for name, envelope in records.items():
        write_atomic(root / name, envelope.encode())
    for name, key in (("operator.pub", operator), ("prover.pub", prover)):
        write_atomic(root / name, key.public.raw.hex().encode() + b"\n")
    pledges = {"format": "marginseal-pledges-1", "pledges": amounts}
    write_atomic(root / "pledges.json", json.dumps(pledges, indent=2).encode() + b"\n", private=True)
    return {
        "account": account,
        "instruments": market.instruments,
        "sources": ", ".join(SOURCES),
        "passphrase": given is None,
        "next": [
            f"cd {root}",
            "marginseal epoch build",
            "marginseal margin holdings/*.csv",
            *(f"marginseal commit {name}" for name in SOURCES),
            "marginseal prove",
            "marginseal verify attestations/000001.json",
            "marginseal open pledge venue-a",
        ],
    }
