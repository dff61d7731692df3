"""`marginseal oracle init|report|publish|snapshot|available`: prices from k of n oracles, and who was left out.

An oracle publishes its report by itself; the log notes when it was there.  Whoever makes a snapshot takes k of n
reports out of the log (`snapshot`); anyone sees for a logged epoch which reports its operator had before him, which
he took, and whether all of them together would have made another snapshot (`available`).  Whose reports count is the
policy's `oracles` (docs/formats.md); the log is mirrored and its root recomputed (`marginseal.log.mirror`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.log import At, moment
from marginseal.cli.output import AsJson, emit, utc
from marginseal.cli.remote import CaFile, CardFile, Url, connected, mirrored, service_of
from marginseal.errors import InputError, MarginSealError, PolicyError

if TYPE_CHECKING:
    from marginseal.market.universe import Universe
    from marginseal.records.envelope import Envelope
    from marginseal.records.oracle import OraclePolicy
    from marginseal.records.report_note import ReportNote
    from verifier.log_index import LogRecords
    from verifier.policy import Policy

app = typer.Typer(help="Oracle reports: sign, publish, make a snapshot, see what was left out.", no_args_is_help=True)
MAX_REPORT_BYTES = 32 * 2**20
Name = Annotated[str, typer.Argument(help="Id of the oracle.")]
DeskFolder = Annotated[Path, typer.Option("--desk", help="The folder to work in.")]
PolicyFile = Annotated[Path, typer.Option("--policy", help="A policy that names oracles (docs/formats.md).")]


@app.command()
def init(oracle: Name, desk: DeskFolder = Path("."), as_json: AsJson = False) -> None:
    """Make the oracle's key; its public half goes into the service's configuration and into policies."""
    import secrets

    from marginseal.records.keyfile import write_key
    from marginseal.records.keys import Role, SigningKey

    at = Desk(desk)
    path, key = at.root / "keys" / f"oracle-{oracle}.json", SigningKey(Role.ORACLE, secrets.token_bytes(32))
    write_key(path, key, at.passphrase())
    body = {"oracle": oracle, "key": key.public.raw.hex(), "file": str(path)}
    emit(body, as_json, lambda b: print(f'{b["oracle"]} = "{b["key"]}"  -> {b["file"]}'))


@app.command()
def report(
    oracle: Name,
    venue: Annotated[str, typer.Option(help="The market that was read.")],
    snapshot: Annotated[Path | None, typer.Option(help="What was read there; default snapshot.json.")] = None,
    out: Annotated[Path | None, typer.Option(help="Where it goes; default reports/<oracle>.json.")] = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Sign what the oracle read at one market."""
    from marginseal.files import write_atomic
    from marginseal.market.snapshot import read_snapshot
    from marginseal.records.envelope import sign
    from marginseal.records.keys import Role
    from marginseal.records.report import report_of

    at = Desk(desk)
    read = read_snapshot(snapshot or at.root / "snapshot.json", at.universe())
    envelope = sign(report_of(read, oracle, venue), [at.signing_key(f"oracle-{oracle}", Role.ORACLE)])
    path = out or at.root / "reports" / f"{oracle}.json"
    write_atomic(path, envelope.encode())
    body = {"oracle": oracle, "digest": envelope.digest.hex(), "time": read.time, "file": str(path)}
    emit(body, as_json, lambda b: print(f"{oracle}: {venue} at {utc(b['time'])} -> {b['file']}"))


