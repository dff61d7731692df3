"""A second verifier, written from the protocol's text alone: Python integers, py-ecc, nothing clever, nothing shared.

It takes the plain data of a circuit and a statement, and from the project only those types, the curve's reference
backend and the modulus.  Section numbers are the protocol's.  `slow_verify` returns the challenges or says why not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from circuits.circuit import Circuit
from marginseal.algebra.curve import backend
from marginseal.algebra.field import R
from marginseal.errors import DecodeError
from marginseal.records.statement import Statement


class Refused(Exception):
    """With the step that refused."""


@dataclass(frozen=True)
class Challenges:
    beta: int
    rho: int
    y: int
    z: int
    nu: int


# Section 2: the transcript.


def len8(data: bytes) -> bytes:
    return len(data).to_bytes(1, "big")


def int64(x: int) -> bytes:
    return (x % 2**64).to_bytes(8, "big")


def absorb(state: bytes, label: str, data: bytes) -> bytes:
    name = label.encode("ascii")
    return hashlib.sha256(b"\x00" + state + len8(name) + name + int64(len(data)) + data).digest()


def hash_to_field(message: bytes) -> int:
    """RFC 9380: expand_message_xmd with SHA-256 to 48 bytes, mod r."""
    dst = b"MARGINSEAL-V1_XMD:SHA-256"
    dst += len8(dst)
    b = [hashlib.sha256(b"\x00" * 64 + message + (48).to_bytes(2, "big") + b"\x00" + dst).digest()]
    b.append(hashlib.sha256(b[0] + b"\x01" + dst).digest())
    mixed = (int.from_bytes(b[0], "big") ^ int.from_bytes(b[1], "big")).to_bytes(32, "big")
    b.append(hashlib.sha256(mixed + b"\x02" + dst).digest())
    return int.from_bytes((b[1] + b[2])[:48], "big") % R


def challenge(state: bytes, label: str) -> tuple[int, bytes]:
    name = label.encode("ascii")
    x = hash_to_field(state + name)
    return x, hashlib.sha256(b"\x01" + state + len8(name) + name).digest()


def statement_state(s: Statement) -> bytes:
    """Section 5: the statement in its order.  (The labels are ours to choose; the table in `transcript` has them.)"""
    items: list[tuple[str, bytes]] = [
        ("protocol", b"MARGINSEAL"),
        ("version", int64(1)),
        ("srs", s.srs),
        ("epoch", s.epoch),
        ("universe", s.universe),
        ("manifest", s.manifest),
        ("source-registry", s.source_registry),
        ("venue-registry", s.venue_registry),
        ("account", s.account.encode()),
        ("account-key", s.account_key),
        ("sequence", int64(s.sequence)),
        ("prev", s.prev),
        ("cut-id", s.cut_id.encode()),
        ("cut-time", int64(s.cut_time)),
        ("expiry", int64(s.expiry)),
        ("currency", s.currency.encode()),
        ("tick", s.tick.encode()),
        ("pledge", s.pledge),
        ("continuity", int64({"FIRST": 0, "SAME": 1, "EXPIRED": 2, "LINKED": 3}[s.continuity.name])),
    ]
    if s.continuity.name == "LINKED":
        items += [("previous-pledge", s.previous_pledge or b""), ("releases", int64(len(s.releases)))]
        for release in s.releases:
            items += [("release-row", int64(release.row)), ("release-nonce", int64(release.nonce))]
            items += [("release-digest", release.digest)]
    items.append(("sources", int64(len(s.sources))))
    for e in s.sources:
        items += [("source-id", e.source.encode()), ("book-id", e.book.encode()), ("tile", int64(e.tile))]
        items += [("message-digest", e.message_digest), ("C", e.C)]
    items.append(("claims", int64(len(s.claims))))
    for c in s.claims:
        items += [("kind", int64({"ATTESTATION": 1, "DISCLOSURE": 2}[c.kind.name])), ("circuit", c.circuit)]
        items += [("tier", int64({"INITIAL": 1, "MAINTENANCE": 2}[c.tier.name])), ("inputs", int64(len(c.inputs)))]
        items += [("input", int64(x)) for x in c.inputs]
    state = bytes(32)
    for label, data in items:
        state = absorb(state, label, data)
    return state


# Section 5: decoding.


def decode_point(data: bytes) -> Any:
    try:
        return backend("reference").decode_g1(data)
    except DecodeError as e:
        raise Refused("point") from e


def decode_scalar(data: bytes) -> int:
    x = int.from_bytes(data, "big")
    if x >= R:
        raise Refused("scalar")
    return x


# Section 3 and 4: matrices, vectors, identities.


def batched(circuit: Circuit, rho: int, which: str) -> dict[int, list[int]]:
    """W_v or U_v by target: row by row, sum_j rho^j A_j, j from 1."""
    out: dict[int, list[int]] = {}

    def put(j: int, target: int, row: int, value: int) -> None:
        rows = out.setdefault(target, [0] * circuit.n)
        rows[row] = (rows[row] + pow(rho, j + 1, R) * value) % R

    if which == "A":
        for d in circuit.dense:
            for j, line in enumerate(d.values):
                for i, value in enumerate(line):
                    put(d.equation + j, d.target, d.row + i, int(value))
    e = circuit.linear if which == "A" else circuit.quadratic
    for j, t, i, value in zip(e.equation, e.target, e.row, e.value, strict=True):
        put(int(j), int(t), int(i), int(value))
    return out


def at(values: Sequence[int], z: int) -> int:
    """The polynomial with these values on H, at z: sum_i v_i w^i (z^n - 1) / (n (z - w^i))."""
    n = len(values)
    w = pow(7, (R - 1) // n, R)
    total = 0
    for i, v in enumerate(values):
        x = pow(w, i, R)
        total += v * x * (pow(z, n, R) - 1) * pow(n * (z - x), R - 2, R)
    return total % R


def slow_verify(circuit: Circuit, statement: Statement, proof: bytes, index: int, g2: Sequence[Any]) -> Challenges:
    """g2: [1]_2, [tau]_2, [tau^2]_2 as points of the reference backend.  Refused with the step, or the challenges."""
    curve = backend("reference")
    n, limb_bits = circuit.n, len(bin(circuit.n)) - 3
    L = sum(v.limbs for v in circuit.vectors)
    G, V = (L + 2) // 3, len(circuit.bound)
    count = V + G + 1

    claim = statement.claims[index]
    if claim.circuit != circuit.digest or claim.kind.name != circuit.kind.name:
        raise Refused("claim")
    if len(proof) != 48 * (L + G + 6) + 32 * (L + 1):
        raise Refused("length")
    at_byte, points_1 = 0, []
    for _ in range(L + 1 + G + 1 + 3):
        points_1.append(proof[at_byte : at_byte + 48])
        at_byte += 48
    scalars = [decode_scalar(proof[at_byte + 32 * k : at_byte + 32 * k + 32]) for k in range(L + 1)]
    points_1.append(proof[-48:])
    points = [decode_point(x) for x in points_1]
    C, m, h, phi = points[:L], points[L], points[L + 1 : L + 1 + G], points[L + 1 + G]
    Q, W_point = points[L + G + 2 : L + G + 5], points[-1]
    c_z, phi_wz = scalars[:-1], scalars[-1]

    # The transcript.
    state = absorb(statement_state(statement), "claim-index", int64(index))
    for x in points_1[:L]:
        state = absorb(state, "limb", x)
    state = absorb(state, "m", points_1[L])
    beta, state = challenge(state, "beta")
    rho, state = challenge(state, "rho")
    for x in points_1[L + 1 : L + 1 + G]:
        state = absorb(state, "h", x)
    state = absorb(state, "phi", points_1[L + 1 + G])
    y, state = challenge(state, "y")
    for x in points_1[L + G + 2 : L + G + 5]:
        state = absorb(state, "Q", x)
    z, state = challenge(state, "z")
    for c in c_z:
        state = absorb(state, "c(z)", c.to_bytes(32, "big"))
    state = absorb(state, "phi(wz)", phi_wz.to_bytes(32, "big"))
    nu, state = challenge(state, "nu")
    if 0 in (beta, rho, y, z, nu) or R - beta < n or pow(z, n, R) == 1:
        raise Refused("exceptional")

    # What is bound: for holdings the sum over the tile, else the owner's commitments.
    p = []
    pledges = {"PLEDGES": statement.pledge, "PREVIOUS_PLEDGES": statement.previous_pledge}
    for b in circuit.bound:
        if b.role.name == "HOLDINGS":
            total = curve.identity()
            for e in statement.sources:
                if e.tile == b.tile:
                    total = curve.add(total, decode_point(e.C))
            p.append(total)
        else:
            data = pledges[b.role.name]
            if data is None:
                raise Refused("link")
            p.append(decode_point(data))
    decode_point(statement.pledge)

    # The scalars of lin.
    v_z = []
    for v in circuit.vectors:
        offset = 2 ** (v.limbs * limb_bits - 1) if v.signed else 0
        v_z.append(sum(n**j * c_z[v.first + j] for j in range(v.limbs)) - offset)
    wholes = [b.combination for b in circuit.bound if len(b.combination) > 1 or b.combination[0][1] != 1]
    targets = v_z + [sum(factor * v_z[v] for v, factor in combination) for combination in wholes]
    rhs = list(circuit.constants)
    for term in circuit.input_terms:
        rhs[term.equation] += term.factor * claim.inputs[term.input]
    c_sum = sum(pow(rho, j + 1, R) * x for j, x in enumerate(rhs)) % R
    S = sum(at(rows, z) * targets[t] for t, rows in batched(circuit, rho, "A").items())
    S += sum(at(rows, z) * targets[t] ** 2 for t, rows in batched(circuit, rho, "D").items())
    S -= c_sum * pow(n, R - 2, R)
    T = beta + at(list(range(n)), z)

    F: list[tuple[Any, int]] = []
    one = 0
    for b_index, b in enumerate(circuit.bound, 1):
        weight = pow(y, count - b_index, R)
        one += weight * sum(factor * v_z[v] for v, factor in b.combination)
        F.append((p[b_index - 1], -weight))
    for g in range(1, G + 1):
        weight = pow(y, count - V - g, R)
        A = [beta + c for c in c_z[3 * g - 3 : min(3 * g, L)]]
        product = 1
        for a in A:
            product = product * a % R
        F.append((h[g - 1], weight * product - T))
        for j in range(len(A)):
            others = 1
            for k, a in enumerate(A):
                others = others * (a if k != j else 1) % R
            one -= weight * others
    one += (phi_wz - S) * T
    F += [(phi, -T), (m, 1)]
    for k in range(3):
        F.append((Q[k], -(pow(z, n, R) - 1) * pow(z, k * (n + 2), R)))
    for j in range(1, L + 1):
        F.append((C[j - 1], pow(nu, j, R)))
        one -= pow(nu, j, R) * c_z[j - 1]
    F.append((curve.generator, one))
    F_point = curve.identity()
    for point, scalar in F:
        F_point = curve.add(F_point, curve.mul(point, scalar % R))
    phi_point = curve.add(phi, curve.mul(curve.generator, -phi_wz % R))

    # e(W, [tau^2]) e(-(z + wz) W - [F] - [phi'], [tau]) e(w z^2 W + w z [F] + z [phi'], [1]) = 1
    w = pow(7, (R - 1) // n, R)
    middle = curve.add(curve.mul(W_point, -(z + w * z) % R), curve.neg(curve.add(F_point, phi_point)))
    last = curve.add(
        curve.mul(W_point, w * z * z % R), curve.add(curve.mul(F_point, w * z % R), curve.mul(phi_point, z))
    )
    if not curve.pairing_check([(W_point, g2[2]), (middle, g2[1]), (last, g2[0])]):
        raise Refused("pairing")
    return Challenges(beta, rho, y, z, nu)
