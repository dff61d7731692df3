"""`marginseal decide`: a venue's verdict on the account's newest attestation, out of a desk and its log, by policy.

Exit status 0: accepted.  8: refused, with every reason.  The checkpoint that an acceptance used is remembered, and the
next one has to extend it.  For a log at a service: `marginseal venue decide`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.log import At, moment, open_log, policy_file
from marginseal.cli.output import AsJson, emit, money, progress, utc
from marginseal.errors import InputError, PolicyError


def decide(
    venue: Annotated[str, typer.Argument(help="Id of the venue that decides.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file; default policies/<venue>.json.")] = None,
    pledge: Annotated[Path | None, typer.Option(help="The opening; default opened/<venue>.json if there.")] = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder, with its log.")] = Path("."),
    at: At = None,
    as_json: AsJson = False,
) -> None:
    """Accept with facts, or refuse with every reason."""
    found = Desk(desk)
    with progress("deciding", quiet=as_json):
        body = verdict(found, venue, policy or policy_file(found, venue), pledge, moment(at))
    emit(body, as_json, _tell)
    if not body["accepted"]:
        raise typer.Exit(PolicyError.exit_status)


def verdict(desk: Desk, venue: str, policy_path: Path, pledge: Path | None, now: int) -> dict[str, Any]:
    """The verdict's document.  InputError policy.*, log.none, log.no-account; PolicyError decide.venue."""
    from marginseal.files import read_bytes
    from marginseal.log.memory import CheckpointMemory
    from marginseal.records.account import open_account
    from marginseal.records.attestation import Attestation
    from verifier.decision.accepted import Accepted, AcceptedMemory
    from verifier.decision.decide import decide as judge
    from verifier.decision.gather import gather, newest_of
    from verifier.log_index import LogRecords
    from verifier.policy import parse_policy

    if policy_path == policy_file(desk, venue) and not policy_path.exists():
        raise InputError("file.missing", f"there is no {policy_path} yet: `marginseal log policy {venue}` writes one")
    policy = parse_policy(read_bytes(policy_path, limit=2**22, what="policy"))
    if policy.venue != venue:
        raise PolicyError("decide.venue", f"the policy is that of {policy.venue}")
    path = pledge or desk.root / "opened" / f"{venue}.json"
    opening = read_bytes(path, limit=4096, what="pledge opening") if pledge or path.exists() else None
    account = open_account(desk.envelope("account/account.json")).account
    memory = CheckpointMemory(desk.root / "log" / f"seen.{venue}", policy.trust.log)
    seen = memory.last()
    log = open_log(desk)
    remembered = AcceptedMemory(memory.path.with_name(f"accepted.{venue}"))
    accepted = remembered.last(account)
    note, head = newest_of(log, account, now=now, max_age_s=policy.log_max_age_s)
    dossier = gather(
        LogRecords(log), account, note, head, chain_limit=policy.chain_limit, accepted=accepted, pledge=opening,
        seen=None if seen is None else seen.checkpoint,
    )  # fmt: skip
    found = judge(dossier, policy, now=now, seen=seen, accepted=accepted)
    if found.accepted:
        memory.advance(policy.trust.log.verify(note), dossier.consistency)
        remembered.store(account, Accepted.of(Attestation.decode(dossier.attestation).statement))
    return found.document()


def _tell(body: dict[str, Any]) -> None:
    facts = body["facts"]
    if not body["accepted"]:
        print(f"refused: {facts.get('account', '?')}, sequence {facts.get('sequence', '?')}")
        for reason in body["reasons"]:
            print(f"  {reason['message']} [{reason['code']}]")
        return
    print(f"accepted: {facts['account']}, sequence {facts['sequence']}, until {utc(facts['expires'])}")
    if "pledge_ticks" in facts:
        print(f"pledged: {money(facts['pledge_ticks'], facts['tick'], facts['currency'])}")
        if facts["counted_ticks"] != facts["pledge_ticks"]:
            print(f"counted: {money(facts['counted_ticks'], facts['tick'], facts['currency'])}")
    print("no hold: a snapshot only" if facts["snapshot_only"] else f"held until {utc(facts['hold_until'])}")
    print(f"log: {facts['log']['size']} entries, root {facts['log']['root']}")
