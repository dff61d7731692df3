"""What is written to the log: an allow-list of fields, one JSON object a line.

A record's message is a constant of ours and its values come from FIELDS alone; anything else attached to it, exception
texts and tracebacks included, is dropped.  An exception is told by its type and place (`where`): its message may quote
what a caller or an owner sent.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import TextIO

# Public by nature: names of checks, of routes (templates, not paths), counts, durations, identifiers of jobs and keys.
FIELDS = ("code", "at", "route", "method", "status", "ms", "job", "attempt", "worker", "stage", "pid", "count", "index")
_NAMES = {"message", "msg", "args"}


def where(error: BaseException) -> str:
    """`TypeName file.py:line` of the innermost frame; never the message."""
    trace = error.__traceback__
    place = ""
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" {code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}"
        trace = trace.tb_next
    return type(error).__name__ + place


class JsonLines(logging.Formatter):
    """{"time", "level", "logger", "event", ...FIELDS}.  Text of other libraries is reduced to their logger's name."""

    def format(self, record: logging.LogRecord) -> str:
        ours = record.name.split(".")[0] == "marginseal"
        line: dict[str, object] = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": str(record.msg) if ours else "library",
        }
        for name in FIELDS:
            value = record.__dict__.get(name)
            if isinstance(value, (str, int, float)) and name not in _NAMES:
                line[name] = value
        if record.exc_info and record.exc_info[1] is not None:
            line["at"] = where(record.exc_info[1])
        return json.dumps(line)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every logger of the process through JsonLines to `stream` (standard error)."""
    handler = logging.StreamHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("marginseal").setLevel(level)
