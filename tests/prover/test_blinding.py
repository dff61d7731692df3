"""The generator by NIST's answers and by a second reading of SP 800-90A; the order of the draws by section 2."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from marginseal.algebra.drbg import HmacDrbg
from marginseal.algebra.field import R
from prover.blinding import draw
from verifier.sizes import Sizes

# NIST CAVP, drbgvectors_no_reseed, HMAC_DRBG.rsp, [SHA-256], no prediction resistance, 1024 bits returned by the second
# of two calls: COUNT = 0 without a personalisation string, COUNT = 14 with one of 256 bits.
CAVP = [
    (
        "ca851911349384bffe89de1cbdc46e6831e44d34a4fb935ee285dd14b71a7488",
        "659ba96c601dc69fc902940805ec0ca8",
        "",
        "e528e9abf2dece54d47c7e75e5fe302149f817ea9fb4bee6f4199697d04d5b89"
        "d54fbb978a15b5c443c9ec21036d2460b6f73ebad0dc2aba6e624abf07745bc1"
        "07694bb7547bb0995f70de25d6b29e2d3011bb19d27676c07162c8b5ccde0668"
        "961df86803482cb37ed6d5c0bb8d50cf1f50d476aa0458bdaba806f48be9dcb8",
    ),
    (
        "8ca4a964e1ff68753db86753d09222e09b888b500be46f2a3830afa9172a1d6d",
        "a59394e0af764e2f21cf751f623ffa6c",
        "eb8164b3bf6c1750a8de8528af16cffdf400856d82260acd5958894a98afeed5",
        "fc5701b508f0264f4fdb88414768e1afb0a5b445400dcfdeddd0eba67b4fea8c"
        "056d79a69fd050759fb3d626b29adb8438326fd583f1ba0475ce7707bd294ab0"
        "1743d077605866425b1cbd0f6c7bba972b30fbe9fce0a719b044fcc139435489"
        "5a9f8304a2b5101909808ddfdf66df6237142b6566588e4e1e8949b90c27fc1f",
    ),
]


@pytest.mark.parametrize(("entropy", "nonce", "personalisation", "returned"), CAVP)
def test_cavp(entropy: str, nonce: str, personalisation: str, returned: str) -> None:
    drbg = HmacDrbg(bytes.fromhex(entropy), bytes.fromhex(nonce), bytes.fromhex(personalisation))
    drbg.generate(128)
    assert drbg.generate(128).hex() == returned


def by_the_book(entropy: bytes, nonce: bytes, personalisation: bytes, length: int) -> Iterator[bytes]:
    """SP 800-90A, 10.1.2.2, .3 and .5, step by step; Generate after Generate of `length` bytes."""

    def mac(key: bytes, data: bytes) -> bytes:
        return hmac.new(key, data, hashlib.sha256).digest()

    def update(provided: bytes, key: bytes, v: bytes) -> tuple[bytes, bytes]:
        key = mac(key, v + b"\x00" + provided)
        v = mac(key, v)
        if not provided:
            return key, v
        key = mac(key, v + b"\x01" + provided)
        return key, mac(key, v)

    key, v = update(entropy + nonce + personalisation, b"\x00" * 32, b"\x01" * 32)
    while True:
        temp = b""
        while len(temp) < length:
            v = mac(key, v)
            temp += v
        key, v = update(b"", key, v)
        yield temp[:length]


def scalars(stream: Iterator[bytes]) -> Iterator[int]:
    """One Generate of 32 bytes, top bit cleared, accepted if below r."""
    for data in stream:
        x = int.from_bytes(bytes([data[0] & 0x7F]) + data[1:], "big")
        if x < R:
            yield x


@pytest.mark.parametrize("length", [1, 31, 32, 33, 64, 100])
def test_generate_by_the_book(length: int) -> None:
    drbg = HmacDrbg(b"e" * 64, b"n" * 7, b"p" * 99)
    book = by_the_book(b"e" * 64, b"n" * 7, b"p" * 99, length)
    assert [drbg.generate(length) for _ in range(5)] == [next(book) for _ in range(5)]


def test_draws_in_the_protocols_order() -> None:
    """Limbs (column, then coefficient), m, h, phi, b, b'; seeded as section 2 says."""
    sizes = Sizes(L=4, V=1, M=3, n=8)
    columns = np.arange(32, dtype=np.int64).reshape(4, 8) % 8
    secret, fresh, digest = b"s" * 32, b"f" * 32, b"d" * 32
    got = draw(sizes, columns, secret=secret, fresh=fresh, statement_digest=digest, index=3, attempt=2)
    limbs = b"".join(int(x).to_bytes(2, "big") for column in columns for x in column)
    personalisation = (
        b"MARGINSEAL-V1-BLIND" + hashlib.sha256(limbs).digest() + (3).to_bytes(8, "big") + (2).to_bytes(8, "big")
    )
    book = scalars(by_the_book(secret + fresh, digest, personalisation, 32))
    expected = [next(book) for _ in range(sizes.blinders)]
    flat = [x for limb in got.limbs for x in limb] + [*got.m] + [x for h in got.h for x in h] + [*got.phi]
    assert [*flat, got.b, got.b_prime] == expected
    assert [len(got.limbs), len(got.m), len(got.h), len(got.phi)] == [4, 1, 2, 3]


def test_rejection_keeps_the_draws_uniform_below_r() -> None:
    """About one draw in ten is at or above r; over a thousand, both halves of the field come up."""
    drbg = HmacDrbg(bytes(32), b"", b"")
    book = scalars(by_the_book(bytes(32), b"", b"", 32))
    drawn = drbg.scalars(1000)
    assert list(drawn) == [next(book) for _ in range(1000)]
    assert max(drawn) < R
    assert 400 < sum(x > R // 2 for x in drawn) < 600


def test_everything_that_seeds_a_draw_changes_it() -> None:
    columns = np.zeros((2, 8), dtype=np.int64)
    other = columns.copy()
    other[1, 7] = 1

    def drawn(c: NDArray[np.int64], secret: bytes, fresh: bytes, digest: bytes, index: int, attempt: int) -> list[int]:
        sizes = Sizes(L=2, V=1, M=1, n=8)
        b = draw(sizes, c, secret=secret, fresh=fresh, statement_digest=digest, index=index, attempt=attempt)
        return [x for limb in b.limbs for x in limb] + [b.b, b.b_prime]

    s, f, d = b"s" * 32, b"f" * 32, b"d" * 32
    draws = [
        drawn(columns, s, f, d, 0, 0),
        drawn(other, s, f, d, 0, 0),
        drawn(columns, f, f, d, 0, 0),
        drawn(columns, s, s, d, 0, 0),
        drawn(columns, s, f, s, 0, 0),
        drawn(columns, s, f, d, 1, 0),
        drawn(columns, s, f, d, 0, 1),
    ]
    numbers = [x for one in draws for x in one]
    assert len(set(numbers)) == len(numbers)
