"""Volumes opened to send or replace what a guest sees of them, byte for byte.

A raw file or a device is read as it lies, with its holes; images with a header ``chain_reader`` reads. What replaces a
volume is a file beside it until it is whole and on the disk. Which pool and which file a disk is, and what it is laid
over, ``disks`` and ``storage`` know.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Protocol

from agent.errors import OperationNotAllowed, VdiIoError
from agent.ports import SeenVolume
from drivers.qcow2_stream import Stream
from drivers.qemu_img import Layer, QemuImg
from drivers.sparse import Folder, Staged, WriteBehind, write_all
from drivers.text import cleaned

BLOCK = 4096
"""So many zero bytes that lie together become a hole."""
_ZERO_BLOCK = bytes(BLOCK)

Guard = Callable[[], AbstractContextManager[None]]
"""Raises what the file system refuses as the XenError that says it."""


class Opened:
    """The port VolumeReader over a descriptor, which is this object's from now on."""

    def __init__(self, descriptor: int, size: int, tag: str, guard: Guard) -> None:
        self._descriptor = descriptor
        self._guard = guard
        self.size = size
        self.tag = tag

    def next_data(self, offset: int) -> tuple[int, int]:
        """The next stretch that is no hole. A device is one stretch."""
        with self._guard():
            try:
                start = os.lseek(self._descriptor, offset, os.SEEK_DATA)
                end = os.lseek(self._descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return self.size, self.size
                if error.errno == errno.EINVAL:  # a device, or a file system that does not know of holes
                    return offset, self.size
                raise
        return min(start, self.size), min(end, self.size)

    def read(self, offset: int, length: int) -> bytes:
        """These bytes. VDI_IO_ERROR where the file has become shorter."""
        with self._guard():
            data = os.pread(self._descriptor, length, offset)
            while len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    raise VdiIoError("the volume became shorter while it was read")
                data += more
        return data

    def close(self) -> None:
        os.close(self._descriptor)


def open_device(descriptor: int, guard: Guard) -> Opened:
    """A reader of an open block device, which the caller closes."""
    size = os.lseek(descriptor, 0, os.SEEK_END)
    # Nothing tells whether a device was written to since: no two readings are held for the same.
    return Opened(os.dup(descriptor), size, f"device-{os.urandom(8).hex()}", guard)


@contextmanager
def damage() -> Iterator[None]:
    """What qemu-img cannot read is the image's fault."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.EIO:
            raise VdiIoError(f"qemu-img: {cleaned(error.strerror, 500)}") from error
        if error.errno == errno.ENOPKG:
            raise OperationNotAllowed("images other than raw need qemu-img on this host") from error
        raise


class Place(Protocol):
    """Where a finished file is seen: how the driver tells of it."""

    def __call__(self, name: str, size: int, used: int) -> SeenVolume: ...


class StagedImage:
    """The port VolumeWriter for an image of a folder: a raw file, turned into the volume's format at the end."""

    def __init__(
        self,
        folder: Folder,
        name: str,
        format: str,
        size: int,
        qemu_img: QemuImg,
        guard: Guard,
        put: Callable[[], None],
        seen: Place,
    ) -> None:
        """`put` is called before the volume takes its place, `seen` tells of it afterwards."""
        self.size = size
        self._qemu_img = qemu_img
        self._put = put
        self._format = format
        self._guard = guard
        self._seen = seen
        # Of its own: the pool may be stopped meanwhile, and the caller's is closed when this returns.
        self._folder = Folder(folder.path)
        self._spooled: Staged | None = None
        self._stream: Stream | None = None
        self._name = name
        try:
            self._image = self._folder.stage(name)
        except BaseException:
            self._folder.close()
            raise
        try:
            os.ftruncate(self._image.descriptor, size)
        except BaseException:
            self._image.close()
            self._folder.close()
            raise
        self._behind = WriteBehind(self._image.descriptor)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        """Write what is not zero."""
        if offset < 0 or offset + len(data) > self.size:
            raise VdiIoError(f"{len(data)} bytes at {offset} do not lie within {self.size}")
        with self._guard():
            write_sparse(self._image.descriptor, offset, data)
            if self._format == "raw":  # another is made of this one once more
                self._behind.written(offset + len(data))

    def spool(self, data: bytes | memoryview) -> None:
        with self._guard():
            if self._stream is None:
                self._spooled = self._folder.stage(f"{self._name}.image")
                self._stream = Stream(self._spooled.descriptor, self._image.descriptor, self.write)
            self._stream.feed(memoryview(data))

    def unpack(self, format: str, progress: Callable[[float], None]) -> None:
        assert self._spooled is not None
        assert self._stream is not None
        with self._guard(), damage():
            if not self._stream.finish(progress):
                os.ftruncate(self._image.descriptor, 0)
                os.ftruncate(self._image.descriptor, self.size)
                image = Layer(self._spooled.descriptor, format)
                self._qemu_img.check(image)
                self._qemu_img.convert([image], Layer(self._image.descriptor, "raw"), progress)
        if os.fstat(self._image.descriptor).st_size != self.size:
            raise VdiIoError("the image is larger than it said")
        self._spooled.close()
        self._spooled = None

    def finish(self, progress: Callable[[float], None]) -> None:
        with self._guard():
            if self._format != "raw":
                packed = self._folder.stage(self._name)
                try:
                    raw = Layer(self._image.descriptor, "raw")
                    self._qemu_img.create(packed.descriptor, self.size)
                    self._qemu_img.convert([raw], Layer(packed.descriptor, self._format), progress)
                except BaseException:
                    packed.close()
                    raise
                self._image.close()
                self._image = packed
            os.fsync(self._image.descriptor)

    def commit(self) -> SeenVolume:
        with self._guard():
            self._put()
            self._image.put()
            used = os.fstat(self._image.descriptor).st_blocks * 512
        return self._seen(self._name, self.size, used)

    def close(self) -> None:
        with suppress(OSError):
            if self._spooled is not None:
                self._spooled.close()
            self._image.close()
            self._folder.close()


def write_sparse(descriptor: int, offset: int, data: bytes | memoryview) -> None:
    """Write the data but for the blocks of it that are zero, which are taken to be holes already."""
    view = memoryview(data)
    blocks = len(view) // BLOCK
    # Few blocks begin with a zero word that are not zero: only those that do are looked at whole.
    words = view[: blocks * BLOCK].cast("Q")[:: BLOCK // 8].tolist() if blocks else []
    begun = 0  # where what is to be written begins
    for number in range(blocks):
        if not words[number]:
            at = number * BLOCK
            if bytes(view[at : at + BLOCK]) == _ZERO_BLOCK:
                write_all(descriptor, offset + begun, view[begun:at])
                begun = at + BLOCK
    if any(view[blocks * BLOCK :]) or begun < blocks * BLOCK:
        write_all(descriptor, offset + begun, view[begun:])
