"""A venue, an auditor and a mirror read one history: where they do not say the same, and why they may.

Each attestation is decided when it was logged and again at the end, by a venue whose policy asks for nothing but what
the format makes it ask, and by one that remembers what it accepted; the whole log is replayed at the same moments; and
what a venue gathers from a mirror of the service, or of the exported bundle, is what it gathers from the log itself.

    what a venue accepts       has no finding in replay: of its own entry, of its epoch's, or of one before it on which
                               pledges rest
    what has no such finding   every venue accepts
"""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import MarginSealError
from marginseal.log.bundle import Bundle
from marginseal.log.entry import Entry
from marginseal.log.export import export_bundle
from marginseal.log.mirror import Mirror
from marginseal.log.sql import open_sqlite
from marginseal.records.attestation import Attestation
from marginseal.records.envelope import Envelope, peek
from marginseal.records.epoch import EpochRecord
from marginseal.records.logged import LogKind
from marginseal.records.pledges import open_pledge
from marginseal.records.statement import Statement
from tests.log.support import POLICY as LOG_POLICY
from tests.records.world import key
from tests.simulator.history import DELAY, LAG, OTHER, History
from tests.simulator.mutations import MUTATIONS
from tests.simulator.world import OPERATOR, PROVER, Role, World, commitment, policy, policy_document, setting
from verifier.decision.accepted import Accepted
from verifier.decision.decide import decide
from verifier.decision.dossier import Dossier
from verifier.decision.gather import gather, newest_of
from verifier.log_index import LogRecords
from verifier.policy import Policy
from verifier.replay.records import Finding
from verifier.replay.run import replay

YEARS = 10**8
SECOND = key(Role.PROVER, "prover-2")

VENUE_ALONE = {
    "decide.expired": "the clock: it had expired when the venue decided, not when it was logged",
    "decide.short-life": "the clock",
    "decide.future": "the clock: a cut a minute ahead is the log's to take, not the venue's to act on",
    "decide.epoch-ahead": "the clock",
    "pledge.opening": "the opening is the account's to hand over, not the log's",
    "pledge.venue": "the opening is the account's to hand over, not the log's",
}
"""What only a venue refuses."""

EPOCH_ALONE = {
    "epoch-record.rebuild": "only an auditor builds an epoch anew",
    "epoch-record.inputs": "only an auditor builds an epoch anew",
}
"""What only an auditor names of an epoch's entry, under which venues accept."""

SOURCES_ALONE = (
    "accept.", "manifest.", "registry.unknown-source", "rows.", "replay.manifest", "replay.source-registry",
    "replay.backdated", "replay.expired", "replay.epoch-",
)  # fmt: skip
"""Findings of an earlier attestation that do not reach a later one: pledges rest on its signatures, its proofs and how
it follows, not on what sources signed for it, nor on when (`decision/chain.py`)."""


def widest(h: History, venue: str = "venue-a") -> Policy:
    """A policy that asks for nothing of its own."""
    rules = [
        {"name": name, "parameters": {}, "tiers": ["initial", "maintenance"]} for name in ("worst_case", "isolated")
    ]
    base: dict[str, Any] = {
        "rules": rules, "sources": dict.fromkeys(("custodian", "venue-a", "venue-b"), None), "accounts": {},
        "listed_as": None, "hold": False, "minimum_pledge_ticks": "0", "epoch_max_age_s": YEARS,
        "coherence_window_s": YEARS, "min_life_s": 0, "chain_limit": 4096, "manifest_delay_s": DELAY,
        "epoch_lag_s": LAG, "operators": [k.public.raw.hex() for k in (OPERATOR, OTHER)],
        "provers": [k.public.raw.hex() for k in (PROVER, SECOND)],
        "log": policy_document()["log"] | {"max_age_s": YEARS},
    }  # fmt: skip
    return policy(venue, **(base | h.policy))


