"""What the agent does by the clock while it serves, and the sign of life that it gives the service manager. What there
is to do, ``daemon`` says.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass
from time import monotonic

from agent import systemd
from agent.lanes import Lanes

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
END_SECONDS = 0.5
"""How long the end waits for what still runs."""
LONGEST_TURN_SECONDS = 10.0
"""A loop that has not turned for so long answers nobody."""


@dataclass(eq=False)
class Chore:
    """Something done again and again, in a worker thread. One that still runs is not begun again."""

    name: str
    every_seconds: float
    run: Callable[[], object]
    due: float = 0.0
    running: Future[object] | None = None
    failure: str = ""
    """What went wrong the last time; the same is told once."""


class House:
    """Does its chores until the end. `keep` runs on the loop."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._chores: list[Chore] = []
        self._turned = monotonic()

    def every(self, seconds: float, name: str, run: Callable[[], object]) -> None:
        """Do this so often, from the start of `keep` on. `name` is for the log."""
        self._chores.append(Chore(name, seconds, run))

    def turning(self) -> bool:
        """Whether the loop turns. From any thread."""
        return monotonic() - self._turned < LONGEST_TURN_SECONDS

    async def keep(self, ended: asyncio.Event) -> None:
        """Keep house until the end."""
        waiting = asyncio.ensure_future(ended.wait())
        while not waiting.done():
            now = self._turned = monotonic()
            for chore in self._chores:
                if now >= chore.due and (chore.running is None or chore.running.done()):
                    chore.due = now + chore.every_seconds
                    chore.running = self._lanes.beside(chore.run)
                    chore.running.add_done_callback(lambda future, chore=chore: _done(chore, future))  # type: ignore[misc]
            await asyncio.wait([waiting], timeout=TICK_SECONDS)
        # What runs may need what is about to be closed.
        running = [chore.running for chore in self._chores if chore.running is not None and not chore.running.done()]
        await asyncio.to_thread(wait, running, END_SECONDS)


def _done(chore: Chore, future: Future[object]) -> None:
    error = None if future.cancelled() else future.exception()
    failure = "" if error is None else f"{type(error).__name__}: {error}"
    if error is not None and failure != chore.failure:
        log.error("housekeeping failed, the next round tries again: %s", chore.name, exc_info=error)
    chore.failure = failure


class Watchdog:
    """Tells the service manager that the agent lives, while all the signs of life are there; else it starts us anew."""

    def __init__(self, every_seconds: float | None, signs: Mapping[str, Callable[[], bool]]) -> None:
        """With None for the seconds it does nothing. `signs` by what they are of; one that does not return is none."""
        self._pause_seconds = None if every_seconds is None else every_seconds / 3
        self._signs = signs
        self._stop = threading.Event()
        self._missing: list[str] = []
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin."""
        if self._pause_seconds is not None:
            self._thread.start()

    def stop(self) -> None:
        """Tell it no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(self._pause_seconds):
            missing = [name for name, alive in self._signs.items() if not alive()]
            if not missing:
                systemd.notify("WATCHDOG=1")
            elif missing != self._missing:
                log.error("no sign of life from %s; unless it comes, the service is begun anew", ", ".join(missing))
            self._missing = missing
