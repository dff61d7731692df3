"""`marginseal submit`: an institution's portfolio, sealed, to a hosted prover; the attestation back.

The schedule behind a statement is written before the statement leaves the desk, under the statement's digest: whatever
happens in between, the pledges of an attestation that the log took can still be opened.  Why an unhealthy portfolio was
refused comes sealed to the desk's own key and is told on the owner's terminal alone.

`--follow` is the institution's agent.  Every epoch that the log takes is held against the client's epoch policy
(records.client_policy) and, if it is answered, resubmitted with the same positions and pledges.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.output import AsJson, emit, progress, utc
from marginseal.cli.prove import ReleaseFiles
from marginseal.cli.receive import Observer, candidate, recover, refusal, save, wait_for
from marginseal.cli.remote import CaFile, Card, CardFile, Url, Visit, connected, mirrored, service_of
from marginseal.errors import InputError, MarginSealError, PolicyError, ServiceError

if TYPE_CHECKING:
    from marginseal.market.epoch import RiskEpoch
    from marginseal.records.attestation import RuleRef
    from marginseal.records.client_policy import ClientPolicy, EpochInputs
    from marginseal.records.envelope import Envelope
    from marginseal.records.submission import Submission
    from server.client import Client
    from verifier.log_index import LogRecords


def submit(
    rule: Annotated[list[str] | None, typer.Option(help="Rule, once or several times; default worst_case.")] = None,
    tier: Annotated[str, typer.Option(help="initial or maintenance.")] = "initial",
    inputs: Annotated[
        list[int] | None,
        typer.Option("--input", help="Public inputs of a disclosure, ticks, in its order (`rule show`)."),
    ] = None,
    hours: Annotated[
        int | None, typer.Option(min=1, help="Life from the cut; never longer than the sources' statements.")
    ] = None,
    pledges: Annotated[Path | None, typer.Option(help="Pledges; default pledges.json of the desk.")] = None,
    release: ReleaseFiles = None,
    follow: Annotated[bool, typer.Option("--follow", help="Answer every new epoch that the policy allows.")] = False,
    policy: Annotated[
        Path | None, typer.Option(help="Epoch policy (docs/formats.md); default epoch-policy.json of the desk.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The client's own prices, read anew at every epoch; default snapshot.json.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="With --follow: stop after so many new epochs.")] = None,
    proved: Annotated[
        Path | None, typer.Option(help="Instead: log this attestation, which `prove` made; the book stays here.")
    ] = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Seal and submit the portfolio; wait; save attestation, receipt, head and schedule."""
    at = Desk(desk)
    service = service_of(at.root, url, ca, card)
    if proved is not None:
        from marginseal.cli.proved import post_proved

        with progress("posting", quiet=as_json) as step:
            body = post_proved(at, service, proved, release or [], observe=step)
        emit(body, as_json, _tell)
        return
    wanted = Wanted(tuple(rule or ["worst_case"]), tier, tuple(inputs or ()), hours, pledges, tuple(release or ()))
    if follow:
        if release:
            raise InputError("cli.release", "--follow goes on with the same pledges; a release is for one submission")
        for body in follow_epochs(
            at,
            service,
            wanted,
            policy or at.root / "epoch-policy.json",
            reference or at.root / "snapshot.json",
            epochs=epochs,
        ):
            emit(body, as_json, _tell_epoch, event=True)
        return
    with progress("submitting", quiet=as_json) as step:
        body = submit_desk(at, service, wanted, observe=step)
    emit(body, as_json, _tell)


@dataclass(frozen=True)
class Wanted:
    """What to ask for: rules and public inputs at a tier; hours of life; a pledges file (None: the desk's); releases of
    pledges beside those that the log holds."""

    rules: tuple[str, ...] = ("worst_case",)
    tier: str = "initial"
    inputs: tuple[int, ...] = ()
    hours: int | None = None
    pledges: Path | None = None
    releases: tuple[Path, ...] = ()


def submit_desk(desk: Desk, card: Card, wanted: Wanted, *, observe: Observer = lambda step: None) -> dict[str, Any]:
    """One submission of the desk's account, to its end.

    Unsatisfied, PolicyError and the like are what the prover refused it for; ServiceError submission.* the service."""
    from marginseal.cli.prove import compose_desk, read_releases
    from marginseal.records.keys import Role

    owner = desk.signing_key("account", Role.ACCOUNT)
    with connected(card, owner) as client:
        recover(desk, client, card)
        observe("composing")
        submission = compose_desk(
            desk, list(wanted.rules), wanted.tier, wanted.inputs, hours=wanted.hours, pledges=wanted.pledges,
            owner=owner, workers=2, releases=[*read_releases(wanted.releases), *logged_releases(desk, client)],
        )  # fmt: skip
        return _send(desk, client, card, submission, observe)


