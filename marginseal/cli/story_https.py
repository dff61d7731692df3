"""`marginseal demo`: the whole story over real HTTPS on loopback, in plain words, with timings and a picture.

Server, workers and every party are real: `marginseal serve` runs in processes of its own, parties speak to it through
the client that their verbs use, venues decide by policy files.  What must be refused and is not ends the demo with an
error.  Only clocks are helped along: the crash comes two minutes after the ordinary day, and a venue's clock is set
forward to the expiry.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marginseal.cli.desk import Desk, DeskRecords
from marginseal.cli.output import money, utc
from marginseal.cli.story import must_fail, refuse_all, stage, timed
from marginseal.errors import InputError, MarginSealError, PolicyError, ServiceError, Unsatisfied

if TYPE_CHECKING:
    from marginseal.cli.remote import Card
    from marginseal.cli.submit import Wanted
    from marginseal.cli.tampering import Stage
    from marginseal.market.epoch import RiskEpoch
    from marginseal.market.example import ExampleMarket
    from marginseal.market.snapshot import Snapshot
    from marginseal.records.attestation import Attestation
    from marginseal.records.keys import SigningKey
    from marginseal.records.pledges import PledgeSchedule
    from marginseal.records.statement import Statement
    from marginseal.records.submission import Submission
    from server.config import Config
    from verifier.decision.dossier import Dossier
    from verifier.decision.verdict import Verdict

RULE = "worst_case_limits"
ACCOUNT = "fund-1"
VENUES = ("venue-a", "venue-b")
CRASH_AFTER_S = 120


@dataclass(frozen=True)
class Stand:
    """Where everything is while the service runs."""

    desk: Desk
    market: ExampleMarket
    config: Config
    card: Card
    wanted: Wanted

    @property
    def epoch(self) -> RiskEpoch:
        return self.market.epoch

    def amount(self, ticks: int) -> str:
        return money(ticks, self.epoch.tick, self.epoch.currency)

    def prover_key(self) -> SigningKey:
        """The service's own: what a prover in league with the fund would sign with."""
        from marginseal.records.keyfile import read_signing_key
        from marginseal.records.keys import Role
        from server.main import ATTESTATION_KEY, passphrase

        return read_signing_key(
            self.config.path(self.config.keys_dir) / ATTESTATION_KEY, passphrase(self.config), Role.PROVER
        )


def play(root: Path, picture: Path) -> None:
    """The whole story in a new folder.  MarginSealError demo.* if anything went as it must not."""
    from marginseal.cli import init
    from marginseal.cli.remote import read_card, write_card
    from marginseal.cli.story_service import service_folder, serving
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
        for line in _capital(stand, picture):
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
            verdict = _decide(stand, venue)
            _must_accept(verdict, venue)
            write_atomic(_policies(stand) / f"{venue}.first", (_policies(stand) / f"{venue}.checkpoint").read_bytes())
            facts = verdict.facts
            say(f"accepted: it may count on {stand.amount(facts['counted_ticks'])}")
            say(f"sources {', '.join(facts['sources'])}, held until {utc(facts['hold_until'])}")
            say(f"entry {facts['log']['index']} of a log of {facts['log']['size']}, whose root it recomputed")


def _policies(stand: Stand) -> Path:
    """Where venues keep their policies and what they saw of the log."""
    return stand.desk.root / "policies"


def _capital(stand: Stand, picture: Path) -> list[str]:
    """Margin place by place against the portfolio's, as bars in the terminal and in a picture."""
    from marginseal.cli import margin
    from marginseal.market.portfolio import merge
    from marginseal.records.statement import Tier

    epoch, books = stand.epoch, stand.market.books
    alone = {
        source: int(margin.figures(epoch, book.lots, RULE, Tier.INITIAL, 1)["cross_ticks"])
        for source, book in books.items()
    }
    whole = margin.figures(epoch, merge(books.values()).lots, RULE, Tier.INITIAL, 1)
    cross, apart = int(whole["cross_ticks"]), sum(alone.values())
    _draw(stand, alone, whole, picture)
    widest = 44 / max(apart, 1)
    rows = [
        *((f"  {source} alone", ticks) for source, ticks in alone.items()),
        ("each place on its own, together", apart),
        ("as one portfolio", cross),
    ]
    lines = [f"{name:<32} {'█' * round(ticks * widest):<44} {stand.amount(ticks):>18}" for name, ticks in rows]
    return [
        *lines,
        f"the same risk with {1 - cross / apart:.0%} less capital; {stand.amount(whole['free_ticks'])} free to pledge",
        f"picture: {picture}",
    ]


