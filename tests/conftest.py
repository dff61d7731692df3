"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# A shared machine is no clock: a slow example is not a fault, a wrong one is.
settings.register_profile("shared", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared")
