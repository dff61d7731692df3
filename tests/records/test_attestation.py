"""The attestation: signatures, canonical bytes, what it refuses, where its bytes go."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from securesystemslib.dsse import Envelope as OtherEnvelope
from securesystemslib.signer import SSlibKey

from marginseal.errors import DecodeError, MarginSealError
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.entry import ATTESTATION as ATTESTATION_KIND
from marginseal.log.entry import Entry
from marginseal.log.note import Signer
from marginseal.log.receipt import Receipt
from marginseal.records import document
from marginseal.records.attestation import (
    Attestation,
    AttestationBody,
    RuleRef,
    make_attestation,
    sign_statement,
    size_table,
    verify_owner,
)
from marginseal.records.envelope import Signature, sign
from marginseal.records.keys import Purpose, Role
from marginseal.records.statement import Claim, Continuity, Kind, Release, Statement, Tier
from tests.records.world import CUT, OWNER, PROVER, SOURCE_KEYS, honest, key, seed

STATEMENT = honest().statement
OWNER_SIGNATURE = sign_statement(STATEMENT, OWNER)
RULES = (RuleRef("worst_case", b'{"a":1}'),)
PROOFS = (b"proof",)
ATTESTATION = make_attestation(STATEMENT, OWNER_SIGNATURE, RULES, PROOFS, PROVER)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def test_round_trip() -> None:
    again = Attestation.decode(ATTESTATION.data)
    assert again == ATTESTATION
    assert (again.statement, again.proofs, again.body.rules) == (STATEMENT, PROOFS, RULES)
    assert again.verify_signatures([PROVER.public]) == (PROVER.public,)
    assert again.body.rules[0].values == {"a": 1}


def test_any_dsse_library_reads_it() -> None:
    other = OtherEnvelope.from_dict(json.loads(ATTESTATION.data))
    public = {"public": PROVER.public.raw.hex()}
    assert other.verify([SSlibKey(PROVER.public.key_id, "ed25519", "ed25519", public)], 1)
    assert other.payload_type == "application/vnd.marginseal.attestation.v1+json"


def test_the_prover_cannot_sign_for_the_owner() -> None:
    """Pledges, sources, claims: whatever the prover changes in the statement, the owner has not signed."""
    for changes in (
        {"pledge": STATEMENT.sources[0].C},
        {"sources": STATEMENT.sources[1:]},
        {"claims": (replace(STATEMENT.claims[0], tier=Tier.MAINTENANCE),)},
        {"expiry": STATEMENT.expiry + 1},
        {"account_key": key(Role.ACCOUNT, "the prover's own").public.raw},
    ):
        changed = replace(STATEMENT, **changes)  # type: ignore[arg-type]
        call = lambda c=changed: make_attestation(c, OWNER_SIGNATURE, RULES, PROOFS, PROVER)  # noqa: E731
        assert refusal(call) == "signature.invalid"
        forged = sign(AttestationBody(changed, OWNER_SIGNATURE, RULES, PROOFS), [PROVER])
        decoded = Attestation.decode(forged.encode())
        assert refusal(lambda d=decoded: d.verify_signatures([PROVER.public])) == "signature.invalid"


def test_10_a_source_cannot_attest_for_the_account() -> None:
    for signer in (*SOURCE_KEYS.values(), PROVER, key(Role.ACCOUNT, "somebody")):
        assert refusal(lambda s=signer: sign_statement(STATEMENT, s)) == "attestation.owner"
    # A signature by the account's secret for another purpose, over the very digest, is none.
    for purpose in (Purpose.ACCOUNT, Purpose.MANIFEST):
        other = OWNER.sign(purpose, STATEMENT.digest)
        assert refusal(lambda o=other: verify_owner(STATEMENT, o)) == "signature.invalid"
    identity = replace(STATEMENT, account_key=(1).to_bytes(32, "little"))
    universal = (1).to_bytes(32, "little") + bytes(32)  # valid for every message under the key of order 1
    assert refusal(lambda: verify_owner(identity, universal)) == "key.small-order"


def test_somebody_elses_prover_is_not_known() -> None:
    stranger = make_attestation(STATEMENT, OWNER_SIGNATURE, RULES, PROOFS, key(Role.PROVER, "stranger"))
    assert refusal(lambda: stranger.verify_signatures([PROVER.public])) == "signature.threshold"
    assert refusal(lambda: ATTESTATION.verify_signatures([])) == "signature.threshold"
    both = replace(ATTESTATION, envelope=ATTESTATION.envelope.countersign(key(Role.PROVER, "auditor")))
    keys = [PROVER.public, key(Role.PROVER, "auditor").public]
    assert len(Attestation.decode(both.data).verify_signatures(keys, threshold=2)) == 2


def test_a_proof_exchanged_is_not_what_the_prover_signed() -> None:
    body = AttestationBody(STATEMENT, OWNER_SIGNATURE, RULES, (b"other",))
    swapped = replace(ATTESTATION.envelope, payload=body.payload())
    assert refusal(lambda: Attestation.decode(swapped.encode()).verify_signatures([PROVER.public])) == (
        "signature.threshold"
    )


def test_one_proof_and_rule_for_each_claim() -> None:
    for proofs, rules in (((), RULES), ((b"a", b"b"), RULES), (PROOFS, ()), (PROOFS, RULES * 2), ((b"",), RULES)):
        call = lambda p=proofs, r=rules: make_attestation(STATEMENT, OWNER_SIGNATURE, r, p, PROVER)  # noqa: E731
        assert refusal(call) == "attestation.proofs"


BASE = json.loads(ATTESTATION.envelope.payload)


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2}, {"version": "1"}, {"version": True}, {"owner": ""}, {"owner": BASE["owner"] + "="},
        {"owner": BASE["owner"][:-1] + "B"}, {"proofs": "x"}, {"proofs": [1]}, {"proofs": ["!"]}, {"statement": ""},
        {"statement": BASE["statement"][:-4]}, {"rules": [{"name": "a"}]}, {"rules": [{"name": "", "parameters": {}}]},
        {"rules": [{"name": "a", "parameters": []}]}, {"rules": [{"name": "a", "parameters": {"": 1}}]}, {"note": "x"},
    ],
    ids=lambda change: ",".join(change) if isinstance(change, dict) else None,
)  # fmt: skip
def test_what_this_version_does_not_know_is_refused(change: dict[str, Any]) -> None:
    payload = document.canonical({**BASE, **change})
    envelope = replace(ATTESTATION.envelope, payload=payload)
    with pytest.raises(DecodeError):
        Attestation.decode(envelope.encode())


def test_another_type_is_refused() -> None:
    later = replace(ATTESTATION.envelope, payload_type="application/vnd.marginseal.attestation.v2+json")
    assert refusal(lambda: Attestation.decode(later.encode())) == "envelope.type"


@pytest.mark.parametrize("parameters", [b"", b"[]", b'{"a": 1}', b'{"b":1,"a":1}', b'{"a":NaN}', b'{"a":1e999}'])
def test_rule_parameters_are_canonical(parameters: bytes) -> None:
    with pytest.raises(DecodeError):
        RuleRef("worst_case", parameters)


def three_sources(continuity: Continuity = Continuity.SAME) -> Statement:
    """Three sources, one tile, ordinary names, the second attestation of an account."""
    sources = tuple(replace(entry, tile=0, C=entry.C) for entry in STATEMENT.sources if entry.tile == 0)
    link: dict[str, Any] = {}
    if continuity == Continuity.LINKED:
        link = {"previous_pledge": STATEMENT.pledge, "releases": (Release(0, 1, seed("r")), Release(1, 1, seed("s")))}
    claims = (Claim(Kind.ATTESTATION, seed("circuit"), Tier.INITIAL, ()),)
    return replace(
        STATEMENT, sources=sources, sequence=1234, prev=seed("prev"), continuity=continuity, claims=claims, **link
    )


def receipt_for(attestation: Attestation, hashes: int) -> bytes:
    """What a log of up to 2^hashes entries gives back, with its signed checkpoint."""
    statement = attestation.statement
    books = tuple((e.source, e.book) for e in statement.sources)
    chain = (statement.sequence, statement.digest, statement.prev)
    leaf = Entry(ATTESTATION_KIND, attestation.data, statement.account, *chain, books).leaf(CUT)
    origin = "log.example.org/marginseal"
    signer = Signer(origin, key(Role.LOG, "log").note_key())
    note = Checkpoint.at(origin, 2**hashes, seed("root"), CUT).sign(signer)
    return Receipt(2**hashes - 1, leaf, (seed("hash"),) * hashes, note).encode()


def test_where_the_bytes_go_and_the_whole_is_below_6_kb() -> None:
    """12 limb columns in 4 groups: 1,472 bytes of proof; with the receipt of a log of a million entries."""
    statement = three_sources()
    proof = bytes(range(256)) * 5 + bytes(192)
    assert len(proof) == 48 * (12 + 4 + 6) + 32 * (12 + 1)
    attestation = make_attestation(statement, sign_statement(statement, OWNER), RULES, (proof,), PROVER)
    receipt = receipt_for(attestation, 20)
    table = size_table(attestation, receipt)
    assert sum(size for _, size in table) == len(attestation.data) + len(receipt)
    assert all(size > 0 for _, size in table)
    assert len(attestation.data) + len(receipt) <= 6_144
    page = (Path(__file__).parents[2] / "docs/wire.md").read_text()
    for size in (*(size for _, size in table), len(attestation.data), len(receipt_for(attestation, 10))):
        assert f"{size:,}" in page
    linked = three_sources(Continuity.LINKED)
    with_link = make_attestation(linked, sign_statement(linked, OWNER), RULES, (proof,), PROVER)
    assert len(with_link.data) <= 6_144


def test_signatures_of_other_algorithms_are_carried() -> None:
    post_quantum = Signature("0" * 32, bytes(3309))
    envelope = replace(ATTESTATION.envelope, signatures=(*ATTESTATION.envelope.signatures, post_quantum))
    decoded = Attestation.decode(envelope.encode())
    assert decoded.verify_signatures([PROVER.public]) == (PROVER.public,)
