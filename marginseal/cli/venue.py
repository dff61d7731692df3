"""`marginseal venue decide|watch`: a venue at a service: the account's newest attestation, decided by its own policy.

Everything public comes out of a mirror of the log whose root was recomputed (`marginseal.log.mirror`), so the service
can leave nothing out; the opening of the venue's own pledge comes from the account, as a file.  `watch` decides an
attestation as soon as it is logged, and raises the alarm when one comes close to its expiry, or past it, without a
successor: that is a margin call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli import release
from marginseal.cli.desk import Desk
from marginseal.cli.output import AsJson, emit, money, utc
from marginseal.cli.remote import (
    CARD,
    CaFile,
    Card,
    CardFile,
    MirrorFile,
    Url,
    Visit,
    connected,
    mirrored,
    service_of,
)
from marginseal.errors import MarginSealError, PolicyError, ServiceError

if TYPE_CHECKING:
    from marginseal.log.checkpoint import Checkpoint
    from verifier.decision.accepted import Accepted, AcceptedMemory
    from verifier.decision.dossier import Dossier
    from verifier.decision.verdict import Verdict
    from verifier.policy import Policy

app = typer.Typer(help="What a venue does with attestations at a service.", no_args_is_help=True)
app.command("release")(release.release)

PolicyFile = Annotated[Path, typer.Option("--policy", help="The venue's policy (docs/formats.md).")]
Account = Annotated[str, typer.Option("--account", help="Id of the account.")]
Memory = Annotated[
    Path | None,
    typer.Option(help="File that remembers the newest checkpoint of the log; what was accepted goes beside it."),
]
Opening = Annotated[Path | None, typer.Option("--pledge", help="The opening that the account handed over.")]
Openings = Annotated[
    Path | None, typer.Option("--pledge", help="Where the account puts its newest opening; it may come later.")
]
STATUS_REFUSED = PolicyError.exit_status


@app.command()
def decide(
    policy: PolicyFile,
    account: Account,
    pledge: Opening = None,
    memory: Memory = None,
    mirror: MirrorFile = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    as_json: AsJson = False,
) -> None:
    """Accept with facts, or refuse with every reason (exit status 8)."""
    from marginseal.files import read_bytes

    rules = read_policy(policy)
    shown = None if pledge is None else read_bytes(pledge, limit=4096, what="pledge opening")
    service = service_of(Path(), url, ca, card)
    with connected(service) as client, mirrored(client, rules.trust.log, mirror) as visit:
        verdict = decide_account(visit, rules, account, shown, memory=memory)
    emit(verdict.document(), as_json, _tell)
    if not verdict.accepted:
        raise typer.Exit(STATUS_REFUSED)


@app.command()
def watch(
    policy: PolicyFile,
    account: Account,
    pledge: Openings = None,
    memory: Memory = None,
    mirror: MirrorFile = None,
    warn: Annotated[int, typer.Option(min=0, help="Seconds before expiry at which to warn.")] = 600,
    seconds: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long, one look at least; default never.")
    ] = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    as_json: AsJson = False,
) -> None:
    """Decide every attestation as it is logged; raise the alarm at expiry without a successor."""
    import json

    rules = read_policy(policy)
    service = service_of(Path(), url, ca, card)
    for event in watch_account(
        service, rules, account, lambda: _opening(pledge), memory=memory, mirror=mirror, warn_s=warn,
        wait_s=10.0 if seconds is None else min(10.0, seconds), stop=_over(seconds),
    ):  # fmt: skip
        if as_json:
            print(json.dumps(event), flush=True)
        else:
            print(f"{utc(event['time'])}  {event['event']}: {event['message']}", flush=True)


def _over(seconds: float | None) -> Callable[[], bool]:
    """Whether so long has passed since it was asked first: however slow the start, there is one round."""
    end: float | None = None

    def over() -> bool:
        nonlocal end
        if end is None and seconds is not None:
            end = time.monotonic() + seconds
            return False
        return end is not None and time.monotonic() >= end

    return over


def read_policy(path: Path) -> Policy:
    """InputError file.*, policy.*."""
    from marginseal.files import read_bytes
    from verifier.policy import parse_policy

    return parse_policy(read_bytes(path, limit=2**22, what="policy"))


def _opening(path: Path | None) -> bytes | None:
    """The newest opening handed over; none before the account has handed one over."""
    from marginseal.files import read_bytes

    return None if path is None or not path.exists() else read_bytes(path, limit=4096, what="opening")


# Decide


def decide_account(
    visit: Visit,
    policy: Policy,
    account: str,
    pledge: bytes | None = None,
    *,
    now: int | None = None,
    memory: Path | None = None,
) -> Verdict:
    """The verdict on the account's newest attestation.  What was seen of the log is remembered in `memory`, what was
    accepted in a file beside it.

    ServiceError service.no-attestation when the log has none of the account; ProofRejected log.*"""
    from marginseal.log.memory import CheckpointMemory
    from marginseal.records.attestation import Attestation
    from verifier.decision.accepted import Accepted
    from verifier.decision.decide import decide as judge

    seen, remembered, accepted = None, None, None
    if memory is not None:
        visit.mirror.memory = memory
        seen = CheckpointMemory(memory, policy.trust.log).last()
        remembered = _accepted_beside(memory)
        accepted = remembered.last(account)
    before = None if seen is None else seen.checkpoint
    dossier = gather_newest(visit, policy, account, pledge, accepted=accepted, seen=before)
    found = judge(dossier, policy, now=int(time.time()) if now is None else now, seen=seen, accepted=accepted)
    if found.accepted and remembered is not None:
        remembered.store(account, Accepted.of(Attestation.decode(dossier.attestation).statement))
    return found


def _accepted_beside(memory: Path) -> AcceptedMemory:
    from verifier.decision.accepted import AcceptedMemory

    return AcceptedMemory(memory.with_name(memory.name + ".accepted"))


def gather_newest(
    visit: Visit,
    policy: Policy,
    account: str,
    pledge: bytes | None = None,
    *,
    accepted: Accepted | None = None,
    seen: Checkpoint | None = None,
) -> Dossier:
    """All that a decision rests on, out of the mirror: nothing is left to the service's choice but its newest head."""
    from marginseal.log.receipt import Receipt
    from verifier.decision.gather import gather

    newest = visit.client.latest(account)
    if newest is None or newest.head is None:
        raise ServiceError("service.no-attestation", f"the log holds no attestation of {account}")
    visit.mirror.sync()
    return gather(
        visit.reading, account, Receipt.decode(newest.receipt).note, newest.head,
        chain_limit=policy.chain_limit, accepted=accepted, pledge=pledge, seen=seen,
    )  # fmt: skip


