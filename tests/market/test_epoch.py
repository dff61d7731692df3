"""The risk epoch: canonical bytes there and back, one refusal for each fault, and size without copies."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError
from marginseal.market.epoch import (
    MAGIC,
    RiskEpoch,
    decode,
    encode,
    epoch_from_arrays,
    read_epoch,
)
from marginseal.market.epoch_bounds import ARRAYS, MAX_ENTRY, MAX_LOTS, VECTORS
from marginseal.market.synthetic import synthetic_epoch
from tests.market.markets import refused

PNL = np.array([[0, 0, 0], [-5, 3, 1], [4, -9, 2], [2**40 - 1, 1 - 2**40, 0]])
EPOCH = epoch_from_arrays(
    PNL,
    value=[10, 0, 1],
    notional=[10, 20, 30],
    haircut_long=[1, -2, 0],
    haircut_short=[2, 2, 0],
    short_minimum=1,
    delta=[1, -1, 0],
    gamma=5,
    vega=[0, 0, 7],
    max_lots=[1, 2**43 - 1, 50],
    rounding_error=500,
    underlyings=("BTC", "ETH"),
    underlying_of=[-1, 0, 1],
    instrument_ids=("USD", "ünï", 'BTC, "x"'),
    parameters={"delta_limit.BTC": 5},
)
BYTES = encode(EPOCH)
FIXED = len(MAGIC) + 12


def rebuilt(change: Callable[[dict[str, Any]], None], raw: Callable[[bytes], bytes] = lambda b: b) -> bytes:
    """The epoch's bytes with its header changed and lengths made right again."""
    size = struct.unpack(">Q", BYTES[FIXED - 8 : FIXED])[0]
    header = json.loads(BYTES[FIXED : FIXED + size])
    change(header)
    text = raw(rfc8785.dumps(header))
    return BYTES[: FIXED - 8] + struct.pack(">Q", len(text)) + text + BYTES[FIXED + size :]


def entry(what: str, index: int, value: int) -> bytes:
    """The epoch's bytes with one array entry replaced."""
    n, s = EPOCH.instruments, EPOCH.scenarios
    start = len(BYTES) - 8 * (len(VECTORS) * n + s * n) + 8 * (n * ARRAYS.index(what) + index)
    return BYTES[:start] + struct.pack(">q", value) + BYTES[start + 8 :]


def test_there_and_back(tmp_path: Path) -> None:
    again = decode(BYTES)
    assert encode(again) == BYTES
    assert again == EPOCH
    assert again.digest == EPOCH.digest == hashlib.sha256(BYTES).digest()
    for what in ARRAYS:
        assert getattr(again, what).tolist() == getattr(EPOCH, what).tolist()
        assert not getattr(again, what).flags.writeable
    assert again.rows["ünï"] == 1
    assert (again.instruments, again.scenarios) == (3, 4)
    path = tmp_path / "e.epoch"
    path.write_bytes(BYTES)
    assert read_epoch(path) == EPOCH
    assert pickle.loads(pickle.dumps(EPOCH)) == EPOCH
    assert hash(again) == hash(EPOCH)
    assert rebuilt(lambda header: None) == BYTES


def test_the_bytes_are_pinned() -> None:
    """Known answer: magic, version, header, big-endian arrays."""
    assert EPOCH.digest.hex() == "fd1ceb7cd1b544f268353800a0cfa74572d12b9367f3cdbb854bf2ffdfdc4cc0"
    assert BYTES.startswith(b"MARGINSEAL-EPOCH\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00")
    assert BYTES.endswith((2**40 - 1).to_bytes(8) + (1 - 2**40).to_bytes(8, signed=True) + bytes(8))


def test_arrays_of_the_caller_are_copied() -> None:
    pnl = PNL.copy()
    epoch = epoch_from_arrays(pnl)
    digest = epoch.digest
    pnl[1, 1] = 99
    assert epoch.pnl[1, 1] == 3
    assert encode(epoch) == encode(decode(encode(epoch)))
    assert hashlib.sha256(encode(epoch)).digest() == digest


def header_fault(**changes: Any) -> bytes:
    return rebuilt(lambda header: header.update(changes))


def header_text(old: bytes, new: bytes) -> bytes:
    assert old in BYTES
    return rebuilt(lambda header: None, lambda text: text.replace(old, new, 1))


def without(key: str) -> bytes:
    return rebuilt(lambda header: header.pop(key))


def parameters(**changes: Any) -> bytes:
    return rebuilt(lambda header: header["parameters"].update(changes))


