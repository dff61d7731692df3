"""`marginseal key change|revoke|publish`: a key gives way to its successor, or ends, by a signed record in the log.

Whoever holds the key makes the record (`change` makes the new key too, if it is not there); an operator does it where
the key is lost or stolen, and is the only one whose revocation may be dated back.  `publish` puts the record into a
desk's own log or, as an operator, into that of a service.  Venues and auditors go by what their log says from then on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import PASSPHRASE_VARIABLE, Desk
from marginseal.cli.output import AsJson, emit, utc
from marginseal.cli.serve import ConfigFile, DataFolder, service_config, service_named
from marginseal.errors import InputError

if TYPE_CHECKING:
    from marginseal.records.envelope import Envelope
    from marginseal.records.keys import PublicKey, SigningKey

app = typer.Typer(help="Replace and revoke keys of accounts, sources, venues, provers.", no_args_is_help=True)

Holder = Annotated[str, typer.Option(help="Whose key it is, as its registry or manifest calls it.")]
Role_ = Annotated[str | None, typer.Option("--role", help="With the 64 hexadecimal digits of a key that is lost.")]
Operator = Annotated[Path | None, typer.Option(help="Key file of a risk operator, who signs too.")]
Out = Annotated[Path, typer.Option(help="Where the record goes.")]
KEY_HELP = "A key file, or the 64 hexadecimal digits of a key that is lost."
MAX_BEHIND_S = 60
LEAD_S = 3600  # by default a change takes effect so long after it is made: time to have it logged


@app.command()
def change(
    old: Annotated[str, typer.Argument(help=KEY_HELP)],
    new: Annotated[Path, typer.Argument(help="Key file of the successor; made if it is missing.")],
    holder: Holder,
    out: Out = Path("key-change.json"),
    at: Annotated[int | None, typer.Option(help="Unix seconds; default in an hour. Log it before.")] = None,
    role: Role_ = None,
    operator: Operator = None,
    as_json: AsJson = False,
) -> None:
    """From a moment on the successor counts wherever the old key is listed."""
    import secrets

    from marginseal.records.envelope import sign
    from marginseal.records.keychange import KeyChange
    from marginseal.records.keyfile import write_key
    from marginseal.records.keys import SigningKey

    public, known = _key(old, role)
    signers, there = _signers(known, operator), new.exists()
    successor = _read(new) if there else SigningKey(public.role, secrets.token_bytes(32))
    record = KeyChange(holder, public, successor.public, int(time.time()) + LEAD_S if at is None else at)
    signed = sign(record, [successor, *signers])
    if not there:  # now that nothing else can be wrong
        write_key(new, successor, _passphrase(new))
    _write(signed, out)
    body = {"holder": holder, "new": successor.public.raw.hex(), "effective": record.effective, "file": str(out)}
    emit(body, as_json, lambda b: print(f"{holder}: {b['new']} from {utc(b['effective'])} -> {b['file']}"))


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help=KEY_HELP)],
    holder: Holder,
    out: Out = Path("key-revocation.json"),
    at: Annotated[int | None, typer.Option(help="Unix seconds; default now. Only an operator dates it back.")] = None,
    role: Role_ = None,
    operator: Operator = None,
    as_json: AsJson = False,
) -> None:
    """From a moment on the key counts for nothing."""
    from marginseal.records.envelope import sign
    from marginseal.records.keychange import KeyRevocation

    public, known = _key(key, role)
    now = int(time.time())
    if operator is None and at is not None and at < now - MAX_BEHIND_S:
        raise InputError("key.backdated", "only an operator dates a revocation back: --operator")
    record = KeyRevocation(holder, public, now if at is None else at)
    _write(sign(record, _signers(known, operator)), out)
    body = {"holder": holder, "key": public.raw.hex(), "revoked": record.revoked, "file": str(out)}
    emit(body, as_json, lambda b: print(f"{holder}: {b['key']} ends at {utc(b['revoked'])} -> {b['file']}"))


@app.command()
def publish(
    record: Annotated[Path, typer.Argument(help="What `change` or `revoke` made.")],
    desk: Annotated[Path | None, typer.Option(help="Into the log of this desk.")] = None,
    data: DataFolder = None,
    config: ConfigFile = None,
    key: Annotated[Path | None, typer.Option("--key", help="The office's key file; default keys/operator.key.")] = None,
    as_json: AsJson = False,
) -> None:
    """Log it, if it holds by what the log has of keys already."""
    from marginseal.cli.office import office_of
    from marginseal.files import read_bytes
    from marginseal.records.envelope import Envelope

    envelope = Envelope.decode(read_bytes(record, limit=2**16, what="key record"))
    if desk is not None:
        _log(Desk(desk), envelope)
    elif data is None and config is None and not service_named():
        raise InputError("key.publish", "name the log: --desk for a desk's own, --data or --config for a service's")
    else:
        with office_of(service_config(data, config), key) as office:
            office.publish_key_record(envelope)
    emit({"logged": envelope.digest.hex()}, as_json, lambda b: print(f"logged: {b['logged']}"))


def _log(desk: Desk, record: Envelope) -> None:
    """Into a desk's own log, with its risk operator as one who may sign.  Errors of `KeyRing.apply`."""
    from marginseal.cli.log import open_log
    from marginseal.log.publish import publish_key_record
    from marginseal.records.keychange import ring_of
    from verifier.log_index import LogRecords

    log, now = open_log(desk), int(time.time())
    records = LogRecords(log)
    logged = [records.entry(at.index) for at in records.index(log.size()).keys]
    ring = ring_of([desk.operator_key()], [(at, entry.payload) for at, entry in logged])
    publish_key_record(log, record, ring, now=now)
    log.checkpoint(now=now)


def _key(text: str, role: str | None) -> tuple[PublicKey, SigningKey | None]:
    """The public half, and the key itself if it is at hand.  InputError key.role, file.*"""
    from marginseal.cli.office import public_key
    from marginseal.records.document import parse_hex

    if parse_hex(text, 32) is None:
        found = _read(Path(text))
        return found.public, found
    if role is None:
        raise InputError("key.role", "a key that is not in a file needs its --role")
    return public_key(role, text), None


def _read(path: Path) -> SigningKey:
    from marginseal.files import read_bytes
    from marginseal.records.keyfile import decode_key
    from marginseal.records.keys import SigningKey

    found = decode_key(read_bytes(path, limit=8192, what="key file"), _passphrase(path))
    if not isinstance(found, SigningKey):
        raise InputError("key.role", f"{path} holds no signing key")
    return found


def _passphrase(path: Path) -> bytes:
    """From the environment, or the file that a development desk or service keeps beside its keys."""
    import os

    from marginseal.files import read_bytes

    given, beside = os.environ.get(PASSPHRASE_VARIABLE), path.parent / "passphrase"
    if given is not None:
        return given.encode()
    if beside.exists():
        return read_bytes(beside, limit=4096, what="passphrase").strip()
    raise InputError("key.passphrase", f"set {PASSPHRASE_VARIABLE} to the passphrase of the keys")


def _signers(known: SigningKey | None, operator: Path | None) -> list[SigningKey]:
    signers: dict[Any, SigningKey] = {} if known is None else {known.public: known}
    if operator is not None:
        found = _read(operator)
        signers[found.public] = found
    if not signers:
        raise InputError("key.signer", "nobody signs: a key that is lost needs an --operator")
    return list(signers.values())


def _write(envelope: Envelope, out: Path) -> None:
    from marginseal.files import write_atomic

    write_atomic(out, envelope.encode())
