"""Disks that are devices of the host, such as logical volumes: opened, filled with zeroes, and replaced as a whole.

What replaces one is another device until it is whole; then they change names. Which device a disk is, and how devices
are made, removed and named, ``storage`` knows.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Protocol

from agent.errors import SrFull, VdiIoError, XenError
from agent.ports import SeenVolume
from drivers.images import Guard, damage
from drivers.qemu_img import Layer, QemuImg
from drivers.sparse import write_all

SPOOL_SLACK = 2**26
"""So much more than its disk, beside a sixteenth of it, an image may be that has to be there before it is read."""
_BLKZEROOUT = 0x127F
"""From ``linux/fs.h``: zero these bytes, by the device's own means where it has some."""
_ALIGNED = 4096
_ZEROES = bytes(2**20)


@contextmanager
def device(path: str, *, write: bool = False) -> Iterator[int]:
    """A device of the host, open. FileNotFoundError if it is none: then it is not what libvirt said it was."""
    descriptor = os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)


class Devices(Protocol):
    """Where devices are made and removed, by name."""

    def make(self, name: str, size: int) -> str:
        """Make one of at least `size` bytes, with whatever was there before in it. Returns its path."""

    def remove(self, name: str) -> None:
        """Remove it. One that is gone is no error."""


class DeviceImage:
    """The port VolumeWriter for a device. All of it is written, for what was there before belongs to others."""

    def __init__(
        self,
        devices: Devices,
        name: str,
        size: int,
        qemu_img: QemuImg,
        guard: Guard,
        put: Callable[[], SeenVolume],
        undo: Callable[[], None],
    ) -> None:
        """Make the devices as ``NAME.new`` and, for an image, ``NAME.spool``.

        `put` gives the one its name in the end; `undo` removes both where it never gets it, and may raise a XenError.
        """
        self.size = size
        self._devices = devices
        self._new, self._spool = f"{name}.new", f"{name}.spool"
        self._qemu_img = qemu_img
        self._guard = guard
        self._put = put
        self._undo = undo
        self._written = 0
        """All before it is written: data, or zeroes."""
        self._spooled = -1
        self._committed = False
        self._spooling: int | None = None
        with guard():
            self._descriptor = self._make(self._new, size)

    def _make(self, name: str, size: int) -> int:
        with device(self._devices.make(name, size), write=True) as descriptor:
            return os.dup(descriptor)

    def write(self, offset: int, data: bytes | memoryview) -> None:
        if offset < 0 or offset + len(data) > self.size:
            raise VdiIoError(f"{len(data)} bytes at {offset} do not lie within {self.size}")
        if not bytes(data).strip(b"\0"):
            return  # it is zeroed with what lies around it
        with self._guard():
            if offset > self._written:
                zero(self._descriptor, self._written, offset)
            write_all(self._descriptor, offset, memoryview(data))
            self._written = max(self._written, offset + len(data))

    def spool(self, data: bytes | memoryview) -> None:
        with self._guard():
            most = self.size + self.size // 16 + SPOOL_SLACK
            if self._spooling is None:
                self._spooling, self._spooled = self._make(self._spool, most), 0
            if self._spooled + len(data) > most:
                raise SrFull(self._spooled + len(data), most)
            write_all(self._spooling, self._spooled, memoryview(data))
            self._spooled += len(data)

    def unpack(self, format: str, progress: Callable[[float], None]) -> None:
        assert self._spooling is not None
        image = Layer(self._spooling, format)
        with self._guard():
            # What was there before must not be taken for a part of an image that was cut off.
            zero(self._spooling, self._spooled, os.lseek(self._spooling, 0, os.SEEK_END))
            os.fsync(self._spooling)
            with damage():
                self._qemu_img.check(image)
                self._qemu_img.convert([image], Layer(self._descriptor, "raw"), progress, zeroed=False)
            self._written = self.size
            self._close_spool()
            self._devices.remove(self._spool)

    def _close_spool(self) -> None:
        if self._spooling is not None:
            os.close(self._spooling)
            self._spooling = None

    def finish(self, progress: Callable[[float], None]) -> None:
        with self._guard():
            end = os.lseek(self._descriptor, 0, os.SEEK_END)
            begin = self._written
            while self._written < end:
                progress((self._written - begin) / (end - begin))
                step = min(self._written + 64 * 2**20, end)
                zero(self._descriptor, self._written, step)
                self._written = step
            os.fsync(self._descriptor)
        progress(1.0)

    def commit(self) -> SeenVolume:
        with self._guard():
            seen = self._put()
        self._committed = True
        return seen

    def close(self) -> None:
        os.close(self._descriptor)
        self._close_spool()
        if not self._committed:
            with suppress(XenError):  # the next attempt, or the next scan, tries again
                self._undo()


def zero(descriptor: int, start: int, end: int) -> None:
    """Make these bytes zero."""
    first, last = -(-start // _ALIGNED) * _ALIGNED, end // _ALIGNED * _ALIGNED
    if first < last:
        try:
            fcntl.ioctl(descriptor, _BLKZEROOUT, struct.pack("=QQ", first, last - first))
        except OSError as error:
            if error.errno not in (errno.ENOTTY, errno.EOPNOTSUPP, errno.EINVAL):
                raise
        else:
            _write_zeroes(descriptor, start, first)
            _write_zeroes(descriptor, last, end)
            return
    _write_zeroes(descriptor, start, end)


def _write_zeroes(descriptor: int, start: int, end: int) -> None:
    while start < end:
        step = min(len(_ZEROES), end - start)
        write_all(descriptor, start, memoryview(_ZEROES)[:step])
        start += step
