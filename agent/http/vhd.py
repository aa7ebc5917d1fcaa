"""VHD images: written dynamic, as they are sent; read dynamic or fixed, as they come, without a file in between.

The format is Microsoft's Virtual Hard Disk Image Format Specification 1.0. Differences to a parent are not taken.
"""

from __future__ import annotations

import struct
import time
import uuid as uuids
from array import array
from collections.abc import Callable, Iterator

from agent.errors import ValueNotSupported
from agent.http.extents import piece, runs
from agent.ports import VolumeReader

SECTOR = 512
BLOCK = 2 * 1024 * 1024
CHUNK = 1024 * 1024
LARGEST = 2040 * 2**30
"""The largest disk that the format can hold."""
FIXED, DYNAMIC = 2, 3
SLACK = 2**26
"""So much more than the data a file may have: tables, bitmaps and what some tools put between."""

_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_HEADER = struct.Struct(">8sQQIIII16sI4x512s192s256x")
_COOKIE, _SPARSE = b"conectix", b"cxsparse"
_NONE = 0xFFFFFFFF
_NOWHERE = 0xFFFFFFFFFFFFFFFF
_EPOCH = 946684800
"""2000-01-01, in Unix time."""
_BLOCKS = range(2**19, 2**25 + 1)
"""Sizes of a block that are taken, in bytes; every tool makes blocks of 2 MiB."""


class Refused(Exception):
    """The file is no VHD image, or one that is not taken; the text says why."""


def longest(size: int) -> int:
    """The length of the longest file that holds a disk of so many bytes."""
    return size + size // 1024 + SLACK


# --- out


