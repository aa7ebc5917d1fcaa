"""Rows of averages, kept in rings: of one host, machine or storage. Bounded by what is measured, and grown as it comes.

A row ends at a multiple of its step and covers the samples since the row before. One in which nothing was measured is
not a number (NaN). The steps, their numbers of rows and the three ways of consolidation are xapi's.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

TICK_SECONDS = 5
NAN = math.nan
SOURCES_MAX = 1024
"""Sources of one machine or host: its devices are fewer."""
UNSEEN_SECONDS = 86400
"""A source that was not measured for so long, while others were, is of a device that is gone."""


@dataclass(frozen=True)
class Span:
    """Rows of one step."""

    step: int
    """Seconds."""
    rows: int
    ways: tuple[str, ...] = ("AVERAGE", "MIN", "MAX")
    code: str = "f"
    """How numbers are kept, in Python's letters for arrays."""


SPANS = (Span(5, 120, ("AVERAGE",), "d"), Span(60, 120), Span(3600, 168), Span(86400, 366))
"""Ten minutes, two hours, a week and a year."""


class Ring:
    """The last values of a sequence."""

    __slots__ = ("_next", "_room", "_values")

    def __init__(self, room: int, code: str, values: array[float] | None = None) -> None:
        self._room = room
        self._values: array[float] = array(code) if values is None else values
        self._next = 0

    def push(self, value: float) -> None:
        """Add a value; the oldest one goes if there is no more room."""
        if len(self._values) < self._room:
            self._values.append(value)
        else:
            self._values[self._next] = value
            self._next = (self._next + 1) % self._room

    def values(self) -> array[float]:
        """All values, the oldest first."""
        return self._values[self._next :] + self._values[: self._next]

    def newest(self, age: int) -> float:
        """The value pushed `age` pushes before the latest; NaN if there is none such."""
        if not 0 <= age < len(self._values):
            return NAN
        return self._values[(self._next - 1 - age) % len(self._values)]


@dataclass
class Gathered:
    """The samples of a row that has not ended."""

    sum: float = 0.0
    count: int = 0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float) -> None:
        """Take a sample in."""
        self.sum += value
        self.count += 1
        self.least, self.most = min(self.least, value), max(self.most, value)

    def result(self, way: str) -> float:
        """What becomes of them; NaN if there were none."""
        if not self.count:
            return NAN
        return {"AVERAGE": self.sum / self.count, "MIN": self.least, "MAX": self.most}[way]


@dataclass
class Series:
    """All that is kept of one source."""

    rings: list[list[Ring]] = field(
        default_factory=lambda: [[Ring(span.rows, span.code) for _ in span.ways] for span in SPANS]
    )
    gathered: list[Gathered] = field(default_factory=lambda: [Gathered() for _ in SPANS])
    value: float = NAN
    """The latest sample."""
    seen: int = 0
    """When that was."""

    def close(self, number: int) -> None:
        """End the row of a span."""
        for way, ring in zip(SPANS[number].ways, self.rings[number], strict=True):
            ring.push(self.gathered[number].result(way))
        self.gathered[number] = Gathered()


@dataclass
class Archive:
    """All that is kept of one thing, by source."""

    last: int = 0
    """When it was last sampled."""
    ends: list[int] = field(default_factory=list)
    """When the last row of each span ended."""
    series: dict[str, Series] = field(default_factory=dict)
    off: set[str] = field(default_factory=set)
    """Sources that are not kept."""

    def note(self, now: int, values: Mapping[str, float]) -> None:
        """Take a sample in. `now` is a multiple of TICK_SECONDS, and later than the one before."""
        if not self.ends:
            self.ends = [(now - 1) // span.step * span.step for span in SPANS]
        for name, value in values.items():
            if name in self.off or not math.isfinite(value):
                continue
            if name not in self.series:
                if len(self.series) >= SOURCES_MAX:
                    continue
                self._catch_up(now)
                self.series[name] = Series()
        self._catch_up(now)
        for name, series in self.series.items():
            value = values.get(name, NAN)
            series.value = value
            if math.isfinite(value):
                series.seen = now
                for gathered in series.gathered:
                    gathered.add(value)
        for number, span in enumerate(SPANS):
            if now % span.step == 0:
                self._close(number)
        self.last = now
        for name in [name for name, series in self.series.items() if now - series.seen > UNSEEN_SECONDS]:
            del self.series[name]

    def _catch_up(self, now: int) -> None:
        """End the rows that ended before the one that `now` is in."""
        for number, span in enumerate(SPANS):
            due = (now - 1) // span.step * span.step
            missed = (due - self.ends[number]) // span.step
            for _ in range(min(missed, span.rows)):
                self._close(number)
            self.ends[number] = max(due, self.ends[number])

    def _close(self, number: int) -> None:
        for series in self.series.values():
            series.close(number)
        self.ends[number] += SPANS[number].step

    def forget(self, name: str) -> None:
        """Drop a source, and keep it no more."""
        self.series.pop(name, None)
        self.off.add(name)

    def column(self, name: str, number: int, way: int, newest: int, rows: int) -> Iterator[float]:
        """The values of a source in the rows that end at `newest` and before, the newest first."""
        ring = self.series[name].rings[number][way]
        behind = (newest - self.ends[number]) // SPANS[number].step
        for age in range(rows):
            yield ring.newest(age - behind)
