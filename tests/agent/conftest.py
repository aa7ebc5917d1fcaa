"""What the tests of the agent share: a machine in memory, and the door to an agent that drives it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.door import Door
from tests.fake_machine import FakeMachine


@pytest.fixture
def machine() -> FakeMachine:
    """A host that only exists in memory."""
    return FakeMachine()


@pytest.fixture
def door(machine: FakeMachine) -> Iterator[Door]:
    """An agent on that host, its journal in memory."""
    opened = Door(machine.ports(), None)
    yield opened
    opened.close()
