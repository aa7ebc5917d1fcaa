"""Kernels and ramdisks that clients sent as data, kept as files for the hypervisor to read.

A file is named for its content, so that the same kernel is there once. Which are still named by a machine, the agent
says; the rest is removed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from agent.errors import OperationNotAllowed, ValueNotSupported

GRACE_SECONDS = 3600.0
"""How long a file that no machine names stays: the machine that it was sent for may not be there yet."""


@dataclass(frozen=True)
class KernelFolder:
    """The folder; None is a hypervisor that does not read this host's files."""

    folder: Path | None

    @property
    def folders(self) -> tuple[str, ...]:
        """What kernels may lie in beside the folders of the host."""
        return () if self.folder is None else (str(self.folder),)

    def keep(self, data: bytes) -> str:
        """Make it a file, whole or not at all. Returns the path."""
        if self.folder is None:
            raise ValueNotSupported("PV_kernel", "data:", "the hypervisor is on another host: name a file there")
        path = self.folder / hashlib.sha256(data).hexdigest()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                os.utime(path)
                return str(path)
            with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            Path(file.name).replace(path)
        except OSError as error:
            raise OperationNotAllowed(f"the kernel cannot be kept: {error.strerror}") from error
        return str(path)

    def drop_all_but(self, kept: Collection[str]) -> None:
        """Remove the files of other paths than these, those aside that have just come."""
        if self.folder is None or not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            with suppress(OSError):  # the next round tries again
                if str(path) not in kept and path.stat().st_mtime < time.time() - GRACE_SECONDS:
                    path.unlink()


NO_KERNELS = KernelFolder(None)
