"""A witness's answers to `add-checkpoint`, status by status, and the bytes of the protocol."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.log.checkpoint import Checkpoint
from marginseal.log.log import Log
from marginseal.log.merkle import EMPTY_ROOT
from marginseal.log.note import Note, Signer, encode_base64
from marginseal.log.policy import LogPolicy
from marginseal.log.witness import Answer, WitnessOffice
from marginseal.log.witness_wire import (
    MAX_PROOF_LINES,
    SIZE_TYPE,
    AddCheckpoint,
    add_answer,
    decode_size,
    encode_size,
)
from tests.log.support import ORIGIN, POLICY, SIGNER, attestation, cosigner, key, open_log, sha

COSIGNER = cosigner(0)
COSIGNED = LogPolicy(ORIGIN, (SIGNER.key,), (COSIGNER.key,), 1)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    log = open_log(tmp_path / "log")
    log.append_many([attestation(f"fund-{i}", 1) for i in range(5)], now=100)
    return log


@pytest.fixture
def office(tmp_path: Path) -> WitnessOffice:
    return WitnessOffice(COSIGNER, [POLICY], tmp_path / "state")


def ask(office: WitnessOffice, old: int, path: list[bytes], note: bytes, now: int = 500) -> Answer:
    return office.add_checkpoint(AddCheckpoint(old, tuple(path), note).encode(), now=now)


def checkpoint(size: int, root: bytes, time: int = 100) -> bytes:
    return Checkpoint.at(ORIGIN, size, root, time).sign(SIGNER)


def test_a_log_grows_and_is_cosigned(log: Log, office: WitnessOffice) -> None:
    sizes = [0]
    for i in range(4):
        note = log.checkpoint(now=100 + i)
        answer = ask(office, sizes[-1], log.consistency(sizes[-1], log.size()) if sizes[-1] else [], note, 500 + i)
        assert (answer.status, answer.code) == (200, None)
        cosigned = add_answer(note, answer.body, COSIGNER.key)
        assert COSIGNED.verify(cosigned).cosigned == (("witness-0.example", 500 + i),)
        kept = office.checkpoint(hashlib.sha256(ORIGIN.encode()).hexdigest())
        assert kept == cosigned
        sizes.append(log.size())
        if i != 1:  # once nothing is appended between two checkpoints
            log.append(attestation("more", i + 1 if i < 1 else i), now=100 + i)


def test_what_is_refused_and_with_which_status(log: Log, office: WitnessOffice) -> None:
    note = log.checkpoint(now=100)
    root = Checkpoint.of(note).root
    other = LogPolicy("log.example/two", (Signer("log.example/two", key("two")).key,))
    assert ask(WitnessOffice(COSIGNER, [other], Path("/nowhere")), 0, [], note).status == 404
    stranger = Checkpoint.at(ORIGIN, 5, root, 100).sign(Signer(ORIGIN, key("another")))
    assert (ask(office, 0, [], stranger).status, ask(office, 0, [], stranger).code) == (403, "note.unsigned")
    signature = Note.parse(note).signatures[0]
    spoiled = replace(signature, signature=bytes(64))
    assert ask(office, 0, [], Note(Note.parse(note).text, (spoiled,)).encode()).code == "note.signature"
    assert ask(office, 0, [], Note(Note.parse(note).text, (spoiled,)).encode()).status == 403
    assert ask(office, 6, [], note).status == 400
    assert (ask(office, 0, [root], note).status, ask(office, 0, [root], note).code) == (422, "log.consistency")
    assert ask(office, 0, [], checkpoint(0, root)).status == 422

    # A size it does not know, before it has seen any: it says 0.
    told = ask(office, 4, log.consistency(4, 5), note)
    assert (told.status, told.media_type, told.body) == (409, SIZE_TYPE, b"0\n")
    assert ask(office, 0, [], note).status == 200
    told = ask(office, 0, [], note)
    assert (told.status, told.media_type, decode_size(told.body)) == (409, SIZE_TYPE, 5)
    assert ask(office, 5, [], note).status == 200

    # Another tree: at the same size, and at a larger one with a proof of anything.
    forked = ask(office, 5, [], checkpoint(5, sha("another")))
    assert (forked.status, forked.media_type.split(";")[0], forked.code) == (409, "text/plain", "log.fork")
    for path in ([], [sha("x")], log.consistency(3, 5)):
        assert (ask(office, 5, path, checkpoint(9, sha("another"))).status) == 422
    assert ask(office, 5, [root], note).status == 422
    log.append(attestation("more", 1), now=110)
    backdated = checkpoint(6, Checkpoint.of(log.checkpoint(now=110)).root, 99)
    assert ask(office, 5, log.consistency(5, 6), backdated).code == "log.backdated"
    assert ask(office, 4, [], checkpoint(4, sha("smaller"))).status == 409
    assert ask(office, 5, log.consistency(5, 6), log.checkpoint(now=110)).status == 200


def test_an_empty_log_may_be_cosigned(office: WitnessOffice, log: Log) -> None:
    assert ask(office, 0, [], checkpoint(0, EMPTY_ROOT, 50)).status == 200
    assert ask(office, 0, [], checkpoint(0, EMPTY_ROOT, 51)).status == 200
    assert ask(office, 0, [], log.checkpoint(now=100)).status == 200


def test_what_it_remembers_is_on_disk_before_a_signature_leaves(tmp_path: Path, log: Log) -> None:
    """Killed between the two it has said nothing, and started again it says nothing else."""
    state = tmp_path / "state"

    def killed() -> None:
        raise KeyboardInterrupt

    first = log.checkpoint(now=100)
    office = WitnessOffice(COSIGNER, [POLICY], state, persisted=killed)
    with pytest.raises(KeyboardInterrupt):
        ask(office, 0, [], first)
    again = WitnessOffice(COSIGNER, [POLICY], state)
    assert ask(again, 0, [], checkpoint(5, sha("another"))).body == b"5\n"
    assert ask(again, 5, [], checkpoint(5, sha("another"))).status == 409
    assert ask(again, 5, [], first).status == 200


def test_a_memory_that_is_damaged_signs_nothing(tmp_path: Path, log: Log, office: WitnessOffice) -> None:
    note = log.checkpoint(now=100)
    assert ask(office, 0, [], note).status == 200
    (file,) = (tmp_path / "state").iterdir()
    file.write_bytes(b"")
    with pytest.raises(DecodeError):
        ask(office, 5, [], note)
    file.write_bytes(checkpoint(5, sha("of another key")).replace(b"log.example", b"log.exampla"))
    with pytest.raises((ProofRejected, DecodeError)):
        ask(office, 5, [], note)


def test_what_strangers_sign_is_not_kept(office: WitnessOffice, log: Log) -> None:
    note = Note.parse(log.checkpoint(now=100))
    crowd = tuple(Signer(f"stranger-{i}.example", key(f"stranger {i}")).sign(note.text).signatures[0] for i in range(9))
    assert ask(office, 0, [], Note(note.text, (*note.signatures, *crowd)).encode()).status == 200
    kept = office.checkpoint(hashlib.sha256(ORIGIN.encode()).hexdigest())
    assert kept is not None
    assert len(Note.parse(kept).signatures) == 2


NOTE = checkpoint(5, sha("root"))
HASH = encode_base64(sha("hash"))


def test_requests_in_their_one_spelling() -> None:
    for request in (AddCheckpoint(0, (), NOTE), AddCheckpoint(4, (sha("a"), sha("b")), NOTE)):
        assert AddCheckpoint.decode(request.encode()) == request
    assert AddCheckpoint(4, (sha("hash"),), b"x\n").encode() == f"old 4\n{HASH}\n\nx\n".encode()


@pytest.mark.parametrize(
    "head",
    [
        "",
        "old",
        "old ",
        "old 05",
        "old -1",
        "old +5",
        "old 5 ",
        "Old 5",
        "old 5\r",
        "old 99999999999999999999",
        f"old 5\n{HASH[:-2]}=",
        f"old 5\n{HASH} ",
        f"old 5\n{HASH}\nold 5",
        f"old 5\n{encode_base64(bytes(31))}",
        f"old 5\né{HASH}",
        "old 5\n" + "\n".join([HASH] * (MAX_PROOF_LINES + 1)),
    ],
)
def test_what_is_no_request(office: WitnessOffice, head: str) -> None:
    data = head.encode() + b"\n\n" + NOTE
    with pytest.raises(DecodeError):
        AddCheckpoint.decode(data)
    assert office.add_checkpoint(data, now=1).status == 400


def test_what_is_no_request_either(office: WitnessOffice) -> None:
    for data in (b"", b"old 5\n", b"old 5\n\n", b"old 0\n\nno note\n", b"old 0\n\n" + bytes(2**16)):
        assert office.add_checkpoint(data, now=1).status == 400


def test_sizes_and_answers_that_are_none(log: Log, office: WitnessOffice) -> None:
    assert decode_size(encode_size(12)) == 12
    for data in (b"", b"12", b"012\n", b"12\n\n", b"-1\n", b"\xff\n"):
        with pytest.raises(DecodeError):
            decode_size(data)
    note = log.checkpoint(now=100)
    answer = ask(office, 0, [], note).body
    for bad in (b"", b"\n", answer + b"\n" + answer, b"hello\n", answer[:-1]):
        with pytest.raises((DecodeError, ProofRejected)):
            add_answer(note, bad, COSIGNER.key)
    with pytest.raises(ProofRejected, match=r"witness\.answer"):
        add_answer(note, answer, cosigner(1).key)
    with pytest.raises(InputError):
        LogPolicy(ORIGIN, (COSIGNER.key,))
