"""`marginseal demo --local`: the proof alone, on one desk without a service, told in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from marginseal.cli.output import money
from marginseal.cli.story.telling import must_fail, refuse_all, stage, timed

if TYPE_CHECKING:
    from marginseal.cli.desk import Desk
    from marginseal.cli.story.tampering import Stage
    from marginseal.errors import Unsatisfied
    from marginseal.market.epoch import RiskEpoch
    from marginseal.market.portfolio import Portfolio
    from marginseal.records.statement import Tier

RULES = ["worst_case_limits"]


def play(desk: Desk) -> None:
    """The whole story on one new desk."""
    from marginseal.cli import commit, init, margin, prove, verify
    from marginseal.errors import InputError
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
        say(str(_unprovable(built, market.unhealthy, epoch, Tier.INITIAL)))

    with timed("crash day: after settlement the fund is below maintenance, and cannot hide it") as say:
        for tier in (Tier.INITIAL, Tier.MAINTENANCE):
            say(f"{tier.name.lower()}: {_unprovable(built, market.crash_books, market.crash_epoch, tier)}")
        say("no fresh attestation by expiry is a margin call that no one can hide")

    with timed("what a cheat would try, each handed to the checks a venue runs"):
        refuse_all(built)


def _unprovable(stage: Stage, books: Mapping[str, Portfolio], epoch: RiskEpoch, tier: Tier) -> Unsatisfied:
    """What a prover does first with a portfolio: find a witness, which an unhealthy one does not have."""
    from circuits.compile import compile_rule
    from marginseal.errors import Unsatisfied
    from marginseal.market.portfolio import merge
    from prover.witness import make_witness

    rows = len(stage.venues.venues)
    compiled = compile_rule(RULES[0], epoch, tier, venues=rows)
    lots, pledges = merge(books.values()).lots, stage.submission.pledges.opening.q[:rows] * 0
    return must_fail(
        Unsatisfied, "an unhealthy portfolio", lambda: make_witness(compiled, lots, pledges), code="rule.unsatisfied"
    )
