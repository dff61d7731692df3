"""Roles, purposes, key ids, keys at rest."""

from __future__ import annotations

import json
import pickle
from itertools import product
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from marginseal.errors import DecodeError, InputError, ProofRejected
from marginseal.records import document
from marginseal.records.keyfile import (
    MAX_LOG_COST,
    MIN_LOG_COST,
    decode_key,
    encode_key,
    read_sealing_key,
    read_signing_key,
    write_key,
)
from marginseal.records.keys import SIGNERS, PublicKey, Purpose, Role, SigningKey, check_public, pae
from marginseal.records.sealing import SealingKey
from tests.records.world import key, seed

PASSPHRASE = b"correct horse battery"
FAST = MIN_LOG_COST
# RFC 8032, section 7.1, test 3: secret key, public key, message, signature.
RFC_8032 = (
    "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
    "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
)


def encoded(y: int, sign: int = 0) -> bytes:
    return (y | sign << 255).to_bytes(32, "little")


P = 2**255 - 19
ORDER_8 = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
SMALL = [encoded(y, sign) for y in (0, 1, P - 1, ORDER_8, P - ORDER_8) for sign in (0, 1)]


def test_keys_are_ed25519() -> None:
    secret, public = RFC_8032
    assert SigningKey(Role.ACCOUNT, bytes.fromhex(secret)).public.raw.hex() == public


@pytest.mark.parametrize(("made_for", "read_as"), [p for p in product(Purpose, Purpose) if p[0] != p[1]])
def test_a_signature_for_one_purpose_is_none_for_another(made_for: Purpose, read_as: Purpose) -> None:
    role = min(SIGNERS[made_for])
    signing = key(role, "x")
    signature = signing.sign(made_for, b"message")
    assert signing.public.is_valid(made_for, b"message", signature)
    assert not signing.public.is_valid(read_as, b"message", signature)
    # Even a verifier that forgot the table of roles would see another message.
    assert pae(made_for, b"message") != pae(read_as, b"message")
    with pytest.raises(ProofRejected):
        signing.public.verify(read_as, b"message", signature)


@pytest.mark.parametrize(("role", "purpose"), [(r, p) for r, p in product(Role, Purpose) if r not in SIGNERS[p]])
def test_a_role_signs_for_its_own_purposes_alone(role: Role, purpose: Purpose) -> None:
    signing = key(role, "x")
    with pytest.raises(InputError) as e:
        signing.sign(purpose, b"")
    assert e.value.code == "key.purpose"
    # The same secret in a role that may sign does not help: the verifier knows the role.
    allowed = SigningKey(min(SIGNERS[purpose]), signing.seed)
    assert not signing.public.is_valid(purpose, b"", allowed.sign(purpose, b""))


def test_only_logs_and_witnesses_sign_notes() -> None:
    for role in Role:
        if role in (Role.LOG, Role.WITNESS):
            assert key(role, "x").note_key().public_key().public_bytes_raw() == key(role, "x").public.raw
        else:
            with pytest.raises(InputError):
                key(role, "x").note_key()


def test_key_ids_depend_on_key_and_role() -> None:
    ids = {PublicKey(role, key(Role.LOG, name).public.raw).key_id for role in Role for name in "ab"}
    assert len(ids) == 2 * len(Role)
    assert all(len(i) == 32 for i in ids)


@pytest.mark.parametrize("raw", SMALL, ids=lambda raw: raw.hex()[:8])
def test_keys_of_small_order_are_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        PublicKey(Role.ACCOUNT, raw)
    assert e.value.code == "key.small-order"


def test_the_curve_library_would_accept_one_signature_for_every_message_under_such_a_key() -> None:
    """Why they are refused: under the identity, R = identity and S = 0 sign anything."""
    public = Ed25519PublicKey.from_public_bytes(encoded(1))
    for message in (b"pay", b"do not pay"):
        public.verify(encoded(1) + bytes(32), message)


