"""What many tests share: the sealed classes, a store that keeps its journal in memory; and the counts printed at the
end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from agent import classes as declared
from agent.model.api import seal_classes
from agent.model.entity import Entity
from agent.store.journal import Journal
from agent.store.store import Store

COUNTS = pytest.StashKey[Mapping[str, tuple[int, int]]]()
"""How much of the original reference is served, and how much there is, by kind; where the tests that count were run."""
COUNTS_OF_XAPI = pytest.StashKey[Mapping[str, tuple[int, int]]]()
"""The same of today's xapi."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much of both references is served."""
    for what, key in (("XenAPI 1.0", COUNTS), ("xapi 2.23", COUNTS_OF_XAPI)):
        counts = terminalreporter.config.stash.get(key, {})
        if counts:
            parts = ", ".join(f"{served:,} of {there:,} {kind}" for kind, (served, there) in counts.items())
            terminalreporter.write_line(f"served of {what}: {parts}")


@pytest.fixture(scope="session")
def classes() -> Mapping[str, type[Entity]]:
    """All classes by wire name, resolved and checked."""
    return seal_classes(declared)


@pytest.fixture
def store(classes: Mapping[str, type[Entity]]) -> Iterator[Store]:
    """An empty store, loaded and open."""
    opened = Store(classes, Journal(None))
    opened.load()
    yield opened
    opened.close()
