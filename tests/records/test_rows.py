"""Row authority: what a confined source can prove, and what nobody can."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra import kzg
from marginseal.algebra.curve import G1
from marginseal.algebra.field import R, hash_to_field, root_of_unity
from marginseal.errors import DecodeError, InputError, MarginSealError, ProofRejected
from marginseal.records import rows
from marginseal.records.opening import Opening
from marginseal.records.rows import RowAuthority
from marginseal.transcript import DST_ROWS
from tests.oracles import naive_field
from tests.records.world import CURVE, SRS, N, commitment, seed
from tests.unsafe_srs import unsafe_srs

DIGEST = seed("message")
Q = [5, 0, -3, 0, 0, 0, 7, 0]
ALLOWED = bytes([0b01000101])  # rows 0, 2, 6
INFINITY = bytes([0xC0]) + bytes(47)


def opening(values: list[int], b_0: int = 987654321) -> Opening:
    return Opening(np.array(values, dtype=np.int64), b_0, bytes(32))


def proof(values: list[int] = Q, allowed: bytes = ALLOWED) -> RowAuthority:
    made = rows.prove(opening(values), allowed, DIGEST, commitment())
    assert made is not None
    return made


C = opening(Q).commit(commitment())
PROOF = proof()


def verify(C: bytes = C, proof: RowAuthority = PROOF, allowed: bytes = ALLOWED, digest: bytes = DIGEST) -> None:
    rows.verify(C, proof, allowed, digest, N, srs=SRS, curve=CURVE)


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(MarginSealError) as e:
        call()
    return e.value.code


def test_a_source_within_its_rows_is_believed() -> None:
    verify()
    assert RowAuthority.decode(PROOF.encode()) == PROOF
    assert len(PROOF.encode()) == 96


@settings(max_examples=25, deadline=None)
@given(
    bits=st.integers(0, 254), lots=st.lists(st.integers(-1000, 1000), min_size=N, max_size=N), b_0=st.integers(1, R - 1)
)
def test_any_rows_and_any_holdings_on_them(bits: int, lots: list[int], b_0: int) -> None:
    allowed = bytes([bits])
    held = opening([x if bits >> i & 1 else 0 for i, x in enumerate(lots)], b_0)
    made = rows.prove(held, allowed, DIGEST, commitment())
    assert made is not None
    verify(held.commit(commitment()), made, allowed)


@pytest.mark.parametrize("bits", [0b1, 0b10, 0b10000001, 0b111, 0b01111111])
def test_both_ways_to_the_cofactor_agree(bits: int) -> None:
    inside = np.array([bool(bits >> i & 1) for i in range(N)])
    held = opening([x if bits >> i & 1 else 0 for i, x in enumerate([5, -6, 7, 8, -9, 1, 2, 3])])
    one, two = rows._by_division(held, inside, commitment()), rows._by_fractions(held, inside, commitment())
    assert one == two
    assert len(one) == bin(bits).count("1") + 1


def test_all_rows_need_no_proof() -> None:
    assert rows.prove(opening(Q), b"\xff", DIGEST, commitment()) is None
    assert rows.is_full(b"\xff\xff")
    assert not rows.is_full(b"\xff\x7f")


def test_the_equation_is_that_of_the_protocol() -> None:
    """u Z_off = q + b_0 Z_H and W = (p - Z_off(z) u)/(X - z), by schoolbook polynomials at a known tau."""
    tau = 0x1234567
    key_srs = unsafe_srs(tau, 16)
    from marginseal.algebra.commit import commitment_key
    from marginseal.algebra.vectors import PythonVectors

    made = rows.prove(opening(Q), ALLOWED, DIGEST, commitment_key(N, key_srs, PythonVectors()))
    assert made is not None
    w = naive_field.root(N)
    Z_off = [1]
    for i in range(N):
        if i not in (0, 2, 6):
            Z_off = naive_field.product(Z_off, [-pow(w, i, R) % R, 1])
    p = naive_field.evaluate(naive_field.blinded(Q, [987654321]), tau)
    u = p * pow(naive_field.evaluate(Z_off, tau), -1, R) % R
    assert made.u == CURVE.encode_g1(CURVE.mul(CURVE.generator, u))
    z = hash_to_field(DIGEST + ALLOWED + made.u, DST_ROWS)
    W = (p - naive_field.evaluate(Z_off, z) * u) * pow(tau - z, -1, R) % R
    assert CURVE.encode_g1(CURVE.mul(CURVE.generator, W)) == made.W


def test_a_position_outside_is_refused_by_the_maker() -> None:
    with pytest.raises(InputError) as e:
        proof([5, 1, -3, 0, 0, 0, 7, 0])
    assert e.value.code == "rows.outside"


@pytest.mark.parametrize("outside", [1, 3, 7])
def test_a_position_outside_has_no_proof(outside: int) -> None:
    """The best a source can do without dividing: the quotient of the polynomial less its remainder, over Z_off."""
    lots = list(Q)
    lots[outside] = 1
    other = opening(lots)
    assert refusal(lambda: verify(other.commit(commitment()))) == "rows.authority"
    # u from long division with the remainder dropped, and the honest opening for it.
    key = commitment()
    v = key.vectors
    p = u = kzg.coefficients(key, other.q, [other.b_0])
    off = [pow(root_of_unity(N), i, R) for i in range(N) if i not in (0, 2, 6)]
    for point in off:
        u = v.divide_linear(u, point)
    u_1 = key.commit_coefficients(u)
    z = hash_to_field(DIGEST + ALLOWED + u_1, DST_ROWS)
    Z_off = 1
    for point in off:
        Z_off = Z_off * (z - point) % R
    value, W = kzg.open_at(key, v.sub(p, v.scale(v.pad(u, v.length(p)), Z_off)), z)
    assert value != 0
    assert refusal(lambda: verify(other.commit(key), RowAuthority(u_1, W))) == "rows.authority"


@pytest.mark.parametrize("bits", [0b01000111, 0b01000100, 0b10111010, 0b00000000, 0b01000101 ^ 0b10000000])
def test_12_2_rows_changed_after_the_row_authority_point(bits: int) -> None:
    assert refusal(lambda: verify(allowed=bytes([bits]))) == "rows.authority"


def test_12_2_a_point_chosen_after_the_challenge_proves_anything() -> None:
    """Why [u] is hashed: with z known beforehand, u = (C - c)/Z_off(z) opens whatever the source holds.

    The forgery satisfies the equation at the old z, and the verifier's z moves with [u]."""
    held = opening([5, 1, -3, 9, 0, 0, 7, 1])
    C_outside = held.commit(commitment())
    z = hash_to_field(DIGEST + ALLOWED + PROOF.u, DST_ROWS)
    Z_off = 1
    for i in range(N):
        if i not in (0, 2, 6):
            Z_off = Z_off * (z - pow(root_of_unity(N), i, R)) % R
    key = commitment()
    v = key.vectors
    p = kzg.coefficients(key, held.q, [held.b_0])
    u = v.scale(p, pow(Z_off, -1, R))  # then C - Z_off(z) u = 0: let it be X - z instead
    u = v.sub(u, v.scale(v.pad(v.from_ints([-z, 1]), v.length(p)), pow(Z_off, -1, R)))
    u_1 = key.commit_coefficients(u)
    W = CURVE.encode_g1(CURVE.generator)
    shifted: G1 = CURVE.msm([CURVE.decode_g1(C_outside), CURVE.decode_g1(u_1)], [1, -Z_off])
    at_old_z = kzg.equation_of(shifted, kzg.Opening(C_outside, z, 0, W), CURVE)
    assert kzg.holds([(1, at_old_z)], SRS, CURVE)
    assert refusal(lambda: verify(C_outside, RowAuthority(u_1, W))) == "rows.authority"


