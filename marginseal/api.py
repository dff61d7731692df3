"""The public names of MarginSeal, the only facade: import from here and stay clear of moves inside.

Errors are in `marginseal.errors`.  Nothing here starts a server or touches a file.
"""

from __future__ import annotations

from circuits.compile import Compiled, compile_rule
from circuits.evaluate import Evaluation, evaluate_rule
from circuits.model import Link
from circuits.render import render_rule
from circuits.rules.registry import RULES
from marginseal.algebra.commit import commitment_key
from marginseal.algebra.curve import backend
from marginseal.algebra.srs import ceremony
from marginseal.market.build import build_epoch
from marginseal.market.epoch import RiskEpoch, read_epoch
from marginseal.market.epoch import decode as decode_epoch
from marginseal.market.epoch import encode as encode_epoch
from marginseal.market.parameters import RiskParameters, read_parameters
from marginseal.market.portfolio import Portfolio, merge, read_holdings
from marginseal.market.snapshot import Snapshot, read_snapshot
from marginseal.market.universe import Universe, read_universe
from marginseal.records.attestation import Attestation, RuleRef
from marginseal.records.statement import Claim, Continuity, Kind, SourceEntry, Statement, Tier
from marginseal.records.submission import Submission
from prover.attest import Attestor, Circuits, Public
from prover.compose import ClaimRequest, OpenedBook, Predecessor, Registries, compose
from prover.prove import Secrets, prove
from prover.witness import Witness, make_witness
from verifier.batch import Item, verify_batch
from verifier.claims import compile_claims, verify_claims
from verifier.decision.decide import decide
from verifier.decision.dossier import Dossier
from verifier.decision.verdict import Verdict
from verifier.policy import Policy, parse_policy
from verifier.verify import Setting, verify

__all__ = [
    "RULES",
    "Attestation",
    "Attestor",
    "Circuits",
    "Claim",
    "ClaimRequest",
    "Compiled",
    "Continuity",
    "Dossier",
    "Evaluation",
    "Item",
    "Kind",
    "Link",
    "OpenedBook",
    "Policy",
    "Portfolio",
    "Predecessor",
    "Public",
    "Registries",
    "RiskEpoch",
    "RiskParameters",
    "RuleRef",
    "Secrets",
    "Setting",
    "Snapshot",
    "SourceEntry",
    "Statement",
    "Submission",
    "Tier",
    "Universe",
    "Verdict",
    "Witness",
    "backend",
    "build_epoch",
    "ceremony",
    "commitment_key",
    "compile_claims",
    "compile_rule",
    "compose",
    "decide",
    "decode_epoch",
    "encode_epoch",
    "evaluate_rule",
    "make_witness",
    "merge",
    "parse_policy",
    "prove",
    "read_epoch",
    "read_holdings",
    "read_parameters",
    "read_snapshot",
    "read_universe",
    "render_rule",
    "verify",
    "verify_batch",
    "verify_claims",
]
