"""How results are printed: tables that fit the terminal, records one field a line, one line for scripts, JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from agent.shell.words import READ_WRITE, Word
from agent.terminal import printable

NARROWEST = 8
"""A column is not cut below this many letters."""
GAP = "  "
CUT = "\N{HORIZONTAL ELLIPSIS}"


def width() -> int | None:
    """The columns of the terminal; None where it is none, and nothing needs to fit."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
    except (OSError, ValueError):
        return None


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], limit: int | None) -> list[str]:
    """The lines of a table. Where it is wider than `limit`, the widest columns are cut; uuids (the first one) never."""
    cells = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    if limit is not None:
        excess = sum(widths) + len(GAP) * (len(widths) - 1) - limit
        while excess > 0:
            widest = max(range(len(widths)), key=lambda n: widths[n] if n or len(widths) == 1 else 0)
            if widths[widest] <= max(NARROWEST, len(headings[widest])):
                break
            widths[widest] -= 1
            excess -= 1
    return [
        GAP.join(_cut(cell, size).ljust(size) for cell, size in zip(row, widths, strict=True)).rstrip()
        for row in ([heading.upper() for heading in headings], *cells)
    ]


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + _mark()


def _mark() -> str:
    try:
        CUT.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "~"
    return CUT


def access(field: Word) -> str:
    """xe's mark of a field: RO or RW, of sets and maps with a letter before."""
    kind = {"set": "S", "map": "M"}.get(field.shape.kind, "")
    return f"({kind}{'RW' if field.qualifier == READ_WRITE else 'RO'})"


def block(lines: Sequence[tuple[str, str, str]]) -> list[str]:
    """A record, one field a line: name, mark, value."""
    size = max((len(name) + len(mark) for name, mark, _ in lines), default=0)
    return [f"{name} {mark:>{size - len(name)}}: {printable(value)}".rstrip() for name, mark, value in lines]


def minimal(values: Sequence[str]) -> str:
    """Values on one line, by commas; a comma or backslash in one has a backslash before it, as in xe."""
    return ",".join(printable(value).replace("\\", "\\\\").replace(",", "\\,") for value in values)


def text(value: str) -> str:
    """A result that may have several lines, without what a terminal would obey."""
    return "\n".join(printable(line.expandtabs()) for line in value.splitlines())
