"""DSSE: the specification's example, another implementation, thresholds, what is ignored and what is refused."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.records import document
from marginseal.records.account import AccountRecord
from marginseal.records.envelope import MAX_SIGNATURES, Envelope, Signature, open_signed, peek, sign
from marginseal.records.keys import Purpose, Role, pae
from marginseal.records.manifest import Manifest
from tests.records.world import (
    MANIFEST,
    MANIFEST_ENVELOPE,
    OPERATOR,
    OWNER,
    RECORD,
    VENUE_ENVELOPE,
    VENUE_REGISTRY,
    key,
)

OTHER = key(Role.ACCOUNT, "somebody else")

# The example of the DSSE specification (protocol.md, version 1.0.0, "Test Vectors"): ECDSA over NIST P-256.
SPEC_TYPE, SPEC_BODY = "http://example.com/HelloWorld", b"hello world"
SPEC_PAE = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
SPEC_X = 46950820868899156662930047687818585632848591499744589407958293238635476079160
SPEC_Y = 5640078356564379163099075877009565129882514886557779369047442380624545832820
SPEC_ENVELOPE = (
    b'{"payload": "aGVsbG8gd29ybGQ=", "payloadType": "http://example.com/HelloWorld", "signatures": [{"sig": '
    b'"A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA=="}]}'
)


def test_the_published_example() -> None:
    assert pae(SPEC_TYPE, SPEC_BODY) == SPEC_PAE
    envelope = json.loads(SPEC_ENVELOPE)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    public = ec.EllipticCurvePublicNumbers(SPEC_X, SPEC_Y, ec.SECP256R1()).public_key()
    public.verify(encode_dss_signature(r, s), pae(SPEC_TYPE, SPEC_BODY), ec.ECDSA(hashes.SHA256()))
    # Ours carries the same document, with the key id that we demand and in its one spelling.
    ours = Envelope(SPEC_TYPE, SPEC_BODY, (Signature("k", signature),))
    assert {**json.loads(ours.encode()), "signatures": 0} == {**envelope, "signatures": 0}


def test_lengths_are_of_bytes_and_keep_type_and_body_apart() -> None:
    assert pae("é", b"x") == "DSSEv1 2 é 1 x".encode()
    assert pae("a", b"1 b") != pae("a 3 1", b"b")


def test_another_implementation_verifies_ours() -> None:
    envelope = MANIFEST_ENVELOPE.countersign(OTHER)
    other = OtherEnvelope.from_dict(json.loads(envelope.encode()))
    public = {k.public.key_id: k.public.raw.hex() for k in (OWNER, OTHER)}
    keys = [SSlibKey(i, "ed25519", "ed25519", {"public": raw}) for i, raw in public.items()]
    assert set(other.verify(keys, 2)) == set(public)
    assert other.pae() == pae(Purpose.MANIFEST, MANIFEST.payload())
    spoiled = json.loads(envelope.encode())
    spoiled["payload"] = base64.b64encode(MANIFEST.payload().replace(b"fund-1", b"fund-2")).decode()
    with pytest.raises(VerificationError):
        OtherEnvelope.from_dict(spoiled).verify(keys, 1)


def test_round_trip() -> None:
    assert Envelope.decode(MANIFEST_ENVELOPE.encode()) == MANIFEST_ENVELOPE
    assert open_signed(Manifest, MANIFEST_ENVELOPE, [OWNER.public]) == MANIFEST
    assert MANIFEST_ENVELOPE.digest == hashlib.sha256(MANIFEST_ENVELOPE.encode()).digest()


def test_threshold_counts_distinct_known_keys() -> None:
    two = sign(MANIFEST, [OWNER, OTHER])
    assert set(two.verify(Purpose.MANIFEST, [OWNER.public, OTHER.public], threshold=2)) == {OWNER.public, OTHER.public}
    for keys in ([OWNER.public], [OWNER.public, OWNER.public], []):
        with pytest.raises(ProofRejected) as e:
            two.verify(Purpose.MANIFEST, keys, threshold=2)
        assert e.value.code == "signature.threshold"
    # The same key cannot sign twice under one id, nor count twice under a second, made-up id.
    with pytest.raises(DecodeError):
        sign(MANIFEST, [OWNER, OWNER])
    again = replace(two, signatures=(two.signatures[0], Signature(OTHER.public.key_id, two.signatures[0].signature)))
    with pytest.raises(ProofRejected):
        again.verify(Purpose.MANIFEST, [OWNER.public, OTHER.public], threshold=2)


def test_unknown_signatures_are_ignored_and_wrong_ones_count_for_nothing() -> None:
    good = MANIFEST_ENVELOPE.signatures[0]
    post_quantum = Signature("0" * 32, bytes(3309))
    carried = replace(MANIFEST_ENVELOPE, signatures=(post_quantum, good))
    assert Envelope.decode(carried.encode()).verify(Purpose.MANIFEST, [OWNER.public]) == (OWNER.public,)
    for bad in (bytes(64), good.signature[:-1], b"", bytes(3309)):
        wrong = replace(MANIFEST_ENVELOPE, signatures=(Signature(good.key_id, bad),))
        with pytest.raises(ProofRejected):
            wrong.verify(Purpose.MANIFEST, [OWNER.public])


def test_the_key_id_decides_nothing() -> None:
    """A signature by a stranger under the owner's id is not the owner's."""
    strangers = OTHER.sign(Purpose.MANIFEST, MANIFEST.payload())
    forged = Envelope(Purpose.MANIFEST, MANIFEST.payload(), (Signature(OWNER.public.key_id, strangers),))
    with pytest.raises(ProofRejected):
        open_signed(Manifest, forged, [OWNER.public])


def test_another_type_is_refused_before_anything_is_read() -> None:
    with pytest.raises(DecodeError) as e:
        open_signed(AccountRecord, MANIFEST_ENVELOPE, [OWNER.public])
    assert e.value.code == "envelope.type"
    with pytest.raises(DecodeError):
        peek(AccountRecord, MANIFEST_ENVELOPE)
    relabelled = replace(MANIFEST_ENVELOPE, payload_type=Purpose.ACCOUNT)
    with pytest.raises(ProofRejected):
        open_signed(AccountRecord, relabelled, [OWNER.public])
    with pytest.raises(InputError):
        replace(MANIFEST_ENVELOPE, payload_type="text/plain").countersign(OWNER)


def test_another_role_with_the_same_bytes_is_another_key() -> None:
    assert OPERATOR.role != OWNER.role
    with pytest.raises(ProofRejected):
        VENUE_ENVELOPE.verify(Purpose.VENUE_REGISTRY, [OWNER.public])
    with pytest.raises(InputError):
        sign(RECORD, [OPERATOR])
    with pytest.raises(InputError):
        sign(VENUE_REGISTRY, [OWNER])


BASE = json.loads(MANIFEST_ENVELOPE.encode())
SIG = BASE["signatures"][0]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        json.dumps(BASE).encode(),  # spaces: another spelling
        MANIFEST_ENVELOPE.encode() + b"\n",
        MANIFEST_ENVELOPE.encode().replace(b'{"payload":', b'{"payload":"","payload":', 1),
        document.canonical({**BASE, "more": 1}),
        document.canonical({**BASE, "payload": BASE["payload"] + "=="}),
        document.canonical({**BASE, "payload": BASE["payload"].replace("=", "")[:-1] + "é"}),
        document.canonical({**BASE, "payload": 1}),
        document.canonical({**BASE, "payloadType": 1}),
        document.canonical({**BASE, "payloadType": "x" * 257}),
        document.canonical({**BASE, "signatures": []}),
        document.canonical({**BASE, "signatures": {}}),
        document.canonical({**BASE, "signatures": [SIG, SIG]}),
        document.canonical({**BASE, "signatures": [{**SIG, "keyid": ""}]}),
        document.canonical({**BASE, "signatures": [{**SIG, "keyid": str(i)} for i in range(MAX_SIGNATURES + 1)]}),
        document.canonical({**BASE, "signatures": [{**SIG, "sig": "A" * 20_000}]}),
        document.canonical({**BASE, "signatures": [{**SIG, "sig": "QUI"}]}),
        document.canonical({**BASE, "signatures": [{**SIG, "sig": "QUJ="}]}),  # a spare bit set
    ],
)
def test_what_is_no_canonical_envelope_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Envelope.decode(data)
