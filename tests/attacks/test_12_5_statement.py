"""Protocol section 12, item 5: a proof under another statement.

Everything a statement says is absorbed before the first challenge.  Each field is changed with the proof kept: the real
verifier refuses; one whose transcript is deaf to that field alone takes it, so the field is bound there and only there.
What the log and the venue's policy add (age, head, continuity) is attacked with the records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from marginseal import transcript
from marginseal.errors import MarginSealError, PolicyError, ProofRejected
from marginseal.records import statement as module
from marginseal.records.statement import Continuity, Kind, Release, Statement, Tier
from marginseal.transcript import PROOF_LABELS, STATEMENT_LABELS, Transcript
from tests.attacks.cases import Case, full, margin
from tests.attacks.flawed_rounds import deaf_to
from tests.attacks.forge import Forger, accepts
from tests.attacks.poly import add, column, evaluate, inv, mul, vanishing
from verifier.verify import verify

Change = Callable[[Statement], Statement]


def linked() -> Case:
    """`margin` in the middle of a chain, with one release; a disclosure binds no pledges."""
    case = margin()
    statement = replace(
        case.statement,
        sequence=5,
        prev=bytes([7]) * 32,
        continuity=Continuity.LINKED,
        previous_pledge=case.statement.pledge,
        releases=(Release(1, 4, bytes([8]) * 32),),
    )
    return replace(case, statement=statement)


CASE = linked()
OTHER_POINT = CASE.statement.sources[0].C


def source(**fields: object) -> Change:
    return lambda s: replace(s, sources=(replace(s.sources[0], **fields), *s.sources[1:]))  # type: ignore[arg-type]


def claim(**fields: object) -> Change:
    return lambda s: replace(s, claims=(replace(s.claims[0], **fields),))  # type: ignore[arg-type]


def release(**fields: object) -> Change:
    return lambda s: replace(s, releases=(replace(s.releases[0], **fields),))  # type: ignore[arg-type]


def plain(**fields: object) -> Change:
    return lambda s: replace(s, **fields)  # type: ignore[arg-type]


ELSE = bytes([99]) * 32

# What the transcript alone binds, as far as one proof goes.
CHANGES: dict[str, Change] = {
    "universe": plain(universe=ELSE),
    "manifest": plain(manifest=ELSE),
    "source-registry": plain(source_registry=ELSE),
    "venue-registry": plain(venue_registry=ELSE),
    "account": plain(account="fund-2"),
    "account-key": plain(account_key=ELSE),
    "sequence": plain(sequence=6),
    "prev": plain(prev=ELSE),
    "cut-id": plain(cut_id="2026-11-02T00:00Z"),
    "cut-time": plain(cut_time=CASE.statement.cut_time - 1),
    "expiry": plain(expiry=CASE.statement.expiry + 1),
    "currency": plain(currency="EUR"),
    "tick": plain(tick="0.1"),
    "pledge": plain(pledge=OTHER_POINT),
    "previous-pledge": plain(previous_pledge=OTHER_POINT),
    "release-row": release(row=2),
    "release-nonce": release(nonce=5),
    "release-digest": release(digest=ELSE),
    "source-id": source(source="source-00"),
    "book-id": source(book="other"),
    "message-digest": source(message_digest=ELSE),
    "tier": claim(tier=Tier.MAINTENANCE),
}
# What other checks bind as well.
TWICE_BOUND: dict[str, tuple[Change, str]] = {
    "srs": (plain(srs=ELSE), "verify.srs"),
    "epoch": (plain(epoch=ELSE), "verify.epoch"),
    "tile": (source(tile=1), "verify.tiles"),
    "C": (source(C=CASE.statement.pledge), "verify.pairing"),
    "kind": (claim(kind=Kind.ATTESTATION), "verify.circuit"),
    "circuit": (claim(circuit=ELSE), "verify.circuit"),
    "input": (claim(inputs=(CASE.statement.claims[0].inputs[0] - 1,)), "verify.pairing"),
    "inputs": (claim(inputs=()), "circuit.inputs"),
}
# Counts and constants, tried below.
COUNTS = {"protocol", "version", "continuity", "releases", "sources", "claims"}


def test_every_label_of_the_statement_is_attacked() -> None:
    assert {*CHANGES, *TWICE_BOUND, *COUNTS} == set(STATEMENT_LABELS)


class _Deaf(Transcript):
    def __init__(self, label: str) -> None:
        super().__init__()
        self._label = label

    def absorb(self, label: str, data: bytes) -> None:
        if label != self._label:
            super().absorb(label, data)


def deaf(patch: pytest.MonkeyPatch, label: str) -> None:
    """Statements whose digest leaves a label out.  Computed at every use: what was heard before does not count, and
    what was not heard now is not kept."""
    absorbed = Statement.digest.func

    def unheard(statement: Statement) -> bytes:
        with pytest.MonkeyPatch.context() as own:
            own.setattr(module, "Transcript", lambda: _Deaf(label))
            return absorbed(statement)

    patch.setattr(Statement, "digest", property(unheard))


@pytest.mark.parametrize("label", list(CHANGES))
def test_12_5_proof_under_another(label: str) -> None:
    other = CHANGES[label](CASE.statement)
    assert other.digest != CASE.statement.digest
    with pytest.MonkeyPatch.context() as patch:
        deaf(patch, label)
        assert accepts(CASE, Forger(CASE).forge(), statement=other), "bound elsewhere too: list it there"
    assert not accepts(CASE, Forger(CASE).forge(), statement=other)


@pytest.mark.parametrize("label", list(TWICE_BOUND))
def test_12_5_proof_under_another_even_unheard(label: str) -> None:
    """These have a second line: refused even by a verifier whose transcript does not hear them."""
    change, code = TWICE_BOUND[label]
    other = change(CASE.statement)
    for hears in (True, False):
        with pytest.MonkeyPatch.context() as patch:
            if not hears:
                deaf(patch, label)
            proof = Forger(CASE).forge()
            with pytest.raises(MarginSealError) as e:
                verify(CASE.circuit, other, proof)
            assert e.value.code == code


@pytest.mark.parametrize("constant", ["PROTOCOL", "VERSION"])
def test_12_5_proof_under_another_protocol_or_version(constant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = Forger(CASE).forge()
    assert accepts(CASE, proof, statement=replace(CASE.statement))
    monkeypatch.setattr(module, constant, {"PROTOCOL": "MARGINSEEL", "VERSION": 2}[constant])
    assert not accepts(CASE, proof, statement=replace(CASE.statement))  # anew, as its digest is kept


@pytest.mark.parametrize(
    "change",
    [
        plain(continuity=Continuity.SAME, previous_pledge=None, releases=()),
        plain(continuity=Continuity.EXPIRED, previous_pledge=None, releases=()),
        plain(releases=()),
        plain(releases=(*CASE.statement.releases, Release(3, 1, ELSE))),
        plain(claims=CASE.statement.claims * 2),
    ],
    ids=["same", "expired", "release dropped", "release added", "claim added"],
)
def test_12_5_lists_and_continuity(change: Change) -> None:
    """Another number of anything; same against expired differs in one absorbed integer alone."""
    other = change(CASE.statement)
    assert not accepts(CASE, Forger(CASE).forge(), statement=other)


@pytest.mark.parametrize("label", ["continuity"])
def test_12_5_same_passed_off_as_expired(label: str) -> None:
    same = replace(CASE.statement, continuity=Continuity.SAME, previous_pledge=None, releases=())
    case = replace(CASE, statement=same)
    expired = replace(same, continuity=Continuity.EXPIRED)
    with pytest.MonkeyPatch.context() as patch:
        deaf(patch, label)
        assert accepts(case, Forger(case).forge(), statement=expired)
    assert not accepts(case, Forger(case).forge(), statement=expired)


def test_12_5_framing_keeps_fields_apart() -> None:
    """The same bytes divided otherwise, between ids or between lists, are another statement."""
    s = CASE.statement
    a = replace(s, sources=(replace(s.sources[0], source="ab", book="c"),))
    b = replace(s, sources=(replace(s.sources[0], source="a", book="bc"),))
    assert a.digest != b.digest
    assert replace(s, account="a", cut_id="bc").digest != replace(s, account="ab", cut_id="c").digest
    assert replace(s, currency="US", tick="D1").digest != replace(s, currency="USD", tick="1").digest
    pairs = (
        (("input", b"s" + bytes(8)), ("inputs", bytes(8))),
        (("C", b"laims"), ("claims", b"")),
        (("m", b""), ("h", b"")),
    )
    for items in pairs:
        states = []
        for label, data in items:
            t = Transcript()
            t.absorb(label, data)
            states.append(t.state)
        assert states[0] != states[1]


def test_12_5_claim_index() -> None:
    """Two claims alike: the proof of one is not the proof of the other."""
    twice = replace(CASE.statement, claims=CASE.statement.claims * 2)
    case = replace(CASE, statement=twice)
    proof = Forger(case, index=0).forge()
    assert accepts(case, proof, index=0)
    assert not accepts(case, proof, index=1)
    with pytest.MonkeyPatch.context() as patch:
        own = Transcript.absorb

        def unheard(t: Transcript, label: str, data: bytes) -> None:
            if label != "claim-index":
                own(t, label, data)

        patch.setattr(transcript.Transcript, "absorb", unheard)
        assert accepts(case, Forger(case, index=0).forge(), index=1)


def test_12_5_disclosure_passed_off_as_attestation() -> None:
    """The kind is in the circuit, its digest, and the claim."""
    case = margin()
    attestation = replace(case.circuit, kind=Kind.ATTESTATION)
    assert attestation.digest != case.circuit.digest
    claimed = replace(case.statement, claims=(replace(case.statement.claims[0], kind=Kind.ATTESTATION),))
    with pytest.raises(PolicyError) as e:
        verify(case.circuit, claimed, Forger(case).forge())
    assert e.value.code == "verify.circuit"
    proof = Forger(case).forge()
    renamed = replace(claimed, claims=(replace(claimed.claims[0], circuit=attestation.digest),))
    with pytest.raises(ProofRejected):
        verify(attestation, renamed, proof)


def test_12_5_another_rule_or_parameters() -> None:
    """Rule id, parameters and epoch are in the circuit's digest, whatever its equations."""
    circuit = CASE.circuit
    others = [replace(circuit, rule="other"), replace(circuit, parameters=b"{}{}"), replace(circuit, epoch=ELSE)]
    assert len({c.digest for c in (circuit, *others)}) == 4
    for other in others:
        with pytest.raises(PolicyError):
            verify(other, CASE.statement, Forger(CASE).forge())


