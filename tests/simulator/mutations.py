"""What may go wrong in a history, by name: everybody's lies, mistakes and late records, each a few lines.

A mutation logs something, or says what is different about the next attestation; `draw` gives the numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

from marginseal.log.entry import Entry
from marginseal.log.publish import publish_epoch, publish_manifest, publish_record
from marginseal.records.attestation import RuleRef
from marginseal.records.envelope import Envelope, peek, sign
from marginseal.records.epoch import EpochRecord, epoch_record
from marginseal.records.keychange import KeyChange, KeyRevocation
from marginseal.records.keys import Role, SigningKey
from marginseal.records.logged import LogKind
from marginseal.records.manifest import SourceRelease
from marginseal.records.registry import RegisteredSource
from marginseal.records.source import SourceStatement
from marginseal.records.statement import Continuity, Statement, Tier
from tests.records.world import key
from tests.simulator import world as simulator
from tests.simulator.history import DELAY, LAG, OTHER, STRANGER, History
from tests.simulator.world import HOUR, SOURCE_KEYS, SOURCES, UNIVERSE, VENUE_KEYS, Fund

Mutation = Callable[[History], None]
MUTATIONS: dict[str, Mutation] = {}
JUNK = b"not an envelope"


def mutation(run: Mutation) -> Mutation:
    MUTATIONS[run.__name__] = run
    return run


def restated(**changes: Any) -> Callable[[Statement], Statement]:
    return lambda statement: replace(statement, **changes)


# Keys -------------------------------------------------------------------------------------------------------------


def _moment(h: History) -> int:
    return h.world.now + h.rng.choice((-2 * HOUR, -130, -30, 0, 0, 1, 45, 600))


def _signers(h: History, old: SigningKey, *new: SigningKey) -> list[SigningKey]:
    return [h.rng.choice((old, old, simulator.OPERATOR, OTHER, STRANGER)), *new]


@mutation
def a_key_is_revoked(h: History) -> None:
    """By itself, an operator, another or nobody; now, dated back or ahead; its holder goes on as if nothing were."""
    old = h.anybody()
    h.log(LogKind.KEY_REVOCATION, sign(KeyRevocation("x", old.public, _moment(h)), _signers(h, old)))
    h.on(1)


def _change(h: History, old: SigningKey, new: SigningKey, signers: list[SigningKey], at: int) -> None:
    h.log(LogKind.KEY_CHANGE, sign(KeyChange("x", old.public, new.public, at), signers))
    h.on(1)  # what is changed now counts from the next second on


@mutation
def a_key_is_changed(h: History) -> None:
    """Rightly or not; its holder goes on with the old key or with the new one."""
    old = h.anybody()
    new = key(old.role, f"next {h.rng.random()}")
    at = h.world.now + h.rng.choice((-30, 0, 0, 30))
    _change(h, old, new, _signers(h, old, *([new] if h.rng.random() < 0.9 else [])), at)
    if h.rng.random() < 0.6:
        h.take(old, new)


@mutation
def a_key_is_changed_as_it_should_be(h: History) -> None:
    old = h.anybody()
    new = key(old.role, f"next {h.rng.random()}")
    now = h.world.now
    _change(h, old, new, [old, new], now)
    if old.role == Role.ORACLE:
        record = sign(KeyChange("x", old.public, new.public, now), [old, new])
        h.world.oracle_ring = h.world.oracle_ring.apply(record, logged=now)
    h.take(old, new)


@mutation
def a_key_is_made_the_successor_of_one_made_up(h: History) -> None:
    old = h.anybody()
    made_up = key(old.role, "made up")
    _change(h, made_up, old, [made_up, old], h.world.now)


@mutation
def a_successor_is_revoked(h: History) -> None:
    a_key_is_changed_as_it_should_be(h)
    h.on()
    a_key_is_revoked(h)


@mutation
def a_key_record_is_noise(h: History) -> None:
    kind = h.rng.choice((LogKind.KEY_CHANGE, LogKind.KEY_REVOCATION))
    h.world.log.append(Entry(kind, h.rng.choice((JUNK, h.fund.manifest.encode()))), now=h.world.now)


# Registries -------------------------------------------------------------------------------------------------------


@mutation
def a_source_registry(h: History) -> None:
    """A later or an older version; one key replaced, one source dropped, one confined, or nothing; anybody's."""
    base = simulator.source_registry(h.rng.choice((1, 2, 2, 3)))
    listed = [replace(s, key=SOURCE_KEYS[s.id].public) for s in base.sources]
    match h.rng.choice(("same", "key", "drop", "confined")):
        case "key":
            listed[-1] = RegisteredSource("venue-b", key(Role.SOURCE, "another").public)
        case "drop":
            listed.pop()
        case "confined":
            listed[-1] = replace(listed[-1], rows={UNIVERSE.digest: ((0, 1), (4, 5))})
    signer = h.rng.choice((simulator.OPERATOR, simulator.OPERATOR, OTHER, STRANGER))
    record = sign(replace(base, sources=tuple(listed), issued=h.world.now), [signer])
    when = h.rng.choice(("logged", "logged", "unlogged", "late"))
    if when == "logged":
        h.log(LogKind.SOURCE_REGISTRY, record)
    if h.rng.random() < 0.6:
        h.world.sources = record
    if when == "late":
        h.round()
        h.log(LogKind.SOURCE_REGISTRY, record)


