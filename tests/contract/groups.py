"""Volume groups for the contracts: lvm2's own where the kernel has its device mapper, else played on loop devices.

On a real Xen the group is on its second disk, where that is free.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from drivers.lvm import FOLDERS
from tests.contract import played_lvm, real_xen

SECOND_DISK = Path("/dev/vdb")
"""The lab's, which is empty."""
SIZE = 512 * 2**20


@dataclass(frozen=True)
class Group:
    """A volume group, and where the programs are that serve it."""

    name: str
    programs: Sequence[str] = FOLDERS


def has_device_mapper() -> bool:
    """Whether the kernel can map devices, and lvm2 is there."""
    if os.geteuid() == 0 and shutil.which("modprobe"):
        subprocess.run(["modprobe", "--quiet", "dm_mod"], capture_output=True, check=False)  # lvm2 loads it when needed
    there = any(line.split()[-1:] == ["device-mapper"] for line in Path("/proc/misc").read_text().splitlines())
    return there and shutil.which("vgcreate") is not None


def require_loop_devices() -> None:
    """Skip, in words, where this machine has no devices to spare."""
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists() or not shutil.which("losetup"):
        pytest.skip("needs root and loop devices")


@contextmanager
def group(folder: Path) -> Iterator[Group]:
    """A volume group that is empty, and gone afterwards. Its files, where it has some, are in `folder`."""
    name = f"contract{os.getpid()}"
    if has_device_mapper():
        with _device(folder) as device:
            subprocess.run(["vgcreate", "--quiet", "--yes", name, device], check=True)
            yield Group(name)
            subprocess.run(["vgremove", "--quiet", "--force", "--yes", name], check=True)
            subprocess.run(["pvremove", "--quiet", "--yes", device], check=True)
        return
    require_loop_devices()
    with _played(folder, name):
        yield Group(name, (str(folder),))


@contextmanager
def _device(folder: Path) -> Iterator[str]:
    if real_xen.URI and SECOND_DISK.exists():
        empty = subprocess.run(["blkid", "--probe", SECOND_DISK], capture_output=True, check=False).returncode == 2
        if empty:
            yield str(SECOND_DISK)
            return
    require_loop_devices()
    with loop_device(folder / "group.img", SIZE) as device:
        yield device


@contextmanager
def loop_device(file: Path, size: int) -> Iterator[str]:
    """A device that is a sparse file."""
    with file.open("wb") as made:
        made.truncate(size)
    shown = subprocess.run(["losetup", "-f", "--show", file], check=True, capture_output=True, text=True)
    device = shown.stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


@contextmanager
def _played(folder: Path, name: str) -> Iterator[None]:
    state = folder / "groups.json"
    state.write_text(json.dumps({name: {"size": SIZE, "made": 0, "volumes": {}}}))
    program = folder / "played_lvm.py"
    source = Path(played_lvm.__file__).read_text().split("\n", 1)[1]
    program.write_text(f"#!{sys.executable} -I\n{source}")
    program.chmod(0o700)
    for each in played_lvm.PROGRAMS:
        (folder / each).symlink_to(program.name)
    Path("/dev", name).mkdir()
    try:
        yield
    finally:
        for volume in json.loads(state.read_text())[name]["volumes"].values():
            subprocess.run(["losetup", "-d", volume["loop"]], check=False)
        shutil.rmtree(f"/dev/{name}")
