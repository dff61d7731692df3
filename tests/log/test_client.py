"""Receipts, head statements, witnesses and memories: what one who relies on a log checks, and what a bad log tries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError, MarginSealError, PolicyError, ProofRejected
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.client import Newest, verify_head, verify_newest, verify_receipt
from marginseal.log.entry import Entry
from marginseal.log.head import HeadStatement
from marginseal.log.log import Log
from marginseal.log.memory import CheckpointMemory
from marginseal.log.note import Note, Signer
from marginseal.log.policy import LogPolicy
from marginseal.log.receipt import Receipt
from marginseal.log.witness import Witness
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, cosigner, key, open_log, sha, statement

ENTRIES = [attestation(f"fund {i % 4}", i // 4 + 1) for i in range(12)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    log = open_log(tmp_path_factory.mktemp("log"))
    log.append_many(ENTRIES, now=100)
    log.append(Entry("disclosure", b"delta", "fund 3", 3, statement("fund 3", 3), statement("fund 3", 2)), now=100)
    return log


def newest(receipt: bytes, head: bytes, **changes: Any) -> Newest:
    """What a venue does with attestation 3 of fund 3, entry 11."""
    arguments: dict[str, Any] = {
        "payload": ENTRIES[11].payload,
        "policy": POLICY,
        "account": "fund 3",
        "sequence": 3,
        "statement_digest": statement("fund 3", 3),
        "now": 110,
        "max_age_s": 60,
    }
    return verify_newest(receipt, head, **{**arguments, **changes})


def code(refused: pytest.ExceptionInfo[MarginSealError]) -> str:
    return refused.value.code


def test_the_newest_attestation_is_accepted(log: Log) -> None:
    receipt, head = log.newest("fund 3", now=105)
    accepted = newest(receipt, head)
    assert (accepted.logged.index, accepted.age_s, accepted.head.sequence) == (11, 5, 3)
    assert accepted.logged.leaf == ENTRIES[11].leaf(100)
    assert accepted.head.size == 13


def test_every_receipt_verifies(log: Log) -> None:
    note = log.checkpoint(now=105)
    for i, entry in enumerate(ENTRIES):
        receipt = log.receipt(i, note)
        logged = verify_receipt(receipt, entry.payload, POLICY)
        assert (logged.index, logged.leaf.payload_digest) == (i, entry.leaf(100).payload_digest)
        assert Receipt.decode(receipt).encode() == receipt
        with pytest.raises(ProofRejected) as refused:
            verify_receipt(receipt, entry.payload + b" ", POLICY)
        assert code(refused) == "log.payload"


def test_a_receipt_is_the_text_of_tlog_proof(log: Log) -> None:
    lines = log.receipt(0, log.checkpoint(now=105)).decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 0"
    assert lines[7] == ""  # four hashes in a tree of thirteen
    assert lines[8:10] == [ORIGIN, "13"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"sequence": 2, "statement_digest": statement("fund 3", 2)}, "log.leaf"),
        ({"statement_digest": sha("another statement")}, "log.leaf"),
        ({"account": "fund 2"}, "log.leaf"),
        ({"payload": b"another envelope"}, "log.payload"),
        ({"now": 166}, "log.stale"),
        ({"now": 44}, "log.ahead"),
        ({"policy": LogPolicy(ORIGIN, (Signer(ORIGIN, key("other")).key,))}, "note.unsigned"),
        ({"policy": LogPolicy(ORIGIN, (SIGNER.key,), (cosigner(1).key,), 1)}, "log.witnesses"),
    ],
)
def test_what_was_not_asked_for_is_refused(log: Log, changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(MarginSealError) as refused:
        newest(*log.newest("fund 3", now=105), **changes)
    assert code(refused) == expected


def test_a_superseded_attestation_is_refused(tmp_path: Path) -> None:
    """The old receipt with the old head is refused by age, with the new head by its tree, and under the new tree by
    the head itself."""
    log = open_log(tmp_path)
    old, new = attestation("fund", 1), attestation("fund", 2)
    log.append(old, now=100)
    old_receipt, old_head = log.newest("fund", now=100)
    log.append(new, now=150)
    new_receipt, new_head = log.newest("fund", now=150)
    arguments: dict[str, Any] = {
        "account": "fund",
        "sequence": 1,
        "statement_digest": statement("fund", 1),
        "now": 161,
        "max_age_s": 60,
    }
    rebuilt = log.receipt(0, Receipt.decode(new_receipt).note)
    for receipt, head, expected in (
        (old_receipt, old_head, "log.stale"),
        (old_receipt, new_head, "log.head"),
        (rebuilt, old_head, "log.head"),
        (rebuilt, new_head, "log.superseded"),
    ):
        with pytest.raises(MarginSealError) as refused:
            verify_newest(receipt, head, old.payload, POLICY, **arguments)
        assert code(refused) == expected


def test_a_disclosure_is_not_an_attestation(log: Log) -> None:
    _, head = log.newest("fund 3", now=105)
    receipt = log.receipt(12, log.checkpoint(now=105, max_age_s=60))
    with pytest.raises(ProofRejected) as refused:
        newest(receipt, head, payload=b"delta")
    assert code(refused) == "log.leaf"


def test_a_head_statement_that_contradicts_is_refused(log: Log) -> None:
    receipt, note = log.newest("fund 3", now=105)
    honest = HeadStatement.parse(Note.parse(note).text)
    for changed, expected in (
        (replace(honest, account="fund 2"), "log.head"),
        (replace(honest, sequence=2), "log.head"),
        (replace(honest, sequence=4), "log.superseded"),
        (replace(honest, statement_digest=sha("other")), "log.head"),
        (replace(honest, index=10), "log.head"),
        (replace(honest, size=14), "log.head"),
        (replace(honest, root=sha("root")), "log.head"),
        (replace(honest, time=171), "log.ahead"),
        (replace(honest, origin="log.example/two"), "log.origin"),
    ):
        with pytest.raises(MarginSealError) as refused:
            newest(receipt, changed.sign(SIGNER))
        assert code(refused) == expected
    with pytest.raises(ProofRejected) as refused:
        newest(receipt, honest.sign(Signer(ORIGIN, key("not the log"))))
    assert code(refused) == "note.unsigned"


def test_a_checkpoint_is_not_a_head_statement_nor_the_reverse(log: Log) -> None:
    receipt, head = log.newest("fund 3", now=105)
    signed = POLICY.verify(Receipt.decode(receipt).note)
    with pytest.raises(DecodeError):
        verify_head(signed.note, POLICY, signed)
    with pytest.raises(DecodeError):
        POLICY.verify(head)


def test_an_account_without_an_attestation_has_no_head(log: Log) -> None:
    with pytest.raises(InputError) as refused:
        log.newest("nobody", now=105)
    assert code(refused) == "log.no-account"


def test_a_head_is_signed_while_others_append(tmp_path: Path) -> None:
    """An append between signing the checkpoint and the head: the head stays that of the checkpoint's tree."""
    log = open_log(tmp_path)
    log.append(attestation("fund", 1), now=100)
    write = log.storage.write
    calls = 0

    def write_and_let_another_append() -> Any:
        nonlocal calls
        calls += 1
        if calls == 1:
            return _then(write(), lambda: log.append(attestation("fund", 2), now=101))
        return write()

    log.storage.write = write_and_let_another_append  # type: ignore[method-assign]
    receipt, head = log.newest("fund", now=100)
    assert log.size() == 2
    signed = POLICY.verify(Receipt.decode(receipt).note)
    said = verify_head(head, POLICY, signed)
    assert (said.sequence, said.index, said.size, said.time) == (1, 0, 1, 100)