def _draw(stand: Stand, alone: Mapping[str, int], whole: Mapping[str, Any], path: Path) -> None:
    import io

    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    from marginseal.files import write_atomic

    if path.suffix != ".png":
        raise InputError("demo.picture", "the picture's name ends in .png")
    unit = float(stand.epoch.tick) * 1e-6
    figure, axes = plt.subplots(figsize=(8, 4.6), layout="constrained")
    bottom = 0.0
    for (source, ticks), colour in zip(alone.items(), ("#b9bec7", "#8fa3bf", "#6f86a8"), strict=False):
        axes.bar(["each place on its own"], [ticks * unit], bottom=bottom, color=colour, label=source)
        bottom += ticks * unit
    axes.bar(["as one portfolio"], [whole["cross_ticks"] * unit], color="#1e6f5c", label="proven cross margin")
    axes.axhline(whole["equity_ticks"] * unit, color="#b03a2e", ls="--", lw=1.2, label="what the fund has")
    axes.set_ylabel(f"initial margin, million {stand.epoch.currency}")
    axes.set_title("What the same book must set aside")
    axes.legend(frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=130)
    plt.close(figure)
    write_atomic(path, out.getvalue())


def _decide(
    stand: Stand, venue: str, *, now: int | None = None, change: Callable[[Dossier], Dossier] | None = None
) -> Verdict:
    """The venue's verdict by a policy file of its own; `change` bends the dossier first, as a cheat would."""
    from marginseal.cli.remote import connected, mirrored
    from marginseal.cli.venue import decide_account, desk_policy, gather_newest, read_policy
    from marginseal.files import write_atomic
    from verifier.decision.decide import decide

    path = _policies(stand) / f"{venue}.json"
    if not path.exists():
        write_atomic(path, desk_policy(stand.desk, stand.card, venue, minimum_pledge_ticks="100"))
    policy = read_policy(path)
    opening = _opened(stand, venue)
    with connected(stand.card) as client, mirrored(client, policy.trust.log) as visit:
        if change is None:
            return decide_account(
                visit, policy, ACCOUNT, opening, now=now, memory=_policies(stand) / f"{venue}.checkpoint"
            )
        return decide(change(gather_newest(visit, policy, ACCOUNT, opening)), policy, now=int(time.time()))


def _opened(stand: Stand, venue: str) -> bytes:
    """What the fund hands the venue: the opening of its pledge in the newest attestation."""
    last = stand.desk.last_sequence()
    return _opening(stand, stand.desk.schedule(last), stand.desk.attestation(last).statement, venue)


def _opening(stand: Stand, schedule: PledgeSchedule, statement: Statement, venue: str) -> bytes:
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.records.pledges import open_pledge

    key = commitment_key(rows_for(stand.epoch.instruments))
    return open_pledge(schedule, statement, stand.desk.venues()[0], venue, key).encode()


def _must_accept(verdict: Verdict, venue: str) -> None:
    if not verdict.accepted:
        why = "; ".join(code for code, _ in verdict.reasons)
        raise MarginSealError("demo.refused", f"{venue} refuses an honest attestation: {why}")


def _must_refuse(verdict: Verdict, what: str) -> str:
    if verdict.accepted:
        raise MarginSealError("demo.accepted", f"accepted, and must not be: {what}")
    code, message = verdict.reasons[0]
    return f"{message} [{code}]"


def _stage(stand: Stand) -> Stage:
    return stage(stand.desk, stand.desk.attestation(1), stand.epoch, stand.market.crash_epoch, stand.prover_key())


# The next epoch


def _next_epoch(stand: Stand) -> None:
    from marginseal.cli.submit import follow_epochs

    desk = stand.desk
    with timed("minutes later the operator publishes the next epoch; the fund's agent answers it by itself") as say:
        policy = desk.root / "epoch-policy.json"
        policy.write_bytes(_epoch_policy(stand))
        later = replace(stand.market.snapshot, name="Example market, a minute later", time=stand.epoch.time + 60)
        for body in follow_epochs(
            desk,
            stand.card,
            stand.wanted,
            policy,
            desk.root / "snapshot.json",
            epochs=1,
            ready=partial(_publish, stand, later),
        ):
            if not body["answered"]:
                raise MarginSealError("demo.refused", f"the agent did not answer an honest epoch: {body['code']}")
            say("checked against the fund's epoch policy: operator, parameters, prices near its own, rebuilt exactly")
            say(
                f"sequence {body['sequence']}, same positions: {body['seconds']:.2f} s from the news to the attestation"
            )
    for venue in VENUES:
        _must_accept(_decide(stand, venue), venue)


def _epoch_policy(stand: Stand) -> bytes:
    """The fund answers this operator, these very parameters, and prices within 5 % of its own."""
    epoch = stand.epoch
    return json.dumps(
        {
            "format": "marginseal-client-policy-1",
            "operators": {epoch.operator: stand.desk.operator_key().raw.hex()},
            "universes": [epoch.universe_digest.hex()],
            "rules": [{"name": RULE, "parameters": {}}],
            "parameters": [epoch.parameters_digest.hex()],
            "bounds": {name: [value, value] for name, value in epoch.parameters.items()},
            "deviation_permille": 50,
            "volatility_permille": 100,
            "max_age_s": 3600,
            "spacing_s": 0,
            "answers": 100,
            "window_s": 3600,
        }
    ).encode()


