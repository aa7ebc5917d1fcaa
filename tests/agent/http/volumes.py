"""Volumes in memory, with holes, for tests of what is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable


class Sparse:
    """A reader of `size` bytes that has data in some stretches only, and tells when it is asked for others."""

    def __init__(self, size: int, stretches: Iterable[tuple[int, bytes]] = ()) -> None:
        self.size = size
        self.tag = "tag"
        self.stretches = sorted(stretches)
        self.bytes_read = 0

    def next_data(self, offset: int) -> tuple[int, int]:
        for start, data in self.stretches:
            if offset < start + len(data):
                return max(start, offset), start + len(data)
        return self.size, self.size

    def read(self, offset: int, length: int) -> bytes:
        assert 0 <= offset <= offset + length <= self.size
        self.bytes_read += length
        found = bytearray(length)
        for start, data in self.stretches:
            at, end = max(start, offset), min(start + len(data), offset + length)
            if at < end:
                found[at - offset : end - offset] = data[at - start : end - start]
        return bytes(found)

    def close(self) -> None:
        pass

    @property
    def content(self) -> bytes:
        """All of it."""
        return Sparse(self.size, self.stretches).read(0, self.size)


class Written:
    """A writer that keeps what was written."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.content = bytearray(size)
        self.written = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        assert 0 <= offset <= offset + len(data) <= self.size
        self.content[offset : offset + len(data)] = data
        self.written += len(data)


def reading(data: bytes) -> Callable[[int], bytes]:
    """Reads these bytes, as an upload does: all that is asked for, fewer at the end."""
    position = 0

    def read(length: int) -> bytes:
        nonlocal position
        part = data[position : position + length]
        position += len(part)
        return part

    return read
