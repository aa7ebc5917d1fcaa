"""A qcow2 image unpacked while it comes: its clusters are written where a guest sees them, without a file in between.

Its tables tell what is where, and come before most of what they tell of: QEMU makes them so, and so does the agent.
They and whatever comes too early are kept in a spool, each at its place in the image. An image in which there is
anything but plain clusters, or anything wrong, ends up whole in the spool: it is for qemu-img to read, or to refuse.
The format is QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable
from heapq import heappop, heappush
from typing import NamedTuple

from drivers.qcow2 import Fields, NotQcow2, fields_of

RUNS_MAX = 50_000
"""So many runs of clusters are kept in mind; an image in more pieces is left to qemu-img."""
L1_MAX = 1024 * 1024
"""The longest first-level table that is kept in mind, in bytes: enough for 64 TiB in clusters of 64 KiB."""
CHUNK = 1024 * 1024
_OFFSET = 0x00FFFFFFFFFFFE00
_COMPRESSED = 1 << 62
_ZERO = 1


class Run(NamedTuple):
    """Clusters that lie together in the image as they do in the disk. In bytes."""

    at: int
    """Where in the image."""
    guest: int
    """Where in the disk."""
    length: int

    def after(self, length: int) -> Run:
        """What is left of it."""
        return Run(self.at + length, self.guest + length, self.length - length)


class Unusual(Exception):
    """The image is for qemu-img."""


class Stream:
    """One image on its way. OSErrors are passed on."""

    def __init__(self, spool: int, target: int, write: Callable[[int, memoryview], None]) -> None:
        """`spool` and `target` are open empty files, the latter as large as the disk; `write` writes to the target."""
        self._spool = spool
        self._target = target
        self._write = write
        self._received = 0
        self._whole_spool = False
        """Whether it was given up: all is in the spool, and goes there."""
        self._fields: Fields | None = None
        self._first_level_known = False
        self._tables: list[tuple[int, int]] = []
        """The second-level tables that are to come: where, and which. A heap, as the next is."""
        self._coming: list[Run] = []
        self._missed: list[Run] = []
        """What came before its table, and is in the spool."""
        self._placed: list[Run] = []
        """In the order of the image."""

    def feed(self, data: memoryview) -> None:
        """Take the next bytes of the image."""
        end = self._received + len(data)
        try:
            if self._fields is None and not self._whole_spool:
                self._fields = _plain_fields(data, os.fstat(self._target).st_size)
            while self._received < end and not self._whole_spool:
                self._step(data[self._received - end :])
        except Unusual:
            self._give_up()
        if self._received < end:
            self._keep(data[self._received - end :])

    def finish(self, progress: Callable[[float], None]) -> bool:
        """Write what is still to be written, when all has come. False for an image that is for qemu-img: all of it is
        in the spool then, and the target holds anything. What `progress` raises ends it.
        """
        try:
            if self._whole_spool or self._cut_off() or any(map(self._overlaps, self._missed)):
                raise Unusual
            for number, run in enumerate(self._missed):
                progress(number / len(self._missed))
                self._place_missed(run)
            progress(1.0)
        except Unusual:
            if not self._whole_spool:
                self._give_up()
            return False
        return True

    def _cut_off(self) -> bool:
        """Whether something is told of that did not come. The last cluster may be shorter: the rest of it is zero."""
        if self._fields is None or self._table_end():
            return True
        return bool(self._coming) and (
            len(self._coming) > 1
            or self._coming[0].at != self._received
            or self._coming[0].length >= self._fields.cluster
        )

    def _step(self, data: memoryview) -> None:
        """Take some of it, up to where something begins or ends."""
        position = self._received
        while self._coming and self._coming[0].at < position:  # what lies there was placed for another run
            self._note(self._missed, heappop(self._coming))
        run = self._coming[0] if self._coming else None
        if run is not None and run.at == position:
            length = min(len(data), run.length)
            self._place(run, data[:length])
            self._note(self._placed, Run(position, run.guest, length))
            heappop(self._coming)
            if length < run.length:
                heappush(self._coming, run.after(length))
            self._received += length
        else:
            ends = [end for end in (run.at if run is not None else 0, self._table_end()) if end]
            self._keep(data[: min(ends, default=position + len(data)) - position])
        self._learn()

    def _keep(self, data: memoryview) -> None:
        """Write it to the spool."""
        while data:
            written = os.pwrite(self._spool, data, self._received)
            data, self._received = data[written:], self._received + written

    def _place(self, run: Run, data: memoryview) -> None:
        assert self._fields is not None
        self._write(run.guest, data[: max(self._fields.size - run.guest, 0)])

    def _note(self, runs: list[Run], run: Run) -> None:
        last = runs[-1] if runs else None
        if last is not None and last.at + last.length == run.at and last.guest + last.length == run.guest:
            runs[-1] = Run(last.at, last.guest, last.length + run.length)
            return
        if len(runs) >= RUNS_MAX:
            raise Unusual
        runs.append(run)

    # --- tables

    def _table_end(self) -> int:
        """Where the table ends that comes next; 0 for none."""
        assert self._fields is not None
        if not self._first_level_known:
            return self._fields.l1_offset + 8 * self._fields.l1_entries
        return self._tables[0][0] + self._fields.cluster if self._tables else 0

    def _learn(self) -> None:
        """Read the tables that have come."""
        assert self._fields is not None
        while 0 < self._table_end() <= self._received:
            if not self._first_level_known:
                self._first_level_known = True
                first = self._entries(self._fields.l1_offset, 8 * self._fields.l1_entries)
                self._tables = sorted(
                    (entry & _OFFSET, number) for number, entry in enumerate(first) if entry & _OFFSET
                )
                if any(at % self._fields.cluster for at, _ in self._tables):
                    raise Unusual
            else:
                at, number = heappop(self._tables)
                self._learn_clusters(self._entries(at, self._fields.cluster), number)

    def _entries(self, at: int, length: int) -> array[int]:
        """A table that has come. Unusual where what lies there was taken for data."""
        if self._overlaps(Run(at, 0, length)):
            raise Unusual
        entries = array("Q", os.pread(self._spool, length, at))
        entries.byteswap()
        return entries

    def _learn_clusters(self, entries: array[int], table: int) -> None:
        assert self._fields is not None
        cluster = self._fields.cluster
        guest = table * len(entries) * cluster
        runs: list[Run] = []
        for entry in entries[: max(0, -(-(self._fields.size - guest) // cluster))]:
            if entry:
                if entry & _COMPRESSED or (at := entry & _OFFSET) % cluster:
                    raise Unusual
                if at and not entry & _ZERO:
                    self._note(runs, Run(at, guest, cluster))
            guest += cluster
        for run in runs:
            if run.at < self._received:
                gone = min(run.length, self._received - run.at)
                self._note(self._missed, Run(run.at, run.guest, gone))
                run = run.after(gone)
            if run.length:
                heappush(self._coming, run)
        if len(self._coming) > RUNS_MAX:
            raise Unusual

    # --- what lies elsewhere than it should

    def _overlaps(self, run: Run) -> bool:
        """Whether anything of this stretch of the image was written to the disk, and not to the spool."""
        low, high = 0, len(self._placed)
        while low < high:  # the first that ends behind its begin
            middle = (low + high) // 2
            if self._placed[middle].at + self._placed[middle].length > run.at:
                high = middle
            else:
                low = middle + 1
        return low < len(self._placed) and self._placed[low].at < run.at + run.length

    def _place_missed(self, run: Run) -> None:
        while run.length:
            step = min(CHUNK, run.length)
            data = os.pread(self._spool, step, run.at)
            self._place(run, memoryview(data.ljust(step, b"\0")))
            run = run.after(step)

    def _give_up(self) -> None:
        """Put back into the spool what was written to the disk already."""
        self._whole_spool = True
        for run in self._placed:
            while run.length:
                step = min(CHUNK, run.length)
                data = os.pread(self._target, step, run.guest)  # less where the disk ends within a cluster
                os.pwrite(self._spool, data, run.at)
                run = run.after(step)
        if os.fstat(self._spool).st_size < self._received:
            os.ftruncate(self._spool, self._received)


def _plain_fields(head: memoryview, size: int) -> Fields:
    """What the head says. Unusual for an image that shows more than `size` bytes, or with more to it than clusters and
    two levels of tables.
    """
    try:
        fields = fields_of(bytes(head[:112]))
    except NotQcow2:
        raise Unusual from None
    beyond = fields.features or fields.snapshots or fields.encryption or fields.name_at
    old = fields.length < 104  # version 2
    told = fields.l1_entries * (fields.cluster // 8) * fields.cluster
    if beyond or old or fields.cluster < 65536 or fields.l1_entries * 8 > L1_MAX or not told >= fields.size <= size:
        raise Unusual
    if not fields.l1_offset or fields.l1_offset % fields.cluster:
        raise Unusual
    return fields
