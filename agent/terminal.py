"""Text as a terminal and a log can be shown it, whoever wrote it: nothing in it moves the cursor, begins a line of its
own, or turns the direction of writing around.
"""

from __future__ import annotations

import json
from typing import Any


def printable(text: str) -> str:
    """A text on one line. What cannot be printed, lone surrogates included, is written as Python escapes it."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def printable_lines(text: str) -> str:
    r"""A text whose lines stay lines; they end with ``\n`` only."""
    return "\n".join(map(printable, text.split("\n")))


def as_json(value: Any) -> str:
    """JSON with letters of all scripts in it. It reads back as the value."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text)
