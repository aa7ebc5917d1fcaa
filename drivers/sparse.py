"""Disk images that are plain files: made, grown, copied and removed without a half-made disk ever being seen.

A folder is held open by a descriptor and every name in it is a single one that is never followed as a link, so nothing
outside the folder can be reached. A new image has a temporary name until it is whole and on the disk; its maker holds a
lock on it, so that what a crash left behind is known as such. Whether a folder is a libvirt pool, and which XenAPI
object an image is, this module does not know.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from drivers.disk_journal import nothing

CHUNK_BYTES = 4 * 1024 * 1024
"""How much is copied between two looks at whether the copy is still wanted."""
PIECE_BYTES = 256 * 1024
"""How much is read and written at once: it stays in the processor's cache, and the file system finds room for it."""
BEHIND_BYTES = 8 * 1024 * 1024
"""So many bytes after another are written before they are on their way to the disk."""
FICLONE = 0x40049409
"""The ioctl of Linux that has a file share another's blocks; Python's fcntl has no name for it yet."""
TICK_SECONDS = 0.02
"""More than the file systems' clocks take for one step: a write after it has another time than one before."""
_NO_SHARING = (errno.EOPNOTSUPP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.ETXTBSY, errno.EBADF)

_TEMPORARY = re.compile(r"\..+\.partial", re.DOTALL)


def is_temporary(name: str) -> bool:
    """Whether it is the name of a file that is still being made."""
    return _TEMPORARY.fullmatch(name) is not None


@dataclass(frozen=True)
class Image:
    """A regular file of a folder."""

    name: str
    size: int
    """Bytes that a reader sees."""
    used: int
    """Bytes that it takes from the file system; holes take none."""


class Written(Exception):
    """The image was written to while it was copied: the copy would be torn."""


