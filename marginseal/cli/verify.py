"""`marginseal verify`: what a venue's machine does with an attestation: compile for itself, verify, say what was shown.

It answers whether the mathematics and the signatures hold.  Whether to rely on it (policy, age, log) is `decide`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from marginseal.cli.desk import Desk, read_attestation, source_evidence
from marginseal.cli.output import AsJson, emit, progress, table, utc


def verify(
    attestation: Annotated[Path, typer.Argument(help="Attestation file.")],
    epoch: Annotated[Path | None, typer.Option(help="Epoch file; default the desk's.")] = None,
    backend: Annotated[
        str, typer.Option(help="arkworks, or reference for an independent second opinion.")
    ] = "arkworks",
    desk: Annotated[Path, typer.Option(help="The desk's folder: registries, manifest, statements.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Verify proofs, signatures and sources of an attestation."""
    with progress("verifying", quiet=as_json):
        body = facts(Desk(desk), attestation, epoch, backend)
    emit(body, as_json, _tell)


def facts(desk: Desk, file: Path, epoch_file: Path | None = None, backend_name: str = "arkworks") -> dict[str, Any]:
    """Verified facts, or the error that says why not."""
    import time

    from marginseal.algebra.curve import backend
    from marginseal.algebra.srs import ceremony
    from marginseal.algebra.vectors import default_vectors
    from marginseal.errors import InputError, PolicyError
    from marginseal.records.acceptance import check_sources
    from verifier.claims import compile_claims, verify_claims
    from verifier.verify import Setting

    if backend_name not in ("arkworks", "reference"):
        raise InputError("cli.backend", f"there is no backend {backend_name!r}: arkworks or reference")
    setting = Setting(ceremony(), backend(backend_name), default_vectors())
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
    start = time.perf_counter()
    verify_claims(statement, attestation.proofs, compiled, setting=setting)
    seconds = time.perf_counter() - start
    return {
        "verified": True,
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
        "backend": backend_name,
        "seconds": round(seconds, 4),
        "not_checked": [
            "that it is the account's newest attestation in the log",
            "its age against the clock",
            "that its pledges follow its predecessor's",
            "that the epoch is its operator's and not superseded",
            "that rules, parameters and tiers are ones you accept",
            "that the account key is the account's, beyond what its manifest says",
        ],
    }


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
