"""What many tests share: the sealed classes, and a store that keeps its journal in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from agent import classes as declared
from agent.model.api import seal_classes
from agent.model.entity import Entity
from agent.store.journal import Journal
from agent.store.store import Store


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
