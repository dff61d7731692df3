"""Section 10, many histories of a log: venue, auditor and mirror agree about each, or a table says why they need not.

The seeds are those of `python -m tests.simulator.agreement`, which prints the codes that each comes upon.  One that no
longer meets its codes, since a mutation came or went, is replaced by one that does: without the codes the histories
would say nothing.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator import agreement

ROUNDS = 2
HISTORIES: list[tuple[int, set[str], set[str]]] = [
    (1046, {"decide.epoch-expired"}, {"oracle.snapshot", "replay.epoch-expired", "replay.expired"}),
    (1065, {"claim.unit"}, {"claim.unit", "envelope.type", "signature.threshold"}),
    (1077, {"accept.conflict", "manifest.book-gone"}, {"manifest.book-gone"}),
    (2002, {"manifest.book-gone"}, {"replay.registry-version"}),
    (1084, {"decide.epoch-newer"}, {"replay.epoch-newer", "manifest.succession"}),
    (1017, {"decide.snapshot"}, {"replay.reports", "manifest.entry"}),
    (1021, {"gather json.malformed"}, {"json.malformed", "epoch-record.rebuild"}),
    (1066, {"log.leaf"}, {"replay.entry", "replay.kind"}),
    (1045, {"decide.manifest"}, {"replay.manifest"}),
    (1049, {"gather gather.unknown"}, {"replay.epoch"}),
    (1000, {"continuity.expired", "verify.pairing"}, {"continuity.expired", "verify.pairing"}),
    (1011, {"release.row"}, {"release.row"}),
    (1014, {"manifest.book-gone"}, {"release.nonce"}),
    (1032, {"accept.message"}, {"accept.message"}),
    (1042, {"manifest.too-soon"}, {"manifest.too-soon"}),
    (1043, {"accept.left-out"}, {"accept.left-out"}),
    (1044, {"claim.circuit"}, {"claim.circuit"}),
]
"""Seeds, and codes of the venue and of the auditor that each comes upon."""


@pytest.mark.parametrize(("seed", "venue", "auditor"), HISTORIES, ids=[str(h[0]) for h in HISTORIES])
def test_10_all_readers_agree(tmp_path: Path, seed: int, venue: set[str], auditor: set[str]) -> None:
    found = agreement.run(seed, tmp_path, rounds=ROUNDS)
    assert found.wrong == [], found.h.told
    assert venue <= found.venue_codes.keys()
    assert auditor <= found.auditor_codes.keys()


def test_10_without_mutations_everybody_accepts(tmp_path: Path) -> None:
    found = agreement.run(1, tmp_path, names=[])
    assert (found.wrong, found.both_accept, found.decisions) == ([], 4, 4)
    assert not found.auditor_codes
