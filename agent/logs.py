"""The log: one line an entry, on standard error, whatever text is in it. What is worth an entry, each module decides.

An entry with a traceback is one line too, so that a search for the id which a client was told finds all of it, and no
text from outside can begin a line of its own or move the cursor of a terminal.
"""

from __future__ import annotations

import logging
import os
import sys

PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
"""Levels as the journal of systemd numbers them."""


class OneLine(logging.Formatter):
    """Formats an entry as one line of printable text."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, its traceback included."""
        text = super().format(record)
        if text.isprintable():
            return text
        # Besides control characters, what separates lines or turns the direction of writing around: U+2028, U+202E.
        return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


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
