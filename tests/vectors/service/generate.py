"""Writes `bodies.json`: what travels between an account and a service, with keys that everybody knows.

python -m tests.vectors.service.generate

Sealing is randomised: `messages()` makes other ciphertexts each time.  What is inside them, and everything else, is the
same, and tests/server/test_vectors.py holds the published file to it."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from marginseal.records.attestation import Attestation, RuleRef, make_attestation, sign_statement
from marginseal.records.continuity import PledgeRelease
from marginseal.records.document import canonical
from marginseal.records.envelope import Envelope, sign
from marginseal.records.opening import Opening
from marginseal.records.pledges import PledgeSchedule
from marginseal.records.sealing import SealingKey, seal_info
from marginseal.records.statement import Continuity, Release, Statement
from marginseal.records.submission import SourceOpening, Submission, SubmissionHeader, pad
from server.wire import ANSWER_BYTES, Answer, encode_proved, seal_answer
from tests.records import world
from tests.vectors.records.signed import source_statement

FILE = Path(__file__).parent / "bodies.json"
PROVER, RESPONSE = SealingKey(world.seed("prover sealing")), SealingKey(world.seed("response"))
ATTESTED = Answer("attested", statement=world.seed("statement"), log_index=41)
REFUSED = Answer("refused", code="rule.unsatisfied", message="the rule does not hold", line="loss[3]", shortfall=12)


def statement() -> Statement:
    message = sign(source_statement(), [world.SOURCE_KEYS["custodian"]])
    entry = world.SourceEntry("custodian", "b" * 32, 0, message.digest, source_statement().C)
    return replace(world.honest().statement, sources=(entry,), pledge=schedule().commit(world.commitment()))


def schedule() -> PledgeSchedule:
    return PledgeSchedule(Opening(world.lots([20, 10, 0, 0, 0, 0, 0, 0]), 2**201 + 1, bytes(32)))


def submission() -> Submission:
    opening = Opening(world.lots(world.LOTS["custodian"][:8]), 2**200 + 1, bytes(range(32)))
    return Submission(
        statement=statement(),
        owner=sign_statement(statement(), world.OWNER),
        rules=(RuleRef("worst_case"),) * len(statement().claims),
        sources=(SourceOpening(sign(source_statement(), [world.SOURCE_KEYS["custodian"]]), opening),),
        pledges=schedule(),
        response_key=RESPONSE.public,
    )


def header() -> SubmissionHeader:
    s = statement()
    return SubmissionHeader(s.account, s.epoch, s.sequence, world.seed("nonce"), PROVER.public.key_id)


def plain() -> dict[str, tuple[SealingKey, bytes, bytes]]:
    """What each message is sealed to, what is inside, and its `info`."""
    to_prover = seal_info("submission", header().members)
    to_owner = seal_info("answer", header().members)
    padded = pad(submission().encode())
    return {
        "submission": (PROVER, padded, to_prover),
        "submission, padding that is not zero": (PROVER, padded[:-1] + b"\1", to_prover),
        "attested": (RESPONSE, opened(ATTESTED), to_owner),
        "refused": (RESPONSE, opened(REFUSED), to_owner),
        "answer of another size": (RESPONSE, opened(ATTESTED) + b" ", to_owner),
        "answer with spaces": (RESPONSE, opened(ATTESTED).replace(b'":"', b'": "', 1)[:ANSWER_BYTES], to_owner),
    }


def opened(answer: Answer) -> bytes:
    return RESPONSE.open(seal_answer(answer, RESPONSE.public, header()), seal_info("answer", header().members))


def messages() -> dict[str, str]:
    return {name: b64(key.public.seal(data, info)) for name, (key, data, info) in plain().items()}


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def submissions() -> list[dict[str, Any]]:
    members, text = header().members, canonical(header().members).decode()
    document = {"document": sha256(submission().encode()), "statement": statement().digest.hex()}

    def case(desc: str, expect: str, text: str = text, *, length: int | None = None, **more: Any) -> dict[str, Any]:
        return {
            "desc": desc,
            "expect": expect,
            "source": "made here",
            "header": text,
            "length": len(text) if length is None else length,
            "message": more.pop("message", "submission"),
            "seed": more.pop("key", PROVER).seed.hex(),
            **more,
        }

    def changed(**changes: Any) -> str:
        return canonical(members | changes).decode()

    return [
        case("a submission", "accept", **document),
        case("a header said to be longer than all", "submission.body", length=2**32 - 1),
        case("a header with spaces", "record.not-canonical", json.dumps(members, sort_keys=True)),
        case("a member more", "record.members", changed(tier=1)),
        case("a nonce of 31 bytes", "record.hex", changed(nonce="00" * 31)),
        case("sequence 0", "record.integer", changed(sequence=0)),
        case("no size class", "submission.size", message="attested"),
        case("under another sequence", "sealing.open", changed(sequence=2)),
        case("under another nonce", "sealing.open", changed(nonce="00" * 32)),
        case("with another key", "sealing.open", key=RESPONSE),
        case("padding that is not zero", "submission.padding", message="submission, padding that is not zero"),
    ]


def answers() -> list[dict[str, Any]]:
    text = canonical(header().members).decode()

    def case(desc: str, expect: str, message: str, **more: Any) -> dict[str, Any]:
        base = {"desc": desc, "expect": expect, "source": "made here", "header": text, "message": message}
        return {**base, "seed": RESPONSE.seed.hex(), **more}

    return [
        case("attested", "accept", "attested", answer=json.loads(opened(ATTESTED))),
        case("refused", "accept", "refused", answer=json.loads(opened(REFUSED))),
        case("for another submission", "sealing.open", "attested",
             header=canonical(replace(header(), nonce=bytes(32)).members).decode()),
        case("with the prover's key", "sealing.open", "attested", seed=PROVER.seed.hex()),
        case("of another size", "answer.size", "answer of another size"),
        case("with spaces", "record.not-canonical", "answer with spaces"),
    ]  # fmt: skip


def release() -> Envelope:
    record = PledgeRelease("venue-a", 0, "fund-1", world.seed("statement"), 7, world.CUT)
    return sign(record, [world.VENUE_KEYS["venue-a"]])


def attestation(linked: bool = False) -> Attestation:
    s = statement()
    if linked:
        listed = (Release(0, 7, release().digest),)
        s = replace(s, sequence=2, prev=world.seed("statement"), continuity=Continuity.LINKED,
                    previous_pledge=s.pledge, releases=listed)  # fmt: skip
    rules = (RuleRef("worst_case"),) * len(s.claims)
    return make_attestation(
        s, sign_statement(s, world.OWNER), rules, (bytes(range(256)),) * len(s.claims), world.PROVER
    )


def proved() -> list[dict[str, Any]]:
    alone, linked, freed = attestation().data, attestation(linked=True).data, release().encode()

    def case(desc: str, expect: str, body: bytes, **parts: Any) -> dict[str, Any]:
        return {"desc": desc, "expect": expect, "source": "made here", "body": b64(body), **parts}

    return [
        case("an attestation", "accept", encode_proved(alone), attestation=sha256(alone), releases=[]),
        case("with a release", "accept", encode_proved(linked, [freed]), attestation=sha256(linked),
             releases=[sha256(freed)]),
        case("nothing", "proved.body", b""),
        case("a length beyond the end", "proved.body", (len(alone) + 1).to_bytes(4, "big") + alone),
        case("three bytes more", "proved.body", encode_proved(alone) + bytes(3)),
        case("a release that is not listed", "proved.releases", encode_proved(alone, [freed])),
        case("a listed release that is missing", "proved.releases", encode_proved(linked)),
    ]  # fmt: skip


def cases() -> dict[str, list[dict[str, Any]]]:
    return {"submissions": submissions(), "answers": answers(), "proved": proved()}


if __name__ == "__main__":
    FILE.write_text(json.dumps({"messages": messages(), **cases()}, indent=1, ensure_ascii=False) + "\n")
