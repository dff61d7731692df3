"""Checkpoints, cosignatures, and whom a policy believes."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError, MarginSealError, PolicyError, ProofRejected
from marginseal.log.checkpoint import Checkpoint, check_append_only
from marginseal.log.cosignature import Cosigner, cosignature_times, subtree_message, verify_mldsa
from marginseal.log.merkle import EMPTY_ROOT, leaf_hash
from marginseal.log.note import KeyKind, Note, NoteSignature, Signer, VerifierKey
from marginseal.log.policy import LogPolicy
from tests.log.support import ORIGIN, POLICY, SIGNER, cosigner, key, sha, vectors
from tests.oracles import naive_merkle

V = vectors("log_note.json")
CHECKPOINT = Checkpoint.at(ORIGIN, 5, sha("root"), 1_000)
WITNESSES = tuple(cosigner(i).key for i in range(3))
TWO_OF_THREE = LogPolicy(ORIGIN, (SIGNER.key,), WITNESSES, 2)


def cosigned(checkpoint: Checkpoint, *lines: NoteSignature) -> bytes:
    note = Note.parse(checkpoint.sign(SIGNER))
    return Note(note.text, (*note.signatures, *lines)).encode()


def code(refused: pytest.ExceptionInfo[MarginSealError]) -> str:
    return refused.value.code


@pytest.mark.parametrize("case", V["checkpoints"], ids=lambda case: case["desc"])
def test_checkpoint_texts(case: dict[str, str]) -> None:
    if case["expect"] == "accept":
        assert Checkpoint.parse(case["text"]).text == case["text"]
    else:
        with pytest.raises(DecodeError) as refused:
            Checkpoint.parse(case["text"])
        assert code(refused) == case["expect"]


@given(st.text(max_size=120))
def test_any_text_is_a_checkpoint_or_refused(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except DecodeError:
        return
    assert checkpoint.text == text


@given(st.integers(0, 2**62), st.binary(min_size=32, max_size=32), st.integers(0, 2**62))
def test_every_checkpoint_survives_its_text(size: int, root: bytes, time: int) -> None:
    checkpoint = Checkpoint.at(ORIGIN, size, root, time)
    assert Checkpoint.parse(checkpoint.text) == checkpoint
    assert checkpoint.time == time


def test_a_log_signs_under_its_own_name_only() -> None:
    with pytest.raises(InputError):
        CHECKPOINT.sign(Signer("log.example/two", key("log")))
    with pytest.raises(InputError):
        Checkpoint.at("a log", 0, EMPTY_ROOT, 0).sign(SIGNER)


def test_a_policy_believes_the_log_it_names() -> None:
    signed = POLICY.verify(CHECKPOINT.sign(SIGNER))
    assert (signed.checkpoint, signed.cosigned) == (CHECKPOINT, ())
    other = Signer("log.example/two", key("two"))
    with pytest.raises(ProofRejected) as refused:
        POLICY.verify(Checkpoint.at(other.name, 5, sha("root"), 1_000).sign(other))
    assert code(refused) == "log.origin"
    with pytest.raises(ProofRejected) as refused:
        POLICY.verify(CHECKPOINT.sign(Signer(ORIGIN, key("somebody else"))))
    assert code(refused) == "note.unsigned"


def test_a_rotated_key_is_believed_beside_the_old_one() -> None:
    new = Signer(ORIGIN, key("the next one"))
    policy = LogPolicy(ORIGIN, (SIGNER.key, new.key))
    for signer in (SIGNER, new):
        policy.verify(CHECKPOINT.sign(signer))


def test_two_of_three_witnesses() -> None:
    lines = [cosigner(i).cosign(CHECKPOINT, 2_000 + i) for i in range(3)]
    signed = TWO_OF_THREE.verify(cosigned(CHECKPOINT, lines[2], lines[0]))
    assert signed.cosigned == (("witness-0.example", 2_000), ("witness-2.example", 2_002))
    with pytest.raises(PolicyError) as refused:
        TWO_OF_THREE.verify(cosigned(CHECKPOINT, lines[1]))
    assert code(refused) == "log.witnesses"


def test_one_witness_is_not_two() -> None:
    """Twice the same line; twice at different times; once more under a name that the policy does not know."""
    w = cosigner(1)
    first, later = w.cosign(CHECKPOINT, 2_000), w.cosign(CHECKPOINT, 3_000)
    stranger = Cosigner("stranger.example", w.private).cosign(CHECKPOINT, 2_000)
    with pytest.raises(PolicyError):
        TWO_OF_THREE.verify(cosigned(CHECKPOINT, first, first, later, stranger))


def test_one_key_under_two_names_is_no_policy() -> None:
    """An Ed25519 cosignature does not bind the name: its holder could sign for both."""
    alias = VerifierKey("alias.example", KeyKind.COSIGNATURE, WITNESSES[0].public)
    with pytest.raises(InputError):
        LogPolicy(ORIGIN, (SIGNER.key,), (WITNESSES[0], alias), 2)
    with pytest.raises(InputError):
        LogPolicy(ORIGIN, (SIGNER.key,), (VerifierKey("w.example", KeyKind.COSIGNATURE, SIGNER.key.public),), 1)


def test_a_witness_with_two_keys_counts_once() -> None:
    old, new = cosigner(1), Cosigner("witness-1.example", key("its next key"))
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (old.key, new.key, WITNESSES[0]), 2)
    with pytest.raises(PolicyError):
        policy.verify(cosigned(CHECKPOINT, old.cosign(CHECKPOINT, 1_500), new.cosign(CHECKPOINT, 1_500)))
    with pytest.raises(InputError):
        LogPolicy(ORIGIN, (SIGNER.key,), (old.key, new.key), 2)


@pytest.mark.parametrize(
    ("keys", "witnesses", "threshold"),
    [
        ((), (), 0),
        ((cosigner(0).key,), (), 0),
        ((VerifierKey("other", KeyKind.ED25519, bytes(32)),), (), 0),
        ((SIGNER.key,), (VerifierKey("w", KeyKind.ED25519, bytes(32)),), 1),
        ((SIGNER.key,), WITNESSES, 4),
        ((SIGNER.key,), WITNESSES, -1),
    ],
)
def test_policies_that_cannot_be_meant(
    keys: tuple[VerifierKey, ...], witnesses: tuple[VerifierKey, ...], threshold: int
) -> None:
    with pytest.raises(InputError):
        LogPolicy(ORIGIN, keys, witnesses, threshold)


def test_a_cosignature_covers_the_whole_text_and_the_time() -> None:
    w = cosigner(0)
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (w.key,), 1)
    line = w.cosign(CHECKPOINT, 2_000)
    policy.verify(cosigned(CHECKPOINT, line))
    for other in (
        replace(CHECKPOINT, size=6),
        replace(CHECKPOINT, root=sha("another root")),
        replace(CHECKPOINT, extensions=("time 1001",)),
        replace(CHECKPOINT, extensions=()),
    ):
        with pytest.raises(ProofRejected) as refused:
            policy.verify(cosigned(other, line))
        assert code(refused) == "note.signature"
    for blob in (
        (2_001).to_bytes(8, "big") + line.signature[8:],
        (2**63).to_bytes(8, "big") + line.signature[8:],
        line.signature[:8],
        line.signature[:-1],
        line.signature + b"\x00",
        b"short",
    ):
        with pytest.raises(ProofRejected):
            policy.verify(cosigned(CHECKPOINT, replace(line, signature=blob)))


def test_a_plain_signature_is_not_a_cosignature() -> None:
    """The same key in both roles: each message begins in a way the other cannot."""
    w = cosigner(0)
    plain = Signer(w.name, key("witness 0")).sign(CHECKPOINT.text).signatures[0]
    dressed = NoteSignature(w.key.name, w.key.key_id, (2_000).to_bytes(8, "big") + plain.signature)
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (w.key,), 1)
    with pytest.raises(ProofRejected):
        policy.verify(cosigned(CHECKPOINT, dressed))


def test_the_published_cosignature_time() -> None:
    case = V["timestamps"][0]
    blob = base64.b64decode(case["blob"])
    assert int.from_bytes(blob[4:12], "big") == case["time"]
    assert len(blob) == 4 + 8 + 64


def test_ml_dsa_cosignatures() -> None:
    w = Cosigner("pq.example", MLDSA44PrivateKey.from_seed_bytes(sha("pq witness")))
    assert w.key.kind is KeyKind.COSIGNATURE_MLDSA
    assert VerifierKey.parse(str(w.key)) == w.key
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (w.key,), 1)
    line = w.cosign(CHECKPOINT, 2_000)
    assert policy.verify(cosigned(CHECKPOINT, line)).cosigned == (("pq.example", 2_000),)
    for other in (replace(CHECKPOINT, size=6), replace(CHECKPOINT, root=sha("another root"))):
        with pytest.raises(ProofRejected):
            policy.verify(cosigned(other, line))
    alias = VerifierKey("alias.example", KeyKind.COSIGNATURE_MLDSA, w.key.public)
    moved = Note.parse(cosigned(CHECKPOINT, NoteSignature(alias.name, alias.key_id, line.signature)))
    with pytest.raises(ProofRejected):  # here the name is signed as well
        cosignature_times(moved, CHECKPOINT, alias)


def test_the_published_ml_dsa_cosignature() -> None:
    """Made by another implementation, over a subtree that begins at 8."""
    case = V["mldsa"]
    witness = VerifierKey.parse(case["key"])
    blob, root = base64.b64decode(case["blob"]), bytes.fromhex(case["root"])
    assert blob[:4] == witness.key_id
    time, signature = int.from_bytes(blob[4:12], "big"), blob[12:]
    message = subtree_message(witness.name, time, case["origin"], case["start"], case["end"], root)
    verify_mldsa(witness.public, signature, message)
    for wrong in (message[:-1] + b"\x00", message.replace(b"example.com/log", b"example.com/lob"), message + b"\x00"):
        with pytest.raises(ProofRejected):
            verify_mldsa(witness.public, signature, wrong)


def test_the_ml_dsa_message() -> None:
    message = subtree_message("w", 3, "log", 8, 13, bytes(range(32)))
    assert message == (
        b"subtree/v1\n\x00" + b"\x01w" + bytes(7) + b"\x03" + b"\x03log" + bytes(7) + b"\x08" + bytes(7) + b"\x0d"
    ) + bytes(range(32))
    with pytest.raises(InputError):
        subtree_message("w" * 256, 0, "log", 0, 1, bytes(32))


def test_freshness_is_that_of_the_log_and_of_enough_witnesses() -> None:
    alone = POLICY.verify(CHECKPOINT.sign(SIGNER))
    assert POLICY.check_fresh(alone, now=1_030, max_age_s=30) == 30
    with pytest.raises(PolicyError) as refused:
        POLICY.check_fresh(alone, now=1_031, max_age_s=30)
    assert code(refused) == "log.stale"
    lines = [cosigner(i).cosign(CHECKPOINT, time) for i, time in ((0, 900), (1, 1_010), (2, 1_020))]
    signed = TWO_OF_THREE.verify(cosigned(CHECKPOINT, *lines))
    assert TWO_OF_THREE.check_fresh(signed, now=1_030, max_age_s=30) == 30  # the log's own time is the oldest
    late = replace(CHECKPOINT, extensions=("time 1025",))  # a log that dates itself later than its witnesses saw it
    signed = TWO_OF_THREE.verify(cosigned(late, *[cosigner(i).cosign(late, 900 + 5 * i) for i in range(3)]))
    assert TWO_OF_THREE.check_fresh(signed, now=1_030, max_age_s=200) == 125
    with pytest.raises(PolicyError):
        TWO_OF_THREE.check_fresh(signed, now=1_030, max_age_s=124)


def test_freshness_is_not_judged_by_words_of_another_policy() -> None:
    alone = POLICY.verify(CHECKPOINT.sign(SIGNER))
    with pytest.raises(PolicyError) as refused:
        TWO_OF_THREE.check_fresh(alone, now=1_000, max_age_s=30)
    assert code(refused) == "log.witnesses"


def test_a_time_ahead_is_refused_and_a_small_difference_of_clocks_is_not() -> None:
    alone = POLICY.verify(CHECKPOINT.sign(SIGNER))
    assert POLICY.check_fresh(alone, now=940, max_age_s=30) == 0
    with pytest.raises(PolicyError) as refused:
        POLICY.check_fresh(alone, now=939, max_age_s=30)
    assert code(refused) == "log.ahead"


def test_without_any_time_there_is_no_freshness() -> None:
    timeless = Checkpoint(ORIGIN, 5, sha("root"))
    with pytest.raises(PolicyError) as refused:
        POLICY.check_fresh(POLICY.verify(timeless.sign(SIGNER)), now=0, max_age_s=10)
    assert code(refused) == "log.no-time"


DATA = [sha(f"entry {i}") for i in range(20)]


def at(size: int, *, fork: int | None = None, time: int | None = None) -> Checkpoint:
    """The log of `size` entries; with `fork`, another entry stands at that index."""
    leaves = [sha("forged") if i == fork else data for i, data in enumerate(DATA[:size])]
    return Checkpoint.at(ORIGIN, size, naive_merkle.mth(leaves), 1_000 + size if time is None else time)


def test_any_two_states_of_one_log_go_together() -> None:
    for size2 in range(20):
        for size1 in range(size2 + 1):
            path = naive_merkle.proof(size1, DATA[:size2]) if size1 else []
            check_append_only(at(size1), at(size2), path)


def test_a_rollback_is_named() -> None:
    with pytest.raises(ProofRejected) as refused:
        check_append_only(at(10), at(9), [])
    assert code(refused) == "log.rollback"


def test_a_fork_is_named_whatever_path_is_offered() -> None:
    """The log replaced entry 3 after it signed at 10: no path leads from the one to the other."""
    forged = [sha("forged") if i == 3 else data for i, data in enumerate(DATA)]
    for size2 in (10, 11, 16, 20):
        new = at(size2, fork=3)
        honest, dishonest = naive_merkle.proof(10, DATA[:size2]), naive_merkle.proof(10, forged[:size2])
        for path in (honest, dishonest, [], [EMPTY_ROOT], [at(10).root, new.root]):
            with pytest.raises(ProofRejected) as refused:
                check_append_only(at(10), new, path)
            assert code(refused) == "log.fork"
    with pytest.raises(ProofRejected):  # a false root over no entries
        check_append_only(replace(at(0), root=leaf_hash(b"")), at(3), [])


def test_a_backdated_checkpoint_is_named() -> None:
    path = naive_merkle.proof(10, DATA[:12])
    check_append_only(at(10), at(12, time=1_010), path)
    with pytest.raises(ProofRejected) as refused:
        check_append_only(at(10), at(12, time=1_009), path)
    assert code(refused) == "log.backdated"


def test_checkpoints_of_two_logs_are_not_compared() -> None:
    with pytest.raises(ProofRejected) as refused:
        check_append_only(at(10), replace(at(10), origin="log.example/two"), [])
    assert code(refused) == "log.origin"
