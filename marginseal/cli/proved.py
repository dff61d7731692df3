"""`marginseal submit --proved FILE`: an attestation that the institution proved itself, into the service's log.

The service sees what every venue will see, and no book.  It takes the attestation under a prover key that its operator
registered for the account (`office register-prover`), checks all of it and logs these very bytes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marginseal.cli.desk import Desk, read_attestation
from marginseal.cli.output import utc
from marginseal.cli.receive import Observer, recover, refusal, save, wait_for
from marginseal.cli.remote import Card, connected
from marginseal.errors import ServiceError

if TYPE_CHECKING:
    from marginseal.records.attestation import Attestation
    from server.client import Client

_MAX_RELEASE_BYTES = 2**16


def post_proved(
    desk: Desk, card: Card, file: Path, releases: Sequence[Path] = (), *, observe: Observer = lambda step: None
) -> dict[str, Any]:
    """Post, wait, save receipt and head beside the attestation.  Again, it finds what the log took.

    ServiceError with the code of the check that refused; the desk keeps the file, whose sequence stays free."""
    from marginseal.files import read_bytes
    from marginseal.records.envelope import Envelope
    from marginseal.records.keys import Role

    attestation = read_attestation(file)
    statement = attestation.statement
    signed = {
        envelope.digest: data
        for data in (read_bytes(path, limit=_MAX_RELEASE_BYTES, what=path.name) for path in releases)
        if (envelope := Envelope.decode(data))
    }
    listed = [signed[release.digest] for release in statement.releases if release.digest in signed]
    start = time.perf_counter()
    with connected(card, desk.signing_key("account", Role.ACCOUNT)) as client:
        recover(desk, client, card)
        observe("posting")
        submission = _post(client, attestation, listed)
        accepted = time.perf_counter()
        if submission is not None:
            status = wait_for(client, submission, observe)
            if status["state"] != "attested":
                raise refusal(str(status["state"]), status.get("code"), None)
        observe("saving")
        logged = client.latest(statement.account, after=statement.sequence - 1, wait_s=5)
        if logged is None or logged.sequence != statement.sequence:
            raise ServiceError("service.log", "the service says attested, and its log does not show it as the newest")
        save(desk, card, logged, statement.digest)
    return {
        "submission": submission,
        "account": statement.account,
        "sequence": statement.sequence,
        "statement": statement.digest.hex(),
        "tier": statement.claims[0].tier.name.lower(),
        "rules": [rule.name for rule in attestation.body.rules],
        "expires": utc(statement.expiry),
        "log_index": logged.log_index,
        "bytes": len(logged.attestation),
        "file": str(desk.attestation_file(statement.sequence)),
        "accepted_s": round(accepted - start, 3),
        "attested_s": round(time.perf_counter() - start, 3),
    }


def _post(client: Client, attestation: Attestation, releases: Sequence[bytes]) -> str | None:
    """The submission's id; None when the log has this very statement already."""
    statement = attestation.statement
    try:
        return client.post_proved(attestation.data, releases)
    except ServiceError as e:
        there = client.attestation(statement.account, statement.sequence)
        if e.code != "submission.sequence-taken" or there is None or there.statement_digest != statement.digest:
            raise
        return None
