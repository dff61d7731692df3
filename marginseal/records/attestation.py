"""The attestation: the statement, one proof for each claim, the owner's and the prover's signatures (sections 5, 7).

A DSSE envelope signed by the prover; its payload holds the statement's canonical bytes, the owner's signature over the
statement digest, the name and parameters of each claim's rule, and the proofs.  The rules are a convenience: whoever
verifies compiles the rule he accepts, and the circuit digest in the claim decides.  The signed source messages, the
manifest, the registries and the epoch are not in it: the statement names them by digest and the log serves them.
Whether the proofs hold is `verifier.verify`.

Bytes, three sources and one proof of 12 limb columns: see `size_table` and docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

from marginseal.errors import DecodeError, InputError
from marginseal.records import document, envelope
from marginseal.records.document import Members, canonical, encode_base64, is_name
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SIGNATURE_BYTES, PublicKey, Purpose, Role, SigningKey
from marginseal.records.statement import MAX_CLAIMS, Statement

VERSION = 1
MAX_PROOF_BYTES = 64 * 1024
MAX_STATEMENT_BYTES = 8 * 2**20
_MAX_PAYLOAD_BYTES = 4 * (MAX_STATEMENT_BYTES + MAX_CLAIMS * MAX_PROOF_BYTES) // 3 + 4096
MAX_PARAMETERS, MAX_PARAMETER_BYTES = 64, 4096
_KEYS = ("owner", "proofs", "rules", "statement", "version")


@dataclass(frozen=True)
class RuleRef:
    """A margin rule by its public name, and its parameters as the canonical bytes of a JSON object."""

    name: str
    parameters: bytes = b"{}"

    def __post_init__(self) -> None:
        if not is_name(self.name):
            raise DecodeError("rule-ref.name", "rule: not a printable name of 1 to 64 bytes")
        if len(self.values) > MAX_PARAMETERS or not all(is_name(key) for key in self.values):
            raise DecodeError("rule-ref.parameters", f"rule: at most {MAX_PARAMETERS} parameters with printable names")

    @property
    def members(self) -> dict[str, Any]:
        return {"name": self.name, "parameters": self.values}

    @property
    def values(self) -> dict[str, Any]:
        """The parameters as a new mapping."""
        return document.decode_object(self.parameters, what="rule parameters", limit=MAX_PARAMETER_BYTES)

    @classmethod
    def read(cls, members: Members) -> RuleRef:
        """From members `name` and `parameters`.  DecodeError record.*, json.*, rule-ref.*."""
        return cls(members.name("name"), canonical(members.mapping("parameters", limit=MAX_PARAMETERS)))


def sign_statement(statement: Statement, key: SigningKey) -> bytes:
    """The owner's 64 bytes over the statement digest.  InputError attestation.owner for another key than it names."""
    if key.role != Role.ACCOUNT or key.public.raw != statement.account_key:
        raise InputError("attestation.owner", "not the account key that the statement names")
    return key.sign(Purpose.STATEMENT, statement.digest)


def verify_owner(statement: Statement, signature: bytes) -> None:
    """The account key of the statement signed its digest.  DecodeError key.*; ProofRejected signature.invalid."""
    PublicKey(Role.ACCOUNT, statement.account_key).verify(Purpose.STATEMENT, statement.digest, signature)


