"""An attestation's place in its account's chain: whether it is logged, whether the log would take it, and its entry.

What the log's own rules refuse is refused here before a proof is spent on it, together with what makes an attestation
worthless to whoever reads the log: an expired statement, a manifest that is not in force, an epoch long superseded.
"""

from __future__ import annotations

from collections.abc import Iterable

from marginseal.errors import PolicyError
from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Entry
from marginseal.log.log import Log
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope
from marginseal.records.manifest import in_force
from marginseal.records.statement import Statement
from server.public import LoggedRecords

INSTRUMENTS_A_TURN = 256


class Place:
    """epoch_lag_s: how long after a newer epoch was logged an attestation under the one before is still logged."""

    def __init__(self, public: LoggedRecords, log: Log, epoch_lag_s: int) -> None:
        self._public, self._log, self._epoch_lag_s = public, log, epoch_lag_s

    def find(self, statement: Statement) -> int | None:
        """Where this very statement is logged already, or None: it may be logged next.

        PolicyError log.sequence-taken, .sequence-gap, .prev-mismatch, submission.expired, .manifest, .epoch,
        .epoch-newer, manifest.none, accept.account-key; errors of an epoch that does not hold (`LoggedRecords`)."""
        head = self._log.head(statement.account)
        last, prev = (0, NO_PREDECESSOR) if head is None else (head.sequence, head.statement_digest)
        if statement.sequence <= last:
            return self._logged(statement)
        if statement.sequence != last + 1:
            raise PolicyError("log.sequence-gap", f"the account's next attestation is {last + 1}")
        if statement.prev != prev:
            raise PolicyError("log.prev-mismatch", "the statement does not name its predecessor")
        self._check_timely(statement)
        return None

    def turns(self, statement: Statement) -> int:
        """What it takes to prove or check the statement: a turn for each claim and each 256 instruments, begun.

        The circuits are not known before they are compiled, which is part of the work; they grow with both."""
        universe = self._public.universe(self._public.epoch_record(statement.epoch).universe)
        return len(statement.claims) * -(-len(universe) // INSTRUMENTS_A_TURN)

    def _logged(self, statement: Statement) -> int | None:
        """Where this very statement stands: logged by an earlier attempt that was killed before it could say so."""
        position = self._log.attestation(statement.account, statement.sequence)
        if position is None:
            return None
        if position.statement_digest != statement.digest:
            raise PolicyError("log.sequence-taken", "another attestation of the account stands at this sequence")
        return position.index

    def _check_timely(self, statement: Statement) -> None:
        """What would make it worthless to whoever reads the log."""
        ring, now = self._public.keys()
        if statement.expiry <= now:
            raise PolicyError("submission.expired", "the statement has expired")
        manifests = self._public.manifests(statement.account)
        manifest = in_force([manifest for manifest, _ in manifests], statement.cut_time)
        if next(name for one, name in manifests if one is manifest) != statement.manifest:
            raise PolicyError("submission.manifest", "not the account's manifest in force at the cut")
        if statement.account_key not in {key.raw for key in ring.in_force(manifest.keys, now)}:
            raise PolicyError("accept.account-key", "its manifest does not name the account key, or it ended")
        if self._public.epoch_record(statement.epoch).expires <= now:
            raise PolicyError("submission.epoch", "the epoch has expired")
        if self._public.superseded(statement.epoch, before=now - self._epoch_lag_s):
            raise PolicyError("submission.epoch-newer", "a newer epoch has been in the log for long")

    def append(self, attestation: Attestation, releases: Iterable[Envelope]) -> int:
        """Its index in the log, durable on return; that of another proof of the same statement if one was faster.

        Once more as `find`: a key may have been revoked while the proof was made, and what is logged stays in the
        account's chain."""
        s = attestation.statement
        index = self.find(s)
        if index is not None:
            return index
        needed = self._public.objects_of(s)
        needed |= {self._log.put_object(release.encode()) for release in releases}
        entry = Entry(
            ATTESTATION,
            attestation.data,
            account=s.account,
            sequence=s.sequence,
            statement_digest=s.digest,
            prev=s.prev,
            books=tuple(sorted({(e.source, e.book) for e in s.sources}, key=lambda b: (b[0].encode(), b[1].encode()))),
            dependencies=tuple(sorted(needed)),
        )
        try:
            return self._log.append(entry, now=self._public.now_s)
        except PolicyError as e:
            index = self._logged(s) if e.code == "log.sequence-taken" else None
            if index is None:
                raise
            return index
