"""The log: one line an entry, on standard error, whatever text is in it. What is worth an entry, each module decides.

An entry with a traceback is one line too, so that a search for the id which a client was told finds all of it, and no
text from outside can begin a line of its own or move the cursor of a terminal.
"""

from __future__ import annotations

import logging
import os
import sys

from agent.terminal import printable

PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
"""Levels as the journal of systemd numbers them."""


class OneLine(logging.Formatter):
    """Formats an entry as one line of printable text."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, its traceback included."""
        return printable(super().format(record))


class JournalLine(OneLine):
    """The same for systemd's journal, which knows the time and reads the priority from the beginning of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry behind its priority."""
        priority = next((number for level, number in PRIORITIES if record.levelno >= level), 7)
        return f"<{priority}>{super().format(record)}"


def to_stderr(level: str) -> None:
    """Write entries of this level (``info``) and above to standard error, from now on."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalLine("%(name)s: %(message)s"))
    else:
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
