"""Writes tests/vectors/log_leaf.json.  Run only when the format of a leaf changes, which makes old logs unreadable."""

from __future__ import annotations

import json

from marginseal.log.entry import Entry
from tests.log.support import VECTORS, attestation, sha


def main() -> None:
    a, b = sorted([sha("a"), sha("b")])
    made = [
        ("an attestation", attestation("fund", 2, dependencies=(a, b)), 1_700_000_000),
        ("a first attestation", attestation("fund", 1), 0),
        ("a registry, nobody's in particular", Entry("source-registry", b"registry"), 2**62 - 1),
        ("a manifest of an account, without a chain", Entry("manifest", b"", "Fonds Ä", books=(("s", "b"),)), 1),
    ]
    cases = [
        {
            "desc": desc,
            "kind": entry.kind,
            "account": entry.account,
            "sequence": entry.sequence,
            "payload": entry.payload.decode(),
            "time": time,
            "entry": entry.encode().hex(),
            "leaf": entry.leaf(time).encode().hex(),
            "leaf_hash": entry.leaf(time).hash.hex(),
            "expect": "accept",
            "source": "made here",
        }
        for desc, entry, time in made
    ]
    (VECTORS / "log_leaf.json").write_text(json.dumps({"entries": cases}, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
