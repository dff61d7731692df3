"""The ceremony's powers: pinned, consistent by pairings, the Lagrange basis, and a cache that cannot be poisoned."""

from __future__ import annotations

import hashlib
import os
import shutil
from importlib import resources
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.algebra.curve import G1, backend
from marginseal.algebra.curve_arkworks import ArkworksCurve
from marginseal.algebra.field import R
from marginseal.algebra.srs import CEREMONY_DIGEST, CEREMONY_FILE, SRS, D, ceremony, check_srs
from marginseal.algebra.vectors import PythonVectors
from marginseal.errors import InputError, MarginSealError, StorageError
from tests.oracles import naive_field
from tests.oracles.stray_points import G1_OF_ORDER_3, stray_g2
from tests.srs_convert import convert
from tests.unsafe_srs import unsafe_srs

CURVE = backend()
TAU = 0x1234567890ABCDEF << 180 | 7
TEXT_FILE = Path(os.environ.get("MARGINSEAL_MARKET_DATA", "/nonexistent")).parent / "srs" / "kzg_trusted_setup.txt"
needs_text_file = pytest.mark.skipif(
    not TEXT_FILE.exists(), reason="the ceremony's text file is not beside the folder MARGINSEAL_MARKET_DATA names"
)


class CountingCurve(ArkworksCurve):
    """The compiled curve, counting products: whether a basis was computed or read."""

    def __init__(self) -> None:
        super().__init__()
        self.products = 0

    def mul(self, p: G1, x: int) -> G1:
        self.products += 1
        return super().mul(p, x)


def fresh_ceremony() -> SRS:
    """The ceremony without what the process already keeps of it."""
    return SRS(ceremony().g1_affine, ceremony().g2_affine)


@pytest.fixture
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARGINSEAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_digest_is_the_pinned_one() -> None:
    assert ceremony() is ceremony()
    assert ceremony().size == D == 4096
    assert ceremony().digest == CEREMONY_DIGEST


def test_digest_covers_every_power_and_the_size() -> None:
    srs = unsafe_srs(TAU, 16)
    others = [
        unsafe_srs(TAU, 15),
        unsafe_srs(TAU + 1, 16),
        SRS(srs.g1_affine, srs.g2_affine[:192] + srs.g2_affine[384:] + srs.g2_affine[192:384]),
    ]
    others += [swapped(srs, 0, 1), swapped(srs, 14, 15), negated(srs, 5)]
    assert len({srs.digest, *(other.digest for other in others), CEREMONY_DIGEST}) == len(others) + 2


@needs_text_file
def test_shipped_data_is_the_conversion_of_the_text_file() -> None:
    text = TEXT_FILE.read_bytes()
    assert convert(text) == ceremony().g1_affine + ceremony().g2_affine
    with pytest.raises(ValueError, match="ceremony"):
        convert(text[:-1])


@needs_text_file
def test_digest_can_be_had_from_the_text_file_alone() -> None:
    lines = [bytes.fromhex(h) for h in TEXT_FILE.read_text().split()[2:]]
    g2, g1 = lines[4096 : 4096 + 3], lines[4096 + 65 :]
    eight = [(n).to_bytes(8, "big") for n in (4096, 3)]
    data = b"MARGINSEAL-V1-SRS" + eight[0] + b"".join(g1) + eight[1] + b"".join(g2)
    assert hashlib.sha256(data).digest() == CEREMONY_DIGEST


def test_damaged_data_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = bytearray(ceremony().g1_affine + ceremony().g2_affine)
    data[100_000] ^= 1
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / CEREMONY_FILE).write_bytes(data)
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    with pytest.raises(StorageError) as e:
        ceremony.__wrapped__()
    assert e.value.code == "srs.damaged"


@pytest.mark.parametrize(("g1", "g2"), [(b"", bytes(576)), (bytes(95), bytes(576)), (bytes(96), bytes(575))])
def test_powers_of_another_length_are_refused(g1: bytes, g2: bytes) -> None:
    with pytest.raises(InputError) as e:
        SRS(g1, g2)
    assert e.value.code == "srs.length"


def changed(srs: SRS, i: int, affine: bytes) -> SRS:
    return SRS(srs.g1_affine[: 96 * i] + affine + srs.g1_affine[96 * (i + 1) :], srs.g2_affine)


def power(srs: SRS, i: int) -> bytes:
    return srs.g1_affine[96 * i : 96 * (i + 1)]


def swapped(srs: SRS, i: int, j: int) -> SRS:
    return changed(changed(srs, i, power(srs, j)), j, power(srs, i))


