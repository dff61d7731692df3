"""A prover that may lie, over plain polynomials, and verifiers with one line of defence missing.

`Forger` follows section 4 literally.  Every step is a method, so that an attack overrides the one it lies in; what a
flawed verifier draws too early is learnt by `peek`, from dummy messages.  `drop` names the defences that the forger
believes to be absent: it then makes a proof that is perfect but for them.  `accepts` takes the same defences out of the
verifier.  An attack is shown by two runs (`stopped_by_its_defence`): the real verifier refuses the forged proof, and
the weakened one takes it.  With the line removed from the real verifier, the first run fails.

Defences: binding, binding:b, groups, lookup (helpers and multiplicities in the running sum), equations, squares,
constant (the right-hand sides), running, y (powers of y), nu (the batched openings), nu-powers, phi-opening,
Q-powers, Q-order.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypedDict

import pytest

import verifier.verify
from circuits.circuit import GROUP, Circuit
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.field import R
from marginseal.algebra.vectors import FieldVectors
from marginseal.errors import ProofRejected
from marginseal.records.statement import Statement
from prover.blinding import Blinders
from tests.attacks.cases import Case
from tests.attacks.poly import (
    Poly,
    add,
    column,
    divide_by_linear,
    divide_by_vanishing,
    evaluate,
    interpolate,
    inv,
    mul,
    on_rows,
    root,
    scale,
    shift,
    sub,
    turn,
)
from tests.oracles.literal import Cells, batched, cells_of
from verifier.collapse import Collapsed
from verifier.identities import Linear
from verifier.messages import Proof
from verifier.rounds import Rounds
from verifier.verify import PairingEquation, Replayed, Setting, verify

Drop = frozenset[str]
NOTHING: Drop = frozenset()


def drops(*names: str) -> Drop:
    return frozenset(names)


def random_blinders(circuit: Circuit, seed: int = 0) -> Blinders:
    draw = random.Random(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(R) for _ in range(count))

    limbs = tuple(some(2) for _ in range(circuit.columns))
    return Blinders(limbs, some(1), tuple(some(1) for _ in range(circuit.groups)), some(3), *some(2))


def vector_polys(circuit: Circuit, limbs: Sequence[Poly]) -> list[Poly]:
    """v(X) of every vector, then of every bound combination as `Circuit.targets` has them."""
    B = circuit.n
    plain = []
    for v, vector in enumerate(circuit.vectors):
        mine = limbs[vector.first : vector.first + vector.limbs]
        plain.append(add([-circuit.offset(v)], *[scale(c, B**j) for j, c in enumerate(mine)]))
    return [add(*[scale(plain[v], factor) for v, factor in target]) for target in circuit.targets]


def literal_linear(
    circuit: Circuit,
    W: dict[int, Poly],
    U: dict[int, Poly],
    c: int,
    c_z: Sequence[int],
    phi_wz: int,
    *,
    beta: int,
    y: int,
    z: int,
    drop: Drop = NOTHING,
) -> Linear:
    """The scalars of lin, term by term from section 4, step 5, less what is dropped."""
    n, V, G = circuit.n, len(circuit.bound), circuit.groups
    count = V + G + 1
    y_to = [1 if "y" in drop else pow(y, count - i, R) for i in range(1, count + 1)]
    values = [evaluate(v, 0) for v in vector_polys(circuit, [[x] for x in c_z])]
    T = (beta + evaluate(interpolate(range(n)), z)) % R
    S = 0 if "constant" in drop else -c * inv(n)
    S += sum(evaluate(w, z) * values[t] for t, w in W.items())
    S += sum(evaluate(u, z) * values[t] ** 2 for t, u in U.items() if "squares" not in drop)
    S = 0 if "equations" in drop else S
    one, p, h = 0, [], []
    for b, bound in enumerate(circuit.bound):
        gone = drop & {"binding", f"binding:{b}"}
        p.append(0 if gone else -y_to[b] % R)
        one += 0 if gone else y_to[b] * sum(factor * values[v] for v, factor in bound.combination)
    for g in range(G):
        A = [beta + x for x in c_z[GROUP * g : GROUP * (g + 1)]]
        weight = 0 if "groups" in drop else y_to[V + g]
        one -= weight * sum(evaluate(mul(*[[x] for k, x in enumerate(A) if k != j], [1]), 0) for j in range(len(A)))
        product = evaluate(mul(*[[x] for x in A]), 0)
        h.append((weight * product - (0 if drop & {"lookup", "running"} else T)) % R)
    running = "running" not in drop
    one += (phi_wz - S) * T if running else 0
    m = int(running and "lookup" not in drop)
    powers = [0, 0, 0] if "Q-powers" in drop else [1, 0, 2] if "Q-order" in drop else [0, 1, 2]
    Q = tuple(-(pow(z, n, R) - 1) * pow(z, k * (n + 2), R) % R for k in powers)
    return Linear(one % R, tuple(p), tuple(h), -T % R if running else 0, m, Q)


def nu_powers(nu: int, count: int, drop: Drop) -> list[int]:
    if "nu" in drop:
        return [0] * count
    return [nu if "nu-powers" in drop else pow(nu, j, R) for j in range(1, count + 1)]


class Forger:
    """Steps 0 to 5, for one claim; what is public of a step stands in attributes of the protocol's names."""

    def __init__(
        self,
        case: Case,
        *,
        drop: Drop = NOTHING,
        rounds: type[Rounds] = Rounds,
        limb_rows: Sequence[Sequence[int]] | None = None,
        p: Sequence[Poly] | None = None,
        statement: Statement | None = None,
        plays: Circuit | None = None,
        inputs: tuple[int, ...] | None = None,
        blinders: Blinders | None = None,
        setting: Setting | None = None,
        index: int = 0,
        seed: int = 0,
    ) -> None:
        self.case, self.drop, self.rounds, self.index = case, drop, rounds, index
        self.statement = statement or case.statement
        self.circuit = plays or case.circuit
        self.setting = setting or Setting.default()
        self.key = commitment_key(self.circuit.n, self.setting.srs, curve=self.setting.curve)
        self.n, self.w = self.circuit.n, root(self.circuit.n)
        self.blinders = blinders or random_blinders(self.circuit, seed)
        self.p = [list(x) for x in (p or case.p)]
        self.limb_rows = [list(r) for r in (limb_rows or case.limb_rows())]
        self.limbs = [column(r, b) for r, b in zip(self.limb_rows, self.blinders.limbs, strict=True)]
        self.inputs = inputs if inputs is not None else self.statement.claims[index].inputs

    # Tools.

    def commit(self, p: Sequence[int]) -> bytes:
        return self.key.commit_coefficients(self.key.vectors.from_ints(list(p)))

    def peek(self) -> Rounds:
        """A run of the transcript beside the real one."""
        return self.rounds.start(self.case.circuit, self.statement, self.index)

    @property
    def dummy(self) -> bytes:
        """Some point, for messages a flawed transcript does not look at in time."""
        return self.commit([1])

    def cells(self) -> tuple[Cells, Cells]:
        """A and D, as the verifier that is played to reads them."""
        return cells_of(self.circuit)

    def collapse(self) -> None:
        A, D = self.cells()
        powers = [pow(self.rho, j + 1, R) for j in range(self.circuit.equations)]
        self.W = {t: interpolate(row) for t, row in batched(A, powers, self.n).items()}
        self.U = {t: interpolate(row) for t, row in batched(D, powers, self.n).items()}
        rhs = self.circuit.right_hand_sides(self.inputs)
        self.c = sum(x * e for x, e in zip(powers, rhs, strict=True)) % R

    def S(self) -> Poly:
        """sum W v + U v^2 - c/n, as a polynomial."""
        if "equations" in self.drop:
            return []
        v = vector_polys(self.circuit, self.limbs)
        out = [] if "constant" in self.drop else [-self.c * inv(self.n) % R]
        out = add(out, *[mul(w, v[t]) for t, w in self.W.items()])
        return out if "squares" in self.drop else add(out, *[mul(u, v[t], v[t]) for t, u in self.U.items()])

    def group(self, g: int) -> list[Poly]:
        return [add([self.beta], c) for c in self.limbs[GROUP * g : GROUP * (g + 1)]]

    def T(self) -> Poly:
        return add([self.beta], interpolate(range(self.n)))

    def step_rows(self) -> list[int]:
        """What phi has to climb from row to row."""
        rows = on_rows(self.S(), self.n)
        if "lookup" not in self.drop:
            for h in self.h:
                rows = [a + b for a, b in zip(rows, on_rows(h, self.n), strict=True)]
            rows = [
                a - b * inv(t) for a, b, t in zip(rows, on_rows(self.m, self.n), on_rows(self.T(), self.n), strict=True)
            ]
        return [x % R for x in rows]

    def identities(self) -> list[Poly]:
        """id_1 .. id_I; a dropped one is zero."""
        v = vector_polys(self.circuit, self.limbs)
        out: list[Poly] = []
        for b, bound in enumerate(self.circuit.bound):
            whole = add(*[scale(v[t], factor) for t, factor in bound.combination])
            out.append([] if self.drop & {"binding", f"binding:{b}"} else sub(whole, self.p[b]))
        for g, h in enumerate(self.h):
            A = self.group(g)
            others = add(*[mul([1], *[a for k, a in enumerate(A) if k != j]) for j in range(len(A))])
            out.append([] if "groups" in self.drop else sub(mul(h, *A), others))
        step = sub(turn(self.phi, self.w), add(self.phi, self.S()))
        if "lookup" not in self.drop:
            step = sub(step, add(*self.h))
        running = mul(step, self.T())
        if "lookup" not in self.drop:
            running = add(running, self.m)
        return [*out, [] if "running" in self.drop else running]

    def batch(self) -> Poly:
        ids = self.identities()
        return add(*[scale(p, 1 if "y" in self.drop else pow(self.y, len(ids) - i, R)) for i, p in enumerate(ids, 1)])

    def linear(self, c_z: Sequence[int], phi_wz: int) -> Linear:
        return literal_linear(
            self.circuit, self.W, self.U, self.c, c_z, phi_wz, beta=self.beta, y=self.y, z=self.z, drop=self.drop
        )

    def lin(self, c_z: Sequence[int], phi_wz: int) -> Poly:
        """lin with the claims in place, as a polynomial in X."""
        s = self.linear(c_z, phi_wz)
        scalars = [s.one, s.m, s.phi, *s.p, *s.h, *s.Q]
        polys: list[Poly] = [[1], self.m, self.phi, *self.p, *self.h, *self.Q]
        return add(*[scale(p, x) for x, p in zip(scalars, polys, strict=True)])

    # The steps, honest unless overridden.

    def pick_m(self) -> Poly:
        flat = [x for row in self.limb_rows for x in row]
        return column([flat.count(i) for i in range(self.n)], self.blinders.m)

    def pick_h(self) -> list[Poly]:
        out = []
        for g in range(self.circuit.groups):
            rows = self.limb_rows[GROUP * g : GROUP * (g + 1)]
            values = [sum(inv(self.beta + row[i]) for row in rows) for i in range(self.n)]
            out.append(column(values, self.blinders.h[g]))
        return out

    def pick_phi(self) -> Poly:
        """The running sum.  If it does not close, the last row is where it breaks."""
        values, total = [], 0
        for x in self.step_rows():
            values.append(total)
            total = (total + x) % R
        return column(values, self.blinders.phi)

    def pick_Q(self) -> Poly:
        """The quotient; what does not divide is left behind."""
        return divide_by_vanishing(self.batch(), self.n)[0]

    def pieces(self, Q: Poly) -> list[Poly]:
        k, b, b_prime = self.n + 2, self.blinders.b, self.blinders.b_prime
        Q_0, Q_1, Q_2 = Q[:k], Q[k : 2 * k], Q[2 * k :]
        return [add(Q_0, shift([b], k)), add(Q_1, [-b], shift([b_prime], k)), sub(Q_2, [b_prime])]

    def pick_claims(self) -> tuple[list[int], int]:
        return [evaluate(c, self.z) for c in self.limbs], evaluate(self.phi, self.w * self.z)

    def pick_W(self) -> Poly:
        """The quotients of both openings; what does not divide is left behind."""
        powers = nu_powers(self.nu, len(self.c_z), self.drop)
        F = add(self.lin(self.c_z, self.phi_wz), *[scale(c, x) for x, c in zip(powers, self.limbs, strict=True)])
        F = add(F, [-sum(x * c for x, c in zip(powers, self.c_z, strict=True))])
        W = divide_by_linear(F, self.z)
        if "phi-opening" in self.drop:
            return W
        return add(W, divide_by_linear(sub(self.phi, [self.phi_wz]), self.w * self.z % R))

    def step_1(self) -> None:
        self.m = self.pick_m()
        self.m_1 = self.commit(self.m)
        self.beta, self.rho = self.run.round_1(self.limbs_1, self.m_1)

    def step_2(self) -> None:
        self.h = self.pick_h()
        self.phi = self.pick_phi()
        self.h_1, self.phi_1 = [self.commit(h) for h in self.h], self.commit(self.phi)
        self.y = self.run.round_2(self.h_1, self.phi_1)

    def step_3(self) -> None:
        self.Q = self.pieces(self.pick_Q())
        self.Q_1 = [self.commit(q) for q in self.Q]
        self.z = self.run.round_3(self.Q_1)

    def step_4(self) -> None:
        self.c_z, self.phi_wz = self.pick_claims()
        self.nu = self.run.round_4(self.c_z, self.phi_wz)

    def step_5(self) -> None:
        self.W_1 = self.commit(self.pick_W())

    def forge(self) -> bytes:
        self.run = self.rounds.start(self.case.circuit, self.statement, self.index)
        self.limbs_1 = [self.commit(c) for c in self.limbs]
        self.step_1()
        self.collapse()
        self.step_2()
        self.step_3()
        self.step_4()
        self.step_5()
        return self.proof().encode()

    def proof(self) -> Proof:
        return Proof(
            tuple(self.limbs_1), self.m_1, tuple(self.h_1), self.phi_1, tuple(self.Q_1), tuple(self.c_z), self.phi_wz,
            self.W_1,
        )  # fmt: skip