@pytest.mark.parametrize("raw", [b"", bytes(31), bytes(33), encoded(P), encoded(P + 1, 1), encoded(2**255 - 1)])
def test_what_is_no_reduced_key_is_refused(raw: bytes) -> None:
    with pytest.raises(DecodeError):
        check_public(raw)


def test_a_key_that_is_no_point_verifies_nothing() -> None:
    # y = 2 belongs to no point of the curve.
    assert not PublicKey(Role.ACCOUNT, encoded(2)).is_valid(Purpose.STATEMENT, b"", bytes(64))


def test_private_keys_show_and_travel_nowhere() -> None:
    for private in (key(Role.ACCOUNT, "x"), SealingKey(seed("x"))):
        shown = repr(private) + str(private)
        assert private.seed.hex() not in shown
        assert repr(private.seed) not in shown
        with pytest.raises(TypeError):
            pickle.dumps(private)


@pytest.mark.parametrize("private", [key(Role.SOURCE, "x"), SealingKey(seed("x"))], ids=["signing", "sealing"])
def test_a_key_file_gives_the_key_back_to_its_passphrase_alone(
    private: SigningKey | SealingKey, tmp_path: Path
) -> None:
    path = tmp_path / "source.key"
    write_key(path, private, PASSPHRASE, log_cost=FAST)
    assert path.stat().st_mode & 0o777 == 0o600
    assert private.seed not in path.read_bytes()
    assert private.seed.hex().encode() not in path.read_bytes()
    assert decode_key(path.read_bytes(), PASSPHRASE).seed == private.seed
    with pytest.raises(InputError) as e:
        decode_key(path.read_bytes(), PASSPHRASE + b".")
    assert e.value.code == "key.unlock"
    with pytest.raises(InputError) as e:
        write_key(path, private, PASSPHRASE, log_cost=FAST)
    assert e.value.code == "key.exists"
    with pytest.raises(InputError) as e:
        encode_key(private, b"short", log_cost=FAST)
    assert e.value.code == "key.passphrase"


def test_a_changed_key_file_is_refused() -> None:
    data = json.loads(encode_key(key(Role.SOURCE, "x"), PASSPHRASE, log_cost=FAST))
    changes = {
        "role": "account",
        "public": key(Role.SOURCE, "y").public.raw.hex(),
        "salt": bytes(16).hex(),
        "nonce": bytes(12).hex(),
        "ciphertext": bytes(48).hex(),
        "log_cost": FAST + 1,
    }
    for name, value in changes.items():
        with pytest.raises(InputError) as e:
            decode_key(document.canonical({**data, name: value}), PASSPHRASE)
        assert e.value.code == "key.unlock", name
    # A file cannot ask for a gigabyte and more, nor for next to no work.
    for cost in (MIN_LOG_COST - 1, MAX_LOG_COST + 1, 10**6):
        with pytest.raises(DecodeError):
            decode_key(document.canonical({**data, "log_cost": cost}), PASSPHRASE)
    for name, value in {"role": "king", "format": "x", "version": 2}.items():
        with pytest.raises(DecodeError):
            decode_key(document.canonical({**data, name: value}), PASSPHRASE)


def test_a_key_is_read_in_its_role(tmp_path: Path) -> None:
    write_key(tmp_path / "a", key(Role.SOURCE, "x"), PASSPHRASE, log_cost=FAST)
    write_key(tmp_path / "b", SealingKey(seed("x")), PASSPHRASE, log_cost=FAST)
    assert read_signing_key(tmp_path / "a", PASSPHRASE, Role.SOURCE).seed == key(Role.SOURCE, "x").seed
    assert read_sealing_key(tmp_path / "b", PASSPHRASE).seed == seed("x")
    for call in (
        lambda: read_signing_key(tmp_path / "a", PASSPHRASE, Role.ACCOUNT),
        lambda: read_signing_key(tmp_path / "b", PASSPHRASE, Role.SOURCE),
        lambda: read_sealing_key(tmp_path / "a", PASSPHRASE),
        lambda: SigningKey(Role.SOURCE, bytes(31)),
        lambda: SealingKey(bytes(33)),
    ):
        with pytest.raises(InputError):
            call()