class Folder:
    """An open folder of images. OSErrors are passed on: what they mean depends on whose folder it is."""

    def __init__(self, path: Path, *, create: bool = False, reached: Callable[[str], None] = nothing) -> None:
        if create:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = path
        self._reached = reached
        self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the folder."""
        os.close(self._descriptor)

    def _names(self) -> list[str]:
        with os.scandir(self._descriptor) as entries:
            return sorted(entry.name for entry in entries)

    def images(self) -> list[Image]:
        """The regular files by name, without those still being made."""
        found = []
        for name in self._names():
            if _TEMPORARY.fullmatch(name):
                continue
            with suppress(FileNotFoundError):
                status = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    found.append(Image(name, status.st_size, status.st_blocks * 512))
        return found

    def image(self, name: str) -> Image:
        """One regular file; FileNotFoundError if there is none of this name, or something else has it."""
        status = os.stat(_single(name), dir_fd=self._descriptor, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
        return Image(name, status.st_size, status.st_blocks * 512)

    def exists(self, name: str) -> bool:
        """Whether anything has this name."""
        try:
            os.stat(_single(name), dir_fd=self._descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return True

    def stage(self, name: str) -> Staged:
        """A file to be filled by and by, which takes this name, and the place of what has it, when it is put there."""
        return Staged(os.dup(self._descriptor), _single(name))

    def space(self) -> tuple[int, int]:
        """The size of the file system and what of it is free for us, in bytes."""
        status = os.fstatvfs(self._descriptor)
        return status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize

    def create(self, name: str, size: int) -> Image:
        """A new image of `size` bytes, all hole."""
        with self.new(name) as descriptor:
            os.ftruncate(descriptor, size)
        return self.image(name)

    def rename(self, name: str, new_name: str, *, replace: bool = False) -> None:
        """Give an image another name, durably. FileExistsError if that is taken, unless it is to `replace` that."""
        self.image(name)
        if not replace:
            self._refuse_present(_single(new_name))
        os.rename(name, _single(new_name), src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
        os.fsync(self._descriptor)

    def grow(self, name: str, size: int) -> Image:
        """Make the image `size` bytes long; what it has beyond its old end is a hole. A longer one stays as it is."""
        with self.opened(name, write=True) as descriptor:
            if os.fstat(descriptor).st_size < size:
                os.ftruncate(descriptor, size)
                os.fsync(descriptor)
        return self.image(name)

    def remove(self, name: str) -> None:
        """Delete the image; one that is gone is no error."""
        with suppress(FileNotFoundError):
            os.unlink(_single(name), dir_fd=self._descriptor)
            os.fsync(self._descriptor)

    def copy(
        self,
        source: Folder,
        source_name: str,
        name: str,
        size: int | None,
        progress: Callable[[float], None],
        step: str = "copy",
    ) -> Image:
        """A new image with the content of another folder's, holes kept, `size` bytes long or as long as that one is.

        It shares the blocks where the file system can. `progress` is called with the part done; what it raises ends the
        copy, and nothing of it stays. ValueError if the source is longer than `size`, Written if somebody writes to it.
        """
        with source.opened(source_name) as from_descriptor:
            before = state(from_descriptor)
            length = os.fstat(from_descriptor).st_size
            size = length if size is None else size
            if length > size:
                raise ValueError(f"{length} bytes do not fit into {size}")
            with self.new(name, step) as to_descriptor:
                progress(0.0)
                if not share(from_descriptor, to_descriptor):
                    os.ftruncate(to_descriptor, size)
                    for done in _copied(from_descriptor, to_descriptor, length):
                        progress(done / size)
                os.ftruncate(to_descriptor, size)
                if state(from_descriptor) != before:
                    raise Written(source_name)
                progress(1.0)
        return self.image(name)

    def can_share(self, name: str) -> bool:
        """Whether the file system can let a new file share the blocks of this image."""
        try:
            trial = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)
        except OSError:  # neither can it have files without a name
            return False
        try:
            with self.opened(name) as descriptor:
                return share(descriptor, trial)
        finally:
            os.close(trial)

    def sweep(self) -> None:
        """Delete what a crash left half-made; what somebody is still making is locked and stays."""
        for name in self._names():
            if _TEMPORARY.fullmatch(name):
                with suppress(FileNotFoundError, BlockingIOError), self.opened(name, write=True) as descriptor:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(name, dir_fd=self._descriptor)

    @contextmanager
    def opened(self, name: str, *, write: bool = False) -> Iterator[int]:
        """An image, open to be read or also to be written. FileNotFoundError for a link, and for what is no file."""
        # Without O_NONBLOCK, opening a named pipe that somebody put there would wait for its other end.
        flags = (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(_single(name), flags, dir_fd=self._descriptor)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise FileNotFoundError(errno.ENOENT, "a link is no image", name) from error
            raise
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file", name)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def new(self, name: str, step: str = "create") -> Iterator[int]:
        """A new file that gets its name when the body is done and all of it is on the disk; else it is gone."""
        self._refuse_present(_single(name))
        temporary = f".{name}.partial"
        self._remove_stale(temporary)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(temporary, flags, 0o600, dir_fd=self._descriptor)
        named = temporary
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._reached(f"{step}: begun")
            yield descriptor
            os.fsync(descriptor)
            self._reached(f"{step}: written")
            self._refuse_present(name)
            os.rename(temporary, name, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
            named = name
            os.fsync(self._descriptor)
            self._reached(f"{step}: named")
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(named, dir_fd=self._descriptor)
            raise
        finally:
            os.close(descriptor)

    def _remove_stale(self, temporary: str) -> None:
        """Make way for a new image; BlockingIOError while somebody else is making one of the same name."""
        with suppress(FileNotFoundError), self.opened(temporary, write=True) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(temporary, dir_fd=self._descriptor)

    def _refuse_present(self, name: str) -> None:
        if self.exists(name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)


def share(source: int, target: int) -> bool:
    """Have an open empty file share all blocks of another, at once. False where the file system has no such thing."""
    try:
        fcntl.ioctl(target, FICLONE, source)
    except OSError as error:
        if error.errno in _NO_SHARING:
            return False
        raise
    return True


def state(descriptor: int) -> tuple[int, ...]:
    """What differs once the file or device was written to again."""
    status = os.fstat(descriptor)
    if stat.S_ISBLK(status.st_mode):
        # udev sets a device's time whenever it looks at it, so what the kernel counts is told: writes and discards.
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        counted = Path(f"/sys/dev/block/{major}:{minor}/stat").read_text().split()
        return tuple(int(counted[column]) for column in (4, 6, 11, 13) if column < len(counted))
    if time.time_ns() - status.st_mtime_ns < TICK_SECONDS * 1e9:
        # It was written to just now: a write within the same tick of the file system's clock would not be told apart.
        time.sleep(TICK_SECONDS)
        status = os.fstat(descriptor)
    return status.st_size, status.st_mtime_ns


class Staged:
    """A new file of a folder, under a temporary name until `put`. What is never put is gone when it is closed, or when
    the folder is swept after a crash. OSErrors are passed on.
    """

    def __init__(self, folder: int, name: str) -> None:
        """`folder` is a descriptor, which is this object's from now on."""
        self._folder = folder
        self.name = name
        self._temporary: str | None = f".{name}.{secrets.token_hex(4)}.partial"
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self.descriptor = os.open(self._temporary, flags, 0o600, dir_fd=folder)
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)
            if os.fstat(self.descriptor).st_nlink == 0:  # somebody swept before it was locked
                os.close(self.descriptor)
                self.descriptor = os.open(self._temporary, flags, 0o600, dir_fd=folder)
                fcntl.flock(self.descriptor, fcntl.LOCK_EX)
        except OSError:
            os.close(folder)
            raise

    @property
    def path(self) -> str:
        """A path by which a child that inherits the descriptor opens the file, wherever it is."""
        return f"/proc/self/fd/{self.descriptor}"

    def put(self) -> None:
        """Give it its name, in one step: whoever opens the name finds the file of before or this one, whole.

        What has the name hands down its owner, group and mode. All must be written and on the disk before.
        """
        assert self._temporary is not None
        with suppress(FileNotFoundError):
            before = os.stat(self.name, dir_fd=self._folder, follow_symlinks=False)
            if not stat.S_ISREG(before.st_mode):
                raise FileExistsError(errno.EEXIST, "something else than a file has the name", self.name)
            os.fchmod(self.descriptor, stat.S_IMODE(before.st_mode))
            if (before.st_uid, before.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(self.descriptor, before.st_uid, before.st_gid)
        os.rename(self._temporary, self.name, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        self._temporary = None
        os.fsync(self._folder)

    def close(self) -> None:
        """Let go of it, and delete it if it was not put anywhere."""
        if self._temporary is not None:
            with suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._folder)
            self._temporary = None
        os.close(self.descriptor)
        os.close(self._folder)


def _single(name: str) -> str:
    """The name, if it is one and no path."""
    if not name or name in (".", "..") or "/" in name or "\0" in name:
        raise FileNotFoundError(errno.ENOENT, "not the name of a file", name)
    return name


class WriteBehind:
    """Has the disk begin with a file while more of it is written, and gives the memory back of what it is done with:
    `fsync` at the end finds little left, and guests, which do not read by this host's page cache, keep their room.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._begun = 0

    def written(self, position: int) -> None:
        """It is written up to here."""
        if position - self._begun >= BEHIND_BYTES:
            begin = max(self._begun - BEHIND_BYTES, 0)
            os.posix_fadvise(self._descriptor, begin, position - begin, os.POSIX_FADV_DONTNEED)
            self._begun = position
        elif position < self._begun:
            self._begun = position


def write_all(descriptor: int, offset: int, data: memoryview) -> None:
    """Write all of it."""
    while data:
        written = os.pwrite(descriptor, data, offset)
        data, offset = data[written:], offset + written


def _copied(source: int, target: int, length: int) -> Iterator[int]:
    """Copy what is data, chunk by chunk, telling after each how many bytes are behind it."""
    view = memoryview(bytearray(PIECE_BYTES))
    behind = WriteBehind(target)
    position = told = 0
    while position < length:
        try:
            position = os.lseek(source, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            return  # nothing but hole up to the end, or up to an end that has come nearer
        end = min(os.lseek(source, position, os.SEEK_HOLE), length)
        while position < end:
            read = os.preadv(source, [view[: end - position]], position)
            if read == 0:
                return
            write_all(target, position, view[:read])
            position += read
            behind.written(position)
            if position - told >= CHUNK_BYTES or position >= end:
                told = position
                yield position
