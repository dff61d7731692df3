"""Commitments against a known tau, against ckzg on two strings, and by every road to the same bytes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ckzg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.commit import (
    MAX_BLINDERS,
    SMALL_BOUND,
    Coefficients,
    CommitmentKey,
    Job,
    Small,
    Values,
    commitment_key,
)
from marginseal.algebra.curve import backend, compress_g1, compress_g2
from marginseal.algebra.field import R
from marginseal.algebra.srs import SRS, ceremony
from marginseal.algebra.vectors import PythonVectors, default_vectors
from marginseal.errors import RangeError
from tests.oracles import naive_field
from tests.unsafe_srs import unsafe_srs

CURVE = backend()
VECTORS = PythonVectors()
TAU = 0x1234567890ABCDEF << 180 | 7
N = 8
SRS_16 = unsafe_srs(TAU, 16)
KEYS = [commitment_key(N, SRS_16, VECTORS)]
if default_vectors().name != "python":
    KEYS.append(commitment_key(N, SRS_16, default_vectors()))
each_key = pytest.mark.parametrize("key", KEYS, ids=lambda key: key.vectors.name)
INFINITY = bytes([0xC0]) + bytes(47)

ELEMENT = st.one_of(st.sampled_from([0, 1, R - 1, R // 2]), st.integers(0, R - 1))
COLUMN = st.lists(ELEMENT, min_size=N, max_size=N)
SMALL = st.one_of(
    st.sampled_from([0, 1, -1, 2**62 - 1, 1 - 2**62]), st.integers(0, 2**11), st.integers(-(2**43), 2**43)
)
SMALL_COLUMN = st.lists(SMALL, min_size=N, max_size=N)
BLINDERS = st.lists(ELEMENT, max_size=3)

CASES = json.loads((Path(__file__).parents[1] / "vectors/algebra/commitments.json").read_text())


def at_tau(values: list[int], blinders: list[int]) -> bytes:
    """[p(tau) + b(tau) Z_H(tau)] by one product with the generator: what only the holder of tau can do."""
    return CURVE.encode_g1(CURVE.mul(CURVE.generator, naive_field.evaluate(naive_field.blinded(values, blinders), TAU)))


@each_key
@given(SMALL_COLUMN, BLINDERS)
@settings(deadline=None)
def test_small_columns(key: CommitmentKey, values: list[int], blinders: list[int]) -> None:
    expected = at_tau([v % R for v in values], blinders)
    assert key.commit_small(np.array(values, dtype=np.int64), blinders) == expected
    assert key.commit_values(key.vectors.from_ints(values), blinders) == expected


@each_key
@given(COLUMN, BLINDERS)
@settings(deadline=None)
def test_columns_by_values_and_by_coefficients(key: CommitmentKey, values: list[int], blinders: list[int]) -> None:
    expected = at_tau(values, blinders)
    v = key.vectors.from_ints(values)
    assert key.commit_values(v, blinders) == expected
    assert key.commit_coefficients(key.vectors.intt(v), blinders) == expected
    assert key.commit_coefficients(key.vectors.from_ints(naive_field.blinded(values, blinders))) == expected


@each_key
@given(SMALL_COLUMN, SMALL_COLUMN, BLINDERS, BLINDERS)
@settings(max_examples=25, deadline=None)
def test_commitments_add(key: CommitmentKey, p: list[int], q: list[int], b: list[int], c: list[int]) -> None:
    p, q = [x // 4 for x in p], [x // 4 for x in q]
    left = at_tau([x % R for x in p], b), at_tau([x % R for x in q], c)
    total = CURVE.identity()
    for data in left:
        if data != INFINITY:
            total = CURVE.add(total, CURVE.decode_g1(data))
    both = key.commit_small(np.array(p, dtype=np.int64) + np.array(q, dtype=np.int64), naive_field.add(b, c))
    assert both == CURVE.encode_g1(total)


@each_key
def test_zero_is_infinity_and_a_blinder_hides_it(key: CommitmentKey) -> None:
    zero = np.zeros(N, dtype=np.int64)
    assert key.commit_small(zero) == key.commit_values(key.vectors.zeros(N)) == INFINITY
    assert key.commit_coefficients(key.vectors.zeros(0)) == INFINITY
    assert key.commit_small(zero, [5]) != INFINITY


@each_key
@pytest.mark.parametrize("value", [SMALL_BOUND, -SMALL_BOUND, 2**63 - 1, -(2**63)])
def test_large_values_are_no_small_column(key: CommitmentKey, value: int) -> None:
    column = np.zeros(N, dtype=np.int64)
    column[3] = value
    with pytest.raises(RangeError) as e:
        key.commit_small(column)
    assert e.value.code == "commit.small"
    assert str(value) not in str(e.value)


@each_key
def test_shapes_are_checked(key: CommitmentKey) -> None:
    zero = np.zeros(N, dtype=np.int64)
    others: list[Any] = [zero[:-1], zero.reshape(N, 1), zero.astype(np.float64), zero.astype(np.uint64)]
    for wrong in others:
        with pytest.raises(ValueError, match="int64"):
            key.commit_small(wrong)
    for length in (0, N - 1, N + 1, 2 * N):
        with pytest.raises(ValueError, match="column"):
            key.commit_values(key.vectors.zeros(length))
    assert len(key.commit_coefficients(key.vectors.full(16, 1))) == 48
    with pytest.raises(ValueError, match="powers"):
        key.commit_coefficients(key.vectors.zeros(17))
    zeros = key.vectors.zeros(N)
    most = [1] * MAX_BLINDERS
    assert key.commit_small(zero, most) == key.commit_values(zeros, most) == key.commit_coefficients(zeros, most)
    for job in (Small(zero, [*most, 1]), Values(zeros, [*most, 1]), Coefficients(zeros, [*most, 1])):
        with pytest.raises(ValueError, match="blinders"):
            key.commit_many([job])
    with pytest.raises(ValueError, match="blinders"):
        commitment_key(16, SRS_16, key.vectors).commit_small(np.zeros(16, dtype=np.int64), [1])


@each_key
def test_jobs_come_back_in_their_order(key: CommitmentKey) -> None:
    rng = np.random.default_rng(7)
    column = rng.integers(0, N, N)
    values = key.vectors.from_ints([int(x) << 200 for x in rng.integers(0, 2**40, N)])
    coeffs = key.vectors.from_ints([int(x) << 190 for x in rng.integers(0, 2**40, 13)])
    jobs: list[Job] = [Small(column, (3,)), Values(values), Coefficients(coeffs, (R - 1, 4)), Small(column)]
    expected = [
        key.commit_small(column, (3,)),
        key.commit_values(values),
        key.commit_coefficients(coeffs, (R - 1, 4)),
        key.commit_small(column),
    ]
    assert key.commit_many(jobs) == expected
    assert key.commit_many([]) == []
    assert commitment_key(N, SRS_16, key.vectors, workers=2).commit_many(jobs) == expected


def test_keys_are_kept() -> None:
    assert commitment_key(N, unsafe_srs(TAU, 16), VECTORS) is KEYS[0]
    assert commitment_key(16, SRS_16, VECTORS) is not KEYS[0]
    assert commitment_key(16) is commitment_key(16, ceremony(), default_vectors(), 1, CURVE)
    with pytest.raises(ValueError, match="Lagrange"):
        commitment_key(4)


@pytest.mark.parametrize("curve", ["arkworks", "reference"])
@pytest.mark.parametrize("case", CASES, ids=[case["desc"] for case in CASES])
def test_known_answers(case: dict[str, Any], curve: str) -> None:
    """On the ceremony's powers, from another implementation: `tests/vectors/algebra/README.md`."""
    key = commitment_key(case["n"], curve=backend(curve))
    values = key.vectors.from_ints([int(v) for v in case["values"]])
    blinders = [int(b) for b in case["blinders"]]
    assert key.commit_values(values, blinders).hex() == case["expect"]
    assert key.commit_coefficients(key.vectors.intt(values), blinders).hex() == case["expect"]
    signed = [int(v) if int(v) < R // 2 else int(v) - R for v in case["values"]]
    if all(abs(v) < SMALL_BOUND for v in signed):
        assert key.commit_small(np.array(signed, dtype=np.int64), blinders).hex() == case["expect"]


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> tuple[object, SRS]:
    """ckzg on 4096 powers of a known tau, written in the form of the ceremony's text file."""
    srs = unsafe_srs(TAU)
    size, powers_of_g2 = 4096, 65
    w = naive_field.root(size)
    vanishing = (pow(TAU, size, R) - 1) * pow(size, -1, R)
    points = [pow(w, i, R) for i in range(size)]
    lagrange = [CURVE.mul(CURVE.generator, vanishing * x * pow(TAU - x, -1, R)) for x in points]
    h = CURVE.generator_g2
    lines = [str(size), str(powers_of_g2)]
    lines += [CURVE.encode_g1(p).hex() for p in lagrange]
    lines += [compress_g2(CURVE.dump_g2([CURVE.mul_g2(h, pow(TAU, i, R))])).hex() for i in range(powers_of_g2)]
    lines += [compress_g1(srs.g1_affine[i : i + 96]).hex() for i in range(0, 96 * size, 96)]
    path = tmp_path_factory.mktemp("ckzg") / "setup.txt"
    path.write_text("\n".join(lines) + "\n")
    return ckzg.load_trusted_setup(str(path), 0), srs


@pytest.mark.parametrize("n", [8, 256, 2048])
def test_ckzg_comes_to_the_same_commitment(setup: tuple[object, SRS], n: int) -> None:
    """Full-size columns with blinders, and a polynomial of as many coefficients as there are powers."""
    oracle, srs = setup
    key = commitment_key(n, srs, VECTORS)
    rng = np.random.default_rng(n)

    def by_ckzg(coeffs: list[int]) -> bytes:
        values = VECTORS.to_ints(VECTORS.ntt(VECTORS.pad(VECTORS.from_ints(coeffs), 4096)))
        order = [int(f"{i:012b}"[::-1], 2) for i in range(4096)]
        blob = b"".join(values[i].to_bytes(32, "big") for i in order)
        return bytes(ckzg.blob_to_kzg_commitment(blob, oracle))

    values = [int.from_bytes(rng.bytes(40), "big") % R for _ in range(n)]
    blinders = [int.from_bytes(rng.bytes(40), "big") % R for _ in range(3)]
    coeffs = VECTORS.to_ints(VECTORS.intt(VECTORS.from_ints(values)))
    for k, b in enumerate(blinders):
        coeffs += [0] * (n + k + 1 - len(coeffs))
        coeffs[k], coeffs[n + k] = (coeffs[k] - b) % R, (coeffs[n + k] + b) % R
    assert key.commit_values(VECTORS.from_ints(values), blinders) == by_ckzg(coeffs)
    longest = [int.from_bytes(rng.bytes(40), "big") % R for _ in range(4096)]
    assert key.commit_coefficients(VECTORS.from_ints(longest)) == by_ckzg(longest)


def test_roads_agree_at_full_size_on_the_ceremony() -> None:
    key = commitment_key(2048)
    rng = np.random.default_rng(1)
    column = rng.integers(-(2**43), 2**43, 2048)
    values = key.vectors.from_int64(column)
    blinders = [int.from_bytes(rng.bytes(40), "big") % R for _ in range(2)]
    commitment = key.commit_small(column, blinders)
    assert commitment == key.commit_values(values, blinders)
    assert commitment == key.commit_coefficients(key.vectors.intt(values), blinders)
    plain = commitment_key(2048, vectors=VECTORS)
    assert commitment == plain.commit_values(VECTORS.from_int64(column), blinders)
