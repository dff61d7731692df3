"""`marginseal log append|checkpoint|export|policy|show`: a desk's own log; no service needed.

    log/log.db  log/released      the log and the checkpoint it last released        keys/log.json  its key

The log is the one a service keeps; here the desk that proves also logs, which proves nothing to anybody who does not
believe the desk.  `append` puts in whatever the newest attestations need and is not there yet.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.output import AsJson, emit, utc
from marginseal.errors import InputError

if TYPE_CHECKING:
    from marginseal.log.log import Log
    from marginseal.log.note import Signer, VerifierKey
    from marginseal.records.attestation import Attestation
    from marginseal.records.keys import PublicKey

ORIGIN = "desk.example/log"
MAX_AHEAD_S = 60
app = typer.Typer(help="A desk's own log: append, checkpoint, export, a policy to start from.", no_args_is_help=True)

DeskFolder = Annotated[Path, typer.Option("--desk", help="The desk's folder.")]
At = Annotated[int | None, typer.Option("--at", help="Unix seconds to take for the present; default the clock.")]


def moment(at: int | None) -> int:
    """The moment to take for the present.  InputError cli.at: a log never signs a time that lies ahead."""
    now = int(time.time())
    if at is not None and at > now + MAX_AHEAD_S:
        raise InputError("cli.at", "--at lies in the future")
    return now if at is None else at


@app.command()
def append(desk: DeskFolder = Path("."), at: At = None, as_json: AsJson = False) -> None:
    """Log every attestation of the desk that is not logged yet, with all that replaying it needs, and sign."""
    body = append_desk(Desk(desk), moment(at))
    emit(body, as_json, lambda b: print(f"logged {b['appended']} attestations; {b['size']} entries, signed"))


@app.command()
def checkpoint(desk: DeskFolder = Path("."), at: At = None, as_json: AsJson = False) -> None:
    """Sign the log as it stands."""
    log = open_log(Desk(desk))
    note = log.checkpoint(now=moment(at)).decode()
    emit({"size": log.size(), "checkpoint": note}, as_json, lambda b: print(b["checkpoint"], end=""))


@app.command()
def export(
    bundle: Annotated[Path, typer.Argument(help="A new folder.")], desk: DeskFolder = Path("."), as_json: AsJson = False
) -> None:
    """Write the log up to its newest checkpoint as plain files, for `marginseal replay`."""
    from marginseal.log.export import export_bundle

    made = export_bundle(open_log(Desk(desk)), bundle)
    body = {"bundle": str(bundle), "entries": made.entries, "objects": made.objects, "root": made.root.hex()}
    emit(body, as_json, lambda b: print(f"{b['entries']} entries, {b['objects']} objects -> {b['bundle']}"))


@app.command()
def policy(
    venue: Annotated[str, typer.Argument(help="Id of the venue in the registry.")],
    out: Annotated[Path | None, typer.Option(help="Where it goes; default policies/<venue>.json.")] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Write a policy that trusts what the desk names, its own log included: a start, to be edited."""
    from marginseal.files import write_atomic

    found = Desk(desk)
    path = out or policy_file(found, venue)
    write_atomic(path, json.dumps(desk_policy(found, venue), indent=2).encode() + b"\n")
    emit({"venue": venue, "file": str(path)}, as_json, lambda b: print(f"{b['venue']} -> {b['file']}"))


@app.command()
def show(desk: DeskFolder = Path("."), as_json: AsJson = False) -> None:
    """What the log holds, entry by entry."""
    from marginseal.log.entry import Entry

    entries = []
    for stored in open_log(Desk(desk)).entries():
        entry = Entry.decode(stored.data)
        entries.append(
            {
                "index": stored.index,
                "time": utc(stored.time),
                "kind": entry.kind,
                "account": entry.account,
                "sequence": entry.sequence,
            }
        )

    def tell(body: dict[str, Any]) -> None:
        for e in body["entries"]:
            print(f"{e['index']:6}  {e['time']}  {e['kind']}  {e['account'] or ''} {e['sequence'] or ''}".rstrip())

    emit({"entries": entries}, as_json, tell)


def policy_file(desk: Desk, venue: str) -> Path:
    return desk.root / "policies" / f"{venue}.json"


def open_log(desk: Desk, *, create: bool = False) -> Log:
    """The desk's log, with its key.  InputError log.none before the first append."""
    from marginseal.files import make_folder
    from marginseal.log.log import Log
    from marginseal.log.sql import open_sqlite

    folder = desk.root / "log"
    if not create and not (folder / "log.db").exists():
        raise InputError("log.none", "the desk has no log yet: marginseal log append")
    key = signer(desk)
    make_folder(folder)
    return Log(open_sqlite(folder / "log.db"), origin=ORIGIN, signer=key, released=folder / "released")


def signer(desk: Desk) -> Signer:
    """The log's key, made on first use."""
    import secrets

    from marginseal.log.note import Signer
    from marginseal.records.keyfile import MIN_LOG_COST, write_key
    from marginseal.records.keys import Role, SigningKey

    path = desk.root / "keys" / "log.json"
    if not path.exists():
        write_key(path, SigningKey(Role.LOG, secrets.token_bytes(32)), desk.passphrase(), log_cost=MIN_LOG_COST)
    return Signer(ORIGIN, desk.signing_key("log", Role.LOG).note_key())


