"""Storage of the simulated host: a real folder of sparse files for each storage pool of libvirt's test driver.

The test driver keeps pools and makes no files, and it forgets everything when the process ends. So the pools are
defined, started and stopped there, while their disks are files below the agent's state folder: they can be read,
written, exported and copied, and they are still there after a restart. What is done to the files is in ``disks``, and
the same for the folders of a real host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

from agent.classes import SR
from agent.errors import InvalidValue, SrNotEmpty, XenError
from agent.ports import SeenVolume
from drivers.connection import Connection
from drivers.disk_journal import JOURNAL, DiskJournal, nothing
from drivers.disks import FolderDisks
from drivers.pools import file_call
from drivers.sparse import Folder

SUFFIXES = (".raw", ".qcow2", ".iso")
"""What the names of disks and CD images end in; other files of a folder are nobody's."""


class SimulatedStorage(FolderDisks):
    """The port Storage over libvirt's test driver, with real files below `state_folder`."""

    def __init__(self, connection: Connection, state_folder: Path, reached: Callable[[str], None] = nothing) -> None:
        super().__init__(connection, DiskJournal(state_folder / JOURNAL, reached))
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
        with self.folder(sr) as folder, file_call(sr):
            return folder.space()[0], sum(image.used for image in folder.images())

    def scan(self, sr: SR) -> Sequence[SeenVolume]:
        """The disks and CD images there are."""
        return self.scan_folder(sr)

    def _path(self, sr: SR) -> Path:
        """The folder of a repository. INVALID_VALUE for a uuid that is none, which might be a path to elsewhere."""
        try:
            return self.root / str(UUID(sr.uuid))
        except ValueError:
            raise InvalidValue("uuid", sr.uuid) from None

    def _folder_path(self, sr: SR) -> Path:
        """The folder of a pool that runs, made if it is not there yet. SR_HAS_NO_PBDS if the pool does not run."""
        with self._call(sr):
            self._running(sr)
        path = self._path(sr)
        with file_call(sr), Folder(path, create=True):
            return path

    def _is_disk(self, name: str) -> bool:
        return super()._is_disk(name) and name.lower().endswith(SUFFIXES)
