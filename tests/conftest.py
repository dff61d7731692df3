"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A shared machine is no clock: a slow example is not a fault, a wrong one is.  Nor is a run of all tests the place to
# look for new examples: they are the same each time, and others are looked for with `--hypothesis-profile fresh`.
settings.register_profile("fresh", derandomize=False, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("shared", settings.get_profile("fresh"), derandomize=True)
settings.load_profile("shared")