def append_desk(desk: Desk, now: int) -> dict[str, Any]:
    """Records first, then attestations in order, then a checkpoint.  Appending again changes nothing."""
    from marginseal.files import MAX_JSON_BYTES, read_bytes
    from marginseal.log.publish import (
        publish_account,
        publish_attestation,
        publish_epoch,
        publish_record,
        publish_universe,
    )
    from marginseal.records.account import open_account
    from marginseal.records.envelope import sign
    from marginseal.records.epoch import epoch_record
    from marginseal.records.keys import Role
    from marginseal.records.logged import LogKind

    epoch, universe = desk.epoch(), desk.universe()
    record = sign(epoch_record(epoch), [desk.signing_key("operator", Role.OPERATOR)])
    account = open_account(desk.envelope("account/account.json")).account
    beside = [
        read_bytes(desk.root / name, limit=MAX_JSON_BYTES, what=name) for name in ("snapshot.json", "parameters.json")
    ]
    # Last, so that what is missing is found before there is a log.
    log = open_log(desk, create=True)
    publish_universe(log, universe, now=now)
    publish_record(log, LogKind.SOURCE_REGISTRY, desk.envelope("registry/sources.json"), now=now)
    publish_record(log, LogKind.VENUE_REGISTRY, desk.envelope("registry/venues.json"), now=now)
    publish_account(log, desk.envelope("account/account.json"), now=now)
    _append_manifests(log, desk, account, now)
    publish_epoch(log, epoch, record, now=now, objects=beside)
    head = log.head(account)
    first = 1 if head is None else head.sequence + 1
    for sequence in range(first, desk.last_sequence() + 1):
        attestation = desk.attestation(sequence)
        objects = _objects(desk, attestation, record.encode())
        publish_attestation(log, attestation, objects, now=now)
    log.checkpoint(now=now)
    return {"appended": desk.last_sequence() + 1 - first, "size": log.size(), "logged": now}


def _append_manifests(log: Log, desk: Desk, account: str, now: int) -> None:
    """Every version of the account's manifest, a later one after the releases of the books that left with it."""
    from marginseal.log.publish import publish_manifest, publish_record
    from marginseal.records.logged import LogKind

    first, *later = desk.manifest_files()
    publish_manifest(log, desk.envelope(first), now=now)
    if later:
        desk.manifests()  # refuses a chain that does not hold
    for release in desk.book_releases():
        publish_record(log, LogKind.SOURCE_RELEASE, release, now=now, account=account)
    for name in later:
        publish_manifest(log, desk.envelope(name), now=now)


def _objects(desk: Desk, attestation: Attestation, record: bytes) -> list[bytes]:
    """What replaying needs.

    InputError log.statement, file.missing if a source's statement or a release is on the desk no more."""
    import rfc8785

    from marginseal.market.epoch import encode

    wanted = {e.message_digest for e in attestation.statement.sources}
    published = [p for p in desk.every_statement() if p.message.digest in wanted]
    epoch = desk.epoch()
    if len(published) != len(wanted) or epoch.digest != attestation.statement.epoch:
        raise InputError("log.statement", "the epoch or a source's statement of the attestation is no longer here")
    names = ("registry/sources.json", "registry/venues.json")
    manifests = [e for e in map(desk.envelope, desk.manifest_files()) if e.digest == attestation.statement.manifest]
    releases = [desk.pledge_release(r.digest) for r in attestation.statement.releases]
    records = [e.encode() for e in (*manifests, *map(desk.envelope, names), *releases)]
    statements = [p.encode() for p in published]
    return [rfc8785.dumps(desk.universe().document()), encode(epoch), record, *records, *statements]


def desk_policy(desk: Desk, venue: str) -> dict[str, Any]:
    """A policy document that trusts the desk's own prover and log."""
    return policy_document(desk, venue, prover=desk.prover_key(), log_key=signer(desk).key)


def policy_document(desk: Desk, venue: str, *, prover: PublicKey, log_key: VerifierKey) -> dict[str, Any]:
    """A policy document (docs/formats.md) with what the desk pins; ages that suit an hourly epoch."""
    from marginseal.algebra.srs import ceremony
    from verifier.policy import FORMAT

    (sources, _), (venues, _), (manifest, _) = desk.sources(), desk.venues(), desk.manifest()
    venues.row(venue)
    epoch = desk.epoch()
    listed = {s.id for s in sources.sources}
    rules = ("worst_case", "worst_case_limits")
    return {
        "format": FORMAT,
        "venue": venue,
        "srs": ceremony().digest.hex(),
        "operators": [desk.operator_key().raw.hex()],
        "provers": [prover.raw.hex()],
        "oracles": None,
        "rules": [{"name": name, "parameters": {}, "tiers": ["initial"]} for name in rules],
        "sources": dict.fromkeys(sorted(listed)),
        "accounts": {manifest.account: manifest.keys[0].raw.hex()},
        "listed_as": venue if venue in listed else None,
        "registries": {"sources": sources.version, "venues": venues.version},
        "hold": True,
        "currency": epoch.currency,
        "tick": epoch.tick,
        "minimum_pledge_ticks": "0",
        "epoch_max_age_s": 3600,
        "epoch_lag_s": 600,
        "coherence_window_s": 600,
        "min_life_s": 60,
        "chain_limit": 16,
        "manifest_delay_s": 86_400,
        "log": {
            "origin": log_key.name,
            "keys": [str(log_key)],
            "witnesses": [],
            "threshold": 0,
            "max_age_s": 600,
        },
    }