def negated(srs: SRS, i: int) -> SRS:
    return changed(srs, i, CURVE.dump_g1([CURVE.neg(srs.g1(CURVE)[i])]))


def refusal(srs: SRS) -> str:
    with pytest.raises(MarginSealError) as e:
        check_srs(srs, CURVE)
    return e.value.code


def test_the_ceremony_is_consistent_and_one_changed_power_is_not() -> None:
    check_srs(ceremony(), CURVE)
    assert refusal(negated(ceremony(), 2777)) == "srs.inconsistent"


@given(st.integers(1, 15), st.integers(2, R - 1))
@settings(max_examples=25, deadline=None)
def test_any_changed_power_is_caught(i: int, factor: int) -> None:
    srs = unsafe_srs(TAU, 16)
    check_srs(srs, CURVE)
    other = CURVE.dump_g1([CURVE.mul(srs.g1(CURVE)[i], factor)])
    assert refusal(changed(srs, i, other)) == "srs.inconsistent"


def test_errors_that_cancel_are_caught_by_fresh_weights_alone() -> None:
    srs = unsafe_srs(TAU, 16)
    error = CURVE.mul(CURVE.generator, 99)
    powers = srs.g1(CURVE)
    forged = changed(srs, 4, CURVE.dump_g1([CURVE.add(powers[4], error)]))
    forged = changed(forged, 9, CURVE.dump_g1([CURVE.add(powers[9], CURVE.neg(error))]))
    check_srs(forged, CURVE, entropy=lambda size: bytes(size - 1) + b"\x01")  # all weights 1: deceived
    assert refusal(forged) == "srs.inconsistent"


def test_other_faults_of_a_string() -> None:
    srs = unsafe_srs(TAU, 16)
    g2 = srs.g2_affine
    h = CURVE.generator_g2
    assert refusal(changed(srs, 7, bytes(96))) == "point.infinity"
    assert refusal(changed(srs, 7, bytes(95) + b"\x01")) == "point.not-on-curve"
    assert refusal(SRS(b"".join(power(srs, i) for i in range(1, 16)), g2)) == "srs.generator"
    other_tau = CURVE.dump_g2([CURVE.mul_g2(h, TAU + 1)])
    assert refusal(SRS(srs.g1_affine, other_tau + g2[192:])) == "srs.generator"
    assert refusal(SRS(srs.g1_affine, g2[:192] + other_tau + g2[384:])) == "srs.inconsistent"
    assert refusal(SRS(srs.g1_affine, g2[:384] + other_tau)) == "srs.inconsistent"
    for root in (1, R - 1, naive_field.root(8)):
        assert refusal(unsafe_srs(root, 16)) == "srs.trivial"


def test_points_outside_the_subgroups_are_caught() -> None:
    srs = unsafe_srs(TAU, 16)
    assert refusal(changed(srs, 7, G1_OF_ORDER_3)) == "srs.subgroup"
    for i in (0, 1, 2):
        g2 = srs.g2_affine[: 192 * i] + stray_g2() + srs.g2_affine[192 * (i + 1) :]
        assert refusal(SRS(srs.g1_affine, g2)) == "srs.subgroup"


@pytest.mark.parametrize("n", [8, 32])
def test_lagrange_basis_of_a_known_tau(n: int) -> None:
    srs = unsafe_srs(TAU, 64)
    units = [[int(i == j) for j in range(n)] for i in range(n)]
    expected = [naive_field.evaluate(naive_field.interpolate(unit), TAU) for unit in units]
    found = srs.lagrange(n, CURVE)
    assert [CURVE.encode_g1(p) for p in found] == [CURVE.encode_g1(CURVE.mul(CURVE.generator, x)) for x in expected]
    assert srs.lagrange(n, CURVE) is found


@pytest.mark.parametrize("n", [8, 64])
def test_lagrange_basis_by_compiled_code(n: int, cache_folder: Path) -> None:
    pytest.importorskip("numba")
    srs = unsafe_srs(TAU, 64)
    assert srs.lagrange_affine(n, CURVE, compiled=True) == srs.lagrange_affine(n, CURVE)
    curve = CountingCurve()
    computed = fresh_ceremony().lagrange_affine(n, curve, compiled=True)
    assert curve.products == 0
    assert next(cache_folder.iterdir()).read_bytes() == computed == ceremony().lagrange_affine(n, CURVE)


def test_lagrange_basis_by_the_other_curve() -> None:
    srs = unsafe_srs(TAU, 64)
    slow = backend("reference")
    assert slow.dump_g1(srs.lagrange(8, slow)) == CURVE.dump_g1(srs.lagrange(8, CURVE))