class _then:
    """A context manager after whose end something else happens."""

    def __init__(self, inner: Any, after: Any) -> None:
        self.inner, self.after = inner, after

    def __enter__(self) -> Any:
        return self.inner.__enter__()

    def __exit__(self, *error: Any) -> Any:
        result = self.inner.__exit__(*error)
        self.after()
        return result


HEAD = HeadStatement(ORIGIN, "fund", 3, sha("statement"), 7, 8, sha("root"), 100)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(HEAD.text) - 1), st.characters(max_codepoint=0x2100), st.booleans())
def test_a_changed_head_text_is_another_head_or_refused(at: int, character: str, insert: bool) -> None:
    changed = HEAD.text[:at] + character + HEAD.text[at + (not insert) :]
    try:
        head = HeadStatement.parse(changed)
    except DecodeError:
        return
    assert head.text == changed


@given(st.text(max_size=200))
def test_any_text_is_no_head(text: str) -> None:
    with pytest.raises(DecodeError):
        HeadStatement.parse(text)


@pytest.mark.parametrize(
    "changes",
    [
        {"sequence": 0},
        {"index": 8},
        {"index": -1},
        {"size": 0},
        {"time": -1},
        {"root": bytes(31)},
        {"statement_digest": b""},
        {"account": "a\nsequence 9"},
        {"account": ""},
        {"origin": "a\nb"},
    ],
)
def test_heads_that_cannot_be(changes: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        replace(HEAD, **changes)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 1_000), st.integers(0, 255), st.booleans())
def test_a_changed_receipt_is_refused(log: Log, at: int, byte: int, insert: bool) -> None:
    receipt = log.receipt(5, log.checkpoint(now=105, max_age_s=60))
    at %= len(receipt)
    changed = receipt[:at] + bytes([byte]) + receipt[at + (not insert) :]
    if changed == receipt:
        return
    with pytest.raises(MarginSealError):
        verify_receipt(changed, ENTRIES[5].payload, POLICY)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"c2sp.org/tlog-proof@v1\nindex 0\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\nextra AA==\nindex 0\n\nnote\n",
        b"c2sp.org/tlog-proof@v2\nextra AA==\nindex 0\n\nnote\n",
        b"c2sp.org/tlog-proof@v1\n\n" + b"x" * 2_000_000,
    ],
)
def test_bytes_that_are_no_receipt(data: bytes) -> None:
    with pytest.raises(DecodeError):
        Receipt.decode(data)


