"""HPKE with X-Wing: who can open what, where, and what is no key."""

from __future__ import annotations

import hashlib

import pytest

from marginseal.errors import DecodeError
from marginseal.records.sealing import OVERHEAD, PUBLIC_BYTES, SealingKey, SealingPublicKey, seal_info
from tests.records.world import seed

KEY = SealingKey(seed("recipient"))
INFO = seal_info("opening", {"account": "fund-1", "tile": 0})
SEALED = KEY.public.seal(b"secret", INFO)


def test_round_trip_and_length() -> None:
    assert KEY.open(SEALED, INFO) == b"secret"
    assert len(SEALED) == len(b"secret") + OVERHEAD
    assert KEY.open(KEY.public.seal(b"", b""), b"") == b""
    assert KEY.public.seal(b"secret", INFO) != SEALED


def test_the_seed_gives_the_keys_of_x_wing() -> None:
    """draft-connolly-cfrg-xwing-kem, appendix C, first vector: seed and the first 40 bytes of its public key."""
    public = SealingKey(bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")).public.raw
    assert len(public) == PUBLIC_BYTES
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")


@pytest.mark.parametrize(
    "info",
    [
        b"",
        seal_info("submission", {"account": "fund-1", "tile": 0}),
        seal_info("opening", {"account": "fund-2", "tile": 0}),
        seal_info("opening", {"account": "fund-1", "tile": 1}),
    ],
)
def test_it_opens_in_its_own_place_alone(info: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        KEY.open(SEALED, info)
    assert e.value.code == "sealing.open"


@pytest.mark.parametrize(
    "sealed",
    [b"", SEALED[:-1], SEALED + b"\0", SEALED[:1136], bytes(len(SEALED)), SEALED[:-1] + bytes([SEALED[-1] ^ 1])]
    + [SEALED[:at] + bytes([SEALED[at] ^ 0x80]) + SEALED[at + 1 :] for at in (0, 600, 1087, 1100, 1119, 1121)],
)
def test_anything_else_fails_alike(sealed: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        KEY.open(sealed, INFO)
    assert e.value.code == "sealing.open"


def test_another_key_does_not_open() -> None:
    with pytest.raises(DecodeError):
        SealingKey(seed("another")).open(SEALED, INFO)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        KEY.public.raw[:-1],
        KEY.public.raw + b"\0",
        KEY.public.raw[:1184] + bytes(32),  # X25519 share of small order
        KEY.public.raw[:1184] + (1).to_bytes(32, "little"),
        b"\xff" * 1184 + KEY.public.raw[1184:],  # coefficients at or above 3329
    ],
)
def test_what_is_no_key_is_refused_before_anything_is_sealed_to_it(raw: bytes) -> None:
    with pytest.raises(DecodeError) as e:
        SealingPublicKey(raw)
    assert e.value.code == "sealing.public-key"


def test_key_ids_are_of_the_key() -> None:
    other = SealingKey(seed("another")).public
    assert KEY.public.key_id != other.key_id
    assert KEY.public.key_id == hashlib.sha256(b"MARGINSEAL-V1-SEALING-KEY" + KEY.public.raw).hexdigest()[:32]
