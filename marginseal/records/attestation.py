"""The attestation: the statement, one proof for each claim, the owner's and the prover's signatures (sections 5, 7).

A DSSE envelope signed by the prover, which any DSSE library verifies; its payload is binary, since three quarters of it
are points and scalars and DSSE encodes it in base64 once already:

    text "MARGINSEAL-ATTESTATION" | version | length | statement | owner's signature (64)
    then for each claim, in the statement's order:  text rule name | length | parameters (RFC 8785) | length | proof

in the encoding of `wire`.  The rules are a convenience: whoever
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
from marginseal.records.document import Members, canonical, is_name
from marginseal.records.envelope import Envelope
from marginseal.records.keys import SIGNATURE_BYTES, PublicKey, Purpose, Role, SigningKey
from marginseal.records.statement import Statement
from marginseal.records.wire import Reader, Writer

VERSION = 1
MAX_PROOF_BYTES = 393_568  # of the widest circuit there is, of 4,096 columns (verifier.sizes)
MAX_STATEMENT_BYTES = 8 * 2**20
_MAGIC = "MARGINSEAL-ATTESTATION"
MAX_PARAMETERS, MAX_PARAMETER_BYTES = 64, 4096


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
        """As in a submission, which is JSON."""
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
        statement = self.statement.encode()
        w = Writer().text(_MAGIC).int64(VERSION).int64(len(statement)).raw(statement).raw(self.owner)
        for rule, proof in zip(self.rules, self.proofs, strict=True):
            w.text(rule.name).int64(len(rule.parameters)).raw(rule.parameters).int64(len(proof)).raw(proof)
        return w.bytes()

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """DecodeError record.*, json.*, statement.*, wire.*, attestation.*, rule-ref.*."""
        r = Reader(payload, what="attestation")
        if r.text() != _MAGIC or r.int64() != VERSION:
            raise DecodeError("attestation.version", "attestation: a format or version this program does not know")
        statement = Statement.decode(r.raw(r.count(MAX_STATEMENT_BYTES)))
        owner, rules, proofs = r.raw(SIGNATURE_BYTES), [], []
        for _ in statement.claims:
            rules.append(RuleRef(r.text(), r.raw(r.count(MAX_PARAMETER_BYTES))))
            proofs.append(r.raw(r.count(MAX_PROOF_BYTES)))
        r.end()
        return cls(statement, owner, tuple(rules), tuple(proofs))


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

    DSSE's base64 around the payload takes four bytes for three."""
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
    parts.append(("rule names, base64, envelope", len(attestation.data) - raw))
    parts.append(("inclusion receipt", len(receipt)))
    return parts
