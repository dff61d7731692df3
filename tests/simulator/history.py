"""A history of a log, drawn from a seed: honest rounds of one account, with mutations of `mutations` between them.

A round lets time pass, publishes an epoch now and then, and logs an attestation.  What is different about the next one
(`Next`) is set by whoever comes before it; what cannot be composed, proven or logged is told and left out, and the
honest one is logged in its place.  Proofs are real throughout.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from marginseal.errors import MarginSealError
from marginseal.log.entry import Entry
from marginseal.log.publish import attestation_entry, publish_manifest, publish_record
from marginseal.market.epoch import RiskEpoch
from marginseal.records.attestation import RuleRef, make_attestation
from marginseal.records.envelope import Envelope, sign
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.source import PublishedStatement
from marginseal.records.statement import Statement, Tier
from marginseal.records.submission import Submission
from tests.records.world import key
from tests.simulator import world as simulator
from tests.simulator.world import HOUR, LOTS, RULE, SOURCE_KEYS, SOURCES, VENUE_KEYS, Attested, Fund, World, proofs_of

OTHER = key(Role.OPERATOR, "risk-2")
STRANGER = key(Role.OPERATOR, "stranger")
DELAY = 600
LAG = 120
_WAITS = (1, 20, 60, 60, 150)


def same(x: Any) -> Any:
    return x


@dataclass
class Next:
    """What is different about the next attestation."""

    terms: dict[str, dict[str, Any]] = field(default_factory=dict)
    published: Callable[[list[PublishedStatement]], Sequence[PublishedStatement]] = same
    manifest: Envelope | None = None
    sources: Sequence[str] | None = None
    epoch: RiskEpoch | None = None
    pledges: dict[str, int] | None = None
    releases: Sequence[Envelope] = ()
    shown: Sequence[Envelope] | None = None
    rules: Sequence[RuleRef] = (RULE,)
    tier: Tier = Tier.INITIAL
    inputs: tuple[int, ...] = ()
    change: Callable[[Statement], Statement] = same
    unproven: bool = False
    proofs: Callable[[list[bytes]], list[bytes]] = same
    prover: SigningKey | None = None
    objects: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] = same
    entry: Callable[[Entry], Entry] = same
    late: int = 0


@dataclass
class History:
    """told: what happened, in words; policy: changes of the widest policy."""

    rng: random.Random
    world: World
    patch: pytest.MonkeyPatch
    fund: Fund = field(init=False)
    told: list[str] = field(default_factory=list)
    next: Next = field(default_factory=Next)
    sources: tuple[str, ...] = SOURCES
    pending: list[tuple[int, Envelope, tuple[str, ...]]] = field(default_factory=list)
    policy: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def new(cls, seed: int, folder: Path, patch: pytest.MonkeyPatch) -> History:
        world = World.new(folder)
        for name in ("SOURCE_KEYS", "VENUE_KEYS", "ORACLES"):
            for who, known in getattr(simulator, name).items():
                patch.setitem(getattr(simulator, name), who, known)
        made = cls(random.Random(seed), world, patch)
        world.epoch("one")
        made.fund = world.fund()
        return made

    # Time and parties -----------------------------------------------------------------------------------------------

    def on(self, seconds: int | None = None) -> None:
        self.world.now += self.rng.choice(_WAITS) if seconds is None else seconds

    def take(self, old: SigningKey, new: SigningKey) -> None:
        """Whoever signed with the old key signs with the new one from here on."""
        for name in ("PROVER", "OPERATOR"):
            if getattr(simulator, name) is old:
                self.patch.setattr(simulator, name, new)
        for table in (SOURCE_KEYS, VENUE_KEYS, simulator.ORACLES):
            for name, known in table.items():
                if known is old:
                    self.patch.setitem(table, name, new)
        if self.fund.key is old:
            self.fund.key = new

    def anybody(self) -> SigningKey:
        """A party whose key matters."""
        r = self.rng
        return r.choice(
            [
                simulator.PROVER,
                simulator.OPERATOR,
                self.fund.key,
                r.choice(list(SOURCE_KEYS.values())),
                VENUE_KEYS["venue-b"],
                simulator.ORACLES["o1"],
            ]
        )

    def log(self, kind: LogKind, record: Envelope, **options: Any) -> int:
        return publish_record(self.world.log, kind, record, now=self.world.now, **options)

    def attempt(self, what: str, run: Callable[[], Any]) -> Any:
        """What the log, or an honest program, refuses is told and does not happen."""
        try:
            return run()
        except MarginSealError as e:
            self.told.append(f"{what}: not done ({e.code})")
            return None

    # Manifests ------------------------------------------------------------------------------------------------------

    def manifest_of(self, sources: Sequence[str], **changes: Any) -> Envelope:
        """The next version, from the newest that the account made."""
        last = self.pending[-1][1] if self.pending else self.fund.manifest
        base = {"version": len(self.pending) + self._versions + 1, "previous": last.digest}
        base |= {"effective": self.world.now + DELAY}
        signer = changes.pop("signer", self.fund.key)
        return sign(self.fund.manifest_of(sources, **(base | changes)), [signer])

    def publish_manifest(self, manifest: Envelope, sources: Sequence[str], releases: Sequence[Envelope] = ()) -> None:
        """Log it, and go by it once it is in force."""
        publish_manifest(self.world.log, manifest, now=self.world.now, releases=releases)
        self.pending.append((self.world.now + DELAY, manifest, tuple(sources)))

    _versions = 1

    def _adopt(self) -> None:
        while self.pending and self.pending[0][0] <= self.world.now:
            _, self.fund.manifest, self.sources = self.pending.pop(0)
            self._versions += 1

    # Rounds ---------------------------------------------------------------------------------------------------------

    def round(self) -> None:
        """Time passes, an epoch may be published, and the account attests."""
        self.on()
        newest = max(epoch.time for epoch in self.world.epochs)
        if self.world.now - newest > HOUR - 300 or (self.rng.random() < 0.35 and self.world.now > newest):
            self.attempt("epoch", lambda: self.world.epoch(f"epoch {len(self.world.epochs) + 1}"))
            self.on(self.rng.choice((1, 30, LAG + 30)))
        self.attest()

    def attest(self) -> None:
        self._adopt()
        n, self.next = self.next, Next()
        if self._attest(n) is None:
            self._attest(Next())

    def _attest(self, n: Next) -> int | None:
        return self.attempt("attestation", lambda: self._made(n))  # type: ignore[no-any-return]

    def _made(self, n: Next) -> int:
        world, fund = self.world, self.fund
        sources = self.sources if n.sources is None else n.sources
        epoch = n.epoch or max(world.epochs, key=lambda e: e.time)
        manifest = n.manifest or fund.manifest
        honest = [p for s in sources for p in fund.publish(s, self._lots(s), **n.terms.get(s, {}))]
        options: dict[str, Any] = {"epoch": epoch, "rules": n.rules, "tier": n.tier, "inputs": n.inputs}
        options |= {"manifest": manifest, "releases": n.releases}
        submission = fund.submission(honest, pledges=n.pledges, change=n.change, **options)
        proven = submission if not n.unproven else self._provable(honest, options)
        proofs = n.proofs(self._proofs(proven, epoch))
        prover = n.prover or simulator.PROVER
        made = make_attestation(submission.statement, submission.owner, submission.rules, proofs, prover)
        shown = submission if n.shown is None else replace(submission, releases=tuple(n.shown))
        objects = n.objects(simulator.objects_of(world, shown, n.published(honest), manifest))
        entry = n.entry(attestation_entry(made, [world.log.put_object(data) for data in objects]))
        world.now += n.late
        index = world.log.append(entry, now=world.now)
        fund.accept(Attested(made, submission.pledges, objects))
        return index

    def _provable(self, honest: Sequence[PublishedStatement], options: dict[str, Any]) -> Submission:
        """What the account can prove while it signs something else."""
        return self.fund.submission(honest, **options)

    def _proofs(self, submission: Submission, epoch: RiskEpoch) -> list[bytes]:
        """Of the submission, or of the one before where there are none of it."""
        try:
            return proofs_of(submission, epoch, len(self.world.listed_venues.venues))
        except MarginSealError:
            return list(self.fund.history[-1].attestation.proofs) if self.fund.history else [bytes(64)]

    def _lots(self, source: str) -> list[int]:
        """What a confined source holds is on its rows."""
        confined = simulator.peek(simulator.SourceRegistry, self.world.sources).source(source).rows is not None
        return [100_000, *[0] * (len(simulator.UNIVERSE) - 1)] if confined else LOTS[source]
