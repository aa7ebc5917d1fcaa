"""Storage of the simulated host: a real folder of sparse files for each storage pool of libvirt's test driver.

The test driver keeps pools and makes no files, and it forgets everything when the process ends. So the pools are
defined, started and stopped there, while their disks are files below the agent's state folder: they can be read,
written, exported and copied, and they are still there after a restart. Disks of a real host are in ``storage``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from agent.classes import SR, VDI
from agent.errors import InvalidValue, SrFull, SrNotEmpty, ValueNotSupported, VdiMissing, XenError
from agent.ports import SeenVolume
from drivers.connection import Connection
from drivers.pools import Pools, file_call
from drivers.sparse import Folder, Image

SUFFIXES = (".raw", ".iso")
"""What the names of disks and CD images end in; other files of a folder are nobody's."""


class SimulatedStorage(Pools):
    """The port Storage over libvirt's test driver, with real files below `state_folder`."""

    def __init__(self, connection: Connection, state_folder: Path) -> None:
        super().__init__(connection)
        self.root = state_folder / "storage"

    def create(self, sr: SR, device_config: Mapping[str, str]) -> None:
        """Make the pool and its folder. SR_UNKNOWN_DRIVER for a type that a real host could not make either."""
        path = self._path(sr)
        super().create(sr, device_config)
        try:
            with file_call(sr), Folder(path, create=True):
                pass
        except XenError:
            self.forget(sr)
            raise

    def destroy(self, sr: SR) -> None:
        """Remove the pool and its folder. SR_NOT_EMPTY while there is a file in it."""
        path = self._path(sr)
        if path.exists():
            with file_call(sr):
                with Folder(path) as folder:
                    folder.sweep()
                    if folder.images():
                        raise SrNotEmpty()
                path.rmdir()
        super().destroy(sr)

    def usage(self, sr: SR) -> tuple[int, int]:
        """The size of the file system that the folder is on, and what this folder's files take of it, in bytes."""
        with self._folder(sr) as folder, file_call(sr):
            return folder.space()[0], sum(image.used for image in folder.images())

    def scan(self, sr: SR) -> Sequence[SeenVolume]:
        """The disks and CD images there are."""
        with self._folder(sr) as folder, file_call(sr):
            folder.sweep()
            return [_seen(folder, image) for image in folder.images() if image.name.lower().endswith(SUFFIXES)]

    def create_volume(self, vdi: VDI) -> SeenVolume:
        """Make a file of ``vdi.virtual_size``, all hole. SR_FULL if it is larger than the file system."""
        with self._folder(vdi.SR) as folder:
            free = _free(folder, vdi.virtual_size)
            with file_call(vdi.SR, vdi, vdi.virtual_size, free):
                return _seen(folder, folder.create(_new_name(vdi), vdi.virtual_size))

    def destroy_volume(self, vdi: VDI) -> None:
        """Delete the file. One that is gone is no error."""
        with self._folder(vdi.SR) as folder, suppress(VdiMissing), file_call(vdi.SR, vdi):
            folder.remove(_name(folder, vdi))

    def resize_volume(self, vdi: VDI, size: int) -> None:
        """Grow the file to `size`. VALUE_NOT_SUPPORTED for less than the disk has."""
        if size < vdi.virtual_size:
            raise ValueNotSupported("virtual_size", size, "a disk only grows")
        with self._folder(vdi.SR) as folder:
            free = _free(folder, size)
            with file_call(vdi.SR, vdi, size, free):
                folder.grow(_name(folder, vdi), size)

    def copy_volume(self, source: VDI, target: VDI, progress: Callable[[float], None]) -> SeenVolume:
        """Make the file of `target` with the content of `source`, holes kept.

        `progress` is called with the part done, 0 to 1; what it raises ends the copy, and nothing of it stays.
        """
        size = target.virtual_size
        with self._folder(source.SR) as origin, self._folder(target.SR) as folder:
            name = _name(origin, source)
            with file_call(source.SR, source):
                if origin.image(name).size > size:
                    raise ValueNotSupported("virtual_size", size, "the copy would be smaller than the disk")
            free = _free(folder, size)
            with file_call(target.SR, target, size, free):
                return _seen(folder, folder.copy(origin, name, _new_name(target), size, progress))

    def _path(self, sr: SR) -> Path:
        """The folder of a repository. INVALID_VALUE for a uuid that is none, which might be a path to elsewhere."""
        try:
            return self.root / str(UUID(sr.uuid))
        except ValueError:
            raise InvalidValue("uuid", sr.uuid) from None

    @contextmanager
    def _folder(self, sr: SR) -> Iterator[Folder]:
        """The folder of a pool that runs, made if it is not there yet. SR_HAS_NO_PBDS if the pool does not run."""
        with self._call(sr):
            self._running(sr)
        with file_call(sr):
            folder = Folder(self._path(sr), create=True)
        with folder:
            yield folder


def _new_name(vdi: VDI) -> str:
    """The file of a new disk. VALUE_NOT_SUPPORTED for another format than raw."""
    format = vdi.sm_config.get("type") or vdi.SR.sm_config.get("type") or "raw"
    if format != "raw":
        raise ValueNotSupported("sm_config", format, "disks of the simulated host are raw")
    return f"{vdi.uuid}.raw"


def _name(folder: Folder, vdi: VDI) -> str:
    """The file of a disk there is; VDI_MISSING if its location is elsewhere."""
    location = Path(vdi.location)
    if location.parent != folder.path:
        raise VdiMissing(vdi.SR, vdi)
    return location.name


def _free(folder: Folder, size: int) -> int:
    """What is free, in bytes. SR_FULL for a disk that alone is larger than the file system; several may overcommit."""
    whole, free = folder.space()
    if size > whole:
        raise SrFull(size, free)
    return free


def _seen(folder: Folder, image: Image) -> SeenVolume:
    return SeenVolume(
        location=str(folder.path / image.name),
        name=image.name,
        capacity=image.size,
        allocation=image.used,
        read_only=image.name.lower().endswith(".iso"),
    )
