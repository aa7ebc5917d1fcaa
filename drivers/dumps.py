"""The files that the hypervisor writes when a guest crashes that is to leave its memory. They are read by name only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from agent.errors import OperationNotAllowed
from drivers.text import cleaned

LIBVIRT_FOLDER = Path("/var/lib/libvirt/libxl/dump")
"""Where libvirt's Xen driver (9.0.0) writes them; no setting of its moves it."""
TIME_FORMAT = "%Y-%m-%d-%H:%M:%S"
_NAME = re.compile(r"(.+)-\d{4}-\d\d-\d\d-\d\d:\d\d:\d\d", re.ASCII | re.DOTALL)
_BLOCK = 512


@dataclass(frozen=True)
class DumpFile:
    """One file: whose memory it is, by the domain's name, and when it was written last."""

    path: Path
    domain: str
    when: datetime
    size: int
    allocation: int


@dataclass(frozen=True)
class DumpFolder:
    """The folder; None is a hypervisor whose files are not on this host."""

    folder: Path | None

    def files(self) -> Sequence[DumpFile]:
        """The dumps there are, in the order of their names."""
        found = []
        for path in sorted(self.folder.glob("*")) if self.folder is not None else ():
            name = _NAME.fullmatch(path.name)
            if name is None or cleaned(path.name, 4096) != path.name:
                continue
            with suppress(OSError):  # it was removed meanwhile
                told = path.lstat()
                when = datetime.fromtimestamp(int(told.st_mtime), UTC)
                found.append(DumpFile(path, name[1], when, told.st_size, told.st_blocks * _BLOCK))
        return found

    def remove(self, location: str) -> None:
        """Delete a dump. OPERATION_NOT_ALLOWED for a path that is none of the folder."""
        path = Path(location)
        if self.folder is None or path.parent != self.folder or not _NAME.fullmatch(path.name):
            raise OperationNotAllowed(f"{location} is no crash dump of this host")
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OperationNotAllowed(f"{location} cannot be removed: {error.strerror}") from error

    def write(self, domain: str, when: datetime, content: bytes) -> None:
        """Make a dump, as the hypervisor does: for the simulation."""
        if self.folder is not None:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            (self.folder / f"{domain}-{when.strftime(TIME_FORMAT)}").write_bytes(content)


NO_DUMPS = DumpFolder(None)
