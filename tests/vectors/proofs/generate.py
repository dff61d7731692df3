"""Writes the proof vectors beside this file: `python -m tests.vectors.proofs.generate`.

All randomness is fixed, so the files come out the same every time; tests/verifier/test_vectors.py holds them to it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from marginseal.algebra.curve import P
from marginseal.algebra.field import R
from marginseal.records.statement import Continuity, Statement
from prover.prove import Secrets, prove
from tests.attacks.bad_points import compressed, coordinates, low_x
from tests.attacks.cases import Case, full, margin
from tests.attacks.forge import Forger, drops
from tests.attacks.poly import Poly, column, on_rows
from tests.vectors.proofs.form import HERE, circuit_form, text_of
from verifier.sizes import Sizes
from verifier.verify import Setting, replay

SECRET, FRESH = bytes(range(32)), bytes(range(32, 64))

Vector = dict[str, Any]


def proven(case: Case) -> bytes:
    return prove(case.circuit, case.statement, case.columns(), case.openings, Secrets(SECRET, lambda: FRESH))


def vector(
    desc: str, expect: str, case: Case, proof: bytes, *, statement: Statement | bytes | None = None, index: int = 0
) -> Vector:
    data = statement if isinstance(statement, bytes) else (statement or case.statement).encode()
    return {
        "desc": desc,
        "expect": expect,
        "source": "MarginSeal protocol version 1, tests/vectors/proofs/generate.py",
        "circuit": circuit_form(case.circuit),
        "circuit_digest": case.circuit.digest.hex(),
        "statement": data.hex(),
        "index": index,
        "proof": proof.hex(),
    }


def accepted(desc: str, case: Case) -> Vector:
    """With what makes it: witness, openings, secret and fresh bytes; and every challenge."""
    proof = proven(case)
    r = replay(case.circuit, case.statement, proof, 0, Setting.default(), {})
    challenges = {"beta": r.beta, "rho": r.rho, "y": r.y, "z": r.z, "nu": r.nu}
    return vector(desc, "accept", case, proof) | {
        "statement_digest": case.statement.digest.hex(),
        "secret": SECRET.hex(),
        "fresh": FRESH.hex(),
        "witness": [list(r) for r in case.rows],
        "openings": [f"{x:064x}" for x in case.openings],
        "challenges": {name: f"{x:064x}" for name, x in challenges.items()},
    }


def spliced(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def forged(case: Case, defence: str, limb_rows: list[list[int]] | None = None) -> bytes:
    return Forger(case, drop=drops(defence), limb_rows=limb_rows).forge()


class RolledHelpers(Forger):
    def pick_h(self) -> list[Poly]:
        rows = [on_rows(h, self.n) for h in super().pick_h()]
        return [column([*r[1:], r[0]], b) for r, b in zip(rows, self.blinders.h, strict=True)]


def vectors() -> dict[str, Vector]:
    """{name: vector}: three that hold, then one fault each."""
    case, other = margin(slacks=5), full()
    out = {
        "accept-margin": accepted("one tile, two sources, five scenarios", case),
        "accept-full": accepted("two tiles, long - short, pledges, squares, an attestation", other),
        "accept-n16": accepted("sixteen rows", margin(16, slacks=6)),
    }
    proof, sizes, s = proven(case), Sizes.of(case.circuit), case.statement
    first_Q = 48 * (sizes.L + 1 + sizes.G + 1)
    first_scalar = first_Q + 3 * 48
    c_0 = int.from_bytes(proof[first_scalar : first_scalar + 32], "big")

    def fault(name: str, desc: str, expect: str, data: bytes, **fields: Any) -> None:
        out[name] = vector(desc, expect, case, data, **fields)

    fault("decode-short", "the last byte is missing", "proof.length", proof[:-1])
    fault("decode-long", "one byte too many", "proof.length", proof + b"\x00")
    bad: dict[str, tuple[str, Callable[[], bytes]]] = {
        "not-on-curve": ("C_1 has an x of no point", lambda: compressed(next(coordinates(None)))),
        "subgroup": ("C_1 is a point of the curve outside the subgroup", lambda: compressed(next(coordinates(False)))),
        "infinity": ("C_1 is the point at infinity", lambda: compressed(0, 0xC0)),
        "malformed": ("C_1 has an x at or above p", lambda: compressed(low_x() + P)),
    }
    for code, (desc, make) in bad.items():
        fault(f"decode-{code}", desc, f"point.{code}", spliced(proof, 0, make()))
    over = (c_0 + R).to_bytes(32, "big")
    fault("decode-scalar", "c_1(z) plus r", "scalar.not-reduced", spliced(proof, first_scalar, over))
    fault("pairing-W", "W is negated", "verify.pairing", spliced(proof, len(proof) - 48, bytes([proof[-48] ^ 0x20])))
    pieces = proof[first_Q + 48 : first_Q + 96] + proof[first_Q : first_Q + 48]
    fault("pairing-Q", "Q_0 and Q_1 are exchanged", "verify.pairing", spliced(proof, first_Q, pieces))
    claims = proof[first_scalar + 32 : first_scalar + 64] + proof[first_scalar : first_scalar + 32]
    fault("pairing-claims", "c_1(z) and c_2(z) are exchanged", "verify.pairing", spliced(proof, first_scalar, claims))
    wz = first_scalar + 32 * sizes.L
    more = ((int.from_bytes(proof[wz : wz + 32], "big") + 1) % R).to_bytes(32, "big")
    fault("pairing-phi", "phi(wz) is one more", "verify.pairing", spliced(proof, wz, more))

    table = case.limb_rows()
    table[0][0], table[1][0] = table[0][0] + 8, table[1][0] - 1
    fault("forged-limb", "a limb out of table, the value unchanged", "verify.pairing", forged(case, "lookup", table))
    moved = case.limb_rows()
    moved[3][0], moved[3][1] = moved[3][1], moved[3][0]
    fault("forged-slack", "slack limbs of two rows exchanged", "verify.pairing", forged(case, "equations", moved))
    q = list(case.rows[0])
    q[3] += 1
    gains = [int(line[3]) for line in case.circuit.dense[0].values]
    slack = [x + g for x, g in zip(case.rows[1], gains + [0] * 3, strict=True)]
    lot = replace(case, rows=(tuple(q), tuple(max(x, 0) for x in slack)))
    fault("forged-lot", "a lot more than the sources signed", "verify.pairing", forged(lot, "binding"))
    rolled = RolledHelpers(case, drop=drops("groups")).forge()
    fault("forged-helpers", "helpers off by one row", "verify.pairing", rolled)

    later, below = replace(s, expiry=s.expiry + 1), case.claiming(s.claims[0].inputs[0] - 1).statement
    fault("statement-expiry", "the statement expires a second later", "verify.pairing", proof, statement=later)
    fault("statement-input", "the requirement is one less", "verify.pairing", proof, statement=below)
    twice = replace(s, claims=s.claims * 2)
    fault(
        "statement-index", "the proof of claim 0 given for claim 1", "verify.pairing", proof, statement=twice, index=1
    )
    fault("statement-claim", "there is no claim 1", "verify.claim", proof, index=1)
    fault("statement-epoch", "another epoch", "verify.epoch", proof, statement=replace(s, epoch=bytes(32)))
    fault("statement-srs", "other powers", "verify.srs", proof, statement=replace(s, srs=bytes(32)))
    rule = replace(s, claims=(replace(s.claims[0], circuit=bytes(32)),))
    fault("statement-circuit", "another circuit is claimed", "verify.circuit", proof, statement=rule)
    infinite = replace(s, pledge=compressed(0, 0xC0))
    fault("statement-pledge", "the pledge commitment is infinity", "point.infinity", proof, statement=infinite)
    link = replace(s, sequence=2, prev=bytes([1]) * 32, continuity=Continuity.SAME)
    fault("statement-sequence", "the next sequence", "verify.pairing", proof, statement=link)
    data = s.encode()
    fault("statement-trailing", "a byte after the statement", "wire.trailing", proof, statement=data + b"\x00")
    version = data.index((1).to_bytes(8, "big"))
    other_version = spliced(data, version, (2).to_bytes(8, "big"))
    fault("statement-version", "protocol version 2", "statement.version", proof, statement=other_version)
    return out


def main() -> None:
    for path in HERE.glob("*.json"):
        path.unlink()
    for name, content in vectors().items():
        (HERE / f"{name}.json").write_text(text_of(content))


if __name__ == "__main__":
    main()
