"""`marginseal verify`: what a venue's machine does with an attestation: compile for itself, verify, say what was shown.

It answers whether the mathematics and the signatures hold.  Whether to rely on it (policy, age, log) is `decide`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from marginseal.cli.desk import Desk, read_attestation, source_evidence
from marginseal.cli.output import AsJson, emit, progress, table, utc
from marginseal.errors import InputError, MarginSealError, ProofRejected

if TYPE_CHECKING:
    from verifier.batch import Item
    from verifier.verify import Setting

NOT_CHECKED = (
    "that it is the account's newest attestation in the log",
    "its age against the clock",
    "that its pledges follow its predecessor's",
    "that the epoch is its operator's and not superseded",
    "that rules, parameters and tiers are ones you accept",
    "that the account key is the account's, beyond what its manifest says",
)


def verify(
    attestations: Annotated[list[Path], typer.Argument(help="Attestation files; several are verified in one batch.")],
    epoch: Annotated[Path | None, typer.Option(help="Epoch file; default the desk's.")] = None,
    backend: Annotated[
        str, typer.Option(help="arkworks, or reference for an independent second opinion.")
    ] = "arkworks",
    desk: Annotated[Path, typer.Option(help="The desk's folder: registries, manifest, statements.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Verify proofs, signatures and sources of attestations; of several, name the bad ones."""
    at, setting = Desk(desk), _setting(backend)
    if len(attestations) == 1:
        with progress("verifying", quiet=as_json):
            body = facts(at, attestations[0], epoch, setting)
        emit(body, as_json, _tell)
        return
    with progress("verifying", quiet=as_json):
        found = batch(at, attestations, epoch, setting)
    emit({"attestations": found}, as_json, _tell_batch)
    if not all(one["verified"] for one in found):
        raise typer.Exit(ProofRejected.exit_status)


def _setting(backend_name: str) -> Setting:
    from marginseal.algebra.curve import backend
    from marginseal.algebra.srs import ceremony
    from marginseal.algebra.vectors import default_vectors
    from verifier.verify import Setting

    if backend_name not in ("arkworks", "reference"):
        raise InputError("cli.backend", f"there is no backend {backend_name!r}: arkworks or reference")
    return Setting(ceremony(), backend(backend_name), default_vectors())


def facts(desk: Desk, file: Path, epoch_file: Path | None = None, setting: Setting | None = None) -> dict[str, Any]:
    """Verified facts, or the error that says why not."""
    import time

    from verifier.batch import verify_batch
    from verifier.verify import Setting

    setting = setting or Setting.default()

    body, items = _all_but_proofs(desk, file, epoch_file, setting)
    start = time.perf_counter()
    for error in verify_batch(items, setting=setting):
        if error is not None:
            raise error
    return {"verified": True} | body | {"seconds": round(time.perf_counter() - start, 4), "not_checked": NOT_CHECKED}


def batch(desk: Desk, files: list[Path], epoch_file: Path | None, setting: Setting) -> list[dict[str, Any]]:
    """For each file its facts, or code and reason: all proofs in one sum, the bad ones found by bisection."""
    from verifier.batch import verify_batch

    bodies: list[dict[str, Any]] = []
    items: list[Item] = []
    whose: list[int] = []
    for number, file in enumerate(files):
        try:
            body, proofs = _all_but_proofs(desk, file, epoch_file, setting)
        except MarginSealError as e:
            body, proofs = {"code": e.code, "message": e.message}, []
        bodies.append({"file": str(file), "verified": "code" not in body} | body)
        items += proofs
        whose += [number] * len(proofs)
    for number, error in zip(whose, verify_batch(items, setting=setting), strict=True):
        if error is not None:
            bodies[number] = {"file": str(files[number]), "verified": False, "code": error.code} | {
                "message": error.message
            }
    return bodies


def _all_but_proofs(
    desk: Desk, file: Path, epoch_file: Path | None, setting: Setting
) -> tuple[dict[str, Any], list[Item]]:
    """Facts of an attestation whose signatures, circuits and sources hold, and its proofs, not verified yet."""
    from marginseal.errors import PolicyError
    from marginseal.records.acceptance import check_sources
    from verifier.claims import claim_items, compile_claims

    attestation = read_attestation(file)
    statement = attestation.statement
    epoch, (venues, venues_digest) = desk.epoch(epoch_file), desk.venues()
    attestation.verify_signatures([desk.prover_key()])
    if statement.venue_registry != venues_digest:
        raise PolicyError("verify.venue-registry", "the statement names another venue registry")
    compiled = compile_claims(statement, attestation.body.rules, epoch, venues=len(venues.venues))
    circuit = compiled[0].circuit
    evidence = source_evidence(desk, statement, circuit.n, circuit.tiles)
    sources = check_sources(statement, evidence, srs=setting.srs, curve=setting.curve)
    return {
        "account": statement.account,
        "sequence": statement.sequence,
        "claims": [
            {
                "rule": rule.name,
                "parameters": rule.values,
                "tier": claim.tier.name.lower(),
                "kind": claim.kind.name.lower(),
                "inputs": list(claim.inputs),
            }
            for rule, claim in zip(attestation.body.rules, statement.claims, strict=True)
        ],
        "epoch": statement.epoch.hex(),
        "sources": [f"{e.source}/{e.book}" for e in statement.sources],
        "cut": statement.cut_id,
        "expires": utc(statement.expiry),
        "hold_until": None if sources.hold_until is None else utc(sources.hold_until),
        "continuity": statement.continuity.name.lower(),
        "backend": setting.curve.name,
    }, claim_items(statement, attestation.proofs, compiled)


def _claim(claim: dict[str, Any]) -> str:
    """The rule with the parameters its prover chose: a multiplier of 0 must not look like the rule's own."""
    chosen = ", ".join(f"{name} = {value}" for name, value in sorted(claim["parameters"].items()))
    inputs = ", ".join(map(str, claim["inputs"]))
    parts = [f"{claim['rule']}({chosen})" if chosen else claim["rule"], f"{claim['tier']} tier", claim["kind"]]
    return ", ".join(parts) + (f" of {inputs}" if inputs else "")


def _tell(body: dict[str, Any]) -> None:
    rows = [
        ("account, sequence", f"{body['account']}, {body['sequence']}"),
        *(("claim", _claim(c)) for c in body["claims"]),
        ("sources", ", ".join(body["sources"])),
        ("cut", body["cut"]),
        ("expires", body["expires"]),
        ("held until", body["hold_until"] or "no hold: a snapshot"),
        ("epoch", body["epoch"]),
        ("proofs verified in", f"{body['seconds'] * 1000:.1f} ms ({body['backend']})"),
        ("not checked here", "; ".join(body["not_checked"])),
    ]
    table("Verified", ("fact", "value"), rows)


def _tell_batch(body: dict[str, Any]) -> None:
    found = body["attestations"]
    good = sum(one["verified"] for one in found)
    rows = [(one["file"], "verified" if one["verified"] else f"{one['message']} [{one['code']}]") for one in found]
    table(f"{good} of {len(found)} verified", ("attestation", "verdict"), rows)
    print("not checked here: " + "; ".join(NOT_CHECKED))