@mutation
def a_venue_registry(h: History) -> None:
    names = h.rng.choice((("venue-a", "venue-b", "venue-c", "venue-d"), ("venue-b", "venue-a", "venue-c")))
    for name in names:
        VENUE_KEYS.setdefault(name, key(Role.VENUE, name))
    made = simulator.venue_registry(h.rng.choice((1, 2, 3)), names)
    signer = h.rng.choice((simulator.OPERATOR, simulator.OPERATOR, STRANGER))
    record = sign(replace(made, issued=h.world.now), [signer])
    late = h.rng.random() < 0.2
    if not late:
        h.log(LogKind.VENUE_REGISTRY, record)
    if h.rng.random() < 0.7:
        h.world.venues, h.world.listed_venues = record, made
        h.next.pledges = {"venue-a": 2_000, "venue-b": 1_000}
    if late:
        h.round()
        h.log(LogKind.VENUE_REGISTRY, record)


@mutation
def a_registry_again(h: History) -> None:
    """The same envelope in another entry."""
    beside = [b"something else"]
    kind, record = h.rng.choice(((LogKind.SOURCE_REGISTRY, h.world.sources), (LogKind.VENUE_REGISTRY, h.world.venues)))
    h.log(kind, record, objects=beside)


@mutation
def a_registry_before_its_signers_time(h: History) -> None:
    """Logged while its signer is no operator yet, and again when it is."""
    new = key(Role.OPERATOR, f"next {h.rng.random()}")
    base = replace(simulator.source_registry(2), issued=h.world.now)
    fewer = [replace(s, key=SOURCE_KEYS[s.id].public) for s in base.sources]
    fewer[-1] = RegisteredSource("venue-b", key(Role.SOURCE, "another").public)
    record = sign(replace(base, sources=tuple(fewer)), [new])
    h.log(LogKind.SOURCE_REGISTRY, record)
    _change(h, simulator.OPERATOR, new, [simulator.OPERATOR, new], h.world.now)
    h.take(simulator.OPERATOR, new)
    h.on(1)
    h.log(LogKind.SOURCE_REGISTRY, record, objects=[b"again"])
    if h.rng.random() < 0.5:
        _leave(h, released="logged", by=key(Role.SOURCE, "another") if h.rng.random() < 0.5 else None)


# Epochs -----------------------------------------------------------------------------------------------------------


