"""The log: one line an entry, on standard error, whatever text is in it. What is worth an entry, each module decides.

An entry with a traceback is one line too, so that a search for the id which a client was told finds all of it, and no
text from outside can begin a line of its own or move the cursor of a terminal.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from datetime import UTC, datetime

from agent.terminal import printable

FORMS = ("text", "json")
PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
"""Levels as the journal of systemd numbers them."""


class OneLine(logging.Formatter):
    """Formats an entry as one line of printable text."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, its traceback included."""
        return printable(super().format(record))


def priority(record: logging.LogRecord) -> str:
    """What systemd's journal reads at the beginning of a line."""
    return f"<{next((number for level, number in PRIORITIES if record.levelno >= level), 7)}>"


class JournalLine(OneLine):
    """The same for systemd's journal, which knows the time and reads the priority from the beginning of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry behind its priority."""
        return f"{priority(record)}{super().format(record)}"


class JsonLine(logging.Formatter):
    """Formats an entry as an object of JSON: time, level, logger, message, and by themselves the fields of an audit."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry, its traceback in the message. All but ASCII is escaped."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": super().format(record),
            **getattr(record, "audit", {}),
        }
        return json.dumps(entry)


class JournalJson(JsonLine):
    """The same behind the priority that systemd's journal reads."""

    def format(self, record: logging.LogRecord) -> str:
        """The entry behind its priority."""
        return f"{priority(record)}{super().format(record)}"


def to_stderr(level: str, form: str = FORMS[0]) -> None:
    """Write entries of this level (``info``) and above to standard error, as ``text`` or ``json``, from now on."""
    handler = logging.StreamHandler(sys.stderr)
    if form == "json":
        handler.setFormatter(JournalJson() if os.environ.get("JOURNAL_STREAM") else JsonLine())
    elif os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(JournalLine("%(name)s: %(message)s"))
    else:
        handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
