"""Names from strangers are printed: by a venue's verdict, by the command line, in logs.  None may drive a terminal.

U+0080 to U+009F are control characters as the first 32 are; U+009B alone begins an escape sequence, with which a source
called so could clear a refusal from the screen or write an acceptance over it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from marginseal.errors import DecodeError
from marginseal.records.statement import SourceEntry, Statement
from tests.records.world import honest

STATEMENT = honest().statement


@pytest.mark.parametrize("control", ["\x00", "\x1b", "\x7f", "\x85", "\x9b"])
def test_a_name_holds_no_control_character(control: str) -> None:
    entry = STATEMENT.sources[0]
    name = entry.source[: -len(control.encode())]
    with pytest.raises(DecodeError) as made:
        replace(STATEMENT, sources=(replace(entry, source=name + control), *STATEMENT.sources[1:]))
    assert made.value.code == "statement.name"
    written = STATEMENT.encode().replace(_text(entry), _text(entry)[:1] + (name + control).encode())
    with pytest.raises(DecodeError) as read:
        Statement.decode(written)
    assert read.value.code == "wire.text"


def _text(entry: SourceEntry) -> bytes:
    return bytes([len(entry.source)]) + entry.source.encode()
