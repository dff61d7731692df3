"""What every risk epoch obeys: its sizes, magnitudes and the ranges of parameters outside which no rule is sound.

Protocol sections 1 and 3: ids are unique, the null scenario is zero, a haircut pair never sums below zero (an empty
position would have value), the initial factor is not below the maintenance factor, and every entry is small enough for
exact arithmetic.  `RiskEpoch` calls these checks whenever one is made, so decoding cannot pass them by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from marginseal.errors import InputError, RangeError
from marginseal.market import fields

if TYPE_CHECKING:
    from marginseal.market.epoch import RiskEpoch

MAX_INSTRUMENTS = 2**16  # 4,096 rows a tile, 16 tiles
MAX_SCENARIOS = 2**14
MAX_CELLS = 2**25  # S * N: a matrix of at most 256 MB
MAX_UNDERLYINGS = 256
MAX_PARAMETERS = 2**12
MAX_HEADER_BYTES = 16 * 2**20
MAX_ENTRY = 2**40  # |P|, |value|, charges, Greeks: below this
MAX_LOTS = 2**43  # |lots| of one instrument in one book: below this
MAX_RANGE = 7 * 86_400  # an epoch lives at most a week

# The arrays of an epoch in their order on the wire; the matrix comes last.
VECTORS = (
    "underlying_of",
    "value",
    "notional",
    "haircut_long",
    "haircut_short",
    "short_minimum",
    "delta",
    "gamma",
    "vega",
    "max_lots",
    "rounding_error",
)
ARRAYS = (*VECTORS, "pnl")

# Integer parameters whose meaning is fixed, with the range outside which no rule is sound: name -> (low, high).  A key
# may carry an index after a dot (`delta_limit.BTC`, `concentration_rate_permille.2`); other names are free.
PARAMETER_BOUNDS: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        "initial_factor_permille": (0, 10_000),
        "maintenance_factor_permille": (0, 10_000),
        "offset_permille": (0, 1_000),
        "es_level_permille": (500, 999),
        "var_level_permille": (500, 999),
        "delta_limit": (0, 2**52),
        "gamma_limit": (0, 2**52),
        "vega_limit": (0, 2**52),
        "concentration_threshold_permille": (0, 1_000),
        "concentration_rate_permille": (0, 1_000),
    }
)
_PARAMETER_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}(\.[A-Za-z0-9][A-Za-z0-9_-]{0,15}){0,2}", re.ASCII)


def check_header(epoch: RiskEpoch) -> None:
    """Digests, names, times, counts and uniqueness.  InputError field.*, epoch.*, RangeError epoch.*."""
    for what in ("universe_digest", "snapshot_digest", "parameters_digest"):
        digest = getattr(epoch, what)
        if not isinstance(digest, bytes) or len(digest) != 32:
            raise InputError("epoch.digest", f"{what}: must be 32 bytes")
    fields.name(epoch.name, "name")
    fields.name(epoch.operator, "operator")
    fields.symbol(epoch.currency, "currency")
    tick = fields.decimal(epoch.tick, "tick", low="0.000000000001", high="1000000")
    if fields.decimal_text(tick) != epoch.tick:
        raise InputError("epoch.tick", f'tick: spell it "{fields.decimal_text(tick)}"')
    fields.integer(epoch.time, "time", low=0, high=fields.MAX_TIME)
    fields.integer(epoch.expires, "expires", low=0, high=fields.MAX_TIME)
    if not epoch.time < epoch.expires <= epoch.time + MAX_RANGE:
        raise RangeError("epoch.expires", f"expires: must lie 1..{MAX_RANGE} s after time")
    s, n = epoch.scenarios, epoch.instruments
    if n == 0 or s == 0:
        raise InputError("epoch.empty", "an epoch needs at least one instrument and one scenario")
    if n > MAX_INSTRUMENTS or s > MAX_SCENARIOS or s * n > MAX_CELLS or len(epoch.underlyings) > MAX_UNDERLYINGS:
        raise RangeError("epoch.size", f"{s} scenarios x {n} instruments: past the limits of docs/formats.md")
    for what, texts, check in (
        ("instrument", epoch.instrument_ids, fields.name),
        ("underlying", epoch.underlyings, fields.symbol),
        ("scenario", epoch.scenario_labels, fields.name),
    ):
        if not isinstance(texts, tuple):
            raise InputError("epoch.names", f"{what}s: must be a tuple")
        for text in texts:
            check(text, what)
        if len(set(texts)) != len(texts):
            raise InputError(f"epoch.duplicate-{what}", f"a {what} is listed twice")


def check_arrays(epoch: RiskEpoch) -> None:
    """Types, shapes, magnitudes; leaves a read-only view of each array in its place.  InputError, RangeError."""
    s, n = epoch.scenarios, epoch.instruments
    for what in ARRAYS:
        array = getattr(epoch, what)
        shape = (s, n) if what == "pnl" else (n,)
        if not isinstance(array, np.ndarray) or array.dtype != np.int64 or not array.flags.c_contiguous:
            raise InputError("epoch.not-integer", f"{what}: must be a contiguous int64 array")
        if array.shape != shape:
            raise InputError("epoch.shape", f"{what}: has shape {array.shape}, not {shape}")
        view = array.view()
        view.flags.writeable = False
        object.__setattr__(epoch, what, view)
    bounds = dict.fromkeys(ARRAYS, (1 - MAX_ENTRY, MAX_ENTRY - 1))
    bounds |= dict.fromkeys(("notional", "short_minimum", "rounding_error"), (0, MAX_ENTRY - 1))
    bounds |= {"underlying_of": (-1, len(epoch.underlyings) - 1), "max_lots": (1, MAX_LOTS - 1)}
    for what, (low, high) in bounds.items():
        array = getattr(epoch, what)
        # Comparison, never abs: int64 has a negative without a positive.
        if int(array.min()) < low or int(array.max()) > high:
            raise RangeError("epoch.out-of-range", f"{what}: an entry lies outside {low}..{high}")
    if epoch.pnl[0].any():
        raise InputError("epoch.null-scenario", "scenario 0 must be the null scenario: profit 0 in every instrument")
    if bool((epoch.haircut_long + epoch.haircut_short < 0).any()):
        raise RangeError("epoch.haircut-pair", "a haircut pair sums below zero: an empty position would have value")


def checked_parameters(parameters: Mapping[str, int]) -> dict[str, int]:
    """The parameters sorted by name, each within PARAMETER_BOUNDS.  InputError, RangeError epoch.*, field.*."""
    if len(parameters) > MAX_PARAMETERS:
        raise RangeError("epoch.size", f"more than {MAX_PARAMETERS} parameters")
    for key, value in parameters.items():
        if not isinstance(key, str) or not _PARAMETER_NAME.fullmatch(key):
            raise InputError("epoch.parameter-name", "parameters: a name must look like word_word.INDEX")
        low, high = PARAMETER_BOUNDS.get(key.split(".")[0], (-fields.MAX_SAFE_INTEGER, fields.MAX_SAFE_INTEGER))
        fields.integer(value, f"parameter {key}", low=low, high=high)
    try:
        initial, maintenance = parameters["initial_factor_permille"], parameters["maintenance_factor_permille"]
    except KeyError as e:
        raise InputError("epoch.parameter-missing", f"parameters: {e.args[0]} is missing") from None
    if initial < maintenance:
        raise RangeError("epoch.factors", "parameters: the initial factor must not be below the maintenance factor")
    return dict(sorted(parameters.items()))
