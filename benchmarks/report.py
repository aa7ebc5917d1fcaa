"""The table, as text for people and as JSON for whoever keeps a history."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import Goal, Row

TITLE_WIDTH = 76
HEADINGS = ("#", "what / divided by", "median", "min..max", "goal (stretch)", "", "ours / the other")
LEGEND = (
    "A ratio compares two things measured in turn in this run; medians of the rounds. The last column is for the\n"
    "curious: such figures move with the machine and its load, the ratios far less."
)


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _goal(goal: Goal) -> str:
    sign = ">=" if goal.at_least else "<="
    unit = "" if goal.unit == "x" else f" {goal.unit}"
    stretch = "" if goal.stretch is None else f" ({_short(goal.stretch)})"
    return f"{sign} {_short(goal.limit)}{unit}{stretch}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else str(value)


def _cells(row: Row) -> tuple[str, ...]:
    line, measured = row.line, row.measured
    if measured is None:
        return (line.number, line.title, "-", "", _goal(line.goal), "", "")
    values = measured.values
    spread = f"{_number(min(values))}..{_number(max(values))}" if len(values) > 1 else "one"
    figures = f"{measured.ours} / {measured.base}" if measured.base else measured.ours
    verdict = line.goal.verdict(measured.median)
    return (line.number, line.title, _number(measured.median), spread, _goal(line.goal), verdict, figures)


def table(rows: Sequence[Row]) -> str:
    """The rows as text, each with its note or the reason why there is no value below it."""
    cells = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(HEADINGS))]
    widths[1] = min(widths[1], TITLE_WIDTH)
    lines = [_laid_out(HEADINGS, widths), "-" * (sum(widths) + 2 * len(widths))]
    for row, texts in zip(rows, cells[1:], strict=True):
        lines.append(_laid_out(texts, widths))
        remark = row.reason or (row.measured.note if row.measured is not None else "")
        lines += textwrap.wrap(remark, 112, initial_indent=" " * 7, subsequent_indent=" " * 7)
    return "\n".join([*lines, "", LEGEND])


def _laid_out(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(
        text.rjust(width) if column == 2 else text.ljust(width)
        for column, (text, width) in enumerate(zip(texts, widths, strict=True))
    ).rstrip()


@dataclass(frozen=True)
class Setting:
    """What all of a run has in common."""

    python: str
    machine: str
    rounds: int
    quick: bool
    seconds: float


def write_json(path: Path, rows: Sequence[Row], setting: Setting) -> None:
    """Write the rows with every round's value."""
    said = [
        {
            "number": row.line.number,
            "title": row.line.title,
            "unit": row.line.goal.unit,
            "goal": row.line.goal.limit,
            "stretch": row.line.goal.stretch,
            "at_least": row.line.goal.at_least,
            "reason": row.reason,
            **(
                {}
                if row.measured is None
                else {
                    "median": row.measured.median,
                    "values": list(row.measured.values),
                    "verdict": row.line.goal.verdict(row.measured.median),
                    "ours": row.measured.ours,
                    "other": row.measured.base,
                    "note": row.measured.note,
                }
            ),
        }
        for row in rows
    ]
    path.write_text(json.dumps({"setting": vars(setting), "rows": said}, indent=1) + "\n")
