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
from marginseal.records.attestation import (
    MAX_PROOF_BYTES,
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
    assert other.payload_type == "application/vnd.marginseal.attestation.v1"
    assert other.payload == ATTESTATION.body.payload()


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


PAYLOAD = ATTESTATION.envelope.payload
AT_VERSION = 23  # behind the length byte and the 22 letters of the format's name
AT_STATEMENT = AT_VERSION + 8
AT_RULES = AT_STATEMENT + 8 + len(STATEMENT.encode()) + 64
RULE = RULES[0].name.encode()


def changed(at: int, data: bytes) -> bytes:
    return PAYLOAD[:at] + data + PAYLOAD[at + len(data) :]


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "wire.truncated"),
        (b"{}", "wire.text"),
        (changed(1, b"m"), "attestation.version"),
        (changed(AT_VERSION + 7, b"\2"), "attestation.version"),
        (changed(AT_STATEMENT, b"\x7f" + b"\xff" * 7), "wire.count"),
        (changed(AT_STATEMENT, b"\xff" * 8), "wire.count"),
        (changed(AT_STATEMENT + 7, bytes([PAYLOAD[AT_STATEMENT + 7] - 1])), "wire.truncated"),
        (changed(AT_RULES, b"\0"), "wire.text"),
        (changed(AT_RULES + 1, b"\n"), "wire.text"),
        (changed(AT_RULES + 1, b" "), "rule-ref.name"),
        (changed(AT_RULES + 1 + len(RULE) + 8, b"["), "json.malformed"),
        (changed(AT_RULES + 1 + len(RULE), (2**40).to_bytes(8, "big")), "wire.count"),
        (changed(len(PAYLOAD) - 5 - 8, (MAX_PROOF_BYTES + 1).to_bytes(8, "big")), "wire.count"),
        (changed(len(PAYLOAD) - 5 - 8, bytes(8)), "attestation.proofs"),
        (PAYLOAD + b"\0", "wire.trailing"),
        (PAYLOAD[:-1], "wire.truncated"),
    ],
)
def test_what_this_version_does_not_know_is_refused(payload: bytes, code: str) -> None:
    envelope = replace(ATTESTATION.envelope, payload=payload)
    found = refusal(lambda: Attestation.decode(envelope.encode()))
    assert found == code or (code == "attestation.proofs" and found == "wire.trailing")


def test_another_type_is_refused() -> None:
    later = replace(ATTESTATION.envelope, payload_type="application/vnd.marginseal.attestation.v2")
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


PAGE = (Path(__file__).parents[2] / "docs/wire.md").read_text()


@pytest.mark.parametrize(("limbs", "proof_bytes"), [(12, 1_472), (23, 2_544)])
def test_where_the_bytes_go_and_the_whole_is_below_6_kb(limbs: int, proof_bytes: int) -> None:
    """A small rule, and worst_case_limits on the example market; with the receipt of a log of a thousand entries."""
    groups = -(-limbs // 3)
    assert proof_bytes == 48 * (limbs + groups + 6) + 32 * (limbs + 1)
    statement, proof = three_sources(), (bytes(range(256)) * 10)[:proof_bytes]
    rules = (RuleRef("worst_case_limits"),)
    attestation = make_attestation(statement, sign_statement(statement, OWNER), rules, (proof,), PROVER)
    receipt = receipt_for(attestation, 10)
    table = size_table(attestation, receipt)
    assert sum(size for _, size in table) == len(attestation.data) + len(receipt)
    assert all(size > 0 for _, size in table)
    assert len(attestation.data) + len(receipt) <= 6_144
    sizes = [size for _, size in table]
    for size in (*sizes, len(attestation.data), len(receipt_for(attestation, 20))):
        assert f"{size:,}" in PAGE, (limbs, table, len(attestation.data), len(receipt_for(attestation, 20)))


def test_a_link_with_two_releases_fits_too() -> None:
    linked = three_sources(Continuity.LINKED)
    with_link = make_attestation(linked, sign_statement(linked, OWNER), RULES, (bytes(2_544),), PROVER)
    assert len(with_link.data) <= 6_144


def test_signatures_of_other_algorithms_are_carried() -> None:
    post_quantum = Signature("0" * 32, bytes(3309))
    envelope = replace(ATTESTATION.envelope, signatures=(*ATTESTATION.envelope.signatures, post_quantum))
    decoded = Attestation.decode(envelope.encode())
    assert decoded.verify_signatures([PROVER.public]) == (PROVER.public,)
