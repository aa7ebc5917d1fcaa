"""The agent's log sent to another host as well, where ``host.logging`` names one: syslog over UDP, as RFC 3164 has it.

Whoever logs waits for nobody: a thread sends, and what it does not get rid of in time is dropped and counted. It looks
for the destination at every line, so a change counts at once.
"""

from __future__ import annotations

import logging
import os
import queue
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import SysLogHandler
from time import localtime, strftime

from agent.classes.checks import host_and_port
from agent.logs import OneLine

log = logging.getLogger(__name__)

PORT = 514
WAITING = 1000
"""Lines that may wait to be sent."""
LINE_BYTES = 8 * 1024
"""What is longer is cut: the syslog servers of today take so much."""
END_SECONDS = 1.0


class Line(OneLine):
    """An entry as syslog's own header and one line of text."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, behind when, where and by whom it was made."""
        when = strftime("%b %e %H:%M:%S", localtime(record.created))
        host = socket.gethostname().partition(".")[0]
        text = f"{when} {host} xen-host-agent[{os.getpid()}]: {super().format(record)}"
        return text.encode("utf-8", "replace")[:LINE_BYTES].decode("utf-8", "ignore")


class Remote(SysLogHandler):
    """A syslog server. What cannot be sent is the caller's to handle."""

    append_nul = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Let the error out."""
        raise


class Forwarder(logging.Handler):
    """Takes entries, and has a thread of its own send them."""

    def __init__(self, destination: Callable[[], str], waiting: int = WAITING) -> None:
        """`destination` tells where to: a host, with a port where that is not syslog's; empty for nowhere.

        At most `waiting` lines wait to be sent.
        """
        super().__init__()
        self._destination = destination
        self._lines: queue.Queue[logging.LogRecord | None] = queue.Queue(waiting)
        self._dropped = 0
        self._remote: Remote | None = None
        self._place = ""
        self._failing = False
        self.setFormatter(Line("%(name)s: %(message)s"))
        self._thread = threading.Thread(target=self._run, name="syslog", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have the entry sent, if there is room for it."""
        try:
            # What it says may be other things by the time that it is sent: it is written down now.
            line = logging.LogRecord(record.name, record.levelno, "", 0, self.format(record), (), None)
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Send what waits, as far as that goes at once, and end."""
        with suppress(queue.Full):
            self._lines.put(None, timeout=END_SECONDS)
        self._thread.join(END_SECONDS)
        super().close()

    # --- in the thread

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._send(line)
            if self._dropped and self._lines.empty():
                dropped, self._dropped = self._dropped, 0
                if self._place:
                    log.warning("%d lines of the log were not sent to %s: they came too fast", dropped, self._place)
        self._close_remote()

    def _send(self, line: logging.LogRecord) -> None:
        place = self._destination()
        trouble = ""
        try:
            if place != self._place:
                self._close_remote()
                self._place = place
            if place and self._remote is None:
                self._remote = Remote(host_and_port(place, PORT), SysLogHandler.LOG_DAEMON)
            if self._remote is not None:
                self._remote.emit(line)
        except (OSError, ValueError) as error:
            self._close_remote()
            trouble = str(error)
        if place and bool(trouble) != self._failing:
            self._failing = bool(trouble)
            if trouble:
                log.warning("the log cannot be sent to %s: %s", place, trouble)
            else:
                log.info("the log is sent to %s again", place)

    def _close_remote(self) -> None:
        if self._remote is not None:
            self._remote.close()
            self._remote = None
