"""The census: which domains the hypervisor runs, and in what state, counted by xl every few seconds.

libvirt sends events for what is done through it. What others do (a domain made, paused or renamed with xl) it does not
notice, so one list of all domains is compared with the one before. What a difference means is not judged here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from drivers.xl import Xl, XlDomain

log = logging.getLogger(__name__)

PERIOD_SECONDS = 3.0
CONTROL_DOMAIN = 0


class Census:
    """Counts the domains for as long as it is open; on a host without xl it knows none and does nothing."""

    def __init__(self, xl: Xl, *, period_seconds: float = PERIOD_SECONDS) -> None:
        self._xl = xl
        self._period_seconds = period_seconds
        self._watchers: list[Callable[[str | None], None]] = []
        self._counting = threading.Lock()
        self._begun = float("-inf")
        self._last: Mapping[str, XlDomain] = {}
        self._good = True
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # --- life

    def start(self) -> None:
        """Begin to count. The first count reports what differs from what `fresh` told before, if it was asked."""
        if self._xl.there and self._thread is None:
            self._thread = threading.Thread(target=self._run, name="xl", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Count no more."""
        self._stop.set()
        self._wake.set()

    def watch(self, changed: Callable[[str | None], None]) -> None:
        """Call `changed` with the uuid of each domain that came, went, or is in another state than at the last count,
        from the counting thread.
        """
        self._watchers.append(changed)

    def hurry(self) -> None:
        """Count now rather than at the end of the period: somebody knows that domains came or went."""
        self._wake.set()

    # --- what was counted

    @property
    def last(self) -> Mapping[str, XlDomain]:
        """The domains of the last good count by uuid, without those that are being made or taken down."""
        return self._last

    def fresh(self) -> Mapping[str, XlDomain] | None:
        """The domains of a count that began after this call; None if xl does not tell.

        Those who ask at the same time share one. After a failure nobody waits for xl again until the counting thread
        has had an answer.
        """
        asked = time.monotonic()
        if not self._good or not self._xl.there:
            return None
        with self._counting:
            if self._begun <= asked:
                self._count()
            return self._last if self._good else None

    # --- inside

    def _count(self) -> None:
        """Ask xl. With the lock held."""
        begun = time.monotonic()
        found = self._xl.list()
        if found is None:
            if self._good:
                log.warning("xl does not tell which domains there are; what it told before is kept")
            self._good = False
            return
        if not self._good:
            log.info("xl tells again which domains there are")
        # Two domains can have one uuid for a moment, while one is moved or saved: the newer one is it.
        ordered = sorted((domain for domain in found if domain.settled), key=lambda domain: domain.domid)
        self._last, self._begun, self._good = {domain.uuid: domain for domain in ordered}, begun, True

    def _run(self) -> None:
        # Whoever looked at the domains already saw those of the last count.
        told = _all_told(self._last)
        first = not told
        while not self._stop.is_set():
            self._wake.clear()
            begun = time.monotonic()
            with self._counting:
                self._count()
            now = _all_told(self._last)
            if not first:
                for uuid in [uuid for uuid in now.keys() | told.keys() if now.get(uuid) != told.get(uuid)]:
                    for changed in self._watchers:
                        changed(uuid)
            told, first = now, first and not now
            took = time.monotonic() - begun
            # Where xl is slow, or much is going on, it is not run half of the time or more.
            self._wake.wait(max(0.0, self._period_seconds - 2 * took))
            self._stop.wait(took)


def _all_told(domains: Mapping[str, XlDomain]) -> dict[str, object]:
    return {uuid: _told(domain) for uuid, domain in domains.items()}


def _told(domain: XlDomain) -> object:
    """What of a domain is worth telling when it changes."""
    # Of the control domain libvirt remembers the memory of its own start, of all the processors that they were given.
    memory = domain.memory if domain.domid == CONTROL_DOMAIN else 0
    return domain.domid, domain.power_state, domain.name, domain.vcpus, memory
