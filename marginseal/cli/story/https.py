"""`marginseal demo`: the whole story over real HTTPS on loopback, in plain words, with timings and a picture.

Server, workers and every party are real: `marginseal serve` runs in processes of its own, parties speak to it through
the client that their verbs use, venues decide by policy files.  What must be refused and is not ends the demo with an
error.  Only clocks are helped along: the crash comes two minutes after the ordinary day, and a venue's clock is set
forward to the expiry.
"""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from marginseal.cli.desk import Desk
from marginseal.cli.output import utc
from marginseal.cli.story.capital import capital
from marginseal.cli.story.stand import (
    ACCOUNT,
    RULE,
    Stand,
    attested_in_league,
    decide_by,
    epoch_policy,
    forged,
    must_accept,
    must_refuse,
    opened,
    opening_of,
    policies,
    publish,
    short_of,
)
from marginseal.cli.story.telling import must_fail, refuse_all, stage, timed
from marginseal.errors import InputError, MarginSealError, PolicyError, ServiceError, Unsatisfied

if TYPE_CHECKING:
    from marginseal.cli.story.tampering import Stage

VENUES = ("venue-a", "venue-b")
CRASH_AFTER_S = 120


def play(root: Path, picture: Path) -> None:
    """The whole story in a new folder.  MarginSealError demo.* if anything went as it must not."""
    from marginseal.cli import init
    from marginseal.cli.remote import read_card, write_card
    from marginseal.cli.story.service import service_folder, serving
    from marginseal.cli.submit import Wanted
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode
    from marginseal.market.example import example_market

    if root.exists() and any(root.iterdir()):
        raise InputError("demo.not-empty", f"{root} is not empty")
    begun = time.perf_counter()
    print("A fund holds collateral with a custodian, short options at venue A, futures and wings at venue B.")
    print("Its risk nets out; no venue sees, or could trust, what is held elsewhere.")
    desk = Desk(root / "desk")
    with timed("the market becomes a risk epoch: every instrument revalued in every scenario, rounded to ticks") as say:
        at = int(time.time()) - CRASH_AFTER_S - 30
        init.make_desk(desk, ACCOUNT, at=at)
        market = example_market(at, crash_after_s=CRASH_AFTER_S)
        write_atomic(desk.epoch_file, encode(market.epoch))
        epoch = market.epoch
        say(f"{epoch.instruments} instruments on {' and '.join(epoch.underlyings)}, {epoch.scenarios} scenarios")
        say(f"digest {epoch.digest.hex()}")
    file = service_folder(root / "service")
    with ExitStack() as stack:
        with timed("the service starts: an HTTPS server and a prover, each in a process of its own") as say:
            config = stack.enter_context(serving(file))
            say(f"{config.public_url}, TLS 1.3")
        write_card(config, desk.root / "service.json")
        stand = Stand(desk, market, config, read_card(desk.root / "service.json"), Wanted((RULE,)))
        _ordinary_day(stand, picture)
        built = _stage(stand)
        _double_pledge(stand)
        _omitted_source(stand)
        _next_epoch(stand)
        _crash(stand)
        _audit(stand)
        with timed("what a cheat would try, each handed to the checks a venue runs"):
            refuse_all(built)
    print(f"\nThe whole story took {time.perf_counter() - begun:.0f} s; the picture is in {picture}.")


# The ordinary day


