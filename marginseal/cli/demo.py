"""`marginseal demo`: the main job on the shipped example market, told in plain words, then every tampering refused."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from marginseal.cli.output import money, table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from marginseal.cli.desk import Desk
    from marginseal.cli.tampering import Stage
    from marginseal.market.epoch import RiskEpoch
    from marginseal.market.portfolio import Portfolio
    from marginseal.records.attestation import Attestation
    from marginseal.records.statement import Tier
    from prover.witness import Witness

RULES = ["worst_case_limits"]


def demo(
    keep: Annotated[Path | None, typer.Option(help="Keep the desk in this new folder.")] = None,
) -> None:
    """A book over three sources: commit, margin, prove, verify, pledge, crash day, and what a cheat would try."""
    import tempfile

    from marginseal.cli.desk import Desk

    with tempfile.TemporaryDirectory(prefix="marginseal-demo-") as folder:
        root = keep or Path(folder) / "desk"
        play(Desk(root))
        if keep is not None:
            print(f"the desk is kept in {keep}")


@contextmanager
def timed(what: str) -> Iterator[Callable[[str], None]]:
    """Tells what is done, and in one line how it ended and how long it took."""
    print(f"\n* {what}")
    start, said = time.perf_counter(), list[str]()
    yield said.append
    for line in said:
        print(f"    {line}")
    print(f"    ({(time.perf_counter() - start) * 1000:.0f} ms)")


def play(desk: Desk) -> None:
    """The whole story on one new desk."""
    from marginseal.cli import commit, init, margin, prove, verify
    from marginseal.cli.tampering import cases, refused
    from marginseal.errors import InputError, MarginSealError, Unsatisfied
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode
    from marginseal.market.example import example_market
    from marginseal.market.portfolio import merge
    from marginseal.records.statement import Tier

    if desk.root.exists() and any(desk.root.iterdir()):
        raise InputError("demo.not-empty", f"{desk.root} is not empty")
    print("A fund holds collateral with a custodian, short options at venue A, futures and wings at venue B.")
    print("Its risk nets out; no venue sees, or could trust, what is held elsewhere.")

    with timed("the market becomes a risk epoch: every instrument revalued in every scenario, rounded to ticks") as say:
        init.make_desk(desk, "fund-1")
        market = example_market()
        epoch = market.epoch
        write_atomic(desk.epoch_file, encode(epoch))
        say(f"{epoch.instruments} instruments on {' and '.join(epoch.underlyings)}, {epoch.scenarios} scenarios")
        say(f"digest {epoch.digest.hex()}")

    with timed("the owner looks at his margin, plainly") as say:
        lots = merge(market.books.values()).lots
        body = margin.figures(epoch, lots, RULES[0], Tier.INITIAL, 3)
        cross, isolated = body["cross_ticks"], body["isolated_ticks"]
        say(f"margined position by position: {money(isolated, epoch.tick, epoch.currency)}")
        saved = f"{1 - cross / isolated:.0%} less"
        say(f"as one portfolio:              {money(cross, epoch.tick, epoch.currency)}  ({saved})")
        say(f"free to pledge:                {money(body['free_ticks'], epoch.tick, epoch.currency)}")

    for source in market.books:
        with timed(f"{source} signs a commitment to what it holds for the fund, and to nothing it does not") as say:
            for tile in commit.publish(desk, source, desk.root / "holdings" / f"{source}.csv"):
                say(f"C = {tile['commitment']}")

    with timed("the fund opens what the sources sealed to it, pledges to two venues, signs, and proves") as say:
        attestation = prove.attest_desk(desk, RULES, "initial", workers=2)
        file = desk.attestation_file(1)
        say(f"{len(attestation.data):,} bytes, of which the proof {len(attestation.proofs[0]):,}")

    with timed("a venue verifies: signatures, sources, circuit compiled by itself, proof") as say:
        facts = verify.facts(desk, file)
        say(f"accepted: {facts['claims'][0]['rule']}, {facts['claims'][0]['tier']} tier, until {facts['expires']}")
        say(f"the proof itself took {facts['seconds'] * 1000:.1f} ms; the venue has seen no position")

    with timed("venue-a opens its own pledge, and learns nothing of the other's") as say:
        built = stage(desk, attestation, epoch, market.crash_epoch)
        say(f"venue-a may count on {money(built.pledge.amount, epoch.tick, epoch.currency)}")

    with timed("the same fund with its hedge turned round cannot prove anything") as say:
        say(str(_expect(Unsatisfied, lambda: _witness(built, market.unhealthy.values(), epoch, Tier.INITIAL))))

    with timed("crash day: after settlement the fund is below maintenance, and cannot hide it") as say:
        for tier in (Tier.INITIAL, Tier.MAINTENANCE):
            crash = market.crash_epoch
            failure = _expect(Unsatisfied, lambda t=tier, e=crash: _witness(built, market.crash_books.values(), e, t))  # type: ignore[misc]
            say(f"{tier.name.lower()}: {failure}")
        say("no fresh attestation by expiry is a margin call that no one can hide")

    with timed("what a cheat would try, each handed to the checks a venue runs"):
        rows = []
        for what, run in cases(built):
            error = refused(run)
            if error is None:
                raise MarginSealError("demo.accepted", f"accepted, and must not be: {what}")
            rows.append((what, error.code, type(error).__name__))
        table(f"{len(rows)} tried, {len(rows)} refused", ("tampering", "refused by", "kind"), rows)


def stage(desk: Desk, attestation: Attestation, epoch: RiskEpoch, other_epoch: RiskEpoch) -> Stage:
    """The honest attestation with what a venue and what a cheat needs."""
    from marginseal.algebra.commit import commitment_key
    from marginseal.cli.desk import source_evidence
    from marginseal.cli.prove import open_books
    from marginseal.cli.tampering import Stage
    from marginseal.records.keys import Role
    from marginseal.records.pledges import open_pledge
    from marginseal.records.submission import SourceOpening, Submission
    from verifier.claims import compile_claims
    from verifier.verify import Setting

    statement, (venues, digest) = attestation.statement, desk.venues()
    circuit = compile_claims(statement, attestation.body.rules, epoch, venues=len(venues.venues))[0].circuit
    evidence = source_evidence(desk, circuit.n, circuit.tiles)
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
        prover=desk.signing_key("prover", Role.PROVER),
        setting=Setting.default(),
    )


def _witness(stage: Stage, books: Iterable[Portfolio], epoch: RiskEpoch, tier: Tier) -> Witness:
    """What a prover does first with a portfolio: find a witness, which an unhealthy one does not have."""
    from circuits.compile import compile_rule
    from marginseal.market.portfolio import merge
    from prover.witness import make_witness

    rows = len(stage.venues.venues)
    compiled = compile_rule(RULES[0], epoch, tier, venues=rows)
    return make_witness(compiled, merge(books).lots, stage.submission.pledges.opening.q[:rows] * 0)


def _expect(kind: type[Exception], run: Callable[[], object]) -> Exception:
    from marginseal.errors import MarginSealError

    try:
        run()
    except kind as e:
        return e
    raise MarginSealError("demo.accepted", "an unhealthy portfolio found a witness")
