"""Imported by the process that a replay's workers are forked from, so that none of them loads anything again."""

from contextlib import suppress

import verifier.replay.run  # noqa: F401
from marginseal.errors import MarginSealError
from verifier.verify import Setting

with suppress(MarginSealError):  # a worker meets it too, and says so
    Setting.default()
