"""What an epoch's entry names, told apart: whoever has something logged chooses it."""

from __future__ import annotations

import hashlib
from typing import Any, cast

import pytest

from marginseal.log.entry import Entry
from marginseal.market.snapshot import FORMAT
from marginseal.records.logged import LogKind
from verifier import log_epoch
from verifier.log_epoch import epoch_objects
from verifier.log_index import Records


class Objects:
    def __init__(self, *objects: bytes) -> None:
        self.by_digest = {hashlib.sha256(data).digest(): data for data in objects}

    def object(self, digest: bytes) -> bytes:
        return self.by_digest[digest]


def test_nothing_larger_than_a_market_file_is_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's record of the epoch may name 256 MiB of JSON."""
    small = f'{{"format": "{FORMAT}"}}'.encode()
    held = Objects(small, *(small + b" " * n for n in range(1, 9)))
    entry = Entry(LogKind.EPOCH, b"", dependencies=tuple(sorted(held.by_digest)))
    records = cast(Records, cast(Any, held))
    assert epoch_objects(records, entry, bytes(32)).snapshot == held.object(min(held.by_digest)) != small
    monkeypatch.setattr(log_epoch, "MAX_JSON_BYTES", len(small))
    assert epoch_objects(records, entry, bytes(32)).snapshot == small
