"""What an operator does: register, suspend and remove parties, change keys, rotate the prover's, publish records.

Every action is authorised by the operator's key, which the configuration names, and written to the trail in the
transaction that does it (audit.py).  What is published goes to the log first: appending again changes nothing, so an
action that was cut short is simply done again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from marginseal.errors import PolicyError
from marginseal.log import publish as log_publish
from marginseal.log.log import Log
from marginseal.market.epoch import RiskEpoch
from marginseal.market.universe import Universe
from marginseal.records.account import open_account
from marginseal.records.envelope import Envelope, peek
from marginseal.records.keyfile import LOG_COST, write_key
from marginseal.records.keys import PublicKey
from marginseal.records.manifest import Manifest
from marginseal.records.sealing import SealingKey
from marginseal.records.source import PublishedStatement, SourceStatement
from server import audit, own_provers, parties, publish
from server.audit import Action, Operator
from server.catalogue import Catalogue
from server.jobs import Clock, LeaseQueue
from server.prover_keys import add_key, key_path
from server.public import LoggedRecords
from server.store import Store


class Office:
    """One operator at one service.  PolicyError operator.unknown for one the configuration does not name."""

    def __init__(
        self,
        store: Store,
        log: Log,
        queue: LeaseQueue,
        operators: Mapping[str, str],
        operator: Operator,
        *,
        manifest_delay_s: int,
        clock: Clock,
    ) -> None:
        operator.check(operators)
        self._store, self._log, self._queue, self._operators = store, log, queue, operators
        self._operator, self._manifest_delay_s, self._clock = operator, manifest_delay_s, clock
        self._public = LoggedRecords(store, log, Catalogue(store, log), clock, manifest_delay_s=manifest_delay_s)

    def _act(self, action: str, params: Mapping[str, Any], do: Callable[[sa.Connection, int], None]) -> int:
        now = self._clock()
        with self._store.write() as c:
            do(c, now)
            return audit.record(c, self._operator, action, params, now_ms=now)

    # Parties

    def register_account(self, record: Envelope) -> int:
        """An account by its own signed record, which is logged: sources find the sealing key there.

        It is logged only if name and key are free and no other record of that name is logged: a record under a name
        that is taken would tell sources to seal that account's openings to a stranger.  PolicyError party.exists."""
        account = open_account(record)
        if self._public.account_records(account.account) not in ([], [record.digest]):
            raise PolicyError("party.exists", "the log holds another record of an account of that name")

        def do(c: sa.Connection, now: int) -> None:
            parties.register(c, "account", account.account, account.key, now=now)
            publish.publish_account(self._log, record, now=now // 1000)

        params = {"kind": "account", "party": account.account, "key": account.key.raw.hex()}
        return self._act("register", params, do)

    def register_source(self, source: str, key: PublicKey) -> int:
        return self._register("source", source, key)

    def register_operator(self, operator: str, key: PublicKey) -> int:
        """A risk operator: whose epochs, registries and revocations hold here.  Its key is followed to its successors,
        as the log has them; one that is suspended, removed or revoked here is one whose records count for nothing,
        those logged before included."""
        return self._register("operator", operator, key)

    def register_venue(self, venue: str, key: PublicKey) -> int:
        return self._register("venue", venue, key)

    def _register(self, kind: str, party: str, key: PublicKey) -> int:
        params = {"kind": kind, "party": party, "key": key.raw.hex()}
        return self._act("register", params, lambda c, now: parties.register(c, kind, party, key, now=now))

    def suspend(self, kind: str, party: str) -> int:
        """Until `resume` the party's signatures open nothing; what it submitted before is still done."""
        return self._set_state("suspend", kind, party, "suspended")

    def resume(self, kind: str, party: str) -> int:
        return self._set_state("resume", kind, party, "active")

    def remove(self, kind: str, party: str) -> int:
        """For good: the name is never given out again."""
        return self._set_state("remove", kind, party, "removed")

    def _set_state(self, action: str, kind: str, party: str, state: str) -> int:
        params = {"kind": kind, "party": party}
        return self._act(action, params, lambda c, now: parties.set_state(c, kind, party, state, now=now))

    # Keys

    def add_key(self, kind: str, party: str, key: PublicKey) -> int:
        params = {"kind": kind, "party": party, "key": key.raw.hex()}
        return self._act("add-key", params, lambda c, now: parties.add_key(c, kind, party, key, now=now))

    def revoke_key(self, key_id: str) -> int:
        """A party's key, or that of an account's own prover."""

        def do(c: sa.Connection, now: int) -> None:
            if not own_provers.revoke(c, key_id, now=now):
                parties.revoke_key(c, key_id, now=now)

        return self._act("revoke-key", {"key_id": key_id}, do)

    def register_prover(self, account: str, key: PublicKey) -> int:
        """A key under which the account's own attestations are logged."""
        params = {"kind": "prover", "party": account, "key": key.raw.hex()}
        return self._act("add-key", params, lambda c, now: own_provers.register(c, account, key, now=now))

    def rotate_prover_key(
        self, directory: Path, passphrase: bytes, new: SealingKey, *, grace_s: int, log_cost: int = LOG_COST
    ) -> int:
        """Write the private key for the workers, then tell the world; older keys retire after the grace."""
        public = new.public
        write_key(key_path(directory, public.key_id), new, passphrase, log_cost=log_cost)
        params = {"key_id": public.key_id, "grace_s": grace_s}
        return self._act(
            "rotate-prover-key", params, lambda c, now: add_key(c, public, now=now, grace_ms=1000 * grace_s)
        )

    # Records

    def publish_universe(self, universe: Universe) -> int:
        publish.publish_universe(self._log, universe, now=self._clock() // 1000)
        return self._published("universe", universe.digest)

    def check_inputs(self, epoch: RiskEpoch, objects: Sequence[bytes]) -> None:
        """Those that the epoch is built again from are among them.  PolicyError epoch-record.inputs, public.unknown."""
        publish.check_inputs(epoch, self._public.universe(epoch.universe_digest), objects)

    def publish_epoch(self, epoch: RiskEpoch, record: Envelope, objects: Sequence[bytes] = ()) -> int:
        ring = self._public.held.ring
        publish.publish_epoch(self._log, epoch, record, ring, now=self._clock() // 1000, objects=objects)
        return self._published("epoch", epoch.digest)

    def publish_source_registry(self, record: Envelope) -> int:
        publish.publish_source_registry(self._log, record, self._public.held.ring, now=self._clock() // 1000)
        return self._published("source-registry", record.digest)

    def publish_venue_registry(self, record: Envelope) -> int:
        publish.publish_venue_registry(self._log, record, self._public.held.ring, now=self._clock() // 1000)
        return self._published("venue-registry", record.digest)

    def publish_manifest(self, record: Envelope) -> int:
        account = peek(Manifest, record).account
        with self._store.read() as c:
            keys = parties.keys_of(c, "account", account)
        publish.publish_manifest(
            self._log, self._public, record, keys, now=self._clock() // 1000, delay_s=self._manifest_delay_s
        )
        return self._published("manifest", record.digest)

    def publish_key_record(self, record: Envelope) -> int:
        """A key change or revocation, if it holds by what is logged already."""
        log_publish.publish_key_record(self._log, record, self._public.held.ring, now=self._clock() // 1000)
        return self._published("key-record", record.digest)

    def publish_source_statement(self, statement: PublishedStatement) -> int:
        """On behalf of a source that does not post its statements itself."""
        source, ring = peek(SourceStatement, statement.message).terms.source, self._public.held.ring

        def do(c: sa.Connection, now: int) -> None:
            keys = parties.keys_of(c, "source", source)
            publish.publish_source_statement(c, self._log, statement, keys, ring, now_ms=now)

        params = {"kind": "source-statement", "digest": statement.message.digest.hex()}
        return self._act("publish", params, do)

    def _published(self, kind: str, digest: bytes) -> int:
        return self._act("publish", {"kind": kind, "digest": digest.hex()}, lambda c, now: None)

    # Work

    def requeue(self, submission: str) -> int:
        """Give a dead job another round.  PolicyError job.not-dead."""

        def do(c: sa.Connection, _now: int) -> None:
            if not self._queue.requeue(c, submission):
                raise PolicyError("job.not-dead", "no dead job of that submission, or its sequence was submitted anew")

        return self._act("requeue", {"submission": submission}, do)

    def trail(self) -> list[Action]:
        """Everything operators did, verified.  StorageError audit.broken."""
        with self._store.read() as c:
            return audit.verify(c, self._operators)