def test_a_proof_belongs_to_one_message_and_one_commitment() -> None:
    assert refusal(lambda: verify(digest=seed("another"))) == "rows.authority"
    assert refusal(lambda: verify(C=opening(Q, 1).commit(commitment()))) == "rows.authority"
    assert refusal(lambda: verify(proof=RowAuthority(PROOF.W, PROOF.u))) == "rows.authority"


def test_the_opening_must_be_known() -> None:
    """C + something foreign: whoever does not know the opening of C cannot have made its proof fit another."""
    foreign = CURVE.hash_to_g1(b"x", b"TEST-ONLY")
    sum_1 = CURVE.encode_g1(CURVE.add(CURVE.decode_g1(C), foreign))
    u_too = CURVE.encode_g1(CURVE.add(CURVE.decode_g1(PROOF.u), foreign))
    assert refusal(lambda: verify(C=sum_1)) == "rows.authority"
    assert refusal(lambda: verify(C=sum_1, proof=RowAuthority(u_too, PROOF.W))) == "rows.authority"


@pytest.mark.parametrize("changed", [RowAuthority(INFINITY, PROOF.W), RowAuthority(PROOF.u, INFINITY)])
def test_12_4_the_identity_is_refused(changed: RowAuthority) -> None:
    with pytest.raises(DecodeError) as e:
        verify(proof=changed)
    assert e.value.code == "point.infinity"


@pytest.mark.parametrize("size", [0, 48, 95, 97])
def test_12_4_a_proof_is_96_bytes(size: int) -> None:
    with pytest.raises(DecodeError):
        RowAuthority.decode(bytes(size))


def test_rows_of_another_size_are_a_mistake_of_ours() -> None:
    with pytest.raises(InputError):
        verify(allowed=ALLOWED + b"\0")


def test_z_is_neither_zero_nor_a_root_of_unity(monkeypatch: pytest.MonkeyPatch) -> None:
    for point in (0, 1, root_of_unity(N)):
        monkeypatch.setattr(rows, "hash_to_field", lambda *_, point=point: point)
        with pytest.raises(ProofRejected) as e:
            verify()
        assert e.value.code == "rows.point"


def test_masks_follow_the_ranges_tile_by_tile() -> None:
    ranges = ((0, 1), (4, 10), (16, 17))
    expected = {0, *range(4, 10), 16}
    for tile in range(4):
        mask = rows.mask(ranges, N, tile)
        assert {tile * N + i for i in range(N) if mask[i // 8] >> (i % 8) & 1} == {
            x for x in expected if x // N == tile
        }
    assert rows.mask((), 16, 0) == bytes(2)
    assert rows.mask([(0, 5)], 16, 0) == b"\x1f\x00"
