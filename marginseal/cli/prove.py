"""`marginseal prove`: open the sources' statements, compose and sign the statement, prove, release the attestation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk, DeskRecords, read_pledges, tier_named
from marginseal.cli.output import AsJson, emit, progress, utc
from marginseal.errors import InputError, PolicyError

if TYPE_CHECKING:
    from marginseal.market.epoch import RiskEpoch
    from marginseal.records.attestation import Attestation
    from marginseal.records.envelope import Envelope
    from marginseal.records.keys import SigningKey
    from marginseal.records.pledges import PledgeSchedule
    from marginseal.records.registry import VenueRegistry
    from marginseal.records.statement import Statement
    from marginseal.records.submission import Submission
    from prover.compose import OpenedBook

ReleaseFiles = Annotated[
    list[Path] | None, typer.Option("--release", help="A venue's signed release of its pledge, once or several times.")
]


def prove(
    rule: Annotated[list[str] | None, typer.Option(help="Rule, once or several times; default worst_case.")] = None,
    tier: Annotated[str, typer.Option(help="initial or maintenance.")] = "initial",
    inputs: Annotated[
        list[int] | None,
        typer.Option("--input", help="Public inputs of a disclosure, ticks, in its order (`rule show`)."),
    ] = None,
    hours: Annotated[
        int | None, typer.Option(min=1, help="Life from the cut; never longer than the sources' statements.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=2, help="Threads of the prover.")] = 2,
    pledges: Annotated[Path | None, typer.Option(help="Pledges; default pledges.json of the desk.")] = None,
    release: ReleaseFiles = None,
    desk: Annotated[Path, typer.Option(help="The desk's folder.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """An attestation of the account's margin health, verified before it is written."""
    at = Desk(desk)
    with progress("proving", quiet=as_json) as step:
        attestation = attest_desk(
            at, rule or ["worst_case"], tier, tuple(inputs or ()), hours=hours, workers=workers, pledges=pledges,
            releases=read_releases(release or []), observe=step,
        )  # fmt: skip
    statement = attestation.statement
    body = {
        "file": str(at.attestation_file(statement.sequence)),
        "digest": attestation.digest.hex(),
        "statement": statement.digest.hex(),
        "account": statement.account,
        "sequence": statement.sequence,
        "tier": tier,
        "rules": [r.name for r in attestation.body.rules],
        "expires": utc(statement.expiry),
        "continuity": statement.continuity.name.lower(),
        "released_rows": [r.row for r in statement.releases],
        "bytes": len(attestation.data),
        "proof_bytes": [len(p) for p in attestation.proofs],
    }

    def tell(b: dict[str, Any]) -> None:
        rules = ", ".join(b["rules"])
        print(
            f"proven: account {b['account']}, sequence {b['sequence']}: {rules}, {tier} tier, good until {b['expires']}"
        )
        print(f"{b['bytes']} bytes, of which proofs {sum(b['proof_bytes'])} -> {b['file']}")

    emit(body, as_json, tell)


def attest_desk(
    desk: Desk,
    rules: list[str],
    tier: str,
    inputs: tuple[int, ...] = (),
    *,
    hours: int | None = None,
    workers: int = 1,
    pledges: Path | None = None,
    releases: Sequence[Envelope] = (),
    observe: Callable[[str], None] = lambda step: None,
) -> Attestation:
    """The next attestation of the desk's account, written with its schedule."""
    from marginseal.files import write_atomic
    from marginseal.records.keys import Role
    from prover.attest import Attestor, Circuits
    from prover.prove import Secrets
    from verifier.verify import Setting

    observe("opening the statements")
    submission = compose_desk(
        desk, rules, tier, inputs, hours=hours, workers=workers, pledges=pledges, releases=releases
    )
    prover = desk.signing_key("prover", Role.PROVER)
    attestor = Attestor(prover, Secrets(prover.seed), Setting.default(), Circuits(), workers)
    attestation = attestor.attest(submission, DeskRecords(desk), observe=observe)
    sequence = attestation.statement.sequence
    write_atomic(desk.schedule_file(sequence), submission.pledges.encode(), private=True)
    for one in submission.releases:  # logging the attestation needs them
        desk.keep_release("pledges", one)
    write_atomic(desk.attestation_file(sequence), attestation.data)
    return attestation


