"""What both demos share: a step told with its time, the stage set for a cheat, and every attempt seen refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from marginseal.cli.output import table
from marginseal.errors import MarginSealError

if TYPE_CHECKING:
    from marginseal.cli.desk import Desk
    from marginseal.cli.story.tampering import Stage
    from marginseal.market.epoch import RiskEpoch
    from marginseal.records.attestation import Attestation
    from marginseal.records.keys import SigningKey

E = TypeVar("E", bound=MarginSealError)


@contextmanager
def timed(what: str) -> Iterator[Callable[[str], None]]:
    """Tells what is done, and in one line how it ended and how long it took."""
    print(f"\n* {what}", flush=True)
    start, said = time.perf_counter(), list[str]()
    yield said.append
    for line in said:
        print(f"    {line}")
    seconds = time.perf_counter() - start
    print(f"    ({seconds:.1f} s)" if seconds >= 10 else f"    ({seconds * 1000:.0f} ms)", flush=True)


def stage(
    desk: Desk,
    attestation: Attestation,
    epoch: RiskEpoch,
    other_epoch: RiskEpoch,
    prover: SigningKey | None = None,
) -> Stage:
    """The honest attestation with what a venue and what a cheat needs.  prover: who signed it; default the desk's."""
    from marginseal.algebra.commit import commitment_key
    from marginseal.cli.desk import source_evidence
    from marginseal.cli.prove import open_books
    from marginseal.cli.story.tampering import Stage
    from marginseal.records.keys import Role
    from marginseal.records.pledges import open_pledge
    from marginseal.records.submission import SourceOpening, Submission
    from verifier.claims import compile_claims
    from verifier.verify import Setting

    statement, (venues, digest) = attestation.statement, desk.venues()
    circuit = compile_claims(statement, attestation.body.rules, epoch, venues=len(venues.venues))[0].circuit
    evidence = source_evidence(desk, statement, circuit.n, circuit.tiles)
    key, schedule = commitment_key(circuit.n), desk.schedule(statement.sequence)
    books = sorted(open_books(desk), key=lambda b: (b.statement.terms.source.encode(), b.statement.tile))
    return Stage(
        attestation=attestation,
        epoch=epoch,
        other_epoch=other_epoch,
        evidence=evidence,
        venues=venues,
        venues_digest=digest,
        pledge=open_pledge(schedule, statement, venues, "venue-a", key),
        submission=Submission(
            statement=statement,
            owner=attestation.body.owner,
            rules=attestation.body.rules,
            sources=tuple(SourceOpening(b.message, b.opening) for b in books),
            pledges=schedule,
            response_key=desk.sealing_key().public,
        ),
        owner=desk.signing_key("account", Role.ACCOUNT),
        prover=prover or desk.signing_key("prover", Role.PROVER),
        setting=Setting.default(),
    )


def refuse_all(stage: Stage) -> int:
    """Try every case of `tampering.cases`, tell by whom it was refused; how many.  MarginSealError demo.accepted."""
    from marginseal.cli.story.tampering import cases, refused

    rows = []
    for what, run in cases(stage):
        error = refused(run)
        if error is None:
            raise MarginSealError("demo.accepted", f"accepted, and must not be: {what}")
        rows.append((what, error.code, type(error).__name__))
    table(f"{len(rows)} tried, {len(rows)} refused", ("tampering", "refused by", "kind"), rows)
    return len(rows)


def must_fail(kind: type[E], what: str, run: Callable[[], object], *, code: str) -> E:
    """The error of that kind and code that refused it; anything else is raised.

    MarginSealError demo.accepted if nothing refused it, demo.reason if something did for another reason."""
    try:
        run()
    except kind as e:
        if e.code != code:
            raise MarginSealError("demo.reason", f"{what}: refused as {e.code}, and not as {code}") from e
        return e
    raise MarginSealError("demo.accepted", f"accepted, and must not be: {what}")
