"""What a venue and an auditor make of a world: the codes of their reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from marginseal.log.bundle import Bundle
from marginseal.log.export import export_bundle
from marginseal.records.attestation import make_attestation
from marginseal.records.statement import Statement
from marginseal.records.submission import Submission
from tests.simulator.world import PROVER, Attested, Fund, World, objects_of, policy, setting
from verifier.decision.decide import decide
from verifier.replay.run import replay


def venue_says(world: World, fund: Fund, venue: str = "venue-a", **changes: Any) -> list[str]:
    """The codes of a verdict on the account's newest, out of the log."""
    found = decide(world.dossier(fund, venue), policy(venue, **changes), now=world.now + 1, setting=setting())
    return [code for code, _ in found.reasons]


def auditor_says(world: World, folder: Path, **changes: Any) -> list[str]:
    """The codes of a replay of the whole log."""
    world.log.checkpoint(now=world.now)
    export_bundle(world.log, folder / f"bundle-{world.log.size()}")
    bundle = Bundle(folder / f"bundle-{world.log.size()}")
    return [f.code for f in replay(bundle, policy(**changes).trust, workers=1).findings]


def both_say(world: World, fund: Fund, folder: Path, **changes: Any) -> tuple[list[str], list[str]]:
    return venue_says(world, fund, **changes), auditor_says(world, folder, **changes)


def signed_anyway(fund: Fund, submission: Submission, proofs: Sequence[bytes], published: Sequence[Any]) -> Attested:
    """A prover that signs what it is given, and a log that takes it."""
    made = make_attestation(submission.statement, submission.owner, submission.rules, proofs, PROVER)
    attested = Attested(made, submission.pledges, objects_of(fund.world, submission, published, fund.manifest))
    fund.world.append(attested)
    fund.accept(attested)
    return attested


def restated(**changes: Any) -> Any:
    """An institution that signs a statement with these fields instead."""

    def change(statement: Statement) -> Statement:
        return replace(statement, **changes)

    return change
