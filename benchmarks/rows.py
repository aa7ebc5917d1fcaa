"""What a line of the table is: its number, what is compared with what, the goal, and what was measured."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.lab import Lab


class NotHere(Exception):
    """This cannot be measured on this machine; the text says why."""


class Failed(Exception):
    """Something that is measured did not do what it should; the text says what."""


@dataclass(frozen=True)
class Goal:
    """What a line should come to, at most or at least."""

    limit: float
    stretch: float | None = None
    at_least: bool = False
    unit: str = "x"

    def reached(self, value: float, limit: float | None) -> bool:
        """Whether `value` is on the right side of `limit`."""
        return limit is not None and (value >= limit if self.at_least else value <= limit)

    def verdict(self, value: float) -> str:
        """In one word."""
        if self.reached(value, self.stretch):
            return "stretch"
        return "goal" if self.reached(value, self.limit) else "missed"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What came of a line: one value a round, in the unit of its goal, and the absolute figures of both sides."""

    values: Sequence[float]
    ours: str
    base: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        """The value of the line."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Line:
    """A line of the table. `measure` may raise NotHere or Failed."""

    number: str
    title: str
    """What is measured, a slash, and what it is divided by."""
    goal: Goal
    measure: Callable[[Lab], Measured]


@dataclass(frozen=True)
class Row:
    """A line and what came of it, or why nothing did."""

    line: Line
    measured: Measured | None
    reason: str = ""
