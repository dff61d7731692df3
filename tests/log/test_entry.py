"""Entries and leaves: canonical bytes, injective, and nothing else decodes."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marginseal.errors import DecodeError
from marginseal.log.entry import ATTESTATION, MAX_LEAF_BYTES, Entry, Leaf
from marginseal.log.merkle import leaf_hash
from tests.log.support import attestation, sha, vectors

V = vectors("log_leaf.json")
A, B = sorted([sha("a"), sha("b")])
FULL = attestation("fund", 2, dependencies=(A, B))

NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=16)
DIGEST = st.binary(min_size=32, max_size=32)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    account = draw(st.none() | NAME)
    chain: tuple[Any, ...] = (None, None, None)
    if account is not None and draw(st.booleans()):
        sequence = draw(st.integers(1, 2**63 - 1))
        prev = bytes(32) if sequence == 1 else draw(DIGEST.filter(any))
        chain = (sequence, draw(DIGEST), prev)
    kind = draw(NAME)
    if kind == ATTESTATION and chain[0] is None:
        kind = "another"
    books = draw(st.sets(st.tuples(NAME, NAME), max_size=4)) if account is not None else set()
    ordered = tuple(sorted(books, key=lambda book: (book[0].encode(), book[1].encode())))
    dependencies = tuple(sorted(draw(st.sets(DIGEST, max_size=4))))
    return Entry(kind, draw(st.binary(max_size=40)), account, *chain, ordered, dependencies)


@pytest.mark.parametrize("case", V["entries"], ids=lambda case: case["desc"])
def test_known_bytes(case: dict[str, Any]) -> None:
    entry = Entry.decode(bytes.fromhex(case["entry"]))
    leaf = entry.leaf(case["time"])
    assert leaf.encode().hex() == case["leaf"]
    assert leaf.hash.hex() == case["leaf_hash"]
    assert entry.payload == case["payload"].encode()
    assert (entry.kind, entry.account, entry.sequence) == (case["kind"], case["account"], case["sequence"])


@settings(max_examples=150, deadline=None)
@given(entries(), st.integers(0, 2**62 - 1))
def test_entries_and_leaves_survive_their_bytes(entry: Entry, time: int) -> None:
    assert Entry.decode(entry.encode()) == entry
    leaf = entry.leaf(time)
    assert Leaf.decode(leaf.encode()) == leaf
    assert leaf.hash == leaf_hash(leaf.encode())
    assert len(leaf.encode()) <= MAX_LEAF_BYTES


def test_the_largest_leaf_is_within_its_limit() -> None:
    books = tuple((f"{i:064}", "b" * 64) for i in range(500))
    largest = attestation("f" * 64, 2**63 - 1, books=books)
    assert len(replace(largest, kind="k" * 64).leaf(2**62 - 1).encode()) <= MAX_LEAF_BYTES


def test_every_field_of_an_entry_changes_the_leaf() -> None:
    changed = [
        replace(FULL, kind="disclosure"),
        replace(FULL, payload=FULL.payload + b"\x00"),
        replace(FULL, account="fund "),
        replace(FULL, sequence=3),
        replace(FULL, statement_digest=sha("another")),
        replace(FULL, prev=sha("another")),
        replace(FULL, books=FULL.books[:1]),
        replace(FULL, books=(("custodianb", "ook of fund"), FULL.books[1])),
        replace(FULL, dependencies=(A,)),
        replace(FULL, dependencies=()),
    ]
    leaves = {e.leaf(7).hash for e in [FULL, *changed]} | {FULL.leaf(8).hash}
    assert len(leaves) == len(changed) + 2
    assert len({e.digest for e in [FULL, *changed]}) == len(changed) + 1


@settings(max_examples=100, deadline=None)
@given(entries(), entries())
def test_two_entries_never_share_bytes(a: Entry, b: Entry) -> None:
    assert (a.encode() == b.encode()) == (a == b)
    assert (a.leaf(1).encode() == b.leaf(1).encode()) == (a == b)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"sequence": None}, "entry.chain"),
        ({"statement_digest": None}, "entry.chain"),
        ({"account": None, "books": ()}, "entry.chain"),
        ({"sequence": None, "statement_digest": None, "prev": None}, "entry.chain"),
        ({"sequence": 0}, "entry.chain"),
        ({"sequence": -1}, "entry.chain"),
        ({"sequence": 2**63}, "entry.chain"),
        ({"sequence": 1}, "entry.chain"),
        ({"prev": bytes(32)}, "entry.chain"),
        ({"prev": bytes(31)}, "entry.chain"),
        ({"statement_digest": bytes(33)}, "entry.chain"),
        ({"kind": ""}, "entry.name"),
        ({"kind": "k" * 65}, "entry.name"),
        ({"account": "two\nlines"}, "entry.name"),
        ({"account": "\x7f"}, "entry.name"),
        ({"account": "\ud800"}, "entry.name"),
        ({"books": (("s", "b\n"),)}, "entry.name"),
        ({"books": (("s", ""),)}, "entry.name"),
        ({"books": (("s", "b"), ("s", "b"))}, "entry.books"),
        ({"books": (("s", "c"), ("s", "b"))}, "entry.books"),
        ({"books": (("ab", "c"), ("a", "c"))}, "entry.books"),
        ({"dependencies": (A, A)}, "entry.dependencies"),
        ({"dependencies": (B, A)}, "entry.dependencies"),
        ({"dependencies": (A[:31],)}, "entry.dependencies"),
    ],
)
def test_entries_that_cannot_be(changes: dict[str, Any], code: str) -> None:
    with pytest.raises(DecodeError) as refused:
        replace(FULL, **changes)
    assert refused.value.code == code


def test_books_need_an_account() -> None:
    with pytest.raises(DecodeError):
        Entry("manifest", b"", books=(("s", "b"),))


def test_ids_are_ordered_as_byte_strings() -> None:
    """U+FF61 comes before U+1F600 in UTF-8; in UTF-16 it would not."""
    replace(FULL, books=(("｡", "b"), ("😀", "b")))
    with pytest.raises(DecodeError):
        replace(FULL, books=(("😀", "b"), ("｡", "b")))


def test_every_shorter_or_longer_encoding_is_refused() -> None:
    for data, decode in ((FULL.encode(), Entry.decode), (FULL.leaf(7).encode(), Leaf.decode)):
        for cut in range(len(data)):
            with pytest.raises(DecodeError):
                decode(data[:cut])
        with pytest.raises(DecodeError):
            decode(data + b"\x00")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_gives_another_value_or_is_refused(at: int, byte: int) -> None:
    for data, decode in ((FULL.encode(), Entry.decode), (FULL.leaf(7).encode(), Leaf.decode)):
        i = at % len(data)
        changed = data[:i] + bytes([byte]) + data[i + 1 :]
        try:
            value: Entry | Leaf = decode(changed)
        except DecodeError:
            continue
        assert value.encode() == changed


@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_a_value(data: bytes) -> None:
    for decode in (Entry.decode, Leaf.decode):
        with pytest.raises(DecodeError):
            decode(data)


def test_counts_are_checked_before_anything_is_made() -> None:
    head = FULL.encode().split((2).to_bytes(8, "big") + b"\x09custodian")[0]
    for count in (2**16 + 1, 2**62, 2**63 - 1, 2**64 - 1):
        with pytest.raises(DecodeError) as refused:
            Entry.decode(head + count.to_bytes(8, "big"))
        assert refused.value.code == "wire.count"


def test_the_leaf_binds_by_sha256() -> None:
    leaf = FULL.leaf(7)
    assert leaf.payload_digest == hashlib.sha256(FULL.payload).digest()
    assert leaf.chain == FULL.chain
