"""The service's configuration: one TOML file, the environment over it, and no secret by default.

    MARGINSEAL_CONFIG=/etc/marginseal/service.toml        the file (or the argument of `load`)
    MARGINSEAL_SERVER__PORT=8443                           a member of a section, by two underscores

Secrets are named, never written here: keys lie in encrypted files (`marginseal.records.keyfile`) under `keys_dir`, and
their passphrase in a file that only the service may read.  What each member is for stands beside it; docs/operations.md
says which to change for what.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.files import read_bytes
from marginseal.log.note import KeyKind, VerifierKey
from marginseal.records.document import is_name, parse_hex
from marginseal.records.keys import PublicKey, Role

ENV_FILE = "MARGINSEAL_CONFIG"
_MAX_BYTES = 2**20

Seconds = Annotated[float, Field(gt=0, le=86_400)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerSection(_Section):
    """The HTTPS side."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 8443
    public_url: str | None = Field(default=None, description="what clients call and sign, if not https://host:port")
    processes: Annotated[int, Field(ge=1, le=64)] = 2
    threads: Annotated[int, Field(ge=2, le=256)] = 16
    certificate: Path = Path("tls/server.pem")
    private_key: Path = Path("tls/server.key")
    receive_timeout_s: Seconds = 10.0
    request_timeout_s: Seconds = 60.0
    long_poll_s: Annotated[float, Field(ge=0, le=55)] = 25.0
    metrics_from: tuple[str, ...] = Field(
        default=("127.0.0.1", "::1"), description="addresses that may read /metrics, which tells refused from attested"
    )
    max_body_bytes: Annotated[int, Field(ge=4096, le=64 * 2**20)] = 4 * 2**20

    @field_validator("public_url")
    @classmethod
    def _https(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme != "https" or not parts.hostname or parts.path or parts.query or parts.fragment:
                raise ValueError("must be https://host or https://host:port")
        return value


class QueueSection(_Section):
    """The queue (jobs.Limits)."""

    lease_s: Seconds = 15.0
    max_attempts: Count = 20
    backoff_s: Seconds = 1.0
    backoff_max_s: Seconds = 60.0
    max_queued: Count = 2_000
    max_queued_per_account: Count = 16
    keep_days: Annotated[int, Field(ge=1, le=3650)] = 30


class WorkerSection(_Section):
    """The provers."""

    processes: Annotated[int, Field(ge=1, le=256)] = 2
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    niceness: Annotated[int, Field(ge=0, le=19)] = 5
    lock_memory: bool = Field(default=False, description="mlockall: no page of a prover is swapped; needs the right")


class RateSection(_Section):
    """Requests a second, and at once."""

    client_per_s: Annotated[float, Field(gt=0, le=1e6)] = 200.0
    client_burst: Count = 400
    account_reads_per_s: Annotated[float, Field(gt=0, le=1e6)] = 50.0
    account_reads_burst: Count = 100
    account_submissions_per_s: Annotated[float, Field(gt=0, le=1e6)] = 2.0
    account_submissions_burst: Count = 20
    publications_per_s: Annotated[float, Field(gt=0, le=1e6)] = 20.0
    publications_burst: Count = 200


class WitnessSection(_Section):
    """One witness that the log asks: C2SP tlog-witness under `url`."""

    url: str = Field(description="https://host:port, and a path if it has one; add-checkpoint is below it")
    key: str = Field(description="its verifier key, name+hash+key, of a cosignature kind")
    ca: Path | None = Field(default=None, description="certificate authority to trust; the system's if not named")

    @field_validator("url")
    @classmethod
    def _https(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" or not parts.hostname or parts.query or parts.fragment:
            raise ValueError("must be https://host[:port][/path]")
        return value.rstrip("/")

    @field_validator("key")
    @classmethod
    def _cosigns(cls, value: str) -> str:
        try:
            cosigns = VerifierKey.parse(value).kind is not KeyKind.ED25519
        except MarginSealError:
            cosigns = False
        if not cosigns:
            raise ValueError("must be a verifier key of a cosignature kind, name+hash+key")
        return value

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey.parse(self.key)


class LogSection(_Section):
    """The transparency log this service writes."""

    origin: str = Field(default="marginseal.example/log", min_length=1, max_length=64)
    released: Path = Field(
        default=Path("released-checkpoint"), description="the newest released checkpoint: on another disk than data_dir"
    )
    checkpoint_age_s: Annotated[int, Field(ge=0, le=3600)] = 5
    manifest_delay_s: Annotated[int, Field(ge=0, le=90 * 86_400)] = 86_400
    epoch_lag_s: Annotated[int, Field(ge=0, le=86_400)] = Field(
        default=600, description="after a newer epoch is logged, how long attestations under the one before are"
    )
    former: tuple[str, ...] = Field(
        default=(), max_length=8, description="verifier keys under which this log signed before its key was replaced"
    )
    witnesses: tuple[WitnessSection, ...] = Field(default=(), max_length=16)
    witness_wait_s: Annotated[float, Field(gt=0, le=10)] = 2.0
    witness_rest_s: Seconds = 30.0

    @field_validator("former")
    @classmethod
    def _signed(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                signs = VerifierKey.parse(text).kind is KeyKind.ED25519
            except MarginSealError:
                signs = False
            if not signs:
                raise ValueError("must be verifier keys of a log, name+hash+key")
        return value

    @property
    def former_keys(self) -> tuple[VerifierKey, ...]:
        return tuple(VerifierKey.parse(text) for text in self.former)

    @field_validator("witnesses")
    @classmethod
    def _distinct(cls, value: tuple[WitnessSection, ...]) -> tuple[WitnessSection, ...]:
        keys = [w.verifier for w in value]
        if len({k.public for k in keys}) != len(keys) or len({k.name for k in keys}) != len(keys):
            raise ValueError("names one witness or key twice")
        return value


class Config(BaseSettings):
    """Everything.  Relative paths are under `data_dir`."""

    model_config = SettingsConfigDict(
        env_prefix="MARGINSEAL_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
    )

    data_dir: Path
    database_url: str | None = Field(default=None, description="SQLite file in data_dir, or postgresql+psycopg://...")
    keys_dir: Path = Path("keys")
    passphrase_file: Path = Path("keys/passphrase")
    server: ServerSection = ServerSection()
    queue: QueueSection = QueueSection()
    worker: WorkerSection = WorkerSection()
    rates: RateSection = RateSection()
    log: LogSection = LogSection()
    operators: dict[str, str] = Field(default_factory=dict, description="operator name -> Ed25519 public key, hex")
    oracles: dict[str, str] = Field(default_factory=dict, description="oracle id -> Ed25519 public key, hex")

    @field_validator("oracles")
    @classmethod
    def _oracle_keys(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            raw = parse_hex(text, 32)
            try:
                key = None if raw is None or not is_name(name) else PublicKey(Role.ORACLE, raw)
            except MarginSealError:
                key = None
            if key is None:
                raise ValueError("must map names to public keys of 64 hexadecimal digits")
        return value

    @property
    def oracle_keys(self) -> dict[str, PublicKey]:
        return {name: PublicKey(Role.ORACLE, bytes.fromhex(text)) for name, text in self.oracles.items()}

    @model_validator(mode="after")
    def _times(self) -> Config:
        if self.server.long_poll_s + self.server.receive_timeout_s >= self.server.request_timeout_s:
            raise ValueError("server.request_timeout_s must exceed long_poll_s and receive_timeout_s together")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return env_settings, init_settings  # the environment wins over the file

    def path(self, path: Path) -> Path:
        return path if path.is_absolute() else self.data_dir / path

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data_dir.absolute() / 'service.db'}"

    @property
    def log_path(self) -> Path:
        return self.data_dir / "log.db"

    @property
    def public_url(self) -> str:
        return self.server.public_url or f"https://{self.server.host}:{self.server.port}"


def load(path: Path | None = None, **values: Any) -> Config:
    """The configuration from a file (argument or MARGINSEAL_CONFIG), the environment, and `values` over the file.

    InputError config.* names the member that is wrong, never its value."""
    given = path or (Path(os.environ[ENV_FILE]) if ENV_FILE in os.environ else None)
    members: dict[str, Any] = {}
    if given is not None:
        try:
            members = tomllib.loads(read_bytes(given, limit=_MAX_BYTES, what="configuration").decode())
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):
            raise DecodeError("config.malformed", f"configuration: {given} is not TOML") from None
        # What the file calls relative is relative to the file.
        if isinstance(members.get("data_dir"), str):
            members["data_dir"] = given.parent / members["data_dir"]
    try:
        return Config(**{**members, **values})
    except ValidationError as e:
        fault = e.errors(include_input=False, include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in fault["loc"]) or "configuration"
        raise InputError("config.invalid", f"configuration: {where}: {fault['msg']}") from None
