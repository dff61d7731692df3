"""The published records are read and written the same by every version (tests/vectors/records)."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from marginseal.errors import MarginSealError
from marginseal.records.account import AccountRecord
from marginseal.records.attestation import AttestationBody
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, open_signed
from marginseal.records.epoch import EpochRecord
from marginseal.records.keychange import KeyChange, KeyRevocation
from marginseal.records.keys import PublicKey, Role
from marginseal.records.manifest import Manifest, SourceRelease
from marginseal.records.oracle import OracleReport
from marginseal.records.registry import SourceRegistry, VenueRegistry
from marginseal.records.source import SourceStatement
from tests.vectors.records.signed import FILE, cases

KINDS: dict[str, Any] = {
    kind.PURPOSE: kind
    for kind in (
        AccountRecord,
        AttestationBody,
        EpochRecord,
        KeyChange,
        KeyRevocation,
        Manifest,
        OracleReport,
        PledgeRelease,
        SourceRegistry,
        SourceRelease,
        SourceStatement,
        VenueRegistry,
    )
}
CASES = json.loads(FILE.read_text())


@pytest.mark.parametrize("case", CASES, ids=[c["desc"] for c in CASES])
def test_records_are_as_published(case: dict[str, Any]) -> None:
    data = case["envelope"].encode()
    envelope = Envelope.decode(data)
    assert hashlib.sha256(data).hexdigest() == envelope.digest.hex() == case["digest"]
    keys = [PublicKey(Role(role), bytes.fromhex(raw)) for role, raw in case["keys"]]
    kind = KINDS.get(envelope.payload_type, Manifest)
    if case["expect"] == "accept":
        record = open_signed(kind, envelope, keys, threshold=len(keys))
        assert record.payload() == envelope.payload
    else:
        with pytest.raises(MarginSealError) as e:
            open_signed(kind, envelope, keys)
        assert e.value.code == case["expect"]


def test_this_version_writes_what_is_published() -> None:
    assert cases() == CASES
    assert {Envelope.decode(c["envelope"].encode()).payload_type for c in CASES} >= set(KINDS)