def _newest(h: History) -> Any:
    return max(h.world.epochs, key=lambda e: e.time)


@mutation
def an_older_epoch(h: History) -> None:
    old = _newest(h)
    h.on(10)
    h.world.epoch(f"newer {h.world.now}", h.rng.choice(("1", "1.001")))
    h.on(h.rng.choice((LAG - 1, LAG, LAG + 1, LAG + 60)))
    h.next.epoch = old


@mutation
def epochs_out_of_order(h: History) -> None:
    h.on(20)
    h.world.epoch("newer")
    older = h.world.epoch("older", time=h.world.now - 5)
    h.on(LAG + 10)
    h.next.epoch = older


@mutation
def an_expired_epoch(h: History) -> None:
    h.next.epoch = _newest(h)
    h.on(HOUR)


@mutation
def an_epoch_ahead(h: History) -> None:
    h.next.epoch = h.world.epoch("ahead", time=h.world.now + h.rng.choice((30, 200)))


@mutation
def a_matrix_that_favours(h: History) -> None:
    def favour(epoch: Any) -> Any:
        pnl = epoch.pnl.copy()
        pnl[:, 4] //= 2
        return replace(epoch, pnl=pnl)

    h.on(5)
    h.world.epoch("favoured", change=favour)


@mutation
def an_epoch_without_what_it_was_made_from(h: History) -> None:
    h.on(5)
    h.world.epoch("bare", objects=False)


@mutation
def an_epoch_by_reports_that_are_missing(h: History) -> None:
    """All five make the snapshot, two of them are logged."""
    h.on(5)
    world = h.world
    log, put = world.log, world.log.put_object
    kept = 0

    def some(data: bytes) -> bytes:
        nonlocal kept
        if b"oracle-report" in data[:400]:
            kept += 1
            if kept > 2:
                return put(b"{}")
        return put(data)

    log.put_object = some  # type: ignore[method-assign]
    try:
        world.epoch("dropped")
    finally:
        del log.put_object  # type: ignore[method-assign]


@mutation
def an_epoch_nobody_logged(h: History) -> None:
    h.on(5)
    world = h.world
    size = world.log.size()
    epoch = world.epoch(f"hidden {size}")
    other = replace(epoch, name="never logged")
    world.epochs[-1] = other
    world.epoch_records[other.digest] = sign(epoch_record(other), [simulator.OPERATOR])
    h.next.epoch = other
    world.epochs.insert(0, epoch)


def _beside(h: History, epoch: Any) -> Any:
    """What the log has beside an epoch's record."""
    for stored in h.world.log.entries():
        entry = Entry.decode(stored.data)
        if entry.kind == LogKind.EPOCH and peek(EpochRecord, Envelope.decode(entry.payload)).epoch == epoch.digest:
            return [h.world.log.get_object(d) for d in entry.dependencies]
    return []


@mutation
def a_strangers_record_of_an_epoch_first(h: History) -> None:
    """Of the same digest, logged before the operator's: with the same fields or with others."""
    h.on(10)
    old, world = _newest(h), h.world
    elsewhere = replace(world, log=_Nowhere(), epochs=[], epoch_records={})  # type: ignore[arg-type]
    epoch = elsewhere.epoch(f"claimed {world.now}")
    said = epoch_record(epoch)
    if h.rng.random() < 0.6:
        said = replace(said, time=h.rng.choice((1, said.time + 500)), expires=said.expires + 600)
    publish_epoch(world.log, epoch, sign(said, [STRANGER]), now=world.now)
    h.on(1)
    world.epochs.append(epoch)
    record = elsewhere.epoch_records[epoch.digest]
    world.epoch_records[epoch.digest] = record
    publish_epoch(world.log, epoch, record, now=world.now, objects=_Nowhere.objects)
    h.on(h.rng.choice((1, LAG + 20)))
    if h.rng.random() < 0.5:
        h.next.epoch = old


