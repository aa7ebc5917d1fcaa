"""The history of live numbers: a sample every five seconds, averaged into rows that are kept for hours, weeks and a
year, as xapi does. In memory, and in one file that is written now and then; what lies between is lost with a power cut.

What is measured and what it is called, ``sources`` says; how rows are kept, ``rows``. How a client is told, is the
business of ``agent.http`` and of the messages.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.archives import files, sources
from agent.archives.rows import TICK_SECONDS, Archive
from agent.archives.sources import Key, Kind
from agent.classes import SR, VM, Host
from agent.errors import XenError
from agent.model.entity import Entity
from agent.ports import Meters
from agent.store.store import Store

log = logging.getLogger(__name__)
SAVE_SECONDS = 86400
"""How often all is written to the file; it is at the end of the agent too."""
SET_BACK_SECONDS = 86400
"""If the clock is set back by less, samples go on when it has come to where it was."""
OF: dict[Kind, type[Entity]] = {Kind.HOST: Host, Kind.VM: VM, Kind.SR: SR}


class Archives:
    """The archives of one agent, by what they are of. From any thread."""

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._saving = threading.Lock()
        self._archives: dict[Key, Archive] = {}
        self._path: Path | None = None
        self._saved = clock()
        self.last = 0
        """The time of the latest sample, in seconds since 1970: a multiple of five."""
        self.trouble = ""
        """Why there is none since, if there is not."""

    def open(self, path: Path) -> None:
        """Go on with what the file has, and keep it there from now on. One that cannot be read is begun anew."""
        self._path = path
        try:
            self._archives = files.load(path)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            log.warning("the history of the numbers begins anew: %s cannot be read: %s", path, error)
        self.last = max((archive.last for archive in self._archives.values()), default=0)

    # --- taking samples

    def tick(self, store: Store, meters: Meters) -> None:
        """Take a sample if it is time for one. Called about every second, by one thread at a time."""
        now = int(self._clock()) // TICK_SECONDS * TICK_SECONDS
        if 0 <= self.last - now < SET_BACK_SECONDS:
            return
        try:
            reading = meters.read()
        except XenError as error:
            if self.trouble != str(error):
                log.warning("there is no sample of the numbers: %s", error)
            self.trouble = str(error)
            return
        self.trouble = ""
        self.note(now, sources.all_of(store, reading))
        if self._clock() - self._saved > SAVE_SECONDS:
            self.save()

    def note(self, now: int, samples: Mapping[Key, Mapping[str, float]]) -> None:
        """Note what was measured at this time. What is sampled no more keeps its rows."""
        with self._lock:
            if now < self.last:
                log.warning("the clock was set back by more than a day: the history of the numbers begins anew")
                self._archives = {}
            self.last = now
            for key, values in samples.items():
                archive = self._archives.get(key)
                if archive is None:
                    archive = self._archives[key] = Archive()
                archive.note(now, values)

    def forget_missing(self, store: Store) -> None:
        """Drop the archives of what is no more."""
        with self._lock:
            gone = [key for key in self._archives if store.known(OF[key.kind], key.uuid) is None]
            for key in gone:
                del self._archives[key]

    def save(self) -> None:
        """Write all to the file. Whoever waits for the lock meanwhile, waits for the copying only."""
        if self._path is None:
            return
        with self._saving:
            with self._lock:
                content = files.dumped(self._archives)
            try:
                files.write(self._path, content)
            except OSError as error:
                log.error("the history of the numbers cannot be written to %s: %s", self._path, error)
            self._saved = self._clock()

    # --- what there is

    def read(self, work: Callable[[Mapping[Key, Archive]], None]) -> None:
        """Look at the archives, with nobody else at them."""
        with self._lock:
            work(self._archives)

    def names(self, key: Key) -> list[str]:
        """The sources that are kept of something, those included that are measured no more."""
        with self._lock:
            archive = self._archives.get(key)
            return [] if archive is None else list(archive.series)

    def is_off(self, key: Key, name: str) -> bool:
        """Whether it is not kept, by the wish of a client."""
        with self._lock:
            archive = self._archives.get(key)
            return archive is not None and name in archive.off

    def forget(self, key: Key, name: str) -> None:
        """Drop what is kept of a source, and keep no more of it until `record`."""
        with self._lock:
            self._archives.setdefault(key, Archive()).forget(name)

    def record(self, key: Key, name: str) -> None:
        """Keep a source, as all are unless they were forgotten."""
        with self._lock:
            if (archive := self._archives.get(key)) is not None:
                archive.off.discard(name)
