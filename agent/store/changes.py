"""The ring of committed changes: one generation number for all, and readers that keep a cursor.

A change says only which object was added, modified or deleted; what it looks like is read from the object when somebody
asks. A slow reader costs nothing: fallen off the ring it is told so. How events are encoded and who waits is
``agent.rpc``'s.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import time

from agent.errors import EventsLost
from agent.model.entity import Entity

ADD, MOD, DEL = "add", "mod", "del"


@dataclass(frozen=True, slots=True)
class Change:
    """One object was added, modified or deleted, as number `generation` of all changes."""

    generation: int
    operation: str
    entity: Entity
    timestamp: float


class Changes:
    """The last `size` changes. Publishing is the store's; reading anyone's, from any thread."""

    def __init__(self, size: int = 65536) -> None:
        self._ring: deque[Change] = deque(maxlen=size)
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []
        self.generation = 0
        """Number of the newest change."""

    def watch(self, published: Callable[[], None]) -> None:
        """Call `published` after every batch of changes, from whatever thread made them. It must return at once."""
        self._watchers.append(published)

    def publish(self, batch: Iterable[tuple[str, Entity]]) -> None:
        """Add the changes of one transaction, in order."""
        now = time()
        with self._lock:
            for operation, entity in batch:
                self.generation += 1
                self._ring.append(Change(self.generation, operation, entity, now))
        for published in self._watchers:
            published()

    def since(self, generation: int) -> list[Change]:
        """The changes after `generation`, oldest first; EVENTS_LOST if one of them is no longer kept or never was."""
        with self._lock:
            missed = self.generation - generation
            if missed == 0:
                return []
            if missed < 0 or missed > len(self._ring):
                raise EventsLost
            if missed * 4 > len(self._ring):
                return list(self._ring)[-missed:]
            newest = []
            for change in reversed(self._ring):
                if change.generation <= generation:
                    break
                newest.append(change)
        newest.reverse()
        return newest
