"""`marginseal witness init|key|serve`: a witness of transparency logs, in one folder and one process of its own.

It belongs to somebody else than the log's operator, on another machine, or it witnesses nothing.  What it asserts and
what it remembers: docs/log.md; how to run one: docs/operations.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.desk import PASSPHRASE_VARIABLE
from marginseal.cli.output import AsJson, emit
from marginseal.errors import InputError

app = typer.Typer(help="Run a witness that cosigns the checkpoints of logs (C2SP tlog-witness).", no_args_is_help=True)
Folder = Annotated[Path, typer.Argument(help="The witness's folder.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    name: Annotated[str, typer.Option(help="Of its key: a schema-less address, as in witness.example/one.")],
    log: Annotated[list[str], typer.Option("--log", help="Verifier key of a log to follow, once or several times.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen on.")] = 8444,
    as_json: AsJson = False,
) -> None:
    """Make a witness's folder: key, configuration and, for development, a certificate and a passphrase beside it."""
    if folder.exists() and not folder.is_dir():
        raise InputError("init.not-a-folder", f"{folder} is a file")
    if folder.exists() and any(folder.iterdir()):
        raise InputError("init.not-empty", f"{folder} is not empty")
    body = make_witness(folder, name, log, host=host, port=port)

    def tell(b: dict[str, Any]) -> None:
        print(f"witness {b['key']}")
        print(f"listens at {b['url']} once it is served; tell its key to venues, and the log's operator both")
        for line in b["development"]:
            print(f"DEVELOPMENT {line}")

    emit(body, as_json, tell)


@app.command()
def key(folder: Folder, as_json: AsJson = False) -> None:
    """The verifier key that venues name in their policies and the log's operator in the configuration."""
    from server.witness import load

    body = {"key": str(load(folder).verifier)}
    emit(body, as_json, lambda b: print(b["key"]))


@app.command()
def serve(folder: Folder) -> None:
    """Cosign until SIGTERM; what was cosigned is remembered before it is answered."""
    import os

    from server.witness import load, unlock
    from server.witness import serve as run

    config = load(folder)
    given = os.environ.get(PASSPHRASE_VARIABLE)
    unlocked = unlock(config, None if given is None else given.encode())
    at = f"https://{config.server.host}:{config.server.port}"
    run(config, unlocked, ready=lambda _port: print(f"witnessing at {at}; stop with SIGTERM", flush=True))


def make_witness(
    folder: Path, name: str, logs: list[str], *, host: str, port: int, log_cost: int | None = None
) -> dict[str, Any]:
    """The folder's files; its verifier key and what of it is for development.

    InputError witness.name, log.policy; DecodeError note.key."""
    import datetime
    import os
    import secrets

    from marginseal.files import make_folder, write_atomic
    from marginseal.log.note import VerifierKey, is_name
    from marginseal.log.policy import LogPolicy
    from marginseal.records.keyfile import LOG_COST, write_key
    from marginseal.records.keys import Role, SigningKey
    from server.tls import development_certificates
    from server.witness import FILE, KEY, load

    if not is_name(name) or '"' in name or "\\" in name or not host.replace(".", "").replace(":", "").isalnum():
        raise InputError("witness.name", "a name has no spaces, quotes or '+', and a host is a name or an address")
    by_origin: dict[str, list[str]] = {}
    for text in logs:
        parsed = VerifierKey.parse(text)
        if '"' in parsed.name or "\\" in parsed.name:
            raise InputError("witness.name", "the origin of a log has quotes in it")
        by_origin.setdefault(parsed.name, []).append(text)
    for origin, keys in by_origin.items():
        LogPolicy(origin, tuple(VerifierKey.parse(k) for k in keys))
    said = []
    given = os.environ.get(PASSPHRASE_VARIABLE)
    passphrase = secrets.token_urlsafe(24).encode() if given is None else given.encode()
    make_folder(folder, mode=0o700)
    if given is None:
        write_atomic(folder / "passphrase", passphrase + b"\n", private=True)
        said.append(f"passphrase made: {folder / 'passphrase'}")
    write_key(
        folder / KEY,
        SigningKey(Role.WITNESS, secrets.token_bytes(32)),
        passphrase,
        log_cost=LOG_COST if log_cost is None else log_cost,
    )
    authority = development_certificates(folder / "tls", datetime.datetime.now(datetime.UTC))
    said.append(f"certificate for localhost made; clients trust it by {authority}")
    lines = [f'name = "{name}"', "", "[server]", f'host = "{host}"', f"port = {port}"]
    for keys in by_origin.values():
        quoted = ", ".join(f'"{k}"' for k in keys)
        lines += ["", "[[logs]]", f"keys = [{quoted}]"]
    write_atomic(folder / FILE, "\n".join(lines).encode() + b"\n")
    config = load(folder)
    return {
        "folder": str(folder),
        "key": str(config.verifier),
        "url": f"https://{host}:{port}",
        "ca": str(authority),
        "logs": list(by_origin),
        "development": said,
    }
