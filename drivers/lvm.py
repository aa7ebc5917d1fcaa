"""Runs lvm2 for what libvirt's logical pools refuse (9.0.0): snapshots of volumes, volumes that grow, and
other names for them.

A snapshot of an ordinary volume gets as much room as its origin has, so that it can never overflow and be lost; one of
a thin volume shares its pool. lvm2 makes no snapshot of an ordinary snapshot. Which volume is which disk, this module
does not know.
"""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin")
TIMEOUT_SECONDS = 120.0

_NO_ROOM = re.compile(r"insufficient (free|suitable)|not enough free|No space left", re.IGNORECASE)
_SAID_MAX = 2000


@dataclass(frozen=True)
class Volume:
    """A logical volume."""

    origin: str
    """The volume that it is a snapshot of; empty for none."""
    thin_pool: str
    """The pool that it is a thin volume of; empty for an ordinary one."""
    size: int
    """In bytes; of an ordinary snapshot the room for what changes."""


class Lvm:
    """The programs, found once. OSErrors are raised for what they refuse."""

    def __init__(self, folders: Sequence[str] = FOLDERS) -> None:
        self._folder = next((folder for folder in folders if os.access(f"{folder}/lvcreate", os.X_OK)), None)

    @property
    def installed(self) -> bool:
        """Whether lvm2 is there."""
        return self._folder is not None

    def look(self, group: str, name: str) -> Volume:
        """What kind of volume it is."""
        shape = ("--reportformat", "json", "--units", "b", "--nosuffix", "-o", "origin,pool_lv,lv_size")
        said = self._run("lvs", *shape, f"{group}/{name}")
        try:
            (row,) = json.loads(said)["report"][0]["lv"]
            return Volume(str(row["origin"]), str(row["pool_lv"]), int(row["lv_size"]))
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise OSError(errno.EPROTO, f"lvs answered what cannot be read: {error}") from error

    def volumes(self, group: str) -> list[str]:
        """The names of all volumes of a group, also of those that are not active, and of thin pools."""
        return self._run("lvs", "--noheadings", "-o", "lv_name", group).split()

    def snapshot(self, group: str, origin: str, name: str, *, thin: bool) -> None:
        """Make a volume with what `origin` has now, which may be in use meanwhile."""
        room = ["--setactivationskip", "n"] if thin else ["--extents", "100%ORIGIN"]
        self._run("lvcreate", "--snapshot", "--name", name, *room, f"{group}/{origin}")

    def grow(self, group: str, name: str, size: int) -> None:
        """Make the volume at least `size` bytes large."""
        self._run("lvextend", "--size", f"{size}b", f"{group}/{name}")

    def rename(self, group: str, name: str, new: str) -> None:
        """Give the volume another name, which must be free. Who has it open keeps it."""
        self._run("lvrename", group, name, new)

    def _run(self, program: str, *arguments: str) -> str:
        if self._folder is None:
            raise OSError(errno.ENOPKG, "lvm2 is not installed")
        try:
            ended = subprocess.run(
                [f"{self._folder}/{program}", *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
                timeout=TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise OSError(errno.ETIMEDOUT, f"{program} does not end") from error
        said = ended.stderr.decode("utf-8", "replace")[:_SAID_MAX].strip()
        if ended.returncode:
            raise OSError(errno.ENOSPC if _NO_ROOM.search(said) else errno.EIO, said or f"{program} failed")
        return ended.stdout.decode("utf-8", "replace")
