"""Whether QEMU took the disks that it was given for a guest: libxl and libvirt do not wait for its answer.

QEMU serves disks that are files (``qdisk``). One that it cannot open, it leaves out: the domain starts, or the plug
succeeds, and the guest has no such disk (Xen 4.17, libvirt 9.0.0). With QEMU 7.2 every read-only disk is one of these
("Block node is read-only"). What QEMU took has a state in xenstore that it gave it, from XenbusStateInitWait on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from lxml import etree

from agent.errors import OperationNotAllowed
from drivers import xml_read
from drivers.census import CONTROL_DOMAIN
from drivers.text import cleaned
from drivers.xenstore import Xenstore, XenstoreError

ANSWER_SECONDS = 5.0
"""QEMU needs some milliseconds."""
POLL_SECONDS = 0.05
INITIALISED = 2
"""XenbusStateInitWait, as which a back end begins once it has opened its disk."""
LOGS = Path("/var/log/xen")
LOG_BYTES = 8192
"""What is read of the end of QEMU's log."""
TEXT_LIMIT = 300
COMPLAINT = "failed to create 'qdisk' device"
QEMU_ENDS = "Could not open "
CLOCK_SECONDS = 0.1
"""The time of a file is that of the kernel's last tick."""
NO_MEDIUM = "Could not stat file ''"
"""What QEMU complains of an empty CD drive, which is no harm."""


class BackEnds:
    """The disks of guests that QEMU serves, as xenstore has them."""

    def __init__(
        self,
        connect: Callable[[], Xenstore] = Xenstore.connect,
        *,
        logs: Path = LOGS,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._connect = connect
        self._logs = logs
        self._answer_seconds = answer_seconds

    def require_taken(self, name: str, domid: int, targets: Collection[str]) -> None:
        """OPERATION_NOT_ALLOWED, with QEMU's words, unless it serves these disks of the domain within some seconds.

        Where xenstore cannot be asked, nothing is known, and nothing refused.
        """
        deadline = time.monotonic() + self._answer_seconds
        try:
            with self._connect() as store:
                while missing := sorted(set(targets) - _served(store, domid)):
                    if time.monotonic() > deadline:
                        break
                    time.sleep(POLL_SECONDS)
        except XenstoreError:
            return
        if missing:
            raise OperationNotAllowed(f"QEMU does not serve the disk {', '.join(missing)}{self._words_about(name)}")

    def require_drive(self, domid: int, target: str) -> None:
        """OPERATION_NOT_ALLOWED where QEMU knows no such drive of the domain, since it was empty when the domain began.

        QEMU 7.2 ends, and the guest loses all that it emulates, when the medium of such a drive is to change.
        """
        try:
            with self._connect() as store:
                if _disks(store, domid).get(target, INITIALISED) >= INITIALISED:
                    return
        except XenstoreError:
            return
        why = "it has been empty since the machine started, and QEMU would not survive that its medium changes now"
        raise OperationNotAllowed(f"{target}: {why}; start the machine with a medium, or insert it while it is off")

    def last_words(self, name: str, since: float) -> str:
        """Why the QEMU of an HVM guest that was started at the time `since` ended at once; empty if it cannot be known.

        It ends where it cannot open a disk, and libvirt 9.0.0 says "libxenlight failed to create new domain" only.
        """
        words = [words for words in self._log(name, since) if QEMU_ENDS in words]
        return cleaned(words[-1], TEXT_LIMIT) if words else ""

    def _words_about(self, name: str) -> str:
        """What QEMU complained of last; empty if it cannot be known."""
        words = [words for words in self._log(name) if COMPLAINT in words and NO_MEDIUM not in words]
        return f": {cleaned(words[-1], TEXT_LIMIT)}" if words else ""

    def _log(self, name: str, since: float = 0.0) -> Iterator[str]:
        """What QEMU said in the end, line by line; nothing if that was before."""
        with suppress(OSError, ValueError), (self._logs / f"qemu-dm-{name}.log").open("rb") as log:
            if os.fstat(log.fileno()).st_mtime < since - CLOCK_SECONDS:
                return
            log.seek(max(0, log.seek(0, 2) - LOG_BYTES))
            for line in log.read(LOG_BYTES).decode(errors="replace").splitlines():
                yield line.partition(": ")[2]


def served_by_qemu(disk: etree._Element) -> bool:
    """Whether it takes QEMU to serve the disk. A drive whose medium may be absent is another matter."""
    driver = disk.find("driver")
    named = "" if driver is None else driver.get("name", "")
    return disk.get("device", "disk") == "disk" and named == "qemu" and xml_read.source_of(disk) != ""


def _disks(store: Xenstore, domid: int) -> dict[str, int]:
    """The disks that QEMU is to serve to the domain: by name, the state of its back end; 0 for none yet."""
    folder = f"/local/domain/{CONTROL_DOMAIN}/backend/qdisk/{domid}"
    found = {}
    for number in store.directory(folder):
        state = store.read(f"{folder}/{number}/state") or ""
        found[cleaned(store.read(f"{folder}/{number}/dev") or "")] = int(state) if state.isdecimal() else 0
    return found


def _served(store: Xenstore, domid: int) -> set[str]:
    """The names of the disks that QEMU serves to the domain."""
    return {name for name, state in _disks(store, domid).items() if state >= INITIALISED}