# Verifiers with something missing.


def weak_linearise(drop: Drop) -> Callable[..., Linear]:
    def linearise(
        circuit: Circuit,
        collapsed: Collapsed,
        c_z: Sequence[int],
        phi_wz: int,
        *,
        beta: int,
        y: int,
        z: int,
        vectors: FieldVectors,
    ) -> Linear:
        W = {t: interpolate(vectors.to_ints(w)) for t, w in collapsed.W.items()}
        U = {t: interpolate(vectors.to_ints(u)) for t, u in collapsed.U.items()}
        return literal_linear(circuit, W, U, collapsed.c, c_z, phi_wz, beta=beta, y=y, z=z, drop=drop)

    return linearise


def weak_assemble(drop: Drop) -> Callable[..., PairingEquation]:
    def assemble(r: Replayed, collapsed: Collapsed, setting: Setting) -> PairingEquation:
        curve, n = setting.curve, r.circuit.n
        s = weak_linearise(drop)(
            r.circuit, collapsed, r.proof.c_z, r.proof.phi_wz, beta=r.beta, y=r.y, z=r.z, vectors=setting.vectors
        )
        powers = nu_powers(r.nu, len(r.proof.c_z), drop)
        one = s.one - sum(x * c for x, c in zip(powers, r.proof.c_z, strict=True))
        points = [curve.generator, r.points.m, r.points.phi, *r.p, *r.points.h, *r.points.Q, *r.points.limbs]
        F = curve.msm(points, [one % R, s.m, s.phi, *s.p, *s.h, *s.Q, *powers])
        phi = curve.msm([r.points.phi, curve.generator], [1, -r.proof.phi_wz % R])
        phi = curve.identity() if "phi-opening" in drop else phi
        z, wz, W = r.z, root(n) * r.z % R, r.points.W
        A = curve.msm([W, F, phi], [-(z + wz) % R, R - 1, R - 1])
        return PairingEquation(W, A, curve.msm([W, F, phi], [z * wz % R, wz, z]))

    return assemble


