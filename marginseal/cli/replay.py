"""`marginseal replay BUNDLE`: every attestation of a log again, offline; what fails, and why.

With `--url` the log is first copied from the service into BUNDLE, a new folder, with all that it names; with `--mirror`
the copy goes on from where the last visit ended.
Exit status 0: nothing is wrong.  7: something is; every failing entry is named.  Whom to believe comes from a policy
file (docs/formats.md), never from the bundle.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.output import AsJson, emit
from marginseal.cli.remote import MirrorFile
from marginseal.errors import InputError, ProofRejected

if TYPE_CHECKING:
    from marginseal.log.bundle import Bundle
    from verifier.policy import Trust
    from verifier.replay.run import Progress

SHOWN = 50


def replay(
    bundle: Annotated[Path, typer.Argument(help="Folder that `marginseal log export` or the service wrote.")],
    policy: Annotated[Path, typer.Option(help="Policy file: whom to believe.")],
    url: Annotated[str | None, typer.Option("--url", help="Copy the log of this service into BUNDLE first.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="Certificate authority to trust with --url.")] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="The service's card, which names both; its log is copied first.")
    ] = None,
    seen: Annotated[
        list[Path] | None,
        typer.Option(help="Signed checkpoints from earlier visits, or of others: the log has to extend them."),
    ] = None,
    mirror: MirrorFile = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default one for each core.")] = None,
    report: Annotated[Path | None, typer.Option(help="Where the JSON report goes.")] = None,
    page: Annotated[Path | None, typer.Option(help="Where the page with figures goes, HTML.")] = None,
    as_json: AsJson = False,
) -> None:
    """Replay a log from its export bundle."""
    import json

    from marginseal.cli.remote import read_card
    from marginseal.files import read_bytes, write_atomic
    from marginseal.log.note import MAX_NOTE_BYTES
    from verifier.policy import parse_policy
    from verifier.replay.run import replay as run

    trust = parse_policy(read_bytes(policy, limit=2**22, what="policy")).trust
    notes = [read_bytes(path, limit=MAX_NOTE_BYTES, what="checkpoint") for path in seen or []]
    if card is not None:
        known = read_card(card)
        url, ca = url or known.url, ca or known.ca
    if url is not None:
        _fetch(url, ca, trust, bundle, notes, mirror)
    with _moving(quiet=as_json) as step:
        found = run(_opened(bundle), trust, seen=notes, workers=workers, progress=step)
    body = found.document()
    if report is not None:
        write_atomic(report, json.dumps(body, indent=1).encode() + b"\n")
    if page is not None:
        write_atomic(page, found.html().encode())
    emit(body, as_json, _tell)
    if not found.sound:
        raise typer.Exit(ProofRejected.exit_status)


def _fetch(url: str, ca: Path | None, trust: Trust, bundle: Path, seen: list[bytes], mirror: Path | None) -> None:
    """The whole log of a service, held against the signed root that the policy's log keys vouch for."""
    from marginseal.cli.download import download_bundle
    from marginseal.cli.remote import mirrored
    from server.client import Client

    client = Client(url, ca=ca)
    try:
        with mirrored(client, trust.log, mirror) as visit:
            download_bundle(visit.mirror, bundle, seen=seen)
    finally:
        client.close()


def _opened(bundle: Path) -> Bundle:
    """InputError bundle.missing: there is none in this folder; else as `Bundle`."""
    from marginseal.log.bundle import Bundle

    if not (bundle / "bundle.json").exists():
        raise InputError(
            "bundle.missing", f"{bundle} is no bundle: `log export` writes one, --card or --url copies the log into it"
        )
    return Bundle(bundle)


@contextmanager
def _moving(*, quiet: bool) -> Iterator[Progress]:
    """A bar on standard error while the replay goes on."""
    from rich.console import Console
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda what, done, total: None
        return
    with Bar(console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done)

        yield step


def _tell(body: dict[str, Any]) -> None:
    log = body["bundle"]
    print(f"{log['origin']}: {log['entries']} entries, root {log['root']}")
    print(
        f"{body['attestations']} attestations of {body['accounts']} accounts, {body['proofs']} proofs, "
        f"{body['epochs_rebuilt']} of {len(body['epochs'])} epochs rebuilt, in {body['seconds']:.1f} s"
    )
    if body["sound"]:
        print("nothing is wrong")
        return
    findings = body["findings"]
    print(f"{len(findings) + body['findings_not_listed']} findings:")
    for f in findings[:SHOWN]:
        where = "log" if f["index"] is None else f"entry {f['index']}"
        whose = "" if f["account"] is None else f" ({f['account']} {f['sequence'] or ''})".replace(" )", ")")
        print(f"  {where}{whose}: {f['message']} [{f['code']}]")
    if len(findings) > SHOWN:
        print("  ... and in all:")
        for code, count in body["findings_by_code"].items():
            print(f"  {count:>8} [{code}]")
