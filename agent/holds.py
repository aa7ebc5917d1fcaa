"""Holds: who works on which disk. Lanes keep the verbs of one machine in turn, and those of one storage; a disk is
worked on from the lanes of both.

What changes a disk holds it for a moment, a copy for as long as it reads. Several may read at once.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic

from agent.errors import OtherOperationInProgress
from agent.model.entity import Entity

WAIT_SECONDS = 20.0
"""How long one waits for a hold, so that what takes a moment refuses nobody."""


class Holds:
    """All holds of one agent."""

    def __init__(self, wait_seconds: float = WAIT_SECONDS) -> None:
        self._wait_seconds = wait_seconds
        self._changed = threading.Condition()
        self._alone: dict[str, str] = {}
        self._shared: Counter[str] = Counter()
        self._readers: dict[str, str] = {}

    @contextmanager
    def holding(
        self,
        operation: str,
        *,
        alone: Iterable[Entity] = (),
        shared: Iterable[Entity] = (),
        wait_seconds: float | None = None,
    ) -> Iterator[None]:
        """Keep others from these while the body runs; from those in `shared` only who wants them alone.

        OTHER_OPERATION_IN_PROGRESS if one of them is not to be had in `wait_seconds`, or those of all holds.
        """
        mine = {item.ref: item for item in alone}
        read = {item.ref: item for item in shared if item.ref not in mine}
        deadline = monotonic() + (self._wait_seconds if wait_seconds is None else wait_seconds)
        with self._changed:
            while (taken := self._taken(mine, read)) is not None:
                left = deadline - monotonic()
                if left <= 0 or not self._changed.wait(left):
                    item, other = taken
                    raise OtherOperationInProgress(item.wire_name, item, other, "")
            self._alone.update(dict.fromkeys(mine, operation))
            self._shared.update(read.keys())
            self._readers.update(dict.fromkeys(read, operation))
        try:
            yield
        finally:
            with self._changed:
                for ref in mine:
                    del self._alone[ref]
                for ref in read:
                    self._shared[ref] -= 1
                    if not self._shared[ref]:
                        del self._shared[ref], self._readers[ref]
                self._changed.notify_all()

    def _taken(self, alone: dict[str, Entity], shared: dict[str, Entity]) -> tuple[Entity, str] | None:
        """One that cannot be had now, and what is done to it."""
        for ref, item in (*alone.items(), *shared.items()):
            if ref in self._alone:
                return item, self._alone[ref]
            if ref in alone and self._shared[ref]:
                return item, self._readers[ref]
        return None