IDS = ["USD", "ünï", 'BTC, "x"']
FAULTS: dict[str, tuple[str, bytes]] = {
    "empty": ("epoch.magic", b""),
    "short": ("epoch.magic", BYTES[: FIXED - 1]),
    "magic": ("epoch.magic", b"X" + BYTES[1:]),
    "version": ("epoch.version", BYTES[:16] + b"\x00\x00\x00\x02" + BYTES[20:]),
    "header length past the data": ("epoch.length", BYTES[:20] + struct.pack(">Q", len(BYTES)) + BYTES[28:]),
    "header length past its limit": ("epoch.length", BYTES[:20] + struct.pack(">Q", 2**63) + BYTES[28:]),
    "one byte short": ("epoch.length", BYTES[:-1]),
    "one byte long": ("epoch.length", BYTES + b"\x00"),
    "header space": ("epoch.not-canonical", header_text(b",", b", ")),
    "header float": ("field.integer", header_text(b'"time":1772438400', b'"time":1772438400.0')),
    "header bool as 1": ("epoch.shape", rebuilt(lambda h: h.update(arrays=True))),
    "float shape": ("epoch.not-canonical", header_text(b'["value",[3]]', b'["value",[3.0]]')),
    "header twice": ("json.duplicate-key", rebuilt(lambda h: None, lambda t: t[:-1] + b',"tick":"0.01"}')),
    "header NaN": ("json.not-finite", header_text(b"1772438400", b"NaN")),
    "header no object": ("field.object", rebuilt(lambda h: None, lambda t: b"[]")),
    "header too deep": ("json.too-deep", rebuilt(lambda h: None, lambda t: b"[" * 100_000)),
    "unknown field": ("field.unknown", header_fault(colour="red")),
    "missing field": ("field.missing", without("tick")),
    "tick spelling": ("epoch.tick", header_fault(tick="0.010")),
    "tick zero": ("field.out-of-range", header_fault(tick="0")),
    "time negative": ("field.out-of-range", header_fault(time=-1)),
    "expires at once": ("epoch.expires", header_fault(expires=1_772_438_400)),
    "expires too late": ("epoch.expires", header_fault(expires=1_772_438_400 + 604_801)),
    "digest upper case": ("field.digest", header_fault(universe_digest="AA" * 32)),
    "digest short": ("field.digest", header_fault(snapshot_digest="aa" * 31)),
    "duplicate instrument": ("epoch.duplicate-instrument", header_fault(instruments=["USD", "USD", "x"])),
    "duplicate underlying": ("epoch.duplicate-underlying", header_fault(underlyings=["BTC", "BTC"])),
    "duplicate scenario": ("epoch.duplicate-scenario", header_fault(scenarios=["null", "a", "a", "b"])),
    "instrument id of controls": ("field.name", header_fault(instruments=["a\n", "b", "c"])),
    "instrument id no text": ("field.name", header_fault(instruments=[1, 2, 3])),
    "underlying no symbol": ("field.symbol", header_fault(underlyings=["B C", "ETH"])),
    "no instrument": ("epoch.size", header_fault(instruments=[])),
    "no scenario": ("epoch.size", header_fault(scenarios=[])),
    "instruments no list": ("field.array", header_fault(instruments="abc")),
    "more instruments than shapes": ("epoch.shape", header_fault(instruments=["a", "b", "c", "d"])),
    "other arrays": ("epoch.shape", header_fault(arrays=[["pnl", [4, 3]]])),
    "parameters no table": ("field.object", header_fault(parameters=[])),
    "parameter missing": ("epoch.parameter-missing", header_fault(parameters={"initial_factor_permille": 1})),
    "factors upside down": ("epoch.factors", parameters(maintenance_factor_permille=1_001)),
    "factor negative": ("field.out-of-range", parameters(maintenance_factor_permille=-1)),
    "factor too large": ("field.out-of-range", parameters(initial_factor_permille=10_001)),
    "factor no integer": ("field.integer", parameters(initial_factor_permille=True)),
    "offset above one": ("field.out-of-range", parameters(offset_permille=1_001)),
    "limit negative": ("field.out-of-range", parameters(**{"delta_limit.BTC": -1})),
    "parameter name": ("epoch.parameter-name", parameters(Delta=1)),
    "null scenario": ("epoch.null-scenario", entry("pnl", 1, 1)),
    "P at 2**40": ("epoch.out-of-range", entry("pnl", 4, MAX_ENTRY)),
    "P at -2**40": ("epoch.out-of-range", entry("pnl", 4, -MAX_ENTRY)),
    "P without a positive": ("epoch.out-of-range", entry("pnl", 4, -(2**63))),
    "value": ("epoch.out-of-range", entry("value", 0, -(2**63))),
    "notional negative": ("epoch.out-of-range", entry("notional", 0, -1)),
    "short minimum negative": ("epoch.out-of-range", entry("short_minimum", 0, -1)),
    "rounding error negative": ("epoch.out-of-range", entry("rounding_error", 0, -1)),
    "haircut pair below zero": ("epoch.haircut-pair", entry("haircut_long", 1, -3)),
    "haircut pair that would wrap": ("epoch.out-of-range", entry("haircut_long", 1, -(2**63))),
    "underlying past the list": ("epoch.out-of-range", entry("underlying_of", 1, 2)),
    "underlying below cash": ("epoch.out-of-range", entry("underlying_of", 1, -2)),
    "max lots zero": ("epoch.out-of-range", entry("max_lots", 0, 0)),
    "max lots at 2**43": ("epoch.out-of-range", entry("max_lots", 0, MAX_LOTS)),
    "delta": ("epoch.out-of-range", entry("delta", 0, MAX_ENTRY)),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_one_fault_one_refusal(fault: str) -> None:
    code, data = FAULTS[fault]
    assert data != BYTES
    with refused(code):
        decode(data)


def test_true_is_not_one() -> None:
    """A shape of `true` equals 1 in Python: only the comparison of bytes refuses it."""
    small = encode(epoch_from_arrays([[0]]))
    size = struct.unpack(">Q", small[FIXED - 8 : FIXED])[0]
    text = small[FIXED : FIXED + size].replace(b'["value",[1]]', b'["value",[true]]')
    assert len(text) == size + 3
    with refused("epoch.not-canonical"):
        decode(small[: FIXED - 8] + struct.pack(">Q", len(text)) + text + small[FIXED + size :])


def test_sizes_are_judged_before_memory_is_taken() -> None:
    """A header that claims 2**26 cells, or 70,000 instruments, behind a few bytes of data."""
    wide = {"instruments": [f"i{k}" for k in range(2**13)], "scenarios": [f"s{k}" for k in range(2**13)]}
    with refused("epoch.size"):
        decode(rebuilt(lambda h: h.update(wide)))
    with refused("field.out-of-range"):
        decode(rebuilt(lambda h: h.update(instruments=[f"i{k}" for k in range(70_000)])))


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("epoch.not-integer", {"pnl": PNL.astype(np.float64)}),
        ("epoch.not-integer", {"pnl": PNL.astype(np.int32)}),
        ("epoch.not-integer", {"pnl": np.asfortranarray(PNL)}),
        ("epoch.not-integer", {"value": [1, 2, 3]}),
        ("epoch.shape", {"value": np.zeros(4, dtype=np.int64)}),
        ("epoch.shape", {"pnl": np.zeros((3, 3), dtype=np.int64)}),
        ("epoch.digest", {"universe_digest": bytes(31)}),
        ("epoch.digest", {"parameters_digest": "00" * 32}),
        ("epoch.names", {"instrument_ids": ["a", "b", "c"]}),
        ("field.integer", {"time": 1.0}),
        ("epoch.empty", {"scenario_labels": ()}),
    ],
)
def test_an_epoch_made_by_a_program_obeys_the_same(code: str, change: dict[str, Any]) -> None:
    with refused(code):
        dataclasses.replace(EPOCH, **change)


