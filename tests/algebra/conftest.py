"""Property tests without a stopwatch: a shared machine would fail them by its load alone."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
