"""Every decoder: any bytes give a value that encodes back to them, or the one documented error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.records import document, envelope
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import Attestation, AttestationBody, RuleRef
from marginseal.records.client_policy import decode_history, encode_history
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyChange, KeyRevocation
from marginseal.records.keyfile import decode_key
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.opening import Opening
from marginseal.records.oracle import OracleReport
from marginseal.records.pledges import PledgeOpening, PledgeSchedule, open_pledge
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.row_opening import RowOpening
from marginseal.records.rows import RowAuthority
from marginseal.records.source import PublishedStatement, SourceStatement
from marginseal.records.statement import Statement
from marginseal.records.submission import Submission, unpad
from tests.records import test_attestation, test_manifest, test_oracle, test_submission
from tests.records.world import CONFINED, MANIFEST, MANIFEST_ENVELOPE, RECORD, VENUE_REGISTRY, commitment, honest
from tests.records.world import registry as source_registry

WORLD = honest(True)
PLEDGE = open_pledge(WORLD.pledges, WORLD.statement, VENUE_REGISTRY, "venue-a", commitment())

Door = tuple[Callable[[bytes], Any], Callable[[Any], bytes], bytes]


def record(kind: Any, sample: bytes) -> Door:
    return kind.from_payload, lambda value: bytes(value.payload()), sample


def plain(kind: Any, sample: bytes) -> Door:
    return kind.decode, lambda value: bytes(value.encode()), sample


DOORS: dict[str, Door] = {
    "account": record(AccountRecord, RECORD.payload()),
    "attestation": (Attestation.decode, lambda a: a.data, test_attestation.ATTESTATION.data),
    "attestation body": record(AttestationBody, test_attestation.ATTESTATION.envelope.payload),
    "client history": (decode_history, encode_history, encode_history(())),
    "envelope": plain(Envelope, MANIFEST_ENVELOPE.encode()),
    "epoch record": record(EpochRecord, test_oracle.RECORD.payload()),
    "key change": record(KeyChange, KeyChange("a", test_manifest.OLD.public, test_manifest.NEXT.public, 1).payload()),
    "key revocation": record(KeyRevocation, KeyRevocation("a", test_manifest.OLD.public, 1).payload()),
    "manifest": record(Manifest, MANIFEST.payload()),
    "opening": plain(Opening, test_submission.SUBMISSION.sources[0].opening.encode()),
    "oracle report": record(OracleReport, test_oracle.HONEST[0].payload()),
    "pledge opening": plain(PledgeOpening, PLEDGE.encode()),
    "pledge release": record(PledgeRelease, PledgeRelease("v", 0, "a", bytes(32), 1, 2).payload()),
    "pledge schedule": plain(PledgeSchedule, WORLD.pledges.encode()),
    "published statement": plain(PublishedStatement, WORLD.published[2].encode()),
    "row authority": plain(RowAuthority, bytes(96)),
    "row opening": plain(RowOpening, RowOpening(bytes(32), 1, -5, bytes(48)).encode()),
    "source registry": record(SourceRegistry, source_registry(venue_a=CONFINED).payload()),
    "source release": record(SourceRelease, SourceRelease("s", "a", "b", bytes(32), 1).payload()),
    "source statement": record(SourceStatement, WORLD.published[0].message.payload),
    "statement": plain(Statement, WORLD.statement.encode()),
    "submission": plain(Submission, test_submission.SUBMISSION.encode()),
    "venue registry": record(VenueRegistry, VENUE_REGISTRY.payload()),
}
NAMES = sorted(DOORS)


def offer(name: str, data: bytes) -> bool:
    """Whether the door let the bytes in; what came in encodes to the same bytes."""
    decode, encode, _ = DOORS[name]
    try:
        value = decode(data)
    except DecodeError:
        return False
    assert encode(value) == data
    return True


@pytest.mark.parametrize("name", NAMES)
def test_the_sample_passes(name: str) -> None:
    assert offer(name, DOORS[name][2])


@settings(max_examples=400, deadline=None)
@given(name=st.sampled_from(NAMES), data=st.binary(max_size=400))
def test_any_bytes(name: str, data: bytes) -> None:
    offer(name, data)


@settings(max_examples=1000, deadline=None)
@given(name=st.sampled_from(NAMES), draw=st.data())
def test_changed_bytes(name: str, draw: st.DataObject) -> None:
    sample = bytearray(DOORS[name][2])
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, len(sample) - 1))
        kind = draw.draw(st.sampled_from(["set", "cut", "insert", "delete"]))
        if kind == "set":
            sample[at] = draw.draw(st.integers(0, 255))
        elif kind == "cut":
            del sample[at + 1 :]
        elif kind == "insert":
            sample[at:at] = draw.draw(st.binary(min_size=1, max_size=4))
        elif len(sample) > 1:
            del sample[at]
    offer(name, bytes(sample))


JSON_NAMES = [name for name in NAMES if DOORS[name][2][:1] == b"{"]
WORDS = st.sampled_from(["0", "1", "-1", "00" * 32, "AA", "2026-01-01T00:00:00Z", "all"])
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=70),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=1000, deadline=None)
@given(name=st.sampled_from(JSON_NAMES), draw=st.data())
def test_canonical_documents_with_any_values(name: str, draw: st.DataObject) -> None:
    """Past the parser: well-formed documents, one member anywhere replaced by anything."""
    top = json.loads(DOORS[name][2])
    at: Any = top
    while True:
        keys = sorted(at) if isinstance(at, dict) else list(range(len(at)))
        if not keys:
            return
        key = draw.draw(st.sampled_from(keys))
        if isinstance(at[key], dict | list) and at[key] and draw.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = draw.draw(VALUES)
        break
    try:
        data = document.canonical(top)
    except ValueError:  # a lone surrogate
        return
    offer(name, data)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_trails_and_nothing_lacks(name: str) -> None:
    sample = DOORS[name][2]
    for data in (sample + b"\0", sample + b" ", sample + b"\n", sample[:-1], b" " + sample, sample * 2, b""):
        assert not offer(name, data)


@pytest.mark.parametrize("name", JSON_NAMES)
@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 5000, b'{"a":' + b"9" * 5000 + b"}", b'{"\xff":1}'])
def test_deep_long_and_garbled_documents(name: str, data: bytes) -> None:
    assert not offer(name, data)


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=64), size=st.integers(2**15 - 2, 2**15 + 2))
def test_padding_takes_any_bytes(data: bytes, size: int) -> None:
    with pytest.raises(DecodeError) as e:
        unpad((data + bytes(size))[:size][:-1] + b"\x01")
    assert e.value.code == "submission.padding"


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=300))
def test_key_files_take_any_bytes(data: bytes) -> None:
    with pytest.raises((DecodeError, InputError)):
        decode_key(data, b"a passphrase")


@settings(max_examples=200, deadline=None)
@given(parameters=st.binary(max_size=60))
def test_rule_parameters_take_any_bytes(parameters: bytes) -> None:
    try:
        rule = RuleRef("x", parameters)
    except DecodeError:
        return
    assert document.canonical(rule.values) == parameters


def test_peeking_reads_what_claims_to_be_of_its_kind_alone() -> None:
    with pytest.raises(MarginSealError):
        envelope.peek(SourceStatement, MANIFEST_ENVELOPE)