def _publish(stand: Stand, snapshot: Snapshot) -> RiskEpoch:
    """The operator builds, signs and logs the epoch of a snapshot."""
    from marginseal.cli.office import office_of
    from marginseal.market.build import build_epoch
    from marginseal.market.parameters import parameters_json
    from marginseal.market.snapshot import snapshot_json
    from marginseal.records.envelope import sign
    from marginseal.records.epoch import epoch_record
    from marginseal.records.keys import Role

    parameters = stand.market.parameters
    epoch, risk = (
        build_epoch(stand.market.universe, snapshot, parameters),
        stand.desk.signing_key("operator", Role.OPERATOR),
    )
    with office_of(stand.config) as office:
        objects = [snapshot_json(snapshot), parameters_json(parameters)]
        office.publish_epoch(epoch, sign(epoch_record(epoch), [risk]), [risk.public], objects)
    return epoch


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
        attestation = _attested_in_league(stand, twin)
        opening = _opening(stand, twin.pledges, twin.statement, "venue-b")
        verdict = _decide(stand, "venue-b", change=lambda d: replace(d, attestation=attestation.data, pledge=opening))
        say("with a prover in league everything holds but one thing; venue-b asks the log:")
        say(_must_refuse(verdict, what))
        if any(not code.startswith("log.") for code, _ in verdict.reasons):
            raise MarginSealError("demo.reason", f"{what}: refused for another reason than the log's")


def _attested_in_league(stand: Stand, submission: Submission) -> Attestation:
    """A prover with the service's own key that proves what it is given, and does not ask the log."""
    from prover.attest import Attestor, Circuits
    from prover.prove import Secrets
    from verifier.verify import Setting

    key = stand.prover_key()
    attestor = Attestor(key, Secrets(key.seed), Setting.default(), Circuits())
    return attestor.attest(submission, DeskRecords(stand.desk))


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
        crash = _publish(stand, market.crash)
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
            say(f"and by {stand.amount(_short(stand, crash, tier))} before any")
    with timed("the venues wait for a fresh attestation until the last expires (their clock is set forward)") as say:
        for venue in VENUES:
            for line in _margin_call(stand, venue, before):
                say(f"{venue}: {line}")


def _short(stand: Stand, crash: RiskEpoch, tier: str) -> int:
    """What the fund lacks on the crash day, pledges apart; ticks above zero."""
    from marginseal.cli import margin
    from marginseal.cli.desk import tier_named
    from marginseal.market.portfolio import merge

    lots = merge(stand.market.crash_books.values()).lots
    free = int(margin.figures(crash, lots, RULE, tier_named(tier), 1)["free_ticks"])
    if free >= 0:
        raise MarginSealError("demo.crash", "the fund has margin to spare on the crash day")
    return -free


def _margin_call(stand: Stand, venue: str, sequence: int) -> list[str]:
    """What a watching venue sees: the last attestation, its end drawing near, and the end."""
    from marginseal.cli.venue import read_policy, watch_account

    expiry = stand.desk.attestation(sequence).statement.expiry
    policy = read_policy(_policies(stand) / f"{venue}.json")
    moments = iter((time.time(), expiry - 300.0, float(expiry)))
    now = [next(moments)]
    seen = []
    for event in watch_account(
        stand.card, policy, ACCOUNT, lambda: _opened(stand, venue), warn_s=600, clock=lambda: now[0], wait_s=0.0
    ):
        seen.append(f"{event['event']}: {event['message']}")
        if event["event"] == "margin-call":
            break
        now[0] = next(moments)
    if [line.split(":")[0] for line in seen] != ["accepted", "expiring", "margin-call"]:
        raise MarginSealError("demo.margin-call", f"{venue} did not see the margin call")
    _must_refuse(_decide(stand, venue, now=expiry), "an expired attestation")
    return seen


# The auditor


def _audit(stand: Stand) -> None:
    """Every entry of the log again, by one who holds nothing secret."""
    from marginseal.cli.download import download_bundle
    from marginseal.cli.remote import connected, mirrored
    from marginseal.cli.venue import read_policy
    from marginseal.log.bundle import Bundle
    from verifier.replay.run import replay

    policies = _policies(stand)
    trust, place = read_policy(policies / "venue-a.json").trust, stand.desk.root / "audit" / "log"
    with timed("the auditor copies the whole log over HTTPS, with all that it names") as say:
        seen = [(policies / f"{venue}.first").read_bytes() for venue in VENUES]
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
        forged = _forged(place, stand.desk.root / "audit" / "forged")
        if replay(Bundle(forged), trust, workers=1).sound:
            raise MarginSealError("demo.accepted", "accepted, and must not be: a log with one byte changed")
        say("the same log with one byte of one entry changed is found out")


def _forged(bundle: Path, target: Path) -> Path:
    """A copy of a bundle whose last entry's last byte is another."""
    import shutil

    shutil.copytree(bundle, target)
    entries = target / "entries.bin"
    data = entries.read_bytes()
    entries.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return target
