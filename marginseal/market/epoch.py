"""The risk epoch: plain integers that everyone shares, and their canonical bytes (protocol sections 1, 3 and 10).

An epoch holds the scenario matrix P[s, i] (profit of one lot of instrument i in scenario s, ticks) and, per
instrument, mark value, charges, Greeks, size limit and rounding error.  Floats ended before it: `build_epoch` in
build.py makes one from a snapshot, and after that the integer matrix *is* the rule.

    bytes = magic (16) | version u32 | header length u64 | header | arrays            all big-endian, nothing trailing
    header = RFC 8785 JSON: names, times, labels, parameters and the list (array name, shape)
    arrays = int64 two's complement, row-major, in the order of ARRAYS
    digest = SHA-256(bytes)

`RiskEpoch` checks every bound when it is made, so whoever holds one may trust it; `decode` is the only door for bytes.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import rfc8785

from marginseal.errors import DecodeError, InputError
from marginseal.files import parse_json
from marginseal.market import fields
from marginseal.market.epoch_bounds import (
    ARRAYS,
    MAX_CELLS,
    MAX_HEADER_BYTES,
    MAX_INSTRUMENTS,
    MAX_SCENARIOS,
    MAX_UNDERLYINGS,
    VECTORS,
    check_arrays,
    check_header,
    checked_parameters,
)

Int64Array = npt.NDArray[np.int64]

MAGIC = b"MARGINSEAL-EPOCH"
VERSION = 1
_CHUNK = 2**17  # entries swapped at a time when bytes are written: 1 MB


@dataclass(frozen=True, eq=False)
class RiskEpoch:
    """One market state under one set of parameters, in integers.  N instruments, S scenarios, U underlyings.

    universe_digest, snapshot_digest, parameters_digest   32 bytes each: what the epoch is rebuilt from
    name, operator   1..64 bytes of UTF-8
    time, expires    unix seconds, time < expires <= time + 7 days
    currency, tick   settlement currency, and the size of one tick in it as a decimal string: "0.01"
    instrument_ids   N unique ids, row = index                underlyings      U unique symbols
    underlying_of    (N,)   index into underlyings, -1 for cash
    value            (N,)   mark value of one lot, ticks; 0 for futures and perpetuals (their gain is settled in cash)
    notional         (N,)   exposure of one lot at the index price, ticks, >= 0
    pnl              (S, N) profit of one long lot in scenario s, ticks, |P| < 2**40; row 0 is the null scenario, zeros
    haircut_long, haircut_short  (N,)  charge on one lot held long or short, ticks; each pair sums to >= 0
    short_minimum    (N,)   least charge on one short lot (options), ticks, >= 0
    delta            (N,)   profit of one lot per +1 % of its underlying's index, ticks: 0.01 S dV/dS
    gamma            (N,)   change of that delta per further +1 %, ticks: (0.01 S)**2 d2V/dS2
    vega             (N,)   profit of one lot per +1 volatility point, ticks: 0.01 dV/dsigma
    max_lots         (N,)   bound on |lots| of one book, 1 <= max_lots < 2**43
    rounding_error   (N,)   largest error of value + P over the scenarios, 1/1000 tick, rounded up, >= 0
    parameters       name -> integer below 2**53; see PARAMETER_BOUNDS and docs/formats.md

    Arrays are int64, C-contiguous and read-only.  InputError or RangeError epoch.* outside these bounds.
    """

    universe_digest: bytes
    snapshot_digest: bytes
    parameters_digest: bytes
    name: str
    operator: str
    time: int
    expires: int
    currency: str
    tick: str
    instrument_ids: tuple[str, ...]
    underlyings: tuple[str, ...]
    scenario_labels: tuple[str, ...]
    underlying_of: Int64Array
    value: Int64Array
    notional: Int64Array
    haircut_long: Int64Array
    haircut_short: Int64Array
    short_minimum: Int64Array
    delta: Int64Array
    gamma: Int64Array
    vega: Int64Array
    max_lots: Int64Array
    rounding_error: Int64Array
    pnl: Int64Array
    parameters: Mapping[str, int]

    def __post_init__(self) -> None:
        check_header(self)
        check_arrays(self)
        object.__setattr__(self, "parameters", MappingProxyType(checked_parameters(self.parameters)))

    @property
    def instruments(self) -> int:
        """N."""
        return len(self.instrument_ids)

    @property
    def scenarios(self) -> int:
        """S."""
        return len(self.scenario_labels)

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes, streamed: no second copy of the matrix."""
        h = hashlib.sha256()
        for chunk in encode_chunks(self):
            h.update(chunk)
        return h.digest()

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Instrument id -> row."""
        return MappingProxyType({i: row for row, i in enumerate(self.instrument_ids)})

    def pnl_of(self, underlying: int) -> Int64Array:
        """P with zeros in all columns but those of one underlying (-1: of what has none).  Read-only, made once: all
        rules on this epoch share it."""
        made: dict[int, Int64Array] = self.__dict__.setdefault("_pnl_of", {})
        if underlying not in made:
            columns = np.where(self.underlying_of == underlying, self.pnl, 0)
            columns.flags.writeable = False
            made[underlying] = columns
        return made[underlying]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RiskEpoch) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[Any, ...]:
        # Between processes an epoch travels as its canonical bytes, and is checked on arrival like any other.
        return decode, (encode(self),)


def epoch_from_arrays(
    pnl: npt.ArrayLike,
    *,
    value: npt.ArrayLike | None = None,
    notional: npt.ArrayLike | None = None,
    haircut_long: npt.ArrayLike | None = None,
    haircut_short: npt.ArrayLike | None = None,
    short_minimum: npt.ArrayLike | None = None,
    delta: npt.ArrayLike | None = None,
    gamma: npt.ArrayLike | None = None,
    vega: npt.ArrayLike | None = None,
    max_lots: npt.ArrayLike | None = None,
    rounding_error: npt.ArrayLike | None = None,
    underlyings: tuple[str, ...] = ("BTC",),
    underlying_of: npt.ArrayLike | None = None,
    instrument_ids: tuple[str, ...] | None = None,
    scenario_labels: tuple[str, ...] | None = None,
    parameters: Mapping[str, int] | None = None,
    universe_digest: bytes = bytes(32),
    snapshot_digest: bytes = bytes(32),
    parameters_digest: bytes = bytes(32),
    name: str = "arrays",
    operator: str = "nobody",
    time: int = 1_772_438_400,
    expires: int | None = None,
    currency: str = "USD",
    tick: str = "0.01",
) -> RiskEpoch:
    """An epoch from plain integer arrays: P (S, N), vectors (N,).  A scalar fills a vector; what is left out is zero.

    Exceptions to zero: max_lots 2**24, ids i0, i1, ..., labels null, s1, s2, ..., factors 1000 and 800 permille,
    expiry one hour.  Row 0 of P must be zero.  The arrays are copied.  Errors as for RiskEpoch."""
    matrix = _integers(pnl, "pnl").copy()
    if matrix.ndim != 2:
        raise InputError("epoch.shape", "pnl: must have two dimensions, scenarios x instruments")
    s, n = matrix.shape

    def vector(given: npt.ArrayLike | None, what: str, default: int = 0) -> Int64Array:
        array = _integers(default if given is None else given, what)
        return np.full(n, array, dtype=np.int64) if array.ndim == 0 else array.copy()

    return RiskEpoch(
        universe_digest=universe_digest,
        snapshot_digest=snapshot_digest,
        parameters_digest=parameters_digest,
        name=name,
        operator=operator,
        time=time,
        expires=time + 3600 if expires is None else expires,
        currency=currency,
        tick=tick,
        instrument_ids=tuple(f"i{i}" for i in range(n)) if instrument_ids is None else instrument_ids,
        underlyings=underlyings,
        scenario_labels=("null", *(f"s{i}" for i in range(1, s)))[:s] if scenario_labels is None else scenario_labels,
        underlying_of=vector(underlying_of, "underlying_of"),
        value=vector(value, "value"),
        notional=vector(notional, "notional"),
        haircut_long=vector(haircut_long, "haircut_long"),
        haircut_short=vector(haircut_short, "haircut_short"),
        short_minimum=vector(short_minimum, "short_minimum"),
        delta=vector(delta, "delta"),
        gamma=vector(gamma, "gamma"),
        vega=vector(vega, "vega"),
        max_lots=vector(max_lots, "max_lots", 2**24),
        rounding_error=vector(rounding_error, "rounding_error"),
        pnl=matrix,
        parameters={"initial_factor_permille": 1000, "maintenance_factor_permille": 800} | dict(parameters or {}),
    )


def _integers(given: npt.ArrayLike, what: str) -> Int64Array:
    array = np.asarray(given)
    if array.dtype.kind not in "iu" or not np.can_cast(array.dtype, np.int64):
        raise InputError("epoch.not-integer", f"{what}: must hold int64 values")
    return np.ascontiguousarray(array, dtype=np.int64) if array.ndim else array.astype(np.int64)


def _shapes(s: int, n: int) -> list[list[Any]]:
    return [*([what, [n]] for what in VECTORS), ["pnl", [s, n]]]


def _header(epoch: RiskEpoch) -> bytes:
    return rfc8785.dumps(
        {
            "arrays": _shapes(epoch.scenarios, epoch.instruments),
            "currency": epoch.currency,
            "expires": epoch.expires,
            "instruments": list(epoch.instrument_ids),
            "name": epoch.name,
            "operator": epoch.operator,
            "parameters": dict(epoch.parameters),
            "parameters_digest": epoch.parameters_digest.hex(),
            "scenarios": list(epoch.scenario_labels),
            "snapshot_digest": epoch.snapshot_digest.hex(),
            "tick": epoch.tick,
            "time": epoch.time,
            "underlyings": list(epoch.underlyings),
            "universe_digest": epoch.universe_digest.hex(),
        }
    )


def encode_chunks(epoch: RiskEpoch) -> Iterator[bytes]:
    """The canonical bytes in pieces of at most about a megabyte, for hashing and writing."""
    header = _header(epoch)
    yield MAGIC + struct.pack(">IQ", VERSION, len(header)) + header
    for what in ARRAYS:
        flat = getattr(epoch, what).reshape(-1)
        for start in range(0, flat.size, _CHUNK):
            yield flat[start : start + _CHUNK].astype(">i8").tobytes()


def encode(epoch: RiskEpoch) -> bytes:
    """The canonical bytes: encode(decode(b)) == b."""
    out = io.BytesIO()  # its value is handed over without a copy
    out.writelines(encode_chunks(epoch))
    return out.getvalue()


def decode(data: bytes | memoryview | mmap.mmap) -> RiskEpoch:
    """The epoch behind canonical bytes, every length and bound checked before an array is made.  DecodeError."""
    fixed = len(MAGIC) + 12
    if len(data) < fixed or bytes(data[: len(MAGIC)]) != MAGIC:
        raise DecodeError("epoch.magic", "not a risk epoch")
    version, size = struct.unpack(">IQ", data[len(MAGIC) : fixed])
    if version != VERSION:
        raise DecodeError("epoch.version", f"risk epoch of version {version}; this program reads version {VERSION}")
    if size > MAX_HEADER_BYTES or size > len(data) - fixed:
        raise DecodeError("epoch.length", "the header is longer than the data or its limit")
    raw = bytes(data[fixed : fixed + size])
    header = parse_json(raw, what="epoch header")
    try:
        parts = _header_parts(header)
        s, n = len(parts["scenario_labels"]), len(parts["instrument_ids"])
        # Sizes are judged before any array exists; RiskEpoch judges everything again, with the arrays.
        if not (0 < n <= MAX_INSTRUMENTS and 0 < s <= MAX_SCENARIOS and s * n <= MAX_CELLS):
            raise DecodeError("epoch.size", "no scenario, no instrument, or too many")
        if header["arrays"] != _shapes(s, n):
            raise DecodeError("epoch.shape", "the list of arrays is not that of this version and these counts")
        if len(data) != fixed + size + 8 * (len(VECTORS) * n + s * n):
            raise DecodeError("epoch.length", "the data is not as long as its arrays")
        at = fixed + size
        for what in ARRAYS:
            shape = (s, n) if what == "pnl" else (n,)
            count = s * n if what == "pnl" else n
            parts[what] = np.frombuffer(data, dtype=">i8", count=count, offset=at).astype(np.int64).reshape(shape)
            at += 8 * count
        epoch = RiskEpoch(**parts)
        # Compared as bytes: in Python True == 1 == 1.0, in a digest they differ.
        if _header(epoch) != raw:
            raise DecodeError("epoch.not-canonical", "the header is not in its one canonical form")
        return epoch
    except InputError as e:
        raise DecodeError(e.code, f"epoch: {e.message}") from None


_DIGESTS = ("parameters_digest", "snapshot_digest", "universe_digest")
_KEYS = ("arrays", "currency", "expires", "instruments", "name", "operator", "parameters", "scenarios", "tick", "time")


def _header_parts(header: object) -> dict[str, Any]:
    top = fields.obj(header, "header", required=(*_KEYS, "underlyings", *_DIGESTS))
    digests = {what: fields.digest(top[what], what) for what in _DIGESTS}
    if not isinstance(top["parameters"], dict):
        raise InputError("field.object", "parameters: must be a JSON object")
    return digests | {
        "name": top["name"],
        "operator": top["operator"],
        "time": top["time"],
        "expires": top["expires"],
        "currency": top["currency"],
        "tick": top["tick"],
        "instrument_ids": tuple(fields.array(top["instruments"], "instruments", high=MAX_INSTRUMENTS)),
        "underlyings": tuple(fields.array(top["underlyings"], "underlyings", high=MAX_UNDERLYINGS)),
        "scenario_labels": tuple(fields.array(top["scenarios"], "scenarios", high=MAX_SCENARIOS)),
        "parameters": top["parameters"],
    }


def read_epoch(path: Path) -> RiskEpoch:
    """`decode` of a file, mapped rather than read, so that the matrix exists once.  InputError file.*."""
    try:
        with open(path, "rb") as f:
            if not os.fstat(f.fileno()).st_size:
                raise DecodeError("epoch.magic", f"epoch: {path} is empty")
            with mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return decode(data)
    except FileNotFoundError:
        raise InputError("file.missing", f"epoch: there is no file {path}") from None
    except OSError as e:
        raise InputError("file.unreadable", f"epoch: cannot read {path}: {e.strerror}") from None
