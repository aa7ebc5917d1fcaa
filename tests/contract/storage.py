"""The storage drivers that the contracts are tried on, with what their tests share. One more is one more way to make a
Bench.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent import classes as c
from agent.classes.enums import VdiType
from agent.model import api
from agent.ports import SeenVolume, Storage
from drivers.connection import Connection
from drivers.disk_journal import DiskJournal
from drivers.folders import SimulatedStorage
from drivers.storage import LibvirtStorage
from tests.contract import real_xen
from tests.contract.daemon import private_libvirtd

api.seal_classes(c)

MIB = 1024 * 1024


class Cancelled(Exception):
    """What a progress callback raises to end a copy."""


def ignore(part: float) -> None:
    """A progress callback that nobody looks at."""


@dataclass
class Bench:
    """A driver under test, with the objects that a caller would have."""

    storage: Storage
    folder: Path
    host: c.Host

    def sr(self, type: str = "file", **fields: Any) -> c.SR:
        """A storage repository that is created and runs."""
        sr = c.SR(name_label="disks", type=type, **fields)
        self.storage.create(sr, self.config(sr))
        return sr

    def config(self, sr: c.SR) -> dict[str, str]:
        """Where it is."""
        return {"location": str(self.folder / sr.uuid)}

    def pbd(self, sr: c.SR) -> c.PBD:
        """How this host reaches it."""
        return c.PBD(host=self.host, SR=sr, device_config=self.config(sr))

    def vdi(self, sr: c.SR, size: int = 4 * MIB, **fields: Any) -> c.VDI:
        """A disk that is described and not made."""
        return c.VDI(SR=sr, virtual_size=size, type=VdiType.USER, **fields)

    def disk(self, sr: c.SR, content: bytes = b"", size: int = 4 * MIB, **fields: Any) -> c.VDI:
        """A disk that is made and begins with `content`."""
        vdi = self.vdi(sr, size, **fields)
        vdi.location = self.storage.create_volume(vdi).location
        if content:
            with Path(vdi.location).open("r+b") as file:
                file.write(content)
        return vdi

    def made(self, vdi: c.VDI, seen: SeenVolume | None) -> c.VDI:
        """The disk, now that its volume was made."""
        assert seen is not None
        vdi.location, vdi.format, vdi.virtual_size = seen.location, seen.format, seen.capacity
        return vdi

    def write(self, vdi: c.VDI, content: bytes, offset: int = 0) -> None:
        """What a guest writes to its disk."""
        with tempfile.NamedTemporaryFile() as file:
            file.write(content)
            file.flush()
            command = f"write -q -s {file.name} {offset} {len(content)}"
            subprocess.run(["qemu-io", "-f", vdi.format or "raw", "-c", command, vdi.location], check=True)

    def read(self, vdi: c.VDI) -> bytes:
        """What a guest reads from its disk, by QEMU's own way through the chain."""
        with tempfile.NamedTemporaryFile() as file:
            command = ["qemu-img", "convert", "-f", vdi.format or "raw", "-O", "raw", vdi.location, file.name]
            subprocess.run(command, check=True)
            return Path(file.name).read_bytes()

    def clone(self, vdi: c.VDI) -> tuple[c.VDI, c.VDI]:
        """Lay the disk and a new one over what the disk was. Returns the base and the new one."""
        base, clone = self.vdi(vdi.SR, vdi.virtual_size), self.vdi(vdi.SR, vdi.virtual_size)
        base.parent = vdi.parent
        self.made(vdi, self.storage.split_volume(vdi, base))
        vdi.parent = clone.parent = base
        self.storage.settle(base)
        self.made(clone, self.storage.overlay_volume(base, clone))
        self.storage.settle(clone)
        return base, clone

    def names(self, sr: c.SR) -> list[str]:
        """What is seen of it."""
        return [volume.name for volume in self.storage.scan(sr)]

    def files(self, sr: c.SR) -> list[str]:
        """What is really there, hidden files too."""
        location = Path(self.disk(sr).location)
        location.unlink()
        return sorted(path.name for path in location.parent.iterdir())


@pytest.fixture(scope="module")
def libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URI of a private libvirtd that has the storage driver alone."""
    with private_libvirtd(tmp_path_factory.mktemp("libvirtd"), "storage") as uri:
        yield uri


@contextmanager
def _opened(driver: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[Storage]:
    if driver == real_xen.NAME:
        with real_xen.opened(folder) as machine:
            yield machine.storage
        return
    if driver == "simulated":
        connection = Connection("test:///default")
        storage: Storage = SimulatedStorage(connection, folder)
    else:
        connection = Connection(request.getfixturevalue("libvirtd"))
        storage = LibvirtStorage(connection, DiskJournal(folder / "journal"))
    connection.start()
    assert connection.connected
    yield storage
    connection.close()


@pytest.fixture(params=real_xen.on("simulated", "libvirtd"))
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Every driver in turn; what a test makes is forgotten."""
    with _opened(request.param, request, tmp_path) as storage:
        known = {pool.uuid for pool in storage.pools()}
        yield Bench(storage, tmp_path / "pools", c.Host(name_label="here"))
        for pool in storage.pools():
            if pool.uuid not in known:
                left = c.SR(type=pool.type)
                left.uuid = pool.uuid
                storage.forget(left)


def digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
