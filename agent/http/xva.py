"""The XVA file: a tar with a machine's description first, then the disks, a piece of each MiB with its checksum.

A piece is ``Ref:4/00000017``; one that is all zero is left out, but for a disk's first and last. What follows it is its
checksum, as ``.checksum`` (SHA-1, which every xapi reads) or, from newer ones, ``.xxhash`` (XXH64). Members are only
ever read as a stream: no name of a member is the name of a file here.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import xxhash
from isal import isal_zlib

from agent.errors import (
    ImportChecksumsFailed,
    ImportFailed,
    ImportPrematureEof,
    ImportUnexpectedFile,
    ValueNotSupported,
    VdiTooSmall,
)
from agent.http.extents import runs
from agent.ports import VolumeReader, VolumeWriter

PIECE = 1024 * 1024
BLOCK = tarfile.BLOCKSIZE
ZERO_PIECE = bytes(PIECE)
END = bytes(2 * BLOCK)
PIECES_LONGEST = 2**32
"""The longest piece that is taken, in bytes; xapi writes 1 MiB, its forebears wrote 1 GiB."""
CHECKSUMS = {".checksum": 40, ".xxhash": 16}
"""The endings of names of checksums, and how many hexadecimal digits they have."""
TRAILING = 1024 * 1024
"""How much of what follows the end of the archive is swallowed."""
_NAME = re.compile(r"([^/\0]{1,100})/([0-9]{1,12})", re.ASCII)


# --- out


def member(name: str, data: bytes) -> bytes:
    """A file as a member of the archive."""
    head = tarfile.TarInfo(name)
    head.size = len(data)
    return head.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % BLOCK)


def pieces(reader: VolumeReader, id: str) -> Iterator[tuple[bytes, int]]:
    """The members of one disk, each with how far it is behind it, in bytes."""
    last = (reader.size - 1) // PIECE
    for number in _with_ends(reader, last):
        offset = number * PIECE
        data = reader.read(offset, min(PIECE, reader.size - offset))
        if 0 < number < last and data == ZERO_PIECE:
            continue
        name = f"{id}/{number:08d}"
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        yield member(name, data) + member(f"{name}.checksum", digest.encode()), offset + len(data)


def _with_ends(reader: VolumeReader, last: int) -> Iterator[int]:
    done = 0
    yield 0
    for first, end in runs(reader, PIECE):
        for number in range(max(first, done + 1), end):
            yield number
            done = number
    if done < last:
        yield last


# --- in


class Inflated:
    """The content of what was compressed by gzip, read piece by piece."""

    def __init__(self, read: Callable[[int], bytes], begun: bytes) -> None:
        self._read = read
        self._stream = isal_zlib.decompressobj(wbits=31)
        self._waiting = begun

    def __call__(self, length: int) -> bytes:
        """So many bytes, fewer at the end."""
        got = bytearray()
        while len(got) < length and not self._stream.eof:
            if not self._waiting:
                self._waiting = self._read(65536)
                if not self._waiting:
                    raise ImportPrematureEof
            try:
                got += self._stream.decompress(self._waiting, length - len(got))
            except isal_zlib.IsalError as error:  # type: ignore[misc]  # isal 1.9.1's stubs have it as an instance
                raise ImportFailed(f"it cannot be decompressed: {error}") from None
            self._waiting = self._stream.unconsumed_tail
        return bytes(got)


def plain(read: Callable[[int], bytes]) -> Callable[[int], bytes]:
    """What reads the archive itself, compressed by gzip or not."""
    begun = read(BLOCK)
    if begun.startswith(b"\x1f\x8b"):
        return Inflated(read, begun)
    if begun.startswith(b"\x28\xb5\x2f\xfd"):
        raise ValueNotSupported("use_compression", "zstd", "send it as it is, or compressed by gzip")

    def reading(length: int) -> bytes:
        nonlocal begun
        if not begun:
            return read(length)
        first, begun = begun[:length], begun[length:]
        return first if len(first) == length else first + read(length - len(first))

    return reading


@dataclass
class Disk:
    """A disk that is being filled."""

    writer: VolumeWriter
    offset: int = 0
    last: int = -1
    piece: int = 0
    """The length of the first piece: so long are those that were left out."""

    @property
    def whole(self) -> bool:
        """Whether its last piece has come."""
        return self.offset == self.writer.size


@dataclass
class Archive:
    """An archive that is being read."""

    read: Callable[[int], bytes]
    sums: set[str] = field(default_factory=lambda: set(CHECKSUMS))
    """The kinds of checksum that the pieces may have: both, until the first one was seen."""

    def header(self) -> tuple[str, int] | None:
        """Name and length of the next member; None at the end of the archive."""
        block = self._exactly(BLOCK)
        if not any(block):
            self._exactly(BLOCK)
            return None
        try:
            head = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            raise ImportFailed("this is no tar archive, or a damaged one") from None
        name = head.name.encode("utf-8", "replace").decode()[:100]
        if head.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or head.size < 0:
            raise ImportUnexpectedFile("a plain file", name)
        return name, head.size

    def content(self, length: int) -> Iterator[bytes]:
        """The content of a member, in parts."""
        left = length
        while left:
            part = self._exactly(min(PIECE, left))
            left -= len(part)
            yield part
        self._exactly(-length % BLOCK)

    def description(self, longest: int) -> bytes:
        """The first member, which describes the machine."""
        head = self.header()
        if head is None or head[0] != "ova.xml":
            raise ImportUnexpectedFile("ova.xml", head[0] if head else "")
        if head[1] > longest:
            raise ImportFailed(f"ova.xml is longer than {longest} bytes")
        return b"".join(self.content(head[1]))

    def disks(self, disks: dict[str, Disk]) -> Iterator[int]:
        """Fill the disks, by their ids, and tell how many bytes of them each piece brought further."""
        while (head := self.header()) is not None:
            name, length = head
            match = _NAME.fullmatch(name)
            disk = disks.get(match[1]) if match else None
            if match is None or disk is None:
                raise ImportUnexpectedFile("a piece of a disk", name)
            before = disk.offset
            self._piece(disk, name, int(match[2]), length)
            yield disk.offset - before
        if not all(disk.whole for disk in disks.values()):
            raise ImportPrematureEof

    def _piece(self, disk: Disk, name: str, number: int, length: int) -> None:
        if number <= disk.last or length > PIECES_LONGEST:
            raise ImportUnexpectedFile("a later piece of the disk", name)
        if disk.last < 0:
            if number != 0 and disk.writer.size > 0:
                raise ImportUnexpectedFile("the first piece of the disk", name)
            disk.piece = length
        disk.offset += (number - disk.last - 1) * disk.piece
        disk.last = number
        if disk.offset + length > disk.writer.size:
            raise VdiTooSmall("", disk.offset + length)
        digests = {kind: _DIGESTS[kind]() for kind in self.sums}
        for part in self.content(length):
            disk.writer.write(disk.offset, part)
            disk.offset += len(part)
            for digest in digests.values():
                digest.update(part)
        head = self.header()
        kind = head[0][len(name) :] if head is not None and head[0].startswith(name) else ""
        if head is None or kind not in digests or head[1] != CHECKSUMS[kind]:
            raise ImportUnexpectedFile(f"{name}.checksum", head[0] if head else "")
        self.sums = {kind}
        told = b"".join(self.content(head[1]))
        if told.decode("ascii", "replace").lower() != digests[kind].hexdigest():
            raise ImportChecksumsFailed

    def rest(self) -> None:
        """Swallow what fills the archive up."""
        left = TRAILING
        while left > 0 and (part := self.read(65536)):
            left -= len(part)

    def _exactly(self, length: int) -> bytes:
        data = self.read(length) if length else b""
        if len(data) < length:
            raise ImportPrematureEof
        return data


def _sha1() -> hashlib._Hash:
    return hashlib.sha1(usedforsecurity=False)


_DIGESTS: dict[str, Callable[[], hashlib._Hash | xxhash.xxh64]] = {".checksum": _sha1, ".xxhash": xxhash.xxh64}
