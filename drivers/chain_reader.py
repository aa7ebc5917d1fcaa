"""A volume of several images over each other, or of one with a header, read where the data lies.

``qemu-img map`` tells that in order and as it goes, so that neither room nor time is needed before the first byte, and
of the map no more is kept than what is being read. Compressed data has no place where it could be read: an image that
has such is unpacked when the first of it is met.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Sequence

from agent.ports import VolumeReader
from drivers.images import Guard, Opened, damage
from drivers.qemu_img import Extent, Layer, QemuImg

Unpack = Callable[[Sequence[Layer]], VolumeReader]
STRETCH = 4 * 2**20
"""Data that lies apart in the files is one stretch up to so many bytes; as many are remembered behind the last."""


def open_chain(chain: Sequence[Layer], size: int, qemu_img: QemuImg, guard: Guard, unpack: Unpack) -> VolumeReader:
    """A reader of a disk of `size` bytes by its open images, itself first. The caller closes those.

    `unpack` makes another reader of the same from its images, and is called at the most once, while this one is used.
    """
    tag = "-".join(_tag(layer.descriptor) for layer in chain)
    if len(chain) == 1 and chain[0].format == "raw":
        top = chain[0].descriptor
        return Opened(os.dup(top), os.fstat(top).st_size, tag, guard)
    reader = ChainReader(chain, size, tag, qemu_img, guard, unpack)
    try:
        reader.next_data(0)  # what cannot be read at all is told before anything is sent
    except BaseException:
        reader.close()
        raise
    return reader


def _tag(descriptor: int) -> str:
    status = os.fstat(descriptor)
    return f"{status.st_dev:x}-{status.st_ino:x}-{status.st_size:x}-{status.st_mtime_ns:x}"


class ChainReader:
    """The port VolumeReader over a chain of open images, of which it has descriptors of its own."""

    def __init__(
        self, chain: Sequence[Layer], size: int, tag: str, qemu_img: QemuImg, guard: Guard, unpack: Unpack
    ) -> None:
        self.size = size
        self.tag = tag
        self._chain = [Layer(os.dup(layer.descriptor), layer.format) for layer in chain]
        self._qemu_img = qemu_img
        self._guard = guard
        self._unpack = unpack
        self._unpacked: VolumeReader | None = None
        self._map: Generator[Extent, None, None] | None = None
        self._known: deque[Extent] = deque()
        """The data between `_from` and `_to`."""
        self._from = self._to = size

    def next_data(self, offset: int) -> tuple[int, int]:
        """The next stretch that some image of the chain has data for."""
        if self._unpacked is None:
            with self._guard(), damage():
                found = self._next_data(offset)
            if found is not None:
                return found
        return self._instead().next_data(offset)

    def read(self, offset: int, length: int) -> bytes:
        """These bytes. What lies behind the end of a file is zero, as it is for QEMU."""
        if self._unpacked is None:
            with self._guard(), damage():
                data = self._read(offset, length)
            if data is not None:
                return data
        return self._instead().read(offset, length)

    def close(self) -> None:
        self._end_map()
        if self._unpacked is not None:
            self._unpacked.close()
        for layer in self._chain:
            os.close(layer.descriptor)

    # --- by the map; None at what is compressed

    def _next_data(self, offset: int) -> tuple[int, int] | None:
        if offset < self._from or offset > self._to + STRETCH:
            self._begin_at(offset)
        self._forget(offset - STRETCH)
        start = end = -1
        at = 0
        while end - start < STRETCH:
            if at == len(self._known):
                if self._to >= self.size:
                    break
                if not self._learn():
                    return None
                continue
            extent = self._known[at]
            at += 1
            if extent.end <= offset:
                continue
            if start < 0:
                start = max(extent.start, offset)
            elif extent.start > end:
                break
            end = extent.end
        return (self.size, self.size) if start < 0 else (start, min(end, self.size))

    def _read(self, offset: int, length: int) -> bytes | None:
        if offset < self._from:  # forward the map goes on: who reads piece by piece passes over less than a start costs
            self._begin_at(offset)
        end = offset + length
        while self._to < end:
            if not self._learn():
                return None
            self._forget(offset - STRETCH)
        found = [extent for extent in self._known if extent.start < end and extent.end > offset]
        if len(found) == 1 and found[0].start <= offset and found[0].end >= end:
            return self._content(found[0], offset, length)
        data = bytearray(length)
        for extent in found:
            first, last = max(extent.start, offset), min(extent.end, end)
            data[first - offset : last - offset] = self._content(extent, first, last - first)
        return bytes(data)

    def _content(self, extent: Extent, offset: int, length: int) -> bytes:
        descriptor = self._chain[extent.layer].descriptor
        place = extent.place + offset - extent.start
        data = os.pread(descriptor, length, place)
        while len(data) < length:
            more = os.pread(descriptor, length - len(data), place + len(data))
            if not more:
                return data.ljust(length, b"\0")
            data += more
        return data

    # --- the map

    def _begin_at(self, offset: int) -> None:
        """Begin the map anew, from there."""
        self._end_map()
        self._known.clear()
        self._from = self._to = offset
        self._map = self._qemu_img.extents(self._chain, offset)

    def _learn(self) -> bool:
        """Take one stretch more of the map. False for one that is compressed."""
        extent = None if self._map is None else next(self._map, None)
        if extent is None:
            self._to = self.size
            return True
        if extent.data:
            if extent.place < 0:
                return False
            self._known.append(extent)
        self._to = max(self._to, extent.end)
        return True

    def _forget(self, offset: int) -> None:
        while self._known and self._known[0].end <= offset:
            self._from = self._known.popleft().end

    def _end_map(self) -> None:
        if self._map is not None:
            self._map.close()

    def _instead(self) -> VolumeReader:
        if self._unpacked is None:
            self._end_map()
            self._unpacked = self._unpack(self._chain)
        return self._unpacked