class _Where(TypedDict):
    statement: Statement
    setting: Setting
    index: int


def accepts(
    case: Case,
    proof: bytes,
    *,
    drop: Drop = NOTHING,
    rounds: type[Rounds] | None = None,
    statement: Statement | None = None,
    setting: Setting | None = None,
    index: int = 0,
    patches: Iterable[tuple[str, Any]] = (),
) -> bool:
    """Whether the verifier takes the proof: as it is, or without these defences, or with that transcript."""
    with pytest.MonkeyPatch.context() as patch:
        if drop:
            patch.setattr(verifier.verify, "assemble", weak_assemble(drop))
        if rounds:
            patch.setattr(verifier.verify, "Rounds", rounds)
        for name, value in patches:
            patch.setattr(verifier.verify, name, value)
        try:
            verify(case.circuit, statement or case.statement, proof, index, setting=setting)
        except ProofRejected as e:
            if e.code != "verify.pairing":
                raise
            return False
        return True


def stopped_by_its_defence(forger: Forger, patches: Iterable[tuple[str, Any]] = ()) -> None:
    """The verifier refuses the forged proof; the one that lacks what the forger counts on takes it."""
    proof, rounds = forger.forge(), None if forger.rounds is Rounds else forger.rounds
    assert forger.drop or rounds or patches
    where: _Where = {"statement": forger.statement, "setting": forger.setting, "index": forger.index}
    assert not accepts(forger.case, proof, **where), "forged"
    assert accepts(forger.case, proof, drop=forger.drop, rounds=rounds, patches=patches, **where), "not even a forgery"