def _ordinary_day(stand: Stand, picture: Path) -> None:
    from marginseal.cli.office import admit_desk, office_of
    from marginseal.cli.source import sign_book
    from marginseal.cli.submit import submit_desk
    from marginseal.files import write_atomic

    what = "the operator registers the parties and logs the public records"
    with timed(what) as say, office_of(stand.config) as office:
        done = admit_desk(office, stand.desk)
        say(f"{len(done)} steps, each signed into the trail ({len(office.trail())} rows)")
    with timed("the owner looks at his margin, plainly") as say:
        for line in capital(stand, picture):
            say(line)
    for source in stand.market.books:
        with timed(f"{source} signs a commitment to what it holds for the fund, and publishes it") as say:
            for tile in sign_book(stand.desk, source, stand.card)["tiles"]:
                say(f"C = {tile['commitment']}")
    with timed("the fund opens what the sources sealed to it, pledges, signs, seals to the prover, and submits") as say:
        body = submit_desk(stand.desk, stand.card, stand.wanted)
        say(f"accepted after {body['accepted_s']:.2f} s, attested and logged after {body['attested_s']:.2f} s")
        say(f"{body['bytes']:,} bytes: {RULE}, initial tier, until {body['expires']}")
    for venue in VENUES:
        with timed(f"{venue} decides by its own policy, and opens its own pledge, nobody else's") as say:
            verdict = decide_by(stand, venue)
            must_accept(verdict, venue)
            write_atomic(policies(stand) / f"{venue}.first", (policies(stand) / f"{venue}.checkpoint").read_bytes())
            facts = verdict.facts
            say(f"accepted: it may count on {stand.amount(facts['counted_ticks'])}")
            say(f"sources {', '.join(facts['sources'])}, held until {utc(facts['hold_until'])}")
            say(f"entry {facts['log']['index']} of a log of {facts['log']['size']}, whose root it recomputed")


def _stage(stand: Stand) -> Stage:
    return stage(stand.desk, stand.desk.attestation(1), stand.epoch, stand.market.crash_epoch, stand.prover_key())


# The next epoch


def _next_epoch(stand: Stand) -> None:
    from marginseal.cli.submit import follow_epochs

    desk = stand.desk
    with timed("minutes later the operator publishes the next epoch; the fund's agent answers it by itself") as say:
        policy = desk.root / "epoch-policy.json"
        policy.write_bytes(epoch_policy(stand))
        later = replace(stand.market.snapshot, name="Example market, a minute later", time=stand.epoch.time + 60)
        for body in follow_epochs(
            desk,
            stand.card,
            stand.wanted,
            policy,
            desk.root / "snapshot.json",
            epochs=1,
            ready=partial(publish, stand, later),
        ):
            if not body["answered"]:
                raise MarginSealError("demo.refused", f"the agent did not answer an honest epoch: {body['code']}")
            say("checked against the fund's epoch policy: operator, parameters, prices near its own, rebuilt exactly")
            say(
                f"sequence {body['sequence']}, same positions: {body['seconds']:.2f} s from the news to the attestation"
            )
    for venue in VENUES:
        must_accept(decide_by(stand, venue), venue)


# Cheats at the service


def _double_pledge(stand: Stand) -> None:
    from marginseal.cli.prove import compose_desk
    from marginseal.cli.remote import connected
    from marginseal.records.keys import Role

    desk = stand.desk
    everything = desk.root / "double.json"
    pledges = {"format": "marginseal-pledges-1", "pledges": {"venue-b": "1000000.00"}}
    everything.write_text(json.dumps(pledges), encoding="utf-8")
    what = "a second attestation of one sequence"
    with timed("the fund tries to pledge the same surplus twice: a second attestation of sequence 1") as say:
        twin = compose_desk(desk, [RULE], "initial", pledges=everything, after=0)
        with connected(stand.card, desk.signing_key("account", Role.ACCOUNT)) as client:
            submitted = partial(client.submit, twin)
            say(f"the service: {must_fail(ServiceError, what, submitted, code='submission.sequence-taken')}")
        attestation = attested_in_league(stand, twin)
        opening = opening_of(stand, twin.pledges, twin.statement, "venue-b")
        verdict = decide_by(stand, "venue-b", change=lambda d: replace(d, attestation=attestation.data, pledge=opening))
        say("with a prover in league everything holds but one thing; venue-b asks the log:")
        say(must_refuse(verdict, what))
        if any(not code.startswith("log.") for code, _ in verdict.reasons):
            raise MarginSealError("demo.reason", f"{what}: refused for another reason than the log's")


def _omitted_source(stand: Stand) -> None:
    from marginseal.cli.prove import compose_desk, open_books
    from marginseal.cli.submit import send

    with timed("the fund tries to leave out the venue where it is short options") as say:
        books = [b for b in open_books(stand.desk) if b.statement.terms.source != "venue-a"]
        less = compose_desk(stand.desk, [RULE], "initial", books=books)
        submitted = partial(send, stand.desk, stand.card, less)
        refused = must_fail(PolicyError, "a portfolio without venue-a", submitted, code="accept.left-out")
        say(f"the prover: {refused}")


# The crash