class LatePledge(Forger):
    """The pledge commitment is made last: it has the true schedule's rows, and at z the value of the proven one.

    The proof is about no pledges.  p = g + d Z_H has the rows of g for any d; d makes p(z) what the proof needs."""

    def forge_statement(self, pledged: list[int]) -> tuple[bytes, Statement]:
        self.forge()
        g = column(pledged)
        d = (evaluate(self.p[2], self.z) - evaluate(g, self.z)) * inv(evaluate(vanishing(self.n), self.z))
        true = add(g, mul([d], vanishing(self.n)))
        statement = replace(self.statement, pledge=self.commit(true))
        self.p[2] = true
        self.step_5()  # W is for the commitment that will be in the statement
        return self.proof().encode(), statement


def test_12_5_pledge_absorbed_late_or_not_at_all() -> None:
    """The weak form of Fiat-Shamir, in full: 5000 pledged to each venue, and a proof that nothing is."""
    case = full()
    none = case
    for i in range(8):
        none = none.with_row(3, i, 0)
    for s in range(4):
        none = none.with_row(4, s, case.rows[4][s] + sum(case.rows[3]))
    zero = replace(none, p=(*case.p[:2], column([0] * 8, [5])))
    with pytest.MonkeyPatch.context() as patch:
        deaf(patch, "pledge")
        proof, statement = LatePledge(zero).forge_statement([5000] * 8)
        assert accepts(case, proof, statement=statement)
    assert not accepts(case, proof, statement=statement)
    proof, statement = LatePledge(zero).forge_statement([5000] * 8)
    assert not accepts(case, proof, statement=statement)