class _Nowhere:
    """A log that keeps nothing but what was put beside the last entry."""

    objects: ClassVar[list[bytes]] = []

    def put_object(self, data: bytes) -> bytes:
        _Nowhere.objects.append(data)
        return hashlib.sha256(data).digest()

    def append(self, entry: Entry, *, now: int) -> int:
        kept = set(entry.dependencies)
        _Nowhere.objects = [o for o in _Nowhere.objects if hashlib.sha256(o).digest() in kept]
        return 0


@mutation
def an_epoch_recorded_again(h: History) -> None:
    """By the other operator's key, or the same record with other objects."""
    epoch = _newest(h)
    if h.rng.random() < 0.5:
        record = sign(epoch_record(epoch), [h.rng.choice((OTHER, STRANGER))])
        publish_epoch(h.world.log, epoch, record, now=h.world.now, objects=[])
    else:
        publish_epoch(h.world.log, epoch, h.world.epoch_records[epoch.digest], now=h.world.now, objects=[b"{}"])


@mutation
def an_epoch_of_an_operator_before_its_time(h: History) -> None:
    """Recorded by a key that is no operator's yet, and again when it is."""
    new, world = key(Role.OPERATOR, f"next {h.rng.random()}"), h.world
    h.on(5)
    old = simulator.OPERATOR
    h.patch.setattr(simulator, "OPERATOR", new)
    epoch = world.epoch("too soon")
    h.patch.setattr(simulator, "OPERATOR", old)
    _change(h, old, new, [old, new], world.now)
    h.take(old, new)
    h.on(1)
    publish_epoch(world.log, epoch, world.epoch_records[epoch.digest], now=world.now, objects=_beside(h, epoch)[:-1])


@mutation
def no_oracles_are_trusted(h: History) -> None:
    h.policy["oracles"] = None


# Manifests --------------------------------------------------------------------------------------------------------


def _leave(h: History, released: str, by: SigningKey | None = None) -> None:
    """venue-b's book leaves."""
    world, fund = h.world, h.fund
    last = h.pending[-1][1] if h.pending else fund.manifest
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], last.digest, world.now)
    release = sign(flat, [by or SOURCE_KEYS["venue-b"]])
    fewer = tuple(s for s in SOURCES if s != "venue-b")
    manifest = h.manifest_of(fewer)
    if released == "logged":
        h.log(LogKind.SOURCE_RELEASE, release, account=fund.name)
    h.publish_manifest(manifest, fewer, [release] if released == "attached" else [])
    if released == "late":
        h.log(LogKind.SOURCE_RELEASE, release, account=fund.name)
    if released == "again":
        h.on(1)
        h.log(LogKind.SOURCE_RELEASE, release, account=fund.name)
        manifest_effective = peek(simulator.Manifest, manifest).effective
        if manifest_effective >= world.now + DELAY:
            publish_manifest(world.log, manifest, now=world.now, releases=[release])
    h.on(h.rng.choice((DELAY - 1, DELAY, DELAY + 60)))


@mutation
def a_book_leaves(h: History) -> None:
    by = h.rng.choice((None, None, None, key(Role.SOURCE, "another"), SOURCE_KEYS["custodian"]))
    _leave(h, h.rng.choice(("logged", "attached", "late", "never", "again")), by)


@mutation
def a_manifest_whose_second_logging_holds(h: History) -> None:
    """Without the source's release, and then, as early as it has to be, with it."""
    world, fund = h.world, h.fund
    last = h.pending[-1][1] if h.pending else fund.manifest
    flat = SourceRelease("venue-b", fund.name, fund.books["venue-b"], last.digest, world.now)
    release = sign(flat, [SOURCE_KEYS["venue-b"]])
    fewer = tuple(s for s in SOURCES if s != "venue-b")
    manifest = h.manifest_of(fewer, effective=world.now + DELAY + 30)
    publish_manifest(world.log, manifest, now=world.now)
    h.on(30)
    publish_manifest(world.log, manifest, now=world.now, releases=[release])
    h.pending.append((world.now + DELAY, manifest, fewer))
    h.on(DELAY)