def logged_releases(desk: Desk, client: Client) -> list[Envelope]:
    """The releases of pledges of the desk's last attestation that the service has logged and that hold."""
    from marginseal.records.continuity import open_release

    last = desk.last_sequence()
    if not last:
        return []
    statement, (venues, _) = desk.attestation(last).statement, desk.venues()
    found = []
    for digest in client.records_of("pledge-releases", statement.account):
        envelope = client.signed_record("pledge-releases", digest)
        try:
            open_release(envelope, statement, venues)
        except MarginSealError:  # of an earlier statement, or under a key that is the venue's no more
            continue
        found.append(envelope)
    return found


def send(desk: Desk, card: Card, submission: Submission, *, observe: Observer = lambda step: None) -> dict[str, Any]:
    """A submission that is composed already, to its end.  Errors as `submit_desk`."""
    from marginseal.records.keys import Role

    with connected(card, desk.signing_key("account", Role.ACCOUNT)) as client:
        return _send(desk, client, card, submission, observe)


def _send(desk: Desk, client: Client, card: Card, submission: Submission, observe: Observer) -> dict[str, Any]:
    """Seal, submit, wait, open the answer, save."""
    from marginseal.files import write_atomic

    statement = submission.statement
    start = time.perf_counter()
    write_atomic(candidate(desk, statement.digest), submission.pledges.encode(), private=True)
    observe("sealing")
    submitted = client.submit(submission)
    accepted = time.perf_counter()
    status = wait_for(client, submitted.id, observe)
    answer = client.answer(status, submitted, desk.sealing_key())
    if status["state"] != "attested":
        candidate(desk, statement.digest).unlink(missing_ok=True)
        raise refusal(str(status["state"]), status.get("code"), answer)
    observe("saving")
    logged = client.latest(statement.account, after=statement.sequence - 1, wait_s=5)
    if logged is None or logged.sequence != statement.sequence:
        raise ServiceError("service.log", "the service says attested, and its log does not show it")
    save(desk, card, logged, statement.digest)
    finished = time.perf_counter()
    return {
        "submission": submitted.id,
        "account": statement.account,
        "sequence": statement.sequence,
        "statement": statement.digest.hex(),
        "tier": statement.claims[0].tier.name.lower(),
        "rules": [rule.name for rule in submission.rules],
        "expires": utc(statement.expiry),
        "continuity": statement.continuity.name.lower(),
        "released_rows": [r.row for r in statement.releases],
        "log_index": logged.log_index,
        "bytes": len(logged.attestation),
        "file": str(desk.attestation_file(statement.sequence)),
        "accepted_s": round(accepted - start, 3),
        "attested_s": round(finished - start, 3),
    }


# What is kept


# Following


def follow_epochs(
    desk: Desk,
    card: Card,
    wanted: Wanted,
    policy_file: Path,
    reference_file: Path,
    *,
    epochs: int | None = None,
    stop: Callable[[], bool] = lambda: False,
    ready: Callable[[], object] = lambda: None,
    wait_s: float = 20.0,
) -> Iterator[dict[str, Any]]:
    """What became of every epoch logged from now on: answered (with seconds from the log's news to the attestation), or
    refused and why.  Ends after `epochs` of them, or when `stop()` says so; `ready()` is called once it listens."""
    from marginseal.cli.prove import open_books
    from marginseal.records.client_policy import read_policy
    from marginseal.records.keys import Role

    policy, books = read_policy(policy_file), open_books(desk)
    owner = desk.signing_key("account", Role.ACCOUNT)
    with connected(card, owner) as client, mirrored(client, card.log_policy) as visit:
        recover(desk, client, card)
        visit.mirror.sync()
        known = client.newest_record("epochs")
        ready()
        seen = 0
        while not stop() and (epochs is None or seen < epochs):
            try:
                fresh = client.newest_record("epochs", after=known, wait_s=wait_s)
            except ServiceError:  # the client was patient already; an agent goes on
                continue
            if fresh is None:
                continue
            start, known = time.perf_counter(), fresh
            body: dict[str, Any] = {"epoch": fresh.hex(), "answered": False}
            try:
                epoch = _answerable(desk, visit, fresh, policy, wanted, reference_file)
                body |= _answer(desk, client, card, wanted, epoch, books, owner) | {"answered": True}
            except MarginSealError as e:
                body |= {"code": e.code, "message": e.message}
            yield body | {"seconds": round(time.perf_counter() - start, 3)}
            seen += 1