def test_from_arrays_refuses_floats_and_shapes() -> None:
    for bad in (PNL * 1.0, [[0, 0.5]], PNL.astype(np.uint64)):
        with refused("epoch.not-integer"):
            epoch_from_arrays(bad)
    with refused("epoch.shape"):
        epoch_from_arrays([0, 0])
    with pytest.raises(InputError):
        epoch_from_arrays(PNL, value=[1, 2])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_any_flipped_byte_is_refused_or_is_another_epoch(position: int, flip: int) -> None:
    data = BYTES[:position] + bytes([BYTES[position] ^ flip]) + BYTES[position + 1 :]
    with contextlib.suppress(DecodeError):
        other = decode(data)
        assert encode(other) == data
        assert other != EPOCH


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_lead_to_an_error(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(MAGIC + b"\x00\x00\x00\x01" + data)


def test_files_that_are_none(tmp_path: Path) -> None:
    with refused("file.missing"):
        read_epoch(tmp_path / "none")
    (tmp_path / "empty").write_bytes(b"")
    with refused("epoch.magic"):
        read_epoch(tmp_path / "empty")
    with refused("file.unreadable"):
        read_epoch(tmp_path)


def test_synthetic_epochs_are_seeded() -> None:
    one, same, other = synthetic_epoch(40, 30, 1), synthetic_epoch(40, 30, 1), synthetic_epoch(40, 30, 2)
    assert one == same
    assert one != other
    assert 2**20 < int(one.pnl.max()) < 2**27
    assert int(one.pnl.min()) > -(2**27)
    assert set(one.underlying_of.tolist()) == {0, 1}
    assert isinstance(one, RiskEpoch)


def peak(work: Callable[[], object]) -> int:
    """The most memory that `work` holds at once, in bytes, beside what was there before."""
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def test_a_large_matrix_is_not_copied_needlessly() -> None:
    """Hashing takes no copy of the matrix, encoding and decoding one each, with room for chunks and growth."""
    epoch = synthetic_epoch(1024, 2048, 1)
    size = epoch.pnl.nbytes
    assert peak(lambda: epoch.digest) < size // 4
    assert peak(lambda: encode(epoch)) < size * 5 // 4
    data = encode(epoch)
    assert peak(lambda: decode(data)) < size * 5 // 4
