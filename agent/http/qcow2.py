"""qcow2 images, written as they are sent. What those that come hold, the storage knows.

The format is QEMU's docs/interop/qcow2.txt, version 3, with clusters of 64 KiB.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from agent.http.extents import piece, runs
from agent.ports import VolumeReader

CLUSTER = 65536
TABLE = CLUSTER // 8
"""Entries of one second-level table."""
COUNTS = CLUSTER // 2
"""Clusters whose use one block of counters counts."""
HEAD = 112
"""So much of an image is enough to judge it by."""
KEPT_RUNS = 65536
"""So many runs of data are remembered, in 1 MiB; where there are more, each pass asks the storage again."""
SLACK = 2**26
"""So much more than its disk a file may have: tables, and what was freed in it."""

_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_MAGIC = b"QFI\xfb"
_COPIED = 1 << 63


def longest(size: int) -> int:
    """The length of the longest file that is taken for a disk of so many bytes."""
    return size + size // 16 + SLACK


class Image:
    """A volume as a qcow2 image: head, counters, tables, then the data in ascending order."""

    def __init__(self, reader: VolumeReader) -> None:
        self._reader = reader
        self._size = -(-reader.size // 512) * 512
        self._l1_entries = -(-self._size // (CLUSTER * TABLE))
        self._kept = array("Q")
        data = tables = 0
        table = -1
        for first, last in runs(reader, CLUSTER):
            if len(self._kept) <= 2 * KEPT_RUNS:
                self._kept.extend((first, last))
            data += last - first
            low, high = first // TABLE, (last - 1) // TABLE
            tables += high - low + (low != table)
            table = high
        l1 = -(-self._l1_entries * 8 // CLUSTER)
        blocks = pointers = 0
        while True:  # the counters count themselves too
            total = 1 + l1 + pointers + blocks + tables + data
            needed = -(-total // COUNTS)
            if needed == blocks:
                break
            blocks, pointers = needed, -(-needed * 8 // CLUSTER)
        self._total, self._blocks, self._pointers = total, blocks, pointers
        self._l1_at = CLUSTER
        self._pointers_at = self._l1_at + l1 * CLUSTER
        self._blocks_at = self._pointers_at + pointers * CLUSTER
        self._tables_at = self._blocks_at + blocks * CLUSTER
        self._data_at = self._tables_at + tables * CLUSTER
        self.length = total * CLUSTER

    def _runs(self) -> Iterator[tuple[int, int]]:
        """Where there is data, in clusters from and to."""
        if len(self._kept) > 2 * KEPT_RUNS:
            return runs(self._reader, CLUSTER)
        return zip(self._kept[::2], self._kept[1::2], strict=True)

    def parts(self) -> Iterator[bytes]:
        """All of the file, in order."""
        header = _HEADER.pack(
            _MAGIC,
            3,
            0,
            0,
            16,
            self._size,
            0,
            self._l1_entries,
            self._l1_at,
            self._pointers_at,
            self._pointers,
            0,
            0,
            0,
            0,
            0,
            4,
            _HEADER.size,
        )
        yield header.ljust(CLUSTER, b"\0")
        yield self._first_level()
        yield _entries(self._blocks_at + block * CLUSTER for block in range(self._blocks))
        one = b"\0\1" * COUNTS
        for block in range(self._blocks):
            yield one[: 2 * (self._total - block * COUNTS)].ljust(CLUSTER, b"\0")
        yield from self._second_level()
        for first, last in self._runs():
            while first < last:
                step = min(16, last - first)
                yield piece(self._reader, first * CLUSTER, step * CLUSTER)
                first += step

    def _first_level(self) -> bytes:
        entries = array("Q", bytes(8 * self._l1_entries))
        place, table = self._tables_at, -1
        for first, last in self._runs():
            for number in range(max(first // TABLE, table + 1), (last - 1) // TABLE + 1):
                entries[number] = place | _COPIED
                place += CLUSTER
                table = number
        return _padded(entries)

    def _second_level(self) -> Iterator[bytes]:
        entries = array("Q", bytes(CLUSTER))
        place, table = self._data_at, -1
        for first, last in self._runs():
            while first < last:
                if first // TABLE != table:
                    if table >= 0:
                        yield _padded(entries)
                    entries, table = array("Q", bytes(CLUSTER)), first // TABLE
                end = min(last, (table + 1) * TABLE)
                for cluster in range(first, end):
                    entries[cluster % TABLE] = place | _COPIED
                    place += CLUSTER
                first = end
        if table >= 0:
            yield _padded(entries)


def _entries(values: Iterator[int]) -> bytes:
    return _padded(array("Q", values))


def _padded(entries: array[int]) -> bytes:
    entries.byteswap()
    data = entries.tobytes()
    return data + bytes(-len(data) % CLUSTER)
