"""A log with one epoch, and a fund that has attested in it: where the attacks of section 10 begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulator.world import Fund, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World.new(tmp_path / "log")
    made.epoch("one")
    return made


@pytest.fixture
def fund(world: World) -> Fund:
    return world.fund()
