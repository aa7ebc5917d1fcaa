"""Storage made on a whole device: nothing on it is lost, unless whoever makes it asks for that in words."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import classes as c
from agent.errors import SrBackendFailure, ValueNotSupported, XenError
from drivers.connection import Connection
from drivers.disk_journal import DiskJournal
from drivers.storage import LibvirtStorage
from tests.contract.groups import loop_device, require_loop_devices
from tests.contract.storage import MIB, libvirtd

__all__ = ["libvirtd"]

MARK = "a volume of before"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    """A device with nothing on it."""
    require_loop_devices()
    if not shutil.which("mkfs.ext4"):
        pytest.skip("needs mkfs.ext4")
    with loop_device(tmp_path / "device", 64 * MIB) as made:
        yield made


@pytest.fixture
def storage(libvirtd: str, tmp_path: Path) -> Iterator[LibvirtStorage]:
    connection = Connection(libvirtd)
    connection.start()
    yield LibvirtStorage(connection, DiskJournal(tmp_path / "journal"))
    connection.close()


def on(device: str) -> str:
    """What is on it, by its kind and name; empty for nothing."""
    command = ["blkid", "--probe", "--output", "value", "--match-tag", "TYPE", "--match-tag", "UUID", device]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def volumes(storage: LibvirtStorage, sr: c.SR) -> list[str]:
    """Its volumes. The daemon has mounted it where we do not see it."""
    pool = storage.connection.handle.storagePoolLookupByUUIDString(sr.uuid)
    pool.refresh()
    return [name for name in pool.listVolumes() if name != "lost+found"]


def test_where_a_device_was_mounted_is_no_folder_any_more(storage: LibvirtStorage, device: str) -> None:
    """Neither once it is forgotten nor where it could not be mounted."""
    sr = c.SR(name_label="device", type="fs")
    folder = Path("/run/sr-mount", sr.uuid)
    with pytest.raises(SrBackendFailure):
        storage.create(sr, {"device": device})
    assert not folder.exists()
    sr.type = "ext"
    storage.create(sr, {"device": device, "format": "true", "fstype": "ext4"})
    assert folder.is_dir()
    storage.forget(sr)
    assert not folder.exists()


def test_a_device_is_formatted_only_where_that_is_asked_for(
    storage: LibvirtStorage, device: str, tmp_path: Path
) -> None:
    def made(type: str = "ext", **config: str) -> c.SR:
        sr = c.SR(name_label="device", type=type)
        try:
            storage.create(sr, {"device": device, "path": str(tmp_path / "mounted"), **config})
        except XenError:
            assert sr.uuid not in {pool.uuid for pool in storage.pools()}, "half made"
            raise
        return sr

    for config in ({}, {"format": "false"}):
        with pytest.raises(ValueNotSupported):
            made(**config)
    with pytest.raises(SrBackendFailure):
        made("fs")
    assert on(device) == ""
    sr = made(format="true", fstype="ext4")
    before = on(device)
    assert "ext4" in before
    pool = storage.connection.handle.storagePoolLookupByUUIDString(sr.uuid)
    pool.createXML(f"<volume><name>{MARK}</name><capacity>1024</capacity></volume>")
    storage.forget(sr)
    with pytest.raises(XenError):
        made(format="true", fstype="ext4")
    assert on(device) == before
    sr = made("fs", fstype="ext4")
    assert (on(device), volumes(storage, sr)) == (before, [MARK])
    storage.forget(sr)
    sr = made(format="overwrite", fstype="ext4")
    assert "ext4" in on(device)
    assert on(device) != before
    assert volumes(storage, sr) == []
    storage.forget(sr)