@mutation
def a_thiefs_manifest(h: History) -> None:
    """Signed by the account's key, naming another; or by nobody's; used or not."""
    thief = key(Role.ACCOUNT, "thief")
    signer = h.rng.choice((h.fund.key, thief))
    manifest = h.manifest_of(h.sources, keys=(thief.public,), signer=signer)
    publish_manifest(h.world.log, manifest, now=h.world.now)
    if h.rng.random() < 0.5:
        h.log(LogKind.KEY_REVOCATION, sign(KeyRevocation("x", h.fund.key.public, h.world.now - 30), [OTHER]))
        new = key(Role.ACCOUNT, f"next {h.rng.random()}")
        _change(h, h.fund.key, new, [OTHER, new], h.world.now)
        h.take(h.fund.key, new)
    elif h.rng.random() < 0.5:
        h.next.manifest = manifest
        h.fund.key = thief
    h.on(h.rng.choice((1, DELAY)))


@mutation
def a_manifest_that_does_not_follow(h: History) -> None:
    """Another version, predecessor or time; the next attestation names it or not."""
    changes: dict[str, Any] = h.rng.choice(
        (
            {"version": 9},
            {"previous": bytes([7]) * 32},
            {"effective": h.world.now},
            {"effective": h.world.now + DELAY - 1},
            {"version": 1, "previous": bytes(32)},
        )
    )
    manifest = h.manifest_of(h.sources, **changes)
    publish_manifest(h.world.log, manifest, now=h.world.now)
    if h.rng.random() < 0.5:
        h.next.manifest = manifest
    h.on(h.rng.choice((1, DELAY)))


@mutation
def two_manifests_of_one_version(h: History) -> None:
    for _ in range(2):
        manifest = h.manifest_of(h.sources, effective=h.world.now + DELAY)
        publish_manifest(h.world.log, manifest, now=h.world.now)
        h.on(1)
    h.next.manifest = manifest if h.rng.random() < 0.5 else None
    h.on(DELAY)


@mutation
def a_manifest_of_noise(h: History) -> None:
    data = h.rng.choice((JUNK, h.world.sources.encode()))
    h.world.log.append(Entry(LogKind.MANIFEST, data, account=h.fund.name), now=h.world.now)


def _again(h: History, manifest: Envelope, **changes: Any) -> None:
    books = peek(simulator.Manifest, manifest).books
    entry = Entry(LogKind.MANIFEST, manifest.encode(), account=h.fund.name, books=books)
    h.world.log.append(replace(entry, **changes), now=h.world.now)


@mutation
def a_manifest_again(h: History) -> None:
    """The one in force, in another entry: other dependencies, other books."""
    other = h.world.log.put_object(b"something else")
    _again(h, h.fund.manifest, **h.rng.choice(({"dependencies": (other,)}, {"books": ()})))


@mutation
def a_manifest_of_another_account_under_this_name(h: History) -> None:
    theirs = Fund("fund-2", h.world)
    manifest = h.rng.choice(
        (
            theirs.manifest,
            sign(
                theirs.manifest_of(SOURCES, version=2, previous=h.fund.manifest.digest, effective=h.world.now + DELAY),
                [h.fund.key],
            ),
        )
    )
    _again(h, manifest, books=())
    h.on(h.rng.choice((1, DELAY)))


@mutation
def the_manifest_in_an_entry_of_other_books(h: History) -> None:
    manifest = h.manifest_of(h.sources)
    _again(h, manifest, books=())
    h.on(DELAY)
    if h.rng.random() < 0.5:
        h.next.manifest = manifest