class Image:
    """A volume as a dynamic VHD."""

    def __init__(self, reader: VolumeReader, uuid: str) -> None:
        self._reader = reader
        self._size = -(-reader.size // SECTOR) * SECTOR
        if self._size > LARGEST:
            raise ValueNotSupported("format", "vhd", f"a VHD holds at most {LARGEST} bytes, the disk has {self._size}")
        self._uuid = uuids.UUID(uuid).bytes
        self._blocks = -(-self._size // BLOCK)
        self._table = -(-self._blocks * 4 // SECTOR) * SECTOR
        allocated = sum(last - first for first, last in runs(reader, BLOCK))
        self._stride = SECTOR + BLOCK
        self.length = 2 * SECTOR + _HEADER.size + self._table + allocated * self._stride

    def parts(self) -> Iterator[bytes]:
        """All of the file, in order."""
        footer = self._footer()
        yield footer + self._header()
        yield from self._allocation()
        bitmap = b"\xff" * (BLOCK // SECTOR // 8)
        for first, last in runs(self._reader, BLOCK):
            for block in range(first, last):
                yield bitmap
                for offset in range(block * BLOCK, (block + 1) * BLOCK, CHUNK):
                    yield piece(self._reader, offset, CHUNK) if offset < self._reader.size else bytes(CHUNK)
        yield footer

    def _allocation(self) -> Iterator[bytes]:
        """The table of blocks, a few thousand entries at a time."""
        position = (SECTOR + _HEADER.size + self._table) // SECTOR
        entries = array("I")
        written = 0
        for first, last in (*runs(self._reader, BLOCK), (self._table // 4, self._table // 4)):
            while written < last:
                if written < first:
                    step = min(first - written, 16384)
                    entries.extend([_NONE] * step)
                    written += step
                else:
                    entries.append(position)
                    position += self._stride // SECTOR
                    written += 1
                if len(entries) >= 16384:
                    yield _big_endian(entries)
                    entries = array("I")
        yield _big_endian(entries)

    def _footer(self) -> bytes:
        fields = [
            _COOKIE,
            2,
            0x10000,
            SECTOR,
            max(0, int(time.time()) - _EPOCH),
            b"tap\0",  # for tools that it does not know QEMU computes the size from the geometry, which is rounded
            0x10000,
            b"\0\0\0\0",
            self._size,
            self._size,
            *geometry(self._size),
            DYNAMIC,
            0,
            self._uuid,
            0,
        ]
        fields[14] = _checksum(_FOOTER.pack(*fields))
        return _FOOTER.pack(*fields)

    def _header(self) -> bytes:
        fields = [_SPARSE, _NOWHERE, SECTOR + _HEADER.size, 0x10000, self._blocks, BLOCK, 0, bytes(16), 0]
        fields += [bytes(512), bytes(192)]
        fields[6] = _checksum(_HEADER.pack(*fields))
        return _HEADER.pack(*fields)


def _big_endian(entries: array[int]) -> bytes:
    entries.byteswap()
    return entries.tobytes()


def _checksum(block: bytes) -> int:
    """The complement of the sum of all bytes, the checksum itself being zero."""
    return ~sum(block) & 0xFFFFFFFF


def geometry(size: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors a track, as the format's appendix computes them."""
    total = min(size // SECTOR, 65535 * 16 * 255)
    if total >= 65535 * 16 * 63:
        return total // 255 // 16, 16, 255
    sectors = 17
    tracks = total // sectors
    heads = max((tracks + 1023) // 1024, 4)
    if tracks >= heads * 1024 or heads > 16:
        sectors, heads = 31, 16
        tracks = total // sectors
    if tracks >= heads * 1024:
        sectors, heads = 63, 16
        tracks = total // sectors
    return tracks // heads, heads, sectors


# --- in


class _Stream:
    """What comes, with its position."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._read = read
        self.position = 0

    def take(self, length: int) -> bytes:
        data = self._read(length)
        self.position += len(data)
        if len(data) < length:
            raise Refused("it ends early")
        return data

    def some(self, length: int) -> bytes:
        data = self._read(length)
        self.position += len(data)
        return data

    def skip_to(self, position: int, limit: int = SLACK) -> None:
        if not 0 <= position - self.position <= limit:
            raise Refused("its parts overlap, or lie far from each other")
        while self.position < position:
            self.take(min(CHUNK, position - self.position))


def unpack(
    read: Callable[[int], bytes],
    length: int | None,
    check: Callable[[int], None],
    write: Callable[[int, bytes], None],
) -> Iterator[float]:
    """Write what an image holds, and tell how far it is. Refused for one that is not taken.

    `read` gives so many bytes, fewer at the end; `length` is that of the file, where it is known. `check` is told how
    large the disk is before anything is written, and raises where that is too much.
    """
    stream = _Stream(read)
    head = stream.take(SECTOR)
    if head.startswith(_COOKIE):
        yield from _dynamic(stream, head, length, check, write)
    else:
        yield from _fixed(stream, head, length, check, write)


def _parsed(footer: bytes) -> tuple[int, int, int]:
    """Kind, size and place of the header, of a footer that is whole."""
    fields = _FOOTER.unpack(footer)
    bare = footer[:64] + bytes(4) + footer[68:]
    if fields[0] != _COOKIE or fields[14] != _checksum(bare):
        raise Refused("its footer is damaged")
    return fields[13], fields[9], fields[3]


def _fixed(
    stream: _Stream, held: bytes, length: int | None, check: Callable[[int], None], write: Callable[[int, bytes], None]
) -> Iterator[float]:
    """The disk as it lies, with the footer behind it."""
    if length is not None:
        check(length - SECTOR)
    position = 0
    while data := stream.some(CHUNK):
        data = held + data
        data, held = data[:-SECTOR], data[-SECTOR:]
        check(position + len(data))
        write(position, data)
        position += len(data)
        yield min(1.0, position / length) if length else 0.0
    kind, size, _ = _parsed(held)
    if kind != FIXED:
        raise Refused("it is neither a fixed nor a dynamic one")
    if size > position:
        raise Refused("it ends early")


def _dynamic(
    stream: _Stream,
    footer: bytes,
    length: int | None,
    check: Callable[[int], None],
    write: Callable[[int, bytes], None],
) -> Iterator[float]:
    kind, size, header_at = _parsed(footer)
    if kind != DYNAMIC:
        raise Refused("it is a difference to another image" if kind == 4 else "it is neither a fixed nor a dynamic one")
    if size % SECTOR or size > LARGEST:
        raise Refused("its size is impossible")
    check(size)
    stream.skip_to(header_at)
    header = stream.take(_HEADER.size)
    fields = _HEADER.unpack(header)
    cookie, _, table_at, _, entries, block, checksum = fields[:7]
    if cookie != _SPARSE or checksum != _checksum(header[:36] + bytes(4) + header[40:]):
        raise Refused("its header is damaged")
    if block not in _BLOCKS or block & (block - 1):
        raise Refused("the size of its blocks is unusual")
    needed = -(-size // block)
    if entries < needed:
        raise Refused("its table is too short")
    stream.skip_to(table_at)
    table = array("I")
    while len(table) < needed:
        table.frombytes(stream.take(4 * min(needed - len(table), CHUNK // 4)))
    table.byteswap()
    bitmap_bytes = -(-block // SECTOR // 8 // SECTOR) * SECTOR
    for at, number in _in_order(table):
        stream.skip_to(at * SECTOR)
        bitmap = stream.take(bitmap_bytes)[: block // SECTOR // 8]
        _block(stream, bitmap, number * block, block, size, write)
        yield min(1.0, stream.position / length) if length else min(1.0, number * block / size)
    _end(stream, length)


def _in_order(table: array[int]) -> Iterator[tuple[int, int]]:
    """The blocks that there are, as they lie in the file: sector and number."""
    last = -1
    for at in table:
        if at != _NONE:
            if at <= last:
                break
            last = at
    else:
        yield from ((at, number) for number, at in enumerate(table) if at != _NONE)
        return
    packed = sorted((at << 32) | number for number, at in enumerate(table) if at != _NONE)
    yield from ((item >> 32, item & _NONE) for item in packed)


def _block(
    stream: _Stream, bitmap: bytes, offset: int, block: int, size: int, write: Callable[[int, bytes], None]
) -> None:
    """One block. What its bitmap says was never written is zero, whatever lies there."""
    for start in range(0, block, CHUNK):
        step = min(CHUNK, block - start)
        data = stream.take(step)
        bits = bitmap[start // SECTOR // 8 : (start + step) // SECTOR // 8]
        if bits.count(0xFF) != len(bits):
            data = _masked(data, bits)
        at = offset + start
        if at < size:
            write(at, data[: size - at])


def _masked(data: bytes, bits: bytes) -> bytes:
    masked = bytearray(data)
    for number in range(len(data) // SECTOR):
        if not bits[number // 8] & (0x80 >> number % 8):
            masked[number * SECTOR : (number + 1) * SECTOR] = bytes(SECTOR)
    return bytes(masked)


def _end(stream: _Stream, length: int | None) -> None:
    """The footer at the end, which says that nothing was cut off."""
    if length is not None:
        stream.skip_to(length - SECTOR)
        _parsed(stream.take(SECTOR))
        return
    stream.skip_to(-(-stream.position // SECTOR) * SECTOR)
    limit = stream.position + SLACK
    while stream.position < limit:
        sector = stream.take(SECTOR)
        if sector.startswith(_COOKIE):
            _parsed(sector)
            return
    raise Refused("it has no footer at its end")
