"""`marginseal serve`: the service on this machine: HTTPS server and prover workers until SIGTERM.

A service is one folder (`--data`) and at most one configuration file.  `--development` makes whatever is missing, keys
and a certificate included, and says so; without it a service starts only on keys that somebody put there.
docs/operations.md tells how to run one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marginseal.errors import InputError

if TYPE_CHECKING:
    from server.config import Config

DataFolder = Annotated[Path | None, typer.Option("--data", help="The service's folder; default the configuration's.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", help="Configuration, TOML (docs/operations.md).")]


def serve(
    data: DataFolder = None,
    config: ConfigFile = None,
    development: Annotated[
        bool, typer.Option("--development", help="Make keys and a certificate that are missing, and say so.")
    ] = False,
    prepare: Annotated[bool, typer.Option("--prepare", help="Make what is missing, and do not serve.")] = False,
) -> None:
    """HTTPS server and prover workers; the first run makes what is missing."""
    from server.main import run

    made = prepare_service(
        service_config(data, config), development=development, say=lambda line: print(line, flush=True)
    )
    if not prepare:
        run(made)


def service_named() -> bool:
    """Whether the environment names a service."""
    import os

    from server.config import ENV_FILE

    return ENV_FILE in os.environ or "MARGINSEAL_DATA_DIR" in os.environ


def service_config(data: Path | None, config: Path | None) -> Config:
    """The configuration; `data` over the file's folder.  InputError config.*, serve.data."""
    from server.config import load

    if data is None and config is None and not service_named():
        raise InputError("serve.data", "name the service's folder with --data, or a configuration with --config")
    return load(config) if data is None else load(config, data_dir=data.absolute())


def prepare_service(config: Config, *, development: bool, say: Callable[[str], None]) -> Config:
    """What `serve` does first: databases and, for development, keys; the configuration with its operators.

    InputError serve.keys without `development` when a key, the passphrase or the certificate is missing."""
    from server.main import ATTESTATION_KEY, LOG_KEY, first_run

    keys = config.path(config.keys_dir)
    needed = [
        config.path(config.passphrase_file),
        keys / LOG_KEY,
        keys / ATTESTATION_KEY,
        config.path(config.server.certificate),
        config.path(config.server.private_key),
    ]
    missing = [path for path in needed if not path.exists()]
    if missing and not development:
        raise InputError("serve.keys", f"{missing[0]} is missing; --development makes keys and a certificate")
    if not development and not config.operators and not (keys / "operator.key").exists():
        raise InputError("serve.operators", "the configuration names no operator")
    return first_run(config, say)