@dataclass(frozen=True)
class AttestationBody:
    """What the prover signs.  owner: 64 bytes; rules, proofs: one for each claim, in the statement's order."""

    PURPOSE: ClassVar[Purpose] = Purpose.ATTESTATION

    statement: Statement
    owner: bytes
    rules: tuple[RuleRef, ...]
    proofs: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if not len(self.proofs) == len(self.rules) == len(self.statement.claims):
            raise DecodeError("attestation.proofs", "attestation: as many rules and proofs as claims")
        if any(not 0 < len(proof) <= MAX_PROOF_BYTES for proof in self.proofs):
            raise DecodeError("attestation.proofs", f"attestation: a proof is at most {MAX_PROOF_BYTES} bytes")
        if len(self.owner) != SIGNATURE_BYTES:
            raise DecodeError("attestation.owner", "attestation: the owner's signature is 64 bytes")

    def payload(self) -> bytes:
        return canonical(
            {
                "owner": encode_base64(self.owner),
                "proofs": [encode_base64(proof) for proof in self.proofs],
                "rules": [rule.members for rule in self.rules],
                "statement": encode_base64(self.statement.encode()),
                "version": VERSION,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, statement.*, wire.*, attestation.*."""
        top = document.decode(payload, what="attestation", keys=_KEYS, limit=_MAX_PAYLOAD_BYTES)
        top.constant("version", VERSION)
        return cls(
            Statement.decode(top.base64("statement", limit=MAX_STATEMENT_BYTES)),
            top.base64("owner", limit=SIGNATURE_BYTES),
            tuple(RuleRef.read(rule) for rule in top.objects("rules", ("name", "parameters"), limit=MAX_CLAIMS)),
            tuple(top.base64_list("proofs", count=MAX_CLAIMS, limit=MAX_PROOF_BYTES)),
        )


@dataclass(frozen=True)
class Attestation:
    """A body and the envelope it came in.  Decoding verifies nothing: `verify_signatures`, then the proofs."""

    body: AttestationBody
    envelope: Envelope

    @property
    def statement(self) -> Statement:
        return self.body.statement

    @property
    def proofs(self) -> tuple[bytes, ...]:
        return self.body.proofs

    @cached_property
    def data(self) -> bytes:
        """The canonical bytes."""
        return self.envelope.encode()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return self.envelope.digest

    @classmethod
    def decode(cls, data: bytes) -> Attestation:
        """DecodeError record.*, json.*, envelope.*, statement.*, wire.*, attestation.*."""
        decoded = Envelope.decode(data)
        return cls(envelope.peek(AttestationBody, decoded), decoded)

    def verify_signatures(self, provers: Iterable[PublicKey], *, threshold: int = 1) -> tuple[PublicKey, ...]:
        """The owner signed the statement, and `threshold` of the known provers all of it: those that did.

        DecodeError key.*; ProofRejected signature.invalid, signature.threshold."""
        verify_owner(self.statement, self.body.owner)
        return self.envelope.verify(Purpose.ATTESTATION, provers, threshold=threshold)


def make_attestation(
    statement: Statement, owner: bytes, rules: Sequence[RuleRef], proofs: Sequence[bytes], prover: SigningKey
) -> Attestation:
    """What the prover releases, after it has verified each proof.  ProofRejected signature.invalid for the owner's."""
    verify_owner(statement, owner)
    body = AttestationBody(statement, owner, tuple(rules), tuple(proofs))
    return Attestation(body, envelope.sign(body, [prover]))


def size_table(attestation: Attestation, receipt: bytes = b"") -> list[tuple[str, int]]:
    """Where the bytes of an attestation and its inclusion receipt go: (part, bytes), adding up to the whole.

    The base64 within the payload and around it takes 16 bytes for 9."""
    statement = attestation.statement
    list_bytes = sum(
        1 + len(e.source.encode()) + 1 + len(e.book.encode()) + 8 + len(e.message_digest) + len(e.C)
        for e in statement.sources
    )
    statement_bytes = len(statement.encode())
    proof_bytes = sum(map(len, attestation.proofs))
    signature_bytes = SIGNATURE_BYTES + sum(len(s.signature) for s in attestation.envelope.signatures)
    parts = [
        ("statement: header, pledge, claims", statement_bytes - list_bytes),
        (f"statement: {len(statement.sources)} source entries", list_bytes),
        (f"{len(attestation.proofs)} proofs", proof_bytes),
        ("signatures: owner, prover", signature_bytes),
    ]
    raw = sum(size for _, size in parts)
    parts.append(("rule names, base64, JSON, key ids", len(attestation.data) - raw))
    parts.append(("inclusion receipt", len(receipt)))
    return parts