def _crash(stand: Stand) -> None:
    from marginseal.cli.source import sign_book
    from marginseal.cli.submit import submit_desk
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode
    from marginseal.market.portfolio import holdings_csv

    desk, market = stand.desk, stand.market
    before = desk.last_sequence()
    with timed(
        "crash day: prices fall by a sixth, volatility doubles; the sources settle and sign the next cut"
    ) as say:
        crash = publish(stand, market.crash)
        write_atomic(desk.epoch_file, encode(crash))
        for source, book in market.crash_books.items():
            path = desk.root / "holdings" / f"crash-{source}.csv"
            write_atomic(path, holdings_csv(book, market.universe), private=True)
            sign_book(desk, source, stand.card, path, sequence=2)
        say(f"BTC {market.snapshot.index['BTC'].price:,.0f} -> {market.crash.index['BTC'].price:,.0f}")
    for tier in ("initial", "maintenance"):
        with timed(f"the fund submits at the {tier} tier") as say:
            submitted = partial(submit_desk, desk, stand.card, replace(stand.wanted, tier=tier))
            refused = must_fail(Unsatisfied, "a fund below its margin", submitted, code="rule.unsatisfied")
            say(f"{refused}")
            say(f"the owner alone reads, sealed to him: short by {stand.amount(refused.shortfall)} after its pledges,")
            say(f"and by {stand.amount(short_of(stand, crash, tier))} before any")
    with timed("the venues wait for a fresh attestation until the last expires (their clock is set forward)") as say:
        for venue in VENUES:
            for line in _margin_call(stand, venue, before):
                say(f"{venue}: {line}")


def _margin_call(stand: Stand, venue: str, sequence: int) -> list[str]:
    """What a watching venue sees: the last attestation, its end drawing near, and the end."""
    from marginseal.cli.venue import read_policy, watch_account

    expiry = stand.desk.attestation(sequence).statement.expiry
    policy = read_policy(policies(stand) / f"{venue}.json")
    moments = iter((time.time(), expiry - 300.0, float(expiry)))
    now = [next(moments)]
    seen = []
    for event in watch_account(
        stand.card, policy, ACCOUNT, lambda: opened(stand, venue), warn_s=600, clock=lambda: now[0], wait_s=0.0
    ):
        seen.append(f"{event['event']}: {event['message']}")
        if event["event"] == "margin-call":
            break
        now[0] = next(moments)
    if [line.split(":")[0] for line in seen] != ["accepted", "expiring", "margin-call"]:
        raise MarginSealError("demo.margin-call", f"{venue} did not see the margin call")
    must_refuse(decide_by(stand, venue, now=expiry), "an expired attestation")
    return seen


# The auditor


def _audit(stand: Stand) -> None:
    """Every entry of the log again, by one who holds nothing secret."""
    from marginseal.cli.download import download_bundle
    from marginseal.cli.remote import connected, mirrored
    from marginseal.cli.venue import read_policy
    from marginseal.log.bundle import Bundle
    from verifier.replay.run import replay

    kept = policies(stand)
    trust, place = read_policy(kept / "venue-a.json").trust, stand.desk.root / "audit" / "log"
    with timed("the auditor copies the whole log over HTTPS, with all that it names") as say:
        seen = [(kept / f"{venue}.first").read_bytes() for venue in VENUES]
        with connected(stand.card) as client, mirrored(client, trust.log) as visit:
            found = download_bundle(visit.mirror, place, seen=seen)
        say(f"{found.entries} entries, {found.objects} objects, and the checkpoint that the venues first saw")
    with timed("and replays it offline: tree, chains, epochs, signatures, sources, proofs") as say:
        report = replay(Bundle(place), trust, workers=1)
        for finding in report.findings:
            say(f"entry {finding.index}: {finding.message} [{finding.code}]")
        say(f"{report.attestations} attestations hold again, {report.rebuilt} epochs rebuilt byte for byte")
        if not report.sound or report.attestations != stand.desk.last_sequence():
            raise MarginSealError("demo.log", "the log does not replay cleanly")
        changed = forged(place, stand.desk.root / "audit" / "forged")
        if replay(Bundle(changed), trust, workers=1).sound:
            raise MarginSealError("demo.accepted", "accepted, and must not be: a log with one byte changed")
        say("the same log with one byte of one entry changed is found out")
