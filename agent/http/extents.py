"""The data of a volume in units of an image format, as it is found when it is asked for: nothing of it is kept here."""

from __future__ import annotations

from collections.abc import Iterator

from agent.ports import VolumeReader


def runs(reader: VolumeReader, unit: int) -> Iterator[tuple[int, int]]:
    """Which units hold data: first and one past the last of each run, ascending, no unit twice."""
    offset, done = 0, 0
    while offset < reader.size:
        start, end = reader.next_data(offset)
        if start >= reader.size:
            return
        first, last = max(start // unit, done), -(-end // unit)
        if last > first:
            yield first, last
            done = last
        offset = max(end, done * unit)


def piece(reader: VolumeReader, offset: int, length: int) -> bytes:
    """These bytes, with zeroes for what lies beyond the end."""
    inside = min(length, reader.size - offset)
    data = reader.read(offset, inside)
    return data if inside == length else data + bytes(length - inside)