def test_a_receipt_cannot_hold_a_path_longer_than_any_tree(log: Log) -> None:
    receipt = Receipt.decode(log.receipt(5, log.checkpoint(now=105, max_age_s=60)))
    with pytest.raises(DecodeError):
        Receipt.decode(replace(receipt, path=(sha("hash"),) * 64).encode())


# Witnesses and memories, against a log that forks


def witness(folder: Path, number: int) -> Witness:
    return Witness(cosigner(number), CheckpointMemory(folder / f"witness-{number}", POLICY))


def forked(folder: Path) -> tuple[Log, Log]:
    """One log key over two stores, which agree on three entries and no further: the log that equivocates."""
    logs = open_log(folder / "left", released=False), open_log(folder / "right", released=False)
    for log in logs:
        log.append_many(ENTRIES[:3], now=100)
    logs[0].append(attestation("shown left", 1), now=100)
    logs[1].append(attestation("shown right", 1), now=100)
    return logs


def test_a_witness_follows_a_log(tmp_path: Path) -> None:
    log, w = open_log(tmp_path / "log"), witness(tmp_path, 0)
    policy = LogPolicy(ORIGIN, (SIGNER.key,), (w.cosigner.key,), 1)
    for i in range(12):
        if i != 1:  # the second checkpoint is of the same size as the first
            log.append(Entry("registry", bytes([i])), now=100)
        size = w.size()
        path = log.consistency(size, log.size()) if size else []
        note = log.add_cosignatures(w.cosign(log.checkpoint(now=100 + i), path, now=200 + i), policy)
        assert policy.verify(note).cosigned == (("witness-0.example", 200 + i),)


def test_a_witness_never_signs_two_trees(tmp_path: Path) -> None:
    left, right = forked(tmp_path)
    w = witness(tmp_path, 0)
    w.cosign(left.checkpoint(now=101), [], now=200)
    with pytest.raises(ProofRejected) as refused:
        w.cosign(right.checkpoint(now=101), [], now=201)
    assert code(refused) == "log.fork"
    right.append(ENTRIES[3], now=102)
    with pytest.raises(ProofRejected) as refused:
        w.cosign(right.checkpoint(now=102), right.consistency(4, 5), now=202)
    assert code(refused) == "log.fork"
    again = witness(tmp_path, 0)  # started anew, with what it remembers
    with pytest.raises(ProofRejected):
        again.cosign(right.checkpoint(now=103), right.consistency(4, 5), now=203)
    assert again.size() == 4


def test_a_witness_does_not_follow_a_rollback(tmp_path: Path) -> None:
    log, w = open_log(tmp_path / "log"), witness(tmp_path, 0)
    log.append_many(ENTRIES[:5], now=100)
    old = log.checkpoint(now=100)
    log.append(ENTRIES[5], now=101)
    w.cosign(log.checkpoint(now=101), [], now=200)
    with pytest.raises(ProofRejected) as refused:
        w.cosign(old, [], now=201)
    assert code(refused) == "log.rollback"


def test_with_two_of_three_witnesses_only_one_side_of_a_fork_is_believed(tmp_path: Path) -> None:
    left, right = forked(tmp_path)
    witnesses = [witness(tmp_path, i) for i in range(3)]
    policy = LogPolicy(ORIGIN, (SIGNER.key,), tuple(w.cosigner.key for w in witnesses), 2)
    note = left.checkpoint(now=101)
    for w in witnesses[:2]:
        note = w.cosign(note, [], now=200)
    policy.verify(note)
    other = right.checkpoint(now=101)
    for w in witnesses:
        try:
            other = w.cosign(other, [], now=200)
        except ProofRejected:
            continue
    with pytest.raises(PolicyError) as refused:
        policy.verify(other)
    assert code(refused) == "log.witnesses"


def test_two_venues_who_compare_checkpoints_see_the_fork(tmp_path: Path) -> None:
    left, right = forked(tmp_path)
    mine = CheckpointMemory(tmp_path / "mine", POLICY)
    mine.advance(POLICY.verify(left.checkpoint(now=101)), [])
    with pytest.raises(ProofRejected) as refused:
        mine.advance(POLICY.verify(right.checkpoint(now=101)), [])
    assert code(refused) == "log.fork"
    last = mine.last()
    assert last is not None
    assert last.note == left.checkpoint(now=101, max_age_s=60)


def test_a_log_that_backdates_is_seen(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log")
    log.append_many(ENTRIES[:3], now=100)
    memory = CheckpointMemory(tmp_path / "memory", POLICY)
    memory.advance(POLICY.verify(log.checkpoint(now=100)), [])
    log.append(ENTRIES[3], now=101)
    honest = Checkpoint.of(log.checkpoint(now=101))
    backdated = Checkpoint.at(ORIGIN, honest.size, honest.root, 99).sign(SIGNER)
    with pytest.raises(ProofRejected) as refused:
        memory.advance(POLICY.verify(backdated), log.consistency(3, 4))
    assert code(refused) == "log.backdated"
