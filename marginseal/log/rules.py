"""The rules of the log, applied to each entry inside the transaction that appends it.

* One attestation for each (account, sequence); its sequence is the account's last plus one, its `prev` the statement
  digest of that last one.
* A (source, book id) belongs to the account under which it was first logged, for ever.
* Every dependency is stored, under its SHA-256, before the entry that names it.
* An entry whose canonical bytes are logged already keeps its index: appending is idempotent.
* The log's time never goes back.

Payloads are not parsed.  Who calls `Log.append` answers for the record saying what the payload says (the server
before it appends, the auditor again at replay), since anyone who may append under an account's name could otherwise
take its place in the chain.
"""

from __future__ import annotations

import hashlib

from marginseal.errors import PolicyError, StorageError
from marginseal.log import tiles
from marginseal.log.entry import ATTESTATION, NO_PREDECESSOR, Entry
from marginseal.log.storage import Position, Snapshot, StoredEntry, Transaction

CLOCK_STEP_S = 10  # a clock set back by less than this does not stop the log, whose own time then stands still
EVERY = 2**62
"""More entries than any log has."""


def add_entry(tx: Transaction, tree: tiles.TreeWriter, entry: Entry, data: bytes, time: int) -> int:
    """Apply the rules to one entry and write it; its index.  The tree's tiles are written by the caller."""
    chained = entry.kind == ATTESTATION
    digest = None if chained else hashlib.sha256(data).digest()
    known = _place_taken(tx, entry, data) if digest is None else tx.index_of(digest)
    if known is not None:
        return known
    accounts = tx.book_accounts(entry.books) if entry.books else {}
    if any(account != entry.account for account in accounts.values()):
        raise PolicyError("log.book-taken", "a (source, book id) belongs to another account")
    if entry.dependencies:
        missing = tx.missing_objects(entry.dependencies)
        if missing:
            raise PolicyError("log.dependency-missing", f"object {min(missing).hex()} is not stored")
    index = tree.size
    tree.append(entry.leaf(time).hash)
    tx.add_entry(StoredEntry(index, time, data), digest)
    if entry.account is not None:
        if chained and entry.chain is not None:
            tx.add_attestation(entry.account, Position(entry.chain[0], entry.chain[1], index))
        tx.add_books(entry.account, [book for book in entry.books if book not in accounts], index)
    return index


def _place_taken(tx: Snapshot, entry: Entry, data: bytes) -> int | None:
    """The index of this very attestation if it is logged; None if it is the next of its account; else refused."""
    assert entry.account is not None
    assert entry.chain is not None
    sequence, _, prev = entry.chain
    head = tx.head(entry.account, EVERY)
    last, last_digest = (0, NO_PREDECESSOR) if head is None else (head.sequence, head.statement_digest)
    if sequence <= last:
        index = same_attestation(tx, entry.account, sequence, data)
        if index is None:
            raise PolicyError("log.sequence-taken", f"another attestation of the account stands at {sequence}")
        return index
    if sequence != last + 1:
        raise PolicyError("log.sequence-gap", f"the account's next attestation is {last + 1}, not {sequence}")
    if prev != last_digest:
        raise PolicyError("log.prev-mismatch", "the attestation does not name its predecessor")
    return None


def same_attestation(snapshot: Snapshot, account: str, sequence: int, data: bytes) -> int | None:
    """The index of the attestation at (account, sequence) if its canonical bytes are these."""
    position = snapshot.attestation(account, sequence)
    stored = None if position is None else snapshot.entry(position.index)
    return stored.index if stored is not None and stored.data == data else None


def log_time(now: int, last: int) -> int:
    """The log's own time: the clock's, or the last one written while the clock is a little behind it."""
    if now < last - CLOCK_STEP_S:
        raise StorageError("log.clock", f"the clock is {last - now} s behind the log's own last time")
    return max(now, last)
