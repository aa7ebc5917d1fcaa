"""The front door that the tests of what is served beside calls share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.http.served import Served
from tests.door import Door


@pytest.fixture
def served(door: Door, tmp_path: Path) -> Iterator[Served]:
    """The front door, with all that is served beside calls."""
    made = Served(door, tmp_path)
    made.open()
    yield made
    made.close()
