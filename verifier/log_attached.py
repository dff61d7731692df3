"""What came with an attestation into the log: the same for a venue and for an auditor.

Of the objects that its entry depends on, those that it names by digest are looked for: what its sources published, and
the releases of venues.  Everything else is passed over, whatever it is, and nothing is kept of it: anybody who appends
can put a thousand large objects beside them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator

from marginseal.errors import MarginSealError
from marginseal.log.entry import Entry
from marginseal.records.envelope import peek
from marginseal.records.evidence import Told
from marginseal.records.source import PublishedStatement, SourceStatement
from marginseal.records.statement import Statement
from verifier.log_index import Records

_MAX_BYTES = 2**18


def published(
    records: Records, entry: Entry, statement: Statement, *, known: Container[bytes] = ()
) -> Iterator[PublishedStatement]:
    """What was published of the messages that the statement names, one message more than once if so published.

    known: digests of objects that are something else, and need not be read"""
    wanted = {one.message_digest for one in statement.sources}
    for digest in entry.dependencies:
        if digest == statement.epoch or digest in known:
            continue
        data = records.object(digest)
        if len(data) > _MAX_BYTES:
            continue
        with contextlib.suppress(MarginSealError):
            found = PublishedStatement.decode(data)
            if found.message.digest in wanted:
                yield found


def told(statements: Iterable[PublishedStatement]) -> Iterator[tuple[bytes, Told]]:
    """What each message says of its cut, by digest; what is no message of a source says nothing."""
    for one in statements:
        with contextlib.suppress(MarginSealError):
            yield one.message.digest, Told.of(peek(SourceStatement, one.message))


def releases(records: Records, entry: Entry, statement: Statement) -> Iterator[bytes]:
    """The venues' releases that the statement names; no other object is read."""
    wanted = {release.digest for release in statement.releases}
    for digest in entry.dependencies:
        if digest in wanted:
            data = records.object(digest)
            if len(data) <= _MAX_BYTES:
                yield data
