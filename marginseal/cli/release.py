"""`marginseal venue release`: a venue lets the pledge fall that stood in one named statement, whole.

It signs under its own key, with its row out of the signed registry and never from the account, and a nonce that it
remembers before it signs (records.release_memory).  With a service the statement has to be the account's newest in the
log and the release is published there, where the account finds it; without one the file is for the account to take
(`prove --release`).  Signing again for the same statement makes the same bytes.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk
from marginseal.cli.output import AsJson, emit
from marginseal.cli.remote import CaFile, Card, CardFile, Url, connected, service_if_named
from marginseal.errors import InputError, PolicyError, ServiceError

if TYPE_CHECKING:
    from marginseal.records.registry import VenueRegistry
    from marginseal.records.statement import Statement
    from server.client import Client

MAX_HEAD_AGE_S = 600


def release(
    venue: Annotated[str, typer.Argument(help="Id of the venue in the registry.")],
    account: Annotated[str, typer.Option(help="Whose pledge.")],
    statement: Annotated[str, typer.Option(help="Digest of the statement it stood in (`venue decide --json`).")],
    out: Annotated[
        Path | None, typer.Option(help="Where the release goes as well as releases/pledges/<digest>.json.")
    ] = None,
    url: Url = None,
    ca: CaFile = None,
    card: CardFile = None,
    desk: Annotated[Path, typer.Option(help="The venue's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Release, whole, what was pledged to the venue in one statement, and publish that at the service."""
    at = Desk(desk)
    service = service_if_named(at.root, url, ca, card)
    body = release_pledge(at, venue, account, statement, service, out=out)

    def tell(b: dict[str, Any]) -> None:
        print(f"{venue}: released the whole pledge of {account} in attestation {b['sequence']} -> {b['file']}")
        print("published" if b["published"] else "no service is named: hand the file to the account")

    emit(body, as_json, tell)


def release_pledge(
    desk: Desk, venue: str, account: str, statement: str, service: Card | None = None, *, out: Path | None = None
) -> dict[str, Any]:
    """The signed release, kept and, at a service, published.

    InputError release.digest; PolicyError release.statement (not the account's newest), release.key (the registry has
    another key for the venue), release.row, registry.*; errors of the log's client, ServiceError release.*."""
    from marginseal.files import write_atomic
    from marginseal.records.document import parse_hex
    from marginseal.records.envelope import sign
    from marginseal.records.keys import Role
    from marginseal.records.release_memory import ReleaseMemory

    digest = parse_hex(statement, 32)
    if digest is None:
        raise InputError("release.digest", "a statement is named by its digest, 64 lower-case hexadecimal digits")
    key = desk.signing_key(f"venue-{venue}", Role.VENUE)
    if service is None:
        found, registry = _on_desk(desk, account, digest)
    else:
        with connected(service) as client:
            found, registry = _in_log(desk, service, client, account, digest)
    row = registry.row(venue)
    if registry.venue(row).key != key.public:
        raise PolicyError("release.key", f"the registry has another key for {venue}: this release would be refused")
    memory = ReleaseMemory(desk.root / "releases" / f"memory.{venue}.json", venue)
    record = memory.give(account, digest, row, now=int(time.time()))
    envelope = sign(record, [key])
    file = desk.keep_release("pledges", envelope)
    if out is not None:
        write_atomic(out, envelope.encode())
    if service is not None:
        with connected(service, key) as client:
            client.publish_pledge_release(envelope)
    return {
        "venue": venue,
        "account": account,
        "sequence": found.sequence,
        "statement": statement,
        "row": row,
        "nonce": record.nonce,
        "digest": envelope.digest.hex(),
        "file": str(out or file),
        "published": service is not None,
    }


def _on_desk(desk: Desk, account: str, digest: bytes) -> tuple[Statement, VenueRegistry]:
    """The statement, which must be that of the desk's newest attestation, and the desk's registry."""
    last = desk.last_sequence()
    if last:
        attestation = desk.attestation(last)
        attestation.verify_signatures([desk.prover_key()])
        statement = attestation.statement
        if (statement.account, statement.digest) == (account, digest):
            return statement, desk.venues()[0]
    raise PolicyError("release.statement", "the statement is not that of the account's newest attestation here")


def _in_log(desk: Desk, card: Card, client: Client, account: str, digest: bytes) -> tuple[Statement, VenueRegistry]:
    """The statement, the account's newest by the log's own signed word, and the newest registry that extends its."""
    from marginseal.log.client import verify_newest
    from marginseal.records.attestation import Attestation

    logged = client.latest(account)
    if logged is None or logged.head is None:
        raise ServiceError("service.no-attestation", f"the log holds no attestation of {account}")
    if logged.statement_digest != digest:
        raise PolicyError("release.statement", "the statement is not that of the account's newest attestation")
    verify_newest(
        logged.receipt, logged.head, logged.attestation, card.log_policy, account=account, sequence=logged.sequence,
        statement_digest=digest, now=int(time.time()), max_age_s=MAX_HEAD_AGE_S,
    )  # fmt: skip
    statement = Attestation.decode(logged.attestation).statement
    if statement.digest != digest:
        raise PolicyError("release.statement", "the log's entry is not an attestation of that statement")
    newest = client.newest_record("venue-registries")
    older = _registry(desk, client, statement.venue_registry)
    registry = older if newest is None else _registry(desk, client, newest)
    if not registry.extends(older):
        raise PolicyError("registry.rows", "a venue of the statement's registry lost its row")
    return statement, registry


def _registry(desk: Desk, client: Client, digest: bytes) -> VenueRegistry:
    """A venue registry of the service, signed by the operator whom the venue has pinned."""
    from marginseal.records.envelope import open_signed
    from marginseal.records.registry import VenueRegistry

    return open_signed(VenueRegistry, client.signed_record("venue-registries", digest), [desk.operator_key()])
