"""`marginseal office`: what an operator does at a service, one step a command, each signed into the trail.

Authorised by the operator's key file (`--key`), which the configuration must name.  Its passphrase comes from the
environment, or lies beside a development key.  Files come from the parties: an account's record, a registry, an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import PASSPHRASE_VARIABLE, Desk
from marginseal.cli.output import AsJson, emit, utc
from marginseal.cli.serve import ConfigFile, DataFolder, service_config
from marginseal.errors import InputError, PolicyError

if TYPE_CHECKING:
    from marginseal.records.envelope import Envelope
    from marginseal.records.keys import PublicKey
    from server.config import Config
    from server.office import Office

app = typer.Typer(help="Operate a service: parties, keys, records, work.", no_args_is_help=True)

KeyFile = Annotated[Path | None, typer.Option("--key", help="The operator's key file; default keys/operator.key.")]
Kind = Annotated[str, typer.Argument(help="account, source, venue or operator.")]
Party = Annotated[str, typer.Argument(help="Its id.")]
KeyText = Annotated[str, typer.Argument(metavar="KEY", help="64 hexadecimal digits, or a key file.")]
MAX_BYTES = 64 * 2**20


@contextmanager
def office_of(config: Config, key: Path | None = None) -> Iterator[Office]:
    """The office of the operator whose key file it is.  InputError file.*, key.*; PolicyError operator.unknown."""
    import os

    from server.main import DEVELOPMENT_OPERATOR, OPERATOR_KEY, office, passphrase, public_half, read_operator

    beside = config.path(config.keys_dir) / OPERATOR_KEY
    if not config.operators and beside.exists():
        operators = {DEVELOPMENT_OPERATOR: public_half(config, OPERATOR_KEY).hex()}
        config = config.model_copy(update={"operators": operators})
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None and key is not None and key.absolute() != beside.absolute():
        raise InputError("key.passphrase", f"set {PASSPHRASE_VARIABLE} to the passphrase of the operator's key")
    phrase = passphrase(config) if given is None else given.encode()
    with office(config, read_operator(key or beside, phrase, config)) as desk:
        yield desk


def _envelope(path: Path) -> Envelope:
    from marginseal.files import read_bytes
    from marginseal.records.envelope import Envelope

    return Envelope.decode(read_bytes(path, limit=MAX_BYTES, what=path.name))


def public_key(role: str, text: str) -> PublicKey:
    """From 64 hexadecimal digits, or from the public half that a key file names.  InputError key.public, file.*"""
    from marginseal.files import read_json
    from marginseal.records.document import parse_hex
    from marginseal.records.keys import PublicKey, Role

    if role not in [r.value for r in Role]:
        raise InputError("party.kind", "a party is one of account, source, venue, operator")
    raw = parse_hex(text, 32)
    if raw is None:
        top = read_json(Path(text), what="64 hexadecimal digits, or a key file", limit=2**16)
        raw = parse_hex(top.get("public"), 32) if isinstance(top, dict) and top.get("role") == role else None
    if raw is None:
        raise InputError("key.public", f"neither 64 hexadecimal digits nor the file of a {role} key")
    return PublicKey(Role(role), raw)


def _done(step: str, number: int, as_json: bool) -> None:
    body = {"step": step, "trail": number}
    emit(body, as_json, lambda b: print(f"{b['step']}: done, row {b['trail']} of the trail"))


# Parties


@app.command("register-account")
def register_account(
    record: Annotated[Path, typer.Argument(help="The account's own signed record.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """An account by its own record, which is logged."""
    with office_of(service_config(data, config), key) as desk:
        _done("register account", desk.register_account(_envelope(record)), as_json)


@app.command("register-source")
def register_source(
    source: Party, public: KeyText,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A source and its key."""
    with office_of(service_config(data, config), key) as desk:
        _done("register source", desk.register_source(source, public_key("source", public)), as_json)