def _answerable(
    desk: Desk, visit: Visit, digest: bytes, policy: ClientPolicy, wanted: Wanted, reference_file: Path
) -> RiskEpoch:
    """The epoch, rebuilt from what the log holds, if the policy answers it for every rule asked; noted as answered."""
    from marginseal.market.snapshot import read_snapshot
    from marginseal.records.attestation import RuleRef
    from marginseal.records.client_policy import Answer, check_epoch, decode_history, record_answer

    visit.mirror.sync()
    envelope, inputs = epoch_inputs(desk, visit.reading, digest, policy)
    place = desk.root / "account" / "answers.json"
    history = decode_history(place.read_bytes()) if place.exists() else ()
    reference, now = read_snapshot(reference_file, inputs.universe), int(time.time())
    rules: list[RuleRef] = [RuleRef(name) for name in wanted.rules]
    for rule in rules[1:]:
        from marginseal.records.client_policy import record_faults
        from marginseal.records.envelope import peek
        from marginseal.records.epoch import EpochRecord

        for fault in record_faults(policy, peek(EpochRecord, envelope), rule, history=history, now=now):
            raise fault
    epoch = check_epoch(policy, envelope, inputs, rules[0], reference=reference, history=history, now=now)
    record_answer(place, Answer(epoch.digest, epoch.time, now))
    return epoch


def epoch_inputs(desk: Desk, reading: LogRecords, digest: bytes, policy: ClientPolicy) -> tuple[Envelope, EpochInputs]:
    """The record of an epoch, signed by an operator that the policy answers if there is one, and what it is rebuilt
    from, found in the log.

    PolicyError follow.inputs when snapshot or parameters are not among what the log holds with it."""
    from marginseal.market.parameters import parse_parameters
    from marginseal.market.snapshot import parse_snapshot
    from marginseal.records.client_policy import EpochInputs
    from marginseal.records.envelope import Envelope
    from verifier.log_epoch import epoch_objects, first_signed

    universe, index = desk.universe(), reading.index(reading.size())
    signed = first_signed(reading, index, digest, policy.operators.values())
    every = [said.position for said in index.epochs.get(digest, ())]
    if every:
        _, entry = reading.entry((every[0] if signed is None else signed[0]).index)
        found = epoch_objects(reading, entry, digest)
        if found.snapshot is not None and found.parameters is not None:
            snapshot = parse_snapshot(found.snapshot, universe)
            return Envelope.decode(entry.payload), EpochInputs(universe, snapshot, parse_parameters(found.parameters))
    raise PolicyError("follow.inputs", "the log holds no epoch of that digest with its snapshot and parameters")


def _answer(
    desk: Desk, client: Client, card: Card, wanted: Wanted, epoch: RiskEpoch, books: Any, owner: Any
) -> dict[str, Any]:
    from marginseal.cli.prove import compose_desk
    from marginseal.files import write_atomic
    from marginseal.market.epoch import encode

    recover(desk, client, card)  # what an answer that broke off left in the log
    submission = compose_desk(
        desk, list(wanted.rules), wanted.tier, wanted.inputs, hours=wanted.hours, pledges=wanted.pledges, epoch=epoch,
        books=books, owner=owner,
    )  # fmt: skip
    body = _send(desk, client, card, submission, lambda step: None)
    write_atomic(desk.epoch_file, encode(epoch))
    return body


def _tell(b: dict[str, Any]) -> None:
    rules = ", ".join(b["rules"])
    print(
        f"attested: account {b['account']}, sequence {b['sequence']}: {rules}, {b['tier']} tier, until {b['expires']}"
    )
    print(f"entry {b['log_index']} of the log, {b['bytes']} bytes, {b['attested_s']} s -> {b['file']}")


def _tell_epoch(b: dict[str, Any]) -> None:
    name = b["epoch"][:16]
    if b["answered"]:
        print(f"epoch {name}: attested as sequence {b['sequence']}, {b['seconds']} s after the news", flush=True)
    else:
        print(f"epoch {name}: not answered: {b['message']} [{b['code']}]", flush=True)
