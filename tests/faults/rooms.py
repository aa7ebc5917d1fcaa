"""File systems that are small enough to fill."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Room:
    """A file system of a few MiB."""

    folder: Path

    def fill(self) -> None:
        """Take all the room there is."""
        with (self.folder / "filling").open("wb", buffering=0) as file:
            for size in (65536, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)

    def clear(self) -> None:
        """Give it back."""
        (self.folder / "filling").unlink()


@contextmanager
def small_room(folder: Path) -> Iterator[Room]:
    """A file system in memory, of 4 MiB; the test is skipped where none can be mounted."""
    folder.mkdir(parents=True)
    mount = shutil.which("mount")
    if mount is None:
        pytest.skip("needs mount")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.decode().strip()}")
    try:
        yield Room(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)