@app.command("register-operator")
def register_operator(
    operator: Party, public: KeyText,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A risk operator, whose epochs, registries and revocations hold at this service."""
    with office_of(service_config(data, config), key) as desk:
        _done("register operator", desk.register_operator(operator, public_key("operator", public)), as_json)


@app.command("register-venue")
def register_venue(
    venue: Party, public: KeyText,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A venue and its key."""
    with office_of(service_config(data, config), key) as desk:
        _done("register venue", desk.register_venue(venue, public_key("venue", public)), as_json)


@app.command()
def suspend(
    kind: Kind, party: Party,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Until `resume` the party's signatures open nothing."""
    with office_of(service_config(data, config), key) as desk:
        _done("suspend", desk.suspend(kind, party), as_json)


@app.command()
def resume(
    kind: Kind, party: Party,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take a suspension back."""
    with office_of(service_config(data, config), key) as desk:
        _done("resume", desk.resume(kind, party), as_json)


@app.command()
def remove(
    kind: Kind, party: Party,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """For good: the name is never given out again."""
    with office_of(service_config(data, config), key) as desk:
        _done("remove", desk.remove(kind, party), as_json)


# Keys


@app.command("add-key")
def add_key(
    kind: Kind, party: Party, public: KeyText,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """One more key of a party."""
    with office_of(service_config(data, config), key) as desk:
        _done("add key", desk.add_key(kind, party, public_key(kind, public)), as_json)


@app.command("register-prover")
def register_prover(
    account: Annotated[str, typer.Argument(help="The account that proves for itself.")], public: KeyText,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """The key under which an account's own attestations are logged (`submit --proved`)."""
    with office_of(service_config(data, config), key) as desk:
        _done("register prover", desk.register_prover(account, public_key("prover", public)), as_json)


@app.command("revoke-key")
def revoke_key(
    key_id: Annotated[str, typer.Argument(help="The key's identifier.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """From now on the key opens nothing."""
    with office_of(service_config(data, config), key) as desk:
        _done("revoke key", desk.revoke_key(key_id), as_json)


@app.command("rotate-prover-key")
def rotate_prover_key(
    grace: Annotated[int, typer.Option(min=0, help="Seconds for which older keys are still accepted.")] = 3600,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """A new key to seal submissions to; older ones retire after the grace."""
    import secrets

    from marginseal.records.sealing import SealingKey
    from server.main import passphrase

    service = service_config(data, config)
    with office_of(service, key) as desk:
        keys, new = service.path(service.keys_dir), SealingKey(secrets.token_bytes(32))
        _done("rotate prover key", desk.rotate_prover_key(keys, passphrase(service), new, grace_s=grace), as_json)


# Records


@app.command("publish-universe")
def publish_universe(
    file: Annotated[Path, typer.Argument(help="Universe file.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Log a universe."""
    from marginseal.market.universe import read_universe

    with office_of(service_config(data, config), key) as desk:
        _done("publish universe", desk.publish_universe(read_universe(file)), as_json)


@app.command("publish-epoch")
def publish_epoch(
    epoch: Annotated[Path, typer.Argument(help="Epoch file.")],
    record: Annotated[Path, typer.Option(help="Its signed record (`epoch sign`).")],
    inputs: Annotated[
        list[Path] | None, typer.Option("--with", help="What rebuilding needs: snapshot, parameters.")
    ] = None,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Log an epoch with what it was built from: without its snapshot and parameters nobody follows it."""
    from marginseal.files import read_bytes
    from marginseal.market.epoch import read_epoch

    objects = [read_bytes(path, limit=MAX_BYTES, what=path.name) for path in inputs or []]
    built = read_epoch(epoch)
    with office_of(service_config(data, config), key) as desk:
        desk.check_inputs(built, objects)
        _done("publish epoch", desk.publish_epoch(built, _envelope(record), objects), as_json)


@app.command("publish-registries")
def publish_registries(
    sources: Annotated[Path | None, typer.Option(help="Signed source registry.")] = None,
    venues: Annotated[Path | None, typer.Option(help="Signed venue registry.")] = None,
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Log a source registry, a venue registry, or both."""
    if sources is None and venues is None:
        raise InputError("office.nothing", "name --sources, --venues, or both")
    with office_of(service_config(data, config), key) as desk:
        number = 0
        if sources is not None:
            number = desk.publish_source_registry(_envelope(sources))
        if venues is not None:
            number = desk.publish_venue_registry(_envelope(venues))
        _done("publish registries", number, as_json)


@app.command("publish-manifest")
def publish_manifest(
    record: Annotated[Path, typer.Argument(help="The account's signed manifest.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Log an account's manifest."""
    with office_of(service_config(data, config), key) as desk:
        _done("publish manifest", desk.publish_manifest(_envelope(record)), as_json)


@app.command("publish-statement")
def publish_statement(
    statements: Annotated[list[Path], typer.Argument(help="Published statements of sources (`commit`).")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """On behalf of a source that does not post its statements itself."""
    from marginseal.files import read_bytes
    from marginseal.records.source import PublishedStatement

    with office_of(service_config(data, config), key) as desk:
        number = 0
        for path in statements:
            published = PublishedStatement.decode(read_bytes(path, limit=2**20, what=path.name))
            number = desk.publish_source_statement(published)
        _done("publish statements", number, as_json)


@app.command()
def admit(
    folder: Annotated[Path, typer.Argument(help="A desk made by `init`.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """For development: everything public on a desk, registered and logged in one go; what is there already is kept."""
    with office_of(service_config(data, config), key) as office:
        done = admit_desk(office, Desk(folder))
    emit({"done": done}, as_json, lambda b: print("\n".join(b["done"])))


def admit_desk(office: Office, desk: Desk) -> list[str]:
    """Parties, universe, registries, manifest and (if it is built) the epoch of a desk; what was done, in words."""
    from marginseal.market.universe import read_universe

    done = []

    def register(what: str, step: Any) -> None:
        try:
            step()
            done.append(f"registered {what}")
        except PolicyError as e:
            if e.code != "party.exists":
                raise

    (sources, _), (venues, _), risk = desk.sources(), desk.venues(), desk.operator_key()
    register("the account", lambda: office.register_account(desk.envelope("account/account.json")))
    for source in sources.sources:
        register(f"source {source.id}", lambda s=source: office.register_source(s.id, s.key))
    for venue in venues.venues:
        register(f"venue {venue.id}", lambda v=venue: office.register_venue(v.id, v.key))
    register("the risk operator", lambda: office.register_operator(sources.operator, risk))
    office.publish_universe(read_universe(desk.root / "universe.json"))
    office.publish_source_registry(desk.envelope("registry/sources.json"))
    office.publish_venue_registry(desk.envelope("registry/venues.json"))
    office.publish_manifest(desk.envelope("account/manifest.json"))
    done.append("logged universe, registries and manifest")
    if desk.epoch_file.exists():
        publish_desk_epoch(office, desk)
        done.append("logged the epoch")
    return done


def publish_desk_epoch(office: Office, desk: Desk) -> bytes:
    """Sign the desk's epoch with its risk operator's key and log it with snapshot, parameters and the oracle reports of
    that snapshot, if it is made of any; its digest."""
    from marginseal.files import read_bytes
    from marginseal.records.envelope import sign
    from marginseal.records.epoch import epoch_record
    from marginseal.records.keys import Role

    epoch, risk = desk.epoch(), desk.signing_key("operator", Role.OPERATOR)
    inputs = [desk.root / "snapshot.json", desk.root / "parameters.json"]
    inputs += sorted(desk.reports_of(epoch.snapshot_digest).glob("*.json"))
    objects = [read_bytes(path, limit=MAX_BYTES, what=path.name) for path in inputs]
    office.publish_epoch(epoch, sign(epoch_record(epoch), [risk]), objects)
    return epoch.digest


# Work


@app.command()
def requeue(
    submission: Annotated[str, typer.Argument(help="Identifier of a dead submission.")],
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Give a dead job another round."""
    with office_of(service_config(data, config), key) as desk:
        _done("requeue", desk.requeue(submission), as_json)


@app.command()
def trail(
    data: DataFolder = None, config: ConfigFile = None, key: KeyFile = None, as_json: AsJson = False,
) -> None:  # fmt: skip
    """Everything operators did, with every signature and link checked."""
    with office_of(service_config(data, config), key) as desk:
        actions = desk.trail()
    rows = [
        {"number": a.number, "time": utc(a.time), "operator": a.operator, "action": a.action, "params": a.params}
        for a in actions
    ]

    def tell(body: dict[str, Any]) -> None:
        for row in body["trail"]:
            said = ", ".join(f"{name} {value}" for name, value in row["params"].items())
            print(f"{row['number']:>5}  {row['time']}  {row['operator']}  {row['action']}  {said}")

    emit({"trail": rows}, as_json, tell)


@app.command()
def card(
    out: Annotated[Path, typer.Option(help="Where it goes.")] = Path("service.json"),
    data: DataFolder = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """What clients pin about the service: address, certificate authority, keys of the log and the prover."""
    from marginseal.cli.remote import write_card

    service = service_config(data, config)
    body = write_card(service, out)
    emit(body | {"file": str(out)}, as_json, lambda b: print(f"{b['url']}: log {b['log_key']} -> {b['file']}"))