@dataclass
class Readers:
    """Who reads a history.  wrong: where they disagree; seen: every code of each side."""

    h: History
    folder: Path
    wrong: list[str] = field(default_factory=list)
    venue_codes: Counter[str] = field(default_factory=Counter)
    auditor_codes: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, Accepted] = field(default_factory=dict)
    decisions: int = 0
    both_accept: int = 0

    def compare(self, *, aside: bool = False) -> None:
        """All readers on the account's newest, now."""
        h, world = self.h, self.h.world
        if world.log.attestation(h.fund.name, 1) is None:
            return
        venue = self._venue()
        found = self._audit()
        self.venue_codes.update(set(venue))
        self.auditor_codes.update({f.code for f in found})
        self.decisions += 1
        head = world.log.head(h.fund.name)
        assert head is not None
        own, epoch, before = self._about(head.index, found)
        against = own | (epoch - EPOCH_ALONE.keys()) | before
        refused = set(venue) - VENUE_ALONE.keys()
        self.both_accept += not refused and not against
        if bool(refused) != bool(against):
            self._say(
                f"venue {sorted(venue)}, auditor: own {sorted(own)} epoch {sorted(epoch)} before {sorted(before)}"
            )
        if aside:
            self._mirrors()

    def _say(self, what: str) -> None:
        self.wrong.append(f"at {self.h.world.log.size()}: {what}")

    # The venue ------------------------------------------------------------------------------------------------------

    def _venue(self) -> list[str]:
        h, chosen = self.h, widest(self.h)
        try:
            codes = self._decided(chosen, None)
            remembered = self.accepted.get(h.fund.name)
            if remembered is not None:
                again = self._decided(chosen, remembered)
                if not codes and again:
                    self._say(f"who remembers refuses {again}, a stranger accepts")
            return codes
        except Exception:
            self._say("crash of the venue: " + traceback.format_exc()[-600:])
            return ["crash"]

    def _decided(self, chosen: Policy, remembered: Accepted | None) -> list[str]:
        world = self.h.world
        try:
            dossier = self._dossier(LogRecords(world.log), remembered)
        except MarginSealError as e:
            return ["gather " + e.code]
        found = decide(dossier, chosen, now=world.now + 1, setting=setting(), accepted=remembered)
        if found.accepted:
            self.accepted[self.h.fund.name] = Accepted.of(Attestation.decode(dossier.attestation).statement)
        return sorted({code for code, _ in found.reasons})

    def _dossier(self, reading: LogRecords, remembered: Accepted | None = None) -> Dossier:
        h, world = self.h, self.h.world
        note, head = newest_of(world.log, h.fund.name, now=world.now)
        return gather(reading, h.fund.name, note, head, chain_limit=4096, accepted=remembered, pledge=self._opening())

    def _opening(self) -> bytes | None:
        newest, world = self.h.fund.history[-1] if self.h.fund.history else None, self.h.world
        try:
            assert newest is not None
            return open_pledge(newest.schedule, newest.statement, world.listed_venues, "venue-a", commitment()).encode()
        except (MarginSealError, AssertionError):
            return None

    # The auditor ----------------------------------------------------------------------------------------------------

    def _audit(self) -> tuple[Finding, ...]:
        world = self.h.world
        world.log.checkpoint(now=world.now)
        self.bundle = self.folder / f"bundle-{world.log.size()}-{self.decisions}"
        export_bundle(world.log, self.bundle)
        try:
            return replay(Bundle(self.bundle), widest(self.h).trust, workers=1).findings
        except Exception:
            self._say("crash of the auditor: " + traceback.format_exc()[-600:])
            return ()

    def _about(self, index: int, found: tuple[Finding, ...]) -> tuple[set[str], set[str], set[str]]:
        """Codes of the entry, of its epoch's entry, and of those before it that it rests on."""
        log = self.h.world.log
        own = {f.code for f in found if f.index == index}
        account = log.entry(index)[1].account
        before = {
            f.code
            for f in found
            if f.account == account and f.sequence is not None and f.index is not None and f.index < index
            and not f.code.startswith(SOURCES_ALONE)
        }  # fmt: skip
        statement = _statement(self.h.world, index)
        epochs = set() if statement is None else set(_epoch_entries(self.h.world, statement.epoch))
        at = {
            f.index: f.code
            for f in found
            if f.index in epochs and f.code in ("signature.threshold", "keys.not-in-force")
        }
        first = next((i for i in sorted(epochs) if i not in at), None)
        epoch = {f.code for f in found if f.index == first} if first is not None else set()
        return own, epoch, before

    # Mirrors --------------------------------------------------------------------------------------------------------

    def _mirrors(self) -> None:
        """What a venue gathers of a service, or of an exported bundle, is what it gathers from the log."""
        try:
            own = self._dossier(LogRecords(self.h.world.log))
        except MarginSealError as e:
            own = e.code  # type: ignore[assignment]
        except Exception:
            return  # said already
        for service in (_Served(self.h.world), _Bundled(Bundle(self.bundle))):
            mirror = Mirror(open_sqlite(self.folder / f"mirror-{type(service).__name__}.db"), service, LOG_POLICY)
            try:
                mirror.sync()
                other = self._dossier(LogRecords(mirror.log, mirror.object))
            except MarginSealError as e:
                other = e.code  # type: ignore[assignment]
            finally:
                mirror.close()
            if other != own:
                self._say(f"{type(service).__name__}: another dossier than the log's own: {own!s:.60} {other!s:.60}")


