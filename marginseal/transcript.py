"""The hash chain of protocol.md section 2: what is absorbed, in order, decides every challenge.

    absorb(label, data):  state = SHA256(0x00 | state | len8(label) | label | len64(data) | data)
    challenge(label):     x = hash_to_field(state | label),  then  state = SHA256(0x01 | state | len8(label) | label)

All labels stand in one table here; an absorb of another label is an error of ours, not of the input.  Which items are
absorbed when is left to `marginseal.records.statement` (the statement) and `verifier.rounds` (the proof).
"""

from __future__ import annotations

import hashlib

from marginseal.algebra.field import hash_to_field

PROTOCOL = "MARGINSEAL"
VERSION = 1
DST_CHALLENGE = b"MARGINSEAL-V1_XMD:SHA-256"
DST_ROWS = b"MARGINSEAL-V1-ROWS_XMD:SHA-256"

STATEMENT_LABELS = (
    "protocol",
    "version",
    "srs",
    "epoch",
    "universe",
    "manifest",
    "source-registry",
    "venue-registry",
    "account",
    "account-key",
    "sequence",
    "prev",
    "cut-id",
    "cut-time",
    "expiry",
    "currency",
    "tick",
    "pledge",
    "continuity",
    "previous-pledge",
    "releases",
    "release-row",
    "release-nonce",
    "release-digest",
    "sources",
    "source-id",
    "book-id",
    "tile",
    "message-digest",
    "C",
    "claims",
    "kind",
    "circuit",
    "tier",
    "inputs",
    "input",
)
PROOF_LABELS = ("claim-index", "limb", "m", "h", "phi", "Q", "c(z)", "phi(wz)")
CHALLENGE_LABELS = ("beta", "rho", "y", "z", "nu")
_ABSORBED = frozenset(STATEMENT_LABELS + PROOF_LABELS)


class Transcript:
    """One run of the chain.  `state` (32 bytes) is the digest of everything absorbed so far."""

    def __init__(self, state: bytes = bytes(32)) -> None:
        self.state = state

    def absorb(self, label: str, data: bytes) -> None:
        assert label in _ABSORBED, label
        name = label.encode("ascii")
        framed = len(name).to_bytes(1, "big") + name + len(data).to_bytes(8, "big") + data
        self.state = hashlib.sha256(b"\x00" + self.state + framed).digest()

    def absorb_int(self, label: str, value: int) -> None:
        """int64, two's complement, big-endian."""
        self.absorb(label, value.to_bytes(8, "big", signed=True))

    def challenge(self, label: str) -> int:
        assert label in CHALLENGE_LABELS, label
        name = label.encode("ascii")
        x = hash_to_field(self.state + name, DST_CHALLENGE)
        self.state = hashlib.sha256(b"\x01" + self.state + len(name).to_bytes(1, "big") + name).digest()
        return x
