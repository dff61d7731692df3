"""Signed notes and verifier keys: published vectors, and strict parsing of anything."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import example, given
from hypothesis import strategies as st

from marginseal.errors import DecodeError, InputError, MarginSealError
from marginseal.log.note import MAX_NOTE_BYTES, KeyKind, Note, Signer, VerifierKey, is_name, verify_note
from tests.log.support import SIGNER, cosigner, vectors

V = vectors("log_note.json")
PETER = V["keys"][0]["key"]


@pytest.mark.parametrize("case", V["keys"], ids=lambda case: case["desc"])
def test_verifier_keys(case: dict[str, str]) -> None:
    if case["expect"] == "accept":
        key = VerifierKey.parse(case["key"])
        assert str(key) == case["key"]
        assert key.kind == int(case["kind"])
    else:
        with pytest.raises(DecodeError) as refused:
            VerifierKey.parse(case["key"])
        assert refused.value.code == case["expect"]


def test_every_mangled_verifier_key_is_refused() -> None:
    mangled = {PETER[i:j] for i in range(len(PETER) + 1) for j in range(i + 1, len(PETER) + 1)} - {PETER}
    mangled |= {PETER[:i] + chr(ord(PETER[i]) + 1) + PETER[i + 1 :] for i in range(len(PETER))}
    for text in mangled:
        with pytest.raises(DecodeError):
            VerifierKey.parse(text)


@pytest.mark.parametrize("case", V["notes"], ids=lambda case: case["desc"])
def test_notes(case: dict[str, str]) -> None:
    data = case["note"].encode()
    keys = [VerifierKey.parse(key) for key in case["keys"]]
    if case["expect"] == "accept":
        note = Note.parse(data)
        assert [key.name for key in verify_note(note, keys)] == list(case["signed"])
        assert note.encode() == data
    else:
        with pytest.raises(MarginSealError) as refused:
            verify_note(Note.parse(data), keys)
        assert refused.value.code == case["expect"]


def test_signing_gives_the_published_note() -> None:
    case = V["signer"]
    seed = base64.b64decode(case["seed"])[1:]
    signer = Signer(case["name"], Ed25519PrivateKey.from_private_bytes(seed))
    text = case["note"].rpartition("\n\n")[0] + "\n"
    assert signer.sign(text).encode().decode() == case["note"]
    assert str(signer.key) == PETER


def test_the_text_may_hold_blank_lines() -> None:
    note = SIGNER.sign("one\n\ntwo\n\n\nthree\n")
    assert Note.parse(note.encode()) == note
    verify_note(note, [SIGNER.key])


@pytest.mark.parametrize("text", ["", "no newline", "tab\there\n", "carriage\r\n", "zero\x00\n"])
def test_texts_no_note_can_hold(text: str) -> None:
    with pytest.raises(InputError):
        SIGNER.sign(text)


def test_a_signature_of_another_key_with_the_same_name_counts_for_nothing() -> None:
    note = Signer(SIGNER.name, Ed25519PrivateKey.generate()).sign("text\n")
    with pytest.raises(MarginSealError) as refused:
        verify_note(note, [SIGNER.key])
    assert refused.value.code == "note.unsigned"


def test_a_cosignature_key_does_not_sign_notes() -> None:
    with pytest.raises(InputError):
        verify_note(SIGNER.sign("text\n"), [cosigner(1).key])


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\u2003b", "a\u00a0b", "a\x1fb", "\ud800", "n" * 256])
def test_names_no_key_can_have(name: str) -> None:
    assert not is_name(name)
    with pytest.raises(InputError):
        VerifierKey(name, KeyKind.ED25519, bytes(32))


def test_limits_come_before_work() -> None:
    with pytest.raises(DecodeError) as refused:
        Note.parse(b"x" * (MAX_NOTE_BYTES + 1))
    assert refused.value.code == "note.too-large"
    line = SIGNER.sign("text\n").signatures[0].line()
    assert len(Note.parse(("text\n\n" + line * 64).encode()).signatures) == 64
    with pytest.raises(DecodeError):
        Note.parse(("text\n\n" + line * 65).encode())


SOME_NOTE = SIGNER.sign("text\n").encode()


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda t: t.encode("utf-8", "replace"))))
@example(b"")
@example(b"\n\n")
@example("\n\n— a AAAAAAA=\n".encode())
def test_any_bytes_are_a_note_or_refused(data: bytes) -> None:
    try:
        note = Note.parse(data)
    except DecodeError:
        return
    assert note.encode() == data


@given(st.integers(0, len(SOME_NOTE) - 1), st.integers(0, 255), st.integers(0, 3))
def test_a_changed_note_is_refused(at: int, byte: int, cut: int) -> None:
    data = SOME_NOTE[:at] + bytes([byte]) + SOME_NOTE[at + 1 : len(SOME_NOTE) - cut]
    if data == SOME_NOTE:
        return
    with pytest.raises(MarginSealError):
        verify_note(Note.parse(data), [SIGNER.key])


@given(st.text(max_size=100))
def test_any_text_is_a_verifier_key_or_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        VerifierKey.parse(text)