def compose_desk(
    desk: Desk,
    rules: list[str],
    tier: str,
    inputs: tuple[int, ...] = (),
    *,
    hours: int | None = None,
    workers: int = 1,
    pledges: Path | None = None,
    epoch: RiskEpoch | None = None,
    books: list[OpenedBook] | None = None,
    owner: SigningKey | None = None,
    after: int | None = None,
    releases: Sequence[Envelope] = (),
) -> Submission:
    """The next submission of the desk's account: books opened, pledges drawn, statement signed.

    epoch, books, owner: for who composes again and again, in place of the desk's files.  after: the sequence it
    follows; default the desk's last.  releases: of pledges that stood in that one; used where an amount changes."""
    from circuits.model import rows_for
    from circuits.rules.registry import rule_named
    from marginseal.algebra.commit import commitment_key
    from marginseal.records.attestation import RuleRef
    from marginseal.records.keys import Role
    from marginseal.records.statement import Kind
    from prover.compose import ClaimRequest, Predecessor, Registries, compose

    chosen = tier_named(tier)
    epoch, (venues, venues_digest) = epoch or desk.epoch(), desk.venues()
    _, sources_digest = desk.sources()
    key = commitment_key(rows_for(epoch.instruments), workers=workers)
    books = books or open_books(desk)
    manifest, manifest_digest = desk.manifest(books[0].statement.terms.cut_time)
    owner = owner or desk.signing_key("account", Role.ACCOUNT)
    last = desk.last_sequence() if after is None else after
    previous = None
    if last:
        before = desk.attestation(last).statement
        previous = Predecessor(before, desk.schedule(last), one_a_row(releases, before, venues))
    elif releases:
        raise PolicyError("release.statement", "there is no attestation yet from which a pledge could be released")
    schedule = _schedule(desk, pledges, venues, epoch.tick, manifest.account, last + 1, key, owner.seed, previous)
    life = min(b.statement.terms.expiry for b in books)
    cut_time = books[0].statement.terms.cut_time
    kinds = {rule_named(name).kind for name in rules}
    if Kind.ATTESTATION not in kinds:
        raise InputError("prove.rules", "a disclosure accompanies an attestation: name an attestation rule too")
    if inputs and kinds == {Kind.ATTESTATION}:
        raise InputError("prove.inputs", f"--input belongs to a disclosure; {', '.join(rules)} takes none")
    claims = [
        ClaimRequest(RuleRef(name), chosen, () if rule_named(name).kind == Kind.ATTESTATION else inputs)
        for name in rules
    ]
    return compose(
        epoch,
        books,
        schedule,
        claims,
        account=manifest.account,
        key=owner,
        registries=Registries(manifest_digest, sources_digest, venues_digest, len(venues.venues)),
        expiry=life if hours is None else min(life, cut_time + hours * 3600),
        response_key=desk.sealing_key().public,
        commitment=key,
        previous=previous,
    )


def read_releases(paths: Sequence[Path]) -> list[Envelope]:
    """InputError file.*; DecodeError."""
    from marginseal.files import read_bytes
    from marginseal.records.envelope import Envelope

    return [Envelope.decode(read_bytes(path, limit=2**14, what="pledge release")) for path in paths]


def one_a_row(releases: Sequence[Envelope], before: Statement, venues: VenueRegistry) -> tuple[Envelope, ...]:
    """The releases of pledges of `before`, each checked; of two for one row the first: either frees the whole of it.

    Errors as `continuity.open_release`."""
    from marginseal.records.continuity import open_release

    rows: dict[int, Envelope] = {}
    for envelope in releases:
        rows.setdefault(open_release(envelope, before, venues).row, envelope)
    return tuple(rows.values())


def open_books(desk: Desk) -> list[OpenedBook]:
    """The published statements of the books in the manifest, verified and opened before the institution uses them.

    The manifest is that in force at the newest cut among them; a book that has left it is passed over."""
    from circuits.model import rows_for
    from marginseal.algebra.commit import commitment_key
    from marginseal.records.envelope import peek
    from marginseal.records.source import SourceStatement, open_statement
    from marginseal.records.tiles import tiles_of
    from prover.compose import OpenedBook

    universe, (registry, _), sealing = desk.universe(), desk.sources(), desk.sealing_key()
    n = rows_for(len(universe))
    tiles = tiles_of(universe, n)
    found = [(published, peek(SourceStatement, published.message)) for published in desk.statements()]
    books = desk.manifest(max(claimed.terms.cut_time for _, claimed in found))[0].books
    out = []
    for published, claimed in found:
        if (claimed.terms.source, claimed.terms.book) not in books:
            continue
        if claimed.tile >= len(tiles):
            raise PolicyError("prove.tile", f"{claimed.terms.source}: a statement about a tile the universe has not")
        statement, opening = open_statement(
            published,
            tiles[claimed.tile],
            source_key=registry.source(claimed.terms.source).key,
            sealing_key=sealing,
            commitment=commitment_key(n),
        )
        out.append(OpenedBook(published.message, statement, opening))
    return out


def _schedule(
    desk: Desk,
    path: Path | None,
    venues: Any,
    tick: str,
    account: str,
    sequence: int,
    key: Any,
    secret: bytes,
    previous: Any,
) -> PledgeSchedule:
    """A fresh schedule, or the predecessor's very one where no amount changes: then continuity is 'same'."""
    from marginseal.records.pledges import draw_schedule

    amounts = read_pledges(path or desk.root / "pledges.json", venues, tick)
    schedule = draw_schedule(amounts, venues, key.n, account=account, sequence=sequence, secret=secret)
    if previous is not None and (previous.schedule.opening.q == schedule.opening.q).all():
        unchanged: PledgeSchedule = previous.schedule
        return unchanged
    return schedule
