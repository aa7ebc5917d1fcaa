"""What many tests share: the sealed classes, a store that keeps its journal in memory; and the counts printed at the
end.
"""

from __future__ import annotations

from collections import Counter
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

TRIED = pytest.StashKey[dict[str, tuple[int, int, int]]]()
"""How many threats and faults have tests, of how many, and how many docs/security.md explains instead."""


WALKED = pytest.StashKey[Counter[str]]()
"""How many verbs were walked by faults, and how many of their steps met each."""


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how much of both references is served, and how many threats and faults are tried."""
    for what, key in (("XenAPI 1.0", COUNTS), ("xapi 2.23", COUNTS_OF_XAPI)):
        counts = terminalreporter.config.stash.get(key, {})
        if counts:
            parts = ", ".join(f"{served:,} of {there:,} {kind}" for kind, (served, there) in counts.items())
            terminalreporter.write_line(f"served of {what}: {parts}")
    tried = terminalreporter.config.stash.get(TRIED, {})
    if tried:
        told = (
            f"{kind}s: {n} of {there} tested, {explained} explained" for kind, (n, there, explained) in tried.items()
        )
        terminalreporter.write_line("; ".join(told))
    walked = terminalreporter.config.stash.get(WALKED, Counter())
    if walked:
        faults = ", ".join(f"{walked[fault]:,} {fault}" for fault in ("killed", "failed", "held up"))
        terminalreporter.write_line(f"walked: {walked['verbs']:,} verbs, at {walked['steps']:,} steps: {faults}")


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