@mutation
def noise_beside_a_manifest(h: History) -> None:
    """Among the releases that come with it, or in the log under its account."""
    if h.rng.random() < 0.5:
        h.world.log.append(Entry(LogKind.SOURCE_RELEASE, JUNK, account=h.fund.name), now=h.world.now)
    else:
        h.log(LogKind.SOURCE_RELEASE, h.fund.manifest, account=h.fund.name)
    if h.rng.random() < 0.5:
        _leave(h, h.rng.choice(("logged", "attached")))
        return
    manifest = h.manifest_of(h.sources)
    objects = [h.world.log.put_object(JUNK)] if h.rng.random() < 0.5 else []
    _again(h, manifest, dependencies=tuple(objects))
    h.pending.append((h.world.now + DELAY, manifest, tuple(h.sources)))
    h.on(DELAY)


@mutation
def the_first_manifest_comes_late(h: History) -> None:
    """The account begins anew under another name, whose manifest is logged after the attestation or not at all."""
    fund = Fund("fund-3", h.world)
    h.fund, h.pending, h.sources = fund, [], SOURCES
    h._versions = 1
    h.round()
    if h.rng.random() < 0.7:
        publish_manifest(h.world.log, fund.manifest, now=h.world.now)


@mutation
def a_strangers_first_manifest(h: History) -> None:
    """Of an account that has none yet, by somebody else, before its own."""
    thief, fund = key(Role.ACCOUNT, "thief"), Fund("fund-4", h.world)
    books = h.rng.choice((SOURCES, SOURCES[:1]))
    first = sign(replace(fund.manifest_of(books), keys=(thief.public,)), [h.rng.choice((thief, fund.key))])
    entry = Entry(LogKind.MANIFEST, first.encode(), account=fund.name, books=peek(simulator.Manifest, first).books)
    h.world.log.append(entry, now=h.world.now)
    h.fund, h.pending, h.sources = fund, [], SOURCES
    h._versions = 1
    publish_manifest(h.world.log, fund.manifest, now=h.world.now)


@mutation
def the_manifest_before(h: History) -> None:
    """A version changes nothing but itself; the account names the one before, or the new one too early."""
    old, manifest = h.fund.manifest, h.manifest_of(h.sources)
    h.publish_manifest(manifest, h.sources)
    h.on(h.rng.choice((1, DELAY - 1, DELAY)))
    h.next.manifest = h.rng.choice((old, manifest))


# Sources ----------------------------------------------------------------------------------------------------------


@mutation
def a_source_says_something_else(h: History) -> None:
    now = h.world.now
    h.next.terms[h.rng.choice(SOURCES)] = h.rng.choice(
        (
            {"hold_until": None},
            {"hold_until": now + HOUR},
            {"expiry": now + HOUR},
            {"complete": False},
            {"sequence": 1},
            {"sequence": 1000},
            {"account": "fund-2"},
            {"book": "another"},
        )
    )


@mutation
def all_sources_at_another_cut(h: History) -> None:
    now = h.world.now
    changes = h.rng.choice(
        ({"cut_id": "one"}, {"cut_time": now - 100}, {"cut_time": now + 30}, {"cut_time": now + 400})
    )
    for source in SOURCES:
        h.next.terms[source] = dict(changes)


@mutation
def two_messages_for_one_cut(h: History) -> None:
    """The cut of the attestation before, signed once more."""
    if not h.fund.history:
        h.round()
    before = h.fund.history[-1].statement
    for source in SOURCES:
        h.next.terms[source] = {"cut_id": before.cut_id, "cut_time": before.cut_time, "sequence": h.fund.cuts + 9}


@mutation
def a_source_is_left_out(h: History) -> None:
    h.next.sources = h.sources[:-1]


@mutation
def another_ciphertext_is_published(h: History) -> None:
    h.next.published = lambda ps: [replace(ps[0], sealed=b"something else"), *ps[1:]]