# Watch


def watch_account(
    card: Card,
    policy: Policy,
    account: str,
    pledge: Callable[[], bytes | None],
    *,
    memory: Path | None = None,
    mirror: Path | None = None,
    warn_s: int = 600,
    stop: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.time,
    wait_s: float = 10.0,
) -> Iterator[dict[str, Any]]:
    """Events of an account until `stop()`: accepted, refused, expiring, margin-call, fault, each with time and message.

    After each expiry the alarm is raised once; a fresh attestation that is accepted ends it.  A fault (the service is
    silent, the log does not hold) is told once and ends nothing.  With `memory` a watch that was ended goes on with the
    expiry of what was accepted last."""
    fault: str | None = None
    with connected(card, patience_s=5.0) as client, mirrored(client, policy.trust.log, mirror, memory) as visit:
        accepted = None if memory is None else _accepted_beside(memory).last(account)
        sequence, expiry, warned, called = 0, 0 if accepted is None else accepted.expires, False, False

        def event(kind: str, message: str, **more: Any) -> dict[str, Any]:
            return {
                "event": kind,
                "time": int(clock()),
                "account": account,
                "sequence": sequence,
                "message": message,
            } | more

        while not stop():
            left = expiry - clock()
            patience = wait_s if not expiry or called else max(0.0, min(wait_s, left if warned else left - warn_s))
            try:
                newest = client.latest(account, after=sequence, wait_s=round(patience, 2))
                if newest is not None and newest.sequence > sequence:
                    verdict = decide_account(visit, policy, account, pledge(), now=int(clock()), memory=memory)
                    sequence, until = int(verdict.facts["sequence"]), int(verdict.facts["expires"])
                    if verdict.accepted:
                        expiry, warned, called = until, False, False
                    else:  # which puts no alarm off, and ends none
                        expiry = min(expiry or until, until)
                    yield event(
                        "accepted" if verdict.accepted else "refused", _said(verdict), verdict=verdict.document()
                    )
                fault = None
            except MarginSealError as e:
                # A service that is silent, or whose log does not hold, must not silence the alarm.
                if e.code != fault:
                    fault = e.code
                    yield event("fault", f"{e.message} [{e.code}]")
                time.sleep(min(1.0, wait_s))
            left = expiry - clock()
            if not expiry:
                continue
            if left <= 0 and not called:
                called = True
                yield event("margin-call", "no fresh attestation by expiry")
            elif 0 < left <= warn_s and not warned:
                warned = True
                yield event("expiring", f"{int(left)} s to expiry and no successor yet")


def _said(verdict: Verdict) -> str:
    if verdict.accepted:
        return f"sequence {verdict.facts['sequence']} until {utc(verdict.facts['expires'])}"
    return "; ".join(f"{message} [{code}]" for code, message in verdict.reasons)


def desk_policy(desk: Desk, card: Card, venue: str, **changes: Any) -> bytes:
    """A venue's policy file that trusts what a desk and a card name: a start for one's own.

    `changes` replace members of the document."""
    import json

    from marginseal.cli.log import policy_document

    body = policy_document(desk, venue, prover=card.prover_key, log_key=card.log_policy.log_keys[0])
    return json.dumps(body | changes, indent=2).encode() + b"\n"


@app.command("policy")
def policy_(
    venue: Annotated[str, typer.Argument(help="Id of the venue in the registry.")],
    out: Annotated[Path | None, typer.Option(help="Where it goes; default policies/<venue>.json.")] = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Write a policy that trusts what the desk and the card name: a start, to be edited."""
    from marginseal.cli.remote import read_card
    from marginseal.files import write_atomic

    at = Desk(desk)
    path = out or at.root / "policies" / f"{venue}.json"
    write_atomic(path, desk_policy(at, read_card(card or at.root / CARD), venue))
    emit({"venue": venue, "file": str(path)}, as_json, lambda b: print(f"{b['venue']} -> {b['file']}"))


def _tell(body: dict[str, Any]) -> None:
    facts = body["facts"]
    if body["accepted"]:
        print(f"accepted: {facts['account']}, sequence {facts['sequence']}, until {utc(facts['expires'])}")
        if "pledge_ticks" in facts:
            print(f"pledged: {money(facts['pledge_ticks'], facts['tick'], facts['currency'])}")
        print(f"held until {utc(facts['hold_until'])}" if facts.get("hold_until") else "no hold: a snapshot only")
        return
    print(f"refused: {facts.get('account', '?')}, sequence {facts.get('sequence', '?')}")
    for reason in body["reasons"]:
        print(f"  {reason['message']} [{reason['code']}]")
