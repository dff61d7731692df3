"""Writes `records.json`: signed records with keys that everybody knows, and one fault each.

python -m tests.vectors.records.signed
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from marginseal.records import document
from marginseal.records.attestation import RuleRef, make_attestation, sign_statement
from marginseal.records.continuity import PledgeRelease
from marginseal.records.envelope import Envelope, Record, Signature, peek, sign
from marginseal.records.keychange import KeyChange, KeyRevocation
from marginseal.records.keys import Role, SigningKey
from marginseal.records.manifest import SourceRelease
from marginseal.records.opening import Opening
from marginseal.records.source import SourceStatement
from tests.records import world
from tests.records.test_oracle import HONEST, RECORD

FILE = Path(__file__).parent / "records.json"


def case(desc: str, envelope: Envelope, keys: list[SigningKey], expect: str = "accept") -> dict[str, Any]:
    return {
        "desc": desc,
        "expect": expect,
        "source": "made here",
        "keys": [[k.role.value, k.public.raw.hex()] for k in keys],
        "digest": envelope.digest.hex(),
        "envelope": envelope.encode().decode(),
    }


def source_statement() -> SourceStatement:
    """The custodian's first tile; the ciphertext is random, so its digest is that of nothing."""
    made = peek(SourceStatement, world.publish(*world.BOOKS[0])[0].message)
    opening = Opening(world.lots(world.LOTS["custodian"][:8]), 2**200 + 1, bytes(range(32)))
    return replace(
        made,
        C=opening.commit(world.commitment()),
        opening_digest=opening.digest,
        ciphertext_digest=world.seed("ciphertext"),
    )


def attestation() -> Envelope:
    entry = world.SourceEntry("custodian", "b" * 32, 0, world.seed("message"), source_statement().C)
    statement = replace(world.honest().statement, sources=(entry,), pledge=source_statement().C)
    owner = sign_statement(statement, world.OWNER)
    rules = (RuleRef("worst_case", b'{"a":1}'),)
    return make_attestation(statement, owner, rules, (bytes(range(256)),), world.PROVER).envelope


def cases() -> list[dict[str, Any]]:
    old, new = (world.key(Role.SOURCE, name) for name in ("old", "new"))
    release = PledgeRelease("venue-a", 0, "fund-1", world.seed("statement"), 7, world.CUT)
    signed: list[tuple[str, Record, list[SigningKey]]] = [
        ("account record", world.RECORD, [world.OWNER]),
        ("manifest", world.MANIFEST, [world.OWNER]),
        ("source registry", world.registry(venue_a=world.CONFINED), [world.OPERATOR]),
        ("venue registry", world.VENUE_REGISTRY, [world.OPERATOR]),
        ("source statement", source_statement(), [world.SOURCE_KEYS["custodian"]]),
        (
            "source release",
            SourceRelease("custodian", "fund-1", "b", world.seed("manifest"), 1),
            [world.SOURCE_KEYS["custodian"]],
        ),
        ("pledge release", release, [world.VENUE_KEYS["venue-a"]]),
        ("oracle report", HONEST[0], [world.key(Role.ORACLE, "o1")]),
        ("epoch record", RECORD, [world.OPERATOR]),
        ("key change", KeyChange("custodian", old.public, new.public, world.CUT), [old, new]),
        ("key revocation", KeyRevocation("custodian", old.public, world.CUT), [old]),
    ]
    out = [case(desc, sign(record, keys), keys) for desc, record, keys in signed]
    out.append(case("attestation", attestation(), [world.PROVER]))
    manifest = world.MANIFEST_ENVELOPE
    stranger = world.key(Role.ACCOUNT, "stranger")
    stolen = Signature(world.OWNER.public.key_id, sign(world.MANIFEST, [stranger]).signatures[0].signature)
    members = document.decode_object(world.MANIFEST.payload(), what="manifest", limit=2**20)
    spaced = json.dumps(members, sort_keys=True).encode()
    books = document.canonical({**members, "books": members["books"][::-1]})
    owner = [world.OWNER]
    return [
        *out,
        case("signed by a stranger", sign(world.MANIFEST, [stranger]), owner, "signature.threshold"),
        case("a stranger's signature under the owner's key id", replace(manifest, signatures=(stolen,)), owner,
             "signature.threshold"),
        case("another payload type", replace(manifest, payload_type="application/json"), owner, "envelope.type"),
        case("a payload with spaces, rightly signed", resigned(manifest, spaced), owner, "record.not-canonical"),
        case("books out of order, rightly signed", resigned(manifest, books), owner, "manifest.order"),
    ]  # fmt: skip


def resigned(envelope: Envelope, payload: bytes) -> Envelope:
    signature = world.OWNER.sign(world.MANIFEST.PURPOSE, payload)
    return replace(envelope, payload=payload, signatures=(Signature(world.OWNER.public.key_id, signature),))


if __name__ == "__main__":
    FILE.write_text(json.dumps(cases(), indent=1, ensure_ascii=False) + "\n")