@mutation
def a_message_is_published_twice(h: History) -> None:
    """Once as it should be, once with another ciphertext or without the proof of its rows."""
    changes: dict[str, Any] = h.rng.choice(({"sealed": b"something else"}, {"row_proof": None}))
    if h.rng.random() < 0.5:
        confined = {UNIVERSE.digest: ((0, 1), (4, 5))}
        made = replace(simulator.source_registry(4, venue_b=confined), issued=h.world.now)
        listed = tuple(replace(s, key=SOURCE_KEYS[s.id].public) for s in made.sources)
        h.world.sources = sign(replace(made, sources=listed), [simulator.OPERATOR])
        h.log(LogKind.SOURCE_REGISTRY, h.world.sources)
    h.next.published = lambda ps: [*ps, replace(ps[-1], **changes)]


@mutation
def a_message_is_not_published(h: History) -> None:
    h.next.published = lambda ps: ps[1:]


@mutation
def a_message_is_swapped(h: History) -> None:
    """The statement names another message of the source, with its commitment or without."""
    other = h.fund.publish("venue-a", cut_id="another cut")[0]
    changes: dict[str, Any] = {"message_digest": other.message.digest}
    if h.rng.random() < 0.5:
        changes["C"] = peek(SourceStatement, other.message).C

    def swap(statement: Statement) -> Statement:
        entries = [replace(x, **changes) if x.source == "venue-a" else x for x in statement.sources]
        return replace(statement, sources=tuple(entries))

    h.next.change = swap
    h.next.published = lambda ps: [*ps, other]


# Attestations -----------------------------------------------------------------------------------------------------


@mutation
def the_account_states_something_else(h: History) -> None:
    now, d = h.world.now, bytes([9]) * 32
    fields: list[dict[str, Any]] = [
        {"expiry": now + 30},
        {"expiry": now + 60 * HOUR},
        {"currency": "EUR"},
        {"tick": "0.0001"},
        {"srs": d},
        {"universe": d},
        {"manifest": d},
        {"source_registry": d},
        {"venue_registry": d},
        {"cut_time": now - 300},
        {"cut_id": "another"},
        {"prev": d, "sequence": 2, "continuity": Continuity.SAME},
        {"account": "fund-2"},
    ]
    h.next.change = restated(**h.rng.choice(fields))


@mutation
def it_says_that_its_predecessor_expired(h: History) -> None:
    """With other pledges, unlinked."""
    if not h.fund.history:
        h.round()
    alone = replace(h.fund, history=[])
    schedule = simulator.draw_schedule(
        {"venue-a": 3_000}, h.world.listed_venues, simulator.N, account=h.fund.name,
        sequence=len(h.fund.history) + 1, secret=alone.key.seed,
    )  # fmt: skip
    pledge = schedule.commit(simulator.commitment())
    fields = {"continuity": Continuity.EXPIRED, "previous_pledge": None, "releases": (), "pledge": pledge}
    h.next.change = restated(**fields)


@mutation
def its_predecessor_has_expired(h: History) -> None:
    if not h.fund.history:
        h.round()
    h.on(24 * HOUR + h.rng.choice((0, 60)))
    h.world.epoch("a day later")
    h.next.pledges = {"venue-a": 1_000, "venue-c": 500}


@mutation
def a_pledge_is_raised(h: History) -> None:
    h.next.pledges = {"venue-a": 2_500, "venue-b": 1_000}


@mutation
def a_pledge_falls(h: History) -> None:
    """With the venue's release: rightly signed, by another, of another statement, not shown, or not there."""
    if not h.fund.history:
        h.round()
        h.on()
    how = h.rng.choice(("rightly", "rightly", "another key", "another statement", "not shown", "another nonce"))
    changes: dict[str, Any] = {"statement": bytes([3]) * 32} if how == "another statement" else {}
    release = h.fund.release("venue-b", **changes)
    if how == "another key":
        release = sign(peek(simulator.PledgeRelease, release), [VENUE_KEYS["venue-a"]])
    h.next.pledges, h.next.releases = {"venue-a": 2_000}, [release]
    if how == "not shown":
        h.next.shown = []
    if how == "another nonce":
        h.next.change = lambda s: replace(s, releases=tuple(replace(r, nonce=r.nonce + 1) for r in s.releases))