@pytest.mark.parametrize("label", [x for x in PROOF_LABELS if x != "claim-index"])
def test_12_5_every_message_moves_every_later_challenge(label: str) -> None:
    """An item never absorbed leaves the challenges after it as they were; heard, it changes all of them."""
    case = CASE
    honest = Forger(case)
    honest.forge()

    def challenges(run: Forger, spoil: str, deaf_label: str | None) -> list[int]:
        rounds = (deaf_to(deaf_label) if deaf_label else run.rounds).start(case.circuit, case.statement, 0)
        other = run.dummy

        def sent(name: str, items: list[bytes]) -> list[bytes]:
            return [other, *items[1:]] if name == spoil else items

        out = [*rounds.round_1(sent("limb", run.limbs_1), sent("m", [run.m_1])[0])]
        out.append(rounds.round_2(sent("h", run.h_1), sent("phi", [run.phi_1])[0]))
        out.append(rounds.round_3(sent("Q", run.Q_1)))
        c_z = [1, *run.c_z[1:]] if spoil == "c(z)" else run.c_z
        out.append(rounds.round_4(c_z, 1 if spoil == "phi(wz)" else run.phi_wz))
        return out

    first = {"limb": 0, "m": 0, "h": 2, "phi": 2, "Q": 3, "c(z)": 4, "phi(wz)": 4}[label]
    base, moved = challenges(honest, "", None), challenges(honest, label, None)
    assert base == [honest.beta, honest.rho, honest.y, honest.z, honest.nu]
    assert base[:first] == moved[:first]
    assert all(a != b for a, b in zip(base[first:], moved[first:], strict=True))
    assert challenges(honest, "", label) == challenges(honest, label, label)