@app.command()
def publish(
    oracle: Name,
    file: Annotated[Path | None, typer.Argument(help="The signed report; default reports/<oracle>.json.")] = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Put a signed report where everyone finds it; again it changes nothing."""
    from marginseal.records.keys import Role

    at = Desk(desk)
    envelope = read_report(file or at.root / "reports" / f"{oracle}.json")
    with connected(service_of(at.root, url, ca, card), at.signing_key(f"oracle-{oracle}", Role.ORACLE)) as client:
        digest = client.publish_oracle_report(envelope)
    emit({"oracle": oracle, "digest": digest.hex()}, as_json, lambda b: print(f"published {b['digest']}"))


@app.command()
def snapshot(
    policy: PolicyFile,
    name: Annotated[str, typer.Option(help="Name of the snapshot.")],
    only: Annotated[list[str] | None, typer.Option(help="Oracle to take, once or several times; default all.")] = None,
    at: At = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """The snapshot that follows from the reports in the log; it and they are written, for the epoch's publication."""
    from marginseal.files import write_atomic
    from marginseal.market.snapshot import snapshot_json
    from marginseal.records.oracle import make_snapshot

    place, rules = Desk(desk), _policy(policy)
    oracles, universe, when = _oracles(rules), place.universe(), moment(at)
    with connected(service_of(place.root, url, ca, card)) as client, mirrored(client, rules.trust.log) as visit:
        visit.mirror.sync()
        copy = visit.reading
        found = newest(available(copy, oracles, universe, when))
        chosen = [f for f in found if only is None or f[1].oracle in only]
        envelopes = [reported(copy, note) for _, note in chosen]
    made = make_snapshot(envelopes, oracles, universe, name=name, time=when)
    files = []
    for (_, note), envelope in zip(chosen, envelopes, strict=True):
        files.append(str(place.reports_of(made.digest) / f"{note.oracle}.json"))
        write_atomic(Path(files[-1]), envelope.encode())
    write_atomic(place.root / "snapshot.json", snapshot_json(made))
    body = {
        "snapshot": made.digest.hex(),
        "time": made.time,
        "oracles": [note.oracle for _, note in chosen],
        "left_out": sorted({note.oracle for _, note in found} - {note.oracle for _, note in chosen}),
        "files": [str(place.root / "snapshot.json"), *files],
    }
    emit(body, as_json, lambda b: print(f"snapshot of {', '.join(b['oracles'])} -> {', '.join(b['files'])}"))


@app.command("available")
def available_(
    policy: PolicyFile,
    epoch: Annotated[
        str | None, typer.Option(help="Digest of a logged epoch; default: what a snapshot now could be made of.")
    ] = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: DeskFolder = Path("."),
    as_json: AsJson = False,
) -> None:
    """Which reports were in the log when an epoch's operator chose, which he took, and what all of them would make."""
    from marginseal.records.document import parse_hex

    place, rules = Desk(desk), _policy(policy)
    oracles = _oracles(rules)
    digest = None if epoch is None else parse_hex(epoch, 32)
    if epoch is not None and digest is None:
        raise InputError("oracle.epoch", "an epoch is named by its digest, 64 lower-case hexadecimal digits")
    with connected(service_of(place.root, url, ca, card)) as client, mirrored(client, rules.trust.log) as visit:
        visit.mirror.sync()
        copy = visit.reading
        if digest is None:
            found = available(copy, oracles, place.universe(), int(time.time()))
            body: dict[str, Any] = {"reports": [_shown(at, note) for at, note in found]}
        else:
            body = choice(copy, rules, oracles, digest)

    def tell(b: dict[str, Any]) -> None:
        for r in b["reports"]:
            used = "" if "used" not in r else "taken    " if r["used"] else "LEFT OUT "
            print(f"{used}{r['oracle']}  {r['venue']}  read {utc(r['time'])}  logged {utc(r['logged'])}  {r['report']}")
        if "with_all" in b:
            print(f"all of them together: {b['with_all']}")

    emit(body, as_json, tell)


# What was there

Found = tuple[Any, "ReportNote"]
"""Where a note is in the log (log_index.Position), and the note."""


def available(
    copy: LogRecords, oracles: OraclePolicy, universe: Universe, when: int, before: int | None = None
) -> list[Found]:
    """The notes of reports by these oracles from which a snapshot at `when` could be made, in the order of the log.

    before: of the entries before this one alone.  A note that does not hold, or whose report its oracle did not sign,
    was never a report."""
    from marginseal.records.envelope import open_signed
    from marginseal.records.logged import LogKind
    from marginseal.records.oracle import OracleReport
    from marginseal.records.report_note import ReportNote

    found = []
    for at, entry in copy.items(0, copy.size() if before is None else before):
        if entry.kind != LogKind.ORACLE_REPORT:
            continue
        try:
            note = ReportNote.from_payload(entry.payload)
            inside = when - oracles.window_s <= note.time <= when and note.universe == universe.digest
            if note.oracle not in oracles.oracles or not inside:
                continue
            envelope = reported(copy, note)
            note.check(envelope)
            open_signed(OracleReport, envelope, [oracles.oracles[note.oracle]])
        except MarginSealError as e:
            if e.code == "log.object":  # the service serves another object: that is no report's fault
                raise
            continue
        found.append((at, note))
    return found


def newest(found: list[Found]) -> list[Found]:
    """Of each oracle the newest report, the one logged first where two are of one time; by oracle id, as bytes."""
    kept: dict[str, Found] = {}
    for one in found:
        if one[1].oracle not in kept or one[1].time > kept[one[1].oracle][1].time:
            kept[one[1].oracle] = one
    return sorted(kept.values(), key=lambda one: one[1].oracle.encode())


def reported(copy: LogRecords, note: ReportNote) -> Envelope:
    from marginseal.records.envelope import Envelope

    return Envelope.decode(copy.object(note.report))


def choice(copy: LogRecords, rules: Policy, oracles: OraclePolicy, epoch: bytes) -> dict[str, Any]:
    """What the operator of a logged epoch had before him, and what he made of it.

    PolicyError oracle.epoch when the log holds no such epoch by an operator, or not its snapshot."""
    from marginseal.market.snapshot import parse_snapshot
    from marginseal.records.oracle import make_snapshot
    from verifier.log_epoch import epoch_objects, first_signed, open_universe

    index = copy.index(copy.size())
    signed = first_signed(copy, index, epoch, rules.trust.operators)
    if signed is None:
        raise PolicyError("oracle.epoch", "the log holds no epoch of that digest, signed by an operator of the policy")
    at, record = signed
    entry = copy.entry(at.index)[1]
    objects = epoch_objects(copy, entry, epoch)
    if objects.snapshot is None:
        raise PolicyError("oracle.epoch", "the log does not hold the snapshot behind that epoch")
    universe = open_universe(copy, index, record.universe)
    made = parse_snapshot(objects.snapshot, universe)
    found = available(copy, oracles, universe, made.time, at.index)
    used = set(entry.dependencies)
    envelopes = [reported(copy, note) for _, note in newest(found)]
    try:
        every = make_snapshot(envelopes, oracles, universe, name=made.name, time=made.time)
        with_all = "the same snapshot" if every.digest == made.digest else "another snapshot"
    except PolicyError as e:
        with_all = e.code
    return {
        "epoch": epoch.hex(),
        "snapshot": made.digest.hex(),
        "time": made.time,
        "logged": at.time,
        "reports": [_shown(where, note) | {"used": note.report in used} for where, note in found],
        "with_all": with_all,
    }


def _shown(at: Any, note: ReportNote) -> dict[str, Any]:
    return {
        "oracle": note.oracle,
        "venue": note.venue,
        "time": note.time,
        "logged": at.time,
        "index": at.index,
        "report": note.report.hex(),
    }


def read_report(path: Path) -> Envelope:
    """InputError file.*; DecodeError."""
    from marginseal.files import read_bytes
    from marginseal.records.envelope import Envelope

    return Envelope.decode(read_bytes(path, limit=MAX_REPORT_BYTES, what="oracle report"))


def _policy(path: Path) -> Policy:
    from marginseal.cli.venue import read_policy

    return read_policy(path)


def _oracles(policy: Policy) -> OraclePolicy:
    if policy.trust.oracles is None:
        raise InputError("oracle.policy", "the policy names no oracles")
    return policy.trust.oracles
