"""Reading and writing files without surprises: bounded, strict, atomic.

Every file of a user is untrusted: it is read up to a stated size, JSON refuses duplicate keys and non-finite numbers,
and what is written appears whole or not at all.  What a document means is left to the module that owns its type.
"""

from __future__ import annotations

import codecs
import json
import math
import os
import tempfile
from pathlib import Path
from typing import Any

from marginseal.errors import DecodeError, InputError

MAX_JSON_BYTES = 64 * 2**20


def read_bytes(path: Path, *, limit: int, what: str) -> bytes:
    """The content of a file of at most `limit` bytes.  InputError file.missing, file.unreadable, file.too-large."""
    try:
        with open(path, "rb") as f:
            # Reading makes room for all that is asked for, so a large limit would cost its memory for a small file.
            size = os.fstat(f.fileno()).st_size
            data = f.read(min(size or limit, limit) + 1)
    except FileNotFoundError:
        raise InputError("file.missing", f"{what}: there is no file {path}") from None
    except OSError as e:
        raise InputError("file.unreadable", f"{what}: cannot read {path}: {e.strerror}") from None
    if len(data) > limit:
        raise InputError("file.too-large", f"{what}: {path} is larger than {limit} bytes")
    return data


def parse_json(data: bytes, *, what: str) -> Any:
    """JSON in UTF-8 with unique keys and finite numbers.  DecodeError json.* names the first fault."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key, value in items:
            if key in out:
                raise DecodeError("json.duplicate-key", f"{what}: the key {key[:64]!r} occurs twice in one object")
            out[key] = value
        return out

    def constant(name: str) -> Any:
        raise DecodeError("json.not-finite", f"{what}: {name} is not a finite number")

    def number(text: str) -> float:
        value = float(text)
        return constant(text[:32]) if math.isinf(value) else value

    if data.startswith(codecs.BOM_UTF8):
        raise DecodeError("json.malformed", f"{what}: begins with a byte order mark: save it as UTF-8 without one")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=pairs, parse_constant=constant, parse_float=number)
    except UnicodeDecodeError:
        raise DecodeError("json.not-utf8", f"{what}: not UTF-8 text") from None
    except RecursionError:
        raise DecodeError("json.too-deep", f"{what}: nested too deeply") from None
    except ValueError as e:
        # json.JSONDecodeError carries the position; an int of too many digits is a plain ValueError.
        where = f" at line {e.lineno}, column {e.colno}" if isinstance(e, json.JSONDecodeError) else ""
        raise DecodeError("json.malformed", f"{what}: not JSON{where}") from None


def read_json(path: Path, *, what: str, limit: int = MAX_JSON_BYTES) -> Any:
    """`parse_json` of a bounded file."""
    return parse_json(read_bytes(path, limit=limit, what=what), what=f"{what} {path.name}")


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """The folder with those above it, if they are not there.  InputError file.unwritable."""
    try:
        path.mkdir(parents=True, exist_ok=True, mode=mode)
    except OSError as e:
        raise InputError("file.unwritable", f"cannot make the folder {path}: {e.strerror}") from None


def write_atomic(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write beside the target, sync, rename, sync the folder: there is the old file or the new one, never half of it,
    and on return the new one survives a loss of power.

    private: mode 0600, for openings, keys and holdings."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(fd, "wb") as f:
                f.write(data)
                f.flush()
                os.fsync(f.fileno())
            os.chmod(name, 0o600 if private else 0o644)
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as e:
        raise InputError("file.unwritable", f"cannot write {path}: {e.strerror}") from None