@mutation
def a_nonce_is_used_twice(h: History) -> None:
    if not h.fund.history:
        h.round()
        h.on()
    for pledge in (500, None):
        h.next.pledges = {"venue-a": 2_000} | ({} if pledge is None else {"venue-b": pledge})
        h.next.releases = [h.fund.release("venue-b", nonce=9)]
        h.attest()
        h.on()


@mutation
def a_pledge_falls_unproven(h: History) -> None:
    """Linked, with nobody's release, under the proof that none fell."""
    if not h.fund.history:
        h.round()
        h.on()
    h.next.pledges, h.next.unproven = {"venue-a": 3_000}, True


@mutation
def a_proof_is_wrong(h: History) -> None:
    where = h.rng.randrange(96)

    def flip(proofs: list[bytes]) -> list[bytes]:
        data = bytearray(proofs[0])
        data[-1 - where % len(data)] ^= 1
        return [bytes(data), *proofs[1:]]

    h.next.proofs = flip


@mutation
def another_prover(h: History) -> None:
    h.next.prover = h.rng.choice((key(Role.PROVER, "stranger"), key(Role.PROVER, "prover-2")))


@mutation
def another_tier(h: History) -> None:
    h.next.tier = Tier.MAINTENANCE


@mutation
def several_claims(h: History) -> None:
    h.next.rules = h.rng.choice(
        ((RuleRef("worst_case"), RuleRef("isolated")), (RuleRef("isolated"), RuleRef("net_band")))
    )
    h.next.inputs = (-100_000, 100_000)


@mutation
def a_rule_under_another_name(h: History) -> None:
    def named(statement: Statement) -> Statement:
        (claim,) = statement.claims
        return replace(statement, claims=(replace(claim, tier=Tier.MAINTENANCE),))

    h.next.change = named


@mutation
def logged_before_its_cut(h: History) -> None:
    for source in SOURCES:
        h.next.terms[source] = {"cut_id": "later", "cut_time": h.world.now + h.rng.choice((50, 70, 300))}


@mutation
def logged_late(h: History) -> None:
    h.next.late = h.rng.choice((LAG + 1, HOUR + 1, 25 * HOUR))


@mutation
def an_entry_that_says_something_else(h: History) -> None:
    changes: dict[str, Any] = h.rng.choice(
        ({"books": ()}, {"account": "fund-9", "books": ()}, {"statement_digest": bytes([5]) * 32})
    )
    h.next.entry = lambda entry: replace(entry, **changes)


@mutation
def an_entry_without_its_objects(h: History) -> None:
    keep = h.rng.choice((0, 2, 6))
    h.next.objects = lambda objects: objects[:keep]


@mutation
def an_attestation_of_noise(h: History) -> None:
    """Whoever can append takes the account's place with bytes that are none."""
    if not h.fund.history:
        h.round()
    last = h.fund.history[-1].statement
    entry = Entry(
        "attestation", JUNK, account=h.fund.name, sequence=last.sequence + 1, statement_digest=bytes([1]) * 32,
        prev=last.digest,
    )  # fmt: skip
    h.attempt("noise", lambda: h.world.log.append(entry, now=h.world.now))


@mutation
def entries_of_no_kind(h: History) -> None:
    h.world.log.append(Entry("weather-report", b"fair"), now=h.world.now)
    publish_record(h.world.log, LogKind.ACCOUNT, h.fund.manifest, now=h.world.now, account=h.fund.name)
    publish_record(h.world.log, LogKind.PLEDGE_RELEASE, h.fund.manifest, now=h.world.now, account=h.fund.name)