@pytest.mark.parametrize("n", [0, 1, 4, 12, 2047, 4096, -8])
def test_no_basis_of_that_size(n: int) -> None:
    with pytest.raises(ValueError, match="Lagrange"):
        ceremony().lagrange(n, CURVE)
    with pytest.raises(ValueError, match="Lagrange"):
        unsafe_srs(TAU, 16).lagrange(32, CURVE)


@needs_text_file
@pytest.mark.parametrize("n", [512, 2048])
def test_lagrange_basis_sums_up_the_one_of_the_ceremony(n: int) -> None:
    """L_i over n rows is a polynomial, and the file has the basis over 4096: L_i = sum_j L_i(w_4096^j) L'_j."""
    lines = TEXT_FILE.read_text().split()[2 : 2 + D]
    finer = [CURVE.decode_g1(bytes.fromhex(h)) for h in lines]
    i = n // 3
    w_n, w_d = naive_field.root(n), naive_field.root(D)
    point = pow(w_n, i, R)
    weights = []
    for j in range(D):
        x = pow(w_d, j, R)
        vanishing = (pow(x, n, R) - 1) % R
        weights.append(point * vanishing * pow(n * (x - point), -1, R) % R if vanishing else int(x == point))
    assert CURVE.encode_g1(CURVE.msm(finer, weights)) == CURVE.encode_g1(ceremony().lagrange(n, CURVE)[i])


def test_every_pinned_basis_is_the_right_one() -> None:
    """sum_i r_i L_i = sum_j c_j [tau^j], c the coefficients of the polynomial with values r_i; fresh r_i, every n."""
    vectors = PythonVectors()
    for n in (8, 16, 32, 64, 128, 256, 512, 1024, 2048):
        weights = [int.from_bytes(os.urandom(40), "big") % R for _ in range(n)]
        coeffs = vectors.to_ints(vectors.intt(vectors.from_ints(weights)))
        basis = ceremony().lagrange(n, CURVE)
        by_powers = CURVE.msm(ceremony().g1(CURVE)[:n], coeffs)
        assert CURVE.encode_g1(CURVE.msm(basis, weights)) == CURVE.encode_g1(by_powers)


def test_basis_is_computed_once_and_read_afterwards(cache_folder: Path) -> None:
    curve = CountingCurve()
    first = fresh_ceremony().lagrange(64, curve)
    # (n/2) log2 n butterflies less the n - 1 whose root is 1, and log2 n for the factor 1/n (and one at the bottom).
    assert curve.products == 32 * 6 - 63 + 6 + 1
    assert len(list(cache_folder.iterdir())) == 1
    curve.products = 0
    assert curve.dump_g1(fresh_ceremony().lagrange(64, curve)) == curve.dump_g1(first)
    assert curve.products == 0


@pytest.mark.parametrize("fault", ["flipped", "swapped", "short", "long", "empty", "folder", "other points"])
def test_damaged_or_planted_cache_is_computed_anew(cache_folder: Path, fault: str) -> None:
    curve = CountingCurve()
    good = fresh_ceremony().lagrange_affine(16, curve)
    (path,) = cache_folder.iterdir()
    assert path.read_bytes() == good
    if fault == "folder":
        path.unlink()
        path.mkdir()
    else:
        planted = {
            "flipped": good[:-1] + bytes([good[-1] ^ 1]),
            "swapped": good[96:192] + good[:96] + good[192:],
            "short": good[:-96],
            "long": good + good[:96],
            "empty": b"",
            "other points": ceremony().g1_affine[: 96 * 16],
        }
        path.write_bytes(planted[fault])
    curve.products = 0
    assert fresh_ceremony().lagrange_affine(16, curve) == good
    assert curve.products > 0
    if fault != "folder":
        assert path.read_bytes() == good  # repaired


def test_cache_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MARGINSEAL_CACHE", str(tmp_path / "file"))
    assert len(fresh_ceremony().lagrange(8, CURVE)) == 8


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MARGINSEAL_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fresh_ceremony().lagrange(8, CURVE)
    assert [p.parent for p in tmp_path.rglob("lagrange-*-8.bin")] == [tmp_path / "xdg" / "marginseal"]
    monkeypatch.delenv("XDG_CACHE_HOME")
    shutil.rmtree(tmp_path / "xdg")
    fresh_ceremony().lagrange(8, CURVE)
    assert [p.parent for p in tmp_path.rglob("lagrange-*-8.bin")] == [tmp_path / "home" / ".cache" / "marginseal"]


def test_known_tau_is_never_cached_on_disk(cache_folder: Path) -> None:
    unsafe_srs(TAU + 5, 16).lagrange(16, CURVE)
    assert not cache_folder.exists()