@dataclass
class _Served:
    """The log as a service shows it."""

    world: World

    def checkpoint(self) -> bytes:
        return self.world.log.checkpoint(now=self.world.now)

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        return [(e.index, e.time, e.data) for e in self.world.log.entries(start)][:50]

    def object(self, digest: bytes) -> bytes:
        return self.world.log.get_object(digest)


@dataclass
class _Bundled:
    """The log as an exported bundle has it."""

    bundle: Bundle

    def checkpoint(self) -> bytes:
        return list(self.bundle.checkpoints())[-1]

    def entries(self, start: int) -> list[tuple[int, int, bytes]]:
        return [(e.index, e.time, e.entry.encode()) for e in self.bundle.entries(start)][:50]

    def object(self, digest: bytes) -> bytes:
        return self.bundle.object(digest)


def _statement(world: World, index: int) -> Statement | None:
    try:
        return Attestation.decode(world.log.entry(index)[1].payload).statement
    except MarginSealError:
        return None


def _epoch_entries(world: World, digest: bytes) -> Iterator[int]:
    for stored in world.log.entries():
        entry = Entry.decode(stored.data)
        if entry.kind == LogKind.EPOCH and peek(EpochRecord, Envelope.decode(entry.payload)).epoch == digest:
            yield stored.index


def run(seed: int, folder: Path, names: list[str] | None = None, rounds: int = 3) -> Readers:
    """One history: some rounds and its mutations (None: drawn, up to three), everybody asked as it goes."""
    with pytest.MonkeyPatch.context() as patch:
        h = History.new(seed, folder / "log", patch)
        readers = Readers(h, folder)
        if names is None:
            names = h.rng.sample(sorted(MUTATIONS), h.rng.choice((0, 1, 1, 2, 2, 3)))
        places = sorted(h.rng.randrange(rounds + 1) for _ in names)
        for number in range(rounds):
            for place, name in zip(places, names, strict=True):
                if place == number:
                    _mutate(h, name)
            h.round()
            readers.compare()
        for place, name in zip(places, names, strict=True):
            if place == rounds:
                _mutate(h, name)
        h.on()
        readers.compare(aside=True)
        h.told.insert(0, f"seed {seed}: {list(zip(places, names, strict=True))}")
        return readers


def _mutate(h: History, name: str) -> None:
    h.attempt(name, lambda: MUTATIONS[name](h))


def main() -> None:
    """python -m tests.simulator.agreement FIRST LAST ROUNDS [mutation ...]: a history for each seed, codes and
    disagreements printed."""
    import sys
    import tempfile
    import time

    first, last, rounds, *names = sys.argv[1:]
    venue, auditor, mutations = Counter[str](), Counter[str](), Counter[str]()
    start, bad, decisions, both = time.time(), 0, 0, 0
    for seed in range(int(first), int(last)):
        with tempfile.TemporaryDirectory() as folder:
            try:
                found = run(seed, Path(folder), names or None, int(rounds))
            except Exception:
                print(f"seed {seed}: crash {traceback.format_exc()[-1500:]}", flush=True)
                continue
        venue += found.venue_codes
        auditor += found.auditor_codes
        decisions += found.decisions
        both += found.both_accept
        print(f"# {seed} {sorted({*found.venue_codes, *found.auditor_codes})}", flush=True)
        if found.wrong:
            bad += 1
            print("\n   ".join([found.h.told[0], *found.h.told[1:], *found.wrong]), flush=True)
    print(
        f"{int(last) - int(first)} histories, {decisions} decisions, {both} accepted by both, {bad} with disagreement"
    )
    print(f"{time.time() - start:.0f} s", mutations or "")
    print("venue:", dict(venue.most_common()))
    print("auditor:", dict(auditor.most_common()))


if __name__ == "__main__":
    main()
